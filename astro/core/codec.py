"""The codec: values are JSON by declared type, and nothing else.

`msgspec` encodes and validates builtins, attrs classes, dataclasses and TypedDicts; pydantic
models are accepted by shape, without importing pydantic. What cannot be kept is refused at the
door: NaN and infinities (msgspec alone would write null), lone surrogates, values that are too
large or too deep. No pickle, no type markers inside values, no import by name.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from enum import Enum
from functools import lru_cache
from typing import Any, Final, Generic, TypeVar, cast

import attrs
import msgspec
import msgspec.inspect

from astro.core.errors import CodecError
from astro.core.schema import tightened

__all__ = ["MAX_DEPTH", "MAX_SIZE", "Codec", "clean_text", "codec_of", "json_schema", "to_json"]

T = TypeVar("T")

MAX_SIZE: Final = 16 * 1024 * 1024
"""Bytes of JSON that one value may take."""

MAX_DEPTH: Final = 100
"""How deeply lists and objects may be nested."""

_STRINGS: Final = re.compile(rb'"(?:[^"\\]+|\\.)*"')
_NO_BRACKETS: Final = bytes(set(range(256)) - set(b"[]{}"))


def _to_builtin(value: Any) -> Any:
    """Turn a value that msgspec does not know into one that it does."""
    dump = getattr(type(value), "model_dump", None)
    if dump is not None:
        return dump(value, mode="json")
    raise NotImplementedError(f"{type(value).__qualname__} is not supported")


def _from_builtin(kind: type[Any], value: Any) -> Any:
    """Build a value of a type that msgspec does not know."""
    if kind is object:
        return value
    validate = getattr(kind, "model_validate", None)
    if validate is not None:
        return validate(value)
    raise NotImplementedError(f"{kind.__qualname__} is not a type of JSON values")


def _schema_hook(kind: type[Any]) -> dict[str, Any]:
    if kind is object:
        return {"description": "Any JSON value."}  # an empty schema would count as none
    schema = getattr(kind, "model_json_schema", None)
    if schema is None:
        raise TypeError(f"{kind.__qualname__} is not a type of JSON values")
    return cast("dict[str, Any]", schema())


# Encoders keep no state between calls; "deterministic" sorts keys and sets.
_ENCODER: Final = msgspec.json.Encoder(order="deterministic", enc_hook=_to_builtin)


def to_json(value: object) -> bytes:
    """Return a value as JSON with sorted keys.

    Raises:
        CodecError: The value has no JSON form, or is too large or too deep.
    """
    try:
        raw = _encoded(value)
    except CodecError:
        raise
    except RecursionError as error:
        raise _refused(f"it is nested deeper than {MAX_DEPTH} levels or contains itself") from error
    except Exception as error:  # a property or a model's dump may raise anything
        raise _refused(str(error) or f"{type(value).__qualname__} is not supported") from error
    if len(raw) > MAX_SIZE:
        raise _refused(f"it takes {len(raw):,} bytes of JSON; the cap is {MAX_SIZE:,}")
    # Both checks cost a scan of the bytes and walk the value only when they might fail.
    if b"null" in raw:
        _refuse_nan(value)
    if raw.count(b"[") + raw.count(b"{") > MAX_DEPTH:
        _refuse_depth(raw)
    return raw


def _encoded(value: object) -> bytes:
    try:
        return _ENCODER.encode(value)
    except TypeError as error:
        if "str keys" not in str(error):
            raise
    # The deterministic encoder takes text as keys only; other keys are turned into text first.
    _refuse_nan(value)
    plain = msgspec.to_builtins(value, str_keys=True, order="deterministic", enc_hook=_to_builtin)
    return _ENCODER.encode(plain)


def _refused(reason: str) -> CodecError:
    return CodecError(
        f"The value cannot be kept as JSON: {reason}.",
        remedy="Use builtins, attrs classes, dataclasses, TypedDicts or pydantic models, "
        "and files or blobs for what is large.",
    )


def _refuse_nan(value: object) -> None:
    """Raise if a float that JSON does not have hides in the value."""
    rest: list[Any] = [value]
    while rest:
        item = rest.pop()
        if isinstance(item, float):
            if not math.isfinite(item):
                raise _refused(f"{item} is not a JSON number")
        elif isinstance(item, Enum):
            rest.append(item.value)
        elif isinstance(item, Mapping):
            rest.extend(item.keys())
            rest.extend(item.values())
            if len({str(key) for key in item}) < len(item):
                raise _refused("two of its keys are the same text")
        elif isinstance(item, (list, tuple, set, frozenset)):
            rest.extend(item)
        elif hasattr(type(item), "model_dump"):
            rest.append(type(item).model_dump(item))
        elif isinstance(item, msgspec.Struct):
            rest.extend(msgspec.structs.asdict(item).values())
        elif attrs.has(type(item)):
            rest.extend(getattr(item, field.name, None) for field in attrs.fields(type(item)))
        elif hasattr(type(item), "__dataclass_fields__"):
            rest.extend(getattr(item, name, None) for name in type(item).__dataclass_fields__)


def _refuse_depth(raw: bytes) -> None:
    """Raise if the JSON is nested too deeply; reads bytes, so it cannot recurse."""
    depth = 0
    for bracket in _STRINGS.sub(b"", raw).translate(None, _NO_BRACKETS):
        depth += 1 if bracket in b"[{" else -1
        if depth > MAX_DEPTH:
            raise _refused(f"it is nested deeper than {MAX_DEPTH} levels")


def clean_text(text: object, *, what: str, cap: int = 1_000) -> str:
    """Return a text that can be kept and shown: a key, a tenant, a reason.

    Raises:
        CodecError: It is no text, too long, or has characters that cannot be kept.
    """
    if not isinstance(text, str) or len(text) > cap or "\0" in text or not _is_utf8(text):
        raise CodecError(
            f"{text!r:.60} is no {what}.",
            remedy=f"Use a text of at most {cap:,} characters, without NUL and lone surrogates.",
        )
    return text


def _is_utf8(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


class Codec(Generic[T]):
    """Encodes and decodes the values of one declared type."""

    __slots__ = ("_decoder", "kind")

    def __init__(self, kind: Any) -> None:
        self.kind = kind
        try:
            self._decoder: msgspec.json.Decoder[T] = msgspec.json.Decoder(
                kind, dec_hook=_from_builtin
            )
        except Exception as error:  # annotations of its fields are evaluated here
            raise CodecError(
                f"The type {kind!r} cannot be kept as JSON: {_sentence(error)}",
                remedy="Annotate with builtins, attrs classes, dataclasses, TypedDicts or "
                "pydantic models.",
            ) from error

    def decode(self, raw: bytes | msgspec.Raw) -> T:
        """Return the value of some JSON.

        Raises:
            CodecError: The JSON is broken or does not fit the type.
        """
        try:
            return self._decoder.decode(raw)
        except Exception as error:  # a model's validation may raise anything
            raise CodecError(
                f"The value does not fit the type {_spelled(self.kind)}: {_sentence(error)}",
                remedy="Pass, answer or return a value of the declared type.",
            ) from error

    def settle(self, value: object) -> tuple[bytes, T]:
        """Return a value's JSON and the value that this JSON gives.

        What a caller sees is the second, so that a live result equals a replayed one and
        nobody shares a mutable object with the journal.

        Raises:
            CodecError: The value has no JSON form or does not fit the type.
        """
        raw = to_json(value)
        return raw, self.decode(raw)


def _sentence(error: Exception) -> str:
    """Return what an error says, with a full stop: a remedy follows."""
    said = str(error).rstrip(" .\n") or type(error).__name__
    return f"{said}."


def _spelled(kind: Any) -> str:
    return kind.__name__ if isinstance(kind, type) else str(kind)


@lru_cache(maxsize=1024)
def _cached(kind: Any) -> Codec[Any]:
    return Codec(kind)


def codec_of(kind: Any) -> Codec[Any]:
    """Return the codec of a type.

    Raises:
        CodecError: msgspec cannot keep values of the type.
    """
    try:
        return _cached(kind)
    except TypeError:  # an unhashable annotation, as Annotated[int, []]
        return Codec(kind)


def json_schema(kind: Any) -> dict[str, Any]:
    """Return the JSON Schema (2020-12) of a type.

    Raises:
        CodecError: The type has none.
    """
    try:
        loose = msgspec.json.schema(kind, schema_hook=_schema_hook)
        return tightened(loose, msgspec.inspect.type_info(kind))
    except Exception as error:  # annotations of its fields are evaluated here
        raise CodecError(
            f"The type {kind!r} has no JSON Schema: {_sentence(error)}",
            remedy="Use a type of JSON values.",
        ) from error
