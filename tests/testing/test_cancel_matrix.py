"""The cancel matrix: passes what is safe to cancel, and says of the rest what is wrong with it."""

from __future__ import annotations

import asyncio
import itertools
import os
import random
import subprocess
from datetime import timedelta
from pathlib import Path
from typing import Any

import anyio
import pytest

from astro import Context, Node, SqliteStore, State, Workflow, task
from astro.testing.callers import Stage
from astro.testing.cancelling import CancelMatrixError, cancel_matrix
from astro.testing.loop import run_deterministically

DAY = timedelta(days=1)
MIDDLE = range(20, 60)  # steps between opening an engine and closing it


@task
async def draft(ctx: Context, topic: str) -> str:
    await anyio.sleep(1)
    return f"About {topic}."


@task
async def quick(ctx: Context, topic: str) -> str:
    return topic


@task
async def shorten(ctx: Context, text: str) -> str:
    await anyio.sleep(1)
    return text[:5]


@task
async def article(ctx: Context, topic: str) -> str:
    text = await ctx.call(draft, topic)
    return await ctx.call(shorten, text)


def problems(caller: Any, *args: Any, **options: Any) -> CancelMatrixError:
    with pytest.raises(CancelMatrixError) as caught:
        cancel_matrix(caller, *args, **options)
    return caught.value


# --- Tasks -------------------------------------------------------------------------------------


def test_a_workflow_of_calls_is_cancelled_at_each_step_that_is_asked_for() -> None:
    report = cancel_matrix(article, "fusion", at=MIDDLE, ways=["once"])
    assert report.deterministic
    assert report.steps > 60
    assert report.cancellations == report.cancelled == len(MIDDLE)
    assert 0 < report.resumed <= len(MIDDLE)


def test_every_way_is_tried_at_every_step() -> None:
    async def rests(stage: Stage) -> None:
        await anyio.sleep(1)
        await anyio.sleep(1)

    report = cancel_matrix(rests)
    assert report.cancellations == 3 * report.steps


def test_days_pass_at_once_with_a_coarse_resolution() -> None:
    @task
    async def waits(ctx: Context) -> str:
        await ctx.sleep(3 * DAY)
        late = await ctx.ask("Anybody there?", bool, timeout=2 * DAY, default=False)
        return f"{late} {await ctx.ask('Sure?', bool)}"

    answers = {"Sure?": True}
    hour = timedelta(hours=1)
    report = cancel_matrix(
        waits, answers=answers, resolution=hour, at=range(20, 400, 20), ways=["once"]
    )
    assert report.deterministic
    assert report.cancelled == 19
    assert report.resumed >= 19


def test_a_question_without_an_answer_is_reported() -> None:
    @task
    async def asks(ctx: Context) -> bool:
        return await ctx.ask("Publish?", bool)

    error = problems(asks)
    assert "not cancelled at all: the caller does not end; it waits in" in str(error)


def test_what_changes_from_one_run_to_the_next_is_no_problem() -> None:
    @task
    async def gambles(ctx: Context) -> float:
        return random.random()

    report = cancel_matrix(gambles, at=MIDDLE, ways=["once"])
    assert not report.deterministic


def test_a_workflow_as_data_is_a_task_like_any_other() -> None:
    flow = Workflow("flow", [Node("first", draft, {"topic": "fusion"})])
    assert cancel_matrix(flow, parts=[draft], at=range(20, 40), ways=["once"]).cancelled == 20


# --- Callers -----------------------------------------------------------------------------------


def test_a_function_gets_its_arguments_and_engines_of_its_own() -> None:
    async def reads(stage: Stage, topic: str) -> list[str]:
        async with stage.engine() as one, stage.engine() as two:
            run = await one.options(key="one").start(article, topic)
            await (await two.get(run.id))
            return [record.kind async for record in run.records()][-1:]

    report = cancel_matrix(
        reads, "fusion", parts=[article], again=True, at=range(40, 60), ways=["once"]
    )
    assert report.cancelled == 20


def test_a_run_may_end_otherwise_where_that_is_expected() -> None:
    @task
    async def rests(ctx: Context) -> str:
        await ctx.sleep(timedelta(seconds=3))
        return "rested"

    async def gives_up(stage: Stage) -> None:
        async with stage.engine() as engine:
            run = await engine.options(key="rest").start(rests)
            await run.cancel("enough")

    error = problems(gives_up, parts=[rests], at=range(10, 30), ways=["once"])
    assert 'the run is done ("rested") and not cancelled' in str(error)
    either = frozenset({State.DONE})
    assert cancel_matrix(gives_up, parts=[rests], states=either, at=range(10, 30), ways=["once"])


def test_runs_are_brought_to_the_end_in_every_tenant() -> None:
    async def visits(stage: Stage) -> str:
        async with stage.engine() as engine:
            return await engine.options(tenant="guests", key="a").run(article, "fusion")

    report = cancel_matrix(
        visits, parts=[article], tenants=["guests"], again=True, at=MIDDLE, ways=["once"]
    )
    assert report.resumed > 20


