"""The graph of a run: its calls as a tree of boxes that fits on one page, however many there are.

A solid line leads from a call to what it asked for first, a dashed one from there to what it
asked for once that was done. Equal calls share a box with their numbers. The run of a workflow
has a box for each node instead, and the workflow's own lines between them.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from datetime import timedelta
from typing import Final

from astro.core.records import Record, State
from astro.drawing.calls import DrawnCall, history_of
from astro.drawing.graph import Edge, Graph, GraphNode, Link, spelled, tally_of
from astro.drawing.spans import Span, bundle
from astro.drawing.workflows import spans_of_workflow, workflow_of

__all__ = ["DEPTH", "PAGE", "graph_of_run", "spelled_duration"]

PAGE: Final = 240
"""Boxes that a picture of a run may have."""

DEPTH: Final = 30
"""Calls below each other that a picture of a run may show."""

_TANGLE: Final = 6  # lines between two sets of boxes from which on they meet in a point


def graph_of_run(records: Sequence[Record]) -> Graph:
    """Return the calls of a run as a graph, from its records so far."""
    history = history_of(records)
    if not history.calls:
        return Graph(title="A run without records", note="0 calls")
    workflow = workflow_of(history)
    root = Span((), history.calls[0].task, "", history.calls[:1])
    nodes: list[GraphNode] = []
    edges: list[Edge] = []
    waiting = deque([(root, 1)])
    planned = 1
    while waiting:
        span, depth = waiting.popleft()
        if workflow is not None and span is root:
            below = spans_of_workflow(workflow, history)
        else:
            below = _bundled(span, depth, PAGE - planned)
        planned += len(below)
        waiting.extend((one, depth + 1) for one in below)
        nodes.append(_node(span, shown=bool(below)))
        points, lines = _connected(span, below)
        nodes.extend(points)
        edges.extend(lines)
    tally = tally_of(call.state for call in history.calls)
    return Graph(
        title=history.calls[0].task,
        nodes=nodes,
        edges=edges,
        note=spelled(len(history.calls), "call", tally),
    )


def _bundled(span: Span, depth: int, room: int) -> list[Span]:
    """Return what the calls of a span asked for, if it fits on the page."""
    if depth >= DEPTH or room <= 0:
        return []
    found = bundle(span.calls)
    return found if len(found) <= room else []


def _connected(parent: Span, below: Sequence[Span]) -> tuple[list[GraphNode], list[Edge]]:
    """Return the lines to what a call asked for, and the points where many of them meet."""
    points: list[GraphNode] = []
    edges: list[Edge] = []
    stages: dict[tuple[tuple[str, Link], ...], list[str]] = {}
    for span in below:
        before = tuple((_id(one), link) for one, link in span.before)
        stages.setdefault(before, []).append(_id(span))
    for before, after in stages.items():
        if not before:
            edges += [Edge(_id(parent), target, Link.ASKS) for target in after]
            continue
        plain = all(link is Link.THEN for _, link in before)
        if plain and min(len(before), len(after)) > 1 and len(before) * len(after) >= _TANGLE:
            point = GraphNode(id=f"|then {after[0]}", label="", count=0)
            points.append(point)
            edges += [Edge(source, point.id, Link.THEN) for source, _ in before]
            before = ((point.id, Link.THEN),)
        edges += [Edge(source, one, link) for source, link in before for one in after]
    return points, edges


def _id(span: Span) -> str:
    """Return the identity of a span's first call, which is in no other span."""
    return span.calls[0].id


def _node(span: Span, *, shown: bool) -> GraphNode:
    calls = span.calls
    below = sum(call.size - 1 for call in calls)
    hidden = "" if shown or not below else f"{below:,} more below"
    failed = sum(call.failures - (call.state is State.FAILED) for call in calls)
    if hidden and failed:
        hidden += f", {failed:,} failed"
    if len(calls) == 1:
        told = [part for part in (*_told(calls[0]), hidden) if part]
        label = _label(span)
        return GraphNode(id=_id(span), label=label, detail=" · ".join(told), state=calls[0].state)
    tally = tally_of(call.state for call in calls)
    return GraphNode(
        id=_id(span),
        label=_label(span),
        detail=hidden,
        state=tally[0][0] if tally else None,
        count=len(calls),
        tally=tally,
    )


def _label(span: Span) -> str:
    if not span.task:
        return f"{len({call.task for call in span.calls}):,} other tasks"
    place = span.place.replace("[]", "").strip("/")
    if place == "undo":
        return f"undo {span.task}"
    return f"{place}: {span.task}" if place and place != span.task else span.task


def _told(call: DrawnCall) -> list[str]:
    """Return what is worth knowing of one call, the important first."""
    told = [call.note]
    if call.attempt > 1:
        told.append(f"attempt {call.attempt}")
    if call.agent:
        told.append(f"by {call.agent}")
    if call.took is not None and call.state is State.DONE:
        told.append(spelled_duration(call.took))
    return told


def spelled_duration(duration: timedelta) -> str:
    """Return a duration in two figures or so: 8 ms, 1.2 s, 3 min 5 s, 2 h 10 min, 3 d 4 h."""
    seconds = max(duration.total_seconds(), 0.0)
    if seconds < 0.9995:
        return f"{seconds * 1000:.0f} ms"
    if seconds < 59.95:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 3600:
        return _two(whole // 60, "min", whole % 60, "s")
    if whole < 86_400:
        return _two(whole // 3600, "h", whole % 3600 // 60, "min")
    return _two(whole // 86_400, "d", whole % 86_400 // 3600, "h")


def _two(large: int, unit: str, small: int, part: str) -> str:
    return f"{large:,} {unit} {small} {part}" if small else f"{large:,} {unit}"
