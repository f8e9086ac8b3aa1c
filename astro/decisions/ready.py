"""Ready: which nodes of a workflow may run now, and what becomes of those that never will.

Nodes count what they wait for, so that a whole run costs O(nodes + edges). A node is settled
when everything before it is, which keeps the order that a reader of the graph sees:

- It has a *value* when its task succeeded, or when it was skipped or failed and has a default
  for that.
- It gives *nothing* when it was skipped without a default: its condition did not hold, it failed
  and `on_failure` is `skip`, or it needs a node that gave nothing.
- `after` only orders: a node after one that gave nothing runs.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from enum import StrEnum

import msgspec

from astro.core.node import Node
from astro.core.policy import OnFailure, Priority
from astro.core.references import Fixed
from astro.core.workflow import Workflow

__all__ = ["Advance", "Ending", "Progress", "Readiness"]


class Ending(StrEnum):
    """How a node ended."""

    SUCCEEDED = "succeeded"
    FAILED = "failed"
    UNMET = "unmet"
    """Its condition did not hold."""
    STARVED = "starved"
    """It needs a node that gave nothing."""


class Progress(msgspec.Struct, frozen=True):
    """What a node came to.

    Attributes:
        gives: Whether it has a value: its task's result, or its default.
    """

    node: str
    ending: Ending
    gives: bool


class Advance(msgspec.Struct, frozen=True):
    """What follows from the end of a node.

    Attributes:
        ready: Nodes that may run now, the most urgent first, equals in the workflow's order.
        settled: Nodes that ended, in order; the one that was reported is the first.
        failed: Whether the workflow fails; then nothing else follows.
    """

    ready: tuple[Node, ...] = ()
    settled: tuple[Progress, ...] = ()
    failed: bool = False


class Readiness:
    """Counts down what the nodes of one workflow wait for."""

    def __init__(self, flow: Workflow) -> None:
        self._flow = flow
        self._places = {node.name: place for place, node in enumerate(flow.nodes)}
        self._waits = {name: len(edges.all) for name, edges in flow.edges.items()}
        self._followers: dict[str, list[str]] = {name: [] for name in self._places}
        for name, edges in flow.edges.items():
            for before in edges.all:
                self._followers[before].append(name)
        self._empty: set[str] = set()
        self._usual = Priority.MEDIUM if flow.priority is None else flow.priority
        self.left = len(flow.nodes)

    def first(self) -> tuple[Node, ...]:
        """Return the nodes that wait for nothing."""
        return self._by_urgency(name for name, count in self._waits.items() if count == 0)

    def ended(self, name: str, ending: Ending) -> Advance:
        """Take note of the end of a node that was ready; return what follows."""
        node = self._flow.by_name[name]
        if ending is Ending.FAILED and node.on_failure is OnFailure.FAIL:
            return Advance(failed=True)
        ready: list[str] = []
        settled: list[Progress] = []
        queue = deque([(node, ending)])
        while queue:
            node, ending = queue.popleft()
            settled.append(self._settle(node, ending))
            for follower in self._followers[node.name]:
                self._waits[follower] -= 1
                if self._waits[follower] == 0:
                    if self._empty.isdisjoint(self._flow.edges[follower].needs):
                        ready.append(follower)
                    else:
                        queue.append((self._flow.by_name[follower], Ending.STARVED))
        return Advance(self._by_urgency(ready), tuple(settled))

    def _settle(self, node: Node, ending: Ending) -> Progress:
        gives = ending is Ending.SUCCEEDED or isinstance(node.default, Fixed)
        if not gives:
            self._empty.add(node.name)
        self.left -= 1
        return Progress(node.name, ending, gives)

    def _by_urgency(self, names: Iterable[str]) -> tuple[Node, ...]:
        places = sorted(map(self._places.__getitem__, names))
        nodes = [self._flow.nodes[place] for place in places]
        return tuple(sorted(nodes, key=lambda node: -self._urgency(node)))

    def _urgency(self, node: Node) -> int:
        return self._usual if node.priority is None else node.priority
