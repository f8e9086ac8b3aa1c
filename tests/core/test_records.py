"""Records: they survive their JSON, and their chain betrays every change."""

from __future__ import annotations

import math
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from astro import CodecError, JournalCorruptError, State
from astro.core.messages import (
    AnswerMessage,
    ApproveMessage,
    CancelMessage,
    FinishedMessage,
    PauseMessage,
    ResumeMessage,
    decode_message,
    encode_message,
)
from astro.core.records import (
    GENESIS,
    CancelRequestedRecord,
    Entry,
    OwnedRecord,
    SpentRecord,
    as_bytes,
    as_json,
    decode_entries,
    decode_entry,
    encode_record,
    verify,
)
from tests.decisions.records import (
    BEGIN,
    KINDS,
    RAW,
    RECORDS,
    RUN,
    TENANT,
    TEXT,
    chained,
    numbered,
    of_kind,
)

JOURNALS = st.lists(RECORDS, min_size=1, max_size=4).map(numbered).map(chained)


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
@given(data=st.data())
def test_records_of_every_kind_survive_their_json(kind: Any, data: st.DataObject) -> None:
    record = data.draw(of_kind(kind))
    entry = encode_record(record, tenant=TENANT, run=RUN, token=3, head=GENESIS)
    found = decode_entry(entry)
    assert type(found) is kind
    assert msgspec.json.encode(found) == msgspec.json.encode(record) == entry.body.encode()
    assert found.kind == record.kind


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_the_name_of_a_kind_is_that_of_its_class(kind: Any) -> None:
    assert kind.__name__ == f"{kind.__struct_config__.tag.title().replace('_', '')}Record"


@given(JOURNALS)
def test_a_journal_as_it_was_written_fits_its_chain(entries: list[Entry]) -> None:
    verify(entries, tenant=TENANT, run=RUN)
    verify(entries[1:], tenant=TENANT, run=RUN, after=1, head=entries[0].hash)
    assert len(decode_entries(entries)) == len(entries)


def assert_damaged(entries: list[Entry], tenant: str = TENANT, run: str = RUN) -> None:
    with pytest.raises(JournalCorruptError, match="does not fit"):
        verify(entries, tenant=tenant, run=run)


@given(JOURNALS, st.data())
def test_any_byte_of_a_body_that_changes_is_found(
    entries: list[Entry], data: st.DataObject
) -> None:
    place = data.draw(st.integers(0, len(entries) - 1))
    body = entries[place].body
    at = data.draw(st.integers(0, len(body) - 1))
    other = data.draw(st.characters().filter(lambda c: c != body[at]))
    changed = body[:at] + other + body[at + 1 :]
    entries[place] = msgspec.structs.replace(entries[place], body=changed)
    assert_damaged(entries)


@given(JOURNALS, st.data(), st.integers(0, 31))
def test_any_digit_of_a_hash_that_changes_is_found(
    entries: list[Entry], data: st.DataObject, at: int
) -> None:
    place = data.draw(st.integers(0, len(entries) - 1))
    old = entries[place].hash
    digit = "0" if old[at] != "0" else "1"
    changed = old[:at] + digit + old[at + 1 :]
    entries[place] = msgspec.structs.replace(entries[place], hash=changed)
    assert_damaged(entries)


@given(JOURNALS, st.data())
def test_another_token_or_number_is_found(entries: list[Entry], data: st.DataObject) -> None:
    place = data.draw(st.integers(0, len(entries) - 1))
    one = entries[place]
    token = msgspec.structs.replace(one, token=one.token + 1)
    assert_damaged([*entries[:place], token, *entries[place + 1 :]])
    seq = msgspec.structs.replace(one, seq=one.seq + 1)
    assert_damaged([*entries[:place], seq, *entries[place + 1 :]])


@given(JOURNALS, TEXT.filter(lambda text: text != TENANT))
def test_a_journal_of_another_tenant_or_run_is_found(entries: list[Entry], other: str) -> None:
    assert_damaged(entries, tenant=other)
    assert_damaged(entries, run=other)


LONGER = st.lists(RECORDS, min_size=3, max_size=5).map(numbered).map(chained)


@given(LONGER, st.data())
def test_an_entry_that_is_missing_or_doubled_is_found(
    entries: list[Entry], data: st.DataObject
) -> None:
    place = data.draw(st.integers(0, len(entries) - 2))
    assert_damaged([*entries[:place], *entries[place + 1 :]])
    assert_damaged([*entries[: place + 1], entries[place], *entries[place + 1 :]])


@given(LONGER, st.data())
def test_entries_that_are_swapped_are_found(entries: list[Entry], data: st.DataObject) -> None:
    place = data.draw(st.integers(0, len(entries) - 2))
    one, two = entries[place : place + 2]
    assert_damaged([*entries[:place], two, one, *entries[place + 2 :]])


@given(LONGER, RECORDS)
def test_an_entry_that_was_forged_without_the_chain_is_found(
    entries: list[Entry], record: Any
) -> None:
    forged = encode_record(
        msgspec.structs.replace(record, seq=2), tenant=TENANT, run=RUN, token=1, head=GENESIS
    )
    assert_damaged([entries[0], forged, *entries[2:]])


def test_a_text_that_utf_8_cannot_hold_is_refused_before_it_is_kept() -> None:
    record = CancelRequestedRecord(seq=1, at=BEGIN, reason="\ud800")
    with pytest.raises(CodecError, match="cancel_requested"):
        encode_record(record, tenant=TENANT, run=RUN, token=1, head=GENESIS)


@pytest.mark.parametrize("money", [math.nan, math.inf, -0.01])
def test_what_cannot_be_spent_is_no_record(money: float) -> None:
    with pytest.raises(CodecError, match="cannot be spent"):
        SpentRecord(seq=1, at=BEGIN, call="a", money=money)


def test_tokens_are_not_given_back() -> None:
    with pytest.raises(CodecError, match="cannot be spent"):
        SpentRecord(seq=1, at=BEGIN, call="a", tokens=-1)


@given(st.binary(max_size=9))
def test_fields_of_json_are_bytes_or_nothing(raw: bytes) -> None:
    assert as_bytes(as_json(raw)) == raw
    assert as_bytes(as_json(None)) is None


def test_a_field_of_null_is_not_the_same_as_no_field() -> None:
    assert as_bytes(as_json(b"null")) == b"null"


@pytest.mark.parametrize("state", State)
def test_three_states_are_terminal(state: State) -> None:
    assert state.terminal == (state.value in ("done", "failed", "cancelled"))


def test_fields_that_a_later_version_adds_are_ignored() -> None:
    entry = chained([OwnedRecord(seq=1, at=BEGIN, owner="a", token=1)])[0]
    later = msgspec.structs.replace(entry, body=entry.body[:-1] + ',"later":[1]}')
    assert decode_entry(later) == decode_entry(entry)


MESSAGES = st.one_of(
    st.builds(AnswerMessage, call=TEXT, answer=RAW, by=TEXT, once=st.none() | TEXT),
    st.builds(CancelMessage, reason=TEXT),
    st.builds(PauseMessage, by=TEXT),
    st.builds(ResumeMessage, by=TEXT),
    st.builds(ApproveMessage, accepted=st.lists(TEXT).map(tuple), by=TEXT),
    st.builds(FinishedMessage, run=TEXT, state=st.sampled_from(State), result=RAW),
)


@given(MESSAGES)
def test_messages_survive_their_json(message: Any) -> None:
    found = decode_message(encode_message(message))
    assert type(found) is type(message)
    assert encode_message(found) == encode_message(message)
