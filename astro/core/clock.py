"""Time, ids and chance: the three sources that tests replace.

Nothing else in ASTRO reads a clock, makes an id or draws a number.
"""

from __future__ import annotations

import os
import random
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Protocol

import anyio

__all__ = ["Clock", "Ids", "SystemClock", "SystemIds", "system_random"]

_NAP = 60.0  # seconds; event loops do not count those for which the machine was suspended
_steady: Callable[[], float] = time.monotonic
if hasattr(time, "CLOCK_BOOTTIME"):
    _steady = partial(time.clock_gettime, time.CLOCK_BOOTTIME)


class Clock(Protocol):
    """Tells the time and waits for it."""

    def now(self) -> datetime:
        """Return the present moment, aware and in UTC; it may jump when somebody sets it."""
        ...

    def monotonic(self) -> float:
        """Return seconds since some moment, which nobody can set and which never go back."""
        ...

    async def sleep(self, duration: timedelta, /) -> None:
        """Return after the duration; at once when it is zero or negative."""
        ...


class Ids(Protocol):
    """Makes ids that nobody else makes."""

    def new(self) -> str:
        """Return 32 lower-case hexadecimal digits; later ids sort after earlier ones."""
        ...


class SystemClock:
    """The operating system's clock."""

    def now(self) -> datetime:
        """Return the present moment, aware and in UTC."""
        return datetime.now(UTC)

    def monotonic(self) -> float:
        """Return seconds; on Linux, those included in which the machine was suspended."""
        return _steady()

    async def sleep(self, duration: timedelta, /) -> None:
        """Return after the duration, the time included in which the machine was suspended."""
        end = self.monotonic() + duration.total_seconds()
        while True:
            left = end - self.monotonic()
            await anyio.sleep(min(max(left, 0.0), _NAP))
            if left <= _NAP:
                return


class SystemIds:
    """Ids in the layout of UUID version 7 (RFC 9562): milliseconds, then chance.

    A run's id is also its trace id, hence 16 bytes and no dashes.
    """

    def new(self) -> str:
        """Return 32 lower-case hexadecimal digits."""
        moment = time.time_ns() // 1_000_000
        chance = int.from_bytes(os.urandom(10), "big")
        high = (moment << 16) | 0x7000 | (chance >> 68)
        low = (0b10 << 62) | (chance & ((1 << 62) - 1))
        return f"{high:016x}{low:016x}"


def system_random() -> random.Random:
    """Return a new source of chance, seeded by the operating system."""
    return random.Random(int.from_bytes(os.urandom(16), "big"))
