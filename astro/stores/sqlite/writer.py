"""The writer: one task, one connection, and all that waits in one transaction.

Whatever arrives while a group is being written makes up the next one. A group of one batched verb
is a single statement, so a single hop to SQLite's thread; others are a transaction. When a group
fails because of one operation, it is split until that one is alone; when the disk fails, it fails
as a whole, and the next group tries again.
"""

from __future__ import annotations

import asyncio
import logging
import os
import sqlite3
import time
from collections import deque
from datetime import timedelta
from pathlib import Path
from typing import Any, Final

import aiosqlite
import attrs

from astro.core.clock import Clock
from astro.core.errors import StoreClosedError, StoreError, StoreUnavailableError
from astro.stores.sqlite.locking import FileLock
from astro.stores.sqlite.opening import close_quietly, open_writer, schema_of
from astro.stores.sqlite.operations import Alone, Batched, Operation, Outcome, Verb
from astro.stores.sqlite.refusals import concerns_one, newer_schema, poisons, refusal
from astro.stores.sqlite.rows import Row, as_json, as_parameters, micros, size_of
from astro.stores.sqlite.schema import VERSION

__all__ = ["Writer"]

_LOGGER = logging.getLogger("astro.stores.sqlite")
_GROUP: Final = 8 * 1024 * 1024  # bytes of rows
_WAL: Final = 16 * 1024 * 1024  # bytes, estimated, after which the WAL is written back
_LONG: Final = 16 * 1024  # pages of a WAL that deserve a warning
_PAGES: Final = 3 * 4096  # bytes that an operation writes at least
_PULSE: Final = 1.0  # seconds
_BUSY: Final = timedelta(seconds=5)


@attrs.define(eq=False)
class _Step:
    """Operations that one statement, or one function, performs."""

    verb: Verb
    operations: list[Operation] = attrs.field(factory=list)
    things: set[Any] = attrs.field(factory=set)

    def is_one_statement(self) -> bool:
        """Tell whether it is all or nothing by itself."""
        verb = self.verb
        return isinstance(verb, Batched) or (verb.bare and len(self.operations) == 1)


