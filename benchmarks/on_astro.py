"""ASTRO performing the shapes: every call is a task, every diamond a run of its own."""

import asyncio
import os
import signal
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path

import anyio

from astro import Context, LocalEngine, SqliteStore, task
from benchmarks.measuring import BRANCHES, LIMIT, PAUSE, Synchronous, System

__all__ = ["fan", "open_astro", "open_engine", "resumed"]


@task
async def noop(ctx: Context, item: int) -> int:
    """Return the item."""
    return item


@task
async def pause(ctx: Context, item: int) -> int:
    """Return the item after a while."""
    await anyio.sleep(PAUSE)
    return item


@task
async def chain(ctx: Context, items: int) -> int:
    """Call one after the other."""
    for item in range(items):
        await ctx.call(noop, item)
    return items


@task
async def fan(ctx: Context, items: int) -> int:
    """Call many at a time."""
    return len(await ctx.map(noop, range(items), limit=LIMIT))


@task
async def waits(ctx: Context, items: int) -> int:
    """Wait many times at a time."""
    return len(await ctx.map(pause, range(items), limit=LIMIT))


@task
async def diamond(ctx: Context, item: int) -> int:
    """Call one, then two beside each other, then one."""
    top = await ctx.call(noop, item)
    sides = await ctx.map(noop, [top, top + 1])
    return await ctx.call(noop, sum(sides))


@task
async def unfinished(ctx: Context, mark: str) -> float:
    """Kill the process the first time; the next time, tell the moment (`time.perf_counter`)."""
    moment = time.perf_counter()
    if not await anyio.Path(mark).exists():
        await anyio.Path(mark).touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return moment


@task
async def resumed(ctx: Context, items: int, mark: str) -> float:
    """Finish many calls, then make one that does not survive at first."""
    await ctx.map(noop, range(items), limit=LIMIT)
    return await ctx.call(unfinished, mark)


def open_engine(
    folder: Path, synchronous: Synchronous, /, *, lease_for: timedelta = timedelta(seconds=15)
) -> LocalEngine:
    """Return an engine on the store in this folder, with every task of the benchmarks."""
    tasks = (noop, pause, chain, fan, waits, diamond, unfinished, resumed)
    store = SqliteStore(folder / "astro.db", synchronous=synchronous)
    return LocalEngine(*tasks, store=store, lease_for=lease_for)


@asynccontextmanager
async def open_astro(folder: Path, synchronous: Synchronous, /) -> AsyncIterator[System]:
    """Open an engine on a new store."""
    async with open_engine(folder, synchronous) as engine:
        yield _Astro(engine)


class _Astro:
    def __init__(self, engine: LocalEngine) -> None:
        self._engine = engine

    async def chain(self, items: int, /) -> int:
        return await self._engine.run(chain, items)

    async def fan(self, items: int, /) -> int:
        return await self._engine.run(fan, items)

    async def waits(self, items: int, /) -> int:
        return await self._engine.run(waits, items)

    async def diamonds(self, items: int, /) -> int:
        slots = asyncio.Semaphore(BRANCHES)

        async def one(item: int) -> int:
            async with slots:
                return await self._engine.run(diamond, item)

        return len(await asyncio.gather(*map(one, range(items))))
