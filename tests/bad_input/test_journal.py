"""The door of journals: what a store gives back is read as records, or reported, never guessed."""

from __future__ import annotations

import math
import re
from typing import Any

import pytest
from msgspec.structs import replace

from astro import (
    CodecError,
    JournalCorruptError,
)
from astro.core.messages import decode_message
from astro.core.records import (
    GENESIS,
    CreatedRecord,
    EmittedRecord,
    Entry,
    IgnoredRecord,
    OwnedRecord,
    Raw,
    Record,
    SleptRecord,
    SpentRecord,
    decode_entry,
    encode_record,
    verify,
)
from astro.decisions.replay import replay
from tests.bad_input.cases import Case, Odd, each, refused
from tests.stores.making import BEGINNING, TENANT, run_id

BROKEN = JournalCorruptError
AT = '"at":"2030-01-01T00:00:00Z"'
OWNED = f'{{"kind":"owned","seq":1,{AT},"owner":"a","token":1}}'

# --- Bodies --------------------------------------------------------------------------------------

BODIES = [
    Case("empty", "", BROKEN, "Entry 7 is no record: Input data was truncated"),
    Case("cut-off", OWNED[:-1], BROKEN, "truncated"),
    Case("cut-in-a-text", OWNED[:20], BROKEN, "truncated"),
    Case("trailing", OWNED + "}", BROKEN, "trailing characters"),
    Case("two-records", OWNED + OWNED, BROKEN, "trailing characters"),
    Case("list", f"[{OWNED}]", BROKEN, "Expected `object`, got `array`"),
    Case("text", '"owned"', BROKEN, "Expected `object`, got `str`"),
    Case("no-kind", OWNED.replace('"kind":"owned",', ""), BROKEN, "missing required field `kind`"),
    Case("unknown-kind", OWNED.replace("owned", "stolen"), BROKEN, "Invalid value 'stolen'"),
    Case("kind-number", OWNED.replace('"owned"', "5"), BROKEN, "Expected `str`"),
    Case("kind-python", OWNED.replace("owned", "__main__.X"), BROKEN, "Invalid value"),
    Case("no-seq", OWNED.replace('"seq":1,', ""), BROKEN, "missing required field `seq`"),
    Case("seq-text", OWNED.replace('"seq":1', '"seq":"1"'), BROKEN, "Expected `int`, got `str`"),
    Case("no-owner", OWNED.replace('"owner":"a",', ""), BROKEN, "required field `owner`"),
    Case("owner-null", OWNED.replace('"a"', "null"), BROKEN, "Expected `str`, got `null`"),
    Case("at-words", OWNED.replace("2030-01-01T00:00:00Z", "now"), BROKEN, "Invalid RFC3339"),
    Case("token-half", OWNED.replace('"token":1', '"token":1.5'), BROKEN, "got `float`"),
    Case("token-huge", OWNED.replace('"token":1', '"token":1' + "0" * 5_000), BROKEN, "range"),
    Case("surrogate", OWNED.replace('"a"', '"\\ud800"'), BROKEN, "Entry 7 is no record"),
    Case("raw-surrogate", OWNED.replace('"a"', '"\ud800"'), BROKEN, "surrogates not allowed"),
    Case("nul", OWNED + "\0", BROKEN, "trailing characters"),
    Case("nested-100000", "[" * 100_000, BROKEN, "Entry 7 is no record"),
    Case(
        "deep-unknown-field",
        OWNED[:-1] + ',"x":' + "[" * 100_000 + "}",
        BROKEN,
        "Entry 7 is no record",
    ),
    Case(
        "unknown-state",
        f'{{"kind":"finished","seq":1,{AT},"state":"over"}}',
        BROKEN,
        "Invalid enum value 'over'",
    ),
    Case(
        "spent-nan",
        f'{{"kind":"spent","seq":1,{AT},"call":"a","parent":"b","money":NaN}}',
        BROKEN,
        "Entry 7 is no record",
    ),
    Case(
        "spent-backwards",
        f'{{"kind":"spent","seq":1,{AT},"call":"a","parent":"b","money":0,"tokens":-1}}',
        BROKEN,
        "Entry 7 is no record",
    ),
    Case(
        "budget-negative",
        f'{{"kind":"reserved","seq":1,{AT},"call":"a","attempt":1,"budget":{{"money":-1}}}}',
        BROKEN,
        "Entry 7 is no record",
    ),
    Case(
        "seq-zero",
        OWNED.replace('"seq":1', '"seq":-5'),
        BROKEN,
        "Entry 7 is no record",
    ),
    Case(
        "until-naive",
        f'{{"kind":"slept","seq":1,{AT},"call":"a","parent":"b","until":"2030-01-01T00:00:00"}}',
        BROKEN,
        "timezone",
    ),
    Case(
        "at-naive",
        OWNED.replace("00:00:00Z", "00:00:00"),
        BROKEN,
        "Entry 7 is no record",
    ),
]


