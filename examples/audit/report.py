"""The report: an audit as Markdown, complete without a picture. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from typing import Final

from examples.audit.summary import bucket_names
from examples.audit.values import KINDS, Change, Comparison, TreeSummary
from examples.audit.wording import EXPLAINED, counted, day, percent, tally

__all__ = ["write_report"]

_LISTED: Final = 12  # findings of a kind, and changed files, that are named
_SPECIAL: Final = re.compile(r"([\\`*_{}\[\]<>#|!])")


def write_report(summary: TreeSummary, comparison: Comparison | None = None) -> str:
    """Return the report of an audit."""
    parts = [_head(summary)]
    if comparison is not None:
        parts.append(_changes(comparison))
    parts += [_complexity(summary), _packages(summary), _findings(summary)]
    if summary.problems or summary.skipped:
        parts.append(_problems(summary))
    return "\n\n".join("\n".join(part) for part in parts) + "\n"


def _head(summary: TreeSummary) -> Iterator[str]:
    whole, mean = summary.whole, summary.mean_complexity
    yield f"# Audit of {_text(whole.name)}"
    yield ""
    yield f"Read on {day(summary.at)}."
    yield ""
    yield from _table(
        ("Measure", "Value"),
        (
            ("Files", f"{whole.files:,}"),
            ("Lines", f"{whole.lines:,}"),
            ("Lines of code", f"{whole.code:,}"),
            ("Classes", f"{summary.classes:,}"),
            ("Functions", f"{whole.functions:,}"),
            ("Async functions", f"{summary.coroutines:,}"),
            ("Mean complexity", "–" if mean is None else f"{mean:.2f}"),
            ("Documented", percent(whole.documentation)),
            ("Type hints", percent(whole.annotation)),
            ("Findings", f"{whole.findings:,}"),
        ),
    )


def _changes(comparison: Comparison) -> Iterator[str]:
    yield f"## Since {day(comparison.since)}"
    yield ""
    yield tally(comparison)
    for title, changed in (("Better", comparison.improved), ("Worse", comparison.worse)):
        yield from _listed(title, [_change(each) for each in changed])
    for title, paths in (("New", comparison.added), ("Gone", comparison.removed)):
        yield from _listed(title, [_code(path) for path in paths])


def _change(change: Change) -> str:
    return f"{_code(change.path)}: {_text(change.text)}"


def _listed(title: str, items: Sequence[str]) -> Iterator[str]:
    if not items:
        return
    yield from ("", f"### {title}", "")
    yield from (f"- {item}" for item in items[:_LISTED])
    if len(items) > _LISTED:
        yield f"- and {len(items) - _LISTED:,} more"


def _complexity(summary: TreeSummary) -> Iterator[str]:
    yield "## Complexity"
    yield ""
    pairs = zip(bucket_names(), summary.distribution, strict=True)
    yield from _table(("Complexity", "Functions"), ((name, f"{count:,}") for name, count in pairs))
    if not summary.worst:
        return
    yield from ("", "### The most complex functions", "")
    yield from _table(
        ("Complexity", "Lines", "Function", "Where"),
        (
            (
                str(each.complexity),
                str(each.lines),
                _code(each.name),
                _code(f"{each.path}:{each.line}"),
            )
            for each in summary.worst
        ),
    )


def _packages(summary: TreeSummary) -> Iterator[str]:
    yield "## Packages"
    yield ""
    yield from _table(
        ("Package", "Files", "Lines of code", "Documented", "Type hints", "Findings"),
        (
            (
                _code(each.name),
                f"{each.files:,}",
                f"{each.code:,}",
                percent(each.documentation),
                percent(each.annotation),
                f"{each.findings:,}",
            )
            for each in sorted(summary.packages, key=lambda each: -each.code)
        ),
    )


def _findings(summary: TreeSummary) -> Iterator[str]:
    yield "## Findings"
    if not summary.whole.findings:
        yield from ("", "Nothing was found.")
    for kind, count in zip(KINDS, summary.kinds, strict=True):
        found = [
            f"{_code(f'{each.path}:{each.line}')} in {_code(each.place)}: {_code(each.text)}"
            for each in summary.findings
            if each.kind == kind
        ]
        if count:
            yield from ("", f"### {kind.capitalize()}: {count:,}", "", EXPLAINED[kind], "")
            yield from (f"- {item}" for item in found[:_LISTED])
        if count > _LISTED:
            yield f"- and {count - _LISTED:,} more"


def _problems(summary: TreeSummary) -> Iterator[str]:
    yield "## Not analysed"
    yield ""
    yield f"{counted(len(summary.problems) + len(summary.skipped), 'file')} could not be analysed."
    yield ""
    yield from (f"- {_code(each.path)}: {_text(each.problem)}" for each in summary.problems)
    yield from (f"- {_code(each.path)}: {_text(each.reason)}" for each in summary.skipped)


def _table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> Iterator[str]:
    yield f"| {' | '.join(heads)} |"
    yield f"|{'|'.join(' --- ' for _ in heads)}|"
    yield from (f"| {' | '.join(row)} |" for row in rows)


def _text(text: str) -> str:
    """Return text that Markdown shows as it is."""
    return _SPECIAL.sub(r"\\\1", " ".join(text.split()))


def _code(text: str) -> str:
    """Return text as code, whatever backticks and bars it contains."""
    plain = " ".join(text.split()).replace("|", "\\|")
    if "`" not in plain:
        return f"`{plain}`"
    fence = "`" * (1 + max(map(len, re.findall("`+", plain))))
    return f"{fence} {plain} {fence}"
