"""Decoding: plain values of a file into attrs classes by type, with all mistakes at once.

`msgspec` stops at the first mistake and ignores unknown keys of attrs classes, so this walks
classes, mappings and lists itself and leaves only single values to the codec. What is wrong is
put into a `Report`, with the line and path of the file or the name of the variable it came from.
"""

from __future__ import annotations

import re
import types
from collections.abc import Mapping, Sequence
from datetime import timedelta
from enum import Enum
from pathlib import Path
from typing import (
    Annotated,
    Any,
    Final,
    Literal,
    TypeAlias,
    Union,
    get_args,
    get_origin,
    get_type_hints,
)

import attrs
import msgspec

from astro.core.codec import codec_of, to_json
from astro.core.errors import AstroError, CodecError, SettingsError, nearest
from astro.core.fields import as_budget, as_duration
from astro.core.policy import Budget
from astro.setup.composing import Document, spell_path

__all__ = ["FAULTY", "AsWritten", "Held", "Place", "Report", "decode", "reason"]

Place = tuple[str | int, ...]

FAULTY: Final[Any] = object()
"""What decoding gives for a value that is wrong; why is in the report."""

_AS_WRITTEN: Final = object()

_LISTS: Final = {
    list: list,
    tuple: tuple,
    set: set,
    frozenset: frozenset,
    Sequence: tuple,
}


AsWritten: TypeAlias = Annotated[Any, _AS_WRITTEN]
"""The type of fields that keep what the file says, to be decoded later."""


@attrs.frozen(repr=False)
class Held:
    """What a variable of the environment holds: never shown, and read as its field's type wants."""

    variable: str
    text: str

    def __repr__(self) -> str:
        return f"${{env:{self.variable}}}"

    def read(self) -> Any:
        """Return the JSON that the text is, or the text."""
        try:
            return msgspec.json.decode(self.text)
        except (msgspec.MsgspecError, ValueError, RecursionError):
            return self.text


@attrs.frozen
class Report:
    """What is wrong with some settings.

    Attributes:
        variables: Names of variables by the place they filled.
        folder: What relative paths of the file are relative to.
    """

    document: Document
    variables: Mapping[Place, str] = attrs.field(factory=dict)
    folder: Path = Path()
    problems: list[str] = attrs.field(factory=list)

    def add(self, place: Place, problem: str) -> None:
        """Note a problem, once."""
        variable = self.variable(place) or self._made_by(place)
        if variable:
            self.say(f"{variable}: {problem}")
        elif self.document.data is None:
            self.say(f"{spell_path(place)}: {problem}" if place else problem)
        else:
            self.say(self.document.problem(place, problem))

    def copy(self) -> Report:
        """Return a report with the same problems, to which others may be added."""
        return attrs.evolve(self, problems=[*self.problems])

    def say(self, problem: str) -> None:
        """Note a problem that names its own place, once."""
        if problem not in self.problems:
            self.problems.append(problem)

    def base(self, place: Place) -> Path:
        """Return what a relative path at a place is relative to."""
        return Path() if self.variable(place) is not None else self.folder

    def settle(self) -> None:
        """Return if nothing is wrong.

        Raises:
            SettingsError: Something is; carries all of it.
        """
        if self.problems:
            raise SettingsError(self.document.source, sorted(self.problems, key=_line))

    def _made_by(self, place: Place) -> str:
        """Return the variables inside of a place that the file does not have."""
        found: Any = self.document.data
        for part in place:
            if not isinstance(found, Mapping) or part not in found:
                inside = (name for at, name in self.variables.items() if at[: len(place)] == place)
                return ", ".join(inside)
            found = found[part]
        return ""

    def variable(self, place: Place) -> str | None:
        """Return the variable that filled a place or something around it, if any."""
        for end in range(len(place), 0, -1):
            if place[:end] in self.variables:
                return self.variables[place[:end]]
        return None


def _line(problem: str) -> int:
    found = re.match(r"line (\d+)", problem)
    return int(found[1]) if found else 0


