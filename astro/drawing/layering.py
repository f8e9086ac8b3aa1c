"""Layering: which row each box stands in, above everything it leads to.

List scheduling in the manner of Coffman and Graham: boxes with the longest way to an end come
first, each goes to the first row below its predecessors that has room. Then boxes that lead to
more than leads to them move down to what they lead to, where there is room.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

__all__ = ["layers_of", "width_cap"]


def width_cap(count: int) -> int:
    """Return how many boxes a row may have, so that a picture is about as wide as it is high."""
    return max(8, math.ceil(1.2 * math.sqrt(count)))


def layers_of(count: int, edges: Sequence[tuple[int, int]], cap: int) -> list[int]:
    """Return the row of each of some boxes, from 0.

    Args:
        edges: Pairs of box numbers, without cycles.
        cap: Boxes that a row may have.
    """
    above: list[list[int]] = [[] for _ in range(count)]
    below: list[list[int]] = [[] for _ in range(count)]
    for source, target in edges:
        above[target].append(source)
        below[source].append(target)
    height = _heights(above, below)
    # Heights fall along every edge, so this order is topological too.
    order = sorted(range(count), key=lambda one: (-height[one], one))
    layer = [0] * count
    room: list[int] = []
    skip: list[int] = []  # from a full row to one that may have room
    for one in order:
        first = max((layer[other] + 1 for other in above[one]), default=0)
        layer[one] = _first_free(first, room, skip, cap)
    _sink(order, above, below, layer, room)
    return _without_gaps(layer)


def _heights(above: Sequence[Sequence[int]], below: Sequence[Sequence[int]]) -> list[int]:
    """Return the length of the longest way from each box to an end."""
    height = [0] * len(above)
    waits = [len(targets) for targets in below]
    free = [one for one, number in enumerate(waits) if not number]
    while free:
        one = free.pop()
        for other in above[one]:
            height[other] = max(height[other], height[one] + 1)
            waits[other] -= 1
            if not waits[other]:
                free.append(other)
    return height


def _first_free(first: int, room: list[int], skip: list[int], cap: int) -> int:
    """Return the first row from `first` on that has room, and take a place in it."""
    seen = []
    row = first
    while True:
        while len(room) <= row:
            room.append(cap)
            skip.append(len(room) - 1)
        if room[row]:
            break
        seen.append(row)
        row = max(skip[row], row + 1)
    for one in seen:
        skip[one] = row
    room[row] -= 1
    return row


def _sink(
    order: Sequence[int],
    above: Sequence[Sequence[int]],
    below: Sequence[Sequence[int]],
    layer: list[int],
    room: list[int],
) -> None:
    """Move boxes down that are drawn more to what is below them than to what is above."""
    for one in reversed(order):
        if len(below[one]) <= len(above[one]):
            continue
        lowest = min(layer[other] for other in below[one]) - 1
        row = next((row for row in range(lowest, layer[one], -1) if room[row] > 0), layer[one])
        room[layer[one]] += 1
        room[row] -= 1
        layer[one] = row


def _without_gaps(layer: list[int]) -> list[int]:
    rows = {row: number for number, row in enumerate(sorted(set(layer)))}
    return [rows[row] for row in layer]
