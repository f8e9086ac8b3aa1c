"""Draining: a hundred thousand calls that wait in a queue, a thousand runs at once, one file.

Memory is looked at again and again: what is done must leave nothing behind.
"""

from __future__ import annotations

import gc
import tempfile
import time
from datetime import timedelta
from pathlib import Path

import anyio

from astro import Context, Limits, LocalEngine, SqliteStore, task
from astro.core.protocols import RunQuery
from astro.core.records import FinishedRecord, as_bytes, decode_entries, verify
from soak.telling import SoakError, amount, say, slope
from tests.load.measuring import LoopWatch, resident, watch_loop

__all__ = ["soak"]

CALLS = 100_000
PER_RUN = 20
AT_ONCE = 1_000
_SLOPE = 1.0  # MiB per 10,000 calls, in the second half
_MOST = 400.0  # MiB
_MIB = 1024 * 1024


@task
async def square(ctx: Context, run: int, number: int) -> int:
    return run + number * number


@task
async def batch(ctx: Context, run: int) -> int:
    half = PER_RUN // 2
    total = sum(await ctx.starmap(square, [(run, number) for number in range(half)], limit=5))
    for number in range(half, PER_RUN):
        total += await ctx.call(square, run, number)
    return total


def expected(run: int) -> int:
    return PER_RUN * run + sum(number * number for number in range(PER_RUN))


def soak(share: float) -> None:
    anyio.run(_drain, amount(CALLS // PER_RUN, share))


@task
async def hold(ctx: Context) -> None:
    """Take the only place of an engine, so that whatever is queued after it waits."""
    await anyio.sleep_forever()


async def _drain(runs: int) -> None:
    with tempfile.TemporaryDirectory(prefix="astro-soak-") as folder:
        path = Path(folder) / "runs.db"
        ids = await _queued(path, runs)
        engine = LocalEngine(square, batch, store=SqliteStore(path), limits=Limits(runs=AT_ONCE))
        async with engine:
            began = time.monotonic()
            async with watch_loop() as watch:
                points = await _done(engine, runs)
            wall = time.monotonic() - began
        await _judge(path, ids)
    _tell(runs, wall, watch, points)


async def _queued(path: Path, runs: int) -> dict[str, int]:
    """Queue all runs before the first of them begins."""
    ids: dict[str, int] = {}
    began = time.monotonic()
    limits = Limits(runs=1, pending=runs + 1)
    parts = (square, batch, hold)
    store = SqliteStore(path)
    async with LocalEngine(*parts, store=store, limits=limits, grace=timedelta(0)) as engine:
        holding = await engine.start(hold)
        async for record in holding.records():
            if record.kind == "started":
                break

        async def queue(numbers: range) -> None:
            for number in numbers:
                run = await engine.start(batch, number)
                ids[run.id] = number

        async with anyio.create_task_group() as group:
            for first in range(100):
                group.start_soon(queue, range(first, runs, 100))
        waiting = await _unfinished(engine)
    wall = time.monotonic() - began
    say(f"draining: {waiting} of {runs} runs wait in the queue after {wall:.0f} s")
    if waiting != runs:
        raise SoakError("some of them have begun")
    return ids


async def _done(engine: LocalEngine, runs: int) -> list[tuple[float, float]]:
    """Return when all runs are done; memory by the number of calls that are."""
    points: list[tuple[float, float]] = []
    done = 0
    while done < runs:
        await anyio.sleep(0.5)
        done = runs - await _unfinished(engine)
        gc.collect()
        points.append((done * PER_RUN, resident() / _MIB))
    return points


async def _unfinished(engine: LocalEngine) -> int:
    count, after = 0, None
    while True:
        query = RunQuery(task=batch.name, unfinished=True, limit=1_000, after=after)
        page = await engine.store.runs("default", query)
        count += len(page.items)
        after = page.next
        if after is None:
            return count


async def _judge(path: Path, ids: dict[str, int]) -> None:
    async with SqliteStore(path) as store:
        problems = (await store.check()).problems
        if problems:
            raise SoakError("\n".join(problems[:20]))
        for run, number in ids.items():
            entries = await store.read("default", run, limit=100_000)
            verify(entries, tenant="default", run=run)
            kinds = [record.kind for record in decode_entries(entries)]
            last = decode_entries(entries[-1:])[0]
            assert isinstance(last, FinishedRecord)
            right = as_bytes(last.result) == str(expected(number)).encode()
            if not right or kinds.count("succeeded") != PER_RUN or kinds.count("finished") != 1:
                raise SoakError(f"run {number} ended wrongly: {last}")


def _tell(runs: int, wall: float, watch: LoopWatch, points: list[tuple[float, float]]) -> None:
    later = points[len(points) // 2 :]
    growth = 10_000 * slope(later)
    most = max(memory for _, memory in points)
    say(
        f"draining: {runs * PER_RUN} calls of {runs} queued runs in {wall:.0f} s "
        f"({runs * PER_RUN / wall:.0f} calls/s), memory at most {most:.0f} MiB, "
        f"slope {growth:+.2f} MiB per 10,000 calls in the second half, "
        f"longest turn {1000 * watch.longest:.0f} ms of processor time"
    )
    if len(later) >= 10 and growth > _SLOPE:
        raise SoakError(f"memory grows by {growth:.2f} MiB per 10,000 calls: {later}")
    if most > _MOST:
        raise SoakError(f"memory grew to {most:.0f} MiB")
