"""Structure: what must be true of a workflow's graph, and what it is.

Names exist and are told apart, nothing waits for itself, placeholders refer to something. All
problems are found in one pass, each with its path; nothing recurses along the graph, so that a
chain of many thousand nodes is as good as a wide one.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import Final, TypeAlias

import attrs
import msgspec

from astro.core.errors import nearest
from astro.core.node import Input, Node
from astro.core.references import (
    ITEM,
    Expression,
    Part,
    Reference,
    located,
    references,
    rewritten,
    settle,
)

__all__ = [
    "Edges",
    "Problem",
    "edges_of",
    "problems_of",
    "settled",
    "settled_output",
    "spell_problem",
]

Problem: TypeAlias = tuple[tuple[Part, ...], str]
"""Where it is, as a path of keys and indices, and what is wrong there."""

_MAX_HINTS: Final = 20
_SHOWN_OF_A_CYCLE: Final = 6


class Edges(msgspec.Struct, frozen=True):
    """What comes before a node.

    Attributes:
        needs: Nodes whose results it needs.
        after: Nodes that only come earlier.
    """

    needs: tuple[str, ...]
    after: tuple[str, ...]

    @property
    def all(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys((*self.needs, *self.after)))


def spell_problem(problem: Problem) -> str:
    """Return a problem as one line."""
    path, text = problem
    said = ""
    for part in path:
        said += f"[{part}]" if isinstance(part, int) else f".{part}" if said else part
    return f"{said}: {text}" if said else text


def settled(node: Node, known: Collection[str]) -> Node:
    """Return a node whose references name what is known: `a.b` may be a part of `a`.

    Longer names win; that no name is the beginning of another is checked elsewhere.
    """
    if not any(
        "." in one.name and one.name not in known
        for _, value in node.expressions()
        for one in references(value)
    ):
        return node

    def change(one: Reference) -> Reference:
        return settle(one, known)

    return attrs.evolve(
        node,
        inputs=tuple((name, rewritten(value, change)) for name, value in node.inputs),
        payload=tuple((name, rewritten(value, change)) for name, value in node.payload),
        instruction=rewritten(node.instruction, change),
        when=rewritten(node.when, change),
        for_each=rewritten(node.for_each, change),
    )


def settled_output(output: Expression | None, known: Collection[str]) -> Expression | None:
    """Return the output with references that name what is known."""
    found: Expression | None = rewritten(output, lambda one: settle(one, known))
    return found


def edges_of(nodes: Iterable[Node]) -> dict[str, Edges]:
    """Return what comes before each node."""
    listed = list(nodes)
    names = {node.name for node in listed}
    return {
        node.name: Edges(tuple(n for n in node.needs() if n in names), node.after)
        for node in listed
    }


def problems_of(
    nodes: Sequence[Node],
    inputs: Sequence[Input],
    output: Expression | None,
    *,
    beside: Collection[str] = (),
) -> list[Problem]:
    """Return everything that is wrong with the graph.

    Args:
        beside: Names of nodes that exist and are not worth a look, because they are broken.
    """
    found: list[Problem] = []
    if not nodes and not beside:
        found.append(((), "it has no nodes"))
    names = {node.name for node in nodes} | set(beside)
    given = {one.name for one in inputs}
    found.extend(_of_names(nodes, inputs))
    unknown = _Unknown(names, given)
    for node in nodes:
        found.extend(unknown.in_node(node))
    if output is not None:
        for path, one in located(output, ("output",)):
            found.extend(unknown.reference(one, path, item=False))
    edges = edges_of(nodes)
    found.extend((("nodes", min(cycle)), _spell_cycle(cycle)) for cycle in _cycles(edges))
    return found


def _of_names(nodes: Sequence[Node], inputs: Sequence[Input]) -> Iterator[Problem]:
    seen: set[str] = set()
    for place, values in (("inputs", inputs), ("nodes", nodes)):
        for one in values:
            if one.name in seen:
                yield (place, one.name), "there is already an input or node of this name"
            seen.add(one.name)
    for name in sorted(seen):
        parts = name.split(".")
        for end in range(1, len(parts)):
            if (shorter := ".".join(parts[:end])) in seen:
                yield ("nodes", name), f"{name!r} reads like a part of {shorter!r} in a placeholder"
    if ITEM in seen and any(node.for_each is not None for node in nodes):
        yield (), f"{ITEM!r} is the item of for_each and no name for an input or node"


class _Unknown:
    """Finds references to what does not exist, with the nearest name for the first of them."""

    def __init__(self, nodes: Collection[str], inputs: Collection[str]) -> None:
        self._nodes = nodes
        self._known = set(nodes) | set(inputs)
        self._longest = 1 + max((name.count(".") for name in self._known), default=0)
        self._hints = 0

    def in_node(self, node: Node) -> Iterator[Problem]:
        here = ("nodes", node.name)
        for field, names in (("after", node.after), ("dependencies", node.dependencies)):
            for index, name in enumerate(names):
                if name == node.name:
                    yield (*here, field, index), "it refers to itself"
                elif name not in self._nodes:
                    hint = self._hint(name, self._nodes)
                    yield (*here, field, index), f"there is no node {name!r}.{hint}"
        for place, value in node.expressions():
            item = node.for_each is not None and place[0] not in ("when", "for_each")
            for path, one in located(value, (*here, *place)):
                if one.name == node.name:
                    yield path, "it refers to itself"
                else:
                    yield from self.reference(one, path, item=item)

    def reference(self, one: Reference, path: tuple[Part, ...], *, item: bool) -> Iterator[Problem]:
        if one.name in self._known or (item and one.name == ITEM):
            return
        if one.name == ITEM:
            yield path, f"{ITEM!r} is known only to what a node with for_each passes on"
            return
        hint = self._hint(one.name, self._known) or " An input has to be declared."
        yield path, f"there is no input or node {one.name!r}.{hint}"

    def _hint(self, name: str, known: Collection[str]) -> str:
        self._hints += 1
        if self._hints > _MAX_HINTS:
            return ""
        # Of a path only the beginning is a name; the rest is keys of the data.
        parts = name.split(".")
        ends = range(min(len(parts) - 1, self._longest), 0, -1)
        tried = (nearest(one, known) for one in (name, *(".".join(parts[:end]) for end in ends)))
        return next(filter(None, tried), "")


# --- Cycles ----------------------------------------------------------------------------------


def _cycles(edges: Mapping[str, Edges]) -> Iterator[list[str]]:
    """Yield cycles without common nodes; breaking each of them leaves none."""
    before = {name: [n for n in one.all if n in edges and n != name] for name, one in edges.items()}
    followers: dict[str, list[str]] = {name: [] for name in edges}
    for name, ahead in before.items():
        for one in ahead:
            followers[one].append(name)
    waits = {name: len(ahead) for name, ahead in before.items()}
    free = [name for name, count in waits.items() if count == 0]
    order = list(edges)
    while True:
        while free:
            name = free.pop()
            if waits.pop(name, None) is None:
                continue
            for follower in followers[name]:
                if follower in waits:
                    waits[follower] -= 1
                    if waits[follower] == 0:
                        free.append(follower)
        while order and order[-1] not in waits:
            order.pop()
        if not order:
            return
        cycle = _walk_back(order[-1], before, waits)
        yield cycle
        free.extend(cycle)


def _walk_back(name: str, before: Mapping[str, list[str]], left: Collection[str]) -> list[str]:
    """Return a cycle among the nodes that are left, each of which waits for another of them."""
    places: dict[str, int] = {}
    walked: list[str] = []
    while name not in places:
        places[name] = len(walked)
        walked.append(name)
        name = next(one for one in before[name] if one in left)
    return walked[places[name] :]


def _spell_cycle(cycle: list[str]) -> str:
    first = cycle.index(min(cycle))
    around = cycle[first:] + cycle[:first]
    shown = [repr(one) for one in around[:_SHOWN_OF_A_CYCLE]]
    if len(around) > _SHOWN_OF_A_CYCLE:
        shown.append(f"… ({len(around) - _SHOWN_OF_A_CYCLE} more)")
    return f"these nodes wait for each other: {' → '.join([*shown, shown[0]])}"
