"""SVG: a graph as one self-contained picture that follows the reader's light or dark mode.

Nothing is loaded and nothing runs: no script, no link, no font, no id that could clash with the
page around it. States are told by words and symbols as well as by colour; what had to be cut is
in the tool tip of its box.
"""

from __future__ import annotations

import math
from collections.abc import Container, Iterable, Iterator
from itertools import pairwise
from typing import Final

from astro.core.records import State
from astro.drawing.graph import Graph, GraphNode, Link
from astro.drawing.layout import Box, GraphTooLargeError, Layout, Route, lay_out
from astro.drawing.parts import Point
from astro.drawing.theme import FONT, LIGHT, STYLE, SYMBOLS
from astro.drawing.words import clip, escape, width_of

__all__ = ["to_svg"]

_MARGIN: Final = 20.0
_HEADER: Final = 52.0
_FOOTER: Final = 26.0
_LABEL: Final = 13.0  # font sizes
_CAPTION: Final = 11.0
_TITLE: Final = 16.0
_NARROWEST: Final = 112.0
_WIDEST: Final = 264.0
_PADDING: Final = 12.0
_SYMBOL: Final = 20.0  # a symbol and the space after it
_LIP: Final = 5.0  # what shows of the boxes behind the first
_BAR: Final = 10.0  # a bar of shares and the space above it
_WORDY: Final = 720.0  # what the line below the title may ask for
_POINT: Final = 6.0
_DASHES: Final = ' stroke-dasharray="5 4"'
_MAX_TIP: Final = 2_000


def to_svg(graph: Graph) -> str:
    """Return a graph as SVG; one that is too large as a notice that says so."""
    width = _box_width(graph.nodes)
    sizes = {node.id: _size(node, width) for node in graph.nodes}
    try:
        layout = lay_out(graph, sizes)
    except GraphTooLargeError as error:
        wide = max(width_of(line, _CAPTION) for line in (error.problem, error.remedy))
        return _document(graph, wide, 24.0, [_notice(error)])
    return _document(graph, layout.width, layout.height, _drawn(graph, layout))


def _document(graph: Graph, width: float, height: float, content: Iterable[str]) -> str:
    legend = _legend(graph)
    told = min(width_of(graph.summary, _CAPTION + 1), _WORDY)
    wide = max(width, 320.0, told, legend[1]) + 2 * _MARGIN
    high = height + _HEADER + (_FOOTER if legend[0] else 0.0) + 2 * _MARGIN
    left = (wide - width) / 2
    room = wide - 2 * _MARGIN
    size = f"{wide:.0f}", f"{high:.0f}"
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" class="astro-graph" role="img" '
        f'viewBox="0 0 {size[0]} {size[1]}" width="{size[0]}" height="{size[1]}" '
        f"font-family='{FONT}'>",
        f"<title>{escape(graph.title)}</title>",
        f"<desc>{escape(graph.summary)}</desc>",
        f"<style>{STYLE}</style>",
        f'<rect class="paper" width="{size[0]}" height="{size[1]}" rx="10" fill="{LIGHT.paper}"/>',
        _text(graph.title, _MARGIN, 36, room, _TITLE, bold=True),
        _text(graph.summary, _MARGIN, 56, room, _CAPTION + 1, faint=True),
        f'<g transform="translate({_n(left)} {_n(_MARGIN + _HEADER)})">',
        *content,
        "</g>",
    ]
    if legend[0]:
        parts.append(f'<g transform="translate({_n(_MARGIN)} {_n(high - 22)})">{legend[0]}</g>')
    return "\n".join([*parts, "</svg>"]) + "\n"


def _drawn(graph: Graph, layout: Layout) -> Iterator[str]:
    yield from _lines(layout.routes, {node.id for node in graph.nodes if node.is_point})
    for node, box in zip(graph.nodes, layout.boxes, strict=True):
        yield _point(box) if node.is_point else _box(node, box)


# --- Boxes ---------------------------------------------------------------------------------------


