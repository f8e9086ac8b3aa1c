"""Values of the audit: what is known of a file, of a tree, and of two audits of one tree.

All of them are frozen, have no field that JSON lacks, and are encoded and decoded by their types
alone. What can be computed from the fields is a property and is not kept.
"""

from __future__ import annotations

from typing import Final, Literal, TypeAlias, get_args

import attrs

__all__ = [
    "KINDS",
    "WORST",
    "Audit",
    "Change",
    "Comparison",
    "FileFacts",
    "FileScore",
    "Finding",
    "FunctionFacts",
    "Inventory",
    "Kind",
    "Package",
    "Skipped",
    "Source",
    "TreeSummary",
    "share",
]

Kind: TypeAlias = Literal[
    "blocking call", "swallowed exception", "bare except", "mutable default", "complex function"
]

KINDS: Final[tuple[Kind, ...]] = get_args(Kind)
"""All kinds of findings, the gravest first."""

WORST: Final = 20
"""How many of the most complex functions a file and a tree name."""


def share(part: int, whole: int) -> float | None:
    """Return a part as a number from 0 to 1, or None when there is nothing to have a part of."""
    return part / whole if whole else None


@attrs.frozen(kw_only=True)
class Source:
    """One file of a tree.

    Attributes:
        root: The folder that is audited, or the file itself.
        path: Where the file is below the root, with forward slashes.
    """

    root: str
    path: str


@attrs.frozen(kw_only=True)
class Skipped:
    """A file or folder that could not be read."""

    path: str
    reason: str


@attrs.frozen(kw_only=True)
class Inventory:
    """The files of a tree that are worth an analysis.

    Attributes:
        files: Sorted paths below the root, with forward slashes.
        skipped: What could not be listed.
    """

    files: tuple[str, ...]
    skipped: tuple[Skipped, ...] = ()


@attrs.frozen(kw_only=True)
class Finding:
    """Something in a file that deserves a look.

    Attributes:
        line: Where it begins; the first line is 1.
        place: Qualified name of the function, or `module`.
        text: What was found, as `time.sleep` or `except Exception: pass`.
    """

    kind: Kind
    path: str
    line: int
    place: str
    text: str


@attrs.frozen(kw_only=True)
class FunctionFacts:
    """One function.

    Attributes:
        name: Qualified name inside its file.
        complexity: McCabe's number: one more than the number of decisions.
        lines: From `def` to the last line of the body.
    """

    name: str
    path: str
    line: int
    complexity: int
    lines: int


@attrs.frozen(kw_only=True)
class FileFacts:
    """What is known of one file.

    Attributes:
        size: Bytes.
        code: Lines that are neither blank nor comment nor docstring.
        complexities: McCabe's number of each function, in no promised order.
        worst: The most complex functions, at most `WORST`, the worst first.
        documentable: The module and its public classes and functions.
        annotatable: Parameters and results that could have a type hint.
        findings: By line, at most `analysis.MOST`.
        problem: Why the file could not be analysed; empty when it was.
    """

    path: str
    size: int = 0
    lines: int = 0
    code: int = 0
    classes: int = 0
    coroutines: int = 0
    complexities: tuple[int, ...] = ()
    worst: tuple[FunctionFacts, ...] = ()
    documentable: int = 0
    documented: int = 0
    annotatable: int = 0
    annotated: int = 0
    findings: tuple[Finding, ...] = ()
    problem: str = ""

    @property
    def functions(self) -> int:
        return len(self.complexities)

    @property
    def max_complexity(self) -> int:
        return max(self.complexities, default=0)

    @property
    def mean_complexity(self) -> float | None:
        return share(sum(self.complexities), len(self.complexities))


@attrs.frozen(kw_only=True)
class FileScore:
    """What one audit tells the next of a file.

    Attributes:
        complexity: Of the most complex function.
        excess: Sum over the functions of what exceeds a complexity of 10.
        findings: How many.
        problem: Why the file could not be analysed; empty when it was.
    """

    path: str
    lines: int
    code: int
    functions: int
    complexity: int
    excess: int
    documentable: int
    documented: int
    annotatable: int
    annotated: int
    findings: int
    problem: str = ""

    @property
    def undocumented(self) -> int:
        return self.documentable - self.documented

    @property
    def unannotated(self) -> int:
        return self.annotatable - self.annotated

    @property
    def debt(self) -> float:
        """Return one number to compare a file with itself by; lower is better.

        A finding weighs as much as five decisions too many or five undocumented names; a missing
        type hint weighs a quarter of a missing docstring.
        """
        return 5 * self.findings + self.excess + self.undocumented + self.unannotated / 4


@attrs.frozen(kw_only=True)
class Package:
    """The files below one folder, or a whole tree.

    Attributes:
        findings: How many.
    """

    name: str
    files: int
    lines: int
    code: int
    functions: int
    documentable: int
    documented: int
    annotatable: int
    annotated: int
    findings: int

    @property
    def documentation(self) -> float | None:
        return share(self.documented, self.documentable)

    @property
    def annotation(self) -> float | None:
        return share(self.annotated, self.annotatable)


@attrs.frozen(kw_only=True)
class TreeSummary:
    """What is known of a whole tree.

    Attributes:
        at: When the audit was made, ISO 8601.
        whole: All files together, under the name that people call the tree by.
        packages: By the first folder in which the paths differ, sorted by name.
        files: One score per file, sorted by path.
        distribution: Functions by complexity, one number per bucket of `summary.BUCKETS`.
        worst: The most complex functions of the tree, at most `WORST`, the worst first.
        kinds: How many findings of each kind, in the order of `KINDS`.
        findings: At most `summary.KEPT` of each kind, the gravest kind first.
        skipped: What could not be listed.
    """

    at: str
    whole: Package
    packages: tuple[Package, ...]
    files: tuple[FileScore, ...]
    classes: int
    coroutines: int
    complexity: int
    distribution: tuple[int, ...]
    worst: tuple[FunctionFacts, ...]
    kinds: tuple[int, ...]
    findings: tuple[Finding, ...]
    skipped: tuple[Skipped, ...] = ()

    @property
    def mean_complexity(self) -> float | None:
        return share(self.complexity, self.whole.functions)

    @property
    def problems(self) -> tuple[FileScore, ...]:
        """The files that could not be analysed."""
        return tuple(score for score in self.files if score.problem)


@attrs.frozen(kw_only=True)
class Change:
    """One file in two audits.

    Attributes:
        debt: Growth of the file's debt; negative is better.
        text: What has changed, as `findings 3 → 1, complexity 31 → 24`.
    """

    path: str
    debt: float
    text: str


@attrs.frozen(kw_only=True)
class Comparison:
    """One tree in two audits.

    Attributes:
        since: When the earlier audit was made, ISO 8601.
        before: All files of the earlier audit together.
        worse: The largest growth of debt first.
        improved: The largest fall of debt first.
        same: How many files have the same debt.
    """

    since: str
    before: Package
    worse: tuple[Change, ...] = ()
    improved: tuple[Change, ...] = ()
    added: tuple[str, ...] = ()
    removed: tuple[str, ...] = ()
    same: int = 0


@attrs.frozen(kw_only=True)
class Audit:
    """The result of an audit.

    Attributes:
        comparison: With the previous audit of the tree; None when there is none.
        reports: Paths of the files that were written.
    """

    summary: TreeSummary
    comparison: Comparison | None = None
    reports: tuple[str, ...] = ()
