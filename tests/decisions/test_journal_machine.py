"""The journal as a state machine: whatever may happen, in whatever order, some things hold."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import msgspec
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from astro import Budget, JournalCorruptError, State
from astro.core.records import (
    AbandonedRecord,
    AnsweredRecord,
    AskedRecord,
    AttemptFailedRecord,
    CancelRequestedRecord,
    ChildStartedRecord,
    CreatedRecord,
    EmittedRecord,
    FailedRecord,
    Failure,
    FinishedRecord,
    NotedRecord,
    OwnedRecord,
    ParkedRecord,
    PausedRecord,
    Raw,
    ReleasedRecord,
    ReservedRecord,
    ResumedRecord,
    SleptRecord,
    SpentRecord,
    StartedRecord,
    SucceededRecord,
    decode_entries,
    verify,
)
from astro.decisions.replay import CallState, RunState, replay
from astro.decisions.states import allowed
from tests.decisions.records import BEGIN, RUN, TENANT, chained

FAILURE = Failure(type="OSError", message="busy")
EFFECTS = st.sampled_from(["read", "write", "spend"])


class JournalMachine(RuleBasedStateMachine):
    """An engine without time, agents or a store: it records what may legally happen next.

    Beside the fold it keeps what it has promised: results that were committed, and how far each
    state has come, so that the fold can be held to it.
    """

    def __init__(self) -> None:
        super().__init__()
        self.records: list[Any] = []
        self.state = RunState()
        self.before: dict[str, tuple[int, State]] = {}
        self.committed: dict[tuple[str, int], bytes | None] = {}
        self.used = (0.0, 0)
        self.names = 0

    def record(self, kind: type[Any], /, **fields: Any) -> None:
        """Record something that may happen now, and look at what it has changed."""
        seq = len(self.records) + 1
        self.records.append(kind(seq=seq, at=BEGIN + timedelta(seconds=seq), **fields))
        self.state.apply(self.records[-1])

    def calls(self, *states: State) -> list[CallState]:
        return [call for call in self.state.calls.values() if call.state in states]

    @property
    def live(self) -> bool:
        return self.state.finished is None

    def any_parent(self, data: st.DataObject) -> str:
        """Return a call that is at work and may ask for others."""
        running = [call.id for call in self.calls(State.RUNNING)]
        return data.draw(st.sampled_from(running))

    def new_name(self, prefix: str) -> str:
        self.names += 1
        return f"{prefix}{self.names}"

    @initialize()
    def create(self) -> None:
        self.record(CreatedRecord, task="root", args=Raw(b"{}"), seed="s", tenant=TENANT)
        self.record(OwnedRecord, owner="first", token=1)
        self.record(StartedRecord, call="root", task="root")

    # --- What a task may ask for ---------------------------------------------------------------

    @precondition(lambda self: self.live and self.calls(State.RUNNING))
    @rule(data=st.data(), effect=EFFECTS, undo=st.booleans())
    def call(self, data: st.DataObject, effect: str, undo: bool) -> None:
        parent, call = self.any_parent(data), self.new_name("c")
        fields = {"call": call, "parent": parent, "effect": effect, "undo": undo}
        self.record(StartedRecord, task="work", args=Raw(b"{}"), **fields)

    @precondition(lambda self: self.live and self.calls(State.RUNNING))
    @rule(data=st.data(), later=st.integers(0, 99))
    def sleep(self, data: st.DataObject, later: int) -> None:
        until = BEGIN + timedelta(seconds=len(self.records) + later)
        parent = self.any_parent(data)
        self.record(SleptRecord, call=self.new_name("s"), parent=parent, until=until)

    @precondition(lambda self: self.live and self.calls(State.RUNNING))
    @rule(data=st.data())
    def ask(self, data: st.DataObject) -> None:
        parent = self.any_parent(data)
        question = {"question": "?", "schema": Raw(b"{}")}
        self.record(AskedRecord, call=self.new_name("q"), parent=parent, **question)

    @precondition(lambda self: self.live and self.calls(State.RUNNING))
    @rule(data=st.data(), kind=st.sampled_from([NotedRecord, EmittedRecord, ChildStartedRecord]))
    def tell(self, data: st.DataObject, kind: type[Any]) -> None:
        fields = {
            NotedRecord: {"moment": BEGIN},
            EmittedRecord: {"name": "x", "value": Raw(b"1")},
            ChildStartedRecord: {"run": "r", "task": "t"},
        }[kind]
        self.record(kind, call=self.new_name("t"), parent=self.any_parent(data), **fields)

    @precondition(lambda self: self.live and self.calls(State.RUNNING))
    @rule(data=st.data(), money=st.floats(0, 9), tokens=st.integers(0, 9))
    def spend(self, data: st.DataObject, money: float, tokens: int) -> None:
        amounts = {"money": money, "tokens": tokens}
        parent = self.any_parent(data)
        self.record(SpentRecord, call=self.new_name("p"), parent=parent, **amounts)

    @precondition(lambda self: self.live and self.calls(State.RUNNING))
    @rule(data=st.data(), money=st.floats(0, 9), tokens=st.integers(0, 9))
    def reserve(self, data: st.DataObject, money: float, tokens: int) -> None:
        call = data.draw(st.sampled_from(self.calls(State.RUNNING)))
        budget = Budget(money=money, tokens=tokens)
        self.record(ReservedRecord, call=call.id, attempt=call.attempt, budget=budget)

    # --- How calls end -------------------------------------------------------------------------

    @precondition(lambda self: self.live and self.calls(State.RUNNING))
    @rule(data=st.data(), result=st.sampled_from([b"1", b"null", b'"x"']))
    def succeed(self, data: st.DataObject, result: bytes) -> None:
        call = data.draw(st.sampled_from(self.calls(State.RUNNING)))
        self.record(SucceededRecord, call=call.id, attempt=call.attempt, result=Raw(result))
        self.committed[call.id, call.attempt] = result

    @precondition(lambda self: self.live and self.calls(State.RUNNING))
    @rule(data=st.data())
    def fail_once(self, data: st.DataObject) -> None:
        call = data.draw(st.sampled_from(self.calls(State.RUNNING)))
        fields = {"attempt": call.attempt, "failure": FAILURE, "retry_at": BEGIN}
        self.record(AttemptFailedRecord, call=call.id, **fields)

    @precondition(lambda self: self.live and self.calls(State.RUNNING))
    @rule(data=st.data())
    def fail_for_good(self, data: st.DataObject) -> None:
        call = data.draw(st.sampled_from(self.calls(State.RUNNING)))
        self.record(FailedRecord, call=call.id, attempt=call.attempt, failure=FAILURE)

    @precondition(lambda self: self.live and self.waiting())
    @rule(data=st.data(), fresh=st.booleans())
    def try_again(self, data: st.DataObject, fresh: bool) -> None:
        call = data.draw(st.sampled_from(self.waiting()))
        fields = {"parent": call.parent, "task": call.task, "effect": call.effect}
        self.record(StartedRecord, call=call.id, attempt=call.attempt + 1, fresh=fresh, **fields)

    def waiting(self) -> list[CallState]:
        """Return the calls whose attempt has failed, and those that are asked for again."""
        found = self.calls(State.SLEEPING, State.READY)
        return [call for call in found if call.task in ("work", "root")]

    @precondition(lambda self: self.live and self.calls(State.ASKED))
    @rule(data=st.data())
    def answer(self, data: st.DataObject) -> None:
        call = data.draw(st.sampled_from(self.calls(State.ASKED)))
        self.record(AnsweredRecord, call=call.id, answer=Raw(b"true"), by="Ada")

    @precondition(lambda self: self.live and len(self.state.calls) > 1)
    @rule(data=st.data())
    def abandon(self, data: st.DataObject) -> None:
        calls = sorted(self.state.calls.keys() - {"root"})
        self.record(AbandonedRecord, call=data.draw(st.sampled_from(calls)))

    # --- What happens to the run ---------------------------------------------------------------

    @precondition(lambda self: self.live)
    @rule(data=st.data())
    def control(self, data: st.DataObject) -> None:
        kinds: list[tuple[type[Any], dict[str, Any]]] = [
            (PausedRecord, {}),
            (ResumedRecord, {}),
            (CancelRequestedRecord, {"reason": "enough"}),
            (ParkedRecord, {"needs": {"task": "greet"}}),
            (OwnedRecord, {"owner": self.new_name("engine"), "token": self.names + 1}),
            (OwnedRecord, {"owner": "heir", "token": self.names + 1, "lost": True}),
            (ReleasedRecord, {"owner": "heir"}),
        ]
        kind, fields = data.draw(st.sampled_from(kinds))
        self.record(kind, **fields)

    @precondition(lambda self: self.live and self.state.calls["root"].state.terminal)
    @rule()
    def finish(self) -> None:
        self.record(FinishedRecord, state=self.state.calls["root"].state)

    @precondition(lambda self: not self.live)
    @rule(kind=st.sampled_from([PausedRecord, ResumedRecord]))
    def nothing_follows_the_end(self, kind: type[Any]) -> None:
        before = msgspec.json.encode(self.state)
        with pytest.raises(JournalCorruptError):
            self.state.apply(kind(seq=len(self.records) + 1, at=BEGIN))
        assert msgspec.json.encode(self.state) == before

    # --- What holds ----------------------------------------------------------------------------

    @invariant()
    def states_move_only_along_the_table(self) -> None:
        """A call that is asked for again (`base` grows) begins anew; else the table rules."""
        for call in self.state.calls.values():
            base, state = self.before.get(call.id, (call.base, State.RUNNING))
            again = call.base != base or (call.state is State.READY and state is not State.READY)
            assert again or state is call.state or allowed(state, call.state)
            self.before[call.id] = (call.base, call.state)

    @invariant()
    def a_committed_result_is_kept_or_forgotten_as_a_whole(self) -> None:
        for (call, attempt), result in self.committed.items():
            found = self.state.calls[call]
            assert found.attempt > attempt or found.result in (result, None)
            assert (found.state is State.DONE) or found.result is None or found.attempt > attempt

    @invariant()
    def attempts_never_fall_and_those_of_earlier_times_are_among_them(self) -> None:
        for call in self.state.calls.values():
            assert 0 <= call.base <= max(call.attempt, 0)

    @invariant()
    def every_child_is_known_and_has_one_parent(self) -> None:
        children = [child for group in self.state.children.values() for child in group]
        assert sorted(children) == sorted(self.state.calls.keys() - {"root"})
        for parent, group in self.state.children.items():
            assert all(self.state.calls[child].parent == parent for child in group)

    @invariant()
    def undo_is_listed_once(self) -> None:
        assert len(set(self.state.undoable)) == len(self.state.undoable)

    @invariant()
    def what_is_used_never_shrinks(self) -> None:
        starts = sum(isinstance(record, StartedRecord) for record in self.records)
        run = self.state.spending.run
        assert run.used_calls == starts
        assert run.used_money >= self.used[0]
        assert run.used_tokens >= self.used[1]
        self.used = (run.used_money, run.used_tokens)

    @invariant()
    def what_is_held_covers_all_that_was_spent(self) -> None:
        spent = [record for record in self.records if isinstance(record, SpentRecord)]
        run = self.state.spending.run
        assert run.held_tokens >= sum(record.tokens for record in spent)
        assert run.held_money >= sum(record.money for record in spent) * (1 - 1e-9)

    @invariant()
    def open_scopes_form_one_tree(self) -> None:
        found, todo = [], [self.state.spending.run]
        while todo:
            scope = todo.pop()
            found += scope.below
            todo += scope.below.values()
        assert sorted(found) == sorted(self.state.spending.opened)

    def teardown(self) -> None:
        """The live fold is the fold of what was stored, and the chain holds."""
        entries = chained(self.records)
        verify(entries, tenant=TENANT, run=RUN)
        again = replay(decode_entries(entries))
        assert msgspec.json.encode(again) == msgspec.json.encode(self.state)


TestJournal = JournalMachine.TestCase
TestJournal.settings = settings(max_examples=60, stateful_step_count=30)
