"""ProgressDisplay: a bar that counts calls, and above it what is worth a line; drawn by rich."""

from __future__ import annotations

import sys
from collections.abc import Collection
from typing import Final

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    SpinnerColumn,
    TextColumn,
    TimeElapsedColumn,
)
from rich.text import Text

from astro.cli.display import line_of
from astro.cli.naming import CallNames
from astro.core.records import CreatedRecord, Record, StartedRecord

__all__ = ["ProgressDisplay"]

_WORTH_A_LINE: Final = {
    "asked": "bold yellow",
    "answered": "yellow",
    "attempt_failed": "yellow",
    "cancel_requested": "yellow",
    "diverged": "bold yellow",
    "emitted": "",
    "failed": "red",
    "parked": "bold yellow",
    "paused": "yellow",
    "resumed": "yellow",
    "slept": "dim",
    "undoing": "yellow",
}
_ENDS: Final = frozenset({"succeeded", "failed", "abandoned"})


class ProgressDisplay:
    """Counts the calls of a run on a terminal."""

    def __init__(
        self, title: str, console: Console | None = None, *, flows: Collection[str] = ()
    ) -> None:
        self._bar = Progress(
            SpinnerColumn(),
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("calls"),
            TimeElapsedColumn(),
            console=console or Console(file=sys.stderr),
        )
        self._task = self._bar.add_task(title, total=0)
        self._names = CallNames(flows)
        self._begun: set[str] = set()

    def __enter__(self) -> ProgressDisplay:
        self._bar.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._bar.stop()

    def show(self, record: Record) -> None:
        """Count a call, or print a line above the bar."""
        name = self._names.of(record)
        if name is None:
            return
        if isinstance(record, CreatedRecord):
            self._bar.update(self._task, description=record.task)
        elif isinstance(record, StartedRecord):
            self._begun.add(record.call)
            self._bar.update(self._task, total=len(self._begun))
        elif record.kind in _ENDS and getattr(record, "call", "") in self._begun:
            self._bar.advance(self._task)
        if record.kind in _WORTH_A_LINE:
            line = line_of(record, name)
            shown = line if line.isprintable() else ascii(line)
            self._bar.console.print(Text(shown, style=_WORTH_A_LINE[record.kind]))
