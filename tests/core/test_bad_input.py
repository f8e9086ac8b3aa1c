"""Bad input at the doors of values: every case is refused with an error that names the remedy."""

from __future__ import annotations

import math
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from functools import partial
from typing import Any, Literal
from uuid import UUID

import pytest

from astro import AstroError, CodecError, Context, InvalidArgumentsError, JournalCorruptError, task
from astro.core.codec import Codec, json_schema, to_json
from astro.core.records import Entry, decode_entry, verify
from astro.core.signature import signature_of
from tests.core.kinds import Colour, Kept, Model, Money, Options, Pair, Point, Tree

Case = tuple[str, Callable[[], object], type[AstroError]]


def refused(error: type[AstroError], door: Callable[..., object], *inputs: Any) -> list[Case]:
    """Return one case per input of a door."""
    name = getattr(door, "__name__", type(door).__name__)
    return [(f"{name} {n}", partial(door, one), error) for n, one in enumerate(inputs)]


# --- Values that are to be kept ----------------------------------------------------------------

LOOP: dict[str, Any] = {}
LOOP["self"] = LOOP


def deep(levels: int, make: Callable[[Any], Any]) -> Any:
    value: Any = None
    for _ in range(levels):
        value = make(value)
    return value


class Unknown:
    """A class that is no value."""


VALUES: list[Any] = [
    math.nan,
    math.inf,
    -math.inf,
    [1.0, math.nan],
    {"a": {"b": [math.inf]}},
    (0.5, (math.nan,)),
    {math.nan},
    {math.inf: 1},
    Point(1, math.nan),
    Money(math.inf, "EUR"),  # type: ignore[arg-type]  # that is the point
    Kept(1, math.nan),  # type: ignore[arg-type]  # that is the point
    Pair(1, math.inf),  # type: ignore[arg-type]  # that is the point
    Model("a", [math.nan]),  # type: ignore[list-item]  # that is the point
    "\ud800",
    "a\udfffb",
    ["\udc80"],
    {"\ud83d": 1},
    {"a": "\ude00"},
    10**5000,
    -(10**5000),
    [10**5000],
    deep(101, lambda inner: [inner]),
    deep(101, lambda inner: {"a": inner}),
    deep(101, lambda inner: (inner,)),
    deep(20_000, lambda inner: [inner]),
    LOOP,
    "x" * (16 * 1024 * 1024),
    b"x" * (13 * 1024 * 1024),
    {1: "a", "1": "b"},
    {(1, 2): "a"},
    {1, "a"},
    object(),
    Unknown(),
    [Unknown()],
    {"a": Unknown()},
    Unknown,
    int,
    len,
    lambda: None,
    iter([1]),
    (one for one in [1]),
    range(3),
    complex(1, 2),
    ValueError("x"),
    NotImplemented,
    ...,
    open,
    math,
]

# --- JSON that is to be read -------------------------------------------------------------------

BROKEN: list[bytes] = [
    b"",
    b" ",
    b"nul",
    b"NaN",
    b"Infinity",
    b"-Infinity",
    b"undefined",
    b"'a'",
    b'"a',
    b"[1,]",
    b"[1 2]",
    b"[",
    b"{",
    b"}",
    b'{"a"}',
    b'{"a":}',
    b"{a:1}",
    b'{"a":1,}',
    b"1 2",
    b"01",
    b"+1",
    b".5",
    b"1.",
    b"0x10",
    b"1e400",
    b"// c\n1",
    b"\xef\xbb\xbf1",
    b'"\x00"',
    b'"\n"',
    b'"\xff"',
    b'"\xc0\xaf"',
    b'"\xed\xa0\x80"',
    b'"\\ud800"',
    b'"\\x41"',
    b"[" * 100_000,
    b"[" * 100_000 + b"]" * 100_000,
    b'{"a":' * 100_000,
    b"1" + b"0" * 5_000,
]

MISFITS: list[tuple[Any, bytes]] = [
    (int, b"1.0"),
    (int, b"true"),
    (int, b'"1"'),
    (int, b"null"),
    (bool, b"1"),
    (bool, b'"true"'),
    (float, b'"1"'),
    (float, b"true"),
    (str, b"1"),
    (str, b"null"),
    (bytes, b'"*"'),
    (None, b"0"),
    (list[int], b"{}"),
    (list[int], b'[1,"2"]'),
    (dict[str, int], b'{"a":"b"}'),
    (dict[int, int], b'{"a":1}'),
    (tuple[int, int], b"[1]"),
    (set[int], b'["a"]'),
    (Literal["a"], b'"b"'),
    (Literal[1], b"true"),
    (int | None, b'"a"'),
    (datetime, b'"yesterday"'),
    (datetime, b'"2030-13-01T00:00:00Z"'),
    (date, b'"2030-02-30"'),
    (timedelta, b'"P"'),
    (UUID, b'"123"'),
    (Decimal, b'"many"'),
    (Colour, b'"green"'),
    (Point, b"{}"),
    (Point, b'{"x":null}'),
    (Point, b"[1,2]"),
    (Money, b'{"amount":1,"currency":5}'),
    (Options, b'{"size":1}'),
    (Pair, b"[1]"),
    (Tree, b'{"name":"a","below":[{"name":1}]}'),
    (Model, b'{"lc":1,"type":"constructor"}'),
    (Model, b'{"__class__":"os.system"}'),
    (object, b"{"),
    (complex, b"1"),
    (Unknown, b"{}"),
]


def read(case: tuple[Any, bytes]) -> object:
    kind, raw = case
    return Codec(kind).decode(raw)


