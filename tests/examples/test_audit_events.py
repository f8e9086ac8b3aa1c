"""Events: what a watcher is told of a run, and what is counted after a crash."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar

import msgspec
import pytest

from astro.core.records import (
    AnsweredRecord,
    AskedRecord,
    BaseRecord,
    EmittedRecord,
    OwnedRecord,
    Raw,
    Record,
    StartedRecord,
    SucceededRecord,
)
from examples.audit.events import (
    Answered,
    Asked,
    Began,
    Event,
    Finished,
    Narrator,
    Progressed,
    from_line,
    recovery,
    to_line,
)
from tests.examples.trees import file, finding

R = TypeVar("R", bound=BaseRecord)
NOW = datetime(2026, 2, 3, tzinfo=UTC)


class Journal:
    """Makes records that follow each other."""

    def __init__(self) -> None:
        self.records: list[Any] = []

    def add(self, kind: type[R], /, **fields: Any) -> R:
        record = kind(seq=len(self.records) + 1, at=NOW, **fields)
        self.records.append(record)
        return record

    def own(self, owner: str, token: int) -> None:
        self.add(OwnedRecord, owner=owner, token=token)

    def start(self, *calls: str, task: str = "analyse", agent: str = "ada") -> None:
        for call in calls:
            self.add(StartedRecord, call=call, task=task, parent="audit", agent=agent)

    def succeed(self, *calls: str) -> None:
        for call in calls:
            facts = file(f"{call}.py", findings=(finding(),))
            self.add(SucceededRecord, call=call, result=Raw(msgspec.json.encode(facts)))


@pytest.fixture
def journal() -> Journal:
    """A run of four files, in which the first worker dies when two are read."""
    journal = Journal()
    journal.own("first", 1)
    journal.add(StartedRecord, call="audit", task="audit")
    journal.add(EmittedRecord, call="emit", parent="audit", name="files", value=Raw(b"4"))
    journal.start("a", "b", "c")
    journal.succeed("a", "b")
    journal.own("second", 2)
    journal.start("d")
    journal.succeed("c", "d")
    return journal


def told(records: list[Record], *, owner: str) -> Iterator[Event]:
    narrator = Narrator(run="r", owner=owner)
    for record in records:
        yield from narrator.tell(record)


def test_the_first_worker_begins_with_nothing(journal: Journal) -> None:
    first, *_ = told(journal.records, owner="first")
    assert first == Began(run="r", kept=0)


def test_a_later_worker_tells_nothing_of_what_was_before(journal: Journal) -> None:
    first, *rest = told(journal.records, owner="second")
    assert first == Began(run="r", kept=2)
    assert [event.done for event in rest if isinstance(event, Progressed)] == [3, 4]


def test_progress_is_complete_in_itself(journal: Journal) -> None:
    *_, last = told(journal.records, owner="second")
    assert last == Progressed(done=4, total=4, findings=4, by={"ada": 4}, path="d.py")


def test_a_result_beside_the_journal_counts_as_read(journal: Journal) -> None:
    journal.start("e")
    journal.add(SucceededRecord, call="e", blob="abc")
    *_, last = told(journal.records, owner="second")
    assert isinstance(last, Progressed)
    assert last.done == 5


def test_a_question_tells_how_long_it_waits(journal: Journal) -> None:
    journal.add(
        AskedRecord,
        call="ask",
        parent="audit",
        question="Really?",
        schema=Raw(b"{}"),
        deadline=NOW + timedelta(seconds=3),
    )
    journal.add(AnsweredRecord, call="ask", answer=Raw(b"true"), by="default")
    *_, asked, answered = told(journal.records, owner="second")
    assert asked == Asked(question="Really?", seconds=3.0)
    assert answered == Answered(answer=True, by="default")


def test_calls_are_recovered_repeated_or_done_for_the_first_time(journal: Journal) -> None:
    found = recovery(journal.records)
    assert (found.calls, found.recovered, found.repeated) == (4, 2, 1)


def test_a_run_of_one_worker_recovers_nothing(journal: Journal) -> None:
    found = recovery(journal.records[:8])
    assert (found.calls, found.recovered, found.repeated) == (2, 0, 0)


def test_a_call_that_is_performed_twice_is_not_called_recovered(journal: Journal) -> None:
    journal.succeed("a")
    assert recovery(journal.records).recovered == 1


@pytest.mark.parametrize(
    "event",
    [
        Began(run="r", kept=3),
        Progressed(done=1, total=2, findings=3, by={"ada": 1}, path="line\nbreak.py"),
        Asked(question="Really?\n", seconds=1.5),
        Answered(answer=False, by="you"),
        Finished(reports=("a",), changed="", calls=1, recovered=0, repeated=0),
    ],
)
def test_every_event_is_one_line(event: Event) -> None:
    line = to_line(event)
    assert line.count(b"\n") == 1
    assert from_line(line) == event
