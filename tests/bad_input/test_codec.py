"""The door of values: what is kept is JSON of its type, and nothing else."""

from __future__ import annotations

import math
from contextlib import suppress
from datetime import datetime, timedelta
from decimal import Decimal
from enum import Enum
from typing import Any, Literal

from astro import CodecError
from astro.core.codec import MAX_SIZE, Codec, clean_text, json_schema, to_json
from tests.bad_input.cases import LOOP, Case, Odd, deep, each, refused
from tests.core.kinds import Colour, Money, Point, Tree


class Weekday(Enum):
    """An enumeration whose last value no journal can hold."""

    MONDAY = 1
    NEVER = math.nan


class Rude:
    """A model by shape whose dump fails with nothing to say."""

    def model_dump(self, mode: str = "json") -> Any:
        raise KeyError


class Endless:
    """A model by shape whose dump is another one, for ever."""

    def model_dump(self, mode: str = "json") -> Any:
        return [Endless()]


class Unkept:
    """A class that says nothing about its values."""


class Ticket:
    """A model by shape that only admits what it likes."""

    @classmethod
    def model_validate(cls, value: Any) -> Any:
        raise RuntimeError(f"no ticket for {value}")


# --- What is to be kept --------------------------------------------------------------------------

KEPT = [
    Case("nan", math.nan, CodecError, "nan is not a JSON number"),
    Case("inf", math.inf, CodecError, "inf is not a JSON number"),
    Case("minus-inf-in-a-tuple", (1, (-math.inf,)), CodecError, "-inf is not a JSON number"),
    Case("nan-beside-null", [None, math.nan], CodecError, "nan is not a JSON number"),
    Case("nan-as-a-key", {math.nan: 1}, CodecError, "nan is not a JSON number"),
    Case("nan-in-an-enum", Weekday.NEVER, CodecError, "nan is not a JSON number"),
    Case("nan-deep-inside", [{"a": [{"b": math.nan}]}], CodecError, "nan is not a JSON number"),
    Case("surrogate", "a\ud800b", CodecError, "surrogates not allowed"),
    Case("surrogate-as-a-key", {"\udc00": 1}, CodecError, "surrogates not allowed"),
    Case("surrogate-in-an-attrs-class", Money(1, "\ud800"), CodecError, "surrogates"),
    Case("int-of-5001-digits", 10**5000, CodecError, "4300 digits"),
    Case("nested-101", deep(101), CodecError, "nested deeper than 100 levels"),
    Case("nested-101-objects", deep(101, dict), CodecError, "nested deeper than 100 levels"),
    Case("nested-100000", deep(100_000), CodecError, "nested deeper than 100 levels"),
    Case("contains-itself", LOOP, CodecError, "contains itself"),
    Case("endless-model", Endless(), CodecError, "contains itself"),
    Case("one-byte-too-large", "x" * (MAX_SIZE - 1), CodecError, "the cap is 16,777,216"),
    Case("bytes-that-grow", b"x" * (13 * 1024 * 1024), CodecError, "bytes of JSON; the cap is"),
    Case("equal-keys", {1: "a", "1": "b"}, CodecError, "two of its keys are the same text"),
    Case("key-of-a-tuple", {(1, 2): 3}, CodecError, "keys"),
    Case("mixed-set", {1, "a"}, CodecError, "cannot be kept as JSON"),
    Case("an-object", object(), CodecError, "object is not supported"),
    Case("speechless-model", Rude(), CodecError, "Rude is not supported"),
]


@each(KEPT)
def test_what_has_no_json_is_not_kept(case: Case) -> None:
    with refused(case):
        to_json(case.what)


