"""Runs that are performed again from their journals: what they did, they do not do otherwise."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import anyio
import pytest

from astro import (
    CallFailedError,
    Context,
    Effect,
    Limits,
    LocalEngine,
    NeedsAgentError,
    Retry,
    State,
    agent,
    task,
)
from tests.engine.conftest import QUICK, OpenEngine

pytestmark = pytest.mark.anyio
SOON = timedelta(milliseconds=10)


async def given_up(engine: LocalEngine, run: Any, kind: str) -> None:
    """Return when the engine does not own a run any more that has a record of a kind."""
    with anyio.fail_after(5):
        async for record in run.records():
            if record.kind == kind:
                break
        while engine.drives(run.id):
            await anyio.sleep(0.01)


async def test_a_map_that_failed_is_no_divergence_when_it_is_replayed(
    engine_of: OpenEngine,
) -> None:
    @task
    async def work(ctx: Context, item: int) -> int:
        if item == 1:
            raise ValueError("no")
        return item

    @task(effect=Effect.IRREVERSIBLE)
    async def launch(ctx: Context) -> str:
        return "launched"

    @task
    async def root(ctx: Context) -> str:
        with pytest.raises(CallFailedError):
            await ctx.map(work, [0, 1, 2], limit=1)
        await ctx.ask("Go?", bool)
        return await ctx.call(launch)

    async with engine_of(work, launch, root, idle_for=SOON) as engine:
        run = await engine.start(root)
        await given_up(engine, run, "asked")
        await run.answer(True)
        with anyio.fail_after(5):
            assert await run == "launched"
        assert "diverged" not in {record.kind async for record in run}


async def test_an_attempt_may_ask_for_other_calls_than_the_one_before_an_eviction(
    engine_of: OpenEngine,
) -> None:
    @task
    async def plan_a(ctx: Context) -> str:
        return "a"

    @task(effect=Effect.IRREVERSIBLE)
    async def plan_b(ctx: Context) -> str:
        return "b"

    @task(retry=Retry(attempts=2, first=timedelta(seconds=0.3), jitter=0.0))
    async def sub(ctx: Context) -> str:
        if ctx.attempt == 1:
            await ctx.call(plan_a)
            raise RuntimeError("a does not do")
        return await ctx.call(plan_b)

    @task
    async def root(ctx: Context) -> str:
        return await ctx.call(sub)

    async with engine_of(plan_a, plan_b, sub, root, idle_for=SOON) as engine:
        run = await engine.start(root)
        await given_up(engine, run, "attempt_failed")
        with anyio.fail_after(5):
            assert await run == "b"
        kinds = [record.kind async for record in run]
    assert kinds.count("owned") == 2
    assert "diverged" not in kinds


@task(needs_agent=True)
async def review(ctx: Context, text: str) -> str:
    raise NeedsAgentError("review")


@agent(review)
async def ada(ctx: Context, text: str) -> str:
    return f"{text}: fine"


@task
async def reviewed(ctx: Context) -> str:
    return await ctx.call(review, "x")


@task
async def busy(ctx: Context) -> None:
    await anyio.sleep_forever()


async def test_a_run_whose_owner_lacks_an_agent_goes_to_an_engine_that_comes_with_it(
    store_of: Callable[[], Any],
) -> None:
    async with LocalEngine(reviewed, store=store_of(), **QUICK) as old:
        run = await old.start(reviewed)
        with anyio.fail_after(5):
            while (await run.status()).needs != {"agent": "review"}:
                await anyio.sleep(0.001)
            async with LocalEngine(reviewed, review, ada, store=store_of(), **QUICK):
                assert await run == "x: fine"


async def test_a_run_whose_owner_lacks_an_agent_goes_to_an_engine_that_has_it(
    store_of: Callable[[], Any],
) -> None:
    single = QUICK | {"limits": Limits(runs=1)}
    async with (
        LocalEngine(reviewed, store=store_of(), **QUICK) as old,
        LocalEngine(reviewed, review, ada, busy, store=store_of(), **single) as new,
    ):
        full = await new.start(busy)
        while not new.drives(full.id):
            await anyio.sleep(0.01)
        run = await old.start(reviewed)
        await given_up(old, run, "parked")
        await full.cancel()
        with anyio.fail_after(5):
            assert await run == "x: fine"


async def test_a_question_that_a_fresh_attempt_asks_again_can_be_answered_again(
    engine_of: OpenEngine,
) -> None:
    answers: list[bool] = []

    @task(retry=Retry(attempts=2, first=timedelta(0), fresh=True))
    async def sub(ctx: Context) -> bool:
        answers.append(await ctx.ask("Go?", bool))
        if ctx.attempt == 1:
            raise RuntimeError("flaky")
        return answers[-1]

    @task
    async def root(ctx: Context) -> bool:
        return await ctx.call(sub)

    async with engine_of(sub, root) as engine:
        run = await engine.start(root)
        with anyio.fail_after(5):
            for answer in (False, True):
                while (await run.status()).state is not State.ASKED:
                    await anyio.sleep(0.01)
                await run.answer(answer)
                while len(answers) < 1 + answer:
                    await anyio.sleep(0.01)
            assert await run is True
    assert answers == [False, True]


async def test_a_wait_for_a_child_that_was_given_up_is_given_up_again_in_a_replay(
    engine_of: OpenEngine,
) -> None:
    notes: list[str] = []
    late = anyio.Event()

    @task
    async def child(ctx: Context) -> str:
        await late.wait()
        return "child"

    @task
    async def root(ctx: Context) -> str:
        async def note(what: str) -> None:
            notes.append(what)

        started = await ctx.start(child)
        got = "late"
        with anyio.move_on_after(0.05):
            got = await started
        await ctx.options(name="note").step(note, got)
        await ctx.ask("Go?", bool)
        return got

    async with engine_of(child, root, idle_for=SOON) as engine:
        run = await engine.start(root)
        await given_up(engine, run, "asked")
        late.set()
        await given_up(engine, run, "child_finished")
        await run.answer(True)
        with anyio.fail_after(5):
            assert await run == "late"
        assert "diverged" not in {record.kind async for record in run}
    assert notes == ["late"]


PROGRAM = """
import os, sys
from datetime import timedelta
import anyio
from astro import Context, LocalEngine, SqliteStore, State, task

