"""Wording: how people read the numbers and words of an audit, on the page and in Markdown. Pure."""

from __future__ import annotations

from datetime import datetime
from typing import Final

from examples.audit.syntax import COMPLEX
from examples.audit.values import Comparison, Kind

__all__ = ["EXPLAINED", "counted", "day", "percent", "tally"]

EXPLAINED: Final[dict[Kind, str]] = {
    "blocking call": "Called in an async function, it stops the whole event loop while it waits.",
    "swallowed exception": "Catches nearly everything and does nothing about it.",
    "bare except": "Catches even KeyboardInterrupt and SystemExit, and does not raise again.",
    "mutable default": "One object, shared by all calls that do not pass their own.",
    "complex function": f"More than {COMPLEX} independent paths in one function.",
}
"""What each kind of finding means."""


def counted(count: int, noun: str) -> str:
    """Return a number with its noun, as `1 file` or `1,200 files`."""
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def day(moment: str) -> str:
    """Return how people read a moment in ISO 8601."""
    at = datetime.fromisoformat(moment)
    return f"{at.day} {at:%B %Y, %H:%M} {at.tzname() or ''}".rstrip()


def percent(part: float | None) -> str:
    """Return how people read a share; only what is complete reads as 100 %."""
    if part is None:
        return "–"
    return f"{100 if part >= 1 else min(round(100 * part), 99)} %"


def tally(comparison: Comparison) -> str:
    """Return in one sentence how many files have changed, and how."""
    numbers = (
        (len(comparison.improved), "better"),
        (len(comparison.worse), "worse"),
        (len(comparison.added), "new"),
        (len(comparison.removed), "gone"),
        (comparison.same, "as before"),
    )
    said = [f"{number:,} {word}" for number, word in numbers if number]
    return f"Files: {', '.join(said) or 'none'}."
