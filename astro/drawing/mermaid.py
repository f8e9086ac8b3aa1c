"""Mermaid: a graph as a flowchart in the text format that Git hosts and notebooks draw.

Nodes are numbered, and every character of a label that could mean something to Mermaid, to
Markdown or to HTML is written as its number, so that a label stays a label.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Final

from astro.core.records import State
from astro.drawing.graph import Graph, GraphNode, Link
from astro.drawing.theme import LIGHT
from astro.drawing.words import clean

__all__ = ["to_mermaid"]

_ARROWS: Final = {Link.ASKS: "-->", Link.GIVES: "-->", Link.THEN: "-.->"}
_MAX_LABEL: Final = 120  # characters of a line in a box


def to_mermaid(graph: Graph, *, max_edges: int = 500, max_characters: int = 50_000) -> str:
    """Return a graph as a Mermaid flowchart.

    Mermaid refuses to draw what is larger than its site allows; the flowchart then has a single
    box that says so.

    Args:
        max_edges: `maxEdges` of the site; Mermaid's own default.
        max_characters: `maxTextSize` of the site; Mermaid's own default.
    """
    text = "\n".join(_lines(graph)) + "\n"
    if len(graph.edges) <= max_edges and len(text) <= max_characters:
        return text
    told = GraphNode(
        id="",
        label=f"Too large for Mermaid: {len(graph.nodes):,} boxes, {len(graph.edges):,} lines",
        detail="Draw it as SVG, or raise the limits of the site and of to_mermaid().",
    )
    return "\n".join(_lines(Graph(title=graph.title, nodes=(told,)))) + "\n"


def _lines(graph: Graph) -> Iterator[str]:
    yield from ("---", f"title: {_yaml(graph.title)}", "---", "flowchart TD")
    number = {node.id: index for index, node in enumerate(graph.nodes)}
    for node in graph.nodes:
        style = f"state_{node.state or 'none'}"
        if node.is_point:
            yield f"    n{number[node.id]}(( ))"
            continue
        yield f'    n{number[node.id]}["{_label(node)}"]:::{style}'
    for edge in graph.edges:
        yield f"    n{number[edge.source]} {_ARROWS[edge.link]} n{number[edge.target]}"
    for state in dict.fromkeys(node.state for node in graph.nodes if not node.is_point):
        yield f"    classDef state_{state or 'none'} {_style(state)}"


def _label(node: GraphNode) -> str:
    times = f" × {node.count:,}" if node.count > 1 else ""
    lines = [_short(node.label) + times, _short(node.caption)]
    return "<br/>".join(_encoded(line) for line in lines if line) or "#160;"


def _short(text: str) -> str:
    text = clean(text)
    return text if len(text) <= _MAX_LABEL else text[: _MAX_LABEL - 1] + "…"


def _encoded(text: str) -> str:
    return "".join(
        one if one.isalnum() or one in " ,·×…" or ord(one) > 0xFFFF else f"#{ord(one)};"
        for one in text
    )


def _yaml(title: str) -> str:
    """Return a title as YAML: JSON is a part of it."""
    return json.dumps(_short(title) or " ", ensure_ascii=False)


def _style(state: State | None) -> str:
    tone = LIGHT.tone(state)
    dashes = ",stroke-dasharray:4 3" if state in (State.READY, State.CANCELLED) else ""
    return f"fill:{tone.fill},stroke:{tone.line},color:{LIGHT.ink}{dashes}"
