"""What the verbs of a context leave in the state of a run: names, parents, ends."""

from __future__ import annotations

from typing import Any

import pytest

from astro import JournalCorruptError, State
from astro.core.records import (
    AbandonedRecord,
    AskedRecord,
    ChildStartedRecord,
    EmittedRecord,
    FailedRecord,
    FinishedRecord,
    NotedRecord,
    PausedRecord,
    Raw,
    ResumedRecord,
    SleptRecord,
    SpentRecord,
    UndoingRecord,
)
from tests.decisions.test_replay import FAILURE, LATER, NULL, created, in_root


@pytest.mark.parametrize(
    ("kind", "fields", "task"),
    [
        (AskedRecord, {"question": "?", "schema": NULL}, "ask"),
        (NotedRecord, {"moment": LATER}, "now"),
        (EmittedRecord, {"name": "x", "value": NULL}, "emit"),
        (SpentRecord, {"money": 1.0}, "spend"),
        (SleptRecord, {"until": LATER}, "sleep"),
        (ChildStartedRecord, {"run": "r", "task": "greet"}, "greet"),
        (AbandonedRecord, {}, "wait"),
    ],
)
def test_a_verb_is_a_call_with_a_name_below_who_asked_for_it(
    kind: Any, fields: dict[str, Any], task: str
) -> None:
    state = in_root()(kind, call="v", parent="root", **fields).state
    assert (state.calls["v"].task, state.calls["v"].parent) == (task, "root")
    assert state.children["root"] == ["v"]


def test_a_wait_that_was_abandoned_before_it_began_stays_so() -> None:
    assert in_root()(AbandonedRecord, call="v", parent="root").state.calls["v"].abandoned


def test_a_run_that_goes_on_is_not_paused() -> None:
    assert created()(PausedRecord).state.paused is True
    assert created()(PausedRecord)(ResumedRecord).state.paused is False


def test_the_end_of_a_run_is_the_end_of_its_root() -> None:
    story = in_root()(FinishedRecord, state=State.DONE, result=Raw(b"7"))
    root = story.state.calls["root"]
    assert (root.state, root.result, root.blob, root.failure) == (State.DONE, b"7", None, None)
    failed = in_root()(FinishedRecord, state=State.FAILED, failure=FAILURE).state.calls["root"]
    assert (failed.state, failed.result, failed.failure) == (State.FAILED, None, FAILURE)


def test_a_run_may_end_before_its_root_began() -> None:
    story = created()(FinishedRecord, state=State.CANCELLED)
    assert story.state.calls == {}
    assert story.state.finished is story.records[-1]


def test_undoing_ends_with_a_new_attempt_and_with_the_failure_it_was_for() -> None:
    story = in_root().started("a", "root")(UndoingRecord, call="a", calls=())
    assert list(story.state.undoing) == ["a"]
    again = in_root().started("a", "root")(UndoingRecord, call="a", calls=())
    assert not again.started("a", "root", attempt=2).state.undoing
    assert not story(FailedRecord, call="a", attempt=1, failure=FAILURE).state.undoing


def test_a_task_that_is_only_called_undo_takes_nothing_back() -> None:
    story = in_root().started("a", "root", undo=True).done("a")
    story.started("b/undo", "root").done("b/undo", b"2")
    state = story.state
    assert (state.calls["b/undo"].state, state.calls["b/undo"].result) == (State.DONE, b"2")
    assert list(state.undoable) == ["a"]
    assert not state.has_undone


def test_what_is_no_journal_is_refused_with_a_remedy() -> None:
    for story in (created()(FinishedRecord, state=State.DONE)(PausedRecord), in_root().done("z")):
        with pytest.raises(JournalCorruptError) as caught:
            _ = story.state
        assert caught.value.remedy == "Restore the store from a backup."
