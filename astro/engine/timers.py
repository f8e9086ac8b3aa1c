"""Timers: one background task that wakes all who wait for a time of the injected clock."""

from __future__ import annotations

import heapq
import math
from datetime import datetime, timedelta
from itertools import count

import anyio

from astro.core.clock import Clock

__all__ = ["Timers", "seconds_until"]

_FEW = 64  # entries that are not worth looking through
_ROUNDING = 1e-7  # seconds that sums of floats may be off


class Timers:
    """Sets events when their time has come."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._heap: list[tuple[float, int, anyio.Event]] = []
        self._numbers = count()
        self._crowded = _FEW
        self._changed = anyio.Event()

    def after(self, seconds: float, event: anyio.Event) -> None:
        """Set the event after a time, or at once if there is nothing to wait for."""
        if seconds <= 0:
            event.set()
            return
        if len(self._heap) >= self._crowded:
            # Who was woken by something else left its entry behind.
            self._heap = [entry for entry in self._heap if not entry[2].is_set()]
            heapq.heapify(self._heap)
            self._crowded = max(2 * len(self._heap), _FEW)
        due = self._clock.monotonic() + seconds
        heapq.heappush(self._heap, (due, next(self._numbers), event))
        if self._heap[0][2] is event:
            self._changed.set()

    def due(self) -> float | None:
        """Return the seconds until the next event is set, if any is."""
        return self._heap[0][0] - self._clock.monotonic() if self._heap else None

    async def run(self) -> None:
        """Work until cancelled."""
        while True:
            self._changed = anyio.Event()
            await self._pause()
            now = self._clock.monotonic()
            while self._heap and self._heap[0][0] <= now + _ROUNDING:
                heapq.heappop(self._heap)[2].set()

    async def _pause(self) -> None:
        """Wait for the next moment, or for an earlier one to be added."""
        if not self._heap:
            await self._changed.wait()
            return
        async with anyio.create_task_group() as group:

            async def sleep() -> None:
                # Reckoned here: a clock that is advanced before this runs is not slept through.
                left = timedelta(seconds=self._heap[0][0] - self._clock.monotonic())
                # A clock that stands still in a test must not make this a busy loop.
                await self._clock.sleep(max(left, timedelta(milliseconds=1)))
                group.cancel_scope.cancel()

            group.start_soon(sleep)
            await self._changed.wait()
            group.cancel_scope.cancel()


def seconds_until(
    moment: datetime | None, now: datetime, *, since: datetime | None = None
) -> float:
    """Return the seconds until a moment, at least 0; infinity for None.

    Args:
        since: When the moment was set. No wait is longer than it was meant to be then, should
            this engine's time be behind that of the engine that set it.
    """
    if moment is None:
        return math.inf
    begun = now if since is None or now > since else since
    return max((moment - begun).total_seconds(), 0.0)
