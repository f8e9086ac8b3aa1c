"""Replay: the state of a run is the fold of its records.

The live engine and a restarted one apply the same records in the same order to the same value,
so that what a run remembers after a crash is what it knew before.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from typing import Any, Final

import msgspec

from astro.core.errors import JournalCorruptError
from astro.core.policy import Effect
from astro.core.records import (
    AbandonedRecord,
    AnsweredRecord,
    AskedRecord,
    AttemptFailedRecord,
    CancelRequestedRecord,
    ChildFinishedRecord,
    ChildStartedRecord,
    CreatedRecord,
    DivergedRecord,
    EmittedRecord,
    FailedRecord,
    Failure,
    FinishedRecord,
    IgnoredRecord,
    NotedRecord,
    OwnedRecord,
    ParkedRecord,
    PausedRecord,
    Record,
    ReleasedRecord,
    ReservedRecord,
    ResumedRecord,
    SleptRecord,
    SpentRecord,
    StartedRecord,
    State,
    SucceededRecord,
    UndoingRecord,
    as_bytes,
)
from astro.decisions.forgetting import forget, take_back, unsettle
from astro.decisions.spending import Scope, Spending

__all__ = ["CallState", "RunState", "replay"]


class CallState(msgspec.Struct, eq=False):
    """What a run remembers of one call.

    Attributes:
        attempt: Number of the newest attempt; 0 before the first.
        base: Attempts that belong to earlier times the call was asked for.
        result: JSON of the result or the answer.
        moment: When a sleep or a wait for the next attempt ends, or a question's deadline;
            what the clock said, for a noted moment.
        set_at: When that moment was set.
        since: When its first attempt began; what the deadline of a call counts from.
        args: JSON of the arguments, kept only for tasks with an undo.
        run: Id of the child run, for a call that started one.
        agent: Who performs the attempt, or did.
        failed: How many attempts of each have failed.
        undone: How often it was undone; each time its effects have new keys.
    """

    id: str
    parent: str
    task: str
    state: State = State.READY
    attempt: int = 0
    base: int = 0
    effect: str = Effect.WRITE.value
    result: bytes | None = None
    blob: str | None = None
    failure: Failure | None = None
    moment: datetime | None = None
    set_at: datetime | None = None
    since: datetime | None = None
    abandoned: bool = False
    args: bytes | None = None
    run: str | None = None
    detached: bool = False
    asked: AskedRecord | None = None
    agent: str = ""
    failed: dict[str, int] | None = None
    undone: int = 0


class RunState(msgspec.Struct, eq=False):
    """What is known of a run after some of its records.

    Attributes:
        seq: Sequence number of the newest record.
        calls: By identity, all calls but the forgotten ones.
        children: Identities by the identity of the call that asked for them, in order.
        undoable: Calls with an undo whose effects stand, or may, in the order in which they
            started; with the last result of each, its JSON or the hash of a large one.
        finished_runs: Child runs that have ended.
        spending: What is used and held of its budgets.
    """

    created: CreatedRecord | None = None
    seq: int = 0
    calls: dict[str, CallState] = msgspec.field(default_factory=dict)
    children: dict[str, list[str]] = msgspec.field(default_factory=dict)
    undoable: dict[str, tuple[bytes | None, str | None] | None] = msgspec.field(
        default_factory=dict
    )
    finished_runs: dict[str, ChildFinishedRecord] = msgspec.field(default_factory=dict)
    has_undone: bool = False
    paused: bool = False
    cancel: str | None = None
    needs: Mapping[str, str] = msgspec.field(default_factory=dict)
    undoing: dict[str, UndoingRecord] = msgspec.field(default_factory=dict)
    diverged: list[DivergedRecord] = msgspec.field(default_factory=list)
    owner: str = ""
    spending: Spending = msgspec.field(default_factory=Spending)
    finished: FinishedRecord | None = None

    def apply(self, record: Record) -> None:
        """Take one more record into account.

        Raises:
            JournalCorruptError: It does not follow the ones before.
        """
        if record.seq != self.seq + 1 or self.finished is not None:
            raise JournalCorruptError(
                f"Record {record.seq} does not follow record {self.seq}.",
                remedy="Restore the store from a backup.",
            )
        try:
            _APPLY[type(record)](self, record)
        except KeyError as error:
            raise JournalCorruptError(
                f"Record {record.seq} is about {error}, which was never asked for.",
                remedy="Restore the store from a backup.",
            ) from error
        self.seq = record.seq

    def copies(self, record: Record) -> bool:
        """Return whether a record is a copy from the run that this one was forked from."""
        return self.created is not None and record.seq <= 1 + self.created.copied

    def scope(self, call: str) -> Scope:
        """Return the innermost scope of a budget that a call is part of."""
        return self.spending.around(call, self._parent_of)

    def _parent_of(self, call: str) -> str:
        memory = self.calls.get(call)
        return memory.parent if memory is not None else ""

    def _call(self, call: str, parent: str, task: str) -> CallState:
        """Return the state of a call, a new one if it is asked for the first time."""
        state = self.calls.get(call)
        if state is None:
            state = self.calls[call] = CallState(call, parent, task)
            if parent:
                self.children.setdefault(parent, []).append(call)
        return state


def replay(records: Iterable[Record]) -> RunState:
    """Return the state of a run after its records.

    Raises:
        JournalCorruptError: They do not follow each other.
    """
    state = RunState()
    for record in records:
        state.apply(record)
    return state


# --- One function per kind of record ---------------------------------------------------------


def _created(state: RunState, record: CreatedRecord) -> None:
    state.created = record


def _owned(state: RunState, record: OwnedRecord) -> None:
    state.owner = record.owner
    if record.lost:
        state.spending.close_all(in_full=True)


def _started(state: RunState, record: StartedRecord) -> None:
    call = state._call(record.call, record.parent, record.task)
    if record.attempt > call.attempt and call.attempt:
        forget(state, record.call, fresh=record.fresh, at=record.at)
        state.undoing.pop(record.call, None)
    if record.undo and not state.copies(record):
        state.undoable.setdefault(record.call, None)
        if call.args is None:
            call.args = as_bytes(record.args) or b"{}"
        undo = state.calls.get(f"{record.call}/undo")
        if undo is not None and undo.state.terminal:
            unsettle(undo)
    call.attempt = record.attempt
    call.state = State.RUNNING
    call.effect = record.effect
    call.agent = record.agent
    call.moment = None
    call.since = call.since or record.at
    if not state.spending.opened:
        state.spending.run.used_calls += 1
        return
    for scope in state.spending.outwards(state.scope(record.parent)):
        scope.used_calls += 1


def _succeeded(state: RunState, record: SucceededRecord) -> None:
    call = state.calls[record.call]
    call.state = State.DONE
    call.result = as_bytes(record.result)
    call.blob = record.blob
    state.spending.close(record.call)
    if record.call in state.undoable:
        state.undoable[record.call] = (call.result, call.blob)
    elif record.call.endswith("/undo") and record.call.removesuffix("/undo") in state.calls:
        take_back(state, record.call.removesuffix("/undo"))


def _attempt_failed(state: RunState, record: AttemptFailedRecord) -> None:
    call = state.calls[record.call]
    call.state = State.SLEEPING
    call.failure = record.failure
    call.moment, call.set_at = record.retry_at, record.at
    before = call.failed or {}
    call.failed = before | {call.agent: before.get(call.agent, 0) + 1}
    state.spending.close(record.call)


def _failed(state: RunState, record: FailedRecord) -> None:
    call = state.calls[record.call]
    call.state = State.FAILED
    call.failure = record.failure
    state.spending.close(record.call)
    state.undoing.pop(record.call, None)


def _abandoned(state: RunState, record: AbandonedRecord) -> None:
    call = state.calls.get(record.call)
    if call is None and record.parent:
        call = state._call(record.call, record.parent, "wait")
    if call is not None:
        call.abandoned = True
        state.spending.close(record.call)


def _slept(state: RunState, record: SleptRecord) -> None:
    call = state._call(record.call, record.parent, "sleep")
    call.state = State.SLEEPING
    call.moment, call.set_at = record.until, record.at


def _asked(state: RunState, record: AskedRecord) -> None:
    call = state._call(record.call, record.parent, "ask")
    call.state = State.ASKED
    call.asked = record
    call.moment, call.set_at = record.deadline, record.at


def _answered(state: RunState, record: AnsweredRecord) -> None:
    call = state.calls[record.call]
    call.state = State.DONE
    call.result = bytes(record.answer)


def _noted(state: RunState, record: NotedRecord) -> None:
    call = state._call(record.call, record.parent, "now")
    call.state = State.DONE
    call.moment = record.moment


def _emitted(state: RunState, record: EmittedRecord) -> None:
    state._call(record.call, record.parent, "emit").state = State.DONE


def _spent(state: RunState, record: SpentRecord) -> None:
    call = state._call(record.call, record.parent, "spend")
    call.state = State.DONE
    call.effect = Effect.READ.value  # another attempt of the task spends again
    scope = state.scope(record.parent)
    scope.used_money += record.money
    scope.used_tokens += record.tokens


def _reserved(state: RunState, record: ReservedRecord) -> None:
    call = state.calls[record.call]
    name = f"{record.call}#{record.attempt}"
    state.spending.open(record.call, state.scope(call.parent), name=name, budget=record.budget)


def _child_started(state: RunState, record: ChildStartedRecord) -> None:
    call = state._call(record.call, record.parent, record.task)
    call.state = State.DONE
    call.run = record.run
    call.detached = record.detached


def _child_finished(state: RunState, record: ChildFinishedRecord) -> None:
    state.finished_runs[record.run] = record


def _paused(state: RunState, record: PausedRecord) -> None:
    state.paused = True


def _resumed(state: RunState, record: ResumedRecord) -> None:
    state.paused = False
    state.needs = {}


def _cancel_requested(state: RunState, record: CancelRequestedRecord) -> None:
    state.cancel = record.reason


def _parked(state: RunState, record: ParkedRecord) -> None:
    state.needs = record.needs


def _diverged(state: RunState, record: DivergedRecord) -> None:
    state.diverged.append(record)


def _undoing(state: RunState, record: UndoingRecord) -> None:
    state.undoing[record.call] = record


def _ignored(state: RunState, record: IgnoredRecord) -> None:
    """Change nothing: the record is there for people."""


def _finished(state: RunState, record: FinishedRecord) -> None:
    state.finished = record
    state.spending.close_all(in_full=False)
    root = state.calls.get(state.created.task) if state.created is not None else None
    if root is not None:
        root.state, root.failure = record.state, record.failure
        root.result, root.blob = as_bytes(record.result), record.blob


_APPLY: Final[Mapping[type[Any], Callable[[RunState, Any], None]]] = {
    CreatedRecord: _created,
    OwnedRecord: _owned,
    StartedRecord: _started,
    SucceededRecord: _succeeded,
    AttemptFailedRecord: _attempt_failed,
    FailedRecord: _failed,
    AbandonedRecord: _abandoned,
    SleptRecord: _slept,
    AskedRecord: _asked,
    AnsweredRecord: _answered,
    NotedRecord: _noted,
    EmittedRecord: _emitted,
    SpentRecord: _spent,
    ReservedRecord: _reserved,
    ChildStartedRecord: _child_started,
    ChildFinishedRecord: _child_finished,
    PausedRecord: _paused,
    ResumedRecord: _resumed,
    CancelRequestedRecord: _cancel_requested,
    ParkedRecord: _parked,
    DivergedRecord: _diverged,
    UndoingRecord: _undoing,
    IgnoredRecord: _ignored,
    ReleasedRecord: _ignored,
    FinishedRecord: _finished,
}
