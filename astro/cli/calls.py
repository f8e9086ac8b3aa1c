"""Calls: the calls of a run as a tree that people can read, from its records; pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Final

import attrs

from astro.core.records import (
    AbandonedRecord,
    AnsweredRecord,
    AskedRecord,
    AttemptFailedRecord,
    ChildStartedRecord,
    CreatedRecord,
    FailedRecord,
    FinishedRecord,
    Record,
    SleptRecord,
    StartedRecord,
    State,
    SucceededRecord,
)
from astro.decisions.replay import CallState, replay

__all__ = ["SeenCall", "seen_calls"]

_ENDS: Final = (SucceededRecord, FailedRecord, AnsweredRecord, AbandonedRecord)


@attrs.define
class SeenCall:
    """One call, as far as it matters to people.

    Attributes:
        state: Spelled, since an abandoned call has none of its own.
        note: What is special about it: a question, a failure, a run.
        depth: How many calls it is inside of.
    """

    id: str
    task: str
    parent: str
    began: datetime
    ended: datetime | None = None
    attempt: int = 1
    agent: str = ""
    note: str = ""
    state: str = ""
    depth: int = 0

    @property
    def seconds(self) -> float | None:
        """How long it took; None while it goes on."""
        return None if self.ended is None else (self.ended - self.began).total_seconds()


def seen_calls(records: Sequence[Record]) -> list[SeenCall]:
    """Return the calls of a run, each before those it asked for; the first is the root's."""
    calls: dict[str, SeenCall] = {}
    for record in records:
        _see(calls, record)
    states = replay(records).calls
    last = records[-1]
    for call in calls.values():
        call.state = _state(states.get(call.id), records[-1])
    root = next(iter(calls.values()), None)
    if root is not None and isinstance(last, FinishedRecord):
        root.state, root.ended = last.state.value, last.at
    return list(_in_order(calls))


def _see(calls: dict[str, SeenCall], record: Record) -> None:
    match record:
        case CreatedRecord(task=task):
            calls[task] = SeenCall(task, task, "", record.at)
        case StartedRecord(call=id, task=task, parent=parent):
            call = calls.setdefault(id, SeenCall(id, task, parent, record.at))
            call.attempt, call.agent = record.attempt, record.agent
        case AskedRecord(call=id, parent=parent, question=question):
            calls[id] = SeenCall(id, "ask", parent, record.at, note=question)
        case SleptRecord(call=id, parent=parent, until=until):
            calls[id] = SeenCall(id, "sleep", parent, record.at, note=f"until {until:%F %T}")
        case ChildStartedRecord(call=id, parent=parent, task=task, run=run):
            calls[id] = SeenCall(id, task, parent, record.at, note=f"run {run}")
        case AttemptFailedRecord(call=id, failure=failure):
            calls[id].note = f"{failure.type}: {failure.message}"
        case FailedRecord(call=id, failure=failure):
            calls[id].note = f"{failure.type}: {failure.message}"
            calls[id].ended = record.at
        case _:
            call_id = getattr(record, "call", "")
            if isinstance(record, _ENDS) and call_id in calls:
                calls[call_id].ended = record.at


def _state(known: CallState | None, last: Record) -> str:
    if known is None:
        return State.READY.value
    if known.abandoned:
        return "abandoned"
    over = known.task == "sleep" and known.moment is not None and known.moment <= last.at
    return State.DONE.value if over else known.state.value


def _in_order(calls: Mapping[str, SeenCall]) -> Iterable[SeenCall]:
    """Yield calls depth first, without recursion: journals may be deep."""
    below: dict[str, list[SeenCall]] = {}
    roots: list[SeenCall] = []
    for call in calls.values():
        inside = call.parent in calls and call.parent != call.id
        (below.setdefault(call.parent, []) if inside else roots).append(call)
    waiting = list(reversed(roots))
    while waiting:
        call = waiting.pop()
        yield call
        for child in reversed(below.get(call.id, ())):
            child.depth = call.depth + 1
            waiting.append(child)
