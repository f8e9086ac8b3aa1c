"""Graphs: what a picture shows, before anybody decides where things go.

A graph is a frozen value without cycles, made from a run's records or from a workflow, and
turned into text by `svg` and `mermaid`. It knows boxes, lines and states; no coordinates.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterable
from enum import StrEnum
from typing import Final

import attrs
from attrs.validators import ge, instance_of

from astro.core.errors import InvalidArgumentsError
from astro.core.records import State

__all__ = ["TROUBLE_FIRST", "Edge", "Graph", "GraphNode", "Link", "spelled", "tally_of"]

TROUBLE_FIRST: Final = (
    State.FAILED,
    State.PARKED,
    State.ASKED,
    State.UNDOING,
    State.RUNNING,
    State.SLEEPING,
    State.PAUSED,
    State.READY,
    State.CANCELLED,
    State.DONE,
)
"""States in the order in which one of many deserves a look."""


class Link(StrEnum):
    """What an edge says about its two nodes."""

    ASKS = "asks for"
    GIVES = "gives its result to"
    THEN = "comes before"


@attrs.frozen(kw_only=True)
class GraphNode:
    """One box.

    Attributes:
        label: What it is, in a few words.
        detail: What else is worth knowing, in one line.
        count: How many calls the box stands for; 0 for a mere point where lines meet.
        tally: How many of them are in which state; empty for a box that stands for one.
    """

    id: str = attrs.field(validator=instance_of(str))
    label: str
    detail: str = ""
    state: State | None = None
    count: int = attrs.field(default=1, validator=ge(0))
    tally: tuple[tuple[State, int], ...] = ()

    @property
    def is_point(self) -> bool:
        return self.count == 0

    @property
    def caption(self) -> str:
        """The second line of the box: its state in words, and the detail."""
        told = ", ".join(f"{number:,} {state}" for state, number in self.tally)
        first = told or (self.state.value if self.state is not None else "")
        return " · ".join(part for part in (first, self.detail) if part)


@attrs.frozen
class Edge:
    """One line between two boxes, by their ids."""

    source: str
    target: str
    link: Link = Link.ASKS


def _nodes(nodes: Iterable[GraphNode]) -> tuple[GraphNode, ...]:
    return tuple(nodes)


def _edges(edges: Iterable[Edge]) -> tuple[Edge, ...]:
    return tuple(edges)


@attrs.frozen(kw_only=True)
class Graph:
    """Boxes and lines under a title; every line has two known ends, and none lead in a circle.

    Attributes:
        note: What the line below the title says; if empty, how many are in which state.
    """

    title: str
    nodes: tuple[GraphNode, ...] = attrs.field(default=(), converter=_nodes)
    edges: tuple[Edge, ...] = attrs.field(default=(), converter=_edges)
    note: str = ""

    def __attrs_post_init__(self) -> None:
        known = {node.id for node in self.nodes}
        if len(known) != len(self.nodes):
            twice = next(i for i, n in Counter(node.id for node in self.nodes).items() if n > 1)
            raise _refused(f"two nodes have the id {twice!r:.60}")
        for edge in self.edges:
            if edge.source not in known or edge.target not in known:
                raise _refused(f"an edge leads from {edge.source!r:.60} to {edge.target!r:.60}")
        if _has_cycle(known, self.edges):
            raise _refused("its edges lead in a circle")

    @property
    def tally(self) -> tuple[tuple[State, int], ...]:
        """How many of them are in which state, what deserves a look first."""
        total: Counter[State] = Counter()
        for node in self.nodes:
            if node.tally:
                total.update(dict(node.tally))
            elif node.state is not None:
                total[node.state] += node.count
        return tuple((state, total[state]) for state in TROUBLE_FIRST if total[state])

    @property
    def summary(self) -> str:
        """One line that says what the picture shows."""
        return self.note or spelled(sum(node.count for node in self.nodes), "node", self.tally)


def spelled(count: int, what: str, tally: Iterable[tuple[State, int]]) -> str:
    """Return how many there are, and how many of them in which state."""
    told = [f"{count:,} {what}{'' if count == 1 else 's'}"]
    return ", ".join(told + [f"{number:,} {state}" for state, number in tally])


def tally_of(states: Iterable[State | None]) -> tuple[tuple[State, int], ...]:
    """Return how many there are of each state, what deserves a look first."""
    found = Counter(states)
    return tuple((state, found[state]) for state in TROUBLE_FIRST if found[state])


def _refused(reason: str) -> InvalidArgumentsError:
    return InvalidArgumentsError(
        f"This is no graph: {reason}.",
        remedy="Give each node an id of its own, and edges between known nodes without cycles.",
    )


def _has_cycle(nodes: Iterable[str], edges: Iterable[Edge]) -> bool:
    """Return whether some edges lead in a circle (Kahn: take away what nothing leads to)."""
    waits = dict.fromkeys(nodes, 0)
    after: dict[str, list[str]] = {}
    for edge in edges:
        waits[edge.target] += 1
        after.setdefault(edge.source, []).append(edge.target)
    free = deque(node for node, number in waits.items() if not number)
    taken = 0
    while free:
        taken += 1
        for target in after.get(free.popleft(), ()):
            waits[target] -= 1
            if not waits[target]:
                free.append(target)
    return taken < len(waits)