def decode(kind: Any, value: Any, place: Place, report: Report) -> Any:
    """Return a value as its type wants it, or `FAULTY`.

    Attrs classes are decoded from mappings by the names of their fields; durations are seconds or
    text like `1h30m`; relative paths are relative to the file.
    """
    origin = get_origin(kind)
    if origin is Annotated:
        inner, *marks = get_args(kind)
        return value if _AS_WRITTEN in marks else decode(inner, value, place, report)
    if isinstance(value, Held):
        return _held(kind, value, place, report)
    if origin in (Union, types.UnionType):
        return _union(get_args(kind), value, place, report)
    if isinstance(kind, type) and kind is not Budget and attrs.has(kind):
        return _class(kind, value, place, report)
    if origin in (dict, Mapping) or kind in (dict, Mapping):
        return _mapping(get_args(kind) or (str, Any), value, place, report)
    if (origin or kind) in _LISTS:
        return _list(origin or kind, get_args(kind), value, place, report)
    return _single(kind, value, place, report)


# --- What has parts ----------------------------------------------------------------------------


def _class(kind: type[Any], value: Any, place: Place, report: Report) -> Any:
    if not isinstance(value, Mapping):
        report.add(place, f"expected {_spelled(kind)}, got {_shown(value)}")
        return FAULTY
    try:
        hints = get_type_hints(kind, include_extras=True)
    except NameError as error:
        report.add(place, f"an annotation of {kind.__qualname__} cannot be resolved: {error}")
        return FAULTY
    fields = {field.alias: field for field in attrs.fields(kind) if field.init}
    sound = True
    given: dict[str, Any] = {}
    for key in value:
        if key not in fields:
            report.add((*place, key), f"{key!r} is unknown here.{nearest(str(key), fields)}")
            sound = False
    for name, field in fields.items():
        if name in value:
            inner = (*place, name)
            given[name] = decode(hints.get(field.name, Any), value[name], inner, report)
            sound = _accepted(field, given[name], value[name], inner, report) and sound
        elif field.default is attrs.NOTHING:
            report.add(place, f"{name!r} is missing")
            sound = False
    return _made(kind, given, value, place, report) if sound else FAULTY


def _accepted(
    field: attrs.Attribute[Any], value: Any, given: Any, place: Place, report: Report
) -> bool:
    """Return whether the field's own validator accepts a value; each field is asked."""
    if value is FAULTY:
        return False
    if field.validator is None or field.converter is not None:
        return True
    try:
        # A validator that looks at other fields has its say when the whole is made.
        field.validator(None, field, value)
    except (TypeError, ValueError) as error:
        report.add(place, reason(error, given))
        return False
    except AttributeError:
        return True
    return True


def _made(kind: type[Any], given: dict[str, Any], value: Any, place: Place, report: Report) -> Any:
    try:
        return kind(**given)
    except (AstroError, TypeError, ValueError) as error:
        report.add(place, reason(error, value))
        return FAULTY


def _mapping(args: tuple[Any, ...], value: Any, place: Place, report: Report) -> Any:
    if not isinstance(value, Mapping):
        report.add(place, f"expected a mapping, got {_shown(value)}")
        return FAULTY
    found = {key: decode(args[1], item, (*place, key), report) for key, item in value.items()}
    return FAULTY if any(item is FAULTY for item in found.values()) else found


def _list(kind: Any, args: tuple[Any, ...], value: Any, place: Place, report: Report) -> Any:
    if not isinstance(value, list | tuple):
        report.add(place, f"expected a list, got {_shown(value)}")
        return FAULTY
    fixed = kind is tuple and args and args[-1] is not Ellipsis
    if fixed and len(args) != len(value):
        report.add(place, f"expected {len(args)} items, got {len(value)}")
        return FAULTY
    kinds = args if fixed else (args[0] if args else Any,) * len(value)
    found = [
        decode(one, item, (*place, index), report)
        for index, (one, item) in enumerate(zip(kinds, value, strict=True))
    ]
    return FAULTY if any(item is FAULTY for item in found) else _LISTS[kind](found)


def _union(args: tuple[Any, ...], value: Any, place: Place, report: Report) -> Any:
    if value is None and types.NoneType in args:
        return None
    rest = [one for one in args if one is not types.NoneType]
    if len(rest) == 1:
        return decode(rest[0], value, place, report)
    trials = []
    for one in rest:
        trial = attrs.evolve(report, problems=[])
        found = decode(one, value, place, trial)
        if found is not FAULTY:
            return found
        trials.append(trial)
    if isinstance(value, Mapping | list):
        # What comes closest is told.
        report.problems.extend(min(trials, key=_distance).problems)
    else:
        report.add(place, f"expected {_spelled(Union[args])}, got {_shown(value)}")  # noqa: UP007
    return FAULTY


