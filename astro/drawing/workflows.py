"""The graph of a workflow: its nodes, and what comes before what.

A solid line gives a result to the next node, a dashed one only says `after`. A run of a workflow
has its definition in the journal, so that its picture has the same boxes and lines.
"""

from __future__ import annotations

from typing import Final

import msgspec

from astro.core.errors import WorkflowError
from astro.core.node import Node
from astro.core.workflow import Workflow
from astro.drawing.calls import DEFINITION, DrawnCall, History
from astro.drawing.graph import Edge, Graph, GraphNode, Link
from astro.drawing.spans import Span

__all__ = ["graph_of_workflow", "spans_of_workflow", "workflow_of"]

_EXPANSION: Final = "for_each"  # the step that keeps the list a node runs over


def graph_of_workflow(workflow: Workflow) -> Graph:
    """Return the nodes of a workflow and what comes before what as a graph."""
    return Graph(
        title=workflow.name,
        nodes=[_node(node) for node in workflow.nodes],
        edges=[
            Edge(before, node.name, link)
            for node in workflow.nodes
            for before, link in _before(workflow, node)
        ],
    )


def _node(node: Node) -> GraphNode:
    told = [] if node.task == node.name else [node.task]
    told += ["once per item"] if node.for_each is not None else []
    told += ["on a condition"] if node.when is not None else []
    return GraphNode(id=node.name, label=node.name, detail=" · ".join(told))


def _before(workflow: Workflow, node: Node) -> list[tuple[str, Link]]:
    """Return the nodes before a node, and what each of them is to it."""
    edges = workflow.edges[node.name]
    return [(name, Link.GIVES if name in edges.needs else Link.THEN) for name in edges.all]


# --- In the picture of a run ---------------------------------------------------------------------


def workflow_of(history: History) -> Workflow | None:
    """Return the workflow that a run is of; None if it is of a task, or nobody can tell."""
    if history.definition is None:
        return None
    try:
        kept = msgspec.json.decode(history.definition)
        return Workflow.from_data(kept["workflow"])
    except (msgspec.MsgspecError, WorkflowError, LookupError, TypeError):
        return None  # a step that is only called the same


def spans_of_workflow(workflow: Workflow, history: History) -> list[Span]:
    """Return a span for each node of a workflow, with the calls it has made in a run so far.

    A node that has made none gets a box as well, without a state. Undos, and calls of nodes that
    the workflow no longer has, come last.
    """
    root = history.calls[0]
    spans = {node.name: Span((node.name,), node.task, node.name) for node in workflow.nodes}
    others: dict[tuple[str, str], Span] = {}
    for call in root.children:
        place = call.place.removesuffix("[]")
        node = workflow.by_name.get(place)
        if node is None and call.task != DEFINITION:
            kind = (call.task, place)
            others.setdefault(kind, Span(kind, *kind)).calls.append(call)
        elif node is not None and (node.for_each is None or call.task != _EXPANSION):
            spans[place].calls.append(call)
    for node in workflow.nodes:
        span = spans[node.name]
        span.before = [(spans[name], link) for name, link in _before(workflow, node)]
        span.calls = span.calls or [_absent(node, root, history)]
    return [*spans.values(), *others.values()]


def _absent(node: Node, root: DrawnCall, history: History) -> DrawnCall:
    passed = history.passed.get(node.name, "not reached" if history.over else "")
    return DrawnCall(f"|{node.name}", node.task, 0, root.since, root, node.name, None, note=passed)
