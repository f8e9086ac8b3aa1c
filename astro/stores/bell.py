"""The bell: how those who wait for work learn that there may be some.

A wait that began after the news would miss it. So each task that claims or waits leaves a mark,
and its next wait ends at once if the bell has rung since. What falls due by itself (a wake-up, a
lease that ends) is waited for by the clock.
"""

from __future__ import annotations

from datetime import datetime, timedelta

import anyio
import anyio.lowlevel
import attrs

from astro.core.clock import Clock

__all__ = ["Bell"]

_MANY = 10_000  # marks of ended tasks are dropped when there are more


@attrs.frozen
class _Mark:
    rings: int
    at: datetime


class Bell:
    """Wakes tasks that wait for work."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._rings = 0
        self._marks: dict[int, _Mark] = {}
        self._waiting: dict[anyio.Event, None] = {}

    def ring(self) -> None:
        """End all waits: something may have become claimable or been posted."""
        self._rings += 1
        for event in self._waiting:
            event.set()

    def mark(self) -> None:
        """Remember that the running task looks for work now."""
        if len(self._marks) > _MANY:
            self._marks.clear()
        self._marks[anyio.get_current_task().id] = _Mark(self._rings, self._clock.now())

    def news(self) -> bool:
        """Tell whether the bell has rung since the running task's mark, if it has one."""
        return self._since().rings != self._rings

    def since(self) -> datetime:
        """Return when the running task looked for work; now, if it never has."""
        return self._since().at

    def _since(self) -> _Mark:
        mark = self._marks.get(anyio.get_current_task().id)
        return mark or _Mark(self._rings, self._clock.now())

    async def wait(self, *, timeout: timedelta, due: datetime | None = None) -> None:
        """Return after the next ring, at a moment, or when time is up."""
        try:
            if self.news():
                await anyio.lowlevel.checkpoint()
                return
            now = self._clock.now()
            await self._listen(timeout if due is None else min(timeout, due - now))
        finally:
            self.mark()

    async def _listen(self, timeout: timedelta) -> None:
        if timeout <= timedelta():
            await anyio.lowlevel.checkpoint()
            return
        event = anyio.Event()
        self._waiting[event] = None

        async def end() -> None:
            await self._clock.sleep(timeout)
            event.set()

        try:
            async with anyio.create_task_group() as group:
                group.start_soon(end)
                await event.wait()
                group.cancel_scope.cancel()
        finally:
            self._waiting.pop(event, None)
