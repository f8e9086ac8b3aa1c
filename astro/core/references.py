"""References: values of a workflow that other values are made from.

What a node is given is an expression: a fixed value, a reference to an input or to another
node's result, text with references in it, or a list or object of these. Expressions are data.
Resolving one looks up keys and indices and nothing else: no attribute, no call, no operator.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from typing import Any, Final, NoReturn, TypeAlias

import msgspec

from astro.core.codec import codec_of, to_json
from astro.core.errors import InvalidArgumentsError
from astro.core.placeholders import parse_text, spell_text

__all__ = [
    "ITEM",
    "MAX_NESTING",
    "Composed",
    "Condition",
    "Expression",
    "Fixed",
    "Part",
    "Reference",
    "Text",
    "condition",
    "expression",
    "form_of",
    "located",
    "references",
    "rewritten",
    "settle",
]

Part: TypeAlias = str | int

ITEM: Final = "item"
"""The name of the item at hand in a node that runs for each item of a list."""

MAX_NESTING: Final = 32
"""How deeply lists, objects and conditions of a workflow may be nested."""

_ANY: Final = codec_of(Any)


class Reference(msgspec.Struct, frozen=True):
    """Stands for an input, a node's result, the item at hand, or a part of one.

    `draft.result["scores"][0]` and the text `"{{ draft.scores.0 }}"` are the same reference. Its
    methods make conditions.

    Attributes:
        name: Of the input or node, or `item`.
        path: Keys and indices into the value.
    """

    name: str
    path: tuple[Part, ...] = ()

    __iter__ = None  # indexing alone would make it look like an endless sequence

    def __getitem__(self, part: Part, /) -> Reference:
        return Reference(self.name, (*self.path, _part(part)))

    def __repr__(self) -> str:
        return f"<Reference {spell_text((self,))}>"

    def __bool__(self) -> NoReturn:
        raise _no_truth("A reference")

    def __invert__(self) -> Condition:
        return ~_truth(self)

    def __and__(self, other: Reference | Condition, /) -> Condition:
        return _truth(self) & other

    def __or__(self, other: Reference | Condition, /) -> Condition:
        return _truth(self) | other

    def equals(self, other: object, /) -> Condition:
        """Return the condition that the value equals another; true is not 1, 1.0 is."""
        return _compared("equals", self, other)

    def is_in(self, others: object, /) -> Condition:
        """Return the condition that the value is in a list, a key of an object, or part of text."""
        return _compared("in", self, others)

    def less_than(self, other: object, /) -> Condition:
        """Return the condition that the number or text is less than another."""
        return _compared("less_than", self, other)

    def at_most(self, other: object, /) -> Condition:
        """Return the condition that the number or text is not more than another."""
        return _compared("at_most", self, other)

    def more_than(self, other: object, /) -> Condition:
        """Return the condition that the number or text is more than another."""
        return _compared("more_than", self, other)

    def at_least(self, other: object, /) -> Condition:
        """Return the condition that the number or text is not less than another."""
        return _compared("at_least", self, other)


class Fixed(msgspec.Struct, frozen=True):
    """A value that is the same in every run, kept as canonical JSON."""

    raw: bytes

    def __repr__(self) -> str:
        return f"<Fixed {self.raw[:60].decode(errors='replace')}>"

    @property
    def value(self) -> Any:
        """A copy of the value that is the caller's own."""
        return _ANY.decode(self.raw)


class Text(msgspec.Struct, frozen=True):
    """Text with references in it; their values appear as text, or as JSON if they are none."""

    parts: tuple[str | Reference, ...]


class Composed(msgspec.Struct, frozen=True):
    """A list, or an object if there are keys, with references somewhere inside."""

    items: tuple[Expression, ...]
    keys: tuple[str, ...] | None = None


Expression: TypeAlias = Reference | Fixed | Text | Composed


class Condition(msgspec.Struct, frozen=True):
    """A question with the answer yes or no, kept as data; `&`, `|` and `~` combine them.

    Attributes:
        verb: `true`, `not`, `all`, `any`, `equals`, `in`, `less_than`, `at_most`, `more_than` or
            `at_least`.
        values: What is looked at; one for `true`, none for `not`, `all` and `any`, two otherwise.
        parts: The conditions that `not`, `all` and `any` combine.
    """

    verb: str
    values: tuple[Expression, ...] = ()
    parts: tuple[Condition, ...] = ()

    def __bool__(self) -> NoReturn:
        raise _no_truth("A condition")

    def __invert__(self) -> Condition:
        return Condition("not", parts=(self,))

    def __and__(self, other: Reference | Condition, /) -> Condition:
        return self._joined("all", other)

    def __or__(self, other: Reference | Condition, /) -> Condition:
        return self._joined("any", other)

    def _joined(self, verb: str, other: Reference | Condition) -> Condition:
        found: list[Condition] = []
        for one in (self, _joinable(other)):
            found.extend(one.parts if one.verb == verb else (one,))
        return Condition(verb, parts=tuple(found))


