"""The signature of a task: how arguments become canonical JSON, and JSON becomes arguments.

The canonical form is what a call's identity hashes: bound to parameter names, encoded by
annotation, keys sorted, defaults left out, so that spelling a call differently, or giving a
parameter a default later, does not make it another call.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from contextlib import suppress
from datetime import date, time, timedelta
from decimal import Decimal
from enum import Enum
from functools import cached_property, lru_cache
from typing import Any, get_type_hints
from uuid import UUID

import msgspec

from astro.core.codec import Codec, codec_of, json_schema, to_json
from astro.core.errors import CodecError, InvalidArgumentsError

__all__ = ["Bound", "Signature", "signature_of"]

_ATOMS = (str, int, float, bytes, type(None), Enum, date, time, timedelta, Decimal, UUID)
"""Types without parts that could be changed."""


class Bound(msgspec.Struct, frozen=True):
    """Arguments, bound.

    Attributes:
        raw: Canonical JSON of the arguments, an object by parameter name.
        args: Values of positional-only parameters.
        kwargs: Values of all the others that were given.
    """

    raw: bytes
    args: tuple[Any, ...]
    kwargs: dict[str, Any]


class Signature(msgspec.Struct, frozen=True, kw_only=True, eq=False, dict=True):
    """The parameters and the result of one function.

    Attributes:
        names: Parameters in order, without the context.
        defaults: The default values, by name.
        positional: How many of the first are positional-only.
        required: Parameters without a default.
        kinds: Types by name.
        returns: Codec of the result.
    """

    function: str
    names: tuple[str, ...]
    defaults: Mapping[str, Any]
    positional: int
    keyword_only: frozenset[str]
    kinds: Mapping[str, Any]
    arguments: Codec[Any]
    returns: Codec[Any]

    @property
    def required(self) -> tuple[str, ...]:
        return tuple(name for name in self.names if name not in self.defaults)

    def bind(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Bound:
        """Return the arguments in canonical form.

        Raises:
            InvalidArgumentsError: They do not fit the parameters.
        """
        given = self._named(args, kwargs) if kwargs or len(args) != 1 else self._single(args)
        try:
            return self._settle(to_json(given))
        except CodecError as error:
            raise InvalidArgumentsError(
                f"The arguments of {self.function} do not fit: {error.problem}",
                remedy=error.remedy,
            ) from error

    def load(self, raw: bytes | msgspec.Raw) -> Bound:
        """Return the arguments of canonical JSON.

        Raises:
            CodecError: They no longer fit the parameters.
        """
        return self._settle(bytes(raw))

    def schema(self) -> dict[str, Any]:
        """Return the JSON Schema of the arguments, an object by parameter name."""
        return json_schema(self.arguments.kind)

    def _single(self, args: tuple[Any, ...]) -> dict[str, Any]:
        """Bind one positional argument, the most frequent call by far."""
        if self.names and self.names[0] not in self.keyword_only:
            return {self.names[0]: args[0]}
        return self._named(args, {})

    def _named(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> dict[str, Any]:
        by_place = [name for name in self.names if name not in self.keyword_only]
        if len(args) > len(by_place):
            raise self._misfit(f"it takes {len(by_place)} positional arguments, {len(args)} given")
        given = dict(zip(by_place, args, strict=False))
        for name, value in kwargs.items():
            if name in given:
                raise self._misfit(f"{name!r:.60} is given twice")
            if name not in self.kinds:
                raise self._misfit(f"it has no parameter {name!r:.60}")
            given[name] = value
        return given

    def _misfit(self, reason: str) -> InvalidArgumentsError:
        return InvalidArgumentsError(
            f"The arguments of {self.function} do not fit: {reason}.",
            remedy=f"Its parameters are ({', '.join(self.names)}).",
        )

    def _settle(self, raw: bytes) -> Bound:
        values = self.arguments.decode(raw)
        given: dict[str, Any] = {}
        for name in self.names:
            value = getattr(values, name)
            if value is msgspec.UNSET:
                continue
            default = self.defaults.get(name, msgspec.UNSET)
            if default is not msgspec.UNSET and self._same(name, default, value):
                continue
            given[name] = value
        canonical = to_json(given)
        for name, codec in self._mutable.items():
            if name not in given:
                # As with every argument, nobody shares an object with another call.
                given[name] = codec.decode(self._defaults[name])
        if not self.positional:
            return Bound(canonical, (), given)
        # A positional-only parameter that was left out must not shift those after it.
        ahead = [given.pop(n, self.defaults.get(n)) for n in self.names[: self.positional]]
        return Bound(canonical, tuple(ahead), given)

    def _same(self, name: str, default: Any, value: Any) -> bool:
        """Return whether a value, as JSON of the parameter's type, is the default."""
        # `True == 1 == 1.0`, also inside of lists: only the JSON tells them apart.
        return default is value or to_json(value) == self._defaults.get(name)

    @cached_property
    def _defaults(self) -> dict[str, bytes]:
        """The defaults as JSON, but for those that are no value of the type, as None often is."""
        found: dict[str, bytes] = {}
        for name, default in self.defaults.items():
            with suppress(CodecError):
                found[name] = to_json(codec_of(self.kinds[name]).settle(default)[1])
        return found

    @cached_property
    def _mutable(self) -> dict[str, Codec[Any]]:
        """How to make the defaults anew that a body could change."""
        return {
            name: codec_of(self.kinds[name])
            for name, default in self.defaults.items()
            if name in self._defaults and not isinstance(default, _ATOMS)
        }


