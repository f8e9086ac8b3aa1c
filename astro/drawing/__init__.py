"""Drawing: runs and workflows as text that browsers and notebooks show, by pure functions.

`graph_of_run` makes a `Graph` of records, `graph_of_workflow` one of a workflow; `to_svg` and
`to_mermaid` turn one into text.
"""

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
