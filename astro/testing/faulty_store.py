"""A store that fails: at a chosen call, or now and then by chance.

A failure comes before the operation, so that nothing has happened, or after it, so that it has and
nobody hears of it; whoever used the store cannot tell which.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from contextvars import ContextVar
from datetime import timedelta
from typing import Any

import anyio
import attrs

from astro.core.clock import Clock
from astro.core.errors import StoreBusyError, StoreError, StoreFullError, StoreUnavailableError

__all__ = ["Fault", "FaultyStore", "Plan", "asked_at", "chance_of_faults", "fail_nth"]

asked_at: ContextVar[float | None] = ContextVar("asked_at", default=None)
"""When the call was made that a `FaultyStore` passes on, in monotonic seconds, if one does."""

_VERBS = frozenset(
    {
        "claim",
        "commit",
        "create",
        "fetch",
        "inbox",
        "post",
        "put",
        "read",
        "recall",
        "release",
        "renew",
        "reserve",
        "runs",
    }
)


@attrs.frozen(kw_only=True)
class Fault:
    """What goes wrong with one call of the store.

    Attributes:
        error: What it raises; None lets it succeed, after the delay.
        late: Whether it raises after the operation has been done.
        delay: How long it takes before it does anything.
        answer: How long the answer takes when it has done it.
    """

    error: type[StoreError] | None = StoreUnavailableError
    late: bool = False
    delay: timedelta = timedelta(0)
    answer: timedelta = timedelta(0)


Plan = Callable[[str, int], Fault | None]
"""Gives the fault of a call, by its verb and its number from 1; None lets it be."""


def fail_nth(number: int, fault: Fault, *, verb: str | None = None) -> Plan:
    """Return a plan in which one call fails: the n-th, or the n-th of a verb."""
    seen = [0]

    def plan(called: str, _: int) -> Fault | None:
        if verb is not None and called != verb:
            return None
        seen[0] += 1
        return fault if seen[0] == number else None

    return plan


def chance_of_faults(chance: random.Random, share: float) -> Plan:
    """Return a plan in which a share of the calls fails, is late, or is answered late."""
    errors = (StoreUnavailableError, StoreBusyError, StoreFullError)

    def plan(verb: str, _: int) -> Fault | None:
        if chance.random() >= share:
            return None
        delay, answer = (
            timedelta(seconds=chance.choice((0.0, 0.0, 0.05, 2.0))) for _ in ("before", "after")
        )
        error = chance.choice((None, *errors))
        return Fault(error=error, late=chance.random() < 0.5, delay=delay, answer=answer)

    return plan


class FaultyStore:
    """A store, but for the faults of a plan.

    Args:
        store: What everything goes to in the end.
        clock: By which delays pass.

    Attributes:
        plan: May be changed at any time; None is a sound store.
        calls: How many there were.
        faults: How many of them failed or were delayed.
    """

    def __init__(self, store: Any, plan: Plan | None, *, clock: Clock) -> None:
        self._store = store
        self._clock = clock
        self.plan = plan
        self.calls = 0
        self.faults = 0
        self.cut = False

    async def __aenter__(self) -> FaultyStore:
        await self._store.__aenter__()
        return self

    async def __aexit__(self, *error: object) -> bool | None:
        result: bool | None = await self._store.__aexit__(*error)
        return result

    def __getattr__(self, name: str) -> Any:
        verb = getattr(self._store, name)
        if name not in _VERBS:
            return verb

        async def perform(*args: Any, **kwargs: Any) -> Any:
            return await self._perform(name, verb, args, kwargs)

        return perform

    async def _perform(self, name: str, verb: Any, args: Any, kwargs: Any) -> Any:
        if self.cut:
            raise StoreUnavailableError("The store is cut off.", remedy="There is none.")
        self.calls += 1
        fault = None if self.plan is None else self.plan(name, self.calls)
        if fault is None:
            return await verb(*args, **kwargs)
        self.faults += 1
        asked_at.set(self._clock.monotonic())
        try:
            return await self._fail(fault, verb, args, kwargs)
        finally:
            asked_at.set(None)

    async def _fail(self, fault: Fault, verb: Any, args: Any, kwargs: Any) -> Any:
        await self._clock.sleep(fault.delay)
        if fault.error is not None and not fault.late:
            raise _raised(fault.error)
        with anyio.CancelScope(shield=True):
            result = await verb(*args, **kwargs)
            if fault.answer:
                await self._clock.sleep(fault.answer)
        if fault.error is not None:
            raise _raised(fault.error)
        return result

    def cut_off(self) -> None:
        """Let nothing pass any more, as when the process that uses the store is dead."""
        self.cut = True


def _raised(kind: type[StoreError]) -> StoreError:
    return kind("A fault that was asked for.", remedy="Try again.")
