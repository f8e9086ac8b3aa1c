"""Ordering: who stands left of whom in each row, so that few lines cross.

The barycentre method: row by row, down and up again, each member moves to the middle of its
neighbours in the row before; the order with the fewest crossings wins. Small pictures get
neighbours exchanged as well, as long as that helps.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import attrs

__all__ = ["Rows", "crossings", "ordered"]

_SMALL = 1_500  # lines between rows up to which exchanging neighbours is affordable


@attrs.frozen
class Rows:
    """Members of rows and the lines between them, each from one row to the next.

    Attributes:
        rows: Members by row, from left to right.
        up: The neighbours of each member in the row above.
        down: The neighbours of each member in the row below.
    """

    rows: list[list[int]]
    up: Sequence[Sequence[int]]
    down: Sequence[Sequence[int]]


def ordered(graph: Rows) -> list[list[int]]:
    """Return the members of each row in an order with few crossings; always the same one."""
    lines = sum(map(len, graph.down))
    sweeps = 24 if lines < _SMALL else 8 if lines < 10_000 else 4
    place = _places(graph.rows, len(graph.up))
    best, fewest = [list(row) for row in graph.rows], _crossings(graph.rows, graph.down, place)
    rows = [list(row) for row in graph.rows]
    for sweep in range(sweeps):
        if not fewest:
            break
        _sweep(rows, graph, place, down=sweep % 2 == 0)
        if lines < _SMALL:
            _exchange(rows, graph, place)
        number = _crossings(rows, graph.down, place)
        if number < fewest:
            best, fewest = [list(row) for row in rows], number
    return best


def crossings(rows: Sequence[Sequence[int]], down: Sequence[Sequence[int]]) -> int:
    """Return how many pairs of lines between neighbouring rows cross."""
    return _crossings(rows, down, _places(rows, len(down)))


def _places(rows: Sequence[Sequence[int]], count: int) -> list[int]:
    place = [0] * count
    for row in rows:
        for number, one in enumerate(row):
            place[one] = number
    return place


def _crossings(
    rows: Sequence[Sequence[int]], down: Sequence[Sequence[int]], place: Sequence[int]
) -> int:
    total = 0
    for row, following in pairwise(rows):
        ends = [end for one in row for end in sorted(place[other] for other in down[one])]
        total += _inversions(ends, len(following))
    return total


def _inversions(ends: Sequence[int], size: int) -> int:
    """Return how many pairs are in the wrong order (a Fenwick tree of what has been seen)."""
    tree = [0] * (size + 1)
    total = 0
    for seen, end in enumerate(ends):
        index, before = end + 1, 0
        while index:
            before += tree[index]
            index &= index - 1
        total += seen - before
        index = end + 1
        while index <= size:
            tree[index] += 1
            index += index & -index
    return total


def _sweep(rows: list[list[int]], graph: Rows, place: list[int], *, down: bool) -> None:
    """Move the members of each row to the middle of their neighbours in the row before."""
    numbers = range(1, len(rows)) if down else range(len(rows) - 2, -1, -1)
    neighbours = graph.up if down else graph.down
    for number in numbers:
        middle = {}
        for one in rows[number]:
            near = neighbours[one]
            total = sum(place[other] for other in near)
            # Who has no neighbour there stays about where it is.
            middle[one] = total / len(near) if near else float(place[one])
        rows[number].sort(key=middle.__getitem__)
        for index, one in enumerate(rows[number]):
            place[one] = index


def _exchange(rows: list[list[int]], graph: Rows, place: list[int]) -> None:
    """Exchange neighbours in rows while that makes fewer crossings, at most a few rounds."""
    for _ in range(4):
        better = False
        for row in rows:
            for index in range(len(row) - 1):
                left, right = row[index], row[index + 1]
                gain = 0
                for near in (graph.up, graph.down):
                    gain += _pair(near[left], near[right], place)
                if gain > 0:
                    row[index], row[index + 1] = right, left
                    place[left], place[right] = index + 1, index
                    better = True
        if not better:
            break


def _pair(left: Sequence[int], right: Sequence[int], place: Sequence[int]) -> int:
    """Return how many crossings fewer there are when two neighbours are exchanged."""
    gain = 0
    for one in left:
        for other in right:
            gain += (place[one] > place[other]) - (place[one] < place[other])
    return gain
