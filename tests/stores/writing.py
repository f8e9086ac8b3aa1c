"""What tests of the SQLite writer are made of: verbs that note, fail, look and wait."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from datetime import timedelta
from pathlib import Path
from typing import Any

import aiosqlite

from astro.stores.sqlite.locking import FileLock
from astro.stores.sqlite.opening import create_file
from astro.stores.sqlite.operations import Alone, Batched, Operation, Verb
from astro.stores.sqlite.transactions import Transactions
from astro.stores.sqlite.writer import Writer
from tests.stores.making import MINUTE, ManualClock

SECOND = timedelta(seconds=1)


async def _note(db: aiosqlite.Connection, operation: Operation, now: int) -> object:
    await db.execute_fetchall("create table if not exists notes (text text)")
    await db.execute_fetchall("insert into notes values (?)", (operation.value,))
    return operation.value


async def _fail(db: aiosqlite.Connection, operation: Operation, now: int) -> object:
    raise operation.value


async def _say(db: aiosqlite.Connection, operation: Operation, now: int) -> object:
    return [tuple(row) for row in await db.execute_fetchall(operation.value)]


async def _look(db: aiosqlite.Connection, operation: Operation, now: int) -> object:
    return db.in_transaction


async def _hold(db: aiosqlite.Connection, operation: Operation, now: int) -> object:
    reached, go_on = operation.value
    reached.set()
    await go_on.wait()
    return "held"


async def _tell_time(db: aiosqlite.Connection, operation: Operation, now: int) -> object:
    return now


async def _blame(db: aiosqlite.Connection, operation: Operation) -> Exception | None:
    await db.execute_fetchall("select 1")
    return KeyError(f"{operation.thing} is to blame") if operation.thing else None


async def _explain(db: aiosqlite.Connection, operation: Operation) -> object:
    return KeyError("not accepted")


NOTE = Alone("note", _note)
FAIL = Alone("fail", _fail)
SAY = Alone("say", _say, bare=True)
LOOK = Alone("look", _look)
GLANCE = Alone("glance", _look, bare=True)
HOLD = Alone("hold", _hold)
TIME = Alone("time", _tell_time)
COUNT = Batched("count", "select key from json_each(:rows) where :now >= 0", _explain)
# Accepts the first row of each statement, so that it shows which rows share one.
FIRST = Batched("first", "select 0 from json_each(:rows) where :now >= 0", _explain, apart=True)
BROKEN = Batched("broken", "select * from nowhere where :rows = :now", _explain, blame=_blame)


def hold() -> tuple[asyncio.Event, asyncio.Event]:
    """Return what tells that an operation is at work, and what lets it go on."""
    return asyncio.Event(), asyncio.Event()


def notes(path: Path) -> list[str]:
    """Return what was noted, as another program sees it."""
    with closing(sqlite3.connect(path)) as db:
        return [row[0] for row in db.execute("select text from notes order by rowid")]


def operation(verb: Verb, value: Any = None, **more: Any) -> Operation:
    waiter = asyncio.get_running_loop().create_future()
    return Operation(verb, waiter, value=value, **more)


async def outcomes(operations: list[Operation]) -> list[Any]:
    """Return what came of operations: results, and errors as values."""
    return await asyncio.gather(*[one.truth() for one in operations], return_exceptions=True)


def disk_error() -> sqlite3.OperationalError:
    error = sqlite3.OperationalError("disk I/O error")
    error.sqlite_errorcode = sqlite3.SQLITE_IOERR
    return error


@asynccontextmanager
async def transactions(path: Path, *, synchronous: str = "NORMAL") -> AsyncIterator[Transactions]:
    create_file(path)
    made = Transactions(path, synchronous=synchronous, busy=SECOND, clock=ManualClock())
    await made.open()
    try:
        yield made
    finally:
        await made.close()


class Desk:
    """A writer, its lock, and the task in which it runs."""

    def __init__(
        self, path: Path, *, patience: timedelta, lock_timeout: timedelta, synchronous: str
    ) -> None:
        self.path = path
        self.lock = FileLock(path.with_name("runs.db.lock"), timeout=lock_timeout)
        self.lock.open()
        self.writer = Writer(
            path,
            lock=self.lock,
            synchronous=synchronous,
            clock=ManualClock(),
            patience=patience,
        )
        self.running: asyncio.Task[None] | None = None

    def start(self) -> None:
        self.running = asyncio.create_task(self.writer.run())

    def submit(self, verb: Verb, value: Any = None, **more: Any) -> Operation:
        return self.writer.submit(verb, value=value, **more)


@asynccontextmanager
async def desk(
    path: Path,
    *,
    patience: timedelta = MINUTE,
    lock_timeout: timedelta = SECOND,
    synchronous: str = "NORMAL",
) -> AsyncIterator[Desk]:
    """Open a writer; the test starts it."""
    create_file(path)
    made = Desk(path, patience=patience, lock_timeout=lock_timeout, synchronous=synchronous)
    async with made.lock.held():
        await made.writer.open()
    try:
        yield made
    finally:
        made.writer.stop()
        if made.running is not None:
            await asyncio.wait({made.running})
        await made.writer.close()
        made.lock.close()
