"""Retrying: whether a failed attempt deserves another, and after what time.

The delay is computed once, by tenacity, and stored with the failed attempt, so that a restart
neither shortens nor repeats the wait.
"""

from __future__ import annotations

import random
from datetime import timedelta
from functools import lru_cache
from types import SimpleNamespace
from typing import Any

from astro.core.errors import AstroError
from astro.core.policy import Retry

__all__ = ["BackoffRetry", "worth_retrying"]

_LONGEST = 10.0**9  # seconds; what a timedelta and a date can hold


def worth_retrying(retry: Retry, error: Exception) -> bool:
    """Return whether another attempt could help against this error."""
    if isinstance(error, AstroError) and not error.retryable:
        return False
    return isinstance(error, retry.on)


class BackoffRetry:
    """Exponential backoff with jitter; the policy every engine has unless given another."""

    def delay(
        self, retry: Retry, /, *, attempt: int, error: Exception, chance: random.Random
    ) -> timedelta | None:
        """Return how long to wait before the next attempt, or None to give up.

        Args:
            attempt: Number of the attempt that failed; the first is 1.
        """
        if attempt >= retry.attempts or not worth_retrying(retry, error):
            return None
        # tenacity's wait strategies read the attempt number of the state they are given.
        seconds = _wait(retry)(SimpleNamespace(attempt_number=attempt)) if retry.first else 0.0
        seconds = min(seconds, retry.max.total_seconds())
        seconds *= 1.0 + retry.jitter * chance.random()
        return max(timedelta(seconds=min(seconds, _LONGEST)), _asked_for(error))


@lru_cache(maxsize=256)
def _wait(retry: Retry) -> Any:
    from tenacity import wait_exponential  # heavy: loads on the first failure, not on import

    return wait_exponential(
        multiplier=retry.first.total_seconds(),
        exp_base=retry.factor,
        max=retry.max.total_seconds(),
    )


def _asked_for(error: Exception) -> timedelta:
    """Return the wait that the other side asked for (HTTP `Retry-After`), or zero."""
    try:
        wanted = getattr(error, "retry_after", None)
    except Exception:  # a property of somebody else's, computed now
        return timedelta(0)
    if isinstance(wanted, timedelta):
        return min(wanted, timedelta(seconds=_LONGEST))
    if isinstance(wanted, (int, float)) and 0 <= wanted < _LONGEST:
        return timedelta(seconds=wanted)
    return timedelta(0)