def _box_width(nodes: Iterable[GraphNode]) -> float:
    """Return one width for all boxes, as wide as their texts ask for, within limits."""
    widest = 0.0
    for node in nodes:
        symbol = _SYMBOL if node.state is not None else 0.0
        widest = max(
            widest,
            width_of(node.label[:80] + _times(node), _LABEL) + symbol,
            width_of(node.caption[:80], _CAPTION),
        )
    return math.ceil(min(max(widest + 2 * _PADDING, _NARROWEST), _WIDEST))


def _size(node: GraphNode, width: float) -> tuple[float, float]:
    return (_POINT, _POINT) if node.is_point else (width, _box_height(node))


def _box_height(node: GraphNode) -> float:
    height = 48.0 if node.caption else 36.0
    return height + (_BAR if len(node.tally) > 1 else 0.0) + (_LIP if node.count > 1 else 0.0)


def _times(node: GraphNode) -> str:
    return f" × {node.count:,}" if node.count > 1 else ""


def _box(node: GraphNode, box: Box) -> str:
    tone = LIGHT.tone(node.state)
    tip = "\n".join(part for part in (f"{node.label}{_times(node)}", node.caption) if part)
    height = box.height - (_LIP if node.count > 1 else 0.0)
    shape = f'width="{_n(box.width)}" height="{_n(height)}" rx="8" class="box" fill="{tone.fill}"'
    parts = [
        f'<g class="s-{node.state or "plain"}" color="{tone.line}" data-node="{escape(node.id)}" '
        f'transform="translate({_n(box.left)} {_n(box.top)})">',
        f"<title>{_lines_escaped(tip)}</title>",
    ]
    if node.count > 1:
        behind = f'width="{_n(box.width - 2 * _LIP)}" height="20" rx="8"'
        parts.append(
            f'<rect x="{_n(_LIP)}" y="{_n(box.height - 20)}" {behind} class="box" '
            f'fill="{tone.fill}" stroke="currentColor" stroke-opacity=".6"/>'
        )
    dashes = ' stroke-dasharray="4 3"' if node.state in (State.READY, State.CANCELLED) else ""
    parts.append(f'<rect {shape} stroke="currentColor" stroke-width="1.4"{dashes}/>')
    parts.extend(_inside(node, box))
    return "".join([*parts, "</g>"])


def _point(box: Box) -> str:
    return (
        f'<circle class="tip" fill="{LIGHT.edge}" r="{_n(_POINT / 2)}" '
        f'cx="{_n(box.middle)}" cy="{_n(box.top + _POINT / 2)}"/>'
    )


def _lines_escaped(tip: str) -> str:
    """Return a tool tip, which may have several lines, and more than fits the box but an end."""
    short = tip if len(tip) <= _MAX_TIP else tip[:_MAX_TIP] + "…"
    return "\n".join(escape(line) for line in short.split("\n"))


def _inside(node: GraphNode, box: Box) -> Iterator[str]:
    left, room = _PADDING, box.width - 2 * _PADDING
    if node.state is not None:
        yield (
            f'<path d="{SYMBOLS[node.state]}" transform="translate({_n(left - 1)} 9)" fill="none" '
            f'stroke="currentColor" stroke-width="1.8" stroke-linecap="round" '
            f'stroke-linejoin="round"/>'
        )
    symbol = _SYMBOL if node.state is not None else 0.0
    times = _times(node)
    label = clip(node.label, room - symbol - width_of(times, _LABEL), _LABEL) + times
    across = left + symbol
    yield _text(label, across, 20.5 if node.caption else 22.5, 1e9, _LABEL, bold=True)
    if node.caption:
        yield _text(node.caption, left, 37.5, room, _CAPTION, faint=True)
    if len(node.tally) > 1:
        yield from _shares(node, left, 46.0, room)


def _shares(node: GraphNode, left: float, top: float, room: float) -> Iterator[str]:
    """Draw how the calls of a box are spread over the states, each at least visible."""
    least = 3.0
    spare = room - least * len(node.tally)
    total = sum(number for _, number in node.tally)
    for state, number in node.tally:
        width = least + spare * number / total
        yield (
            f'<rect class="s-{state}" color="{LIGHT.tone(state).line}" x="{_n(left)}" '
            f'y="{_n(top)}" width="{_n(max(width - 1, 2))}" height="4" rx="1.5" '
            f'fill="currentColor"/>'
        )
        left += width


