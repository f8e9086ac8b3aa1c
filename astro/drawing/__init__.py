"""Drawing: runs and workflows as text that browsers and notebooks show, by pure functions.

`graph_of_run` makes a `Graph` of records, `graph_of_workflow` one of a workflow; `to_svg` and
`to_mermaid` turn one into text. Each loads when it is first asked for: most programs draw nothing.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from astro.drawing.graph import Edge, Graph, GraphNode, Link
    from astro.drawing.layout import GraphTooLargeError
    from astro.drawing.mermaid import to_mermaid
    from astro.drawing.runs import graph_of_run
    from astro.drawing.svg import to_svg
    from astro.drawing.workflows import graph_of_workflow

__all__ = [
    "Edge",
    "Graph",
    "GraphNode",
    "GraphTooLargeError",
    "Link",
    "graph_of_run",
    "graph_of_workflow",
    "to_mermaid",
    "to_svg",
]

_HOME = {
    "Edge": "graph",
    "Graph": "graph",
    "GraphNode": "graph",
    "GraphTooLargeError": "layout",
    "Link": "graph",
    "graph_of_run": "runs",
    "graph_of_workflow": "workflows",
    "to_mermaid": "mermaid",
    "to_svg": "svg",
}


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = globals()[name] = getattr(import_module(f"{__name__}.{_HOME[name]}"), name)
    return value
