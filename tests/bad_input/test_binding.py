"""The door of arguments: what a task is given when it is asked for.

The same signatures serve `engine.start`, `ctx.call`, workflows and the command line.
"""

from __future__ import annotations

import math
from datetime import datetime, timedelta
from decimal import Decimal
from enum import StrEnum
from typing import Any, Literal

import attrs
import pytest

from astro import CodecError, Context, InvalidArgumentsError
from astro.core.signature import signature_of
from tests.bad_input.cases import LOOP, Case, Odd, deep, each, refused


@attrs.frozen
class Address:
    street: str
    number: int = 1


class Size(StrEnum):
    SMALL = "small"


async def send(
    ctx: Context, name: str, /, count: int = 1, *, to: Address | None = None
) -> None: ...
async def anything(ctx: Context, value: Any = None) -> None: ...
async def nothing(ctx: Context) -> None: ...


async def typed(
    ctx: Context,
    *,
    ratio: float = 0.5,
    flag: bool = False,
    raw: bytes = b"",
    at: datetime | None = None,
    wait: timedelta = timedelta(0),
    price: Decimal = Decimal(0),
    size: Size = Size.SMALL,
    mode: Literal["r", "w"] = "r",
    names: frozenset[str] = frozenset(),
    pair: tuple[int, str] = (0, ""),
    by_name: dict[str, int] | None = None,
) -> None: ...


SEND, ANY, NOTHING, TYPED = (signature_of(fn, skip=1) for fn in (send, anything, nothing, typed))
WRONG = InvalidArgumentsError


def by_name(**kwargs: Any) -> tuple[tuple[Any, ...], dict[str, Any]]:
    return (), kwargs


# --- Names and places ----------------------------------------------------------------------------

PLACES = [
    Case("nothing-given", (SEND, ((), {})), WRONG, "missing required field `name`"),
    Case("one-too-many", (SEND, (("a", 1, 2), {})), WRONG, "takes 2 positional arguments, 3 given"),
    Case("given-twice", (SEND, (("a", 1), {"count": 2})), WRONG, "'count' is given twice"),
    Case("unknown", (SEND, (("a",), {"cuont": 2})), WRONG, "it has no parameter 'cuont'"),
    Case("the-context", (SEND, (("a",), {"ctx": None})), WRONG, "it has no parameter 'ctx'"),
    Case("dunder", (SEND, (("a",), {"__class__": 1})), WRONG, "no parameter '__class__'"),
    Case("empty-name", (SEND, (("a",), {"": 1})), WRONG, "it has no parameter ''"),
    Case("surrogate-name", (SEND, (("a",), {"\ud800": 1})), WRONG, "no parameter '\\ud800'"),
    Case("name-of-a-million", (SEND, (("a",), {"x" * 1_000_000: 1})), WRONG, "no parameter"),
    Case("to-what-takes-none", (NOTHING, ((1,), {})), WRONG, "takes 0 positional arguments, 1"),
    Case("name-to-what-takes-none", (NOTHING, by_name(x=1)), WRONG, "it has no parameter 'x'"),
]


@each(PLACES)
def test_arguments_that_have_no_place_are_refused(case: Case) -> None:
    signature, (args, kwargs) = case.what
    with refused(case):
        signature.bind(args, kwargs)


# --- Types ---------------------------------------------------------------------------------------

TYPES = [
    Case("text-for-int", (SEND, (("a", "1"), {})), WRONG, "Expected `int`, got `str`"),
    Case("bool-for-int", (SEND, (("a", True), {})), WRONG, "Expected `int`, got `bool`"),
    Case("float-for-int", (SEND, (("a", 1.5), {})), WRONG, "Expected `int`, got `float`"),
    Case("none-for-int", (SEND, (("a", None), {})), WRONG, "Expected `int`, got `null`"),
    Case("int-for-text", (SEND, ((1,), {})), WRONG, "Expected `str`, got `int` - at `$.name`"),
    Case("bytes-for-text-are-text", (SEND, ((["a"],), {})), WRONG, "Expected `str`, got `array`"),
    Case("mapping-lacks-a-field", (SEND, (("a",), {"to": {}})), WRONG, "required field `street`"),
    Case(
        "mapping-has-a-wrong-field", (SEND, (("a",), {"to": {"street": 1}})), WRONG, "$.to.street"
    ),
    Case("text-for-a-class", (SEND, (("a",), {"to": "Rome"})), WRONG, "`object | null`, got `str`"),
    Case("list-for-a-class", (SEND, (("a",), {"to": ["Rome"]})), WRONG, "got `array` - at `$.to`"),
    Case("text-for-float", (TYPED, by_name(ratio="0.5")), WRONG, "Expected `float`, got `str`"),
    Case("int-for-bool", (TYPED, by_name(flag=0)), WRONG, "Expected `bool`, got `int`"),
    Case("text-for-bytes", (TYPED, by_name(raw="*")), WRONG, "base64"),
    Case("number-for-datetime", (TYPED, by_name(at=1.5)), WRONG, "at `$.at`"),
    Case("words-for-datetime", (TYPED, by_name(at="tomorrow")), WRONG, "Invalid RFC3339"),
    Case("number-for-duration", (TYPED, by_name(wait="1 hour")), WRONG, "at `$.wait`"),
    Case("words-for-decimal", (TYPED, by_name(price="much")), WRONG, "decimal"),
    Case("none-of-an-enum", (TYPED, by_name(size="large")), WRONG, "Invalid enum value 'large'"),
    Case("none-of-a-literal", (TYPED, by_name(mode="x")), WRONG, "Invalid enum value 'x'"),
    Case("set-of-numbers", (TYPED, by_name(names={1})), WRONG, "Expected `str`, got `int`"),
    Case("pair-of-one", (TYPED, by_name(pair=(1,))), WRONG, "`array` of length 2"),
    Case("pair-swapped", (TYPED, by_name(pair=("a", 1))), WRONG, "$.pair[0]"),
    Case("dict-of-texts", (TYPED, by_name(by_name={"a": "b"})), WRONG, "at `$.by_name[...]`"),
]


