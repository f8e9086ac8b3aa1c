"""Kinds: the types of a workflow's inputs as words, and which types fit which parameters.

A workflow is data, so the types of its inputs are words of a small closed language that reads
like Python: `str`, `list[int]`, `dict[str, any]`, `str | None`, `Literal["low", "high"]`.
"""

from __future__ import annotations

import json
import re
import types
from collections.abc import Mapping
from datetime import date, datetime, timedelta
from typing import Annotated, Any, Final, Literal, Union, get_args, get_origin, get_type_hints

import attrs

from astro.core.errors import InvalidArgumentsError, nearest

__all__ = ["fits", "inside", "kind_of", "spell_kind"]

_WORDS: Final[Mapping[str, Any]] = {
    "any": Any,
    "bool": bool,
    "date": date,
    "datetime": datetime,
    "dict": dict,
    "float": float,
    "int": int,
    "list": list,
    "None": None,
    "str": str,
    "timedelta": timedelta,
}
_TOKEN: Final = re.compile(r'\s*(?:([A-Za-z_]\w*)|(-?\d{1,18})|("(?:[^"\\]|\\.)*")|([\[\],|]))')
_MAX_WORDS: Final = 200


# --- Words -----------------------------------------------------------------------------------


def spell_kind(kind: Any) -> str:
    """Return the words for a type.

    Raises:
        InvalidArgumentsError: There are none; classes of an application have none.
    """
    if isinstance(kind, str):
        return spell_kind(kind_of(kind))
    if kind is object:
        return "any"
    for word, known in _WORDS.items():
        if kind is known or (kind is types.NoneType and known is None):
            return word
    origin, args = get_origin(kind), get_args(kind)
    if origin in (Union, types.UnionType):
        return " | ".join(dict.fromkeys(map(spell_kind, args)))
    if origin is Literal and all(
        type(arg) is not bool and isinstance(arg, str | int) for arg in args
    ):
        return f"Literal[{', '.join(json.dumps(arg, ensure_ascii=False) for arg in args)}]"
    if origin is list:
        return f"list[{spell_kind(args[0])}]"
    if origin is dict and args[0] is str:
        return f"dict[str, {spell_kind(args[1])}]"
    raise InvalidArgumentsError(
        f"{getattr(kind, '__name__', kind)!s:.60} is no type of a workflow's input.",
        remedy="A workflow is data: use dict[str, Any] or Any; the task's parameter makes the "
        "object of it.",
    )


def kind_of(words: str) -> Any:
    """Return the type that words stand for.

    Raises:
        InvalidArgumentsError: They stand for none.
    """
    tokens: list[str] = []
    at = 0
    while words[at:].strip():
        found = _TOKEN.match(words, at)
        if found is None or len(tokens) > _MAX_WORDS:
            raise _unknown(words, words[at:])
        tokens.append(found[0].strip())
        at = found.end()
    tokens.reverse()
    kind = _union(words, tokens, depth=0)
    if tokens:
        raise _unknown(words, tokens[-1])
    return kind


def _union(words: str, tokens: list[str], *, depth: int) -> Any:
    kind = _single(words, tokens, depth=depth)
    while tokens and tokens[-1] == "|":
        tokens.pop()
        kind = Union[kind, _single(words, tokens, depth=depth)]  # noqa: UP007  # Any | None fails
    return kind


def _single(words: str, tokens: list[str], *, depth: int) -> Any:
    word = tokens.pop() if tokens else ""
    if depth > 10 or (word not in _WORDS and word not in ("Any", "Literal", "null")):
        raise _unknown(words, word)
    args: list[Any] = []
    if tokens and tokens[-1] == "[":
        separator = tokens.pop()
        while separator in ("[", ","):
            if word == "Literal":
                args.append(_literal(words, tokens))
            else:
                args.append(_union(words, tokens, depth=depth + 1))
            separator = tokens.pop() if tokens else ""
        if separator != "]":
            raise _unknown(words, separator)
    if word == "Literal" and args:
        return Literal[tuple(args)]
    if word == "list" and len(args) == 1:
        return list[args[0]]  # type: ignore[valid-type]  # a type made at run time
    if word == "dict" and len(args) == 2 and args[0] is str:
        return dict[str, args[1]]  # type: ignore[valid-type]  # a type made at run time
    if args or word == "Literal":
        raise _unknown(words, word)
    return {"Any": Any, "null": None}.get(word, _WORDS.get(word))


def _literal(words: str, tokens: list[str]) -> Any:
    token = tokens.pop() if tokens else ""
    if not (token.startswith('"') or token.lstrip("-").isdecimal()):
        raise _unknown(words, token)
    return json.loads(token)