class Writer:
    """Performs operations, in groups, on the one connection that writes."""

    def __init__(
        self, path: Path, *, lock: FileLock, synchronous: str, clock: Clock, patience: timedelta
    ) -> None:
        self._path = path
        self._lock = lock
        self._synchronous = synchronous
        self._clock = clock
        self._patience = patience
        self._db: aiosqlite.Connection | None = None
        self._watch = -1
        self._queue: deque[Operation] = deque()
        self._group: list[Operation] = []
        self._idle: asyncio.Future[None] | None = None
        self._pulse: asyncio.TimerHandle | None = None
        self._began = 0.0  # when the group at work began; 0 when none is
        self._written = 0  # bytes in the WAL, estimated
        self._seen = 0  # how many those were at the last pulse
        self._tidy = False  # whether the WAL should be written back now
        self._stopping = False
        self._stuck = False
        self._loop = asyncio.get_running_loop()

    # --- Life --------------------------------------------------------------------------------

    async def open(self) -> object:
        """Open the connection and return its data version; the caller holds the file lock."""
        self._db = await self._connect()
        if hasattr(os, "O_PATH"):
            # Such a descriptor only watches; closing any other kind would drop SQLite's locks.
            self._watch = os.open(self._path, os.O_PATH | os.O_CLOEXEC)
        return next(iter(await self._db.execute_fetchall("pragma data_version")))[0]

    async def _connect(self) -> aiosqlite.Connection:
        return await open_writer(
            self._path, synchronous=self._synchronous, busy=min(self._lock.timeout, _BUSY)
        )

    async def close(self) -> None:
        """Write the WAL back and close the connection, under the lock if it can be had."""
        self._stopping = True
        if self._pulse is not None:
            self._pulse.cancel()
        self._fail(self._queue, _closed())
        db, self._db = self._db, None
        if self._watch >= 0:
            os.close(self._watch)
            self._watch = -1
        if db is None:
            return
        held = False
        try:
            await self._lock.acquire()
            held = True
            await db.execute_fetchall("pragma wal_checkpoint(truncate)")
        except (StoreError, sqlite3.Error) as error:
            _LOGGER.warning("The WAL of %s stays as it is: %s", self._path, error)
        finally:
            await close_quietly(db)
            if held:
                self._lock.release()

    def stop(self) -> None:
        """Let `run` return once all that waits is done."""
        self._stopping = True
        self._wake()

    # --- Taking operations -------------------------------------------------------------------

    def submit(
        self, verb: Verb, *, thing: Any = None, row: Row = (), value: Any = None
    ) -> Operation:
        """Put an operation into the next group.

        Raises:
            StoreClosedError: The store is closed, or belongs to another event loop.
            StoreUnavailableError: The disk does not answer.
        """
        if self._stopping or asyncio.get_running_loop() is not self._loop:
            raise _closed()
        if self._stuck:
            raise self._unanswered()
        operation = Operation(verb, self._loop.create_future(), thing, row, value)
        self._queue.append(operation)
        if self._idle is not None:
            self._wake()
        return operation

    def _wake(self) -> None:
        if self._idle is not None and not self._idle.done():
            self._idle.set_result(None)

    async def run(self) -> None:
        """Perform what is submitted, until stopped."""
        while True:
            while self._queue or self._tidy:
                await self._perform(self._next_group())
            if self._stopping:
                return
            if self._pulse is None:
                self._pulse = self._loop.call_later(_PULSE, self._on_pulse)
            self._idle = self._loop.create_future()
            await self._idle
            self._idle = None

    def _next_group(self) -> list[Operation]:
        queue = self._queue
        group: list[Operation] = []
        size = 0
        while queue and size < _GROUP:
            operation = queue.popleft()
            length = size_of(operation.row)
            size += length
            group.append(operation)
            if not (isinstance(operation.verb, Alone) and operation.verb.bare):
                self._written += 2 * length + _PAGES
        return group

    # --- Watching over itself ----------------------------------------------------------------

    def _on_pulse(self) -> None:
        """Once a second: notice a disk that does not answer, and the end of a burst of work."""
        self._pulse = None
        if self._began and time.monotonic() - self._began > self._patience.total_seconds():
            self._stuck = True
            self._fail(self._group, self._unanswered())
            self._fail(self._queue, self._unanswered())
        elif self._written and self._written == self._seen:
            self._tidy = True
            self._wake()
        self._seen = self._written
        if self._written or self._began:
            self._pulse = self._loop.call_later(_PULSE, self._on_pulse)

    def _unanswered(self) -> StoreUnavailableError:
        return StoreUnavailableError(
            f"The disk under {self._path} has not answered for "
            f"{self._patience.total_seconds():g} seconds; the outcome is unknown.",
            remedy="Look at the disk; committing the same again is harmless.",
        )

    def _fail(self, operations: Any, error: Exception) -> None:
        for operation in list(operations):
            operation.settle(error)
        if operations is self._queue:
            self._queue.clear()

    # --- Groups ------------------------------------------------------------------------------

    async def _perform(self, group: list[Operation]) -> None:
        self._group, self._began = group, time.monotonic()
        try:
            await self._lock.acquire()
            try:
                await self._admit()
                if group:
                    await self._attempt(group)
                if self._tidy or self._written > _WAL:
                    await self._checkpoint()
            except asyncio.CancelledError as error:
                await self._finish(error)
                raise
            finally:
                self._lock.release()
        except Exception as error:  # the group's error, whatever it is, belongs to its callers
            self._fail(group, refusal(error, self._path))
        except asyncio.CancelledError:  # the event loop ends
            self._fail(group, _closed())
            raise
        finally:
            self._group, self._began, self._stuck, self._tidy = [], 0.0, False, False

    async def _finish(self, error: BaseException) -> None:
        """Wait until SQLite's thread has done what it was asked for; only then unlock."""
        if self._db is not None:
            await self._db.execute_fetchall("select 1")
            await self._undo(self._db, error)

    async def _admit(self) -> None:
        """Make sure that there is a sound connection to the file that others see."""
        if self._watch >= 0 and not os.fstat(self._watch).st_nlink:
            raise StoreUnavailableError(
                f"The file {self._path} has been deleted or replaced while it was open.",
                remedy="Close the store, put the file back, and open it again.",
            )
        if self._db is None:
            self._db = await self._connect()

    async def _attempt(self, group: list[Operation]) -> None:
        """Perform operations in one transaction; split them if one of them is to blame."""
        db = self._db
        assert db is not None, "a group begins with a connection"
        try:
            outcomes = await self._transact(db, group)
        except Exception as error:
            await self._undo(db, error)
            if await self._is_outdated(error):
                raise newer_schema(self._path, await schema_of(db)) from error
            if self._db is None or not concerns_one(error):
                raise
            if len(group) == 1:
                await self._blame(db, group[0], error)
                return
            half = len(group) // 2
            await self._attempt(group[:half])
            await self._attempt(group[half:])
            return
        for operation, outcome in outcomes:
            operation.settle(outcome)

    async def _blame(
        self, db: aiosqlite.Connection, operation: Operation, error: Exception
    ) -> None:
        verb = operation.verb
        known = None
        if isinstance(verb, Batched) and verb.blame is not None:
            known = await verb.blame(db, operation)
        operation.settle(known or refusal(error, self._path))

    async def _undo(self, db: aiosqlite.Connection, error: BaseException) -> None:
        """Leave no transaction behind, nor a connection that may be in a bad state."""
        try:
            if db.in_transaction:
                await db.execute_fetchall("rollback")
        except sqlite3.Error as second:
            error = second
        if poisons(error) or db.in_transaction:
            self._db = None
            await close_quietly(db)

    async def _is_outdated(self, error: Exception) -> bool:
        if self._db is None or not isinstance(error, sqlite3.OperationalError):
            return False
        return "no such table" in str(error) and await schema_of(self._db) > VERSION

    async def _transact(self, db: aiosqlite.Connection, group: list[Operation]) -> list[Outcome]:
        now = micros(self._clock.now())
        steps = _steps(group)
        outcomes: list[Outcome] = []
        if len(steps) == 1 and steps[0].is_one_statement():
            await self._step(db, steps[0], now, outcomes)
            return outcomes
        await db.execute_fetchall("begin immediate")
        for step in steps:
            await self._step(db, step, now, outcomes)
        await db.execute_fetchall("commit")
        return outcomes

    async def _step(
        self, db: aiosqlite.Connection, step: _Step, now: int, outcomes: list[Outcome]
    ) -> None:
        verb, operations = step.verb, step.operations
        if isinstance(verb, Alone):
            for operation in operations:
                outcomes.append((operation, await verb.perform(db, operation, now)))
            return
        if verb.single and len(operations) == 1:
            one = (*as_parameters(operations[0].row), now)
            found = await db.execute_fetchall(verb.single, one)
        else:
            rows = as_json([operation.row for operation in operations])
            found = await db.execute_fetchall(verb.statement, {"rows": rows, "now": now})
        accepted = {row[0] for row in found}
        for place, operation in enumerate(operations):
            done = place in accepted
            outcomes.append((operation, None if done else await verb.explain(db, operation)))

    async def _checkpoint(self) -> None:
        """Write the WAL back; a failure of this harms nobody."""
        self._written = 0
        if self._db is None:
            return
        try:
            rows = await self._db.execute_fetchall("pragma wal_checkpoint(passive)")
        except sqlite3.Error as error:
            _LOGGER.warning("The WAL of %s could not be written back: %s", self._path, error)
            return
        _, pages, back = next(iter(rows))
        if pages > _LONG and back < pages:
            _LOGGER.warning(
                "The WAL of %s has %d pages that a long read keeps from being written back",
                self._path,
                pages - back,
            )


def _steps(group: list[Operation]) -> list[_Step]:
    """Return the fewest steps that perform a group."""
    if len(group) == 1:
        return [_Step(group[0].verb, group)]
    steps: list[_Step] = []
    open_steps: dict[Verb, _Step] = {}
    for operation in group:
        verb = operation.verb
        step = open_steps.get(verb)
        if step is None or operation.thing in step.things:
            step = _Step(verb)
            steps.append(step)
            open_steps[verb] = step
        step.operations.append(operation)
        if isinstance(verb, Batched) and verb.apart:
            step.things.add(operation.thing)
    return steps


def _closed() -> StoreClosedError:
    return StoreClosedError(
        "The store is not open here.",
        remedy="Use it inside 'async with store:', in the event loop that opened it.",
    )
