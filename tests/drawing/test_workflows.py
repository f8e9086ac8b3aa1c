"""The graph of a workflow, and the picture of a run of one, have the same boxes and lines."""

from __future__ import annotations

from astro import Node, State, Workflow
from astro.core.records import Failure, Raw, SucceededRecord
from astro.drawing import graph_of_run, graph_of_workflow
from tests.drawing.journal import Journal, labels, lines

FLOW = Workflow(
    "article",
    [
        Node("research", "search", {"query": "{{ topic }}"}),
        Node("check", "check_claim", {"claim": "{{ item }}"}, for_each="{{ research.claims }}"),
        Node("draft", "write", {"notes": "{{ research }}"}, after=["check"]),
        Node("publish", "publish", {"text": "{{ draft }}"}, when="{{ draft.good }}"),
    ],
    inputs={"topic": str},
)
EDGES = {
    ("research", "GIVES", "check"),
    ("research", "GIVES", "draft"),
    ("check", "THEN", "draft"),
    ("draft", "GIVES", "publish"),
}


def started() -> Journal:
    journal = Journal()
    journal.define(FLOW)
    journal.step("search", place="research")
    journal.step("for_each", place="check")
    journal.done(*[journal.call("check_claim", place="check[]") for _ in range(6)])
    journal.call("write", place="draft")
    return journal


def test_nodes_show_their_task_and_edges_what_they_pass() -> None:
    drawn = graph_of_workflow(FLOW)
    assert lines(drawn) == EDGES
    assert labels(drawn) == {
        "research": "search",
        "check": "check_claim · once per item",
        "draft": "write",
        "publish": "on a condition",
    }


def test_a_run_of_a_workflow_has_the_lines_of_the_workflow() -> None:
    drawn = graph_of_run(started().records)
    label = {
        "research": "research: search",
        "check": "check: check_claim",
        "draft": "draft: write",
        "publish": "publish",
    }
    expected = {(label[source], link, label[target]) for source, link, target in EDGES}
    assert lines(drawn) == expected | {("article", "ASKS", "research: search")}


def test_each_node_shows_what_has_become_of_it() -> None:
    journal = started()
    assert labels(graph_of_run(journal.records)) == {
        "article": "running",
        "research: search": "done · 100 ms",
        "check: check_claim": "6 done",
        "draft: write": "running",
        "publish": "",
    }


def test_nodes_that_were_passed_over_say_why() -> None:
    journal = started()
    journal.emit("skipped", b'{"node":"publish","because":"unmet"}')
    assert labels(graph_of_run(journal.records))["publish"] == "skipped"


def test_nodes_that_a_failed_run_never_came_to_say_so() -> None:
    journal = started()
    journal.finish(State.FAILED, failure=Failure(type="ValueError", message="boom"))
    assert labels(graph_of_run(journal.records))["publish"] == "not reached"


def test_what_a_node_calls_stands_below_it() -> None:
    journal = started()
    journal.step("outline", journal.step("write", place="draft", call="again"))
    assert ("draft: write", "ASKS", "outline") in lines(graph_of_run(journal.records))


def test_an_undo_is_drawn_beside_the_nodes() -> None:
    journal = started()
    journal.step("search", call="search/undo", place="undo")
    assert ("article", "ASKS", "undo search") in lines(graph_of_run(journal.records))


def test_a_step_that_is_only_called_definition_is_a_call_like_any_other() -> None:
    journal = Journal()
    call = journal.call("definition")
    journal.add(SucceededRecord, call=call, result=Raw(b'{"digest":"0","workflow":[1]}'))
    assert "definition" in labels(graph_of_run(journal.records))
