"""Records of every kind, made by chance."""

from __future__ import annotations

import types
import typing
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import Any

import msgspec
from hypothesis import strategies as st

from astro import Budget, Record, State
from astro.core.records import (
    Entry,
    Failure,
    Raw,
    encode_record,
)

KINDS: tuple[type[Any], ...] = typing.get_args(Record)
BEGIN = datetime(2030, 1, 1, tzinfo=UTC)
TENANT, RUN = "acme", "0" * 32

TEXT = st.text(st.characters(exclude_categories=("Cs",)), max_size=6)
RAW = st.sampled_from([b"null", b'{"a":1}', b'"x"', b"[1,2]"]).map(Raw)
MOMENT = st.integers(0, 10**9).map(lambda n: BEGIN + timedelta(microseconds=n))
FAILURE = st.builds(Failure, type=TEXT, message=TEXT, attempts=st.integers(1, 9), args=RAW)
BUDGET = st.builds(Budget, money=st.none() | st.floats(0, 9), tokens=st.none() | st.integers(0, 9))

FIELDS: dict[Any, st.SearchStrategy[Any]] = {
    str: TEXT,
    int: st.integers(0, 2**53),
    float: st.floats(0, 1e9),
    bool: st.booleans(),
    datetime: MOMENT,
    Raw: RAW,
    msgspec.UnsetType: st.just(msgspec.UNSET),
    type(None): st.none(),
    Failure: FAILURE,
    Budget: BUDGET,
    State: st.sampled_from(State),
    tuple[str, str]: st.tuples(TEXT, TEXT),
    tuple[str, ...]: st.lists(TEXT, max_size=3).map(tuple),
    dict[str, str]: st.dictionaries(TEXT, TEXT, max_size=2),
}


def _of(kind: Any) -> st.SearchStrategy[Any]:
    if isinstance(kind, types.UnionType) or typing.get_origin(kind) is typing.Union:
        return st.one_of(*map(_of, typing.get_args(kind)))
    return FIELDS[kind]


@cache
def of_kind(kind: type[Any]) -> st.SearchStrategy[Any]:
    """Return records of one kind."""
    return st.builds(kind, **{name: _of(hint) for name, hint in _hints(kind).items()})


def _hints(kind: type[Any]) -> dict[str, Any]:
    hints = typing.get_type_hints(kind)
    return {name: hints[name] for name in kind.__struct_fields__}


RECORDS: st.SearchStrategy[Any] = st.sampled_from(KINDS).flatmap(of_kind)


def numbered(records: list[Any], first: int = 1) -> list[Any]:
    """Return records as they follow each other in a journal."""
    return [
        msgspec.structs.replace(record, seq=seq) for seq, record in enumerate(records, start=first)
    ]


def chained(records: list[Any], token: int = 1) -> list[Entry]:
    """Return records as the entries of a journal."""
    entries: list[Entry] = []
    head = ""
    for record in records:
        entry = encode_record(record, tenant=TENANT, run=RUN, token=token, head=head)
        head = entry.hash
        entries.append(entry)
    return entries
