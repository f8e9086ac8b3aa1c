"""Ten thousand calls in two hundred runs at once, on a file."""

from __future__ import annotations

import gc
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import anyio
import pytest

from astro import Context, LocalEngine, SqliteStore, State, task
from astro.core.records import decode_entries, verify
from tests.load.measuring import resident, slowness, watch_loop
from tests.telling import Tell

pytestmark = [pytest.mark.anyio, pytest.mark.slow]

RUNS, CALLS = 200, 50
LONGEST = 0.1  # seconds of processor time, on a fast machine
GROWTH = 50 * 1024 * 1024  # bytes


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(autouse=True)
def from_nothing() -> Iterator[None]:
    """Leave the garbage of other tests out of the account."""
    gc.collect()
    gc.freeze()
    yield
    gc.unfreeze()


@task
async def square(ctx: Context, run: int, number: int) -> int:
    return run * number * number


@task
async def half(ctx: Context, run: int) -> int:
    """Ask for half of the calls at once."""
    pairs = [(run, number) for number in range(CALLS // 2)]
    return sum(await ctx.starmap(square, pairs, limit=5))


@task
async def whole(ctx: Context, run: int) -> int:
    total = await ctx.call(half, run)
    for number in range(CALLS // 2, CALLS - 1):
        total += await ctx.call(square, run, number)
    return total


def expected(run: int) -> int:
    return run * sum(number * number for number in range(CALLS - 1))


async def perform(engine: LocalEngine, runs: range) -> dict[int, tuple[str, int]]:
    """Perform some runs at once; return the id and the result of each."""
    found: dict[int, tuple[str, int]] = {}

    async def one(number: int) -> None:
        run = await engine.options(key=f"run {number}").start(whole, number)
        found[number] = run.id, await run

    async with anyio.create_task_group() as group:
        for number in runs:
            group.start_soon(one, number)
    return found


async def test_ten_thousand_calls_in_two_hundred_runs(tmp_path: Path, tell: Tell) -> None:
    store = SqliteStore(tmp_path / "runs.db", synchronous="NORMAL")
    async with LocalEngine(square, half, whole, store=store) as engine:
        await perform(engine, range(10_000, 10_020))  # what loads on first use has been loaded
        gc.collect()
        before, began, work = resident(), time.monotonic(), time.process_time()
        async with watch_loop() as watch:
            found = await perform(engine, range(RUNS))
        wall, work = time.monotonic() - began, time.process_time() - work
        growth = resident() - before
        ends: Counter[str] = Counter()
        calls = 0
        for run, _ in found.values():
            entries = await store.read("default", run, limit=1_000_000)
            verify(entries, tenant="default", run=run)
            kinds = Counter(record.kind for record in decode_entries(entries))
            ends[run] += kinds["finished"]
            calls += kinds["succeeded"]
        listed = (await engine.runs(limit=1_000)).items
    tell(
        "load",
        calls=calls,
        runs=RUNS,
        seconds=round(wall, 1),
        of_processor_time=round(work, 1),
        longest_turn_in_ms=round(1000 * watch.longest),
        longest_collection_of_garbage_in_ms=round(1000 * watch.collecting),
        growth_in_mib=round(growth / 1024 / 1024, 1),
    )
    assert {number: result for number, (_, result) in found.items()} == {
        number: expected(number) for number in range(RUNS)
    }
    assert calls == RUNS * CALLS
    assert set(ends.values()) == {1}
    assert len({run for run, _ in found.values()}) == RUNS
    assert {one.state for one in listed} == {State.DONE}
    assert watch.turns > 10
    assert watch.longest < LONGEST * slowness()
    assert growth < GROWTH


async def test_work_that_holds_the_loop_up_is_noticed() -> None:
    async with watch_loop() as watch:
        await anyio.sleep(0.01)
        end = time.thread_time() + 0.05
        while time.thread_time() < end:
            pass
        await anyio.sleep(0.01)
    assert watch.longest >= 0.05
