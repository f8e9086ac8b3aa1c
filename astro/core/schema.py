"""JSON Schema: checks a value against the schemas that types give.

Covers the keywords that `msgspec.json.schema` writes (JSON Schema 2020-12: type, enum, const,
anyOf, properties, required, items, bounds, formats, local references); anything else accepts.
Answers come from processes that do not have the question's type, only its schema.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from typing import Any, Final
from uuid import UUID

import msgspec
from msgspec import inspect

__all__ = ["misfit", "tightened"]

_TYPES: Final[Mapping[str, tuple[type, ...]]] = {
    "string": (str,),
    "integer": (int,),
    "number": (int, float),
    "boolean": (bool,),
    "array": (list,),
    "object": (dict,),
    "null": (type(None),),
}

_LARGEST: Final = int(math.nextafter(math.inf, 0.0))
_FORMATS: Final[Mapping[str, Any]] = {
    "date-time": datetime,
    "date": date,
    "time": time,
    "duration": timedelta,
    "uuid": UUID,
    "base64": bytes,
    "decimal": Decimal,
}


def misfit(value: Any, schema: Mapping[str, Any]) -> str | None:
    """Return what is wrong with a JSON value, with its path, or None if it fits."""
    return _check(value, schema, schema.get("$defs", {}), "$")


def tightened(schema: Any, kind: Any) -> Any:
    """Return a schema of msgspec with what it leaves out: the types of keys, and times of day.

    Args:
        kind: The type, as `msgspec.inspect` describes it.
    """
    match kind:
        case inspect.DictType(key_type=key, value_type=value):
            inside = tightened(schema.get("additionalProperties", {}), value)
            return schema | {"propertyNames": _names(key), "additionalProperties": inside}
        case inspect.TimeType():
            return schema | {"format": "time"}
        case inspect.ListType(item_type=item) | inspect.VarTupleType(item_type=item):
            return schema | {"items": tightened(schema.get("items", {}), item)}
        case inspect.UnionType(types=types) if len(schema.get("anyOf", ())) == len(types):
            found = zip(schema["anyOf"], types, strict=True)
            return schema | {"anyOf": [tightened(one, each) for one, each in found]}
        case _:
            return schema


def _names(kind: Any) -> dict[str, Any]:
    """Return the schema of the keys of an object."""
    match kind:
        case inspect.IntType():
            return {"pattern": r"^(0|-?[1-9][0-9]*)$"}
        case inspect.EnumType(cls=cls):
            return {"enum": [str(one.value) for one in cls]}
        case inspect.LiteralType(values=values):
            return {"enum": [str(one) for one in values]}
    formats = {
        inspect.UUIDType: "uuid",
        inspect.DateType: "date",
        inspect.DateTimeType: "date-time",
        inspect.DecimalType: "decimal",
    }
    return {"format": formats[type(kind)]} if type(kind) in formats else {}


def _check(value: Any, schema: Mapping[str, Any], defs: Mapping[str, Any], path: str) -> str | None:
    if "$ref" in schema:
        return _check(value, defs[schema["$ref"].rpartition("/")[2]], defs, path)
    if "anyOf" in schema:
        found = [_check(value, one, defs, path) for one in schema["anyOf"]]
        return None if None in found else found[0]
    if "enum" in schema and not _among(value, schema["enum"]):
        return f"{path}: {value!r} is none of {', '.join(map(repr, schema['enum']))}"
    if "const" in schema and not _among(value, [schema["const"]]):
        return f"{path}: {value!r} is not {schema['const']!r}"
    kind = schema.get("type")
    if kind is not None and not _is(value, kind):
        return f"{path}: expected {kind}, got {value!r:.60}"
    return _bounds(value, schema, path) or _inside(value, schema, defs, path)


def _among(value: Any, choices: list[Any]) -> bool:
    # `True == 1 == 1.0`, but they are not the same JSON.
    return any(type(value) is type(one) and value == one for one in choices)


def _is(value: Any, kind: str) -> bool:
    if isinstance(value, bool):
        return kind == "boolean"
    if kind == "number" and isinstance(value, int):
        return abs(value) <= _LARGEST
    return isinstance(value, _TYPES.get(kind, (object,)))


def _bounds(value: Any, schema: Mapping[str, Any], path: str) -> str | None:
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        if value < schema.get("minimum", value) or value > schema.get("maximum", value):
            return f"{path}: {value} is out of bounds"
        low, high = schema.get("exclusiveMinimum"), schema.get("exclusiveMaximum")
        if (low is not None and value <= low) or (high is not None and value >= high):
            return f"{path}: {value} is out of bounds"
    elif isinstance(value, str):
        if not schema.get("minLength", 0) <= len(value) <= schema.get("maxLength", len(value)):
            return f"{path}: the text has {len(value)} characters"
        kind = schema.get("format", schema.get("contentEncoding"))
        if kind in _FORMATS and not _converts(value, _FORMATS[kind]):
            return f"{path}: {value!r:.60} is no {kind}"
        if "pattern" in schema and not re.search(schema["pattern"], value):
            return f"{path}: {value!r:.60} does not match {schema['pattern']!r}"
    elif isinstance(value, list) and not (
        schema.get("minItems", 0) <= len(value) <= schema.get("maxItems", len(value))
    ):
        return f"{path}: the list has {len(value)} items"
    return None


def _converts(value: str, kind: Any) -> bool:
    try:
        msgspec.json.decode(msgspec.json.encode(value), type=kind)
    except (msgspec.MsgspecError, UnicodeEncodeError):
        return False
    return True


def _inside(
    value: Any, schema: Mapping[str, Any], defs: Mapping[str, Any], path: str
) -> str | None:
    if isinstance(value, dict):
        return _object(value, schema, defs, path)
    if isinstance(value, list):
        first = schema.get("prefixItems", [])
        rest = schema.get("items", {})
        for index, item in enumerate(value):
            one = first[index] if index < len(first) else rest
            if one is False:
                return f"{path}: too many items"
            wrong = _check(item, one, defs, f"{path}[{index}]")
            if wrong:
                return wrong
    return None


def _object(value: dict[str, Any], schema: Mapping[str, Any], defs: Any, path: str) -> str | None:
    for name in schema.get("required", ()):
        if name not in value:
            return f"{path}: {name!r} is missing"
    for name in value:
        wrong = _check(name, schema.get("propertyNames", {}), defs, path)
        if wrong:
            return wrong
    known = schema.get("properties", {})
    rest = schema.get("additionalProperties", True)
    for name, item in value.items():
        one = known.get(name, rest)
        if one is False:
            return f"{path}: {name!r} is unknown"
        wrong = _check(item, one, defs, f"{path}.{name}") if isinstance(one, dict) else None
        if wrong:
            return wrong
    return None
