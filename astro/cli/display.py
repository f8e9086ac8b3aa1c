"""Displays: a run's records as they come, as plain lines or as a bar on a terminal."""

from __future__ import annotations

import sys
from collections.abc import Collection
from typing import Final, Protocol

from astro.cli.naming import CallNames
from astro.cli.outcome import note
from astro.core.errors import SettingsError
from astro.core.records import Record
from astro.observers.log import sentence
from astro.setup.plugins import load

__all__ = ["Display", "PlainDisplay", "SilentDisplay", "line_of", "open_display"]

_QUIET: Final = frozenset(
    {"created", "owned", "released", "noted", "reserved", "spent", "child_finished"}
)


class Display(Protocol):
    """Shows how a run goes."""

    def __enter__(self) -> Display: ...

    def __exit__(self, *error: object) -> None: ...

    def show(self, record: Record) -> None:
        """Take note of a record."""
        ...


def line_of(record: Record, name: str) -> str:
    """Return a record as a line for those who watch; `name` is that of what it is about."""
    said = sentence(record)
    return f"{record.at:%H:%M:%S}  {name} {said}" if name else f"{record.at:%H:%M:%S}  {said}"


class PlainDisplay:
    """Prints a line for each record that matters."""

    def __init__(self, flows: Collection[str] = ()) -> None:
        self._names = CallNames(flows)

    def __enter__(self) -> PlainDisplay:
        return self

    def __exit__(self, *error: object) -> None:
        """Nothing is open."""

    def show(self, record: Record) -> None:
        """Print the record's line."""
        name = self._names.of(record)
        if name is None or record.kind in _QUIET:
            return
        if record.kind != "started" or not _is_plain(record):
            note(line_of(record, name))


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


def open_display(*, title: str, plain: bool, quiet: bool, flows: Collection[str] = ()) -> Display:
    """Return the display that fits: a bar on a terminal, lines elsewhere.

    Args:
        flows: Names of tasks that are workflows; their calls go by the names of nodes.
    """
    if quiet:
        return SilentDisplay()
    if plain or not sys.stderr.isatty():
        return PlainDisplay(flows)
    try:
        bar: Display = load("astro.cli.progress:ProgressDisplay")(title, flows=flows)
    except SettingsError:  # rich is not installed
        return PlainDisplay(flows)
    return bar