def _distance(trial: Report) -> tuple[int, int]:
    """Return how far a value is from a type, by what is wrong with it."""
    return len(trial.problems), -sum("Did you mean" in problem for problem in trial.problems)


# --- Single values -----------------------------------------------------------------------------


def _single(kind: Any, value: Any, place: Place, report: Report) -> Any:
    try:
        if kind is timedelta:
            return timedelta(0) if value == 0 else as_duration(value)
        if kind is Budget:
            return as_budget(value)
        if kind is Path and isinstance(value, str):
            return report.base(place) / Path(value).expanduser()
        plain = _plain(value)
        return plain if kind in (Any, object) else codec_of(kind).decode(to_json(plain))
    except CodecError:
        hint = nearest(value, _words(kind)) if isinstance(value, str) else ""
        report.add(place, f"expected {_spelled(kind)}, got {_shown(value)}{hint and '.'}{hint}")
    except AstroError as error:
        report.add(place, f"{error.problem} {error.remedy}".strip())
    return FAULTY


def _held(kind: Any, held: Held, place: Place, report: Report) -> Any:
    """Decode what a variable holds, as text or as what the text says; never show it."""
    if kind in (Any, object):
        return held.read()
    trial = attrs.evolve(report, problems=[])
    for value in (held.text, held.read()):
        found = decode(kind, value, place, trial)
        if found is not FAULTY:
            return found
    direct = report.variable(place) == held.variable
    rest = "" if direct else f"; {held.variable} holds something else"
    report.add(place, f"expected {_spelled(kind)}{rest}")
    return FAULTY


def _plain(value: Any) -> Any:
    """Return a value with what its variables hold, for fields that take anything."""
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_plain(item) for item in value]
    return value.read() if isinstance(value, Held) else value


# --- Words -------------------------------------------------------------------------------------


def _names(kind: type[Any]) -> list[str]:
    return [field.alias for field in attrs.fields(kind) if field.init]


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names) or "nothing"


def _words(kind: Any) -> list[str]:
    """Return the words that a type is limited to, if it is."""
    if get_origin(kind) is Literal:
        return [str(one) for one in get_args(kind)]
    if isinstance(kind, type) and issubclass(kind, Enum):
        return [str(one.value) for one in kind]
    return []


def _spelled(kind: Any) -> str:
    if known := _words(kind):
        return f"one of {', '.join(known)}"
    words = {str: "text", bool: "true or false", timedelta: "a duration", Path: "a path"}
    if get_origin(kind) in (Union, types.UnionType):
        return " or ".join(_spelled(one) for one in get_args(kind))
    if kind is types.NoneType:
        return "nothing"
    if isinstance(kind, type) and attrs.has(kind) and kind is not Budget:
        return f"a mapping of {_listed(_names(kind))}"
    return words.get(kind) or (kind.__name__ if isinstance(kind, type) else str(kind))


def _shown(value: Any) -> str:
    """Return what a value is; only short single values that are no secrets show themselves."""
    if isinstance(value, Mapping):
        return "a mapping"
    if isinstance(value, list | tuple):
        return "a list"
    return "nothing" if value is None else f"{value!r:.60}"


def reason(error: Exception, value: Any) -> str:
    """Return the sentence of an error, unless it might tell what a variable holds."""
    if _is_held(value):
        return f"{type(error).__name__} about a value from the environment"
    if isinstance(error, AstroError):
        return f"{error.problem} {error.remedy}".strip()
    first = error.args[0] if error.args else None
    # Validators of attrs carry more than their sentence.
    plain = isinstance(error, TypeError | ValueError) and isinstance(first, str)
    return (str(first) if plain else str(error)) or type(error).__name__


def _is_held(value: Any) -> bool:
    if isinstance(value, Mapping):
        return any(map(_is_held, value.values()))
    if isinstance(value, list):
        return any(map(_is_held, value))
    return isinstance(value, Held)
