"""JSON Schema: checks a value against the schemas that types give.

Covers the keywords that `msgspec.json.schema` writes (JSON Schema 2020-12: type, enum, const,
anyOf, properties, required, items, bounds, formats, local references); anything else accepts.
Answers come from processes that do not have the question's type, only its schema.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping
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
# As the keys of an object, since there all of these are text.
_FORMATS: Final[Mapping[str, Any]] = {
    "date-time": dict[datetime, None],
    "date": dict[date, None],
    "time": dict[time, None],
    "duration": dict[timedelta, None],
    "uuid": dict[UUID, None],
    "base64": dict[bytes, None],
    "decimal": dict[Decimal, None],
    "float": dict[float, None],
}
_ZONE: Final = r"([Zz]|[+-]\d\d:?\d\d)$"
_NO_ZONE: Final = rf"^(?!.*{_ZONE})"
_WIRE: Final[Mapping[Any, str]] = {
    inspect.DateTimeType: "string",
    inspect.DictType: "object",
    inspect.FrozenSetType: "array",
    inspect.ListType: "array",
    inspect.SetType: "array",
    inspect.TimeType: "string",
    inspect.TupleType: "array",
    inspect.VarTupleType: "array",
}
"""What types are as JSON, of those in which there may be something to tighten."""


def misfit(value: Any, schema: Mapping[str, Any]) -> str | None:
    """Return what is wrong with a JSON value, with its path, or None if it fits."""
    return _check(value, schema, {}, "$")


def tightened(schema: dict[str, Any], kind: Any) -> dict[str, Any]:
    """Return a schema of msgspec with what it leaves out: the types of keys, moments and times.

    Args:
        kind: The type, as `msgspec.inspect` describes it.
    """
    found: dict[str, Any] = _Tightener(schema.get("$defs", {})).tightened(schema, kind)
    return found


class _Tightener:
    """Goes through a schema and its type side by side, and once through each class."""

    def __init__(self, defs: dict[str, Any]) -> None:
        self._defs = defs
        self._seen: set[str] = set()

    def tightened(self, schema: Any, kind: Any) -> Any:
        while isinstance(kind, inspect.Metadata):
            kind = kind.type
        if "$ref" in schema:
            self._tighten_class(_name(schema), kind)
            return schema
        match kind:
            case inspect.DictType(key_type=key, value_type=value):
                names = schema.get("propertyNames", {}) | _names(key)
                inside = self.tightened(schema.get("additionalProperties", {}), value)
                return schema | {"propertyNames": names, "additionalProperties": inside}
            case (
                inspect.ListType(item_type=item)
                | inspect.VarTupleType(item_type=item)
                | inspect.SetType(item_type=item)
                | inspect.FrozenSetType(item_type=item)
            ):
                return schema | {"items": self.tightened(schema.get("items", {}), item)}
            case inspect.TupleType(item_types=items) if items:
                return schema | {"prefixItems": self._each(schema["prefixItems"], items)}
            case inspect.UnionType(types=types):
                return schema | {"anyOf": [self._of_union(one, types) for one in schema["anyOf"]]}
            case _:
                return schema | _moment(kind)

    def _each(self, schemas: Iterable[Any], kinds: Iterable[Any]) -> list[Any]:
        return [self.tightened(*pair) for pair in zip(schemas, kinds, strict=True)]

    def _of_union(self, schema: Any, kinds: Iterable[Any]) -> Any:
        """Tighten one choice of a union, whose order is not that of the types."""
        if "anyOf" in schema:  # several classes that are told apart by a tag
            return schema | {"anyOf": [self._of_union(one, kinds) for one in schema["anyOf"]]}
        for kind in kinds:
            while isinstance(kind, inspect.Metadata):
                kind = kind.type
            if "$ref" in schema and hasattr(kind, "fields"):
                known = _called(kind.cls)
                if _name(schema) in known:
                    return self.tightened(schema, kind)
            elif "$ref" not in schema and _WIRE.get(type(kind)) == schema.get("type"):
                return self.tightened(schema, kind)
        return schema

    def _tighten_class(self, name: str, kind: Any) -> None:
        if name in self._seen or name not in self._defs or not hasattr(kind, "fields"):
            return
        self._seen.add(name)
        schema = self._defs[name]
        if "prefixItems" in schema:
            first = len(schema["prefixItems"]) - len(kind.fields)  # 1 if there is a tag
            tag, items = schema["prefixItems"][:first], schema["prefixItems"][first:]
            found = self._each(items, [field.type for field in kind.fields])
            self._defs[name] = schema | {"prefixItems": [*tag, *found]}
        else:
            properties = dict(schema.get("properties", {}))
            for field in kind.fields:
                wanted = properties[field.encode_name]
                properties[field.encode_name] = self.tightened(wanted, field.type)
            self._defs[name] = schema | {"properties": properties}


def _name(schema: Mapping[str, Any]) -> str:
    return str(schema["$ref"]).rpartition("/")[2]


def _called(kind: Any) -> tuple[str, str]:
    """Return what msgspec may call a class: by its name, or in full where two have it."""
    origin = getattr(kind, "__origin__", kind)
    args = [one.__name__ if isinstance(one, type) else repr(one) for one in _args(kind)]
    short = f"{origin.__name__}[{', '.join(args)}]" if args else origin.__name__
    full = f"{kind.__module__}.{getattr(kind, '__qualname__', short)}"
    return re.sub(r"[^\w.-]", "_", short), re.sub(r"[^\w.-]", "_", full)


def _args(kind: Any) -> tuple[Any, ...]:
    return tuple(getattr(kind, "__args__", ())) if hasattr(kind, "__origin__") else ()


def _moment(kind: Any) -> dict[str, Any]:
    """Return the format of moments and times of day, which have a time zone, none, or either."""
    if not isinstance(kind, inspect.DateTimeType | inspect.TimeType):
        return {}
    form = {"format": "date-time" if isinstance(kind, inspect.DateTimeType) else "time"}
    return form if kind.tz is None else form | {"pattern": _ZONE if kind.tz else _NO_ZONE}


def _names(kind: Any) -> dict[str, Any]:
    """Return the schema of the keys of an object."""
    while isinstance(kind, inspect.Metadata):
        kind = kind.type
    match kind:
        case inspect.IntType():
            return {"pattern": r"^(0|-?[1-9][0-9]*)$"}
        case inspect.EnumType(cls=cls):
            return {"enum": [str(one.value) for one in cls]}
        case inspect.LiteralType(values=values):
            return {"enum": [str(one) for one in values]}
    formats: dict[Any, str] = {
        inspect.BytesType: "base64",
        inspect.DateType: "date",
        inspect.DecimalType: "decimal",
        inspect.FloatType: "float",
        inspect.TimeDeltaType: "duration",
        inspect.UUIDType: "uuid",
    }
    return {"format": formats[type(kind)]} if type(kind) in formats else _moment(kind)


def _check(value: Any, schema: Mapping[str, Any], defs: Mapping[str, Any], path: str) -> str | None:
    if "$defs" in schema:  # of a model, which brings its own
        defs = {**defs, **schema["$defs"]}
    if "$ref" in schema:
        return _check(value, defs.get(_name(schema), {}), defs, path)
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
        if "multipleOf" in schema and value % schema["multipleOf"]:
            return f"{path}: {value} is no multiple of {schema['multipleOf']}"
    elif isinstance(value, str):
        if not schema.get("minLength", 0) <= len(value) <= schema.get("maxLength", len(value)):
            return f"{path}: the text has {len(value)} characters"
        kind = schema.get("format", schema.get("contentEncoding"))
        if kind in _FORMATS and not _converts(value, _FORMATS[kind]):
            return f"{path}: {value!r:.60} is no {kind}"
        if "pattern" in schema and not re.search(schema["pattern"], value):
            return f"{path}: {value!r:.60} does not match {schema['pattern']!r}"
    elif isinstance(value, list | dict):
        what = "Items" if isinstance(value, list) else "Properties"
        if not schema.get(f"min{what}", 0) <= len(value) <= schema.get(f"max{what}", len(value)):
            noun = "list has {} items" if isinstance(value, list) else "object has {} keys"
            return f"{path}: the {noun.format(len(value))}"
    return None


def _converts(value: str, kind: Any) -> bool:
    try:
        msgspec.json.decode(msgspec.json.encode({value: None}), type=kind)
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
