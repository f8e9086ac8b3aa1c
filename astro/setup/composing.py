"""Composing: plain values from the events of a YAML or JSON text, each with its line.

One composer for both, so that both refuse the same things: duplicate keys, deep nesting, numbers
and text that JSON does not have. It goes on after a problem, so that all are found at once.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from enum import Enum
from typing import Any, Final, TypeAlias

import attrs

__all__ = ["MAX_DEPTH", "MAX_SIZE", "Composer", "Document", "Event", "Kind", "Path", "spell_path"]

Path: TypeAlias = tuple[str | int, ...]

MAX_SIZE: Final = 256 * 1024
"""Bytes a file of settings or workflows may have."""

MAX_DEPTH: Final = 32
"""How deeply lists and mappings of a file may be nested."""

_QUOTE_IT: Final = 'quote your template: "{{ … }}"'


def spell_path(path: Sequence[str | int]) -> str:
    """Return a path as people write it: `workflows.article.tasks[0].id`."""
    said = ""
    for part in path:
        said += f"[{part}]" if isinstance(part, int) else f".{part}" if said else part
    return said


@attrs.frozen
class Document:
    """Plain values, and where they stand.

    Attributes:
        source: Name of the file, for messages.
        data: Dicts with text keys, lists, text, numbers, booleans, None.
    """

    source: str
    data: Any
    _lines: Mapping[Path, int] = attrs.field(factory=dict, repr=False)

    def line(self, path: Sequence[str | int]) -> int:
        """Return the line (from 1) of a key or an item, or of the nearest thing around it."""
        known = tuple(path)
        while known and known not in self._lines:
            known = known[:-1]
        return self._lines.get(known, 1)

    def problem(self, path: Sequence[str | int], text: str) -> str:
        """Return a problem as one line that says where it is."""
        place = f"line {self.line(path)}"
        return f"{place}, {spell_path(path)}: {text}" if path else f"{place}: {text}"


class Kind(Enum):
    """Kinds of events."""

    MAPPING = "mapping"
    LIST = "list"
    END = "end"
    SCALAR = "scalar"


@attrs.frozen
class Event:
    """One event of a text.

    Attributes:
        value: Of a scalar.
        text: Of a scalar as it was written, which is what a key is.
        flow: Whether a mapping or list is written with braces or brackets.
    """

    kind: Kind
    line: int
    value: Any = None
    text: str = ""
    flow: bool = False


@attrs.define
class _Level:
    """An unfinished mapping or list; a None `holder` is one whose value nobody wants."""

    holder: dict[str, Any] | list[Any] | None
    path: Path
    flow: bool
    key: str | None = None
    waits_for_value: bool = False


class Composer:
    """Builds values from events, iteratively, and collects what is wrong."""

    def __init__(self) -> None:
        self.problems: list[tuple[int, str]] = []
        self.lines: dict[Path, int] = {}
        self.data: Any = None
        self._levels: list[_Level] = []

    def compose(self, events: Iterable[Event]) -> None:
        """Take events until they end or the nesting is too deep to go on."""
        for event in events:
            if event.kind is Kind.END:
                self._levels.pop()
            elif event.kind is Kind.SCALAR:
                self._scalar(event)
            else:
                self._open(event)
                if len(self._levels) > MAX_DEPTH:
                    self.refuse(event.line, f"nested deeper than {MAX_DEPTH} levels")
                    return

    def refuse(self, line: int, text: str) -> None:
        """Note a problem, once for each line."""
        if (line, text) not in self.problems:
            self.problems.append((line, text))

    def _scalar(self, event: Event) -> None:
        level = self._levels[-1] if self._levels else None
        if level is not None and isinstance(level.holder, dict) and not level.waits_for_value:
            self._key(level, event)
            return
        if isinstance(event.value, float) and not math.isfinite(event.value):
            self.refuse(event.line, f"{event.text} is not a number that JSON has")
        if isinstance(event.value, str):
            self._text(event)
        self._place(event.line, event.value)

    def _key(self, level: _Level, event: Event) -> None:
        assert isinstance(level.holder, dict)
        self._text(event)
        level.key, level.waits_for_value = event.text, True
        path = (*level.path, event.text)
        if event.text in level.holder:
            first = self.lines[path]
            self.refuse(event.line, f"key {event.text!r} is already on line {first}")
        self.lines.setdefault(path, event.line)

    def _text(self, event: Event) -> None:
        if not event.text.isascii() and any("\ud800" <= c <= "\udfff" for c in event.text):
            self.refuse(event.line, "half of a surrogate pair is not text")

    def _open(self, event: Event) -> None:
        level = self._levels[-1] if self._levels else None
        if level is not None and isinstance(level.holder, dict) and not level.waits_for_value:
            is_template = event.kind is Kind.MAPPING and event.flow and level.flow
            self.refuse(event.line, _QUOTE_IT if is_template else "a key must be text")
            level.waits_for_value, level.key = True, None
            self._levels.append(_Level(None, level.path, event.flow))
            return
        holder: dict[str, Any] | list[Any] = {} if event.kind is Kind.MAPPING else []
        path = self._place(event.line, holder)
        wanted = level is None or level.holder is not None
        self._levels.append(_Level(holder if wanted else None, path, event.flow))

    def _place(self, line: int, value: Any) -> Path:
        """Put a value where it belongs; return its path."""
        if not self._levels:
            self.data = value
            self.lines[()] = line
            return ()
        level = self._levels[-1]
        if isinstance(level.holder, list):
            path = (*level.path, len(level.holder))
            self.lines[path] = line
            level.holder.append(value)
            return path
        if isinstance(level.holder, dict) and level.key is not None:
            path = (*level.path, level.key)
            level.holder.setdefault(level.key, value)
            level.key, level.waits_for_value = None, False
            return path
        level.waits_for_value = False
        return level.path
