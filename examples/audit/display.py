"""The display: a live picture of the audit on a terminal, plain lines everywhere else."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Protocol

from examples.audit.events import Asked, Event, Progressed
from examples.audit.wording import counted

try:
    from rich.console import Console, Group
    from rich.live import Live
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn
    from rich.table import Table
    from rich.text import Text
except ImportError:
    _RICH = False
else:
    _RICH = True

__all__ = ["Display", "open_display"]

_STEP = 10  # hundredths of the files between two plain lines


class Display(Protocol):
    """What shows an audit to a person."""

    def show(self, event: Event) -> None:
        """Show how far the audit is."""
        ...

    def say(self, text: str, *, tone: str = "") -> None:
        """Say a sentence that stays; `tone` is empty, `good`, `bad` or `quiet`."""
        ...


def open_display(*, plain: bool = False) -> AbstractContextManager[Display]:
    """Open what suits standard output."""
    if _RICH and not plain:
        console = Console(highlight=False)
        if console.is_terminal:
            return _open_live(console)
    return _open_plain()


class _PlainDisplay:
    """Prints a line now and then."""

    def __init__(self) -> None:
        self._next = _STEP

    def show(self, event: Event) -> None:
        if isinstance(event, Progressed) and event.total:
            reached = 100 * event.done // event.total
            if reached >= self._next:
                self._next = reached - reached % _STEP + _STEP
                self.say(
                    f"  {event.done:>5,} of {counted(event.total, 'file')}, "
                    f"{counted(event.findings, 'finding')}"
                )

    def say(self, text: str, *, tone: str = "") -> None:
        print(text, flush=True)


@contextmanager
def _open_plain() -> Iterator[Display]:
    yield _PlainDisplay()


_TONES = {"good": "green", "bad": "bold red", "quiet": "dim"}


class _LiveDisplay:
    """Keeps a bar and the analysts' tallies below the sentences that stay."""

    def __init__(self, console: Console, live: Live) -> None:
        self._console = console
        self._live = live
        self._bar = Progress(
            TextColumn("  reading", style="bold"),
            BarColumn(bar_width=40, complete_style="cyan", finished_style="green"),
            MofNCompleteColumn(),
            TextColumn("{task.fields[path]}", style="dim", markup=False),
            console=console,
        )
        self._task = self._bar.add_task("", total=None, path="")

    def show(self, event: Event) -> None:
        if isinstance(event, Progressed):
            self._bar.update(
                self._task, completed=event.done, total=event.total, path=event.path[-36:]
            )
            self._live.update(Group(self._bar, self._agents(event)))
        elif isinstance(event, Asked):
            self._live.update(Group(), refresh=True)

    def say(self, text: str, *, tone: str = "") -> None:
        self._console.print(text, style=_TONES.get(tone, ""), markup=False, soft_wrap=True)

    def _agents(self, event: Progressed) -> Table:
        table = Table.grid(padding=(0, 2))
        for name in sorted(event.by):
            table.add_row(Text(f"  {name}", style="dim"), Text(f"{event.by[name]:>5,} files"))
        table.add_row(Text("  findings", style="dim"), Text(f"{event.findings:>5,}"))
        return table


@contextmanager
def _open_live(console: Console) -> Iterator[Display]:
    with Live(console=console, refresh_per_second=12, transient=True) as live:
        yield _LiveDisplay(console, live)
