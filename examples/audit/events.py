"""Events: what the worker tells whoever watches it, one line of JSON each.

A worker is killed without warning, so each event is complete: it says how things are, not what
has been added. They are made from the records of the run, which say the same in full. Pure.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Final, TypeAlias

import attrs
import msgspec

from astro.core.records import (
    AnsweredRecord,
    AskedRecord,
    EmittedRecord,
    OwnedRecord,
    Record,
    StartedRecord,
    SucceededRecord,
    as_bytes,
)
from examples.audit.values import FileFacts

__all__ = [
    "Answered",
    "Asked",
    "Began",
    "Event",
    "Finished",
    "Narrator",
    "Progressed",
    "Recovery",
    "from_line",
    "recovery",
    "to_line",
]


class Began(msgspec.Struct, frozen=True, kw_only=True, tag="began"):
    """The worker owns the run.

    Attributes:
        kept: Calls that are answered from the journal.
    """

    run: str
    kept: int


class Progressed(msgspec.Struct, frozen=True, kw_only=True, tag="progressed"):
    """So far has the analysis come.

    Attributes:
        by: How many files each agent has read.
        path: The file that was read last.
    """

    done: int
    total: int
    findings: int
    by: dict[str, int]
    path: str


class Asked(msgspec.Struct, frozen=True, kw_only=True, tag="asked"):
    """The run asks a question.

    Attributes:
        seconds: How long it waits for an answer.
    """

    question: str
    seconds: float


class Answered(msgspec.Struct, frozen=True, kw_only=True, tag="answered"):
    """The question has its answer."""

    answer: bool
    by: str


class Finished(msgspec.Struct, frozen=True, kw_only=True, tag="finished"):
    """The audit is done.

    Attributes:
        reports: Files that were written, by their full paths.
        changed: What has changed since the previous audit; empty when there is none.
        calls, recovered, repeated: As in `Recovery`.
    """

    reports: tuple[str, ...]
    changed: str
    calls: int
    recovered: int
    repeated: int


Event: TypeAlias = Began | Progressed | Asked | Answered | Finished

_ENCODER: Final = msgspec.json.Encoder()
_DECODER: Final[msgspec.json.Decoder[Event]] = msgspec.json.Decoder(Event)


def to_line(event: Event) -> bytes:
    """Return an event as one line."""
    return _ENCODER.encode(event) + b"\n"


def from_line(line: bytes) -> Event:
    """Return the event of a line."""
    return _DECODER.decode(line)


class Narrator:
    """Follows the records of a run and tells what a person wants to know of them.

    What had happened before this worker owned the run is taken in, and not told.
    """

    def __init__(self, *, run: str, owner: str) -> None:
        self._run = run
        self._owner = owner
        self._live = False
        self._agents: dict[str, tuple[str, str]] = {}
        self._by: Counter[str] = Counter()
        self._kept = 0
        self._total = 0
        self._findings = 0

    def tell(self, record: Record) -> Iterator[Event]:
        """Yield what a record means."""
        told = [*self._told(record)]
        if self._live:
            yield from told

    def _told(self, record: Record) -> Iterator[Event]:
        if isinstance(record, EmittedRecord):
            self._total = msgspec.json.decode(record.value, type=int)
        elif isinstance(record, OwnedRecord):
            if record.owner == self._owner:
                self._live = True
                yield Began(run=self._run, kept=self._kept)
        elif isinstance(record, StartedRecord):
            self._agents[record.call] = (record.task, record.agent)
        elif isinstance(record, SucceededRecord):
            self._kept += 1
            yield from self._succeeded(record)
        elif isinstance(record, AskedRecord):
            seconds = (record.deadline - record.at).total_seconds() if record.deadline else 0.0
            yield Asked(question=record.question, seconds=seconds)
        elif isinstance(record, AnsweredRecord):
            yield Answered(answer=msgspec.json.decode(record.answer, type=bool), by=record.by)

    def _succeeded(self, record: SucceededRecord) -> Iterator[Event]:
        task, agent = self._agents.pop(record.call, ("", ""))
        if task != "analyse":
            return
        path = ""
        result = as_bytes(record.result)
        if result is not None:  # large ones are kept beside the journal
            facts = msgspec.json.decode(result, type=FileFacts)
            self._findings += len(facts.findings)
            path = facts.path
        self._by[agent] += 1
        yield Progressed(
            done=self._by.total(),
            total=self._total,
            findings=self._findings,
            by=dict(self._by),
            path=path,
        )


@attrs.frozen(kw_only=True)
class Recovery:
    """What became of the calls of a run that changed hands.

    Attributes:
        calls: All calls that have a result.
        recovered: Calls whose result the last owner found in the journal.
        repeated: Calls that had begun before the last owner took over, and were done by it.
    """

    calls: int
    recovered: int
    repeated: int


def recovery(records: Iterable[Record]) -> Recovery:
    """Return what became of the calls of a finished run."""
    begun: set[str] = set()
    done: set[str] = set()
    kept: frozenset[str] = frozenset()
    flying: frozenset[str] = frozenset()
    again: set[str] = set()
    root = ""
    for record in records:
        if isinstance(record, OwnedRecord):
            kept, flying, again = frozenset(done), frozenset(begun - done - {root}), set()
        elif isinstance(record, StartedRecord):
            root = root if record.parent else record.call
            begun.add(record.call)
        elif isinstance(record, SucceededRecord) and record.call != root:
            done.add(record.call)
            again.add(record.call)
    return Recovery(calls=len(done), recovered=len(kept - again), repeated=len(flying & again))
