"""The summary: the facts of all files, folded into what is known of the tree.

Pure, and the same whatever the order in which the files were analysed.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import Final

from examples.audit.values import (
    KINDS,
    WORST,
    FileFacts,
    FileScore,
    Finding,
    FunctionFacts,
    Package,
    Skipped,
    TreeSummary,
    share,
)

__all__ = [
    "BUCKETS",
    "EXCESS",
    "KEPT",
    "LOOSE",
    "bucket_names",
    "grouped",
    "score",
    "simple_share",
    "summarise",
]

BUCKETS: Final = (1, 2, 3, 5, 10, 15, 20, 30, 50)
"""The highest complexity of each bucket; one more bucket holds all the rest."""

EXCESS: Final = 10
"""The complexity from which on a function is more than one ought to hold in mind."""

KEPT: Final = 60
"""Findings of each kind that a summary names; all are counted."""

LOOSE: Final = "top-level modules"
"""The name of the package of files that are in no folder."""


def summarise(
    facts: Iterable[FileFacts], *, title: str, at: str, skipped: Iterable[Skipped] = ()
) -> TreeSummary:
    """Return what the facts of its files say of a tree."""
    known = sorted(facts, key=lambda each: each.path)
    scores = tuple(map(score, known))
    complexities = [one for each in known for one in each.complexities]
    findings = [finding for each in known for finding in each.findings]
    return TreeSummary(
        at=at,
        whole=_package(title, scores),
        packages=tuple(_package(name, each) for name, each in grouped(scores).items()),
        files=scores,
        classes=sum(each.classes for each in known),
        coroutines=sum(each.coroutines for each in known),
        complexity=sum(complexities),
        distribution=_distribution(complexities),
        worst=_worst(known),
        kinds=tuple(sum(each.kind == kind for each in findings) for kind in KINDS),
        findings=_gravest(findings),
        skipped=tuple(skipped),
    )


def score(facts: FileFacts) -> FileScore:
    """Return what one audit tells the next of a file."""
    return FileScore(
        path=facts.path,
        lines=facts.lines,
        code=facts.code,
        functions=facts.functions,
        complexity=facts.max_complexity,
        excess=sum(max(0, each - EXCESS) for each in facts.complexities),
        documentable=facts.documentable,
        documented=facts.documented,
        annotatable=facts.annotatable,
        annotated=facts.annotated,
        findings=len(facts.findings),
        problem=facts.problem,
    )


def bucket_names() -> tuple[str, ...]:
    """Return how people read the buckets of complexity, as `4–5`."""
    lows = (1, *(high + 1 for high in BUCKETS[:-1]))
    names = (
        f"{low}" if low == high else f"{low}–{high}"
        for low, high in zip(lows, BUCKETS, strict=True)
    )
    return (*names, f"{BUCKETS[-1] + 1}+")


def simple_share(distribution: Sequence[int]) -> float | None:
    """Return the share of functions that are no more complex than `EXCESS`."""
    return share(sum(distribution[: BUCKETS.index(EXCESS) + 1]), sum(distribution))


def _distribution(complexities: Sequence[int]) -> tuple[int, ...]:
    counts = [0] * (len(BUCKETS) + 1)
    for complexity in complexities:
        counts[bisect_left(BUCKETS, complexity)] += 1
    return tuple(counts)


def _worst(known: Sequence[FileFacts]) -> tuple[FunctionFacts, ...]:
    functions = (function for each in known for function in each.worst)
    ranked = sorted(
        functions, key=lambda each: (-each.complexity, -each.lines, each.path, each.name)
    )
    return tuple(ranked[:WORST])


def _gravest(findings: Sequence[Finding]) -> tuple[Finding, ...]:
    """Return the first findings of each kind, taking turns between files, sorted by file."""
    kept: list[Finding] = []
    for kind in KINDS:
        turns: dict[str, int] = defaultdict(int)
        ranked: list[tuple[int, Finding]] = []
        for finding in findings:
            if finding.kind == kind:
                turns[finding.path] += 1
                ranked.append((turns[finding.path], finding))
        ranked.sort(key=lambda pair: pair[0])
        chosen = [finding for _, finding in ranked[:KEPT]]
        kept += sorted(chosen, key=lambda each: (each.path, each.line))
    return tuple(kept)


def grouped(scores: Sequence[FileScore]) -> dict[str, list[FileScore]]:
    """Return scores by the first folder in which their paths differ, sorted by its name."""
    shared = _shared([each.path.split("/")[:-1] for each in scores])
    found: dict[str, list[FileScore]] = defaultdict(list)
    for each in scores:
        folders = each.path.split("/")[shared:-1]
        found[folders[0] if folders else LOOSE].append(each)
    return {name: found[name] for name in sorted(found)}


def _shared(folders: Sequence[list[str]]) -> int:
    """Return how many of the first folders all paths have in common."""
    if not folders:
        return 0
    first, last = min(folders), max(folders)
    pairs = zip(first, last, strict=False)
    return next(
        (at for at, (one, other) in enumerate(pairs) if one != other), min(len(first), len(last))
    )


def _package(name: str, scores: Sequence[FileScore]) -> Package:
    return Package(
        name=name,
        files=len(scores),
        lines=sum(each.lines for each in scores),
        code=sum(each.code for each in scores),
        functions=sum(each.functions for each in scores),
        documentable=sum(each.documentable for each in scores),
        documented=sum(each.documented for each in scores),
        annotatable=sum(each.annotatable for each in scores),
        annotated=sum(each.annotated for each in scores),
        findings=sum(each.findings for each in scores),
    )
