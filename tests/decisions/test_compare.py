"""Comparing and explaining: what two runs did differently, and why a call went as it did."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from astro import CallNotFoundError, JournalCorruptError
from astro.core.records import (
    AskedRecord,
    AttemptFailedRecord,
    CreatedRecord,
    DivergedRecord,
    FailedRecord,
    Failure,
    OwnedRecord,
    Raw,
    StartedRecord,
    SucceededRecord,
)
from astro.decisions.compare import diff, explain
from tests.decisions.records import BEGIN, RECORDS, numbered

FAILURE = Failure(type="OSError", message="busy")


def journal(*told: tuple[type[Any], dict[str, Any]]) -> list[Any]:
    """Return the records of a run of which something is told."""
    begun = {"task": "root", "args": Raw(b"{}"), "seed": "s", "tenant": "acme"}
    return [
        kind(seq=seq, at=BEGIN + timedelta(seconds=seq), **fields)
        for seq, (kind, fields) in enumerate([(CreatedRecord, begun), *told], start=1)
    ]


def started(call: str, **fields: Any) -> tuple[type[Any], dict[str, Any]]:
    return StartedRecord, {"call": call, "task": "work", "parent": "root"} | fields


def done(call: str, result: bytes = b"1", **fields: Any) -> tuple[type[Any], dict[str, Any]]:
    return SucceededRecord, {"call": call, "result": Raw(result)} | fields


def failed(call: str, **fields: Any) -> tuple[type[Any], dict[str, Any]]:
    return FailedRecord, {"call": call, "attempt": 1, "failure": FAILURE} | fields


def owned(owner: str) -> tuple[type[Any], dict[str, Any]]:
    return OwnedRecord, {"owner": owner, "token": 1}


def test_a_run_does_not_differ_from_itself() -> None:
    records = journal(started("a"), done("a"), started("b"))
    assert diff(records, records) == []


def test_calls_that_ended_differently_are_told_in_the_order_of_the_first_run() -> None:
    left = journal(started("a"), started("b"), done("b"), done("a"))
    right = journal(started("b"), started("a"), done("a", b"2"), failed("b"))
    assert [str(one) for one in diff(left, right)] == [
        "a: done: 1 | done: 2",
        "b: done: 1 | failed: OSError: busy",
    ]


def test_calls_that_only_one_run_has_are_told() -> None:
    left, right = journal(started("a")), journal(started("b"))
    assert [(one.call, one.task, one.left, one.right) for one in diff(left, right)] == [
        ("a", "work", "running", ""),
        ("b", "work", "", "running"),
    ]
    assert str(diff(left, right)[0]) == "a: running | not asked for"


def test_order_alone_is_no_difference() -> None:
    left = journal(started("a"), started("b"), done("a"), done("b"))
    right = journal(started("b"), started("a"), done("b"), done("a"))
    assert diff(left, right) == []


JOURNALS = st.lists(RECORDS, max_size=6).map(numbered)


@given(JOURNALS, JOURNALS)
def test_what_differs_one_way_differs_the_other_way(left: list[Any], right: list[Any]) -> None:
    try:
        there, back = diff(left, right), diff(right, left)
    except JournalCorruptError:
        return
    assert {(one.call, one.left, one.right) for one in there} == {
        (one.call, one.right, one.left) for one in back
    }


def test_an_explanation_tells_the_life_of_a_call() -> None:
    records = journal(
        owned("first"),
        started("a", agent="ada", reason="least loaded of 2"),
        started("b"),
        (AttemptFailedRecord, {"call": "a", "attempt": 1, "failure": FAILURE, "retry_at": BEGIN}),
        owned("second"),
        started("a", attempt=2),
        (DivergedRecord, {"call": "root", "missing": ("a",)}),
        failed("a", failure=Failure(type="OSError", message="gone", retryable=False)),
        owned("third"),
        owned("fourth"),
    )
    assert [line.split("  ")[-1] for line in explain(records, "a").splitlines()] == [
        "attempt 1 by ada (least loaded of 2)",
        "failed: OSError: busy; again at 00:00:00.000000",
        "the run went over to engine second",
        "attempt 2 by the task's own body",
        "diverged",
        "failed for good: OSError: gone, which no further attempt can help",
    ]


def test_an_explanation_numbers_and_dates_its_lines() -> None:
    assert explain(journal(started("a")), "a").startswith("     2  00:00:02.000000  attempt 1")


@pytest.mark.parametrize(
    ("told", "line"),
    [
        (done("a"), "succeeded"),
        (done("a", cached=True), "succeeded, from the cache"),
        (failed("a"), "failed for good: OSError: busy"),
        (
            (AskedRecord, {"call": "a", "parent": "", "question": "?", "schema": Raw(b"{}")}),
            "asked",
        ),
    ],
)
def test_how_a_call_ended_is_said(told: tuple[type[Any], dict[str, Any]], line: str) -> None:
    assert explain(journal(started("a"), told), "a").endswith(f"  {line}")


def test_a_message_that_speaks_of_engines_is_told_too() -> None:
    failure = Failure(type="OSError", message="the run went over to engine x")
    records = journal(failed("a", failure=failure), owned("b"))
    assert "went over to engine x" in explain(records, "a")
    assert "engine b" not in explain(records, "a")


def test_a_call_that_nobody_asked_for_has_no_explanation() -> None:
    with pytest.raises(LookupError, match="'z' is not one call"):
        explain(journal(owned("a"), started("a")), "z")


def test_the_beginning_of_a_name_is_enough_if_no_other_call_has_it() -> None:
    records = journal(started("a:1f.0"), started("b:2f.0"))
    assert explain(records, "a:1") == explain(records, "a:1f.0")


def test_the_beginning_of_several_names_is_not() -> None:
    records = journal(started("a:1f.0"), started("a:1f.1"))
    with pytest.raises(CallNotFoundError, match=r"a:1f\.0, a:1f\.1"):
        explain(records, "a:1")
