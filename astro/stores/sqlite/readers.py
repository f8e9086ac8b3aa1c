"""The readers: a few read-only connections, each for one query at a time.

A query runs in a task of its own, so that cancelling the reader never leaves a connection in the
middle of something: the query is interrupted, and the connection goes back when it has ended.
Everything is fetched at once, because an open cursor keeps the WAL from being emptied.
"""

from __future__ import annotations

import asyncio
import sqlite3
from functools import partial
from pathlib import Path
from typing import Any, TypeAlias

import aiosqlite

from astro.core.errors import StoreClosedError
from astro.stores.sqlite.opening import close_quietly, open_reader
from astro.stores.sqlite.refusals import refusal

__all__ = ["Readers"]

_Idle: TypeAlias = "asyncio.LifoQueue[aiosqlite.Connection | None]"


class Readers:
    """The read-only connections of one store."""

    def __init__(self, path: Path, *, count: int) -> None:
        self._path = path
        self._count = count
        self._all: list[aiosqlite.Connection] = []
        # None in it says that the store is closed.
        self._idle: _Idle = asyncio.LifoQueue()
        self._busy: set[asyncio.Future[Any]] = set()
        self._open = False

    async def open(self) -> None:
        """Open the connections; the caller holds the file lock."""
        for _ in range(self._count):
            db = await open_reader(self._path)
            self._all.append(db)
            self._idle.put_nowait(db)
        self._open = True

    async def close(self) -> None:
        """Interrupt what runs and close all connections."""
        self._open = False
        for db in self._all:
            await db.interrupt()
        if self._busy:
            await asyncio.wait(self._busy)
        while self._all:
            await close_quietly(self._all.pop())
        self._idle.put_nowait(None)
        self._idle = asyncio.LifoQueue()

    async def fetch(self, statement: str, parameters: Any = ()) -> list[tuple[Any, ...]]:
        """Return all rows of a query.

        Raises:
            StoreError: The file cannot be read.
        """
        idle = self._idle
        db = await idle.get() if self._open else None
        if db is None or not self._open:
            idle.put_nowait(None)
            raise StoreClosedError(
                "The store is not open.", remedy="Use it inside 'async with store:'."
            )
        query = asyncio.ensure_future(db.execute_fetchall(statement, parameters))
        self._busy.add(query)
        query.add_done_callback(partial(self._give_back, idle, db))
        try:
            return list(await asyncio.shield(query))  # type: ignore[arg-type]  # rows are tuples
        except asyncio.CancelledError:
            if not query.done():
                await db.interrupt()
            raise
        except (sqlite3.Error, OverflowError, UnicodeError) as error:
            raise refusal(error, self._path) from error

    def _give_back(self, idle: _Idle, db: aiosqlite.Connection, query: asyncio.Future[Any]) -> None:
        self._busy.discard(query)
        idle.put_nowait(db)
        if not query.cancelled():
            query.exception()  # a reader that was cancelled does not ask for it
