"""Which nodes may run, in what order, and what becomes of those that never will."""

from __future__ import annotations

import random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from astro import Node, Priority, Workflow
from astro.decisions.ready import Advance, Ending, Readiness
from tests.workflows.test_building import acyclic, chain, nodes_of


def needs(name: str, *before: str, **options: Any) -> Node:
    return Node(name, "t", {"x": [f"{{{{ {one} }}}}" for one in before]}, **options)


def names(nodes: tuple[Node, ...]) -> list[str]:
    return [node.name for node in nodes]


def settled(advance: Advance) -> list[tuple[str, str, bool]]:
    return [(one.node, one.ending.value, one.gives) for one in advance.settled]


def test_nodes_without_edges_are_ready_at_once_in_their_order() -> None:
    readiness = Readiness(Workflow("w", [needs("b"), needs("a"), needs("c", "a")]))
    assert names(readiness.first()) == ["b", "a"]


def test_a_node_is_ready_when_the_last_one_before_it_has_ended() -> None:
    readiness = Readiness(
        Workflow("w", [needs("a"), needs("b"), needs("c", "a", after=["b", "a"])])
    )
    assert readiness.ended("a", Ending.SUCCEEDED).ready == ()
    assert names(readiness.ended("b", Ending.SUCCEEDED).ready) == ["c"]
    assert readiness.left == 1


def test_urgent_nodes_come_first_and_equals_in_the_order_of_the_workflow() -> None:
    flow = Workflow(
        "w",
        [
            needs("plain"),
            needs("low", priority=Priority.LOW),
            needs("high", priority=Priority.HIGH),
            needs("medium", priority=Priority.MEDIUM),
        ],
    )
    assert names(Readiness(flow).first()) == ["high", "plain", "medium", "low"]


def test_the_workflows_priority_is_that_of_nodes_that_have_none() -> None:
    flow = Workflow("w", [needs("medium", priority=20), needs("plain")], priority=30)
    assert names(Readiness(flow).first()) == ["plain", "medium"]


def test_a_failed_node_fails_the_workflow() -> None:
    readiness = Readiness(Workflow("w", [needs("a"), needs("b", "a")]))
    assert readiness.ended("a", Ending.FAILED) == Advance(failed=True)


def test_a_failed_node_with_skip_starves_those_that_need_it() -> None:
    flow = Workflow("w", [needs("a", on_failure="skip"), needs("b", "a"), needs("c", "b")])
    advance = Readiness(flow).ended("a", Ending.FAILED)
    assert settled(advance) == [
        ("a", "failed", False),
        ("b", "starved", False),
        ("c", "starved", False),
    ]
    assert advance.ready == ()


def test_after_only_orders_so_a_node_after_a_skipped_one_runs() -> None:
    flow = Workflow("w", [needs("a", on_failure="skip"), needs("b", after=["a"])])
    assert names(Readiness(flow).ended("a", Ending.FAILED).ready) == ["b"]


def test_a_failed_node_with_a_default_gives_it() -> None:
    flow = Workflow("w", [needs("a", on_failure="default", default=None), needs("b", "a")])
    advance = Readiness(flow).ended("a", Ending.FAILED)
    assert settled(advance) == [("a", "failed", True)]
    assert names(advance.ready) == ["b"]


def test_a_default_also_stands_in_for_a_node_whose_condition_does_not_hold() -> None:
    flow = Workflow(
        "w", [needs("a", when="{{ n }}", default=0), needs("b", "a")], inputs={"n": int}
    )
    assert settled(Readiness(flow).ended("a", Ending.UNMET)) == [("a", "unmet", True)]


def test_a_default_ends_a_row_of_skipped_nodes() -> None:
    flow = Workflow(
        "w",
        [
            needs("a", on_failure="skip"),
            needs("b", "a"),
            needs("c", "b", default=0),
            needs("d", "c"),
        ],
    )
    advance = Readiness(flow).ended("a", Ending.FAILED)
    assert settled(advance) == [
        ("a", "failed", False),
        ("b", "starved", False),
        ("c", "starved", True),
    ]
    assert names(advance.ready) == ["d"]


def test_a_starved_node_ends_only_when_everything_before_it_has() -> None:
    flow = Workflow(
        "w",
        [
            needs("a", on_failure="skip"),
            needs("b"),
            needs("c", "a", "b", default=0),
            needs("d", "c"),
        ],
    )
    readiness = Readiness(flow)
    assert settled(readiness.ended("a", Ending.FAILED)) == [("a", "failed", False)]
    advance = readiness.ended("b", Ending.SUCCEEDED)
    assert settled(advance) == [("b", "succeeded", True), ("c", "starved", True)]
    assert names(advance.ready) == ["d"]


def test_a_skipped_chain_of_five_thousand_nodes_is_settled_at_once() -> None:
    nodes = chain(5_000)
    nodes[0] = needs("n0", on_failure="skip")
    readiness = Readiness(Workflow("w", nodes))
    assert len(readiness.ended("n0", Ending.FAILED).settled) == 5_000
    assert readiness.left == 0


@given(acyclic(), st.randoms(use_true_random=False))
def test_every_node_runs_once_and_never_before_what_it_waits_for(
    graph: list[tuple[str, list[str], list[str]]], chance: random.Random
) -> None:
    before = {name: {*first, *after} for name, first, after in graph}
    readiness = Readiness(Workflow("w", nodes_of(graph)))
    waiting = names(readiness.first())
    done: list[str] = []
    while waiting:
        name = waiting.pop(chance.randrange(len(waiting)))
        assert before[name] <= set(done)
        done.append(name)
        waiting += names(readiness.ended(name, Ending.SUCCEEDED).ready)
    assert sorted(done) == sorted(before)
    assert readiness.left == 0


@given(acyclic(), st.data())
def test_exactly_those_that_need_a_skipped_node_are_skipped(
    graph: list[tuple[str, list[str], list[str]]], data: st.DataObject
) -> None:
    unlucky = data.draw(st.sets(st.sampled_from([name for name, *_ in graph])))
    nodes = [
        Node(name, "t", {"x": [f"{{{{ {n} }}}}" for n in first]}, after=after, on_failure="skip")
        for name, first, after in graph
    ]
    readiness = Readiness(Workflow("w", nodes))
    waiting, empty = names(readiness.first()), set[str]()
    while waiting:
        name = waiting.pop()
        advance = readiness.ended(name, Ending.FAILED if name in unlucky else Ending.SUCCEEDED)
        empty |= {one.node for one in advance.settled if not one.gives}
        waiting += names(advance.ready)
    needed = {name: set(first) for name, first, _ in graph}
    expected = set(unlucky)
    while more := {name for name in needed if needed[name] & expected} - expected:
        expected |= more
    assert empty == expected


@pytest.mark.parametrize("size", [1_000, 10_000])
def test_a_wide_workflow_is_ready_in_one_go(size: int) -> None:
    nodes = [Node("hub", "t"), *(Node(f"n{i}", "t", after=["hub"]) for i in range(size))]
    assert len(Readiness(Workflow("w", nodes)).ended("hub", Ending.SUCCEEDED).ready) == size
