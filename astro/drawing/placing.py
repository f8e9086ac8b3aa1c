"""Placing: where exactly each member of a row stands, so that lines run straight.

Each row is placed by least squares: every member as near as possible to the middle of its
neighbours, none nearer to another than their sizes allow, the order kept. For one row that is
an isotonic regression, which merging neighbours that are in each other's way solves exactly.
Sweeps up and down let the rows agree.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import attrs

from astro.drawing.ordering import Rows

__all__ = ["placed"]

_FAINT = 0.05  # how much a member without neighbours minds being moved
_PLAIN, _FIRM = 1.0, 4.0  # how much a box and a bend insist on standing in line


def placed(graph: Rows, widths: Sequence[float], boxes: int, gap: float) -> list[float]:
    """Return the middle of each member from the left edge of the picture.

    Args:
        widths: Of each member.
        boxes: How many of the members are boxes; the others are bends.
        gap: Between two members of a row.
    """
    placing = _Placing(graph, widths, boxes, gap, [0.0] * len(widths))
    for row in graph.rows:
        placing.settle(row, [0.0] * len(row), [1.0] * len(row))
    rounds = 16 if sum(map(len, graph.down)) < 3_000 else 6
    for number in range(rounds):
        last = number == rounds - 1
        for row in graph.rows:
            placing.align(row, up=True, down=last)
        for row in reversed(graph.rows):
            placing.align(row, up=last, down=True)
    x = placing.x
    left = min((x[one] - widths[one] / 2 for row in graph.rows for one in row), default=0.0)
    return [one - left for one in x]


@attrs.frozen
class _Placing:
    graph: Rows
    widths: Sequence[float]
    boxes: int
    gap: float
    x: list[float]

    def align(self, row: Sequence[int], *, up: bool, down: bool) -> None:
        """Move the members of a row to the middle of their neighbours above, below or both."""
        wanted, force = [], []
        for one in row:
            near = self._pulls(one, self.graph.up, self.graph.down) if up else []
            near += self._pulls(one, self.graph.down, self.graph.up) if down else []
            total = sum(pull for pull, _ in near)
            if near:
                wanted.append(sum(pull * place for pull, place in near) / total)
            else:
                wanted.append(self.x[one])
            force.append(total or _FAINT)
        self.settle(row, wanted, force)

    def _pulls(
        self, one: int, there: Sequence[Sequence[int]], back: Sequence[Sequence[int]]
    ) -> list[tuple[float, float]]:
        """Return how strongly the neighbours on one side pull, and where to."""
        found = []
        firm = one >= self.boxes
        for other in there[one]:
            pull = _FIRM if firm or other >= self.boxes else _PLAIN
            if firm and other >= self.boxes:
                pull *= _FIRM
            else:
                # One of many branches must not drag the others along, nor all of them the trunk.
                pull /= max(len(back[other]), len(there[one])) ** 2
            found.append((pull, self.x[other]))
        return found

    def settle(self, row: Sequence[int], wanted: Sequence[float], force: Sequence[float]) -> None:
        """Place a row: as near to where its members want to be as their sizes allow."""
        widths = self.widths
        offsets = [0.0]
        for one, other in pairwise(row):
            offsets.append(offsets[-1] + (widths[one] + widths[other]) / 2 + self.gap)
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
                self.x[row[index]] = where + offsets[index]
                index += 1
