"""Files of settings and workflows, read strictly: YAML, TOML and JSON.

What a person would not notice is refused: duplicate keys, aliases (324 bytes of them can unfold
to megabytes), tags, several documents in one file, nesting beyond 32, files beyond 256 KiB. All
problems of a file are reported at once, each with its line.

YAML here is the core schema of YAML 1.2: `no` and `on` are text, `012` is twelve, `1:20` is text
and dates are text. Keys are always text.
"""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path as FilePath
from typing import Any, Final

from astro.core.errors import MissingExtraError, SettingsError
from astro.setup.composing import MAX_SIZE, Composer, Document, Event, Kind, Path

__all__ = ["Document", "read_document", "read_yaml"]

_NULL: Final = frozenset({"", "~", "null", "Null", "NULL"})
_BOOL: Final = {
    **dict.fromkeys(("true", "True", "TRUE"), True),
    **dict.fromkeys(("false", "False", "FALSE"), False),
}
_INT: Final = re.compile(r"[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+")
_FLOAT: Final = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?")
_ODD_FLOAT: Final = re.compile(r"[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)")
_MAX_DIGITS: Final = 300

_JSON_TOKEN: Final = re.compile(
    r'[ \t\r\n]*(?:(?P<mark>[\[\]{},:])|(?P<text>")|'
    r"(?P<number>-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][-+]?[0-9]+)?)|"
    r"(?P<word>true|false|null|NaN|-?Infinity))"
)
_STRING: Final = json.JSONDecoder()
_TOML_TABLE: Final = re.compile(r"\s*(\[\[?)\s*([^\]]+?)\s*\]\]?\s*(#.*)?$")
_TOML_KEY: Final = re.compile(
    r"""\s*((?:[\w-]+|"[^"]*"|'[^']*')(?:\s*\.\s*(?:[\w-]+|"[^"]*"|'[^']*'))*)\s*="""
)


def read_document(path: str | FilePath) -> Document:
    """Return the values of a file of YAML, TOML or JSON, chosen by its suffix.

    Raises:
        SettingsError: The file cannot be read, or has problems; all of them.
        MissingExtraError: The file is YAML and the extra `yaml` is not installed.
    """
    path = FilePath(path)
    read = {".yaml": read_yaml, ".yml": read_yaml, ".toml": _read_toml, ".json": _read_json}
    if path.suffix.lower() not in read:
        known = ", ".join(read)
        raise SettingsError(
            _spelled(path), [f"{_spelled(path.suffix) or 'no suffix'} is none of {known}"]
        )
    return read[path.suffix.lower()](_text_of(path), source=_spelled(path))


def read_yaml(text: str | bytes | FilePath, *, source: str | None = None) -> Document:
    """Return the values of a YAML text, or of a file that is given as a `Path`.

    Args:
        source: What messages call it.

    Raises:
        SettingsError: It has problems; all of them.
        MissingExtraError: The extra `yaml` is not installed.
    """
    if isinstance(text, FilePath):
        source = source or _spelled(text)
        text = _text_of(text)
    source = source or "The YAML text"
    text = _decoded(text, source)
    composer = Composer()
    composer.compose(_yaml_events(text, composer))
    return _document(source, composer)


def _document(source: str, composer: Composer) -> Document:
    if composer.problems:
        raise SettingsError(
            source, [f"line {line}: {text}" for line, text in sorted(composer.problems)]
        )
    return Document(source, composer.data, composer.lines)


def _text_of(path: FilePath) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(MAX_SIZE + 1)
    except OSError as error:
        reason = error.strerror or type(error).__name__
        raise SettingsError(_spelled(path), [f"it cannot be read: {reason}"]) from error
    except ValueError as error:  # of a path with NUL or lone surrogates
        reason = "no file has such a name"
        raise SettingsError(_spelled(path), [f"it cannot be read: {reason}"]) from error