@task
async def leaf(ctx: Context) -> int:
    return 1

@task
async def root(ctx: Context) -> None:
    await ctx.call(leaf)
    await anyio.sleep(0.15)  # its lease is renewed, which does not prove it harmless
    os._exit(9)

async def main() -> None:
    store = SqliteStore(sys.argv[1], synchronous="NORMAL")
    async with LocalEngine(leaf, root, store=store, lease_for=timedelta(seconds=0.3)) as engine:
        run = await engine.options(key="one").start(root)
        while (await run.status()).state is not State.PARKED:
            await anyio.sleep(0.01)
        print((await run.status()).needs["attention"])

anyio.run(main)
"""


@pytest.fixture
def ended(tmp_path: Path) -> list[subprocess.CompletedProcess[str]]:
    """Return the processes that have performed the same run, until one of them lived."""
    program = tmp_path / "program.py"
    program.write_text(textwrap.dedent(PROGRAM))
    command = [sys.executable, str(program), str(tmp_path / "runs.db")]
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])}
    found: list[subprocess.CompletedProcess[str]] = []
    until = time.monotonic() + 15
    while time.monotonic() < until:
        found.append(
            subprocess.run(command, capture_output=True, text=True, env=environment, timeout=15)
        )
        if found[-1].returncode != 9:
            break
    return found


@pytest.mark.slow
def test_a_run_whose_body_ends_its_process_time_and_again_is_parked(
    ended: list[subprocess.CompletedProcess[str]],
) -> None:
    assert [one.returncode for one in ended] == [9, 9, 9, 9, 9, 0]
    assert ended[-1].stdout == "it ended 5 engines in a row\n"
