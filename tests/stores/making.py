"""What the tests of stores are made of; it is what the public suite is made of."""

from __future__ import annotations

from astro.testing.clock import VirtualClock
from astro.testing.conformance.making import (
    ANY,
    BEGINNING,
    FAST,
    MINUTE,
    SECOND,
    SLOW,
    TENANT,
    answer,
    cancel,
    end,
    entries_of,
    new_run,
    progress,
    run_id,
)

__all__ = [
    "ANY",
    "BEGINNING",
    "FAST",
    "MINUTE",
    "SECOND",
    "SLOW",
    "TENANT",
    "ManualClock",
    "answer",
    "cancel",
    "end",
    "entries_of",
    "new_run",
    "progress",
    "run_id",
]


class ManualClock(VirtualClock):
    """A virtual clock that begins when the runs of the tests do."""

    def __init__(self) -> None:
        super().__init__(BEGINNING)
