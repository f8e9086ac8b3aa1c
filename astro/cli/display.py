"""Displays: a run's records as they come, as plain lines or as a bar on a terminal."""

from __future__ import annotations

import sys
from typing import Final, Protocol

from astro.cli.outcome import note
from astro.core.errors import SettingsError
from astro.core.records import Record
from astro.observers.log import sentence
from astro.setup.plugins import load

__all__ = ["Display", "PlainDisplay", "SilentDisplay", "line_of", "open_display"]

_QUIET: Final = frozenset({"created", "owned", "noted", "spent", "child_finished"})


class Display(Protocol):
    """Shows how a run goes."""

    def __enter__(self) -> Display: ...

    def __exit__(self, *error: object) -> None: ...

    def show(self, record: Record) -> None:
        """Take note of a record."""
        ...


def line_of(record: Record) -> str:
    """Return a record as a line for those who watch."""
    task = str(getattr(record, "task", "") or getattr(record, "call", "").partition(":")[0])
    said = sentence(record)
    return f"{record.at:%H:%M:%S}  {task} {said}" if task else f"{record.at:%H:%M:%S}  {said}"


class PlainDisplay:
    """Prints a line for each record that matters."""

    def __enter__(self) -> PlainDisplay:
        return self

    def __exit__(self, *error: object) -> None:
        """Nothing is open."""

    def show(self, record: Record) -> None:
        """Print the record's line."""
        if record.kind in _QUIET or (record.kind == "started" and _is_plain(record)):
            return
        note(line_of(record))


def _is_plain(record: Record) -> bool:
    """Return whether a start says no more than the end that follows."""
    return getattr(record, "attempt", 1) == 1 and not getattr(record, "agent", "")


class SilentDisplay:
    """Prints nothing."""

    def __enter__(self) -> SilentDisplay:
        return self

    def __exit__(self, *error: object) -> None:
        """Nothing is open."""

    def show(self, record: Record) -> None:
        """Do nothing."""


def open_display(*, title: str, plain: bool, quiet: bool) -> Display:
    """Return the display that fits: a bar on a terminal, lines elsewhere."""
    if quiet:
        return SilentDisplay()
    if plain or not sys.stderr.isatty():
        return PlainDisplay()
    try:
        bar: Display = load("astro.cli.progress:ProgressDisplay")(title)
    except SettingsError:  # rich is not installed
        return PlainDisplay()
    return bar
