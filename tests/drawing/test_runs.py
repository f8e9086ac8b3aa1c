"""The graph of a run shows what happened, on one page."""

from __future__ import annotations

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from astro import Record, State
from astro.core.records import (
    AbandonedRecord,
    AnsweredRecord,
    AttemptFailedRecord,
    ChildFinishedRecord,
    ChildStartedRecord,
    Failure,
    ParkedRecord,
    PausedRecord,
    Raw,
    StartedRecord,
    SucceededRecord,
    UndoingRecord,
)
from astro.drawing import Link, graph_of_run, to_svg
from astro.drawing.runs import DEPTH, PAGE, spelled_duration
from tests.decisions.records import RECORDS, numbered
from tests.drawing.journal import Journal, labels, lines

# --- Shape ---------------------------------------------------------------------------------------


def test_no_records_are_an_empty_graph() -> None:
    assert graph_of_run([]).nodes == ()


def test_calls_one_after_another_read_as_a_sequence() -> None:
    journal = Journal()
    for task in ("research", "draft", "review"):
        journal.step(task)
    assert lines(graph_of_run(journal.records)) == {
        ("article", "ASKS", "research"),
        ("research", "THEN", "draft"),
        ("draft", "THEN", "review"),
    }


def test_parallel_calls_fan_out_and_what_follows_joins_them() -> None:
    journal = Journal()
    left, right = journal.call("left"), journal.call("right")
    journal.done(right, left)
    journal.step("join")
    assert lines(graph_of_run(journal.records)) == {
        ("article", "ASKS", "left"),
        ("article", "ASKS", "right"),
        ("left", "THEN", "join"),
        ("right", "THEN", "join"),
    }


def test_a_chain_beside_a_long_call_stays_a_chain() -> None:
    journal = Journal()
    long = journal.call("long")
    journal.step("one")
    journal.step("two")
    journal.done(long)
    assert lines(graph_of_run(journal.records)) == {
        ("article", "ASKS", "long"),
        ("article", "ASKS", "one"),
        ("one", "THEN", "two"),
    }


def test_many_after_many_meet_in_a_point() -> None:
    journal = Journal()
    for stage in "ab":
        journal.done(*[journal.call(f"{stage}{number}") for number in range(8)])
    drawn = graph_of_run(journal.records)
    assert [node.is_point for node in drawn.nodes].count(True) == 1
    assert len(drawn.edges) == 8 + 8 + 8


def test_calls_of_calls_stand_below_their_caller() -> None:
    journal = Journal()
    draft = journal.call("draft")
    journal.step("outline", draft)
    assert ("draft", "ASKS", "outline") in lines(graph_of_run(journal.records))


def test_nodes_come_in_order_of_first_appearance() -> None:
    journal = Journal()
    for task in "cab":
        journal.step(task)
    drawn = graph_of_run(journal.records)
    assert [node.label for node in drawn.nodes] == ["article", "c", "a", "b"]


# --- Bundles -------------------------------------------------------------------------------------


def fan_out() -> Journal:
    journal = Journal("audit")
    calls = [journal.call("analyse", place="[]") for _ in range(812)]
    for call in calls:
        journal.step("search", call)
    journal.done(*calls[:800])
    for call in calls[800:803]:
        journal.failed(call)
    return journal


def test_a_map_is_one_box_with_counts() -> None:
    drawn = graph_of_run(fan_out().records)
    analyse = drawn.nodes[1]
    assert (analyse.label, analyse.count, analyse.state) == ("analyse", 812, State.FAILED)
    assert dict(analyse.tally) == {State.FAILED: 3, State.RUNNING: 9, State.DONE: 800}
    assert analyse.caption == "3 failed, 9 running, 800 done"


def test_what_a_map_calls_is_bundled_too() -> None:
    drawn = graph_of_run(fan_out().records)
    assert [(node.label, node.count) for node in drawn.nodes] == [
        ("audit", 1),
        ("analyse", 812),
        ("search", 812),
    ]


def test_the_summary_counts_all_calls() -> None:
    summary = graph_of_run(fan_out().records).summary
    assert summary == "1,625 calls, 3 failed, 10 running, 1,612 done"


def test_a_few_equal_calls_keep_their_boxes() -> None:
    journal = Journal()
    journal.done(*[journal.call("greet", place="[]") for _ in range(3)])
    assert [node.count for node in graph_of_run(journal.records).nodes] == [1, 1, 1, 1]


