"""Parts: the layout of one connected part of a graph.

Rows (`layering`), then the order within rows (`ordering`), then places (`placing`). A line that
passes rows gets a bend in each of them, so that it runs between boxes and never through one;
lines with the same start or the same end share their bends, as branches of one trunk.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from itertools import pairwise
from typing import Final, TypeAlias

import attrs

from astro.drawing.layering import layers_of, width_cap
from astro.drawing.ordering import Rows, ordered
from astro.drawing.placing import placed

__all__ = ["Part", "Point", "lay_out_part"]

_MAX_BENDS: Final = 100_000  # beyond these, the longest lines run straight, over boxes if need be
_GAP: Final = 24.0  # between two boxes of a row
_ROW_GAP: Final = 44.0  # between two rows, at least
_SLIM: Final = 12.0  # a row that is no higher holds only points
_BEND: Final = 2.0  # the room a line takes in a row that it passes

Point: TypeAlias = tuple[float, float]
_Pair: TypeAlias = tuple[int, int]


@attrs.frozen(kw_only=True)
class Part:
    """A connected part, laid out.

    Attributes:
        places: Of each box its number, its row, and its left and top edge.
        bends: Of each line its number, and the points between its two boxes.
    """

    places: tuple[tuple[int, int, float, float], ...]
    bends: tuple[tuple[int, tuple[Point, ...]], ...]
    width: float
    height: float


def lay_out_part(
    members: Sequence[int],
    lines: Sequence[int],
    pairs: Sequence[_Pair],
    links: Sequence[str],
    sizes: Sequence[tuple[float, float]],
) -> Part:
    """Return the layout of some boxes and lines of a graph.

    Args:
        members: Numbers of the boxes.
        lines: Numbers of the lines.
        pairs: The two ends of each line of the graph.
        links: The kind of each line of the graph.
        sizes: Width and height of each box of the graph.
    """
    local = {one: index for index, one in enumerate(members)}
    inner = [(local[pairs[line][0]], local[pairs[line][1]]) for line in lines]
    layer = layers_of(len(members), inner, width_cap(len(members)))
    bends = _Bends(layer)
    stops = bends.route(inner, [links[line] for line in lines])
    rows = bends.rows(stops)
    rows = attrs.evolve(rows, rows=ordered(rows))
    extra = len(bends.layer) - len(members)
    widths = [sizes[one][0] for one in members] + [_BEND] * extra
    x = placed(rows, widths, len(members), _GAP)
    bands = _bands(bends.layer, [sizes[one][1] for one in members], stops, x)
    return Part(
        places=tuple(
            (one, layer[i], x[i] - sizes[one][0] / 2, sum(bands[layer[i]]) / 2 - sizes[one][1] / 2)
            for i, one in enumerate(members)
        ),
        bends=tuple(
            (line, _points(stop, bends.layer, bands, x))
            for line, stop in zip(lines, stops, strict=True)
        ),
        width=max(place + width / 2 for place, width in zip(x, widths, strict=True)),
        height=bands[-1][1],
    )


class _Bends:
    """Gives lines a stop in each row that they pass; boxes come first in the numbering."""

    def __init__(self, layer: Sequence[int]) -> None:
        self.layer = list(layer)
        self._boxes = len(layer)
        self._known: dict[tuple[bool, int, str, int], int] = {}

    def route(self, pairs: Sequence[_Pair], links: Sequence[str]) -> list[list[int]]:
        """Return the stops of each line, its source and target included."""
        layer = self.layer
        long = [one for one, (a, b) in enumerate(pairs) if layer[b] - layer[a] > 1]
        leaving = Counter((pairs[one][0], links[one]) for one in long)
        coming = Counter((pairs[one][1], links[one]) for one in long)
        stops = [list(pair) for pair in pairs]
        passed_by_all = 0
        for one in sorted(long, key=lambda o: layer[pairs[o][1]] - layer[pairs[o][0]]):
            (source, target), link = pairs[one], links[one]
            passed = range(layer[source] + 1, layer[target])
            passed_by_all += len(passed)
            if passed_by_all > _MAX_BENDS:
                break
            forks = leaving[source, link] >= coming[target, link]
            end = source if forks else target
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
        rows: list[list[int]] = [[] for _ in range(max(self.layer) + 1)]
        for one in range(self._boxes):
            rows[self.layer[one]].append(one)
        half = [len(row) // 2 for row in rows]
        for one in range(len(self.layer) - 1, self._boxes - 1, -1):
            # A trunk in the middle of its branches keeps them together.
            row = self.layer[one]
            rows[row].insert(half[row], one)
        up: list[list[int]] = [[] for _ in self.layer]
        down: list[list[int]] = [[] for _ in self.layer]
        for above, below in dict.fromkeys(pair for stop in stops for pair in pairwise(stop)):
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
    tallest = [0.0] * (max(layer) + 1)
    for row, height in zip(layer, heights, strict=False):
        tallest[row] = max(tallest[row], height)
    sideways = [0.0] * len(tallest)
    for stop in stops:
        for one, other in pairwise(stop):
            sideways[layer[one]] = max(sideways[layer[one]], abs(x[one] - x[other]))
    bands, top = [], 0.0
    for row, height in enumerate(tallest):
        bands.append((top, top + height))
        slim = min(tallest[row : row + 2]) <= _SLIM
        top += height + (_ROW_GAP + min(sideways[row] * 0.04, _ROW_GAP)) * (0.6 if slim else 1.0)
    return bands


def _points(
    stops: Sequence[int],
    layer: Sequence[int],
    bands: Sequence[tuple[float, float]],
    x: Sequence[float],
) -> tuple[Point, ...]:
    """Return where a line leaves the row of its source, enters that of its target, and between."""
    found = [(x[stops[0]], bands[layer[stops[0]]][1])]
    for one in stops[1:-1]:
        found += [(x[one], edge) for edge in bands[layer[one]]]
    return (*found, (x[stops[-1]], bands[layer[stops[-1]]][0]))