ODD = [
    Odd("minus-zero", -0.0, b"-0.0"),
    Odd("two-to-the-63", 2**63, b"9223372036854775808"),
    Odd("beyond-64-bits", 2**64, b"18446744073709551616"),
    Odd("a-lowest-int", -(2**63), b"-9223372036854775808"),
    Odd("words-of-nan", ["NaN", "null", None], b'["NaN","null",null]'),
    Odd("nul", "\0", b'"\\u0000"'),
    Odd("right-to-left", "\u202e", b'"\xe2\x80\xae"'),
    Odd("astral", "\U0001f680", b'"\xf0\x9f\x9a\x80"'),
    Odd("nested-100", deep(100), b"[" * 100 + b"null" + b"]" * 100),
    Odd("brackets-in-text", "[" * 500, b'"' + b"[" * 500 + b'"'),
    Odd("empty-key", {"": {}}, b'{"":{}}'),
    Odd("python-words", {"__class__": "os.system"}, b'{"__class__":"os.system"}'),
    Odd("langchain-words", {"lc": 1, "type": "constructor"}, b'{"lc":1,"type":"constructor"}'),
    Odd("keys-that-are-numbers", {2: "b", 10: "a"}, b'{"10":"a","2":"b"}'),
    Odd("a-naive-datetime", datetime(2030, 1, 1), b'"2030-01-01T00:00:00"'),
    Odd("an-empty-set", set(), b"[]"),
    Odd("a-decimal-that-is-no-number", Decimal("NaN"), b'"NaN"'),
]


@each(ODD)
def test_what_only_looks_odd_is_kept_as_it_is(case: Odd) -> None:
    assert to_json(case.what) == case.gives


def test_a_value_of_exactly_the_cap_is_kept() -> None:
    assert len(to_json("x" * (MAX_SIZE - 2))) == MAX_SIZE


# --- What is to be read --------------------------------------------------------------------------

READ = [
    Case("nothing", (Any, b""), CodecError, "truncated"),
    Case("blank", (Any, b" \n"), CodecError, "truncated"),
    Case("nan-literal", (Any, b"NaN"), CodecError, "invalid character"),
    Case("minus-infinity", (float, b"-Infinity"), CodecError, "invalid"),
    Case("number-too-large-for-a-float", (float, b"1e400"), CodecError, "Number out of range"),
    Case("trailing-garbage", (int, b"1 x"), CodecError, "trailing characters"),
    Case("two-values", (int, b"1 2"), CodecError, "trailing characters"),
    Case("cut-off", (dict[str, int], b'{"a": 1'), CodecError, "truncated"),
    Case("a-byte-order-mark", (Any, b"\xef\xbb\xbf1"), CodecError, "invalid character"),
    Case("utf-16", (Any, '"a"'.encode("utf-16")), CodecError, "invalid character"),
    Case("invalid-utf-8", (str, b'"\xff"'), CodecError, "invalid"),
    Case("overlong-slash", (str, b'"\xc0\xaf"'), CodecError, "invalid"),
    Case("high-surrogate-alone", (str, b'"\\ud83d"'), CodecError, "truncated"),
    Case("low-surrogate-first", (str, b'"\\udc00\\ud800"'), CodecError, "surrogate"),
    Case("open-100000", (Any, b"[" * 100_000), CodecError, "recursion"),
    Case("closed-100000", (Any, b"[" * 100_000 + b"]" * 100_000), CodecError, "recursion"),
    Case("int-of-5001-digits", (int, b"1" + b"0" * 5000), CodecError, "out of range"),
    Case("float-for-int", (int, b"1.5"), CodecError, "Expected `int`, got `float`"),
    Case("bool-for-int", (int, b"true"), CodecError, "Expected `int`, got `bool`"),
    Case("object-for-list", (list[int], b"{}"), CodecError, "Expected `array`, got `object`"),
    Case("wrong-item", (list[int], b'[1,"2"]'), CodecError, "at `$[1]`"),
    Case("wrong-value-of-a-key", (dict[str, int], b'{"a":{}}'), CodecError, "at `$[...]`"),
    Case("too-short-tuple", (tuple[int, int], b"[1]"), CodecError, "`array` of length 2"),
    Case("none-of-a-literal", (Literal["a", "b"], b'"c"'), CodecError, "Invalid enum value 'c'"),
    Case("none-of-an-enum", (Colour, b'"green"'), CodecError, "Invalid enum value 'green'"),
    Case("none-of-a-union", (int | None, b'"a"'), CodecError, "Expected `int | null`"),
    Case("missing-field", (Point, b'{"y":1}'), CodecError, "missing required field `x`"),
    Case("wrong-field", (Tree, b'{"name":"a","below":[{"name":1}]}'), CodecError, "$.below[0]"),
    Case("list-for-a-class", (Point, b"[1,2]"), CodecError, "Expected `object`, got `array`"),
    Case("the-31st-of-february", (datetime, b'"2030-02-31T00:00:00Z"'), CodecError, "RFC3339"),
    Case("an-endless-duration", (timedelta, b'"P1Y"'), CodecError, "duration"),
    Case("model-that-refuses", (Ticket, b'"me"'), CodecError, "no ticket for me"),
    Case("constructor-that-refuses", (Money, b'{"amount":"x","currency":"EUR"}'), CodecError, "$"),
]


