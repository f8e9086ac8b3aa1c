"""Virtual time: a clock that moves only when a test moves it, and ids that repeat themselves."""

from __future__ import annotations

import heapq
from datetime import UTC, datetime, timedelta
from itertools import count

import anyio
import anyio.lowlevel

__all__ = ["VirtualClock", "VirtualIds"]

_START = datetime(2030, 1, 1, tzinfo=UTC)
_ZERO = timedelta(0)


class VirtualClock:
    """Tells a time that stands still until it is advanced.

    Args:
        now: The moment at which it stands first; aware.
    """

    def __init__(self, now: datetime = _START) -> None:
        if now.tzinfo is None:
            raise ValueError("the moment has no time zone")
        self._start = now.astimezone(UTC)
        self._passed = _ZERO
        self._jumped = _ZERO
        self._sleepers: list[tuple[timedelta, int, anyio.Event]] = []
        self._numbers = count()

    def now(self) -> datetime:
        """Return the present moment, aware and in UTC."""
        return self._start + self._passed + self._jumped

    def monotonic(self) -> float:
        """Return the seconds that have passed since the beginning."""
        return self._passed.total_seconds()

    async def sleep(self, duration: timedelta, /) -> None:
        """Return once so much time has passed."""
        if duration <= _ZERO:
            await anyio.lowlevel.checkpoint()
            return
        event = anyio.Event()
        sleeper = (self._passed + duration, next(self._numbers), event)
        heapq.heappush(self._sleepers, sleeper)
        try:
            await event.wait()
        finally:
            if not event.is_set():  # cancelled
                self._sleepers.remove(sleeper)
                heapq.heapify(self._sleepers)

    def advance(self, duration: timedelta) -> None:
        """Let time pass, and wake who has slept long enough, in the order of their moments.

        Raises:
            ValueError: The duration is negative: time does not go back. See `jump`.
        """
        if duration < _ZERO:
            raise ValueError(f"time does not go back by {-duration}; a clock may: use jump()")
        self._passed += duration
        while self._sleepers and self._sleepers[0][0] <= self._passed:
            heapq.heappop(self._sleepers)[2].set()

    def jump(self, duration: timedelta) -> None:
        """Set the clock forward, or back; no time passes, and nobody wakes."""
        self._jumped += duration

    def next_due(self) -> timedelta | None:
        """Return how long the first of those who sleep has to go on sleeping, if anybody does."""
        return self._sleepers[0][0] - self._passed if self._sleepers else None


class VirtualIds:
    """Makes ids one after the other, the same ones for the same seed."""

    def __init__(self, seed: int = 0) -> None:
        self._seed = seed
        self._numbers = count(1)

    def new(self) -> str:
        """Return 32 lower-case hexadecimal digits; later ids sort after earlier ones."""
        return f"{next(self._numbers):024x}{self._seed & 0xFFFF_FFFF:08x}"
