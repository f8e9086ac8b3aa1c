"""Operations: what waits for the writer, and how the truth about it reaches whoever asked.

A verb of many operations is one statement for all that wait; a verb of its own runs alone. Either
kind is part of the transaction of its group, and is told its outcome when that has committed.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, TypeAlias, TypeVar

import aiosqlite
import anyio
import attrs

from astro.stores.sqlite.rows import Row

__all__ = ["Alone", "Batched", "Operation", "Outcome", "Verb", "settled"]

T = TypeVar("T")

Outcome: TypeAlias = "tuple[Operation, object]"
"""An operation and its result, or the error to raise."""


@attrs.frozen(eq=False)
class Batched:
    """A verb of which all waiting operations go into one statement.

    Attributes:
        statement: Takes `:rows` and `:now`; returns the places of the accepted rows.
        single: The same for one row; takes its cells as parameters, `FENCE` of them last.
        explain: Finds what an operation gets that was not accepted, a result or an error.
        apart: Whether two operations on the same thing need a statement each.
        blame: Translates an error of SQLite that concerns one operation alone.
    """

    name: str
    statement: str
    explain: Callable[[aiosqlite.Connection, Operation], Awaitable[object]]
    apart: bool = False
    single: str = ""
    blame: Callable[[aiosqlite.Connection, Operation], Awaitable[Exception | None]] | None = None


@attrs.frozen(eq=False)
class Alone:
    """A verb whose operations run one by one.

    Attributes:
        bare: Whether it needs no transaction around it: it reads, or is a single statement.
    """

    name: str
    perform: Callable[[aiosqlite.Connection, Operation, int], Awaitable[object]]
    bare: bool = False


Verb: TypeAlias = Batched | Alone


@attrs.define(eq=False, slots=True)
class Operation:
    """One thing that somebody wants the writer to do.

    Attributes:
        thing: What it is done to, for `Batched.apart` and for explanations.
        row: For the statement of a batched verb.
        value: What a verb of its own needs.
        weight: Bytes that it writes beside its row.
    """

    verb: Verb
    waiter: asyncio.Future[None]
    thing: Any = None
    row: Row = ()
    value: Any = None
    weight: int = 0
    _done: bool = False
    _outcome: object = None

    @property
    def done(self) -> bool:
        return self._done

    def settle(self, outcome: object) -> None:
        """Tell whoever waits the result, or the error to raise; only the first time counts."""
        if not self._done:
            self._done, self._outcome = True, outcome
            if not self.waiter.done():
                self.waiter.set_result(None)

    def outcome(self) -> Any:
        """Return the result, or raise the error."""
        if isinstance(self._outcome, BaseException):
            raise self._outcome
        return self._outcome

    async def truth(self) -> Any:
        """Wait for the outcome, and only then be cancelled.

        A native cancellation cancels the future that is awaited, hence a new one each time; an
        anyio scope delivers its cancellation at each turn of the loop, hence the shield. What is
        raised in the end is the first cancellation itself: another object would escape from the
        scope it belongs to.
        """
        try:
            await self.waiter
        except asyncio.CancelledError:
            with anyio.CancelScope(shield=True):
                while not self._done:
                    self.waiter = asyncio.get_running_loop().create_future()
                    try:
                        await self.waiter
                    except asyncio.CancelledError:
                        continue
            raise
        return self.outcome()


async def settled(work: asyncio.Future[T]) -> T:
    """Return the result of a task that a cancelled caller must not leave behind.

    See `Operation.truth` for why it is written so.
    """
    hit: asyncio.CancelledError | None = None
    with anyio.CancelScope(shield=True):
        while not work.done():
            try:
                await asyncio.wait({work})
            except asyncio.CancelledError as error:
                hit = hit or error
    if hit is not None:
        raise hit
    return work.result()
