"""Transactions: a group of operations, all or nothing, on the connection that writes.

A group of one batched verb is a single statement, so a single hop to SQLite's thread; others are
a transaction. When a group fails because of one operation, it is split until that one is alone;
when the disk fails, it fails as a whole. Whoever calls this holds the file lock.
"""

from __future__ import annotations

import logging
import os
import sqlite3
from datetime import timedelta
from pathlib import Path
from typing import Any, Final

import aiosqlite
import attrs

from astro.core.clock import Clock
from astro.core.errors import StoreUnavailableError
from astro.stores.sqlite.opening import close_quietly, open_writer, schema_of
from astro.stores.sqlite.operations import Alone, Batched, Operation, Outcome, Verb
from astro.stores.sqlite.refusals import concerns_one, newer_schema, poisons, refusal
from astro.stores.sqlite.rows import as_json, as_parameters, micros
from astro.stores.sqlite.schema import VERSION
from astro.stores.sqlite.statements import FENCE

__all__ = ["Transactions"]

_LOGGER = logging.getLogger("astro.stores.sqlite")
_LONG: Final = 16 * 1024  # pages of a WAL that deserve a warning


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


class Transactions:
    """Performs groups on one connection, which it opens again when it has gone bad."""

    def __init__(self, path: Path, *, synchronous: str, busy: timedelta, clock: Clock) -> None:
        self._path = path
        self._synchronous = synchronous
        self._busy = busy
        self._clock = clock
        self._db: aiosqlite.Connection | None = None
        self._watch = -1
        self._place = ""  # the file, whatever folder the process goes to

    @property
    def is_open(self) -> bool:
        return self._db is not None

    async def open(self) -> object:
        """Open the connection and return its data version."""
        self._db = db = await self._connect()
        if hasattr(os, "O_PATH"):
            # Such a descriptor only watches; closing any other kind would drop SQLite's locks.
            self._place = str(self._path)
            self._watch = os.open(self._path, os.O_PATH | os.O_CLOEXEC)
        return next(iter(await db.execute_fetchall("pragma data_version")))[0]

    async def _connect(self) -> aiosqlite.Connection:
        return await open_writer(self._path, synchronous=self._synchronous, busy=self._busy)

    async def close(self) -> None:
        """Close the connection."""
        if self._watch >= 0:
            os.close(self._watch)
            self._watch = -1
        db, self._db = self._db, None
        if db is not None:
            await close_quietly(db)

    async def perform(self, group: list[Operation]) -> None:
        """Perform operations and tell those who wait for them.

        Raises:
            Exception: The group failed as a whole.
        """
        if self._watch >= 0 and not self._is_in_place():
            raise StoreUnavailableError(
                f"The file {self._path} has been deleted or replaced while it was open.",
                remedy="Close the store, put the file back, and open it again.",
            )
        if self._db is None:
            self._db = await self._connect()
        await self._attempt(self._db, group)

    def _is_in_place(self) -> bool:
        """Return whether the file that is open still exists, and no other has its name."""
        mine = os.fstat(self._watch)
        try:
            named = os.stat(self._place)
        except OSError:
            return mine.st_nlink > 0  # it may have been moved, and come back
        return (named.st_dev, named.st_ino) == (mine.st_dev, mine.st_ino)

    async def finish(self) -> None:
        """Wait until SQLite's thread has done what it was asked for, and roll it back."""
        if self._db is not None:
            await self._db.execute_fetchall("select 1")
            await self._undo(self._db, None)

    async def checkpoint(self, mode: str) -> None:
        """Write the WAL back; a failure of this harms nobody."""
        if self._db is None:
            return
        try:
            rows = await self._db.execute_fetchall(f"pragma wal_checkpoint({mode})")
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

    async def _attempt(self, db: aiosqlite.Connection, group: list[Operation]) -> None:
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
            await self._attempt(db, group[:half])
            await self._attempt(db, group[half:])
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

    async def _undo(self, db: aiosqlite.Connection, error: Exception | None) -> None:
        """Leave no transaction behind, nor a connection that may be in a bad state."""
        try:
            if db.in_transaction:
                await db.execute_fetchall("rollback")
        except sqlite3.Error as second:
            error = second
        if db.in_transaction or (error is not None and poisons(error)):
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
            cells = as_parameters(operations[0].row)
            found = await db.execute_fetchall(verb.single, (*cells[FENCE:], now, *cells[:FENCE]))
        else:
            rows = as_json([operation.row for operation in operations])
            found = await db.execute_fetchall(verb.statement, {"rows": rows, "now": now})
        accepted = {row[0] for row in found}
        for place, operation in enumerate(operations):
            done = place in accepted
            outcomes.append((operation, None if done else await verb.explain(db, operation)))


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
