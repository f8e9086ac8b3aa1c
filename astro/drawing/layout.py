"""Layout: where boxes stand and lines run, from top to bottom, in layers.

Each connected part of a graph is laid out by itself (`parts`); then the parts are put side by
side and below each other, the largest first, boxes without lines last. The same graph always
gives the same layout, and no step recurses.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Final

import attrs

from astro.core.errors import AstroError
from astro.drawing.graph import Edge, Graph
from astro.drawing.parts import Part, Point, lay_out_part

__all__ = ["MAX_EDGES", "MAX_NODES", "Box", "GraphTooLargeError", "Layout", "Route", "lay_out"]

MAX_NODES: Final = 6_000
MAX_EDGES: Final = 12_000

_BETWEEN: Final = 48.0  # two parts
_ASPECT: Final = 1.6  # width of a picture by its height, where there is a choice
_PAGE: Final = 720.0  # width that may be used anyway


class GraphTooLargeError(AstroError, ValueError):
    """Raised for a graph that nobody could read, and that would take too long to lay out."""

    def __init__(self, graph: Graph) -> None:
        super().__init__(
            f"The graph is too large to draw: {len(graph.nodes):,} nodes and "
            f"{len(graph.edges):,} edges; the limits are {MAX_NODES:,} and {MAX_EDGES:,}.",
            remedy="Draw a part of it, or bundle nodes that are alike.",
        )


@attrs.frozen(kw_only=True)
class Box:
    """Where a node stands; lengths are pixels, y grows downwards.

    Attributes:
        row: From the top of its connected part, from 0.
    """

    id: str
    row: int
    left: float
    top: float
    width: float
    height: float

    @property
    def middle(self) -> float:
        return round(self.left + self.width / 2, 1)

    @property
    def right(self) -> float:
        return self.left + self.width

    @property
    def bottom(self) -> float:
        return round(self.top + self.height, 1)


@attrs.frozen
class Route:
    """How an edge runs: straight down from each even point to the next, curved from odd ones.

    The first point is the middle of the source's bottom, the last the middle of the target's top.
    """

    edge: Edge
    points: tuple[Point, ...]


@attrs.frozen(kw_only=True)
class Layout:
    """Boxes in the order of the nodes, routes in the order of the edges, without a margin."""

    boxes: tuple[Box, ...]
    routes: tuple[Route, ...]
    width: float
    height: float


def lay_out(graph: Graph, sizes: Mapping[str, tuple[float, float]]) -> Layout:
    """Return where everything goes.

    Args:
        sizes: Width and height of each node's box.

    Raises:
        GraphTooLargeError: It has more than `MAX_NODES` nodes or `MAX_EDGES` edges.
    """
    if len(graph.nodes) > MAX_NODES or len(graph.edges) > MAX_EDGES:
        raise GraphTooLargeError(graph)
    number = {node.id: index for index, node in enumerate(graph.nodes)}
    pairs = [(number[edge.source], number[edge.target]) for edge in graph.edges]
    links = [edge.link for edge in graph.edges]
    boxed = [sizes[node.id] for node in graph.nodes]
    parts = [
        lay_out_part(members, lines, pairs, links, boxed)
        for members, lines in _connected(len(boxed), pairs)
    ]
    corners, width, height = _packed(parts)
    boxes = _boxes(graph, boxed, parts, corners)
    points = {
        line: [(round(left + x, 1), round(top + y, 1)) for x, y in bends]
        for part, (left, top) in zip(parts, corners, strict=True)
        for line, bends in part.bends
    }
    routes = [
        _route(edge, boxes[source], boxes[target], points[line])
        for line, (edge, (source, target)) in enumerate(zip(graph.edges, pairs, strict=True))
    ]
    return Layout(boxes=tuple(boxes), routes=tuple(routes), width=width, height=height)


def _boxes(
    graph: Graph,
    sizes: Sequence[tuple[float, float]],
    parts: Sequence[Part],
    corners: Sequence[Point],
) -> list[Box]:
    found: dict[int, Box] = {}
    for part, (left, top) in zip(parts, corners, strict=True):
        for one, row, across, down in part.places:
            found[one] = Box(
                id=graph.nodes[one].id,
                row=row,
                left=round(left + across, 1),
                top=round(top + down, 1),
                width=sizes[one][0],
                height=sizes[one][1],
            )
    return [found[one] for one in range(len(sizes))]


def _route(edge: Edge, source: Box, target: Box, bends: Sequence[Point]) -> Route:
    """Return a line between its boxes; its ends are theirs, to the last digit."""
    start, end = (source.middle, source.bottom), (target.middle, target.top)
    inner = [(start[0], bends[0][1]), *bends[1:-1], (end[0], bends[-1][1])]
    return Route(edge, (start, *inner, end))


def _connected(count: int, pairs: Sequence[tuple[int, int]]) -> list[tuple[list[int], list[int]]]:
    """Return the connected parts, the largest first, then all that stand alone as one.

    A part is the numbers of its boxes and of its lines.
    """
    leader = list(range(count))

    def leading(one: int) -> int:
        while leader[one] != one:
            leader[one] = one = leader[leader[one]]
        return one

    for source, target in pairs:
        leader[leading(target)] = leading(source)
    parts: dict[int, tuple[list[int], list[int]]] = {}
    for one in range(count):
        parts.setdefault(leading(one), ([], []))[0].append(one)
    for line, (source, _) in enumerate(pairs):
        parts[leading(source)][1].append(line)
    joined = [part for part in parts.values() if part[1]]
    alone = [one for members, lines in parts.values() if not lines for one in members]
    joined.sort(key=lambda part: (-len(part[0]), part[0][0]))
    return [*joined, *([(alone, [])] if alone else [])]


def _packed(parts: Sequence[Part]) -> tuple[list[Point], float, float]:
    """Return where the corner of each part goes, and the size of the whole: shelf by shelf."""
    area = sum((part.width + _BETWEEN) * (part.height + _BETWEEN) for part in parts)
    room = max([_PAGE, math.sqrt(area * _ASPECT), *(part.width for part in parts)])
    corners: list[Point] = []
    left = top = width = high = 0.0
    for part in parts:
        if left and left + part.width > room:
            left, top, high = 0.0, top + high + _BETWEEN, 0.0
        corners.append((left, top))
        width = max(width, left + part.width)
        high = max(high, part.height)
        left += part.width + _BETWEEN
    return corners, width, top + high