@each(TYPES)
def test_arguments_of_another_type_are_refused_with_their_place(case: Case) -> None:
    signature, (args, kwargs) = case.what
    with refused(case):
        signature.bind(args, kwargs)


# --- Values that no journal can hold -------------------------------------------------------------

VALUES = [
    Case("nan", math.nan, WRONG, "nan is not a JSON number"),
    Case("inf-inside", {"a": [math.inf]}, WRONG, "inf is not a JSON number"),
    Case("surrogate", "\ud800", WRONG, "surrogates not allowed"),
    Case("int-of-5001-digits", 10**5000, WRONG, "4300 digits"),
    Case("object", object(), WRONG, "object is not supported"),
    Case("lock", __import__("threading").Lock(), WRONG, "lock is not supported"),
    Case("function", print, WRONG, "is not supported"),
    Case("coroutine-function", nothing, WRONG, "function is not supported"),
    Case("mixed-set", {1, "a"}, WRONG, "cannot be kept as JSON"),
    Case("contains-itself", LOOP, WRONG, "contains itself"),
    Case("nested-100-is-too-deep-inside", deep(100), WRONG, "nested deeper than 100 levels"),
    Case("nested-100000", deep(100_000), WRONG, "nested deeper than 100 levels"),
    Case("16-mib", "x" * (16 * 1024 * 1024), WRONG, "the cap is 16,777,216"),
    Case("100-mb-of-bytes", bytes(100_000_000), WRONG, "the cap is 16,777,216"),
    Case("keys-that-are-one", {1: 1, "1": 2}, WRONG, "two of its keys are the same text"),
    Case("module", math, WRONG, "module is not supported"),
]


@each(VALUES)
def test_values_that_cannot_be_kept_are_no_arguments(case: Case) -> None:
    with refused(case):
        ANY.bind((case.what,), {})


ODD = [
    Odd("text-of-nul", "\0", b'{"value":"\\u0000"}'),
    Odd("two-to-the-63", 2**63, b'{"value":9223372036854775808}'),
    Odd("minus-zero", -0.0, b'{"value":-0.0}'),
    Odd("set", {3, 1, 2}, b'{"value":[1,2,3]}'),
    Odd("bytes", b"\xff", b'{"value":"/w=="}'),
    Odd(
        "langchain-words",
        {"lc": 1, "type": "constructor"},
        b'{"value":{"lc":1,"type":"constructor"}}',
    ),
    Odd(
        "python-words",
        {"__reduce__": ["os.system", "x"]},
        b'{"value":{"__reduce__":["os.system","x"]}}',
    ),
    Odd("numbers-as-keys", {1: "a"}, b'{"value":{"1":"a"}}'),
    Odd("nested-99", deep(99), b'{"value":' + b"[" * 99 + b"null" + b"]" * 99 + b"}"),
    Odd("equal-to-the-default", None, b"{}"),
]


@each(ODD)
def test_values_that_only_look_odd_are_arguments(case: Odd) -> None:
    assert ANY.bind((case.what,), {}).raw == case.gives


CONVERTED = [
    Odd("mapping-for-a-class", (SEND, (("a",), {"to": {"street": "x"}})), Address("x")),
    Odd(
        "unknown-field-is-left-out", (SEND, (("a",), {"to": {"street": "x", "z": 1}})), Address("x")
    ),
]


@each(CONVERTED)
def test_what_fits_the_type_is_made_of_it(case: Odd) -> None:
    signature, (args, kwargs) = case.what
    assert signature.bind(args, kwargs).kwargs["to"] == case.gives


# --- Arguments that come back from a store -------------------------------------------------------

LOADED = [
    Case("nothing", b"", CodecError, "truncated"),
    Case("null", b"null", CodecError, "Expected `object`, got `null`"),
    Case("list", b'["a"]', CodecError, "Expected `object`, got `array`"),
    Case("required-is-missing", b"{}", CodecError, "missing required field `name`"),
    Case("unknown-parameter", b'{"name":"a","x":1}', CodecError, "unknown field `x`"),
    Case("wrong-type", b'{"name":1}', CodecError, "at `$.name`"),
    Case("cut-off", b'{"name":"a', CodecError, "truncated"),
    Case("invalid-utf-8", b'{"name":"\xff"}', CodecError, "invalid"),
    Case("trailing", b'{"name":"a"}{}', CodecError, "trailing characters"),
    Case("nested-100000", b'{"name":' + b"[" * 100_000, CodecError, "Expected `str`"),
]


@each(LOADED)
def test_stored_arguments_that_no_longer_fit_are_refused(case: Case) -> None:
    with refused(case):
        SEND.load(case.what)


@pytest.mark.parametrize("signature", [SEND, ANY])
def test_a_signature_binds_after_all_of_that(signature: Any) -> None:
    assert signature.bind(("a",), {}).raw in (b'{"name":"a"}', b'{"value":"a"}')
