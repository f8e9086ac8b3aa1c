"""Runs that an engine gives up: evicted, paused, drained, or too late; and its back-pressure."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import anyio
import pytest

from astro import (
    Context,
    KeyConflictError,
    Limits,
    LocalEngine,
    RunFailedError,
    RunSummary,
    State,
    StoreUnavailableError,
    task,
)
from astro.core.protocols import RunQuery
from tests.engine.conftest import QUICK, OpenEngine

pytestmark = pytest.mark.anyio
SOON = timedelta(milliseconds=10)
HOUR = timedelta(hours=1)


class AlteredStore:
    """A store, but for the verbs that a test replaces."""

    def __init__(self, store: Any) -> None:
        self._store = store

    async def __aenter__(self) -> AlteredStore:
        await self._store.__aenter__()
        return self

    async def __aexit__(self, *error: object) -> None:
        await self._store.__aexit__(*error)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)


class FailsOnce(AlteredStore):
    """A store that is out of reach the first time one of its verbs is used."""

    def __init__(self, store: Any, verb: str) -> None:
        super().__init__(store)
        setattr(self, verb, self._fail)
        self._verb = verb
        self.failed = False

    async def _fail(self, *args: Any, **options: Any) -> Any:
        delattr(self, self._verb)
        self.failed = True
        raise StoreUnavailableError("Busy.", remedy="Wait.")


class SlowClaims(AlteredStore):
    """A store whose answer to a claim is some time on its way."""

    def __init__(self, store: Any) -> None:
        super().__init__(store)
        self.claimed = anyio.Event()

    async def claim(self, *args: Any, **options: Any) -> Any:
        found = await self._store.claim(*args, **options)
        if found.leases:
            self.claimed.set()
            await anyio.sleep(0.05)
        return found


@task
async def leaf(ctx: Context, item: int) -> int:
    return item


@task
async def asks(ctx: Context) -> bool:
    return await ctx.ask("Go on?", bool)


@task
async def naps(ctx: Context) -> None:
    await ctx.sleep(HOUR)


async def given_up(engine: LocalEngine, run: Any, *, records: int = 3) -> None:
    """Return when the engine does not own a run any more that it has begun."""
    with anyio.fail_after(5):
        while engine.drives(run.id) or (await run.status()).records < records:
            await anyio.sleep(0.01)


async def only_run(store: Any) -> RunSummary:
    found: RunSummary = (await store.runs("default", RunQuery())).items[0]
    return found


async def test_the_deadline_of_a_run_ends_it_though_it_was_evicted(engine_of: OpenEngine) -> None:
    async with engine_of(asks, idle_for=SOON) as engine:
        run = await engine.options(deadline=timedelta(seconds=0.3)).start(asks)
        await given_up(engine, run)
        with anyio.fail_after(3), pytest.raises(RunFailedError, match="deadline"):
            await run


@pytest.mark.parametrize("limit", ["deadline", "timeout"])
async def test_the_time_of_a_call_ends_it_though_its_run_was_evicted(
    engine_of: OpenEngine, limit: str
) -> None:
    @task(**{limit: timedelta(seconds=0.3)})
    async def sub(ctx: Context) -> bool:
        return await ctx.ask("Go on?", bool)

    @task
    async def root(ctx: Context) -> bool:
        return await ctx.call(sub)

    async with engine_of(sub, root, idle_for=SOON) as engine:
        run = await engine.start(root)
        await given_up(engine, run, records=4)
        with anyio.fail_after(1.5), pytest.raises(RunFailedError, match="in time"):
            await run


async def test_an_eviction_that_the_store_refuses_leaves_the_engine_at_work(
    store_of: Callable[[], Any],
) -> None:
    store = FailsOnce(store_of(), "release")
    async with LocalEngine(naps, leaf, store=store, idle_for=SOON, **QUICK) as engine:
        await engine.start(naps)
        with anyio.fail_after(5):
            while not store.failed:
                await anyio.sleep(0.01)
            assert await (await patient_start(engine)) == 1


async def patient_start(engine: LocalEngine) -> Any:
    """Start a run once the engine trusts its store again."""
    while True:
        try:
            return await engine.start(leaf, 1)
        except StoreUnavailableError:
            await anyio.sleep(0.02)


async def test_a_result_that_cannot_be_put_for_once_suspends_its_run_and_fails_nothing(
    store_of: Callable[[], Any],
) -> None:
    tokens: list[int] = []

    @task
    async def large(ctx: Context) -> str:
        tokens.append(ctx.token)
        return "x" * 100

    @task
    async def root(ctx: Context) -> int:
        return len(await ctx.call(large))

    store = FailsOnce(store_of(), "put")
    async with LocalEngine(large, root, store=store, blob_size=50, **QUICK) as engine:
        run = await engine.start(root)
        with anyio.fail_after(5):
            assert await run == 100
        kinds = {record.kind async for record in run}
    assert store.failed
    assert tokens == [1, 2]
    assert not {"failed", "attempt_failed"} & kinds


async def test_a_paused_run_is_evicted_and_makes_room(engine_of: OpenEngine) -> None:
    async with engine_of(naps, leaf, idle_for=SOON, limits=Limits(runs=1)) as engine:
        run = await engine.start(naps)
        await given_up(engine, run)
        await run.pause()
        with anyio.fail_after(5):
            while (await run.status()).state is not State.PAUSED:
                await anyio.sleep(0.01)
            assert await engine.run(leaf, 1) == 1
        await given_up(engine, run)
        assert (await run.status()).state is State.PAUSED


@pytest.mark.parametrize("stop", ["pause", "drain"])
async def test_an_attempt_that_queues_for_a_slot_does_not_begin_once_it_should_not(
    engine_of: OpenEngine, stop: str
) -> None:
    begun: list[int] = []
    first = anyio.Event()

    @task
    async def work(ctx: Context, item: int) -> int:
        begun.append(item)
        first.set()
        await anyio.sleep(0.1)
        return item

    @task
    async def root(ctx: Context) -> list[int]:
        return await ctx.map(work, range(4))

    async with engine_of(work, root, limits=Limits(attempts=1)) as engine:
        run = await engine.start(root)
        await first.wait()
        await {"pause": run.pause, "drain": engine.drain}[stop]()
        await anyio.sleep(0.2)
        assert begun == [0]


async def test_closing_while_a_drain_is_under_way_waits_for_it(
    store_of: Callable[[], Any],
) -> None:
    begun = anyio.Event()

    @task
    async def root(ctx: Context) -> int:
        begun.set()
        await anyio.sleep(0.15)
        return 1

    async with store_of() as store, anyio.create_task_group() as group:
        async with LocalEngine(root, store=store_of(), **QUICK) as engine:
            await engine.start(root)
            await begun.wait()
            group.start_soon(engine.drain)
            await anyio.sleep(0.02)
        found = await only_run(store)
    assert found.state is State.DONE
    assert found.owner is None


async def test_what_a_claim_brings_after_the_engine_began_to_close_is_released(
    store_of: Callable[[], Any],
) -> None:
    async with store_of() as store:
        slow = SlowClaims(store_of())
        async with LocalEngine(naps, store=slow, **QUICK) as engine:
            await engine.start(naps)
            await slow.claimed.wait()
        assert (await only_run(store)).owner is None


async def test_a_lease_that_came_too_late_does_not_count_as_lost(
    store_of: Callable[[], Any],
) -> None:
    async with store_of():
        slow = SlowClaims(store_of())
        async with LocalEngine(leaf, store=slow, **QUICK) as engine:
            run = await engine.start(leaf, 1)
            await slow.claimed.wait()
        async with LocalEngine(leaf, store=store_of(), **QUICK) as engine:
            run = await engine.get(run.id)
            with anyio.fail_after(5):
                assert await run == 1
            assert [record.lost async for record in run if record.kind == "owned"] == [False]


async def test_a_branch_that_a_drain_held_back_does_not_wait_for_the_sleep_of_another(
    engine_of: OpenEngine,
) -> None:
    done: list[int] = []
    begun = anyio.Event()

    @task
    async def work(ctx: Context, item: int) -> int:
        begun.set()
        await anyio.sleep(0.05)
        done.append(item)
        return item

    @task
    async def root(ctx: Context) -> None:
        async def in_branch() -> None:
            for item in range(3):
                await ctx.branch("work").call(work, item)

        async with anyio.create_task_group() as group:
            group.start_soon(in_branch)
            await ctx.sleep(HOUR)

    async with engine_of(work, root) as engine:
        await engine.start(root)
        await begun.wait()
    assert done == [0]
    async with engine_of(work, root):
        with anyio.fail_after(5):
            while len(done) < 3:
                await anyio.sleep(0.01)
    assert done == [0, 1, 2]


async def test_a_fork_has_as_much_time_as_the_run_whose_deadline_has_passed(
    engine_of: OpenEngine,
) -> None:
    times = [30.0, 0.0]

    @task
    async def root(ctx: Context) -> int:
        await anyio.sleep(times.pop(0))
        return 1

    async with engine_of(root) as engine:
        run = await engine.options(deadline=timedelta(seconds=0.2)).start(root)
        with anyio.fail_after(5), pytest.raises(RunFailedError, match="deadline"):
            await run
        with anyio.fail_after(5):
            assert await (await run.fork()) == 1


async def test_a_submission_that_was_refused_takes_no_room(engine_of: OpenEngine) -> None:
    async with engine_of(leaf, limits=Limits(pending=2)) as engine:
        await engine.options(key="k").run(leaf, 1)
        for _ in range(2):
            with pytest.raises(KeyConflictError):
                await engine.options(key="k").start(leaf, 2)
        with anyio.fail_after(2):
            assert await engine.run(leaf, 3) == 3


@pytest.mark.slow
async def test_a_run_of_another_tenant_that_another_engine_finished_takes_no_room(
    store_of: Callable[[], Any],
) -> None:
    @task
    async def busy(ctx: Context) -> None:
        await anyio.sleep_forever()

    full = QUICK | {"limits": Limits(runs=1, pending=2), "grace": SOON}
    async with (
        LocalEngine(busy, leaf, store=store_of(), **full) as one,
        LocalEngine(leaf, store=store_of(), **QUICK),
    ):
        run = await one.start(busy)
        while (await run.status()).records < 3:
            await anyio.sleep(0.01)
        with anyio.fail_after(5):
            other = await one.tenant("other").start(leaf, 1)
            while (await other.status()).state is not State.DONE:
                await anyio.sleep(0.01)
            await one.start(leaf, 2)
