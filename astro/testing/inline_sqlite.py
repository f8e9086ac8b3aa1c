"""SQLite without threads: a store for simulations, on a file of its own that nobody keeps.

aiosqlite sends each statement to a thread and waits for its answer. Here the statement runs in the
event loop, as a callback of its own, and the answer comes back as another one. So whoever is
cancelled in between is cancelled before the statement or after it, as with threads; but which of
them it is, a seed decides.
"""

from __future__ import annotations

import asyncio
import shutil
import sqlite3
import tempfile
from collections import deque
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any, Self

import aiosqlite.core

from astro.core.clock import Clock
from astro.core.protocols import StoreCheck
from astro.stores.sqlite import SqliteStore

__all__ = ["InlineSqliteStore"]

_AIOSQLITE: Any = aiosqlite.core  # what is replaced there is not meant for others
_MEMORY = Path("/dev/shm")  # a file system in memory, where there is one


class InlineSqliteStore(SqliteStore):
    """A `SqliteStore` on a file of its own, whose connections have no threads.

    While it is open, all connections that aiosqlite makes in this process are such.
    """

    def __init__(self, clock: Clock) -> None:
        folder = _MEMORY if _MEMORY.is_dir() else None
        self._folder = Path(tempfile.mkdtemp(prefix="astro-", dir=folder))
        self._inside = 0
        self._replaced: tuple[Any, Any] = (None, None)
        super().__init__(self._folder / "runs.db", clock=clock, readers=2)

    async def __aenter__(self) -> Self:
        if self._inside == 0:
            self._replaced = _AIOSQLITE.Thread, _AIOSQLITE.SimpleQueue
            _AIOSQLITE.Thread, _AIOSQLITE.SimpleQueue = _NoThread, _Callbacks
        self._inside += 1
        return await super().__aenter__()

    async def __aexit__(self, *error: object) -> None:
        try:
            await super().__aexit__(*error)
        finally:
            self._inside -= 1
            if self._inside == 0:
                _AIOSQLITE.Thread, _AIOSQLITE.SimpleQueue = self._replaced
                shutil.rmtree(self._folder, ignore_errors=True)

    async def check(self) -> StoreCheck:
        """Check the file, by a connection of its own; the chains are read anyway."""
        with closing(sqlite3.connect(self._folder / "runs.db")) as db:
            said = [str(row[0]) for row in db.execute("pragma integrity_check")]
        return StoreCheck(runs=0, entries=0, problems=tuple(one for one in said if one != "ok"))


class _NoThread:
    """Stands where aiosqlite has its thread."""

    def __init__(self, *, target: Callable[..., None], args: tuple[Any, ...]) -> None: ...

    def start(self) -> None: ...


class _Callbacks:
    """Stands where aiosqlite has the queue of its thread."""

    def __init__(self) -> None:
        self._waiting: deque[tuple[asyncio.Future[Any] | None, Callable[[], Any]]] = deque()

    @classmethod
    def __class_getitem__(cls, _: Any) -> type[Self]:
        return cls

    def put_nowait(self, item: tuple[asyncio.Future[Any] | None, Callable[[], Any]]) -> None:
        self._waiting.append(item)
        asyncio.get_running_loop().call_soon(self._perform)

    def _perform(self) -> None:
        future, function = self._waiting.popleft()
        loop = asyncio.get_running_loop()
        try:
            result = function()
        except Exception as error:
            if future is not None:
                loop.call_soon(_AIOSQLITE.set_exception, future, error)
        else:
            if future is not None:
                loop.call_soon(_AIOSQLITE.set_result, future, result)
