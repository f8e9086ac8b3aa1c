"""Targets: what is fed with bytes that nobody meant, and what it may do with them.

Each takes bytes and returns. It may refuse them with the error that it documents; any other
exception, or an answer that contradicts itself, is a finding.
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Mapping
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from typing import Annotated, Any, Literal, TypedDict
from uuid import UUID

import attrs
import msgspec

from astro.core.codec import codec_of, json_schema, to_json
from astro.core.errors import CodecError, JournalCorruptError, SettingsError, WorkflowError
from astro.core.messages import decode_message, encode_message
from astro.core.records import Entry, decode_entry, encode_record
from astro.core.schema import misfit
from astro.decisions.replay import replay
from astro.setup.workflows import workflows_of
from astro.setup.yaml import read_yaml

__all__ = ["TARGETS"]

NAMES = ("acme", "0" * 32)


class Colour(enum.Enum):
    RED = "red"
    BLUE = "blue"


class Size(enum.IntEnum):
    SMALL = 1
    LARGE = 2


@attrs.frozen
class Point:
    x: int
    y: float = 0.5
    tags: frozenset[str] = frozenset()


class Movie(TypedDict, total=False):
    title: str
    year: int | None


class Leaf(msgspec.Struct, frozen=True):
    name: str
    below: list[Leaf] = []


KINDS: tuple[Any, ...] = (
    Any, None, bool, int, float, str, bytes, list[int], dict[str, float], dict[int, str],
    tuple[int, str], set[int], datetime, date, time, timedelta, Decimal, UUID, Colour, Point, Movie,
    Leaf, Size, int | None, str | list[str], Literal["a", 1], Annotated[int, msgspec.Meta(ge=3)],
    dict[str, list[Point]], object,
)  # fmt: skip


def codec(data: bytes) -> None:
    """The first byte chooses a type; the rest is JSON, or is not."""
    if not data:
        return
    known = codec_of(KINDS[data[0] % len(KINDS)])
    try:
        value = known.decode(data[1:])
        raw, again = known.settle(value)
    except CodecError:
        return
    assert known.decode(raw) == again, (value, again)
    assert to_json(again) == raw, (raw, to_json(again))


def journal(data: bytes) -> None:
    """Each line is the body of an entry; those that are records are folded."""
    records = []
    for line in data.decode("utf-8", "replace").split("\n"):
        try:
            record = decode_entry(Entry(len(records) + 1, line, "", 1))
        except JournalCorruptError:
            continue
        record = msgspec.structs.replace(record, seq=len(records) + 1)
        try:
            entry = encode_record(record, tenant=NAMES[0], run=NAMES[1], token=1, head="")
        except CodecError:
            continue
        assert decode_entry(entry) == record, line
        records.append(record)
    try:
        state = replay(records)
    except JournalCorruptError:
        return
    assert state.seq == len(records)


def message(data: bytes) -> None:
    """One message of an inbox."""
    try:
        found = decode_message(data)
    except (msgspec.MsgspecError, UnicodeError, RecursionError):
        return
    assert decode_message(encode_message(found)) == found


def answer(data: bytes) -> None:
    """The first byte chooses a type; the rest is what somebody answers who has only its schema.

    What fits the schema must fit the type: it is decoded when nobody can be told any more.
    """
    if not data:
        return
    kind = KINDS[data[0] % len(KINDS)]
    try:
        value = msgspec.json.decode(data[1:])
        raw = to_json(value)
    except (msgspec.MsgspecError, CodecError, UnicodeError, RecursionError):
        return
    if misfit(value, json_schema(kind)) is None:
        codec_of(kind).decode(raw)


def yaml(data: bytes) -> None:
    """A file of workflows."""
    try:
        document = read_yaml(data)
        workflows_of(document, inputs=("flours",))
    except (SettingsError, WorkflowError) as error:
        problems = error.problems
    else:
        return
    assert problems, data


TARGETS: Mapping[str, Callable[[bytes], None]] = {
    "answer": answer,
    "codec": codec,
    "journal": journal,
    "message": message,
    "yaml": yaml,
}