@each(BODIES)
def test_a_body_that_is_no_record_is_reported(case: Case) -> None:
    with refused(case):
        decode_entry(Entry(7, case.what, "0" * 32, 1))


READ = [
    Odd("unknown-field", OWNED[:-1] + ',"colour":"red"}', "a"),
    Odd("python-field", OWNED[:-1] + ',"__class__":"os.system","lc":1}', "a"),
    Odd("spaces", OWNED.replace(",", " ,\n "), "a"),
    Odd("right-to-left", OWNED.replace('"a"', '"\u202ea"'), "\u202ea"),
    Odd("owner-of-nul", OWNED.replace('"a"', '"\\u0000"'), "\0"),
]


@each(READ)
def test_a_body_that_only_looks_odd_is_a_record(case: Odd) -> None:
    record = decode_entry(Entry(1, case.what, "0" * 32, 1))
    assert isinstance(record, OwnedRecord)
    assert record.owner == case.gives


# --- Chains --------------------------------------------------------------------------------------


def journal(length: int = 4) -> list[Entry]:
    """Return the entries of a sound journal."""
    entries: list[Entry] = []
    head = GENESIS
    for seq in range(1, length + 1):
        record = OwnedRecord(seq=seq, at=BEGINNING, owner="fast", token=1)
        entry = encode_record(record, tenant=TENANT, run=run_id(1), token=1, head=head)
        entries.append(entry)
        head = entry.hash
    return entries


def changed(place: int, **fields: Any) -> list[Entry]:
    entries = journal()
    entries[place] = replace(entries[place], **fields)
    return entries


ONE, TWO, THREE, FOUR = journal()
NO_FIT = "Entry {} of run 00000000000000000000000000000001 does not fit the entries before it"
CHAINS = [
    Case("gap", [ONE, TWO, FOUR], BROKEN, NO_FIT.format(3)),
    Case("first-is-missing", [TWO, THREE], BROKEN, NO_FIT.format(1)),
    Case("doubled", [ONE, TWO, TWO, THREE], BROKEN, NO_FIT.format(3)),
    Case("swapped", [ONE, THREE, TWO, FOUR], BROKEN, NO_FIT.format(2)),
    Case("other-body", changed(1, body=OWNED), BROKEN, NO_FIT.format(2)),
    Case("one-space", changed(1, body=TWO.body + " "), BROKEN, NO_FIT.format(2)),
    Case("other-token", changed(2, token=2), BROKEN, NO_FIT.format(3)),
    Case("other-hash", changed(3, hash="0" * 32), BROKEN, NO_FIT.format(4)),
    Case("no-hash", changed(0, hash=""), BROKEN, NO_FIT.format(1)),
    Case("hash-in-capitals", changed(0, hash=ONE.hash.upper()), BROKEN, NO_FIT.format(1)),
    Case("other-number", changed(1, seq=3), BROKEN, NO_FIT.format(2)),
    Case("surrogate", changed(1, body="\ud800"), BROKEN, NO_FIT.format(2)),
]


