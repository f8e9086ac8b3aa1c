"""Graphs are valid from birth."""

from __future__ import annotations

import pytest

from astro import InvalidArgumentsError, State
from astro.drawing import Edge, Graph, GraphNode
from tests.drawing.journal import graph


def test_two_nodes_with_one_id_are_refused() -> None:
    node = GraphNode(id="a", label="a")
    with pytest.raises(InvalidArgumentsError, match="two nodes have the id 'a'"):
        Graph(title="", nodes=[node, node])


def test_an_edge_to_nowhere_is_refused() -> None:
    with pytest.raises(InvalidArgumentsError, match="from 'a' to 'b'"):
        Graph(title="", nodes=[GraphNode(id="a", label="a")], edges=[Edge("a", "b")])


@pytest.mark.parametrize("pairs", [[(0, 0)], [(0, 1), (1, 0)], [(0, 1), (1, 2), (2, 3), (3, 1)]])
def test_edges_in_a_circle_are_refused(pairs: list[tuple[int, int]]) -> None:
    with pytest.raises(InvalidArgumentsError, match="circle"):
        graph(4, pairs)


def test_a_long_chain_is_checked_without_recursion() -> None:
    assert len(graph(5_000, [(n, n + 1) for n in range(4_999)]).nodes) == 5_000


def test_the_summary_counts_what_boxes_stand_for() -> None:
    nodes = [
        GraphNode(id="a", label="a", state=State.RUNNING),
        GraphNode(
            id="b",
            label="b",
            state=State.FAILED,
            count=5,
            tally=((State.FAILED, 2), (State.DONE, 3)),
        ),
        GraphNode(id="c", label="", count=0),
    ]
    drawn = Graph(title="", nodes=nodes)
    assert drawn.summary == "6 nodes, 2 failed, 1 running, 3 done"


def test_the_caption_says_the_state_in_words() -> None:
    node = GraphNode(id="a", label="a", state=State.ASKED, detail="Publish?")
    assert node.caption == "asked · Publish?"
