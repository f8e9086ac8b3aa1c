"""Displays: a bar on a terminal, lines elsewhere, nothing when told so."""

from __future__ import annotations

import io
import sys
from datetime import UTC, datetime

import pytest
from rich.console import Console

from astro.cli import display
from astro.cli.display import PlainDisplay, SilentDisplay, open_display
from astro.cli.progress import ProgressDisplay
from astro.core.errors import SettingsError
from astro.core.policy import Budget
from astro.core.records import (
    AskedRecord,
    CreatedRecord,
    FailedRecord,
    Failure,
    FinishedRecord,
    Raw,
    Record,
    ReservedRecord,
    StartedRecord,
    State,
    SucceededRecord,
)

NOW = datetime(2026, 1, 1, tzinfo=UTC)
RECORDS: list[Record] = [
    CreatedRecord(seq=1, at=NOW, task="welcome", args=Raw(b"{}"), seed="0", tenant="default"),
    StartedRecord(seq=2, at=NOW, call="welcome", task="welcome"),
    StartedRecord(seq=3, at=NOW, call="greet:0.0", task="greet", agent="polite"),
    StartedRecord(seq=4, at=NOW, call="greet:1.0", task="greet", attempt=2),
    AskedRecord(seq=5, at=NOW, call="ask:0.0", parent="w", question="\x1b[2J?", schema=Raw(b"{}")),
    SucceededRecord(seq=6, at=NOW, call="greet:0.0"),
    FailedRecord(
        seq=7, at=NOW, call="greet:1.0", attempt=2, failure=Failure(type="OSError", message="down")
    ),
    FinishedRecord(seq=8, at=NOW, state=State.DONE),
]


def test_a_bar_counts_calls_and_prints_what_matters_above() -> None:
    screen = io.StringIO()
    console = Console(file=screen, force_terminal=True, width=100, color_system=None)
    with ProgressDisplay("welcome", console) as bar:
        for record in RECORDS:
            bar.show(record)
    text = screen.getvalue()
    assert "2/3" in text
    assert "greet #2 failed for good: OSError: down" in text
    assert "\x1b[2J" not in text


def test_plain_lines_leave_out_what_says_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    with PlainDisplay() as lines:
        for record in RECORDS:
            lines.show(record)
    assert capsys.readouterr().err.splitlines() == [
        "00:00:00  greet attempt 1 started by polite",
        "00:00:00  greet #2 attempt 2 started",
        "00:00:00  ask '\\x1b[2J?'",
        "00:00:00  greet succeeded",
        "00:00:00  greet #2 failed for good: OSError: down",
        "00:00:00  The run ended: done",
    ]


def test_a_bar_does_not_count_what_a_workflow_asks_for_itself() -> None:
    screen = io.StringIO()
    console = Console(file=screen, force_terminal=True, width=100, color_system=None)
    step = StartedRecord(seq=3, at=NOW, call="d", task="definition", parent="welcome")
    with ProgressDisplay("welcome", console, flows=["welcome"]) as bar:
        for record in (RECORDS[0], RECORDS[1], step, SucceededRecord(seq=4, at=NOW, call="d")):
            bar.show(record)
    assert "0/1" in screen.getvalue()


def test_what_is_put_aside_of_a_budget_is_no_line(capsys: pytest.CaptureFixture[str]) -> None:
    with PlainDisplay() as lines:
        lines.show(ReservedRecord(seq=3, at=NOW, call="x", attempt=1, budget=Budget(tokens=1)))
    assert capsys.readouterr().err == ""


class Terminal(io.StringIO):
    """A standard error that is a terminal."""

    def isatty(self) -> bool:
        return True


def test_the_display_fits_where_it_is_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    assert isinstance(open_display(title="x", plain=False, quiet=False), PlainDisplay)
    monkeypatch.setattr(sys, "stderr", Terminal())
    assert isinstance(open_display(title="x", plain=False, quiet=False), ProgressDisplay)
    assert isinstance(open_display(title="x", plain=True, quiet=False), PlainDisplay)


def test_a_quiet_display_says_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    with open_display(title="x", plain=False, quiet=True) as silent:
        assert isinstance(silent, SilentDisplay)
        silent.show(RECORDS[-1])
    assert capsys.readouterr().err == ""


def test_without_rich_lines_do(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(target: str) -> None:
        raise SettingsError(target, ["loading fails"])

    monkeypatch.setattr(sys, "stderr", Terminal())
    monkeypatch.setattr(display, "load", missing)
    assert isinstance(open_display(title="x", plain=False, quiet=False), PlainDisplay)