def test_a_map_whose_calls_start_as_others_end_is_one_box() -> None:
    journal = Journal()
    running = [journal.call("fetch", place="[]") for _ in range(10)]
    for _ in range(200):
        journal.done(running.pop(0))
        running.append(journal.call("fetch", place="[]"))
    assert [node.count for node in graph_of_run(journal.records).nodes] == [1, 210]


def test_a_loop_over_two_tasks_stays_a_sequence_while_it_is_short() -> None:
    journal = Journal()
    for _ in range(4):
        journal.step("draft")
        journal.step("review")
    drawn = graph_of_run(journal.records)
    assert [node.label for node in drawn.nodes[1:]] == ["draft", "review"] * 4
    assert [edge.link for edge in drawn.edges] == [Link.ASKS] + [Link.THEN] * 7


def test_a_long_loop_over_two_tasks_is_two_boxes() -> None:
    journal = Journal()
    for _ in range(100):
        journal.step("draft")
        journal.step("review")
    drawn = graph_of_run(journal.records)
    assert [(n.label, n.count) for n in drawn.nodes[1:]] == [("draft", 100), ("review", 100)]


def test_two_maps_over_one_task_with_something_between_are_two_boxes() -> None:
    journal = Journal()
    for task, number in (("fetch", 50), ("sort", 1), ("fetch", 70)):
        journal.done(*[journal.call(task, place="[]") for _ in range(number)])
    drawn = graph_of_run(journal.records)
    assert [(n.label, n.count) for n in drawn.nodes[1:]] == [
        ("fetch", 50),
        ("sort", 1),
        ("fetch", 70),
    ]


def test_too_many_different_tasks_share_a_last_box() -> None:
    journal = Journal()
    for number in range(1_000):
        journal.step(f"task {number}")
    drawn = graph_of_run(journal.records)
    assert len(drawn.nodes) < 100
    assert sum(node.count for node in drawn.nodes) == 1_001
    assert drawn.nodes[-1].label == "941 other tasks"


def test_a_deep_run_says_how_much_it_does_not_show() -> None:
    journal = Journal()
    call = journal.root
    for _ in range(5_000):
        call = journal.call("solve", call)
    journal.failed(call)
    drawn = graph_of_run(journal.records)
    assert len(drawn.nodes) == DEPTH
    assert drawn.nodes[-1].detail == f"{5_001 - DEPTH:,} more below, 1 failed"


@pytest.mark.slow
def test_a_run_of_100_000_calls_is_one_page() -> None:
    journal = Journal()
    for number in range(20):
        part = journal.call(f"part {number}")
        for _ in range(2_500):
            journal.step("read", journal.step("file", part))
        journal.done(part)
    drawn = graph_of_run(journal.records)
    assert len(drawn.nodes) == 61
    assert drawn.summary == "100,021 calls, 1 running, 100,020 done"


# --- States --------------------------------------------------------------------------------------


def test_a_failure_is_shown_with_its_reason() -> None:
    journal = Journal()
    journal.failed(journal.call("upload"), "disk full")
    assert labels(graph_of_run(journal.records))["upload"] == "failed · ValueError: disk full"


def test_a_call_that_waits_for_its_next_attempt_sleeps() -> None:
    journal = Journal()
    call = journal.call("fetch", agent="crawler")
    failure = Failure(type="TimeoutError", message="slow")
    journal.add(AttemptFailedRecord, call=call, attempt=1, failure=failure, retry_at=journal.now)
    sleeping = labels(graph_of_run(journal.records))["fetch"]
    assert sleeping == "sleeping · after TimeoutError: slow · by crawler"

    journal.add(StartedRecord, call=call, task="fetch", parent="article", attempt=2)
    journal.done(call)
    assert labels(graph_of_run(journal.records))["fetch"] == "done · attempt 2 · 300 ms"


def test_a_sleep_is_over_when_its_time_has_come() -> None:
    journal = Journal()
    journal.sleep(timedelta(seconds=1))
    assert labels(graph_of_run(journal.records))["sleep"] == "sleeping · until 2030-01-01 00:00"

    journal.now += timedelta(seconds=1)
    journal.step("next")
    drawn = graph_of_run(journal.records)
    assert labels(drawn)["sleep"] == "done · 1.0 s"
    assert ("sleep", "THEN", "next") in lines(drawn)


def test_a_sleep_that_began_anew_lasts_until_its_new_time() -> None:
    journal = Journal()
    journal.sleep(timedelta(seconds=1))
    journal.sleep(timedelta(seconds=60))
    journal.now += timedelta(seconds=5)
    journal.step("next")
    assert graph_of_run(journal.records).nodes[1].state is State.SLEEPING


