"""The engine's clock: the store's time, which does not go back while the engine lives.

Deadlines are compared between engines, so all of them count in the time of their store. What an
engine waits for it counts by the monotonic clock: setting the time fires nothing early.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Final

from astro.core.clock import Clock

__all__ = ["LONG_AGO", "EngineClock"]

LONG_AGO: Final = datetime(1970, 1, 1, tzinfo=UTC)
"""When a run is to be claimed that has something to do: at once, whatever any clock shows."""

_ZERO = timedelta(0)


class EngineClock:
    """The injected clock, moved to where the store's is."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._offset = _ZERO
        self._latest = datetime.min.replace(tzinfo=UTC)

    def reading(self) -> datetime:
        """Return the time as it is read now, even if it was later before."""
        return self._clock.now() + self._offset

    def now(self) -> datetime:
        """Return the store's time as far as it is known; never less than before."""
        moment = self._clock.now()
        if self._offset:
            moment += self._offset
        if moment < self._latest:
            return self._latest
        self._latest = moment
        return moment

    def monotonic(self) -> float:
        """Return seconds that nobody can set."""
        return self._clock.monotonic()

    async def sleep(self, duration: timedelta, /) -> None:
        """Return after the duration."""
        await self._clock.sleep(duration)

    def as_shown(self, moment: datetime | None) -> datetime | None:
        """Return a moment as the store's clock will show it, which may have been set back."""
        now = self.now()
        if moment is None:
            return None
        return LONG_AGO if moment <= now else moment - (now - self.reading())

    def adopt(self, at: datetime, *, asked: datetime) -> None:
        """Take over the store's time if it cannot be this one's.

        Args:
            at: What the store said.
            asked: The `reading` before it was asked.
        """
        told = self.reading()
        if at < asked:
            self._offset -= asked - at
        elif at > told:
            self._offset += at - told
