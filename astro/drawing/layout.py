"""Layout: where boxes stand and lines run, from top to bottom, in layers.

Rows (`layering`), then the order within rows (`ordering`), then places (`placing`). A line that
passes rows gets a bend in each of them, so that it runs between boxes and never through one;
lines with the same start or the same end share their bends, as branches of one trunk. The same
graph always gives the same layout, and no step recurses.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Final, TypeAlias

import attrs

from astro.core.errors import AstroError
from astro.drawing.graph import Edge, Graph
from astro.drawing.layering import layers_of, width_cap
from astro.drawing.ordering import Rows, ordered
from astro.drawing.placing import placed

__all__ = [
    "MAX_EDGES",
    "MAX_NODES",
    "Box",
    "GraphTooLargeError",
    "Layout",
    "Point",
    "Route",
    "lay_out",
]

MAX_NODES: Final = 6_000
MAX_EDGES: Final = 12_000

_MAX_BENDS: Final = 20_000  # beyond these, the longest lines run straight, over boxes if need be
_GAP: Final = 24.0  # between two boxes of a row
_ROW_GAP: Final = 44.0  # between two rows, at least
_BEND: Final = 2.0  # the room a line takes in a row that it passes
_FIRM: Final = 4.0  # how much more a bend insists on a straight line than a box does

Point: TypeAlias = tuple[float, float]
_Pair: TypeAlias = tuple[int, int]


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
        row: From the top, from 0.
    """

    id: str
    row: int
    left: float
    top: float
    width: float
    height: float

    @property
    def middle(self) -> float:
        return self.left + self.width / 2

    @property
    def bottom(self) -> float:
        return self.top + self.height


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
    layer = layers_of(len(number), pairs, width_cap(len(number)))
    bends = _Bends(layer)
    stops = bends.route(pairs, [edge.link for edge in graph.edges])
    rows = bends.rows(stops)
    rows = attrs.evolve(rows, rows=ordered(rows))
    boxed = [sizes[node.id] for node in graph.nodes]
    extra = len(bends.layer) - len(boxed)
    widths = [width for width, _ in boxed] + [_BEND] * extra
    x = placed(rows, widths, [1.0] * len(boxed) + [_FIRM] * extra, _GAP)
    bands = _bands(bends.layer, [height for _, height in boxed], stops, x)
    boxes = tuple(
        Box(
            id=node.id,
            row=layer[index],
            left=round(x[index] - width / 2, 1),
            top=round(sum(bands[layer[index]]) / 2 - height / 2, 1),
            width=width,
            height=height,
        )
        for index, (node, (width, height)) in enumerate(zip(graph.nodes, boxed, strict=True))
    )
    routes = tuple(
        Route(edge, _points(stop, boxes, bends.layer, bands, x))
        for edge, stop in zip(graph.edges, stops, strict=True)
    )
    right = max((x[index] + width / 2 for index, width in enumerate(widths)), default=0.0)
    return Layout(boxes=boxes, routes=routes, width=right, height=bands[-1][1] if bands else 0.0)


class _Bends:
    """Gives lines a stop in each row that they pass; boxes come first in the numbering."""

    def __init__(self, layer: Sequence[int]) -> None:
        self.layer = list(layer)
        self._known: dict[tuple[bool, int, str, int], int] = {}

    def route(self, pairs: Sequence[_Pair], links: Sequence[str]) -> list[list[int]]:
        """Return the stops of each line, its source and target included."""
        layer = self.layer
        long = [one for one, (a, b) in enumerate(pairs) if layer[b] - layer[a] > 1]
        leaving = Counter((pairs[one][0], links[one]) for one in long)
        coming = Counter((pairs[one][1], links[one]) for one in long)
        stops = [list(pair) for pair in pairs]
        boxes = len(layer)
        for one in sorted(long, key=lambda o: layer[pairs[o][1]] - layer[pairs[o][0]]):
            (source, target), link = pairs[one], links[one]
            if len(self.layer) - boxes + layer[target] - layer[source] > _MAX_BENDS:
                break
            forks = leaving[source, link] >= coming[target, link]
            end = source if forks else target
            passed = range(layer[source] + 1, layer[target])
            stops[one][1:1] = [self._stop(forks, end, link, row) for row in passed]
        return stops

    def _stop(self, forks: bool, end: int, link: str, row: int) -> int:
        key = (forks, end, link, row)
        found = self._known.get(key)
        if found is None:
            found = self._known[key] = len(self.layer)
            self.layer.append(row)
        return found

    def rows(self, stops: Sequence[Sequence[int]]) -> Rows:
        """Return all stops row by row, with the lines between neighbouring rows."""
        rows: list[list[int]] = [[] for _ in range(max(self.layer, default=-1) + 1)]
        for one, row in enumerate(self.layer):
            rows[row].append(one)
        up: list[list[int]] = [[] for _ in self.layer]
        down: list[list[int]] = [[] for _ in self.layer]
        lines = dict.fromkeys(pair for stop in stops for pair in pairwise(stop))
        for above, below in lines:
            if self.layer[below] == self.layer[above] + 1:
                down[above].append(below)
                up[below].append(above)
        return Rows(rows, up, down)


def _bands(
    layer: Sequence[int],
    heights: Sequence[float],
    stops: Sequence[Sequence[int]],
    x: Sequence[float],
) -> list[tuple[float, float]]:
    """Return top and bottom of each row; the gap below is larger where lines run far sideways."""
    count = max(layer, default=-1) + 1
    tallest = [0.0] * count
    for row, height in zip(layer, heights, strict=False):
        tallest[row] = max(tallest[row], height)
    sideways = [0.0] * count
    for stop in stops:
        for one, other in pairwise(stop):
            sideways[layer[one]] = max(sideways[layer[one]], abs(x[one] - x[other]))
    bands, top = [], 0.0
    for height, far in zip(tallest, sideways, strict=True):
        bands.append((top, top + height))
        top += height + _ROW_GAP + min(far * 0.04, _ROW_GAP)
    return bands


def _points(
    stops: Sequence[int],
    boxes: Sequence[Box],
    layer: Sequence[int],
    bands: Sequence[tuple[float, float]],
    x: Sequence[float],
) -> tuple[Point, ...]:
    source, target = boxes[stops[0]], boxes[stops[-1]]
    found: list[Point] = [(source.middle, source.bottom), (source.middle, bands[source.row][1])]
    for one in stops[1:-1]:
        top, bottom = bands[layer[one]]
        place = round(x[one], 1)
        found += [(place, top), (place, bottom)]
    found += [(target.middle, bands[target.row][0]), (target.middle, target.top)]
    return tuple((round(across, 1), round(down, 1)) for across, down in found)
