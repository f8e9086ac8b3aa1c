"""Resolving: what an expression is worth, and whether a condition holds, in one run.

Only keys and indices are looked up, in plain JSON values: nothing of a value's class can be
reached. What the data does not have is an error that names the path.
"""

from __future__ import annotations

import operator
from typing import Any, Final, Protocol

import msgspec

from astro.core.codec import MAX_SIZE, codec_of, to_json
from astro.core.errors import InvalidArgumentsError
from astro.core.placeholders import spell_text
from astro.core.references import Condition, Expression, Fixed, Part, Reference, Text

__all__ = ["ABSENT", "Values", "holds", "plain", "resolve"]

ABSENT: Final = msgspec.UNSET
"""Stands for the result of a node that gave nothing."""

_ANY: Final = codec_of(Any)
_ORDERS: Final = {
    "less_than": operator.lt,
    "at_most": operator.le,
    "more_than": operator.gt,
    "at_least": operator.ge,
}


class Values(Protocol):
    """What the names of a workflow stand for in one run."""

    def whole(self, name: str, /) -> Any:
        """Return the value of a name as its type has it."""
        ...

    def data(self, name: str, /) -> Any:
        """Return the value of a name as plain JSON data, or `ABSENT`, which is null throughout."""
        ...


def plain(value: object) -> Any:
    """Return a value as JSON has it: dicts, lists, text, numbers, booleans, None."""
    if value is None or isinstance(value, bool | int | float | str):
        return value
    return _ANY.decode(to_json(value))


def resolve(value: Expression, values: Values) -> Any:
    """Return the value of an expression; a lone reference keeps its type.

    Raises:
        InvalidArgumentsError: A value has no such key or index, or the text gets too long.
    """
    if isinstance(value, Fixed):
        return value.value
    if isinstance(value, Reference):
        return _data(value, values) if value.path else values.whole(value.name)
    if isinstance(value, Text):
        return _text(value, values)
    items = [resolve(item, values) for item in value.items]
    return items if value.keys is None else dict(zip(value.keys, items, strict=True))


def _data(reference: Reference, values: Values) -> Any:
    value = values.data(reference.name)
    if value is ABSENT:
        return None
    for index, part in enumerate(reference.path):
        try:
            value = _inside(value, part)
        except (LookupError, TypeError):
            whole = spell_text((Reference(reference.name, reference.path[:index]),))
            raise InvalidArgumentsError(
                f"{whole} has no {part!r}: it is {_shape(value)}.",
                remedy="Compare the path with what the task returned.",
            ) from None
    return value


def _inside(value: Any, part: Part) -> Any:
    if isinstance(value, dict):
        return value[str(part)]
    if isinstance(value, list) and isinstance(part, int):
        return value[part]
    raise TypeError


def _shape(value: Any) -> str:
    if isinstance(value, dict):
        return f"an object with the keys {', '.join(list(value)[:10]) or '(none)'}"
    if isinstance(value, list):
        return f"a list of {len(value)} items"
    return f"{to_json(value).decode():.60}"


def _text(value: Text, values: Values) -> str:
    said: list[str] = []
    size = 0
    for part in value.parts:
        found = part if isinstance(part, str) else _data(part, values)
        text = found if isinstance(found, str) else to_json(found).decode()
        size += len(text)
        if size > MAX_SIZE:
            raise InvalidArgumentsError(
                f"The text gets longer than {MAX_SIZE:,} characters.", remedy="Refer to less."
            )
        said.append(text)
    return "".join(said)


def holds(question: Condition, values: Values) -> bool:
    """Return whether a condition holds.

    Raises:
        InvalidArgumentsError: Values cannot be compared, or a value has no such key or index.
    """
    verb, parts = question.verb, question.parts
    if verb == "not":
        return not holds(parts[0], values)
    if verb == "all":
        return all(holds(part, values) for part in parts)
    if verb == "any":
        return any(holds(part, values) for part in parts)
    found = [plain(resolve(value, values)) for value in question.values]
    if verb == "true":
        return bool(found[0])
    if verb == "equals":
        return _same(found[0], found[1])
    if verb == "in":
        return _among(found[0], found[1])
    return _ordered(verb, found[0], found[1])


def _same(left: Any, right: Any) -> bool:
    """Return whether two JSON values are equal; Python's True == 1 is not."""
    if isinstance(left, list) and isinstance(right, list):
        return len(left) == len(right) and all(map(_same, left, right))
    if isinstance(left, dict) and isinstance(right, dict):
        return left.keys() == right.keys() and all(_same(left[key], right[key]) for key in left)
    return isinstance(left, bool) == isinstance(right, bool) and bool(left == right)


def _among(value: Any, values: Any) -> bool:
    if isinstance(values, list):
        return any(_same(value, one) for one in values)
    if isinstance(values, dict | str) and isinstance(value, str):
        return value in values
    raise InvalidArgumentsError(
        f"'in' cannot look for {_shape(value)} in {_shape(values)}.",
        remedy="Look in a list, for a key of an object, or for text in text.",
    )


def _ordered(verb: str, left: Any, right: Any) -> bool:
    numbers = all(
        isinstance(one, int | float) and not isinstance(one, bool) for one in (left, right)
    )
    if not numbers and not (isinstance(left, str) and isinstance(right, str)):
        raise InvalidArgumentsError(
            f"'{verb}' cannot compare {_shape(left)} with {_shape(right)}.",
            remedy="Compare numbers with numbers and text with text.",
        )
    return bool(_ORDERS[verb](left, right))