def _unknown(words: str, part: str) -> InvalidArgumentsError:
    hint = nearest(part, _WORDS)
    return InvalidArgumentsError(
        f"{words!r:.80} is no type{f': {part!r:.40} is unexpected' if part else ''}.{hint}",
        remedy=f"Use {', '.join(sorted(_WORDS, key=str.lower))}, list[...], dict[str, ...], "
        'Literal["a", "b"] and |.',
    )


# --- What fits -------------------------------------------------------------------------------


def fits(given: Any, wanted: Any) -> bool | None:
    """Return whether values of a type fit a parameter; None if only the value itself can tell.

    Equal types, subclasses, a type and its optional, and int for float fit. Types whose JSON
    has another form (text and a number) do not.
    """
    given, wanted = _bare(given), _bare(wanted)
    if wanted in (Any, object) or given == wanted:
        return True
    if given in (Any, object):
        return None
    if _members(given) != (given,):
        return _all_of([fits(one, wanted) for one in _members(given)])
    if _members(wanted) != (wanted,):
        found = [fits(given, one) for one in _members(wanted)]
        return True if True in found else None if None in found else False
    if _is_subclass(given, wanted):
        return True
    mine, theirs = _shape(given), _shape(wanted)
    if mine is None or theirs is None:
        return None
    if mine != theirs:
        return mine == "integer" and theirs == "number"
    return True if mine == "null" else _contents(given, wanted)


def _bare(kind: Any) -> Any:
    """Return a type without annotations and new names."""
    while True:
        if get_origin(kind) is Annotated:
            kind = get_args(kind)[0]
        elif hasattr(kind, "__supertype__"):
            kind = kind.__supertype__
        else:
            return types.NoneType if kind is None else kind


def _all_of(found: list[bool | None]) -> bool | None:
    """Return the answer for a union: yes or no if all members say so."""
    return found[0] if len(set(found)) == 1 else None


def _members(kind: Any) -> tuple[Any, ...]:
    return get_args(kind) if get_origin(kind) in (Union, types.UnionType) else (kind,)


def _is_subclass(given: Any, wanted: Any) -> bool:
    if not (isinstance(given, type) and isinstance(wanted, type)) or given is bool:
        return False
    try:
        return issubclass(given, wanted)
    except TypeError:  # list[int] and its like look like classes
        return False


def _contents(given: Any, wanted: Any) -> bool | None:
    """Return whether lists or objects fit by what they contain."""
    mine, theirs = get_args(given), get_args(wanted)
    if _shape(given) == "array":
        if not theirs:
            return True if wanted is list else None
        both_lists = get_origin(given) is list and get_origin(wanted) is list
        return fits(mine[0], theirs[0]) if both_lists else None
    if get_origin(given) is dict and get_origin(wanted) is dict:
        return fits(mine[1], theirs[1]) if mine[0] == theirs[0] else None
    return True if wanted is dict else None


def _shape(kind: Any) -> str | None:
    """Return the JSON type of a type's values, or None if there are several."""
    if kind in _SHAPES:
        return _SHAPES[kind]
    origin = get_origin(kind)
    if origin in _SHAPES:
        return _SHAPES[origin]
    if isinstance(kind, type) and (
        attrs.has(kind) or hasattr(kind, "__dataclass_fields__") or hasattr(kind, "__total__")
    ):
        return "object"
    return None


_SHAPES: Final[Mapping[Any, str]] = {
    bool: "boolean",
    date: "string",
    datetime: "string",
    dict: "object",
    float: "number",
    int: "integer",
    list: "array",
    set: "array",
    str: "string",
    timedelta: "string",
    tuple: "array",
    types.NoneType: "null",
}


def inside(kind: Any, part: str | int) -> Any:
    """Return the type of a part of a value, Any if it is not known.

    Raises:
        LookupError: Values of the type have no such part.
    """
    kind = _bare(kind)
    origin, args = get_origin(kind), get_args(kind)
    shape = _shape(kind)
    if origin is list and isinstance(part, int):
        return args[0]
    if origin is dict:
        return args[1]
    if shape == "object" and kind is not dict:
        try:
            fields = get_type_hints(kind)
        except NameError:  # known only to type checkers
            return Any
        if str(part) not in fields:
            raise LookupError(f"{kind.__name__} has no {part!r}.{nearest(str(part), fields)}")
        return fields[str(part)]
    if shape not in (None, "array", "object"):
        raise LookupError(f"{spell_kind(kind)} has no parts")
    return Any
