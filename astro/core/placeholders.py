"""Placeholders: `{{ name }}` and `{{ name.key.0 }}` inside text.

A dot separates keys and indices; a key with other characters is quoted, `{{ plan."first part" }}`.
`{{{{` stands for two braces that begin no placeholder. There is no logic: what a template
language could be talked into, this one has no words for.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Sequence
from typing import Final, Protocol

from astro.core.errors import InvalidArgumentsError

__all__ = ["parse_text", "spell_text"]

_MAX_PLACEHOLDER: Final = 1_000
"""Characters between the braces."""

_BRACES: Final = re.compile(r"\{\{+")
_PLAIN: Final = re.compile(r"[\w-]+")
_SEGMENT: Final = re.compile(r'\s*(?:"(?:[^"\\]|\\.)*"|[^".{}]+)\s*(?:\.|$)')
_END: Final = re.compile(r'(?:"(?:[^"\\]|\\.)*"|[^"{}])*\}\}')


class _Named(Protocol):
    @property
    def name(self) -> str: ...
    @property
    def path(self) -> Sequence[str | int]: ...


def parse_text(text: str) -> list[str | tuple[str, list[str]]]:
    """Return the parts of a text: literal ones, and placeholders as name and path.

    The name is everything up to the first quoted key: which of its dots belong to the name is
    known only where the names are.

    Raises:
        InvalidArgumentsError: A placeholder is not well formed.
    """
    parts: list[str | tuple[str, list[str]]] = []
    literal: list[str] = []
    at = 0
    while braces := _BRACES.search(text, at):
        literal.append(text[at : braces.start()])
        pairs, rest = divmod(len(braces[0]), 4)
        literal.append("{{" * pairs)
        at = braces.end()
        if rest < 2:
            literal.append("{" * rest)
            continue
        literal.append("{" * (rest - 2))
        end = _END.match(text, at, at + _MAX_PLACEHOLDER)
        if end is None:
            raise _odd(text[at : at + 30], "is not closed with }}")
        if "".join(literal):
            parts.append("".join(literal))
        literal = []
        parts.append(_placeholder(text[at : end.end() - 2]))
        at = end.end()
    literal.append(text[at:])
    if "".join(literal) or not parts:
        parts.append("".join(literal))
    return parts


def _placeholder(inside: str) -> tuple[str, list[str]]:
    inside = inside.strip()
    segments: list[str] = []
    quoted_from: int | None = None
    at = 0
    while at < len(inside):
        found = _SEGMENT.match(inside, at)
        if found is None:
            raise _odd(inside, "is no name")
        segment = found[0].removesuffix(".").strip()
        if segment.startswith('"'):
            quoted_from = len(segments) if quoted_from is None else quoted_from
            segments.append(_unquoted(segment, inside))
        elif segment:
            segments.append(segment)
        else:
            raise _odd(inside, "is no name")
        at = found.end()
    if not segments or quoted_from == 0 or inside.endswith("."):
        raise _odd(inside, "is no name")
    name = ".".join(segments[:quoted_from])
    return name, [] if quoted_from is None else segments[quoted_from:]


def _unquoted(segment: str, inside: str) -> str:
    try:
        return str(json.loads(segment))
    except ValueError as error:
        raise _odd(inside, "has a key that is not well quoted") from error


def _odd(inside: str, problem: str) -> InvalidArgumentsError:
    return InvalidArgumentsError(
        f"The placeholder {{{{ {inside} }}}} {problem}.",
        remedy="Write {{ name }} or {{ name.key }}; {{{{ stands for two braces.",
    )


def spell_text(parts: Iterable[str | _Named]) -> str:
    """Return the text that `parse_text` takes apart into these parts."""
    said, literal = "", ""
    for part in parts:
        if isinstance(part, str):
            literal += part
        else:
            keys = (_key(key) for key in part.path)
            placeholder = "{{ " + ".".join((part.name, *keys)) + " }}"
            said, literal = said + _escaped(literal) + placeholder, ""
    return said + _escaped(literal)


def _escaped(literal: str) -> str:
    return literal.replace("{{", "{{{{")


def _key(key: str | int) -> str:
    said = str(key)
    return said if _PLAIN.fullmatch(said) else json.dumps(said, ensure_ascii=False)