def signature_of(fn: Callable[..., Any], *, skip: int) -> Signature:
    """Return the signature of a function.

    Args:
        skip: How many parameters come first that are no arguments (self, the context).

    Raises:
        InvalidArgumentsError: The function takes `*args` or `**kwargs`, lacks an argument, or
            its annotations cannot be resolved.
        CodecError: A type cannot be kept as JSON.
    """
    name = getattr(fn, "__qualname__", repr(fn))
    try:
        hints = get_type_hints(fn, include_extras=True)
    except Exception as error:  # annotations are code: evaluating them may raise anything
        raise InvalidArgumentsError(
            f"An annotation of {name} cannot be resolved: {error}.",
            remedy="Import the name where the function is defined, outside TYPE_CHECKING.",
        ) from error
    every = list(inspect.signature(fn).parameters.values())
    parameters = every[skip:]
    for parameter in parameters:
        if parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
            raise InvalidArgumentsError(
                f"{name} takes {parameter}, which has no name and no type to keep.",
                remedy="Give it named parameters, one of them a list or a dict.",
            )
    kinds = {p.name: hints.get(p.name, Any) for p in parameters}
    fields = [
        (p.name, kinds[p.name], msgspec.UNSET) for p in parameters if p.default is not p.empty
    ]
    needed = [(p.name, kinds[p.name]) for p in parameters if p.default is p.empty]
    shape = msgspec.defstruct(
        "Arguments", [*needed, *fields], kw_only=True, forbid_unknown_fields=True
    )
    return Signature(
        function=name,
        names=tuple(p.name for p in parameters),
        defaults={p.name: p.default for p in parameters if p.default is not p.empty},
        positional=sum(p.kind is p.POSITIONAL_ONLY for p in parameters),
        keyword_only=frozenset(p.name for p in parameters if p.kind is p.KEYWORD_ONLY),
        kinds=kinds,
        arguments=_codec(name, shape, kinds),
        returns=_codec_of_result(name, hints.get("return", Any)),
    )


def _codec(function: str, shape: Any, kinds: Mapping[str, Any]) -> Codec[Any]:
    for parameter, kind in kinds.items():
        try:
            _kept(kind)
        except CodecError as error:
            raise CodecError(
                f"Parameter {parameter!r} of {function}: {error.problem}", remedy=error.remedy
            ) from error
    return Codec(shape)


def _codec_of_result(function: str, kind: Any) -> Codec[Any]:
    try:
        return _kept(kind)
    except CodecError as error:
        raise CodecError(
            f"The result of {function}: {error.problem}", remedy=error.remedy
        ) from error


def _kept(kind: Any) -> Codec[Any]:
    """Return the codec of a type whose values have a form in JSON.

    Raises:
        CodecError: They have none; msgspec alone would say so with the first value.
    """
    codec = codec_of(kind)
    try:
        formless = _formless(kind)
    except TypeError:  # an unhashable annotation, as Annotated[int, []]
        formless = _formless.__wrapped__(kind)
    if formless:
        raise CodecError(
            f"The type {kind!r:.200} cannot be kept as JSON.",
            remedy="Annotate with builtins, attrs classes, dataclasses, TypedDicts or "
            "pydantic models.",
        )
    return codec


@lru_cache(maxsize=1024)
def _formless(kind: Any) -> bool:
    """Return whether some of a type's values have no form in JSON."""
    try:
        msgspec.json.schema(kind, schema_hook=_shaped)
    except Exception:  # annotations of its fields are evaluated here
        return True
    return False


def _shaped(kind: type[Any]) -> dict[str, Any]:
    """Return some schema for what is accepted by shape; what it is does not matter here."""
    if kind is object or hasattr(kind, "model_validate"):
        return {"description": ""}
    raise NotImplementedError
