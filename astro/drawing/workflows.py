"""The graph of a workflow: its nodes, and what comes before what.

A solid line gives a result to the next node, a dashed one only says `after`. With the records of
a run of the workflow, each node also shows what has become of it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from astro.core.node import Node
from astro.core.records import FinishedRecord, Record
from astro.core.workflow import Workflow
from astro.drawing.calls import DrawnCall, calls_of
from astro.drawing.graph import TROUBLE_FIRST, Edge, Graph, GraphNode, Link, state_of_many

__all__ = ["graph_of_workflow"]


def graph_of_workflow(workflow: Workflow, *, records: Sequence[Record] = ()) -> Graph:
    """Return a workflow as a graph.

    Args:
        records: Of a run of the workflow, so far.
    """
    calls: dict[str, list[DrawnCall]] = {}
    found = calls_of(records)
    for call in found[0].children if found else ():
        calls.setdefault(call.place.removesuffix("[]"), []).append(call)
    over = bool(records) and isinstance(records[-1], FinishedRecord)
    edges = []
    for node in workflow.nodes:
        before = workflow.edges[node.name]
        edges += [Edge(name, node.name, Link.GIVES) for name in before.needs]
        only = [name for name in before.after if name not in before.needs]
        edges += [Edge(name, node.name, Link.THEN) for name in only]
    return Graph(
        title=workflow.name,
        nodes=[_node(node, calls.get(node.name, []), over=over) for node in workflow.nodes],
        edges=edges,
    )


def _node(node: Node, calls: Sequence[DrawnCall], *, over: bool) -> GraphNode:
    told = [] if node.task == node.name else [node.task]
    told += ["once per item"] if node.for_each is not None else []
    told += ["on a condition"] if node.when is not None else []
    told += ["skipped"] if over and not calls else []
    states = Counter(call.state for call in calls if call.state is not None)
    told += [call.note for call in calls if call.note][:1]
    many = len(calls) > 1
    return GraphNode(
        id=node.name,
        label=node.name,
        detail=" · ".join(told),
        state=state_of_many(states) if states else None,
        count=max(len(calls), 1),
        tally=tuple((s, states[s]) for s in TROUBLE_FIRST if many and states[s]),
    )