def test_a_question_is_shown_until_it_is_answered() -> None:
    journal = Journal()
    journal.ask("Publish?")
    assert labels(graph_of_run(journal.records))["ask"] == "asked · Publish?"

    journal.add(AnsweredRecord, call="ask:1", answer=Raw(b"true"))
    assert labels(graph_of_run(journal.records))["ask"].startswith("done · Publish?")


def test_a_child_run_has_the_state_of_its_run() -> None:
    journal = Journal()
    journal.add(ChildStartedRecord, call="kid", parent="article", run="0198abcdef", task="archive")
    assert labels(graph_of_run(journal.records))["archive"] == "running · run 0198abcd"

    journal.add(ChildFinishedRecord, run="0198abcdef", state=State.CANCELLED)
    assert labels(graph_of_run(journal.records))["archive"] == "cancelled · run 0198abcd"


def test_a_detached_run_has_no_state_that_anybody_knows() -> None:
    journal = Journal()
    journal.add(
        ChildStartedRecord, call="kid", parent="article", run="0198", task="archive", detached=True
    )
    assert graph_of_run(journal.records).nodes[1].state is None


def test_a_finished_run_has_nothing_that_goes_on() -> None:
    journal = Journal()
    journal.call("notify")
    journal.finish(State.FAILED, failure=Failure(type="ValueError", message="boom"))
    assert labels(graph_of_run(journal.records)) == {
        "article": "failed · ValueError: boom",
        "notify": "cancelled",
    }


def test_an_abandoned_call_is_cancelled() -> None:
    journal = Journal()
    call = journal.call("slow")
    journal.add(AbandonedRecord, call=call)
    assert graph_of_run(journal.records).nodes[1].state is State.CANCELLED


def test_a_run_that_is_held_says_so_at_its_root() -> None:
    journal = Journal()
    journal.add(PausedRecord, by="Lin")
    assert labels(graph_of_run(journal.records))["article"] == "paused · by Lin"
    journal.add(ParkedRecord, needs={"task": "translate"})
    assert labels(graph_of_run(journal.records))["article"] == "parked · needs task translate"


def test_undos_are_named() -> None:
    journal = Journal()
    call = journal.step("charge")
    journal.add(UndoingRecord, call="article", calls=(call,))
    journal.step("charge", call=f"{call}/undo", place="undo")
    drawn = graph_of_run(journal.records)
    assert labels(drawn)["undo charge"] == "done · 100 ms"
    assert drawn.nodes[0].state is State.UNDOING


def test_a_branch_is_named() -> None:
    journal = Journal()
    journal.step("fetch", place="left")
    assert graph_of_run(journal.records).nodes[1].label == "left: fetch"


# --- Whatever is in the journal ------------------------------------------------------------------


def test_a_journal_that_begins_in_the_middle_is_drawn() -> None:
    journal = Journal()
    journal.done(journal.call("one"), journal.call("two"))
    assert graph_of_run(journal.records[3:]).nodes[0].label == "two"


def test_a_result_without_its_call_is_passed_over() -> None:
    journal = Journal()
    journal.add(SucceededRecord, call="nobody")
    assert len(graph_of_run(journal.records).nodes) == 1


@given(st.lists(RECORDS, max_size=30))
def test_no_order_of_records_is_too_odd_to_draw(records: list[Record]) -> None:
    drawn = graph_of_run(numbered(records))
    assert to_svg(drawn).startswith("<svg")


CALLS = st.lists(
    st.tuples(st.integers(0, 30), st.sampled_from("abcd"), st.integers(0, 40)), max_size=60
)


@given(CALLS)
def test_every_call_is_in_one_box_whatever_the_run_does(
    script: list[tuple[int, str, int]],
) -> None:
    journal = Journal()
    calls = [journal.root]
    for parent, task, ended in script:
        calls.append(journal.call(task, calls[parent % len(calls)]))
        if ended < len(calls):
            journal.done(calls[ended])
    drawn = graph_of_run(journal.records)
    assert sum(node.count for node in drawn.nodes) == len(calls)
    assert len(drawn.nodes) <= PAGE


@pytest.mark.parametrize(
    ("seconds", "spelled"),
    [
        (-1, "0 ms"),
        (0.008, "8 ms"),
        (1.24, "1.2 s"),
        (59.97, "1 min"),
        (185, "3 min 5 s"),
        (7_800, "2 h 10 min"),
        (3 * 86_400 + 4 * 3_600, "3 d 4 h"),
    ],
)
def test_durations_are_short(seconds: float, spelled: str) -> None:
    assert spelled_duration(timedelta(seconds=seconds)) == spelled
