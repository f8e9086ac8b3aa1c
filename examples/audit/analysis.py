"""The analysis of one file: from bytes to facts, whatever the bytes are.

A file that cannot be analysed is a fact too: it has a `problem` and is never an exception. Pure
but for `analyse_file`, which reads.
"""

from __future__ import annotations

import ast
import io
import tokenize
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from examples.audit.syntax import Survey, survey
from examples.audit.values import WORST, FileFacts, FunctionFacts, Source

__all__ = ["MAX_SIZE", "MOST", "NOTABLE", "analyse_file", "analyse_source"]

MAX_SIZE: Final = 2 * 1024 * 1024
"""Bytes of the largest file that is analysed."""

NOTABLE: Final = 5
"""The complexity from which a function can be among the worst."""

MOST: Final = 1_000
"""Findings of one file that are kept; a file with more is not written by people."""

_LONG: Final = 120  # characters of an error that are kept


def analyse_file(source: Source) -> FileFacts:
    """Read a file and return its facts."""
    root = Path(source.root)
    path = root if root.is_file() else root / source.path
    try:
        with path.open("rb") as file:
            raw = file.read(MAX_SIZE + 1)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        return FileFacts(path=source.path, problem=f"not readable: {reason}")
    return analyse_source(raw, path=source.path)


def analyse_source(raw: bytes, *, path: str) -> FileFacts:
    """Return the facts of a file's bytes."""
    if len(raw) > MAX_SIZE:
        return FileFacts(path=path, size=len(raw), problem=f"larger than {MAX_SIZE:,} bytes")
    try:
        text = _decoded(raw)
    except (SyntaxError, UnicodeError, LookupError) as error:
        return FileFacts(path=path, size=len(raw), problem=f"not decodable: {_said(error)}")
    lines = text.split("\n")
    count = len(lines) - (not lines[-1])
    try:
        seen = survey(_parsed(text), path=path)
    except (SyntaxError, ValueError) as error:
        problem = f"not Python: {_said(error)}"
    except (RecursionError, MemoryError):
        problem = "nested too deeply"
    else:
        return _facts(seen, size=len(raw), count=count, lines=lines)
    return FileFacts(path=path, size=len(raw), lines=count, problem=problem)


def _facts(seen: Survey, *, size: int, count: int, lines: Sequence[str]) -> FileFacts:
    worst = sorted(
        (each for each in seen.functions if each.complexity >= NOTABLE), key=_by_complexity
    )
    return FileFacts(
        path=seen.path,
        size=size,
        lines=count,
        code=_code_lines(lines, seen.docstrings),
        classes=seen.classes,
        coroutines=seen.coroutines,
        complexities=tuple(each.complexity for each in seen.functions),
        worst=tuple(worst[:WORST]),
        documentable=seen.documentable,
        documented=seen.documented,
        annotatable=seen.annotatable,
        annotated=seen.annotated,
        findings=tuple(seen.findings[:MOST]),
    )


def _by_complexity(function: FunctionFacts) -> tuple[int, int, str]:
    return -function.complexity, -function.lines, function.name


def _decoded(raw: bytes) -> str:
    """Return text with `\\n` line ends, decoded as Python itself would.

    Raises:
        SyntaxError: The file names an encoding that does not exist.
        LookupError: It names one that does not give text.
        UnicodeError: The bytes are not of the encoding.
    """
    encoding, _ = tokenize.detect_encoding(io.BytesIO(raw).readline)
    return raw.decode(encoding).replace("\r\n", "\n").replace("\r", "\n")


def _parsed(text: str) -> ast.Module:
    # What the compiler warns of is the business of the file's own tests.
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return ast.parse(text)


def _code_lines(lines: Sequence[str], docstrings: Sequence[tuple[int, int]]) -> int:
    stripped = [line.strip() for line in lines]
    counts = [bool(line) and not line.startswith("#") for line in stripped]
    return sum(counts) - sum(sum(counts[first - 1 : last]) for first, last in docstrings)


def _said(error: Exception) -> str:
    """Return what an error says, on one line and without the file's own words."""
    if isinstance(error, SyntaxError):
        where = f" (line {error.lineno})" if error.lineno else ""
        return f"{error.msg[:_LONG]}{where}"
    return str(error).partition("\n")[0][:_LONG]
