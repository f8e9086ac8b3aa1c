"""Changes that may mend a bug: every operator of a file, replaced by one that is often meant."""

from __future__ import annotations

import io
import tokenize
from collections.abc import Iterator

__all__ = ["changes_of"]

_MEANT = {
    "<": ("<=", ">"),
    "<=": ("<",),
    ">": (">=", "<"),
    ">=": (">",),
    "==": ("!=",),
    "!=": ("==",),
    "+": ("-",),
    "-": ("+",),
    "*": ("//",),
    "and": ("or",),
    "or": ("and",),
    "max": ("min",),
    "min": ("max",),
}


def changes_of(source: str) -> Iterator[tuple[str, str]]:
    """Yield sources with one change each, and what was changed."""
    lines = source.splitlines(keepends=True)
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        for other in _MEANT.get(token.string, ()):
            row, column = token.start
            line = lines[row - 1]
            changed = line[:column] + other + line[column + len(token.string) :]
            text = f"line {row}: {line.strip()}  ->  {changed.strip()}"
            yield "".join([*lines[: row - 1], changed, *lines[row:]]), text
