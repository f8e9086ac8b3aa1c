"""The layout is legible: nothing overlaps, lines go down, and the same graph gives the same."""

from __future__ import annotations

from collections import Counter
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from astro.drawing import Edge, Graph, GraphNode, GraphTooLargeError, Link
from astro.drawing.layering import width_cap
from astro.drawing.layout import MAX_NODES, Box, Layout, lay_out
from astro.drawing.ordering import Rows, crossings, ordered
from tests.drawing.journal import graph, random_pairs

WIDTH, HEIGHT = 120.0, 48.0


def laid_out(drawn: Graph, height: float = HEIGHT) -> Layout:
    return lay_out(drawn, {node.id: (WIDTH, height) for node in drawn.nodes})


def overlaps(boxes: tuple[Box, ...]) -> list[tuple[str, str]]:
    """Return the pairs of boxes that are less than some pixels apart (a sweep from the top)."""
    found = []
    ahead = sorted(boxes, key=lambda box: box.top)
    for index, box in enumerate(ahead):
        for other in ahead[index + 1 :]:
            if other.top >= box.bottom + 8:
                break
            if box.left < other.right + 8 and other.left < box.right + 8:
                found.append((box.id, other.id))
    return found


def assert_legible(drawn: Graph, layout: Layout) -> None:
    """Check what holds for every layout."""
    box = {one.id: one for one in layout.boxes}
    assert [one.id for one in layout.boxes] == [node.id for node in drawn.nodes]
    assert overlaps(layout.boxes) == []
    for one in layout.boxes:
        assert one.left >= -0.1
        assert one.top >= -0.1
        assert one.right <= layout.width + 0.1
        assert one.bottom <= layout.height + 0.1
    for edge, route in zip(drawn.edges, layout.routes, strict=True):
        source, target = box[edge.source], box[edge.target]
        assert source.row < target.row
        assert route.edge == edge
        assert route.points[0] == (source.middle, source.bottom)
        assert route.points[-1] == (target.middle, target.top)
        assert all(above[1] <= below[1] for above, below in pairwise(route.points))
        straight = zip(route.points[::2], route.points[1::2], strict=True)
        assert all(above[0] == below[0] for above, below in straight)


def crossed_boxes(layout: Layout) -> list[tuple[Edge, str]]:
    """Return the boxes that lines run through: beside a box, lines only run straight down."""
    found = []
    for route in layout.routes:
        for (x, top), (_, bottom) in zip(route.points[::2], route.points[1::2], strict=True):
            for box in layout.boxes:
                ends = box.id in (route.edge.source, route.edge.target)
                beside = box.top < bottom and top < box.bottom
                if beside and not ends and box.left < x < box.right:
                    found.append((route.edge, box.id))
    return found


# --- By example ----------------------------------------------------------------------------------


def test_an_empty_graph_has_an_empty_layout() -> None:
    layout = laid_out(graph(0, []))
    assert (layout.boxes, layout.width, layout.height) == ((), 0.0, 0.0)


def test_a_diamond_is_symmetrical() -> None:
    layout = laid_out(graph(4, [(0, 1), (0, 2), (1, 3), (2, 3)]))
    top, left, right, bottom = layout.boxes
    assert [box.row for box in layout.boxes] == [0, 1, 1, 2]
    assert top.middle == bottom.middle == (left.middle + right.middle) / 2


def test_a_chain_is_a_straight_line() -> None:
    layout = laid_out(graph(30, [(n, n + 1) for n in range(29)]))
    assert {box.middle for box in layout.boxes} == {WIDTH / 2}


def test_a_line_over_rows_runs_between_the_boxes() -> None:
    layout = laid_out(graph(5, [(0, 1), (1, 2), (2, 3), (3, 4), (0, 4), (1, 4)]))
    assert crossed_boxes(layout) == []


def test_a_wide_stage_is_wrapped_into_rows() -> None:
    layout = laid_out(graph(51, [(0, n) for n in range(1, 51)]))
    rows = Counter(box.row for box in layout.boxes)
    assert max(rows.values()) <= width_cap(51) == 9
    assert layout.width < 9 * (WIDTH + 40)


def test_boxes_of_different_heights_stand_in_the_middle_of_their_row() -> None:
    drawn = graph(3, [(0, 2), (1, 2)])
    sizes = {"0": (WIDTH, 20.0), "1": (WIDTH, 60.0), "2": (WIDTH, HEIGHT)}
    low, high, _ = lay_out(drawn, sizes).boxes
    assert low.top + low.height / 2 == high.top + high.height / 2


