"""Calls: what a picture of a run needs to know of each call, folded from the records.

A fold of its own, beside the one that engines decide by: a picture wants to know when calls
began and ended relative to each other, forgives journals that begin in the middle, and has no
use for results. Moments count half records: a call that ended at 14, with the seventh record,
was over before one began at 16, and a sleep that no record ends may be over at 15.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime, timedelta
from typing import Any, Final

import attrs
import msgspec

from astro.core.records import (
    AbandonedRecord,
    AnsweredRecord,
    AskedRecord,
    AttemptFailedRecord,
    CancelRequestedRecord,
    ChildFinishedRecord,
    ChildStartedRecord,
    CreatedRecord,
    EmittedRecord,
    FailedRecord,
    Failure,
    FinishedRecord,
    ParkedRecord,
    PausedRecord,
    Record,
    ResumedRecord,
    SleptRecord,
    StartedRecord,
    State,
    SucceededRecord,
    UndoingRecord,
    as_bytes,
)

__all__ = ["DEFINITION", "DrawnCall", "History", "history_of"]


DEFINITION: Final = "definition"
"""The step with which each run of a workflow begins; its result is the definition."""

_PASSED: Final = {"skipped": "skipped", "defaulted": "its default was taken"}


@attrs.define(eq=False)
class DrawnCall:
    """One call.

    Attributes:
        state: None where nobody can know: a detached run that has not reported.
        start: Moment of its first attempt.
        end: Moment of its end; None while it goes on.
        note: What is special about it: a question, an error, a run's id.
        size: Calls below it, itself included.
        failures: Failed calls below it, itself included.
    """

    id: str
    task: str
    start: int
    since: datetime
    parent: DrawnCall | None = None
    place: str = ""
    state: State | None = State.RUNNING
    end: int | None = None
    until: datetime | None = None
    attempt: int = 1
    agent: str = ""
    note: str = ""
    detached: bool = False
    children: list[DrawnCall] = attrs.field(factory=list)
    size: int = 1
    failures: int = 0

    @property
    def took(self) -> timedelta | None:
        """How long it took; None while it goes on."""
        return None if self.until is None else self.until - self.since

    def finish(self, state: State, at: int, when: datetime, note: str = "") -> None:
        """Take down how it ended."""
        self.state, self.end, self.until = state, at, when
        self.note = note or self.note


@attrs.frozen
class History:
    """What a picture shows of a run.

    Attributes:
        calls: In order of first appearance; the first is the root's.
        definition: JSON of the workflow that the run is of, with its digest; None for a task.
        passed: What became of nodes that were passed over, by their names.
        over: Whether the run has ended.
    """

    calls: list[DrawnCall]
    definition: bytes | None = None
    passed: Mapping[str, str] = attrs.field(factory=dict)
    over: bool = False


def history_of(records: Iterable[Record]) -> History:
    """Return what a picture shows of a run, from its records so far."""
    fold = _Fold()
    for number, record in enumerate(records, start=1):
        at = 2 * number
        fold.wake(at, record.at)
        apply = _APPLY.get(type(record))
        if apply is not None:
            apply(fold, at, record)
    return History(fold.close(), fold.definition, fold.passed, fold.over is not None)


@attrs.define
class _Fold:
    calls: dict[str, DrawnCall] = attrs.field(factory=dict)
    root: DrawnCall | None = None
    sleepers: list[tuple[datetime, str]] = attrs.field(factory=list)
    wakes: dict[str, datetime] = attrs.field(factory=dict)
    runs: dict[str, DrawnCall] = attrs.field(factory=dict)
    over: FinishedRecord | None = None
    held: State | None = None
    note: str = ""
    definition: bytes | None = None
    passed: dict[str, str] = attrs.field(factory=dict)

    def call(self, at: int, when: datetime, id: str, task: str, parent: str) -> DrawnCall:
        """Return a call, a new one below its parent if it is asked for the first time."""
        found = self.calls.get(id)
        if found is not None:
            found.task = task
            return found
        asker = self.calls.get(parent, self.root)
        found = self.calls[id] = DrawnCall(id, task, at, when, asker)
        if asker is None:
            self.root = found
        else:
            asker.children.append(found)
        return found

    def end(self, at: int, record: Any, state: State, note: str = "") -> None:
        """Take down how a call ended, if the journal at hand has seen it begin."""
        found = self.calls.get(record.call)
        if found is not None:
            found.finish(state, at, record.at, note)

    def wake(self, at: int, now: datetime) -> None:
        """End the sleeps whose time has come: no record says so."""
        while self.sleepers and self.sleepers[0][0] <= now:
            until, id = heapq.heappop(self.sleepers)
            call = self.calls[id]
            # A later attempt of the caller may have slept anew.
            if call.state is State.SLEEPING and self.wakes[id] == until:
                # Over before this record, which may be the start of what follows.
                call.finish(State.DONE, at - 1, until)
                call.note = ""

    def close(self) -> list[DrawnCall]:
        """Return the calls, with what is known only at the end."""
        root = self.root
        if root is None:
            return []
        if self.over is not None:
            for call in self.calls.values():
                if call.state is not None and not call.state.terminal:
                    call.state = State.CANCELLED
            root.state = self.over.state
            root.note = _spelled(self.over.failure) or self.over.reason or root.note
        elif self.held is not None:
            root.state, root.note = self.held, self.note
        found = list(self.calls.values())
        for call in reversed(found):
            call.failures += call.state is State.FAILED
            if call.parent is not None:
                call.parent.size += call.size
                call.parent.failures += call.failures
        return found


def _spelled(failure: Failure | None) -> str:
    if failure is None:
        return ""
    name = failure.type.rpartition(".")[2]
    return f"{name}: {failure.message}" if failure.message else name


# --- One function per kind of record that a picture shows --------------------------------------


def _created(fold: _Fold, at: int, record: CreatedRecord) -> None:
    fold.call(at, record.at, record.task, record.task, "").state = State.READY


def _started(fold: _Fold, at: int, record: StartedRecord) -> None:
    call = fold.call(at, record.at, record.call, record.task, record.parent)
    call.state, call.end, call.until, call.note = State.RUNNING, None, None, ""
    call.attempt, call.agent, call.place = record.attempt, record.agent, record.place


def _succeeded(fold: _Fold, at: int, record: SucceededRecord) -> None:
    fold.end(at, record, State.DONE, "from the cache" if record.cached else "")
    call = fold.calls.get(record.call)
    if call is not None and call.task == DEFINITION and call.parent is fold.root:
        fold.definition = fold.definition or as_bytes(record.result)


def _attempt_failed(fold: _Fold, at: int, record: AttemptFailedRecord) -> None:
    call = fold.calls.get(record.call)
    if call is not None:
        call.state, call.note = State.SLEEPING, f"after {_spelled(record.failure)}"


def _failed(fold: _Fold, at: int, record: FailedRecord) -> None:
    fold.end(at, record, State.FAILED, _spelled(record.failure))


def _abandoned(fold: _Fold, at: int, record: AbandonedRecord) -> None:
    call = fold.calls.get(record.call)
    if call is not None and (call.state is None or not call.state.terminal):
        call.finish(State.CANCELLED, at, record.at)


def _slept(fold: _Fold, at: int, record: SleptRecord) -> None:
    call = fold.call(at, record.at, record.call, "sleep", record.parent)
    call.state, call.end, call.note = State.SLEEPING, None, f"until {record.until:%Y-%m-%d %H:%M}"
    fold.wakes[record.call] = record.until
    heapq.heappush(fold.sleepers, (record.until, record.call))


def _asked(fold: _Fold, at: int, record: AskedRecord) -> None:
    call = fold.call(at, record.at, record.call, "ask", record.parent)
    call.state, call.end, call.note = State.ASKED, None, record.question


def _emitted(fold: _Fold, at: int, record: EmittedRecord) -> None:
    if record.name in _PASSED and fold.root is not None and record.parent == fold.root.id:
        told = msgspec.json.decode(record.value)
        if isinstance(told, dict) and isinstance(told.get("node"), str):
            fold.passed[told["node"]] = _PASSED[record.name]


def _answered(fold: _Fold, at: int, record: AnsweredRecord) -> None:
    fold.end(at, record, State.DONE)


def _child_started(fold: _Fold, at: int, record: ChildStartedRecord) -> None:
    call = fold.call(at, record.at, record.call, record.task, record.parent)
    call.detached = record.detached
    call.note = f"{'detached run' if record.detached else 'run'} {record.run[:8]}"
    call.state = None if record.detached else State.RUNNING
    fold.runs[record.run] = call


def _child_finished(fold: _Fold, at: int, record: ChildFinishedRecord) -> None:
    call = fold.runs.get(record.run)
    if call is not None:
        call.finish(record.state, at, record.at, _spelled(record.failure))


def _paused(fold: _Fold, at: int, record: PausedRecord) -> None:
    fold.held, fold.note = State.PAUSED, f"by {record.by}" if record.by else ""


def _resumed(fold: _Fold, at: int, record: ResumedRecord) -> None:
    fold.held, fold.note = None, ""


def _parked(fold: _Fold, at: int, record: ParkedRecord) -> None:
    needs = ", ".join(f"{what} {which}" for what, which in record.needs.items())
    fold.held, fold.note = State.PARKED, f"needs {needs}"


def _cancel_requested(fold: _Fold, at: int, record: CancelRequestedRecord) -> None:
    if fold.root is not None:
        fold.root.note = f"cancel requested: {record.reason}"


def _undoing(fold: _Fold, at: int, record: UndoingRecord) -> None:
    call = fold.calls.get(record.call)
    if call is not None:
        call.state = State.UNDOING


def _finished(fold: _Fold, at: int, record: FinishedRecord) -> None:
    fold.over = record
    if fold.root is not None:
        fold.root.finish(record.state, at, record.at)


_APPLY: Final[Mapping[type[Any], Callable[[_Fold, int, Any], None]]] = {
    CreatedRecord: _created,
    StartedRecord: _started,
    SucceededRecord: _succeeded,
    AttemptFailedRecord: _attempt_failed,
    FailedRecord: _failed,
    AbandonedRecord: _abandoned,
    SleptRecord: _slept,
    AskedRecord: _asked,
    AnsweredRecord: _answered,
    EmittedRecord: _emitted,
    ChildStartedRecord: _child_started,
    ChildFinishedRecord: _child_finished,
    PausedRecord: _paused,
    ResumedRecord: _resumed,
    ParkedRecord: _parked,
    CancelRequestedRecord: _cancel_requested,
    UndoingRecord: _undoing,
    FinishedRecord: _finished,
}