# --- Lines ---------------------------------------------------------------------------------------


def _lines(routes: Iterable[Route], points: Container[str]) -> Iterator[str]:
    """Draw all lines of a kind as one path; what lines share is drawn once."""
    paths: dict[Link, list[str]] = {}
    tips: dict[Point, None] = {}
    drawn: set[tuple[Link, Point, Point]] = set()
    for route in routes:
        link = route.edge.link
        paths.setdefault(link, []).append(_path(route, drawn))
        if route.edge.target not in points:
            tips[route.points[-1]] = None
    for link, path in paths.items():
        dashes = _DASHES if link is Link.THEN else ""
        yield (
            f'<path class="line" fill="none" stroke="{LIGHT.edge}" stroke-width="1.4"{dashes} '
            f'd="{"".join(path)}"/>'
        )
    if tips:
        heads = "".join(f"M{_n(x - 4)} {_n(y - 7)}h8l-4 7z" for x, y in tips)
        yield f'<path class="tip" fill="{LIGHT.edge}" d="{heads}"/>'


def _path(route: Route, drawn: set[tuple[Link, Point, Point]]) -> str:
    parts, pen = [], None
    points = route.points
    for index, (start, end) in enumerate(pairwise(points)):
        key = (route.edge.link, start, end)
        if key in drawn or start == end:
            continue
        drawn.add(key)
        if pen != start:
            parts.append(f"M{_n(start[0])} {_n(start[1])}")
        pen = end
        if index % 2 == 0:
            parts.append(f"V{_n(end[1])}")
        else:
            half = (start[1] + end[1]) / 2
            parts.append(
                f"C{_n(start[0])} {_n(half)} {_n(end[0])} {_n(half)} {_n(end[0])} {_n(end[1])}"
            )
    return "".join(parts)


# --- Words around --------------------------------------------------------------------------------


def _legend(graph: Graph) -> tuple[str, float]:
    """Return what the kinds of lines mean, and how wide that is; nothing if it is plain."""
    found = {edge.link for edge in graph.edges}
    if found <= {Link.ASKS} or found <= {Link.GIVES}:
        return "", 0.0
    solid = " or ".join(link.value for link in Link if link in found and link is not Link.THEN)
    parts, left = [], 0.0
    for words, dashes in ((solid, ""), (Link.THEN.value, _DASHES)):
        if not words:
            continue
        parts.append(
            f'<path class="line" fill="none" stroke="{LIGHT.edge}" stroke-width="1.4"{dashes} '
            f'd="M{_n(left)} 0h22"/><path class="tip" fill="{LIGHT.edge}" '
            f'd="M{_n(left + 21)} -4v8l7 -4z"/>'
        )
        parts.append(_text(words, left + 35, 4, 1e9, _CAPTION, faint=True))
        left += 35 + width_of(words, _CAPTION) + 24
    return "".join(parts), left


def _notice(error: GraphTooLargeError) -> str:
    return _text(error.problem, 0, 6, 1e9, _CAPTION) + _text(
        error.remedy, 0, 22, 1e9, _CAPTION, faint=True
    )


def _text(
    text: str,
    x: float,
    y: float,
    room: float,
    size: float,
    *,
    bold: bool = False,
    faint: bool = False,
) -> str:
    colour = LIGHT.faint if faint else LIGHT.ink
    weight = ' font-weight="600"' if bold else ""
    return (
        f'<text class="{"faint" if faint else "ink"}" x="{_n(x)}" y="{_n(y)}" '
        f'font-size="{_n(size)}"{weight} fill="{colour}">{escape(clip(text, room, size))}</text>'
    )


def _n(number: float) -> str:
    """Return a number in as few characters as a tenth of a pixel takes."""
    return f"{number:.1f}".removesuffix(".0")