def test_parts_without_a_line_between_them_stand_beside_each_other() -> None:
    layout = laid_out(graph(7, [(0, 1), (2, 3), (4, 5)]))
    assert overlaps(layout.boxes) == []
    assert max(box.bottom for box in layout.boxes) == layout.boxes[1].bottom
    assert layout.boxes[6].left == max(box.left for box in layout.boxes)


def test_fewer_lines_cross_than_in_the_order_given() -> None:
    # Two rows of six, each joined to the one opposite: all 15 pairs cross at first.
    up: list[list[int]] = [[] for _ in range(6)] + [[11 - n] for n in range(6, 12)]
    down = [[11 - n] for n in range(6)] + [[] for _ in range(6)]
    rows = Rows([list(range(6)), list(range(6, 12))], up, down)
    assert crossings(rows.rows, down) == 15
    assert crossings(ordered(rows), down) == 0


def test_edges_of_all_kinds_between_two_nodes_are_drawn() -> None:
    nodes = [GraphNode(id=one, label=one) for one in "abc"]
    edges = [Edge("a", "b"), Edge("b", "c"), Edge("a", "c", Link.GIVES), Edge("a", "c", Link.THEN)]
    drawn = Graph(title="", nodes=nodes, edges=edges)
    assert_legible(drawn, laid_out(drawn))


# --- Size ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(5))
def test_fifty_nodes_are_legible(seed: int) -> None:
    drawn = graph(50, random_pairs(50, 75, seed=seed))
    layout = laid_out(drawn)
    assert_legible(drawn, layout)
    assert crossed_boxes(layout) == []


@pytest.mark.slow
def test_two_thousand_nodes_are_laid_out() -> None:
    drawn = graph(2_000, random_pairs(2_000, 5_000))
    assert_legible(drawn, laid_out(drawn))


@pytest.mark.slow
def test_a_chain_of_five_thousand_is_laid_out_without_recursion() -> None:
    drawn = graph(5_000, [(n, n + 1) for n in range(4_999)])
    layout = laid_out(drawn)
    assert_legible(drawn, layout)
    assert layout.boxes[-1].row == 4_999


@pytest.mark.slow
def test_lines_over_thousands_of_rows_do_not_take_for_ever() -> None:
    chain = [(n, n + 1) for n in range(4_999)]
    drawn = graph(5_000, chain + [(0, n) for n in range(2, 5_000)])
    assert_legible(drawn, laid_out(drawn))


def test_a_graph_beyond_the_limits_is_refused_with_the_limits() -> None:
    with pytest.raises(GraphTooLargeError, match=f"6,001 nodes.*limits are {MAX_NODES:,}"):
        laid_out(graph(MAX_NODES + 1, []))


def test_too_many_edges_are_refused() -> None:
    with pytest.raises(GraphTooLargeError, match="14,641 edges"):
        laid_out(graph(242, [(a, b) for a in range(121) for b in range(121, 242)]))


# --- Whatever the graph --------------------------------------------------------------------------


@st.composite
def graphs(draw: st.DrawFn) -> Graph:
    """Return graphs without cycles, of boxes and edges of every kind."""
    count = draw(st.integers(1, 24))
    rank = draw(st.permutations(range(count)))
    ends = st.tuples(st.integers(0, count - 1), st.integers(0, count - 1), st.sampled_from(Link))
    found = draw(st.lists(ends, max_size=50))
    edges = [
        Edge(str(min(a, b, key=rank.index)), str(max(a, b, key=rank.index)), link)
        for a, b, link in found
        if a != b
    ]
    return Graph(
        title="", nodes=[GraphNode(id=str(n), label=str(n)) for n in range(count)], edges=edges
    )


@given(graphs(), st.sampled_from([20.0, 48.0, 63.0]))
def test_every_layout_is_legible(drawn: Graph, height: float) -> None:
    layout = laid_out(drawn, height)
    assert_legible(drawn, layout)
    assert crossed_boxes(layout) == []


@given(graphs())
def test_the_same_graph_always_gives_the_same_layout(drawn: Graph) -> None:
    again = Graph(title=drawn.title, nodes=list(drawn.nodes), edges=list(drawn.edges))
    assert laid_out(drawn) == laid_out(again)


@given(graphs())
def test_no_row_has_more_boxes_than_the_cap(drawn: Graph) -> None:
    rows = Counter((box.row, box.top) for box in laid_out(drawn).boxes)
    assert max(rows.values()) <= 2 * width_cap(len(drawn.nodes))
