"""The page: one HTML file with its style and its pictures inside, that loads nothing. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from importlib.resources import files
from typing import Final

from examples.audit.markup import Markup, element
from examples.audit.sections import (
    changes,
    complexity,
    documentation,
    findings,
    kinds,
    problems,
    tree,
    worst,
)
from examples.audit.summary import EXCESS
from examples.audit.values import Comparison, Package, TreeSummary
from examples.audit.wording import day, percent

__all__ = ["write_page"]

# The page is complete: whatever a browser would load for it was not written by this module.
_POLICY: Final = "default-src 'none'; style-src 'unsafe-inline'"


def write_page(summary: TreeSummary, comparison: Comparison | None = None) -> str:
    """Return the page of an audit."""
    style = files(__package__).joinpath("page.css").read_text(encoding="utf-8")
    head = element(
        "head",
        element("meta", charset="utf-8"),
        element("meta", name="viewport", content="width=device-width, initial-scale=1"),
        element("meta", http_equiv="Content-Security-Policy", content=_POLICY),
        element("title", f"Audit of {summary.whole.name}"),
        element("style", Markup(style)),
    )
    body = element(
        "body",
        element("a", "Skip to the findings", class_="skip", href="#findings"),
        _header(summary, comparison.before if comparison else None),
        element("main", *_sections(summary, comparison)),
        _footer(),
    )
    return f"<!DOCTYPE html>\n{element('html', head, body, lang='en')}\n"


def _sections(summary: TreeSummary, comparison: Comparison | None) -> Iterator[Markup]:
    if summary.whole.code:
        yield tree(summary)
    if summary.whole.functions:
        yield element("div", complexity(summary), kinds(summary), class_="pair")
        yield element("div", worst(summary), documentation(summary), class_="pair")
    if comparison is not None:
        yield changes(comparison)
    yield findings(summary)
    if summary.problems or summary.skipped:
        yield problems(summary)


def _header(summary: TreeSummary, old: Package | None) -> Markup:
    whole = summary.whole
    mean = summary.mean_complexity
    figures = (
        ("files", f"{whole.files:,}", _grown(whole, old, "files")),
        ("lines of code", f"{whole.code:,}", _grown(whole, old, "code")),
        ("functions", f"{whole.functions:,}", _grown(whole, old, "functions")),
        ("mean complexity", "–" if mean is None else f"{mean:.1f}", None),
        ("documented", percent(whole.documentation), _shifted(whole, old, "documentation")),
        ("type hints", percent(whole.annotation), _shifted(whole, old, "annotation")),
        ("findings", f"{whole.findings:,}", _grown(whole, old, "findings", bad=True)),
    )
    rows = [
        element("div", element("dt", label), element("dd", value), change)
        for label, value, change in figures
    ]
    return element(
        "header",
        element("p", "Source audit", class_="over"),
        element("h1", whole.name),
        element("p", _lead(summary), class_="lead"),
        element("dl", *rows, class_="figures"),
    )


def _lead(summary: TreeSummary) -> str:
    return (
        f"{summary.whole.lines:,} lines with {summary.classes:,} classes and "
        f"{summary.coroutines:,} async functions, read on {day(summary.at)}."
    )


def _grown(
    whole: Package, old: Package | None, measure: str, *, bad: bool = False
) -> Markup | None:
    """Return by how much a number has grown, if it has."""
    grown = getattr(whole, measure) - getattr(old, measure) if old is not None else 0
    tone = "" if not bad else " bad" if grown > 0 else " good"
    return element("dd", f"{grown:+,}", class_=f"change{tone}") if grown else None


def _shifted(whole: Package, old: Package | None, measure: str) -> Markup | None:
    """Return by how many hundredths a share has shifted, if it has."""
    now, before = getattr(whole, measure), getattr(old, measure, None)
    points = 0.0 if now is None or before is None else round(100 * (now - before), 1)
    tone = "good" if points > 0 else "bad"
    return element("dd", f"{points:+.1f} points", class_=f"change {tone}") if points else None


def _footer() -> Markup:
    return element(
        "footer",
        element(
            "p",
            "Complexity is McCabe’s number: one more than the decisions in a function. "
            "Documentation counts modules, public classes and public functions; type hints count "
            "parameters and results. Files are compared by their debt: five per finding, one per "
            f"decision above {EXCESS} in a function, one per missing docstring, a quarter per "
            "missing type hint.",
        ),
        element("p", "Read by a pool of agents, journaled by ASTRO."),
    )
