"""An engine inside a plain asyncio program: `python -m examples.embed_plain [STORE]`.

The run has a key, so that starting the program again on the same store goes on with it, or tells
its result at once. SIGTERM drains the engine: attempts in flight finish, the rest waits for the
next start.
"""

from __future__ import annotations

import asyncio
import signal
import sys

from astro import Context, EngineClosedError, LocalEngine, SqliteStore, task


@task
async def measure(ctx: Context, station: str) -> float:
    return float(len(station))


@task
async def report(ctx: Context, stations: list[str]) -> dict[str, float]:
    values = await ctx.map(measure, stations)
    return dict(zip(stations, values, strict=True))


async def main(store: str) -> dict[str, float]:
    """Make today's report, beside whatever else the program does."""
    async with LocalEngine(measure, report, store=SqliteStore(store)) as engine:
        drained = asyncio.create_task(engine.drain_on(signal.SIGTERM))
        try:
            run = await engine.options(key="report-2026-01-01").start(report, ["Oslo", "Bergen"])
            async for record in run:
                print(record.seq, record.kind)
            return await run
        finally:
            drained.cancel()


if __name__ == "__main__":
    try:
        print(asyncio.run(main(sys.argv[1] if len(sys.argv) > 1 else "report.db")))
    except EngineClosedError:
        print("Drained; start again to go on.")