def test_a_caller_that_fails_fails_when_it_is_not_cancelled() -> None:
    async def breaks(stage: Stage) -> None:
        await anyio.sleep(1)
        raise KeyError("broken")

    report = cancel_matrix(breaks, ways=["once"], fails=True)
    assert report.cancelled == report.steps
    with pytest.raises(CancelMatrixError, match="raised KeyError: 'broken': if it should, say"):
        cancel_matrix(breaks, ways=["once"])


def test_a_caller_that_should_fail_has_to() -> None:
    async def rests_well(stage: Stage) -> None:
        await anyio.sleep(1)

    with pytest.raises(CancelMatrixError, match="leave out fails=True"):
        cancel_matrix(rests_well, fails=True)


def test_a_caller_that_takes_too_long_hears_how_it_gets_more_time() -> None:
    @task
    async def rests_long(ctx: Context) -> None:
        await ctx.sleep(DAY)

    told = str(problems(rests_long))
    assert "the caller does not end; it waits in " in told
    assert "it had 0:30:00: where it waits for longer, say resolution=timedelta(hours=1)" in told
    assert len(told.splitlines()) == 3, "what is left of it is no news"
    assert cancel_matrix(
        rests_long, resolution=timedelta(hours=1), at=[20], ways=["once"]
    ).cancelled


# --- What it finds -----------------------------------------------------------------------------


def test_a_task_that_is_left_behind_is_found() -> None:
    kept = []

    async def forgets(stage: Stage) -> None:
        kept.append(asyncio.ensure_future(anyio.sleep(100)))
        await anyio.sleep(1)
        await asyncio.wait({kept[-1]}) if kept[-1].cancel() else None

    error = problems(forgets, ways=["once"])
    assert any(problem.startswith("a task is left behind: Task-") for problem in error.problems)
    assert error.steps
    assert f"at=[{error.steps[0]}], ways=['once']" in str(error)


def test_the_step_that_it_names_repeats_it() -> None:
    async def slips(stage: Stage) -> None:
        await anyio.sleep(1)
        try:
            await anyio.sleep(1)
        except asyncio.CancelledError:
            return
        await anyio.sleep(1)

    error = problems(slips, ways=["once"])
    first, last = error.steps[0], error.steps[-1]
    assert problems(slips, ways=["once"], at=[first]).steps == [first]
    assert cancel_matrix(slips, ways=["once"], at=[first - 1, last + 1]).cancelled == 2
    assert f"slips ({__file__}:" in str(error)


def test_a_file_and_a_process_that_are_left_open_are_found() -> None:
    opened: list[int] = []
    begun: list[subprocess.Popen[bytes]] = []

    async def forgets(stage: Stage) -> None:
        opened.append(os.open(os.devnull, os.O_RDONLY))
        begun.append(subprocess.Popen(["sleep", "60"]))  # noqa: ASYNC220
        await anyio.sleep(1)
        os.close(opened.pop())
        begun[-1].kill()
        begun.pop().wait()

    try:
        told = str(problems(forgets, ways=["once"], most=2))
        assert f"a file descriptor is left behind: {opened[0]} -> {os.devnull}" in told
        assert f"a child process is left behind: {begun[0].pid} " in told
    finally:
        for number in opened:
            os.close(number)
        for one in begun:
            one.kill()
            one.wait()


@task
async def takes_its_time(ctx: Context) -> str:
    await anyio.sleep(2)
    return "done"


def test_a_task_that_gives_nothing_back_when_it_is_cut_off_is_found() -> None:
    opened: list[int] = []

    @task
    async def forgets(ctx: Context) -> str:
        opened.append(os.open(os.devnull, os.O_RDONLY))
        said = await ctx.call(takes_its_time)
        os.close(opened.pop())
        return said

    try:
        error = problems(forgets, ways=["once"])
        assert any("a file descriptor is left behind" in one for one in error.problems)
        patient = cancel_matrix(forgets, ways=["once"], at=error.steps, grace=timedelta(minutes=1))
        assert patient.cancelled == len(error.steps), "given time, it does"
    finally:
        for number in opened:
            os.close(number)


def test_a_cancellation_that_is_swallowed_is_found() -> None:
    async def swallows(stage: Stage) -> str:
        try:
            await anyio.sleep(1)
        except asyncio.CancelledError:
            return "slept"
        return "slept"

    assert problems(swallows, ways=["once"]).problems == [
        "the caller was cancelled, and yet it returned 'slept'"
    ]


def test_a_scope_from_which_its_cancellation_escapes_is_found() -> None:
    async def renews(stage: Stage) -> None:
        cancelled = False
        try:
            await anyio.sleep(1)
        except asyncio.CancelledError:
            cancelled = True
        if cancelled:
            raise asyncio.CancelledError  # another one, which no scope knows

    assert problems(renews, ways=["scope"]).problems == [
        "the cancellation of a scope escaped from it"
    ]
    assert cancel_matrix(renews, ways=["once", "twice"]).cancelled


