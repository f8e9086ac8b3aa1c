"""Wording: runs and records as lines for people and as data for programs; pure."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from shlex import join
from typing import Any, Final

import attrs
import msgspec

from astro.cli.calls import SeenCall, seen_calls
from astro.core.protocols import RunSummary
from astro.core.records import AskedRecord, CreatedRecord, FinishedRecord, Record, State, as_bytes
from astro.decisions.replay import replay
from astro.engine.posting import open_questions
from astro.observers.log import sentence

__all__ = [
    "Shown",
    "entry_line",
    "moment",
    "question_data",
    "question_lines",
    "run_lines",
    "run_row",
    "summary_data",
    "table",
]

_CALLS: Final = 40  # calls that are shown unless all are asked for
_DEEP: Final = 20  # levels that are indented
_MOVING: Final = frozenset({State.READY, State.RUNNING, State.UNDOING})  # while an engine owns it
_WIDTH: Final = 200  # characters of a value that is shown beside others


@attrs.frozen(kw_only=True)
class Shown:
    """The same thing twice: for people, and for programs."""

    lines: list[str]
    data: dict[str, Any]


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """Return lines whose columns are as wide as their contents."""
    widths = [max(map(len, column)) for column in zip(head, *rows, strict=True)]
    return [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in (head, *rows)
    ]


def moment(at: datetime) -> str:
    """Return a moment to the second, in UTC."""
    return f"{at:%Y-%m-%d %H:%M:%S}"


def _short(text: str) -> str:
    text = " ".join(text.split())
    return text if len(text) <= _WIDTH else f"{text[:_WIDTH]}…"


# --- Lists -------------------------------------------------------------------------------------


def run_row(run: RunSummary, short: str) -> tuple[str, ...]:
    """Return a run as cells of a table."""
    needs = ", ".join(f"{kind} {name}" for kind, name in run.needs.items())
    state = _spoken(run)
    return (short, run.task, state, str(run.records), moment(run.updated_at), run.key or "", needs)


def _spoken(run: RunSummary) -> str:
    """Return the state of a run; what should be moving and has nobody to move it is told."""
    alone = run.owner is None and run.state in _MOVING
    return f"{run.state.value}, no engine" if alone else run.state.value


def summary_data(run: RunSummary) -> dict[str, Any]:
    """Return a run as plain data."""
    data: dict[str, Any] = msgspec.to_builtins(run)
    return data


def entry_line(record: Record) -> str:
    """Return a record as one line."""
    call = getattr(record, "call", "")
    return (
        f"{record.seq:>6}  {record.at:%H:%M:%S.%f}  {record.kind:<14}  {call}  {sentence(record)}"
    )


# --- One run -----------------------------------------------------------------------------------


def run_lines(
    run: RunSummary,
    records: Sequence[Record],
    *,
    result: bytes | None,
    everything: bool,
    options: Sequence[str],
) -> Shown:
    """Return everything about a run.

    Args:
        result: JSON of its result, if it has one.
        everything: Whether to show all calls, however many.
        options: Of commands that find its store.
    """
    calls = seen_calls(records)
    questions = open_questions(replay(records))
    data = summary_data(run) | {
        "calls": [_call_data(call) for call in calls],
        "questions": [question_data(asked) for asked in questions],
    }
    lines = _facts(run, records)
    if result is not None:
        data["result"] = msgspec.json.decode(result)
        lines.append(f"result    {_short(result.decode())}")
    last = records[-1]
    if isinstance(last, FinishedRecord) and last.failure is not None:
        data["failure"] = {"type": last.failure.type, "message": last.failure.message}
        lines.append(f"failure   {last.failure.type}: {_short(last.failure.message)}")
    for asked in questions:
        lines += ["", *question_lines(asked, run.id, options)]
    lines += ["", *_tree(calls, everything=everything)]
    return Shown(lines=lines, data=data)


def _facts(run: RunSummary, records: Sequence[Record]) -> list[str]:
    created = records[0]
    args = as_bytes(created.args) if isinstance(created, CreatedRecord) else None
    needs = ", ".join(f"{kind} {name}" for kind, name in run.needs.items())
    facts = {
        "run": run.id,
        "task": run.task,
        "state": _spoken(run) + (f", waits for {needs}" if needs else ""),
        "key": run.key,
        "tenant": run.tenant,
        "parent": run.parent,
        "fork of": run.source,
        "owner": run.owner,
        "created": moment(run.created_at),
        "updated": moment(run.updated_at),
        "wakes": moment(run.wake_at) if _sleeps(run) and run.wake_at is not None else None,
        "deadline": moment(run.deadline) if run.deadline else None,
        "records": str(run.records),
        "arguments": _short((args or b"{}").decode()),
    }
    return [f"{name:<9} {value}" for name, value in facts.items() if value]


def question_data(asked: AskedRecord) -> dict[str, Any]:
    """Return a question as plain data."""
    return {
        "call": asked.call,
        "question": asked.question,
        "schema": msgspec.json.decode(asked.schema),
        "deadline": asked.deadline.isoformat() if asked.deadline else None,
    }


def question_lines(asked: AskedRecord, run: str, options: Sequence[str]) -> list[str]:
    """Return a question, and the command that answers it."""
    schema = msgspec.json.decode(asked.schema)
    words = schema.get("enum") or ([schema["type"]] if "type" in schema else [])
    kind = f" ({' | '.join(map(str, words))})" if words else ""
    until = f", until {moment(asked.deadline)}" if asked.deadline else ""
    command = join(["astro", "answer", run, "VALUE", "--call", asked.call, *options])
    return [f"asks      {asked.question}{kind}{until}", f"          {command}"]


def _call_data(call: SeenCall) -> dict[str, Any]:
    return {
        "call": call.id,
        "task": call.task,
        "parent": call.parent or None,
        "state": call.state,
        "attempt": call.attempt,
        "agent": call.agent or None,
        "began": call.began.isoformat(),
        "seconds": call.seconds,
        "note": call.note or None,
    }


def _tree(calls: Sequence[SeenCall], *, everything: bool) -> list[str]:
    """Return calls with those they asked for indented below them."""
    shown = calls if everything else calls[:_CALLS]
    lines = [f"{len(calls)} {'call' if len(calls) == 1 else 'calls'}"]
    lines += [_call_line(call, ids=everything) for call in shown]
    if len(shown) < len(calls):
        lines.append(f"… and {len(calls) - len(shown)} more: --all")
    return lines


def _call_line(call: SeenCall, *, ids: bool) -> str:
    """Return a call as a line; those that are done have their ids on demand only."""
    took = "" if call.seconds is None else f"{call.seconds:.3f} s"
    special = [
        f"by {call.agent}" if call.agent else "",
        f"attempt {call.attempt}" if call.attempt > 1 else "",
        _short(call.note),
        call.id if ids or call.state != State.DONE else "",
    ]
    said = "  ".join(part for part in special if part)
    name = "  " * (min(call.depth, _DEEP) + 1) + call.task
    return f"{name:<32}  {call.state:<9} {took:>10}  {said}".rstrip()


def _sleeps(run: RunSummary) -> bool:
    """Return whether a run waits for a moment that its store knows; who owns it knows its own."""
    later = run.wake_at is not None and run.wake_at > run.created_at
    return run.state is State.SLEEPING and later