@each(READ)
def test_json_that_does_not_fit_is_not_read(case: Case) -> None:
    kind, raw = case.what
    with refused(case):
        Codec(kind).decode(raw)


READ_ODD = [
    Odd("python-words-are-data", (Any, b'{"__class__":"a.B"}'), {"__class__": "a.B"}),
    Odd("langchain-words-are-data", (Any, b'{"lc":1,"id":["x"]}'), {"lc": 1, "id": ["x"]}),
    Odd("the-last-of-equal-keys", (dict[str, int], b'{"a":1,"a":2}'), {"a": 2}),
    Odd("unknown-fields-of-a-class", (Point, b'{"x":1,"y":2,"__class__":"z"}'), Point(1, 2)),
    Odd("minus-zero", (float, b"-0.0"), -0.0),
    Odd("int-for-float", (float, b"1"), 1.0),
    Odd("beyond-64-bits", (int, b"18446744073709551616"), 2**64),
    Odd("a-pair-of-surrogates", (str, b'"\\ud83d\\ude80"'), "\U0001f680"),
    Odd("nul", (str, b'"a\\u0000b"'), "a\0b"),
    Odd("depth-is-no-matter-of-reading", (Any, b"[" * 150 + b"null" + b"]" * 150), deep(150)),
]


@each(READ_ODD)
def test_json_that_only_looks_odd_is_read_as_it_is(case: Odd) -> None:
    kind, raw = case.what
    assert Codec(kind).decode(raw) == case.gives


# --- Types and texts -----------------------------------------------------------------------------

KINDS = [
    Case("complex", complex, CodecError, "complex"),
    Case("a-plain-class", Unkept, CodecError, "Unkept"),
    Case("a-list-of-what-cannot-be-kept", list[complex], CodecError, "complex"),
    Case("a-number", 5, CodecError, "5"),
    Case("two-classes", Point | Money, CodecError, "more than one"),
]


@each(KINDS)
def test_a_type_that_cannot_be_kept_has_no_schema(case: Case) -> None:
    with refused(case):
        json_schema(case.what)


TEXTS = [
    Case("none", None, CodecError, "None is no key"),
    Case("bytes", b"a", CodecError, "b'a' is no key"),
    Case("nul", "a\0b", CodecError, "is no key"),
    Case("surrogate", "a\ud800", CodecError, "is no key"),
    Case("one-too-long", "x" * 1_001, CodecError, "at most 1,000 characters"),
    Case("a-million", "x" * 1_000_000, CodecError, "at most 1,000 characters"),
]


@each(TEXTS)
def test_a_text_that_cannot_be_shown_is_no_key(case: Case) -> None:
    with refused(case):
        clean_text(case.what, what="key")


def test_codecs_keep_no_trace_of_what_they_refused() -> None:
    codec = Codec(Point)
    for _, raw in (case.what for case in READ):
        with suppress(CodecError):
            codec.decode(raw)
    assert codec.settle(Point(1, 2.0)) == (b'{"x":1,"y":2.0}', Point(1, 2.0))
