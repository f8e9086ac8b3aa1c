"""Timers: one background task that wakes all who wait for a moment of the injected clock."""

from __future__ import annotations

import heapq
import math
from datetime import datetime, timedelta
from itertools import count

import anyio

from astro.core.clock import Clock

__all__ = ["Timers", "seconds_until"]


class Timers:
    """Sets events when their moment has come."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._heap: list[tuple[datetime, int, anyio.Event]] = []
        self._numbers = count()
        self._changed = anyio.Event()

    def at(self, moment: datetime, event: anyio.Event) -> None:
        """Set the event at the moment, or at once if it has passed."""
        if moment <= self._clock.now():
            event.set()
            return
        heapq.heappush(self._heap, (moment, next(self._numbers), event))
        if self._heap[0][2] is event:
            self._changed.set()

    async def run(self) -> None:
        """Work until cancelled."""
        while True:
            self._changed = anyio.Event()
            await self._pause()
            now = self._clock.now()
            while self._heap and self._heap[0][0] <= now:
                heapq.heappop(self._heap)[2].set()

    async def _pause(self) -> None:
        """Wait for the next moment, or for an earlier one to be added."""
        if not self._heap:
            await self._changed.wait()
            return
        # A clock that stands still in a test must not make this a busy loop.
        left = max(self._heap[0][0] - self._clock.now(), timedelta(milliseconds=1))
        async with anyio.create_task_group() as group:

            async def sleep() -> None:
                await self._clock.sleep(left)
                group.cancel_scope.cancel()

            group.start_soon(sleep)
            await self._changed.wait()
            group.cancel_scope.cancel()


def seconds_until(moment: datetime | None, now: datetime) -> float:
    """Return the seconds until a moment, at least 0; infinity for None."""
    return math.inf if moment is None else max((moment - now).total_seconds(), 0.0)