@each(CHAINS)
def test_a_journal_that_was_changed_is_reported_at_the_first_entry(case: Case) -> None:
    with refused(case):
        verify(case.what, tenant=TENANT, run=run_id(1))
    verify(journal(), tenant=TENANT, run=run_id(1))


OTHERS = [
    Case("tenant", {"tenant": "globex", "run": run_id(1)}, BROKEN, "Entry 1 of run"),
    Case("run", {"tenant": TENANT, "run": run_id(2)}, BROKEN, "Entry 1 of run"),
    Case("head", {"tenant": TENANT, "run": run_id(1), "head": "0" * 32}, BROKEN, "Entry 1 of"),
    Case("after", {"tenant": TENANT, "run": run_id(1), "after": 1}, BROKEN, "Entry 2 of run"),
    Case("joined", {"tenant": f"{TENANT}\0{run_id(1)}", "run": ""}, BROKEN, "Entry 1 of run"),
]


@each(OTHERS)
def test_a_journal_does_not_pass_for_anothers(case: Case) -> None:
    with refused(case):
        verify(journal(), **case.what)


# --- Records that are to be written --------------------------------------------------------------


def spent(**fields: Any) -> Record:
    return SpentRecord(**({"seq": 1, "at": BEGINNING, "call": "a", "parent": "b"} | fields))


RECORDS = [
    Case(
        "surrogate",
        lambda: IgnoredRecord(seq=1, at=BEGINNING, message="\ud800"),
        CodecError,
        "ignored",
    ),
    Case("money-nan", lambda: spent(money=math.nan), CodecError, "cannot be spent"),
    Case("money-inf", lambda: spent(money=math.inf), CodecError, "cannot be spent"),
    Case("tokens-negative", lambda: spent(tokens=-1), CodecError, "cannot be spent"),
]


@each(RECORDS)
def test_a_record_that_cannot_be_kept_is_not_written(case: Case) -> None:
    with refused(case):
        encode_record(case.what(), tenant=TENANT, run=run_id(1), token=1, head=GENESIS)


# --- Journals as a whole -------------------------------------------------------------------------


def created(**fields: Any) -> CreatedRecord:
    given = {"seq": 1, "at": BEGINNING, "task": "t", "args": Raw(b"{}"), "seed": "", "tenant": "a"}
    return CreatedRecord(**(given | fields))


LATER = {"at": BEGINNING, "call": "x", "parent": "root"}
FOLDS = [
    Odd("nothing", [], None),
    Odd("sleep-of-nobody", [created(), SleptRecord(seq=2, until=BEGINNING, **LATER)], "t"),
    Odd(
        "emitted-twice",
        [created()] + [EmittedRecord(seq=n, name="n", value=Raw(b"1"), **LATER) for n in (2, 3)],
        "t",
    ),
]


@each(FOLDS)
def test_a_journal_that_only_looks_odd_is_folded(case: Odd) -> None:
    state = replay(case.what)
    assert (state.created.task if state.created else None) == case.gives


# --- Messages ------------------------------------------------------------------------------------

MESSAGES = [
    Case("empty", b"", ValueError, "truncated"),
    Case("unknown", b'{"kind":"explode"}', ValueError, "Invalid value 'explode'"),
    Case("no-kind", b'{"reason":"x"}', ValueError, "missing required field `kind`"),
    Case("no-answer", b'{"kind":"answer","call":"a"}', ValueError, "required field `answer`"),
    Case("wrong-type", b'{"kind":"cancel","reason":5}', ValueError, "at `$.reason`"),
    Case("naive", b'{"kind":"pause","not_after":"2030-01-01T00:00:00"}', ValueError, "timezone"),
    Case("moment", b'{"kind":"pause","not_after":"soon"}', ValueError, "RFC3339"),
]


@each(MESSAGES)
def test_a_message_that_is_none_is_not_read(case: Case) -> None:
    with pytest.raises(case.error, match=re.escape(case.match)):
        decode_message(case.what)
