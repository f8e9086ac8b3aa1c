"""Placing: where exactly each member of a row stands, so that lines run straight.

Each row is placed by least squares: every member as near as possible to the middle of its
neighbours, none nearer to another than their sizes allow, the order kept. For one row that is
an isotonic regression, which merging neighbours that are in each other's way solves exactly.
Sweeps up and down let the rows agree.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from astro.drawing.ordering import Rows

__all__ = ["placed"]

_FAINT = 0.05  # how much a member without neighbours minds being moved


def placed(
    graph: Rows, widths: Sequence[float], weights: Sequence[float], gap: float
) -> list[float]:
    """Return the middle of each member from the left edge of the picture.

    Args:
        widths: Of each member.
        weights: How much each member insists on standing in line with its neighbours.
        gap: Between two members of a row.
    """
    x = [0.0] * len(widths)
    for row in graph.rows:
        _settle(row, [0.0] * len(row), [1.0] * len(row), widths, gap, x)
    lines = sum(map(len, graph.down))
    rounds = 16 if lines < 3_000 else 6
    for number in range(rounds):
        last = number == rounds - 1
        for row in graph.rows:
            _align(row, [graph.up, graph.down] if last else [graph.up], widths, weights, gap, x)
        for row in reversed(graph.rows):
            _align(row, [graph.up, graph.down] if last else [graph.down], widths, weights, gap, x)
    left = min((x[one] - widths[one] / 2 for row in graph.rows for one in row), default=0.0)
    return [one - left for one in x]


def _align(
    row: Sequence[int],
    sides: Sequence[Sequence[Sequence[int]]],
    widths: Sequence[float],
    weights: Sequence[float],
    gap: float,
    x: list[float],
) -> None:
    """Move the members of a row to the middle of their neighbours."""
    wanted, force = [], []
    for one in row:
        near = [other for side in sides for other in side[one]]
        pull = [_pull(weights[one], weights[other], len(near)) for other in near]
        total = sum(pull)
        if near:
            wanted.append(sum(p * x[other] for p, other in zip(pull, near, strict=True)) / total)
            force.append(total)
        else:
            wanted.append(x[one])
            force.append(_FAINT)
    _settle(row, wanted, force, widths, gap, x)


def _pull(mine: float, other: float, fan: int) -> float:
    return mine * other
def _settle(
    row: Sequence[int],
    wanted: Sequence[float],
    force: Sequence[float],
    widths: Sequence[float],
    gap: float,
    x: list[float],
) -> None:
    """Place a row: as near to where its members want to be as their sizes allow."""
    offsets = [0.0]
    for one, other in pairwise(row):
        offsets.append(offsets[-1] + (widths[one] + widths[other]) / 2 + gap)
    blocks: list[tuple[float, float, int]] = []  # where, how firmly, how many members
    for place, firm, offset in zip(wanted, force, offsets, strict=False):
        where, weight, members = place - offset, firm, 1
        while blocks and blocks[-1][0] > where:
            before, more, others = blocks.pop()
            where = (where * weight + before * more) / (weight + more)
            weight += more
            members += others
        blocks.append((where, weight, members))
    index = 0
    for where, _, members in blocks:
        for _ in range(members):
            x[row[index]] = where + offsets[index]
            index += 1
