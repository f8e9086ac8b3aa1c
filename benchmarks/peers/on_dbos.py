"""DBOS Transact on SQLite: every step is recorded before its workflow goes on.

As shipped its SQLite engine uses the rollback journal at FULL; `--setting NORMAL` and `FULL` hand
it an engine in write-ahead mode, which is faster, so that ASTRO is compared with its best.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import sqlalchemy
from dbos import DBOS, DBOSConfig

from benchmarks.measuring import BRANCHES, LIMIT, PAUSE, System
from benchmarks.peers.answering import Setting, answer

__all__ = ["open_dbos"]


@asynccontextmanager
async def open_dbos(folder: Path, setting: Setting, /) -> AsyncIterator[System]:
    """Launch DBOS on a new file."""
    url = f"sqlite:///{folder / 'dbos.db'}"
    config: DBOSConfig = {
        "name": "benchmark",
        "system_database_url": url,
        "log_level": "ERROR",
        "console_log_level": "ERROR",
    }
    if setting != "shipped":
        config["system_database_engine"] = _engine(url, setting)
    DBOS(config=config)
    DBOS.launch()
    try:
        yield _Dbos()
    finally:
        DBOS.destroy()


def _engine(url: str, synchronous: Setting) -> sqlalchemy.Engine:
    """Return an engine set up as DBOS sets up its own, but in write-ahead mode."""
    engine = sqlalchemy.create_engine(url)

    @sqlalchemy.event.listens_for(engine, "connect")
    def _prepare(connection: Any, _record: object) -> None:
        connection.isolation_level = "IMMEDIATE"
        connection.execute("PRAGMA busy_timeout = 30000")
        connection.execute("PRAGMA foreign_keys = ON")
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute(f"PRAGMA synchronous = {synchronous}")

    return engine


class _Dbos:
    async def chain(self, items: int, /) -> int:
        return await _chain(items)

    async def fan(self, items: int, /) -> int:
        return await _fan(items)

    async def diamonds(self, items: int, /) -> int:
        return await _each(_diamond, items, BRANCHES)

    async def waits(self, items: int, /) -> int:
        return await _waits(items)


@DBOS.step()
async def _noop(item: int) -> int:
    return item


@DBOS.step()
async def _pause(item: int) -> int:
    await asyncio.sleep(PAUSE)
    return item


@DBOS.workflow()
async def _chain(items: int) -> int:
    for item in range(items):
        await _noop(item)
    return items


@DBOS.workflow()
async def _fan(items: int) -> int:
    return await _each(_noop, items, LIMIT)


@DBOS.workflow()
async def _waits(items: int) -> int:
    return await _each(_pause, items, LIMIT)


@DBOS.workflow()
async def _diamond(item: int) -> int:
    top = await _noop(item)
    sides = await asyncio.gather(_noop(top), _noop(top))
    return await _noop(sum(sides))


async def _each(perform: Callable[[int], Awaitable[int]], items: int, limit: int) -> int:
    slots = asyncio.Semaphore(limit)

    async def one(item: int) -> int:
        async with slots:
            return await perform(item)

    return len(await asyncio.gather(*map(one, range(items))))


if __name__ == "__main__":
    answer("dbos", open_dbos)