def test_another_error_in_place_of_the_cancellation_is_found() -> None:
    async def covers(stage: Stage) -> None:
        try:
            await anyio.sleep(1)
        finally:
            if asyncio.current_task().cancelling():  # type: ignore[union-attr]  # it is a task
                raise KeyError("clean-up")

    error = problems(covers, ways=["once"])
    assert "the caller was cancelled, and yet it raised KeyError: 'clean-up'" in error.problems


def test_clean_up_that_a_second_cancellation_cuts_off_is_found() -> None:
    async def cleans_up(stage: Stage) -> None:
        async with stage.store:
            await anyio.sleep(2)
            await anyio.sleep(2)

    async def leaves(stage: Stage) -> None:
        work = asyncio.ensure_future(cleans_up(stage))
        try:
            await anyio.sleep(1)
        finally:
            await asyncio.wait({work})

    assert cancel_matrix(leaves, ways=["once"], at=[2]).cancelled == 1
    error = problems(leaves, ways=["twice"], at=[2])
    assert [problem.partition(":")[0] for problem in error.problems] == ["a task is left behind"]


def test_a_store_that_is_left_open_is_found() -> None:
    async def leaves_it(stage: Stage) -> None:
        await stage.store.__aenter__()
        await anyio.sleep(1)
        await stage.store.__aexit__(None, None, None)

    assert problems(leaves_it, ways=["once"]).problems == ["the store is left open"]


def test_an_error_that_nobody_hears_of_is_found() -> None:
    async def fails() -> None:
        await anyio.lowlevel.checkpoint()
        raise KeyError("lost")

    async def looks_away(stage: Stage) -> None:
        work = asyncio.ensure_future(fails())
        await anyio.sleep(1)
        await asyncio.wait({work})
        work.exception()

    error = problems(looks_away, ways=["once"])
    assert any("exception was never retrieved" in problem for problem in error.problems)
    assert "KeyError('lost')" in str(error)


def test_a_caller_that_never_ends_is_found() -> None:
    async def clings(stage: Stage) -> None:
        done = anyio.Event()
        try:
            await anyio.sleep(1)
            done.set()
        finally:
            await done.wait()

    error = problems(clings, ways=["once"])
    assert error.problems[0].startswith("the caller does not end; it waits in ")
    assert "clings (" in error.problems[0]


def test_runs_without_a_key_cannot_be_asked_for_again() -> None:
    async def starts_anew(stage: Stage) -> str:
        async with stage.engine() as engine:
            return await engine.run(article, "fusion")

    error = problems(starts_anew, parts=[article], again=True)
    assert "there were 1 runs, and 2 when it had asked again: give them keys" in str(error)
    assert cancel_matrix(starts_anew, parts=[article], at=MIDDLE, ways=["once"]).cancelled


# --- How it is asked ---------------------------------------------------------------------------


@pytest.mark.anyio
@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_inside_an_event_loop_it_is_refused(anyio_backend: str) -> None:
    with pytest.raises(RuntimeError, match="where none runs"):
        cancel_matrix(article, "fusion")


def test_some_steps_are_spread_evenly() -> None:
    seen: list[int] = []

    async def counts(stage: Stage) -> None:
        for number in range(100):
            try:
                await anyio.lowlevel.checkpoint()
            except asyncio.CancelledError:
                seen.append(number)
                raise

    assert cancel_matrix(counts, ways=["once"], most=10).cancellations == 10
    gaps = {late - early for early, late in itertools.pairwise(seen[1:])}
    assert gaps <= {10, 11}


def test_seeds_give_other_orders() -> None:
    steps = {
        cancel_matrix(article, "fusion", seed=seed, at=[], ways=["once"]).steps for seed in range(6)
    }
    assert len(steps) > 1


def test_a_sqlite_store_is_used_in_real_time(tmp_path: Path) -> None:
    numbers = itertools.count()

    def stores(clock: Any) -> SqliteStore:
        return SqliteStore(tmp_path / f"{next(numbers)}.db", clock=clock, synchronous="NORMAL")

    async def waits(stage: Stage) -> str:
        async with stage.engine() as engine:
            return await engine.options(key="a").run(quick, "fusion")

    report = cancel_matrix(
        waits, parts=[quick], again=True, stores=stores, threads=True, at=[5, 6], ways=["scope"]
    )
    assert report.cancelled == 2


def test_a_hook_hears_of_each_step_and_may_cancel_what_runs_next() -> None:
    heard: list[int] = []

    async def main() -> bool:
        sleeping = asyncio.ensure_future(anyio.sleep(1))
        heard.clear()
        await asyncio.wait({sleeping})
        return sleeping.cancelled()

    def on_step(number: int) -> None:
        heard.append(number)
        if len(heard) == 3:
            [task.cancel() for task in asyncio.all_tasks() if task.get_name() != "main"]

    assert run_deterministically(main, seed=None, on_step=on_step).value
    assert heard == [*range(heard[0], heard[0] + len(heard))]