_COMPARISONS: Final = frozenset({"equals", "in", "less_than", "at_most", "more_than", "at_least"})


# --- From values -----------------------------------------------------------------------------


def expression(value: object, *, depth: int = 0) -> Expression:
    """Return a value as an expression; `{{ name }}` in text is a reference.

    Raises:
        InvalidArgumentsError: A placeholder is not well formed, a key is not text, or the nesting
            is too deep.
        CodecError: Something in it cannot be kept as JSON.
    """
    if isinstance(value, Reference | Fixed | Text | Composed):
        return value
    if isinstance(value, str):
        return _text(value)
    if isinstance(value, Mapping | list | tuple):
        if depth >= MAX_NESTING:
            raise _too_deep()
        return _composed(value, depth + 1)
    result = getattr(value, "result", None)
    if isinstance(result, Reference):  # a node stands for its result
        return result
    return Fixed(to_json(value))


def _text(text: str) -> Expression:
    if "{{" not in text:
        return Fixed(to_json(text))
    parts = tuple(
        part if isinstance(part, str) else Reference(part[0], tuple(map(_part, part[1])))
        for part in parse_text(text)
    )
    if len(parts) == 1 and isinstance(parts[0], Reference):
        return parts[0]
    if all(isinstance(part, str) for part in parts):
        return Fixed(to_json("".join(map(str, parts))))
    return Text(parts)


def _composed(value: Mapping[Any, Any] | Sequence[Any], depth: int) -> Expression:
    keys: tuple[str, ...] | None = None
    if isinstance(value, Mapping):
        for key in value:
            if not isinstance(key, str):
                raise InvalidArgumentsError(f"The key {key!r:.60} is not text.", remedy="Quote it.")
        keys = tuple(sorted(value))
        value = [value[key] for key in keys]
    items = tuple(expression(item, depth=depth) for item in value)
    if not all(isinstance(item, Fixed) for item in items):
        return Composed(items, keys)
    raws = [msgspec.Raw(item.raw) for item in items if isinstance(item, Fixed)]
    return Fixed(to_json(raws if keys is None else dict(zip(keys, raws, strict=True))))


def _part(part: Part) -> Part:
    """Return a key or index in its one form: whole numbers are numbers."""
    if isinstance(part, str) and len(part) < 10 and part.removeprefix("-").isdecimal():
        return int(part) if str(int(part)) == part else part
    if isinstance(part, bool) or not isinstance(part, str | int):
        raise InvalidArgumentsError(
            f"{part!r:.60} is neither a key nor an index.", remedy="Use a text or a whole number."
        )
    return part


def condition(value: object, *, depth: int = 0) -> Condition:
    """Return the condition that plain data describes; the inverse of `form_of`.

    Raises:
        InvalidArgumentsError: It describes none.
    """
    if isinstance(value, Condition):
        return value
    if isinstance(value, Reference):
        return _truth(value)
    if isinstance(value, bool):
        return Condition("true", (Fixed(b"true" if value else b"false"),))
    if depth >= MAX_NESTING:
        raise _too_deep()
    if isinstance(value, str):
        found = expression(value)
        if isinstance(found, Reference):
            return _truth(found)
    elif isinstance(value, Mapping) and len(value) == 1:
        [(verb, operand)] = value.items()
        return _of_verb(verb, operand, depth + 1)
    raise InvalidArgumentsError(
        f"{value!r:.60} is no condition.",
        remedy="Use a reference, true, false, or an object with one of the keys not, all, any, "
        f"{', '.join(sorted(_COMPARISONS))}.",
    )