def read_anything(raw: bytes) -> object:
    return Codec(Any).decode(raw)


# --- Arguments, options and types --------------------------------------------------------------


async def work(ctx: Context, x: int, /, text: str = "a", *, ratio: float = 0.5) -> None: ...


WORK = signature_of(work, skip=1)
ARGUMENTS: list[tuple[tuple[Any, ...], dict[str, Any]]] = [
    ((), {}),
    ((1, "a", 0.5), {}),
    ((1,), {"x": 1}),
    ((1,), {"self": 1}),
    ((1,), {"__class__": 1}),
    ((1,), {"": 1}),
    ((1,), {"ctx": None}),
    ((1,), {"text": None}),
    ((1,), {"text": ["a"]}),
    ((1,), {"text": "\ud800"}),
    ((1,), {"ratio": math.nan}),
    ((1,), {"ratio": "0.5"}),
    ((True,), {}),
    (("1",), {}),
    ((1.5,), {}),
    (([1],), {}),
    ((10**5000,), {}),
    ((object(),), {}),
    ((LOOP,), {}),
    ((Decimal(1),), {}),
]


def bind(case: tuple[tuple[Any, ...], dict[str, Any]]) -> object:
    return WORK.bind(*case)


OPTIONS: list[dict[str, Any]] = [
    {"retry": 0},
    {"retry": -1},
    {"retry": "3"},
    {"retry": 2.5},
    {"timeout": 0},
    {"timeout": -1.0},
    {"timeout": math.nan},
    {"timeout": math.inf},
    {"timeout": 1e300},
    {"timeout": "5"},
    {"timeout": timedelta(0)},
    {"deadline": 60},
    {"deadline": timedelta(-1)},
    {"deadline": datetime(2030, 1, 1, tzinfo=UTC)},
    {"cache": 60},
    {"cache": timedelta(0)},
    {"priority": "high"},
    {"priority": 1.5},
    {"undo": "refund"},
    {"version": 2},
    {"limit": 0},
    {"limit": "many"},
    {"effect": "nonsense"},
    {"effect": 5},
    {"raises": ValueError},
    {"raises": (int,)},
    {"raises": ("ValueError",)},
    {"raises": (KeyboardInterrupt,)},
    {"needs_agent": "yes"},
    {"aliases": "old"},
    {"aliases": 5},
    {"aliases": ("",)},
    {"aliases": ("a\u202eb",)},
    {"name": ""},
    {"name": "a\0"},
    {"name": "../a"},
    {"name": "x" * 201},
    {"name": "\ud800"},
    {"name": 5},
    {"nmae": "greet"},
    {"fn": work},
    {"skip": 0},
    {"shape": None, "mystery": 1},
]


def decorate(options: dict[str, Any]) -> object:
    return task(**options)(work)


def describe(kind: Any) -> object:
    return json_schema(kind)


# --- Records -----------------------------------------------------------------------------------

BODIES: list[str] = [
    "",
    "null",
    "[]",
    "{}",
    '{"kind":"owned"}',
    '{"kind":"unknown","seq":1}',
    '{"kind":5}',
    '{"seq":1,"at":"2030-01-01T00:00:00Z","owner":"a","token":1}',
    '{"kind":"owned","seq":"1","at":"2030-01-01T00:00:00Z","owner":"a","token":1}',
    '{"kind":"owned","seq":1,"at":"now","owner":"a","token":1}',
    '{"kind":"owned","seq":1,"at":"2030-01-01T00:00:00Z","owner":null,"token":1}',
    '{"kind":"owned","seq":1,"at":"2030-01-01T00:00:00Z","owner":"a","token":1',
    '{"kind":"spent","seq":1,"at":"2030-01-01T00:00:00Z","call":"a","money":null}',
    '{"kind":"spent","seq":1,"at":"2030-01-01T00:00:00Z","call":"a","money":-1}',
    '{"kind":"finished","seq":1,"at":"2030-01-01T00:00:00Z","state":"over"}',
    '{"kind":"emitted","seq":1,"at":"2030-01-01T00:00:00Z","call":"a","value":}{}',
    '"\ud800"',
    "[" * 100_000,
]


def open_entry(body: str) -> object:
    return decode_entry(Entry(1, body, "0" * 32, 1))


def check_entry(body: str) -> object:
    return verify([Entry(1, body, "0" * 32, 1)], tenant="acme", run="0" * 32)


CASES: list[Case] = [
    *refused(CodecError, to_json, *VALUES),
    *refused(CodecError, read_anything, *BROKEN),
    *refused(CodecError, read, *MISFITS),
    *refused(CodecError, WORK.load, *BROKEN[:20]),
    *refused(InvalidArgumentsError, bind, *ARGUMENTS),
    *refused(InvalidArgumentsError, decorate, *OPTIONS),
    *refused(CodecError, describe, complex, Unknown, list[Unknown], type, iter),
    *refused(JournalCorruptError, open_entry, *BODIES),
    *refused(JournalCorruptError, check_entry, *BODIES),
]


@pytest.mark.parametrize(
    ("door", "error"), [case[1:] for case in CASES], ids=[case[0] for case in CASES]
)
def test_bad_input_is_refused_with_an_error_that_names_the_remedy(
    door: Callable[[], object], error: type[AstroError]
) -> None:
    with pytest.raises(AstroError) as caught:
        door()
    assert type(caught.value) is error
    assert caught.value.problem
    assert caught.value.remedy
    str(caught.value).encode()


def test_the_corpus_is_large() -> None:
    assert len(CASES) >= 200
