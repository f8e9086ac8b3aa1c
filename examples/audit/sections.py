"""Sections of the page: each says one thing of the tree in words, and shows it. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

from examples.audit.markup import Content, Markup, element
from examples.audit.pictures import STEPS, Bar, bars, columns, tree_map
from examples.audit.summary import EXCESS, simple_share
from examples.audit.syntax import COMPLEX
from examples.audit.values import KINDS, Change, Comparison, Finding, Kind, TreeSummary
from examples.audit.wording import EXPLAINED, day, percent, tally

__all__ = [
    "changes",
    "complexity",
    "documentation",
    "findings",
    "kinds",
    "problems",
    "tree",
    "worst",
]

_PACKAGES: Final = 20  # packages with a bar of their own
_LISTED: Final = 8  # changed files that are named
_GRAVE: Final = 3  # kinds of findings, the first ones, that are shown as bad
_SQUARE: Final = 11  # pixels of a colour in a key


def tree(summary: TreeSummary) -> Markup:
    """Return the map of the tree with its key."""
    steps = [*(f"up to {step}" for step in STEPS), f"above {STEPS[-1]}"]
    key = element("ul", *(_shade(at, step) for at, step in enumerate(steps)), class_="key")
    return _section(
        "Where the code is",
        "Each field is a file, as large as its lines of code; the warmer its colour, the more "
        "complex its most complex function.",
        tree_map(summary, name="map", title="Map of the tree"),
        key,
    )


def _shade(at: int, text: str) -> Markup:
    field = element("rect", width=_SQUARE, height=_SQUARE, rx=2, class_=f"shade-{at}")
    square = element("svg", field, width=_SQUARE, height=_SQUARE, aria_hidden="true")
    return element("li", square, text)


def complexity(summary: TreeSummary) -> Markup:
    """Return how complex functions are."""
    return _section(
        "How complex it is",
        f"{percent(simple_share(summary.distribution))} of the functions have a complexity of at "
        f"most {EXCESS}, about what a reader can hold in mind.",
        columns(summary.distribution, name="complexity", title="Functions by complexity"),
    )


def documentation(summary: TreeSummary) -> Markup:
    """Return how well the largest packages are documented."""
    largest = sorted(summary.packages, key=lambda each: -each.documentable)[:_PACKAGES]
    rows = [
        Bar(
            label=each.name,
            length=each.documentation or 0.0,
            shown=f"{percent(each.documentation)} of {each.documentable:,}",
            tone=_tone(each.documentation),
        )
        for each in sorted(largest, key=lambda each: -(each.documentation or 0.0))
    ]
    return _section(
        "How well it is documented",
        "Share of modules, public classes and public functions with a docstring, by package; the "
        f"{len(rows)} with the most of them."
        if len(summary.packages) > len(rows)
        else "Share of modules, public classes and public functions with a docstring, by package.",
        bars(rows, name="documentation", title="Documentation by package"),
    )


def _tone(part: float | None) -> str:
    if part is None or 0.4 <= part < 0.8:
        return "plain"
    return "good" if part >= 0.8 else "bad"


def worst(summary: TreeSummary) -> Markup:
    """Return the functions that most deserve to be taken apart."""
    if not summary.worst:
        return _section("The most complex functions", "No function is complex enough to be named.")
    highest = summary.worst[0].complexity
    rows = [
        Bar(
            label=f"{each.path} · {each.name}",
            length=each.complexity / highest,
            shown=str(each.complexity),
            tone="bad" if each.complexity > COMPLEX else "plain",
        )
        for each in summary.worst
    ]
    return _section(
        "The most complex functions",
        "McCabe’s number: how many independent paths lead through a function, and so how many "
        "tests it takes to see them all.",
        bars(rows, name="worst", title="The most complex functions"),
    )


def kinds(summary: TreeSummary) -> Markup:
    """Return how many findings there are of each kind."""
    highest = max(1, *summary.kinds)
    rows = [
        Bar(
            label=kind.capitalize(),
            length=count / highest,
            shown=f"{count:,}",
            tone="bad" if at < _GRAVE else "plain",
        )
        for at, (kind, count) in enumerate(zip(KINDS, summary.kinds, strict=True))
    ]
    return _section(
        "What deserves a look",
        "Findings by kind, the gravest first. Each is a reason to look, not a verdict.",
        bars(rows, name="kinds", title="Findings by kind"),
    )


def findings(summary: TreeSummary) -> Markup:
    """Return where the findings are, one fold per kind."""
    folds = [
        _fold(kind, count, [each for each in summary.findings if each.kind == kind])
        for kind, count in zip(KINDS, summary.kinds, strict=True)
        if count
    ]
    text = "Open a kind to see where." if folds else "Nothing was found."
    return _section("Findings", text, *folds, id="findings")


def _fold(kind: Kind, count: int, listed: Sequence[Finding]) -> Markup:
    more = f" {len(listed)} of {count:,} are listed." if count > len(listed) else ""
    name = element("span", kind.capitalize())
    rows = ((f"{each.path}:{each.line}", each.place, each.text) for each in listed)
    return element(
        "details",
        element("summary", name, element("span", f"{count:,}", class_="count")),
        _table(EXPLAINED[kind] + more, ("Where", "In", "What"), rows),
    )


def changes(comparison: Comparison) -> Markup:
    """Return what has changed since the previous audit."""
    lists = [
        _changed("Better", comparison.improved),
        _changed("Worse", comparison.worse),
        _named("New", comparison.added),
        _named("Gone", comparison.removed),
    ]
    shown = [each for each in lists if each is not None]
    pair = element("div", *shown, class_="pair") if shown else None
    return _section(f"Since {day(comparison.since)}", tally(comparison), pair)


def _changed(title: str, listed: Sequence[Change]) -> Markup | None:
    items = [
        element("li", element("code", each.path), element("span", each.text)) for each in listed
    ]
    return _listed(title, items)


def _named(title: str, paths: Sequence[str]) -> Markup | None:
    return _listed(title, [element("li", element("code", path)) for path in paths])


def _listed(title: str, items: Sequence[Markup]) -> Markup | None:
    if not items:
        return None
    rest = len(items) - _LISTED
    more = element("li", f"and {rest:,} more", class_="quiet") if rest > 0 else None
    shown = element("ul", *items[:_LISTED], more, class_="changes")
    return element("section", element("h3", title), shown)


def problems(summary: TreeSummary) -> Markup:
    """Return which files could not be analysed, and why."""
    rows = [(each.path, each.problem) for each in summary.problems]
    rows += [(each.path, each.reason) for each in summary.skipped]
    return _section(
        "Not analysed",
        "These could not be read, or are not source of this version of Python. They count as files "
        "and nowhere else.",
        _table("", ("File", "Reason"), rows),
    )


def _table(caption: str, heads: Sequence[str], rows: Iterable[Sequence[str]]) -> Markup:
    table = element(
        "table",
        element("caption", caption) if caption else None,
        element("thead", element("tr", *(element("th", head, scope="col") for head in heads))),
        element("tbody", *(_row(cells) for cells in rows)),
    )
    # What scrolls sideways must be reachable without a mouse.
    return element("div", table, class_="scroll", tabindex=0, role="group", aria_label="Table")


def _row(cells: Sequence[str]) -> Markup:
    first, *rest = cells
    return element(
        "tr", element("td", element("code", first)), *(element("td", each) for each in rest)
    )


def _section(title: str, text: str, *content: Content, id: str | None = None) -> Markup:
    return element("section", element("h2", title), element("p", text), *content, id=id)