def _of_verb(verb: object, operand: Any, depth: int) -> Condition:
    if verb == "not":
        return Condition("not", parts=(condition(operand, depth=depth),))
    if verb in ("all", "any") and isinstance(operand, list | tuple):
        return Condition(str(verb), parts=tuple(condition(one, depth=depth) for one in operand))
    if verb in _COMPARISONS and isinstance(operand, list | tuple) and len(operand) == 2:
        return Condition(str(verb), tuple(expression(one, depth=depth) for one in operand))
    if verb in _COMPARISONS:
        raise InvalidArgumentsError(
            f"{verb} takes a list of two values.", remedy=f"Write {{{verb}: [first, second]}}."
        )
    if verb in ("all", "any"):
        raise InvalidArgumentsError(
            f"{verb} takes a list of conditions.", remedy=f"Write {{{verb}: [first, second]}}."
        )
    raise InvalidArgumentsError(
        f"{verb!r:.60} is no condition.",
        remedy=f"Use one of not, all, any, {', '.join(sorted(_COMPARISONS))}.",
    )


def _joinable(other: object) -> Condition:
    if isinstance(other, Condition):
        return other
    if isinstance(other, Reference):
        return _truth(other)
    raise TypeError(f"{other!r:.60} is no condition. Write reference.equals({other!r:.60}).")


def _truth(reference: Reference) -> Condition:
    return Condition("true", (reference,))


def _compared(verb: str, left: Reference, right: object) -> Condition:
    return Condition(verb, (left, expression(right)))


def _too_deep() -> InvalidArgumentsError:
    return InvalidArgumentsError(
        f"The value is nested deeper than {MAX_NESTING} levels.", remedy="Flatten it."
    )


def _no_truth(what: str) -> TypeError:
    return TypeError(
        f"{what} is known only when the workflow runs. Combine with & | ~ instead of and, or, not."
    )


# --- To data, and inside ---------------------------------------------------------------------


def form_of(value: Expression | Condition) -> Any:
    """Return an expression or condition as plain data, from which it can be made again."""
    if isinstance(value, Condition):
        if value.verb == "true":
            return form_of(value.values[0])
        forms = [form_of(one) for one in (*value.values, *value.parts)]
        return {value.verb: forms[0] if value.verb == "not" else forms}
    if isinstance(value, Fixed):
        return _escaped(value.value) if b"{{" in value.raw else value.value
    if isinstance(value, Composed):
        forms = [form_of(item) for item in value.items]
        return forms if value.keys is None else dict(zip(value.keys, forms, strict=True))
    return spell_text((value,) if isinstance(value, Reference) else value.parts)


def _escaped(value: Any) -> Any:
    if isinstance(value, str):
        return spell_text((value,))
    if isinstance(value, list):
        return [_escaped(item) for item in value]
    if isinstance(value, dict):
        return {key: _escaped(item) for key, item in value.items()}
    return value


def located(
    value: Expression | Condition, path: tuple[Part, ...] = ()
) -> Iterator[tuple[tuple[Part, ...], Reference]]:
    """Yield the references inside, each with its path in the form that `form_of` gives."""
    if isinstance(value, Reference):
        yield path, value
    elif isinstance(value, Text):
        yield from ((path, part) for part in value.parts if isinstance(part, Reference))
    elif isinstance(value, Composed):
        keys: Sequence[Part] = value.keys or range(len(value.items))
        for key, item in zip(keys, value.items, strict=True):
            yield from located(item, (*path, key))
    elif isinstance(value, Condition):
        plural = value.verb not in ("true", "not")
        for index, one in enumerate((*value.values, *value.parts)):
            deeper = () if value.verb == "true" else (value.verb,)
            yield from located(one, (*path, *deeper, index) if plural else (*path, *deeper))


def references(value: Expression | Condition) -> Iterator[Reference]:
    """Yield the references inside."""
    return (one for _, one in located(value))


def rewritten(value: Any, change: Callable[[Reference], Reference]) -> Any:
    """Return an expression or condition with each reference changed."""
    if isinstance(value, Reference):
        return change(value)
    if isinstance(value, Text):
        return Text(tuple(p if isinstance(p, str) else change(p) for p in value.parts))
    if isinstance(value, Composed):
        return Composed(tuple(rewritten(one, change) for one in value.items), value.keys)
    if isinstance(value, Condition):
        return Condition(
            value.verb,
            values=tuple(rewritten(one, change) for one in value.values),
            parts=tuple(rewritten(one, change) for one in value.parts),
        )
    return value


def settle(reference: Reference, known: Collection[str]) -> Reference:
    """Return a reference that names what is known: `a.b` of a placeholder may be a part of `a`.

    Longer names win; that no name is the beginning of another is for the workflow to check.
    """
    parts = reference.name.split(".")
    for end in range(len(parts), 0, -1):
        name = ".".join(parts[:end])
        if name in known or (end == 1 and name == ITEM):
            found = Reference(name)
            for part in (*parts[end:], *reference.path):
                found = found[part]
            return found
    return reference
