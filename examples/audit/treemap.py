"""Tree maps: nested numbers laid out as rectangles that are as square as may be. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import attrs

__all__ = ["Box", "laid_out"]


@attrs.frozen
class Box:
    """A rectangle; the unit is the caller's."""

    x: float
    y: float
    width: float
    height: float


def laid_out(sizes: Sequence[float], box: Box) -> Iterator[Box]:
    """Yield one box per size, in the sizes' order, that together fill the given box.

    The squarified layout of Bruls, Huizing and van Wijk: rows along the shorter side, each as
    long as its worst rectangle does not become thinner.

    Args:
        sizes: Positive numbers, the largest first.
    """
    total = sum(sizes)
    scale = box.width * box.height / total if total else 0.0
    areas = [size * scale for size in sizes]
    start = 0
    while start < len(areas):
        side = min(box.width, box.height)
        end = start + 1
        while end < len(areas) and _worst(areas[start : end + 1], side) <= _worst(
            areas[start:end], side
        ):
            end += 1
        row = areas[start:end]
        yield from _row(row, box)
        box = _rest(row, box)
        start = end


def _worst(row: Sequence[float], side: float) -> float:
    """Return the ratio of the sides of the thinnest rectangle of a row."""
    total = sum(row)
    if not total or not side:
        return float("inf")
    return max(side**2 * max(row) / total**2, total**2 / (side**2 * min(row)))


def _row(row: Sequence[float], box: Box) -> Iterator[Box]:
    upright = box.width >= box.height
    side = box.height if upright else box.width
    depth = sum(row) / side if side else 0.0
    at = box.y if upright else box.x
    for area in row:
        length = area / depth if depth else 0.0
        yield Box(box.x, at, depth, length) if upright else Box(at, box.y, length, depth)
        at += length


def _rest(row: Sequence[float], box: Box) -> Box:
    upright = box.width >= box.height
    side = box.height if upright else box.width
    depth = sum(row) / side if side else 0.0
    if upright:
        return Box(box.x + depth, box.y, max(0.0, box.width - depth), box.height)
    return Box(box.x, box.y + depth, box.width, max(0.0, box.height - depth))
