"""The names of calls: nodes for workflows, tasks elsewhere, and numbers where one comes again."""

from __future__ import annotations

from datetime import UTC, datetime

from astro.cli.naming import CallNames
from astro.core.records import (
    CreatedRecord,
    EmittedRecord,
    FinishedRecord,
    Raw,
    Record,
    StartedRecord,
    State,
    SucceededRecord,
)

NOW = datetime(2026, 1, 1, tzinfo=UTC)
ROOT = StartedRecord(seq=2, at=NOW, call="flow", task="flow")


def call(id: str, task: str, *, place: str = "", parent: str = "flow") -> StartedRecord:
    return StartedRecord(seq=3, at=NOW, call=id, task=task, parent=parent, place=place)


def names(*records: Record, flows: tuple[str, ...] = ("flow",)) -> list[str | None]:
    found = CallNames(flows)
    assert found.of(ROOT) == "flow"
    return [found.of(record) for record in records]


def test_a_call_of_a_workflow_has_the_name_of_its_node() -> None:
    done = SucceededRecord(seq=4, at=NOW, call="a")
    assert names(call("a", "draft", place="first"), done) == ["first", "first"]


def test_steps_of_the_workflow_itself_have_no_name() -> None:
    done = SucceededRecord(seq=4, at=NOW, call="a")
    steps = call("a", "definition"), call("b", "for_each", place="many"), done
    assert names(*steps) == [None, None, None]


def test_tasks_that_are_called_like_such_steps_are_named_elsewhere() -> None:
    assert names(call("a", "definition"), call("b", "for_each"), flows=()) == [
        "definition",
        "for_each",
    ]
    assert names(call("a", "definition", place="node")) == ["node"]


def test_the_items_of_a_node_are_numbered() -> None:
    items = call("a", "draft", place="many[]"), call("b", "draft", place="many[]")
    assert names(*items) == ["many #1", "many #2"]


def test_a_name_that_comes_again_is_numbered_and_another_attempt_keeps_its_own() -> None:
    found = names(call("a", "tick"), call("b", "tick"), call("a", "tick"), flows=())
    assert found == ["tick", "tick #2", "tick"]


def test_a_branch_of_a_task_stands_before_the_name() -> None:
    assert names(call("a", "tick", place="left"), flows=()) == ["left/tick"]


def test_nodes_of_a_workflow_inside_another_follow_its_name() -> None:
    inner = call("b", "draft", place="first", parent="a")
    assert names(call("a", "part", place="outer"), inner, flows=("flow", "part")) == [
        "outer",
        "outer/first",
    ]


def test_what_a_workflow_tells_is_told_of_the_node() -> None:
    value = Raw(b'{"node":"first","because":"unmet"}')
    told = EmittedRecord(seq=3, at=NOW, call="emit:0.0", parent="flow", name="skipped", value=value)
    assert names(told) == ["first"]


def test_records_of_calls_that_nobody_saw_begin_go_by_what_they_say() -> None:
    created = CreatedRecord(seq=1, at=NOW, task="flow", args=Raw(b"{}"), seed="0", tenant="t")
    found = CallNames()
    assert found.of(created) == "flow"
    assert found.of(SucceededRecord(seq=4, at=NOW, call="draft:0.0")) == "draft"
    assert found.of(FinishedRecord(seq=5, at=NOW, state=State.DONE)) == ""
