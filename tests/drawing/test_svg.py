"""SVG is valid, self-contained, accessible, and shows hostile text as text."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from astro import State
from astro.drawing import Edge, Graph, GraphNode, Link, to_svg
from astro.drawing.theme import DARK, LIGHT, STYLE, SYMBOLS, Theme
from astro.drawing.words import clip, width_of
from tests.drawing.journal import graph, random_pairs

SVG = "{http://www.w3.org/2000/svg}"


def parsed(drawn: Graph) -> ET.Element:
    return ET.fromstring(to_svg(drawn))


def boxes(root: ET.Element) -> list[ET.Element]:
    return [one for one in root.iter(f"{SVG}g") if "data-node" in one.attrib]


def one(**fields: object) -> Graph:
    return Graph(title="one", nodes=[GraphNode(**({"id": "a", "label": "a"} | fields))])  # type: ignore[arg-type] # fields by name


def texts(element: ET.Element) -> list[str]:
    return [text.text or "" for text in element.iter(f"{SVG}text")]


# --- What it says --------------------------------------------------------------------------------


def test_it_is_an_image_with_a_title_and_a_description() -> None:
    root = parsed(graph(2, [(0, 1)]))
    assert root.attrib["role"] == "img"
    assert [child.tag for child in root][:2] == [f"{SVG}title", f"{SVG}desc"]
    assert (root[0].text, root[1].text) == ("numbers", "2 nodes")


def test_it_scales() -> None:
    root = parsed(graph(2, [(0, 1)]))
    width, height = root.attrib["width"], root.attrib["height"]
    assert root.attrib["viewBox"] == f"0 0 {width} {height}"
    assert "max-width:100%" in STYLE


@pytest.mark.parametrize("state", State)
def test_a_state_is_told_by_word_symbol_and_colour(state: State) -> None:
    (box,) = boxes(parsed(one(state=state)))
    assert box.attrib["class"] == f"s-{state}"
    assert box.attrib["color"] == LIGHT.tones[state].line
    assert state.value in texts(box)
    assert SYMBOLS[state] in [path.attrib["d"] for path in box.iter(f"{SVG}path")]


def test_symbols_differ_from_state_to_state() -> None:
    assert len(set(SYMBOLS.values())) == len(State)


def test_a_bundle_shows_its_number_and_its_shares() -> None:
    tally = ((State.FAILED, 1), (State.DONE, 811))
    (box,) = boxes(parsed(one(label="analyse", count=812, tally=tally, state=State.FAILED)))
    assert texts(box) == ["analyse × 812", "1 failed, 811 done"]
    shares = [r for r in box.iter(f"{SVG}rect") if r.attrib.get("class", "").startswith("s-")]
    assert [share.attrib["class"] for share in shares] == ["s-failed", "s-done"]
    assert all(float(share.attrib["width"]) >= 2 for share in shares)


def test_what_is_cut_is_whole_in_the_tool_tip() -> None:
    long = "a very long name of a task " * 4
    (box,) = boxes(parsed(one(label=long.strip(), state=State.DONE)))
    assert texts(box)[0].endswith("…")
    assert next(box.iter(f"{SVG}title")).text == f"{long.strip()}\ndone"


def test_a_tool_tip_has_an_end() -> None:
    assert len(to_svg(one(label="x" * 1_000_000))) < 20_000


def test_dashed_lines_are_explained() -> None:
    nodes = [GraphNode(id=one, label=one) for one in "abc"]
    edges = [Edge("a", "b"), Edge("b", "c", Link.THEN)]
    assert {"asks for", "comes before"} <= set(
        texts(parsed(Graph(title="", nodes=nodes, edges=edges)))
    )


def test_a_point_is_no_box() -> None:
    nodes = [GraphNode(id="a", label="a"), GraphNode(id="b", label="", count=0)]
    root = parsed(Graph(title="", nodes=nodes, edges=[Edge("a", "b", Link.THEN)]))
    assert len(boxes(root)) == 1
    assert len(list(root.iter(f"{SVG}circle"))) == 1


def test_a_graph_that_is_too_large_is_a_notice() -> None:
    root = parsed(graph(6_001, []))
    assert any("too large to draw: 6,001 nodes" in text for text in texts(root))
    assert boxes(root) == []


def test_an_empty_graph_is_a_picture_too() -> None:
    assert "nothing" in texts(parsed(Graph(title="nothing")))


def test_it_is_always_the_same() -> None:
    drawn = graph(50, random_pairs(50, 80))
    assert to_svg(drawn) == to_svg(drawn)


@pytest.mark.slow
def test_two_thousand_nodes_are_valid() -> None:
    assert len(boxes(parsed(graph(2_000, random_pairs(2_000, 3_000))))) == 2_000


# --- Self-contained ------------------------------------------------------------------------------


def test_nothing_is_loaded_and_nothing_runs() -> None:
    text = to_svg(one(label="<script>alert(1)</script>", id="javascript:alert(1)"))
    root = ET.fromstring(text)
    assert {node.tag.removeprefix(SVG) for node in root.iter()} <= {
        *("svg", "title", "desc", "style", "rect", "g", "path", "text", "circle"),
    }
    names = {name for node in root.iter() for name in node.attrib}
    assert not {name for name in names if name.startswith("on") or "href" in name}
    assert "url(" not in text
    assert "@import" not in text


def test_no_id_can_clash_with_the_page() -> None:
    assert not [node for node in parsed(graph(3, [(0, 1)])).iter() if "id" in node.attrib]


def test_the_style_sheet_touches_nothing_but_the_picture() -> None:
    rules = re.findall(
        r"([^{}]+)\{[^{}]*\}", STYLE.replace("@media (prefers-color-scheme:dark){", "")
    )
    assert rules
    assert all(rule.strip().startswith(".astro-graph") for rule in rules)


def test_without_the_style_sheet_the_colours_are_those_of_light_mode() -> None:
    text = re.sub("<style>.*</style>", "", to_svg(one(state=State.FAILED)))
    tone = LIGHT.tones[State.FAILED]
    assert f'fill="{tone.fill}"' in text
    assert f'color="{tone.line}"' in text


# --- Colours -------------------------------------------------------------------------------------


def luminance(colour: str) -> float:
    parts = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    linear = [p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one: str, other: str) -> float:
    dark, light = sorted([luminance(one), luminance(other)])
    return (light + 0.05) / (dark + 0.05)


def pairs(theme: Theme) -> Iterator[tuple[str, str, float]]:
    for tone in (theme.plain, *theme.tones.values()):
        yield theme.ink, tone.fill, 7.0
        yield theme.faint, tone.fill, 4.5
        yield tone.line, tone.fill, 3.0
        yield tone.line, theme.paper, 3.0
    yield theme.ink, theme.paper, 7.0
    yield theme.faint, theme.paper, 4.5
    yield theme.edge, theme.paper, 3.0


@pytest.mark.parametrize("theme", [LIGHT, DARK], ids=["light", "dark"])
def test_everything_can_be_told_from_what_is_behind_it(theme: Theme) -> None:
    assert [pair for pair in pairs(theme) if contrast(*pair[:2]) < pair[2]] == []


# --- Hostile text --------------------------------------------------------------------------------

HOSTILE = [
    "<script>alert(1)</script>",
    "\"quotes\" and 'apostrophes' & entities &lt; &#0;",
    "\x00\x07\x1b[31m\x7f\x9b",
    "\u202egnp.exe\u202c \u2066isolated\u2069 \ufeff",
    "مرحبا بالعالم",
    "漢字" * 50,
    "a" + "\u0301" * 1_000,
    "]]> --> <!-- <![CDATA[",
    "\ud800 lone \udfff",
    "line\r\nline\ttab\u2028end",
    "\ufffe\uffff\ufdd0",
    "",
]


@pytest.mark.parametrize("text", HOSTILE, ids=range(len(HOSTILE)))
def test_hostile_text_stays_text_everywhere(text: str) -> None:
    nodes = [GraphNode(id=text, label=text, detail=text, state=State.FAILED)]
    written = to_svg(Graph(title=text, nodes=nodes))
    assert len(boxes(ET.fromstring(written.encode()))) == 1
    assert not re.search("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ufeff]", written)


@given(st.text(st.characters(), max_size=60), st.sampled_from([None, *State]))
def test_any_text_gives_valid_xml(text: str, state: State | None) -> None:
    nodes = [GraphNode(id=text, label=text, detail=text[::-1], state=state, count=3)]
    assert len(boxes(ET.fromstring(to_svg(Graph(title=text, nodes=nodes)).encode()))) == 1


@given(st.text(max_size=80), st.floats(40, 400))
def test_cut_text_fits(text: str, room: float) -> None:
    assert width_of(clip(text, room, 13.0), 13.0) <= room + 13.0


def test_marks_do_not_pile_up() -> None:
    assert len(clip("a" + "\u0301" * 1_000, 100.0, 13.0)) == 5
