"""Outcomes: exit codes, and how results and errors are written.

Results go to standard output, everything else to standard error, so that a pipe sees results
only. With `--json`, errors are results too.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from enum import IntEnum

import click

from astro.core.errors import (
    AlreadyAnsweredError,
    AstroError,
    KeyConflictError,
    RunCancelledError,
    RunFailedError,
    RunFinishedError,
    RunNotFoundError,
    StoreError,
)

__all__ = ["Code", "code_of", "error_data", "note", "write", "write_error", "write_json"]


class Code(IntEnum):
    """What a command exits with."""

    OK = 0
    FAILED = 1
    USAGE = 2
    NOT_FOUND = 3
    STORE = 4
    WAITING = 5
    INTERRUPTED = 130


def code_of(error: AstroError) -> Code:
    """Return the exit code of an error."""
    match error:
        case RunFailedError() | RunCancelledError():
            return Code.FAILED
        case RunNotFoundError():
            return Code.NOT_FOUND
        case KeyConflictError() | AlreadyAnsweredError() | RunFinishedError():
            return Code.USAGE
        case StoreError():
            return Code.STORE
        case _:
            return Code.USAGE


def write(lines: Iterable[str]) -> None:
    """Write lines of a result."""
    for line in lines:
        click.echo(_visible(line))


def write_json(value: object) -> None:
    """Write a result as one line of JSON."""
    click.echo(json.dumps(value, default=str))


def note(*lines: str) -> None:
    """Write lines for people, beside the result."""
    for line in lines:
        click.echo(_visible(line), err=True)


def _visible(text: str) -> str:
    """Return text that moves no cursor and changes no colour: it may come from anybody."""
    if text.isprintable():
        return text
    return "".join(
        c if c.isprintable() or c in "\n\t" else c.encode("unicode_escape").decode() for c in text
    )


def error_data(error: AstroError) -> dict[str, object]:
    """Return an error as plain data."""
    return _data(error.problem, error.remedy, kind=type(error).__name__, code=code_of(error))


def _data(problem: str, remedy: str, *, kind: str, code: int) -> dict[str, object]:
    return {"type": kind, "problem": problem.strip(), "remedy": remedy, "exit_code": code}


def write_error(problem: str, remedy: str, *, kind: str, code: int, as_json: bool) -> None:
    """Write what went wrong, and what to do about it."""
    if as_json:
        write_json({"error": _data(problem, remedy, kind=kind, code=code)})
    else:
        note(f"Error: {problem.rstrip()}", *([remedy] if remedy else []))
