"""Pictures: inline SVG that needs nothing from outside and takes its colours from the page.

Widths are percentages, so that a picture fits every screen while its text keeps its size. Each
picture has a title and a description that says in words what it shows. Pure.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import attrs

from examples.audit.markup import Markup, element, joined
from examples.audit.summary import BUCKETS, EXCESS, bucket_names, grouped
from examples.audit.treemap import Box, laid_out
from examples.audit.values import FileScore, TreeSummary

__all__ = ["STEPS", "Bar", "bars", "columns", "tree_map"]

STEPS: Final = (5, EXCESS, 20, 30)
"""The highest complexity of each shade of the map; one more shade holds all the rest."""

_ROW: Final = 38  # pixels of a bar with its label
_TALL: Final = 220  # pixels of the columns
_FOOT: Final = 44  # pixels below the columns, for their names
_WIDE, _HIGH = 1000.0, 460.0  # the map's layout; its width is then a percentage
_CELLS: Final = 1_200  # files that the map shows one by one
_LABEL: Final = 46  # characters of a label


@attrs.frozen(kw_only=True)
class Bar:
    """One row of a picture of bars.

    Attributes:
        length: Share of the full width, 0 to 1.
        shown: The value, as people read it.
        tone: Class of the bar: `good`, `plain` or `bad`.
    """

    label: str
    length: float
    shown: str
    tone: str = "plain"


def bars(rows: Sequence[Bar], *, name: str, title: str) -> Markup:
    """Return horizontal bars, each below its label."""
    return _picture(
        *(_bar(at * _ROW, row) for at, row in enumerate(rows)),
        name=name,
        title=title,
        description="; ".join(f"{row.label}: {row.shown}" for row in rows),
        height=_ROW * len(rows),
    )


def _bar(top: int, row: Bar) -> Markup:
    width = f"{100 * max(0.0, min(1.0, row.length)):.2f}%"
    return element(
        "g",
        element("title", f"{row.label}: {row.shown}"),
        element("text", _short(row.label), x=0, y=top + 15, class_="label"),
        element("text", row.shown, x="100%", y=top + 15, class_="value", text_anchor="end"),
        element("rect", class_="track", x=0, y=top + 22, width="100%", height=6, rx=3),
        element("rect", class_=row.tone, x=0, y=top + 22, width=width, height=6, rx=3),
    )


def columns(counts: Sequence[int], *, name: str, title: str) -> Markup:
    """Return the distribution of complexity as columns."""
    names = bucket_names()
    highest, total = max(counts, default=0), sum(counts)
    step = 100 / len(names)
    drawn: list[Markup] = []
    for at, (label, count) in enumerate(zip(names, counts, strict=True)):
        tall = max(2.0, (_TALL - 24) * count / highest) if count else 0.0
        bad = at > 0 and BUCKETS[at - 1] >= EXCESS
        middle = f"{step * (at + 0.5):.2f}%"
        drawn.append(
            element(
                "g",
                element("title", f"complexity {label}: {count:,} of {total:,} functions"),
                element(
                    "rect",
                    class_="bad" if bad else "plain",
                    x=f"{step * at + step * 0.1:.2f}%",
                    y=_TALL - tall,
                    width=f"{step * 0.8:.2f}%",
                    height=tall,
                    rx=2,
                ),
                _centred(f"{count:,}", middle, _TALL - tall - 7, "value"),
                _centred(label, middle, _TALL + 18, "label"),
            )
        )
    base = element("line", class_="axis", x1=0, x2="100%", y1=_TALL, y2=_TALL)
    foot = _centred("complexity of a function", "50%", _TALL + 40, "quiet")
    said = "; ".join(f"{label}: {count:,}" for label, count in zip(names, counts, strict=True))
    return _picture(
        *drawn, base, foot, name=name, title=title, description=said, height=_TALL + _FOOT
    )


def tree_map(summary: TreeSummary, *, name: str, title: str) -> Markup:
    """Return the tree as a map: one field per file, as large as its code, shaded by complexity."""
    found = _shown(summary.files)
    order = sorted(found, key=lambda each: -sum(file.code for file in found[each]))
    sizes = [sum(file.code for file in found[each]) for each in order]
    drawn: list[Markup] = []
    labels: list[Markup] = []
    for package, outer in zip(order, laid_out(sizes, Box(0, 0, _WIDE, _HIGH)), strict=True):
        files = sorted(found[package], key=lambda file: -file.code)
        drawn += map(_field, files, laid_out([file.code for file in files], outer))
        drawn.append(element("rect", class_="border", **_placed(outer)))
        if outer.width > 9 * len(package) + 12 and outer.height > 22:
            # A picture of its own, so that on a narrow screen the label ends with its package.
            label = element("text", package, class_="place", x=6, y=16)
            labels.append(element("svg", label, class_="clip", **_placed(outer)))
    largest = ", ".join(
        f"{each} {size:,}" for each, size in list(zip(order, sizes, strict=True))[:12]
    )
    said = f"Lines of code by folder, the largest first: {largest}."
    return _picture(
        *drawn, *labels, name=name, title=title, description=said, height=int(_HIGH), kind="map"
    )


def _shown(files: Sequence[FileScore]) -> dict[str, list[FileScore]]:
    """Return the largest files by package, and the rest as one."""
    ranked = sorted((file for file in files if file.code), key=lambda file: -file.code)
    found = grouped(ranked[:_CELLS])
    rest = ranked[_CELLS:]
    if rest:
        merged = attrs.evolve(
            rest[0],
            path=f"{len(rest):,} smaller files",
            code=sum(file.code for file in rest),
            complexity=max(file.complexity for file in rest),
        )
        found["smaller files"] = [merged]
    return found


def _field(file: FileScore, box: Box) -> Markup:
    shade = sum(file.complexity > step for step in STEPS)
    said = f"{file.path}: {file.code:,} lines of code, highest complexity {file.complexity}"
    return element("rect", element("title", said), class_=f"shade-{shade}", **_placed(box))


def _placed(box: Box) -> dict[str, str | float]:
    return {
        "x": f"{100 * box.x / _WIDE:.2f}%",
        "y": box.y,
        "width": f"{100 * box.width / _WIDE:.2f}%",
        "height": box.height,
    }


def _centred(text: str, x: str, y: float, kind: str) -> Markup:
    return element("text", text, x=x, y=y, class_=kind, text_anchor="middle")


def _picture(
    *content: Markup, name: str, title: str, description: str, height: int, kind: str = "chart"
) -> Markup:
    return element(
        "svg",
        element("title", title, id=f"{name}-title"),
        element("desc", description, id=f"{name}-text"),
        joined(*content),
        xmlns="http://www.w3.org/2000/svg",
        role="img",
        aria_labelledby=f"{name}-title {name}-text",
        class_=kind,
        width="100%",
        height=max(1, height),
    )


def _short(label: str) -> str:
    """Return a label that fits, with its end, which tells most of a path."""
    return label if len(label) <= _LABEL else f"…{label[1 - _LABEL :]}"
