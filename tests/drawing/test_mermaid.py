"""Mermaid gets a flowchart whose labels stay labels."""

from __future__ import annotations

import html
import json
import re

from hypothesis import given
from hypothesis import strategies as st

from astro import State
from astro.drawing import Edge, Graph, GraphNode, Link, to_mermaid
from tests.drawing.journal import graph

NODE = re.compile(r'    n(\d+)\["((?:[^"#;<]|#\d+;|<br/>)*)"\]:::state_(\w+)')
LINE = re.compile(r"    n\d+ (-->|-\.->) n\d+")
CLASS = re.compile(r"    classDef state_\w+ [\w:#,. -]+")
POINT = re.compile(r"    n\d+\(\( \)\)")


def decoded(label: str) -> list[str]:
    """Return the lines of a label as Mermaid shows them."""
    return [html.unescape(line.replace("#", "&#")) for line in label.split("<br/>")]


def labels(text: str) -> list[list[str]]:
    return [decoded(match[2]) for match in NODE.finditer(text)]


def assert_well_formed(text: str) -> None:
    """Check that every line is one of the few that we write."""
    head, title, foot, kind, *rest = text.splitlines()
    assert (head, foot, kind) == ("---", "---", "flowchart TD")
    assert isinstance(json.loads(title.removeprefix("title: ")), str)
    forms = (NODE, LINE, CLASS, POINT)
    assert [line for line in rest if not any(form.fullmatch(line) for form in forms)] == []


def test_a_graph_is_a_flowchart() -> None:
    nodes = [
        GraphNode(id="a", label="draft", state=State.DONE),
        GraphNode(id="b", label="", count=0),
        GraphNode(id="c", label="check", count=12),
    ]
    edges = [Edge("a", "b", Link.THEN), Edge("b", "c")]
    text = to_mermaid(Graph(title="article", nodes=nodes, edges=edges))
    assert_well_formed(text)
    assert text.splitlines()[4:9] == [
        '    n0["draft<br/>done"]:::state_done',
        "    n1(( ))",
        '    n2["check × 12"]:::state_none',
        "    n0 -.-> n1",
        "    n1 --> n2",
    ]


def test_words_of_mermaid_stay_words() -> None:
    hostile = 'end"]; click n0 "javascript:alert(1)" %%{init: {}}%% `**x**` #quot; <img src=x> 1. a'
    text = to_mermaid(Graph(title=hostile, nodes=[GraphNode(id="a", label=hostile)]))
    assert_well_formed(text)
    assert labels(text) == [[hostile]]


@given(st.text(max_size=80), st.sampled_from([None, *State]))
def test_any_text_gives_a_well_formed_flowchart(text: str, state: State | None) -> None:
    node = GraphNode(id=text, label=text, detail=text, state=state)
    assert_well_formed(to_mermaid(Graph(title=text, nodes=[node])))


def test_more_edges_than_mermaid_draws_give_a_notice() -> None:
    text = to_mermaid(graph(502, [(n, n + 1) for n in range(501)]))
    assert_well_formed(text)
    assert labels(text)[0][0] == "Too large for Mermaid: 502 boxes, 501 lines"


def test_more_text_than_mermaid_reads_gives_a_notice() -> None:
    nodes = [GraphNode(id=str(n), label="x" * 100) for n in range(500)]
    assert len(to_mermaid(Graph(title="", nodes=nodes))) < 1_000


def test_a_site_may_have_other_limits() -> None:
    drawn = graph(502, [(n, n + 1) for n in range(501)])
    assert len(labels(to_mermaid(drawn, max_edges=1_000, max_characters=10**6))) == 502
