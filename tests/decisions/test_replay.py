"""Replay: the state of a run is the fold of its records."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from astro import Budget, JournalCorruptError, State
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
    Raw,
    ReservedRecord,
    ResumedRecord,
    SleptRecord,
    SpentRecord,
    StartedRecord,
    SucceededRecord,
    UndoingRecord,
    decode_entries,
)
from astro.decisions.forgetting import generation
from astro.decisions.replay import RunState, replay
from tests.decisions.records import BEGIN, KINDS, RECORDS, chained, numbered, of_kind

FAILURE = Failure(type="OSError", message="busy")
NULL = Raw(b"null")
LATER = BEGIN + timedelta(hours=1)


class Story:
    """Records told one after the other, an hour of journal a minute each."""

    def __init__(self) -> None:
        self.records: list[Any] = []

    def __call__(self, kind: type[Any], /, **fields: Any) -> Story:
        seq = len(self.records) + 1
        at = fields.pop("at", BEGIN + timedelta(minutes=seq))
        self.records.append(kind(seq=seq, at=at, **fields))
        return self

    def started(self, call: str, parent: str = "", **fields: Any) -> Story:
        return self(StartedRecord, call=call, parent=parent, task="work", **fields)

    def done(self, call: str, result: bytes = b"1") -> Story:
        return self(SucceededRecord, call=call, result=Raw(result))

    @property
    def state(self) -> RunState:
        return replay(self.records)


def created(**fields: Any) -> Story:
    """Return the story of a run that was created."""
    begun = {"task": "root", "args": Raw(b"{}"), "seed": "s", "tenant": "acme"}
    return Story()(CreatedRecord, **begun | fields)


def in_root() -> Story:
    """Return the story of a run whose root task is at work."""
    return created().started("root")


def plain(state: RunState) -> Any:
    """Return a state as plain values, to compare it."""
    return msgspec.json.decode(msgspec.json.encode(state))


# --- One record at a time ----------------------------------------------------------------------


def test_a_run_begins_with_its_creation() -> None:
    state = created(key="k").state
    assert state.created is not None
    assert state.created.key == "k"
    assert (state.seq, state.calls) == (1, {})


def test_the_owner_is_the_engine_that_took_the_run_last() -> None:
    story = created()(OwnedRecord, owner="a", token=1)(OwnedRecord, owner="b", token=2)
    assert story.state.owner == "b"


def test_a_call_that_started_is_running_and_belongs_to_its_parent() -> None:
    state = in_root().started("a", "root", effect="spend").state
    call = state.calls["a"]
    assert (call.state, call.attempt, call.effect) == (State.RUNNING, 1, "spend")
    assert state.children == {"root": ["a"]}
    assert state.spending.run.used_calls == 2


def test_a_call_that_succeeded_has_its_result() -> None:
    call = in_root().started("a", "root").done("a", b'"x"').state.calls["a"]
    assert (call.state, call.result, call.blob) == (State.DONE, b'"x"', None)


def test_a_large_result_is_known_by_its_hash() -> None:
    call = in_root()(SucceededRecord, call="root", blob="b" * 64).state.calls["root"]
    assert (call.result, call.blob) == (None, "b" * 64)


def test_an_attempt_that_failed_waits_for_the_next() -> None:
    story = in_root()(AttemptFailedRecord, call="root", attempt=1, failure=FAILURE, retry_at=LATER)
    call = story.state.calls["root"]
    assert (call.state, call.moment, call.failure) == (State.SLEEPING, LATER, FAILURE)
    again = story.started("root", attempt=2).state.calls["root"]
    assert (again.state, again.moment, again.attempt) == (State.RUNNING, None, 2)


def test_the_deadline_of_a_call_counts_from_its_first_attempt() -> None:
    story = in_root()(AttemptFailedRecord, call="root", attempt=1, failure=FAILURE, retry_at=LATER)
    first = story.state.calls["root"].since
    assert first == story.started("root", attempt=2).state.calls["root"].since
    assert first is not None


def test_a_call_that_failed_for_good_keeps_its_failure() -> None:
    call = in_root()(FailedRecord, call="root", attempt=1, failure=FAILURE).state.calls["root"]
    assert (call.state, call.failure) == (State.FAILED, FAILURE)


def test_an_abandoned_call_is_marked_and_an_unknown_one_is_no_mistake() -> None:
    story = in_root().started("a", "root")(AbandonedRecord, call="a")(AbandonedRecord, call="z")
    assert story.state.calls["a"].abandoned
    assert "z" not in story.state.calls


def test_a_sleep_knows_its_end() -> None:
    call = in_root()(SleptRecord, call="s", parent="root", until=LATER).state.calls["s"]
    assert (call.state, call.moment, call.task) == (State.SLEEPING, LATER, "sleep")


def test_a_question_waits_until_it_has_its_answer() -> None:
    story = in_root()(AskedRecord, call="q", parent="root", question="?", schema=NULL)
    assert story.state.calls["q"].state is State.ASKED
    assert story.state.calls["q"].asked == story.records[-1]
    answered = story(AnsweredRecord, call="q", answer=Raw(b"true")).state.calls["q"]
    assert (answered.state, answered.result) == (State.DONE, b"true")


def test_a_moment_that_was_noted_is_remembered() -> None:
    call = in_root()(NotedRecord, call="n", parent="root", moment=LATER).state.calls["n"]
    assert (call.state, call.moment) == (State.DONE, LATER)


def test_what_was_told_to_observers_counts_as_done() -> None:
    story = in_root()(EmittedRecord, call="e", parent="root", name="x", value=NULL)
    assert story.state.calls["e"].state is State.DONE


@given(st.lists(st.tuples(st.floats(0, 9), st.integers(0, 9)), max_size=9))
def test_what_was_spent_adds_up(amounts: list[tuple[float, int]]) -> None:
    story = created()
    for money, tokens in amounts:
        story(SpentRecord, call="c", money=money, tokens=tokens)
    spent = pytest.approx(sum(money for money, _ in amounts))
    assert story.state.spending.run.used_money == spent
    assert story.state.spending.run.used_tokens == sum(tokens for _, tokens in amounts)


def test_a_child_run_is_a_call_that_knows_the_runs_id() -> None:
    start = {"call": "c", "parent": "root", "run": "r", "task": "t", "detached": True}
    story = in_root()(ChildStartedRecord, **start)(ChildFinishedRecord, run="r", state=State.DONE)
    call = story.state.calls["c"]
    assert (call.state, call.run, call.detached) == (State.DONE, "r", True)
    assert story.state.finished_runs == {"r": story.records[-1]}


def test_resuming_ends_a_pause_and_a_parking() -> None:
    story = created()(PausedRecord)(ParkedRecord, needs={"task": "greet"})
    assert story.state.paused
    assert story.state.needs == {"task": "greet"}
    story(ResumedRecord)
    assert not story.state.paused
    assert story.state.needs == {}


def test_a_wish_to_cancel_keeps_its_reason() -> None:
    assert created().state.cancel is None
    assert created()(CancelRequestedRecord, reason="").state.cancel == ""


def test_divergence_and_undoing_are_remembered() -> None:
    story = in_root()(DivergedRecord, call="root", missing=("a",))
    story(UndoingRecord, call="root", calls=("a",))
    assert [record.missing for record in story.state.diverged] == [("a",)]
    assert story.state.undoing == {"root": story.records[-1]}


def test_an_ignored_message_changes_nothing_but_the_number() -> None:
    story = in_root()
    before = plain(story.state)
    after = plain(story(IgnoredRecord, message="late").state)
    assert after == before | {"seq": 3}


# --- Undo and forks ----------------------------------------------------------------------------


def test_calls_with_an_undo_are_listed_in_the_order_in_which_they_started() -> None:
    story = in_root().started("a", "root", undo=True, args=Raw(b'{"x":1}'))
    story.started("b", "root", undo=True).started("c", "root")
    assert list(story.state.undoable) == ["a", "b"]
    assert story.state.calls["a"].args == b'{"x":1}'
    assert story.state.calls["b"].args == b"{}"


def test_another_attempt_does_not_list_a_call_for_undo_twice() -> None:
    story = in_root().started("a", "root", undo=True).started("a", "root", attempt=2, undo=True)
    assert list(story.state.undoable) == ["a"]


def test_a_fork_undoes_only_its_own_calls() -> None:
    story = created(source="s", copied=2).started("root").started("a", "root", undo=True)
    story.started("b", "root", undo=True)
    assert list(story.state.undoable) == ["b"]
    assert [story.state.copies(record) for record in story.records] == [True, True, True, False]
    assert not RunState().copies(story.records[0])


# --- What a new attempt forgets ----------------------------------------------------------------


def told(story: Story) -> Story:
    """Tell of children that ended in every way."""
    story.started("good", "root").done("good")
    story.started("read", "root", effect="read").done("read")
    story.started("bad", "root")(FailedRecord, call="bad", attempt=1, failure=FAILURE)
    story.started("open", "root")
    story.started("left", "root").done("left")(AbandonedRecord, call="left")
    story(SleptRecord, call="slept", parent="root", until=BEGIN)
    story(SleptRecord, call="sleeps", parent="root", until=BEGIN + timedelta(days=9))
    return story(NotedRecord, call="noted", parent="root", moment=LATER)


KEPT = {"good", "slept", "noted"}
FORGOTTEN = {"read", "bad", "open", "left", "sleeps"}


def forgotten(state: RunState) -> set[str]:
    return {name for name in state.children["root"] if state.calls[name].state is State.READY}


def test_a_first_attempt_forgets_nothing() -> None:
    assert forgotten(told(in_root()).state) == set()


def test_a_new_attempt_keeps_what_was_committed_and_asks_again_for_the_rest() -> None:
    assert forgotten(told(in_root()).started("root", attempt=2).state) == FORGOTTEN


def test_a_fresh_attempt_keeps_nothing() -> None:
    state = told(in_root()).started("root", attempt=2, fresh=True).state
    assert forgotten(state) == KEPT | FORGOTTEN


def test_the_same_attempt_taken_over_keeps_everything() -> None:
    assert forgotten(told(in_root()).started("root", attempt=1).state) == set()


@pytest.mark.parametrize("name", sorted(FORGOTTEN))
def test_a_forgotten_call_begins_anew_and_its_attempts_go_on_counting(name: str) -> None:
    state = told(in_root()).started("root", attempt=2).state
    call = state.calls[name]
    assert call.base == call.attempt
    assert not call.abandoned
    unset = (call.result, call.blob, call.failure, call.moment, call.asked, call.since)
    assert unset == (None,) * 6


def test_a_forgotten_question_is_asked_again() -> None:
    story = in_root()(AskedRecord, call="q", parent="root", question="?", schema=NULL)
    story.started("root", attempt=2)
    assert story.state.calls["q"].state is State.READY
    assert story.state.calls["q"].asked is None


# --- What is no journal ------------------------------------------------------------------------


@given(st.lists(RECORDS, min_size=2, max_size=4).map(numbered), st.integers(-3, 3))
def test_a_journal_with_a_gap_is_refused(records: list[Any], by: int) -> None:
    moved = msgspec.structs.replace(records[0], seq=records[0].seq + (by or 4))
    with pytest.raises(JournalCorruptError, match="does not follow"):
        replay([moved])


def test_nothing_follows_the_end() -> None:
    story = created()(FinishedRecord, state=State.DONE)(PausedRecord)
    with pytest.raises(JournalCorruptError, match="Record 3 does not follow record 2"):
        replay(story.records)
    assert replay(story.records[:2]).finished is story.records[1]


UNHEARD: list[Callable[[Story], Story]] = [
    lambda story: story.done("z"),
    lambda story: story(AttemptFailedRecord, call="z", attempt=1, failure=FAILURE, retry_at=LATER),
    lambda story: story(FailedRecord, call="z", attempt=1, failure=FAILURE),
    lambda story: story(AnsweredRecord, call="z", answer=NULL),
]


@pytest.mark.parametrize("tell", UNHEARD)
def test_the_end_of_a_call_that_nobody_asked_for_is_refused(
    tell: Callable[[Story], Story],
) -> None:
    with pytest.raises(JournalCorruptError, match="'z', which was never asked for"):
        replay(tell(in_root()).records)


# --- Folds -------------------------------------------------------------------------------------


@given(st.lists(RECORDS, max_size=8).map(numbered))
def test_a_journal_is_folded_or_refused_and_never_anything_else(records: list[Any]) -> None:
    try:
        state = replay(records)
    except JournalCorruptError:
        return
    assert state.seq == len(records)


def told_twice() -> list[Any]:
    story = told(in_root())(OwnedRecord, owner="b", token=2).started("root", attempt=2)
    story.started("read", "root", attempt=2, effect="read").done("read", b"2")
    story(SpentRecord, call="x", money=0.1, tokens=3).done("root")
    return story(FinishedRecord, state=State.DONE, result=Raw(b"1")).records


def test_the_fold_of_what_was_stored_is_the_fold_of_what_was_decided() -> None:
    records = told_twice()
    assert plain(replay(decode_entries(chained(records)))) == plain(replay(records))


@given(st.integers(0, len(told_twice())))
def test_folding_in_two_parts_is_folding_at_once(at: int) -> None:
    records = told_twice()
    state = replay(records[:at])
    for record in records[at:]:
        state.apply(record)
    assert plain(state) == plain(replay(records))


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
@given(data=st.data())
def test_a_record_of_every_kind_about_a_known_call_is_folded(
    kind: Any, data: st.DataObject
) -> None:
    record = data.draw(of_kind(kind))
    named = {"call": "root"} if "call" in kind.__struct_fields__ else {}
    assert replay([*in_root().records, msgspec.structs.replace(record, seq=3, **named)]).seq == 3


def undone() -> Story:
    """Return a story in which a call, and what it asked for, was undone."""
    story = in_root().started("a", "root", undo=True).started("b", "a").done("b").done("a")
    return story.started("a/undo", "root").done("a/undo")


def test_an_undone_call_is_asked_for_as_if_it_never_had_been() -> None:
    state = undone().state
    assert not state.undoable
    assert [state.calls[name].state for name in "ab"] == [State.READY, State.READY]
    assert [state.calls[name].result for name in "ab"] == [None, None]


def test_what_is_done_again_after_an_undo_has_effects_of_its_own() -> None:
    state = undone().state
    assert [generation(state, name) for name in ("a", "b", "a/undo", "root")] == [1, 1, 1, 0]
    assert generation(in_root().started("a", "root").state, "a") == 0


def test_what_is_done_again_after_an_undo_can_be_undone_again() -> None:
    story = undone().started("a", "root", attempt=2, undo=True)
    assert list(story.state.undoable) == ["a"]
    assert story.state.calls["a/undo"].state is State.READY


def test_the_last_result_of_a_call_is_kept_for_its_undo() -> None:
    story = in_root().started("a", "root", undo=True)
    assert story.state.undoable == {"a": None}
    story(SucceededRecord, call="a", attempt=1, result=Raw(b"7"))
    story.started("root", "", attempt=2, fresh=True)
    assert story.state.calls["a"].result is None
    assert story.state.undoable == {"a": (b"7", None)}


def test_scopes_inside_a_scope_are_charged_with_it() -> None:
    story = in_root().started("a", "root").started("b", "a")
    story(ReservedRecord, call="a", attempt=1, budget=Budget(money=5.0))
    story(ReservedRecord, call="b", attempt=1, budget=Budget(money=2.0))
    story(SpentRecord, call="x", parent="b", money=1.0)
    assert story.state.spending.run.held_money == 5.0
    assert story.state.spending.names() == ["a#1"]
    story.done("a")
    assert story.state.spending.run.held_money == 1.0
    assert not story.state.spending.opened
