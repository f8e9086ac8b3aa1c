"""The writer: one task, one connection, and all that waits in one transaction.

Whatever arrives while a group is being written makes up the next one. Each group is written, and
the WAL written back, under the file lock. A disk that does not answer is noticed by a timer, so
that nobody waits for it without end.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Iterable
from datetime import timedelta
from pathlib import Path
from typing import Any, Final

from astro.core.clock import Clock
from astro.core.errors import StoreClosedError, StoreError, StoreUnavailableError
from astro.stores.sqlite.locking import FileLock
from astro.stores.sqlite.operations import Alone, Operation, Verb
from astro.stores.sqlite.refusals import refusal
from astro.stores.sqlite.rows import Row, size_of
from astro.stores.sqlite.transactions import Transactions

__all__ = ["Writer"]

_GROUP: Final = 8 * 1024 * 1024  # bytes of rows
_WAL: Final = 16 * 1024 * 1024  # bytes, estimated, after which the WAL is written back
_PAGES: Final = 3 * 4096  # bytes that an operation writes at least
_PULSE: Final = 1.0  # seconds
_BUSY: Final = timedelta(seconds=5)  # for programs that do not know the file lock


class Writer:
    """Performs operations, in groups, on the one connection that writes."""

    def __init__(
        self, path: Path, *, lock: FileLock, synchronous: str, clock: Clock, patience: timedelta
    ) -> None:
        self._path = path
        self._lock = lock
        self._patience = patience
        self._transactions = Transactions(
            path, synchronous=synchronous, busy=min(lock.timeout, _BUSY), clock=clock
        )
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
        return await self._transactions.open()

    async def close(self) -> None:
        """Write the WAL back and close the connection, under the lock if it can be had."""
        self._stopping = True
        if self._pulse is not None:
            self._pulse.cancel()
        self._fail(self._queue, _closed())
        if not self._transactions.is_open:
            await self._transactions.close()
            return
        try:
            await self._lock.acquire()
        except StoreError:
            # Whoever holds the lock has the file open, so closing writes nothing back.
            await self._transactions.close()
            return
        try:
            await self._transactions.checkpoint("truncate")
        finally:
            await self._transactions.close()
            self._lock.release()

    def stop(self) -> None:
        """Let `run` return once all that waits is done."""
        self._stopping = True
        self._wake()

    async def run(self) -> None:
        """Perform what is submitted, until stopped."""
        while True:
            while self._queue or self._tidy:
                await self._perform(self._next_group())
            if self._stopping:
                return
            self._idle = self._loop.create_future()
            await self._idle
            self._idle = None

    # --- Taking operations -------------------------------------------------------------------

    def submit(
        self, verb: Verb, *, thing: Any = None, row: Row = (), value: Any = None, weight: int = 0
    ) -> Operation:
        """Put an operation into the next group.

        Args:
            weight: Bytes that it writes beside its row.

        Raises:
            StoreClosedError: The store is closed, or belongs to another event loop.
            StoreUnavailableError: The disk does not answer.
        """
        if self._stopping or asyncio.get_running_loop() is not self._loop:
            raise _closed()
        if self._stuck:
            raise self._unanswered()
        operation = Operation(verb, self._loop.create_future(), thing, row, value, weight)
        self._queue.append(operation)
        if self._idle is not None:
            self._wake()
        return operation

    def _wake(self) -> None:
        if self._idle is not None and not self._idle.done():
            self._idle.set_result(None)

    def _next_group(self) -> list[Operation]:
        queue = self._queue
        group: list[Operation] = []
        size = 0
        while queue and size < _GROUP:
            operation = queue.popleft()
            length = size_of(operation.row) + operation.weight
            size += length
            group.append(operation)
            if operation.weight or not (isinstance(operation.verb, Alone) and operation.verb.bare):
                self._written += 2 * length + _PAGES
        return group

    # --- Performing them ---------------------------------------------------------------------

    async def _perform(self, group: list[Operation]) -> None:
        self._group, self._began = group, time.monotonic()
        if self._pulse is None:
            self._pulse = self._loop.call_later(_PULSE, self._on_pulse)
        try:
            await self._lock.acquire()
            try:
                if group:
                    await self._transactions.perform(group)
                if self._tidy or self._written > _WAL:
                    self._written = 0
                    await self._transactions.checkpoint("passive")
            except asyncio.CancelledError:
                await self._transactions.finish()
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

    def _fail(self, operations: Iterable[Operation], error: Exception) -> None:
        for operation in list(operations):
            operation.settle(error)

    # --- Watching over itself ----------------------------------------------------------------

    def _on_pulse(self) -> None:
        """Once a second: notice a disk that does not answer, and the end of a burst of work."""
        self._pulse = None
        if self._began and time.monotonic() - self._began > self._patience.total_seconds():
            self._stuck = True
            self._fail(self._group, self._unanswered())
            self._fail(self._queue, self._unanswered())
            self._queue.clear()
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


def _closed() -> StoreClosedError:
    return StoreClosedError(
        "The store is not open here.",
        remedy="Use it inside 'async with store:', in the event loop that opened it.",
    )