def _spelled(path: str | FilePath) -> str:
    """Return a path as text that can be written: a name may be bytes that are no text."""
    return str(path).encode("utf-8", "backslashreplace").decode()


def _decoded(text: str | bytes, source: str) -> str:
    raw = text.encode("utf-8", "surrogatepass") if isinstance(text, str) else text
    if len(raw) > MAX_SIZE:
        raise SettingsError(source, [f"it is larger than {MAX_SIZE // 1024} KiB"])
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        raise SettingsError(source, [f"line {line}: it is not UTF-8"]) from error


# --- YAML ------------------------------------------------------------------------------------


def _yaml_events(text: str, composer: Composer) -> Iterator[Event]:
    """Yield the events of a YAML text; what has no event is refused on the way."""
    try:
        from ruamel.yaml import YAML
        from ruamel.yaml.error import MarkedYAMLError, YAMLError
    except ImportError as missing:
        raise MissingExtraError("Reading YAML", extra="yaml") from missing
    try:
        documents = 0
        # The pure parser: the one in C neither limits nesting nor refuses what this one does.
        for event in YAML(typ="safe", pure=True).parse(text):
            name = type(event).__name__
            documents += name == "DocumentStartEvent"
            if documents > 1:
                composer.refuse(event.start_mark.line + 1, "a second document begins here")
                return
            yield from _yaml_event(name, event, composer)
    except MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        # What follows an unquoted template is no mistake of its own.
        if not any(line == known for known, _ in composer.problems):
            composer.refuse(line, _reason(error.problem or error.context or str(error)))
    except YAMLError as error:
        at = getattr(error, "position", 0)
        composer.refuse(text.count("\n", 0, at) + 1, f"{getattr(error, 'reason', error)}")


def _yaml_event(name: str, event: Any, composer: Composer) -> Iterator[Event]:
    line = event.start_mark.line + 1
    if name == "AliasEvent":
        composer.refuse(line, f"aliases (*{event.anchor}) are refused; write the value out")
        yield Event(Kind.SCALAR, line, None, f"*{event.anchor}")
        return
    if getattr(event, "anchor", None):
        composer.refuse(line, f"anchors (&{event.anchor}) are refused")
    if getattr(event, "tag", None):
        composer.refuse(line, f"tags ({event.tag}) are refused; quote what shall be text")
    if name == "ScalarEvent":
        yield Event(Kind.SCALAR, line, _scalar(event, line, composer), event.value)
    elif name == "MappingStartEvent":
        yield Event(Kind.MAPPING, line, flow=bool(event.flow_style))
    elif name == "SequenceStartEvent":
        yield Event(Kind.LIST, line, flow=bool(event.flow_style))
    elif name in ("MappingEndEvent", "SequenceEndEvent"):
        yield Event(Kind.END, line)


def _scalar(event: Any, line: int, composer: Composer) -> Any:
    """Return the value of a scalar by the core schema of YAML 1.2."""
    text: str = event.value
    if not event.implicit[0]:  # quoted, or a block of text
        return text
    if text in _NULL:
        return None
    if text in _BOOL:
        return _BOOL[text]
    if _INT.fullmatch(text):
        if len(text) > _MAX_DIGITS:
            composer.refuse(line, f"the number has more than {_MAX_DIGITS} digits")
            return 0
        return int(text, {"0o": 8, "0x": 16}.get(text[:2], 10))
    if _FLOAT.fullmatch(text):
        return float(text)
    if _ODD_FLOAT.fullmatch(text):
        return float(text.replace(".", ""))
    return text


def _reason(problem: str) -> str:
    found = re.search(r"found character '(.)' that cannot start any token", problem)
    if found:
        return f"nothing can begin with {found[1]}; quote it"
    return problem.strip().replace("\n", " ")


# --- JSON ------------------------------------------------------------------------------------


