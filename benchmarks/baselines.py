"""Baselines: the least that the promise of a durable call can cost.

Three hand-written programs, from no promise at all to the best that one SQLite file can keep:
plain asyncio, one commit per step, and group commit. None of them retries, routes, budgets or
replays; what ASTRO costs above them is the price of that.
"""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import aiosqlite

from benchmarks.measuring import BRANCHES, LIMIT, PAUSE, Synchronous, System

__all__ = ["open_commit_per_step", "open_group_commit", "open_plain"]

_SCHEMA = "CREATE TABLE journal (seq INTEGER PRIMARY KEY, record TEXT NOT NULL)"
_INSERT = "INSERT INTO journal (record) VALUES (?)"


@asynccontextmanager
async def open_plain(_folder: Path, _synchronous: Synchronous, /) -> AsyncIterator[System]:
    """Open baseline (a): plain asyncio, nothing is kept."""
    yield _Program(_Nothing())


@asynccontextmanager
async def open_commit_per_step(folder: Path, synchronous: Synchronous, /) -> AsyncIterator[System]:
    """Open baseline (b): one aiosqlite connection, one commit per step."""
    async with _connect(folder, synchronous) as connection:
        yield _Program(_CommitPerStep(connection))


@asynccontextmanager
async def open_group_commit(folder: Path, synchronous: Synchronous, /) -> AsyncIterator[System]:
    """Open baseline (c): a queue, one writer task, one transaction for all that waits."""
    async with _connect(folder, synchronous) as connection:
        journal = _GroupCommit(connection)
        writer = asyncio.create_task(journal.write())
        try:
            yield _Program(journal)
        finally:
            writer.cancel()
            with suppress(asyncio.CancelledError):
                await writer


@asynccontextmanager
async def _connect(folder: Path, synchronous: Synchronous) -> AsyncIterator[aiosqlite.Connection]:
    async with aiosqlite.connect(folder / "baseline.db") as connection:
        await connection.execute("PRAGMA journal_mode = WAL")
        await connection.execute(f"PRAGMA synchronous = {synchronous}")
        await connection.execute(_SCHEMA)
        await connection.commit()
        yield connection


class _Journal(Protocol):
    async def save(self, record: str) -> None:
        """Return when the record is committed."""
        ...


class _Nothing:
    async def save(self, record: str) -> None:
        pass


class _CommitPerStep:
    def __init__(self, connection: aiosqlite.Connection) -> None:
        self._connection = connection

    async def save(self, record: str) -> None:
        await self._connection.execute(_INSERT, (record,))
        await self._connection.commit()


class _GroupCommit:
    def __init__(self, connection: aiosqlite.Connection) -> None:
        self._connection = connection
        self._waiting: list[tuple[str, asyncio.Future[None]]] = []
        self._arrived = asyncio.Event()

    async def save(self, record: str) -> None:
        committed = asyncio.get_running_loop().create_future()
        self._waiting.append((record, committed))
        self._arrived.set()
        await committed

    async def write(self) -> None:
        """Commit whatever waits, for ever."""
        while True:
            await self._arrived.wait()
            self._arrived.clear()
            batch, self._waiting = self._waiting, []
            await self._connection.execute("BEGIN")
            await self._connection.executemany(_INSERT, [(record,) for record, _ in batch])
            await self._connection.execute("COMMIT")
            for _, committed in batch:
                if not committed.done():
                    committed.set_result(None)


@dataclass
class _Program:
    """Performs the shapes as a careful person writes them by hand."""

    journal: _Journal

    async def chain(self, items: int, /) -> int:
        for item in range(items):
            await self._step(_noop, item)
        return items

    async def fan(self, items: int, /) -> int:
        return await _each(items, LIMIT, lambda item: self._step(_noop, item))

    async def diamonds(self, items: int, /) -> int:
        return await _each(items, BRANCHES, self._diamond)

    async def waits(self, items: int, /) -> int:
        return await _each(items, LIMIT, lambda item: self._step(_pause, item))

    async def _diamond(self, item: int) -> int:
        top = await self._step(_noop, item)
        sides = await asyncio.gather(self._step(_noop, top), self._step(_noop, top))
        return await self._step(_noop, sum(sides))

    async def _step(self, body: Callable[[int], Awaitable[int]], item: int) -> int:
        result = await body(item)
        await self.journal.save(_record(item, result))
        return result


def _record(item: int, result: int) -> str:
    """Return about 200 bytes of JSON: what a journal has to know of a finished call."""
    return json.dumps(
        {
            "run": "01890a5d-ac96-774b-bcce-b302099a8057",
            "call": f"root/noop:8f14e45fceea167a5a36dedd.{item}",
            "kind": "done",
            "at": "2026-11-23T09:30:00.000000+00:00",
            "agent": "noop",
            "attempt": 1,
            "result": result,
        }
    )


async def _each(count: int, limit: int, perform: Callable[[int], Awaitable[int]]) -> int:
    """Perform `count` items, at most `limit` at a time; return how many there were."""
    slots = asyncio.Semaphore(limit)

    async def one(item: int) -> int:
        async with slots:
            return await perform(item)

    return len(await asyncio.gather(*map(one, range(count))))


async def _noop(item: int) -> int:
    return item


async def _pause(item: int) -> int:
    await asyncio.sleep(PAUSE)
    return item
