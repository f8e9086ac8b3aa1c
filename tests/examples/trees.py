"""Trees that the tests of the audit share."""

from __future__ import annotations

from examples.audit.summary import summarise
from examples.audit.values import FileFacts, Finding, FunctionFacts, Kind, TreeSummary

__all__ = ["NOON", "file", "finding", "function", "tree"]

NOON = "2026-02-03T12:00:00+00:00"


def finding(path: str = "a.py", *, line: int = 1, kind: Kind = "bare except") -> Finding:
    return Finding(kind=kind, path=path, line=line, place="f", text="except:")


def function(name: str = "f", *, path: str = "a.py", complexity: int = 12) -> FunctionFacts:
    return FunctionFacts(name=name, path=path, line=1, complexity=complexity, lines=9)


def file(
    path: str = "a.py", *, complexities: tuple[int, ...] = (1, 12), **other: object
) -> FileFacts:
    given = {"lines": 20, "code": 10, "documentable": 4, "documented": 3, "annotatable": 8}
    return FileFacts(path=path, complexities=complexities, **{**given, **other})  # type: ignore[arg-type]  # by name


def tree(*files: FileFacts, at: str = NOON, title: str = "a tree") -> TreeSummary:
    return summarise(files or (file(),), title=title, at=at)
