"""Leases: taking over, draining, evicting, parking; rules 10 to 13, 20 to 25."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import anyio
import pytest

from astro import (
    Context,
    Effect,
    Limits,
    LocalEngine,
    NeedsAgentError,
    Priority,
    RunFailedError,
    State,
    SystemClock,
    agent,
    task,
)
from tests.engine.conftest import QUICK, OpenEngine
from tests.engine.hold import Hold

pytestmark = pytest.mark.anyio


async def test_an_engine_continues_the_runs_it_finds(engine_of: OpenEngine) -> None:
    done: list[int] = []
    hold = Hold()

    @task
    async def work(ctx: Context, item: int) -> int:
        done.append(item)
        return item

    @task
    async def root(ctx: Context) -> int:
        total = 0
        for item in range(5):
            total += await ctx.call(work, item)
            if item == 2:
                await hold()
        return total

    async with engine_of(work, root) as engine:
        run = await engine.start(root)
        await hold.reached.wait()
    hold.release()
    async with engine_of(work, root) as engine:
        assert await (await engine.get(run.id)) == 10
    assert done == [0, 1, 2, 3, 4]


async def test_the_key_of_a_call_is_the_same_on_every_attempt_and_after_a_restart(
    engine_of: OpenEngine,
) -> None:
    keys: list[str] = []
    hold = Hold()

    @task(retry=3, effect=Effect.SPEND)
    async def pay(ctx: Context) -> None:
        keys.append(ctx.key)
        await hold()

    @task
    async def root(ctx: Context) -> None:
        await ctx.call(pay)

    async with engine_of(pay, root) as engine:
        run = await engine.start(root)
        await hold.reached.wait()
    hold.release()
    async with engine_of(pay, root) as engine:
        await (await engine.get(run.id))
    assert len(keys) == 2
    assert len(set(keys)) == 1
    assert keys[0].startswith(run.id)


async def test_a_second_engine_takes_over_when_the_first_stops_renewing(
    store_of: Callable[[], Any],
) -> None:
    class Asleep(SystemClock):
        """The clock of an engine that does not get to renew its leases."""

        async def sleep(self, duration: timedelta, /) -> None:
            await anyio.sleep_forever()

    go, begun = anyio.Event(), anyio.Event()

    @task
    async def root(ctx: Context) -> int:
        if ctx.token == 1:
            begun.set()
            await go.wait()
        return ctx.token

    async with LocalEngine(root, store=store_of(), clock=Asleep(), **QUICK) as slow:
        run = await slow.start(root)
        await begun.wait()
        async with LocalEngine(root, store=store_of(), **QUICK) as heir:
            with anyio.fail_after(5):
                assert await (await heir.get(run.id)) == 2
            go.set()  # the overtaken owner finishes too, and cannot write
            await anyio.sleep(0.1)
            assert await run == 2
            assert [r.kind async for r in run].count("finished") == 1


async def test_a_drain_lets_attempts_in_flight_finish(engine_of: OpenEngine) -> None:
    begun = anyio.Event()
    done: list[str] = []

    @task
    async def work(ctx: Context) -> str:
        begun.set()
        await anyio.sleep(0.1)
        done.append("work")
        return "worked"

    @task
    async def root(ctx: Context) -> str:
        first = await ctx.call(work)
        done.append("after")
        return first

    async with engine_of(work, root) as engine:
        run = await engine.start(root)
        await begun.wait()
        await engine.drain(timedelta(seconds=5))
        assert done[0] == "work"
    async with engine_of(work, root) as engine:
        assert await (await engine.get(run.id)) == "worked"
    assert done.count("work") == 1


async def test_a_run_in_which_nothing_moves_is_evicted_and_comes_back(
    engine_of: OpenEngine,
) -> None:
    @task
    async def root(ctx: Context) -> bool:
        return await ctx.ask("Go on?", bool)

    async with engine_of(root, idle_for=timedelta(seconds=0.1)) as engine:
        run = await engine.start(root)
        while engine.drives(run.id) or (await run.status()).records < 3:
            await anyio.sleep(0.02)
        with anyio.fail_after(5):
            while (await run.status()).owner is not None:
                await anyio.sleep(0.02)
            await run.answer(True)
            assert await run is True


async def test_a_sleeping_run_wakes_after_it_was_evicted(engine_of: OpenEngine) -> None:
    @task
    async def root(ctx: Context) -> str:
        await ctx.sleep(timedelta(seconds=1.2))
        return "awake"

    async with engine_of(root, idle_for=timedelta(seconds=0.1)) as engine:
        run = await engine.start(root)
        while engine.drives(run.id) or (await run.status()).records < 3:
            await anyio.sleep(0.02)
        with anyio.fail_after(5):
            assert await run == "awake"


async def test_rule_20_a_run_whose_task_is_not_deployed_waits_for_it(
    engine_of: OpenEngine,
) -> None:
    hold = Hold()

    @task(name="report")
    async def old(ctx: Context) -> str:
        await hold()
        return "never"

    @task
    async def other(ctx: Context) -> None: ...

    @task(name="summary", aliases=("report",))
    async def renamed(ctx: Context) -> str:
        return "renamed"

    async with engine_of(old) as engine:
        run = await engine.start(old)
        await hold.reached.wait()
    async with engine_of(other) as engine:
        await anyio.sleep(0.1)
        assert not (await (await engine.get(run.id)).status()).state.terminal
    async with engine_of(renamed) as engine:
        assert await (await engine.get(run.id)) == "renamed"


async def test_rule_20_arguments_that_no_longer_decode_park_the_run(
    engine_of: OpenEngine,
) -> None:
    hold = Hold()

    @task(name="root")
    async def before(ctx: Context, size: str) -> str:
        await hold()
        return size

    @task(name="root")
    async def after(ctx: Context, size: int) -> int:
        return size

    async with engine_of(before) as engine:
        run = await engine.start(before, "large")
        await hold.reached.wait()
    async with engine_of(after) as engine:
        again = await engine.get(run.id)
        async for record in again.records():
            if record.kind == "parked":
                break
        found = await again.status()
        assert found.state is State.PARKED
        assert found.needs == {"arguments": "root"}
    hold.release()
    async with engine_of(before) as engine:
        assert await (await engine.get(run.id)) == "large"


async def test_rule_10_what_changed_code_no_longer_asks_for_is_recorded(
    engine_of: OpenEngine,
) -> None:
    hold = Hold()

    @task
    async def work(ctx: Context, item: str) -> str:
        return item

    @task(name="root")
    async def before(ctx: Context) -> str:
        await ctx.call(work, "old")
        await hold()
        return "before"

    @task(name="root")
    async def after(ctx: Context) -> str:
        return await ctx.call(work, "new")

    async with engine_of(work, before) as engine:
        run = await engine.start(before)
        await hold.reached.wait()
    async with engine_of(work, after) as engine:
        again = await engine.get(run.id)
        assert await again == "new"
        diverged = [r.missing async for r in again if r.kind == "diverged"]
    assert [[i.partition(":")[0] for i in missing] for missing in diverged] == [["work"]]


async def test_rule_10_an_irreversible_call_is_held_until_a_person_accepts_the_divergence(
    engine_of: OpenEngine,
) -> None:
    hold = Hold()
    launched: list[str] = []

    @task(effect=Effect.IRREVERSIBLE)
    async def launch(ctx: Context, what: str) -> None:
        launched.append(what)

    @task(name="root")
    async def before(ctx: Context) -> None:
        await ctx.call(launch, "a")
        await hold()

    @task(name="root")
    async def after(ctx: Context) -> None:
        await ctx.call(launch, "b")

    async with engine_of(launch, before) as engine:
        run = await engine.start(before)
        await hold.reached.wait()
    async with engine_of(launch, after) as engine:
        again = await engine.get(run.id)
        async for record in again.records():
            if record.kind == "parked":
                break
        assert launched == ["a"]
        await again.resume()
        await again
    assert launched == ["a", "b"]


async def test_rule_10_reordered_calls_are_no_divergence(engine_of: OpenEngine) -> None:
    hold = Hold()
    done: list[str] = []

    @task
    async def work(ctx: Context, item: str) -> None:
        done.append(item)

    @task(name="root")
    async def before(ctx: Context) -> None:
        await ctx.call(work, "a")
        await ctx.call(work, "b")
        await hold()

    @task(name="root")
    async def after(ctx: Context) -> None:
        await ctx.call(work, "b")
        await ctx.call(work, "inserted")
        await ctx.call(work, "a")

    async with engine_of(work, before) as engine:
        run = await engine.start(before)
        await hold.reached.wait()
    async with engine_of(work, after) as engine:
        again = await engine.get(run.id)
        await again
        assert "diverged" not in [r.kind async for r in again]
    assert done == ["a", "b", "inserted"]


async def test_a_failed_run_survives_a_restart_as_failed(engine_of: OpenEngine) -> None:
    @task
    async def root(ctx: Context) -> None:
        raise ValueError("no")

    async with engine_of(root) as engine:
        run = await engine.options(key="k").start(root)
        with pytest.raises(RunFailedError):
            await run
    async with engine_of(root) as engine:
        again = await engine.options(key="k", priority=Priority.HIGH).start(root)
        assert again.id == run.id
        with pytest.raises(RunFailedError, match="no"):
            await again


async def test_two_engines_share_the_runs_of_one_store(store_of: Callable[[], Any]) -> None:
    seen: set[int] = set()

    @task
    async def work(ctx: Context, item: int) -> int:
        await anyio.sleep(0.01)
        seen.add(item)
        return item

    async with (
        LocalEngine(work, store=store_of(), **QUICK) as one,
        LocalEngine(work, store=store_of(), **QUICK),
    ):
        runs = [await one.options(key=str(n)).start(work, n) for n in range(20)]
        with anyio.fail_after(10):
            assert [await run for run in runs] == list(range(20))
        for run in runs:
            kinds = [r.kind async for r in run]
            assert kinds.count("finished") == 1


async def test_rule_10_items_of_a_map_that_the_journal_answers_were_asked_for(
    engine_of: OpenEngine,
) -> None:
    hold = Hold()
    done: list[int] = []

    @task
    async def work(ctx: Context, item: int) -> int:
        done.append(item)
        return item

    @task
    async def root(ctx: Context) -> int:
        total = sum(await ctx.map(work, range(5)))
        await hold()
        return total + await ctx.call(work, 100)

    async with engine_of(work, root) as engine:
        run = await engine.options(strict=True).start(root)
        await hold.reached.wait()
    hold.release()
    async with engine_of(work, root) as engine:
        again = await engine.get(run.id)
        with anyio.fail_after(5):
            assert await again == 110
        assert "diverged" not in [r.kind async for r in again]
    assert sorted(done) == [0, 1, 2, 3, 4, 100]


async def lose(store: Any, task_name: str, times: int) -> None:
    """Claim the runs of a task as engines do that die at once."""
    for time in range(times):
        claimed = await store.claim(
            f"dead {time}", offers=frozenset({task_name}), limit=9, duration=timedelta(0)
        )
        assert claimed.leases


async def left_behind(engine_of: OpenEngine, item: Any) -> str:
    """Leave a run in the store that no engine owns, and return its id."""
    async with engine_of(item, limits=Limits(attempts=1)) as engine:
        run = await engine.start(item)
        await engine.drain(timedelta(0))
        return run.id


async def test_rule_22_a_run_that_ends_engine_after_engine_is_parked(
    engine_of: OpenEngine, store_of: Callable[[], Any]
) -> None:
    hold = Hold()

    @task
    async def poison(ctx: Context) -> None:
        await hold()

    id = await left_behind(engine_of, poison)
    async with store_of() as store:
        await lose(store, "poison", 6)
    async with engine_of(poison) as engine:
        run = await engine.get(id)
        async for record in run.records():
            if record.kind == "parked":
                break
        assert "attention" in (await run.status()).needs
        hold.release()
        await run.resume()
        with anyio.fail_after(5):
            await run


async def test_rule_22_from_the_second_loss_on_a_run_is_tried_alone(
    engine_of: OpenEngine, store_of: Callable[[], Any]
) -> None:
    together: list[int] = []
    running = 0
    hold = Hold()

    @task
    async def suspect(ctx: Context) -> None:
        await hold()
        await anyio.sleep(0.2)
        together.append(running)

    @task
    async def other(ctx: Context) -> None:
        nonlocal running
        running += 1
        await anyio.sleep(0.01)
        running -= 1

    id = await left_behind(engine_of, suspect)
    async with store_of() as store:
        await lose(store, "suspect", 3)
    hold.release()
    async with engine_of(suspect, other) as engine:
        others = [await engine.start(other) for _ in range(5)]
        with anyio.fail_after(5):
            await (await engine.get(id))
            for run in others:
                await run
    assert together == [0]


async def test_rule_20_a_run_that_lacks_an_agent_parks_until_one_is_deployed(
    engine_of: OpenEngine,
) -> None:
    @task(needs_agent=True)
    async def review(ctx: Context, text: str) -> str:
        raise NeedsAgentError("review")

    @agent(review)
    async def reviewer(ctx: Context, text: str) -> str:
        return f"read {text}"

    @task
    async def root(ctx: Context) -> str:
        return await ctx.call(review, "it")

    async with engine_of(root) as engine:
        run = await engine.tenant("acme").start(root)
        async for record in run.records():
            if record.kind == "parked":
                break
        assert (await run.status()).needs == {"agent": "review"}
    async with engine_of(root, reviewer) as engine:
        with anyio.fail_after(5):
            assert await (await engine.tenant("acme").get(run.id)) == "read it"


async def test_rule_18_a_run_that_was_paused_while_nobody_owned_it_stays_paused(
    engine_of: OpenEngine,
) -> None:
    done: list[str] = []

    @task
    async def work(ctx: Context) -> str:
        done.append("work")
        return "worked"

    @task
    async def root(ctx: Context) -> str:
        await ctx.ask("Go on?", bool)
        return await ctx.call(work)

    async with engine_of(work, root) as engine:
        run = await engine.start(root)
        async for record in run.records():
            if record.kind == "asked":
                break
        await engine.drain(timedelta(0))
        await run.pause()
        await run.answer(True)
    async with engine_of(work, root) as engine:
        again = await engine.get(run.id)
        async for record in again.records():
            if record.kind == "answered":
                break
        await anyio.sleep(0.1)
        assert done == []
        await again.resume()
        with anyio.fail_after(5):
            assert await again == "worked"


async def test_runs_that_differ_only_in_their_result_differ(engine_of: OpenEngine) -> None:
    @task
    async def echo(ctx: Context, text: str) -> str:
        return text

    async with engine_of(echo) as engine:
        one, two = await engine.start(echo, "a"), await engine.start(echo, "b")
        await one
        await two
        assert [d.call for d in await one.diff(two)] == ["echo"]
        fork = await one.fork()
        assert await fork == "a"
