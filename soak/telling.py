"""Telling: what a part of the soak has to say, at once and on one line."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

__all__ = ["SoakError", "amount", "say", "slope", "timed"]


class SoakError(AssertionError):
    """Raised when a part of the soak has found something."""


def say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def amount(full: int, share: float) -> int:
    """Return a share of the full amount, at least one."""
    return max(1, round(full * share))


@contextmanager
def timed(name: str) -> Iterator[None]:
    began = time.monotonic()
    say(f"{name}: begins")
    yield
    say(f"{name}: {time.monotonic() - began:.0f} s")


def slope(points: Iterable[tuple[float, float]]) -> float:
    """Return how much y grows with x, by least squares."""
    pairs = [*points]
    x, y = (sum(pair[place] for pair in pairs) / len(pairs) for place in (0, 1))
    spread = sum((one[0] - x) ** 2 for one in pairs)
    return sum((one[0] - x) * (one[1] - y) for one in pairs) / spread if spread else 0.0