def _read_json(text: str | bytes, *, source: str) -> Document:
    text = _decoded(text, source)
    try:  # the grammar is the standard library's; the pass below adds lines and strictness
        json.loads(text, parse_int=len)
    except json.JSONDecodeError as error:
        raise SettingsError(source, [f"line {error.lineno}: {error.msg}"]) from error
    except RecursionError as error:
        raise SettingsError(source, ["line 1: nested too deeply"]) from error
    composer = Composer()
    composer.compose(_json_events(text, composer))
    return _document(source, composer)


def _json_events(text: str, composer: Composer) -> Iterator[Event]:
    at, line = 0, 1
    while found := _JSON_TOKEN.match(text, at):
        line += text.count("\n", at, found.end())
        at = found.end()
        mark, number, word = found["mark"], found["number"], found["word"]
        if found["text"]:
            value, at = _STRING.raw_decode(text, at - 1)
            yield Event(Kind.SCALAR, line, value, value)
        elif mark in ("{", "["):
            yield Event(Kind.MAPPING if mark == "{" else Kind.LIST, line, flow=True)
        elif mark in ("}", "]"):
            yield Event(Kind.END, line)
        elif number and len(number) > _MAX_DIGITS:
            composer.refuse(line, f"the number has more than {_MAX_DIGITS} digits")
            yield Event(Kind.SCALAR, line)
        elif number or word:
            yield Event(Kind.SCALAR, line, json.loads(found[0]), number or word)


# --- TOML ------------------------------------------------------------------------------------


def _read_toml(text: str | bytes, *, source: str) -> Document:
    text = _decoded(text, source)
    try:
        data = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        found = re.search(r"line (\d+)", str(error))
        line = found[1] if found else text.rstrip().count("\n") + 1  # "at end of document"
        reason = re.sub(r" \(at .*\)", "", str(error))
        raise SettingsError(source, [f"line {line}: {reason}"]) from error
    except (RecursionError, ValueError) as error:
        raise SettingsError(source, [f"line 1: {error}"]) from error
    composer = Composer()
    lines = _toml_lines(text)
    composer.compose(_value_events(data, lines))
    composer.lines.update(lines)
    return _document(source, composer)


def _toml_lines(text: str) -> dict[Path, int]:
    """Return the lines of tables and keys: all that are written at the start of a line."""
    lines: dict[Path, int] = {}
    counts: dict[Path, int] = {}
    table: Path = ()
    for number, line in enumerate(text.splitlines(), start=1):
        if header := _TOML_TABLE.match(line):
            table = _toml_path(header[2])
            if header[1] == "[[":
                index = counts.get(table, 0)
                counts[table] = index + 1
                lines.setdefault(table, number)
                table = (*table, index)
            lines.setdefault(table, number)
        elif key := _TOML_KEY.match(line):
            path = (*table, *_toml_path(key[1]))
            for end in range(len(table) + 1, len(path) + 1):
                lines.setdefault(path[:end], number)
    return lines


def _toml_path(dotted: str) -> Path:
    parts = re.findall(r""""([^"]*)"|'([^']*)'|([\w-]+)""", dotted)
    return tuple("".join(part) for part in parts)


def _value_events(value: Any, lines: dict[Path, int], path: Path = ()) -> Iterator[Event]:
    """Yield the events of values that are parsed already (no deeper than the parser went)."""
    line = lines.get(path, lines.get(path[:-1], 1))
    if isinstance(value, dict):
        yield Event(Kind.MAPPING, line)
        for key, item in value.items():
            yield Event(Kind.SCALAR, lines.get((*path, key), line), key, key)
            yield from _value_events(item, lines, (*path, key))
        yield Event(Kind.END, line)
    elif isinstance(value, list):
        yield Event(Kind.LIST, line)
        for index, item in enumerate(value):
            yield from _value_events(item, lines, (*path, index))
        yield Event(Kind.END, line)
    else:
        plain = value if isinstance(value, str | int | float) else value.isoformat()
        yield Event(Kind.SCALAR, line, plain, str(value))
