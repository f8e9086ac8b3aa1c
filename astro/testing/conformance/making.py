"""What the tests of stores are made of: runs, commits and messages."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from astro.core.messages import AnswerMessage, CancelMessage
from astro.core.protocols import Commit, Lease, NewRun
from astro.core.records import (
    GENESIS,
    CreatedRecord,
    Entry,
    FinishedRecord,
    Raw,
    Record,
    State,
    SucceededRecord,
    encode_record,
)

__all__ = [
    "ANY",
    "BEGINNING",
    "FAST",
    "MINUTE",
    "SECOND",
    "SLOW",
    "TENANT",
    "answer",
    "cancel",
    "end",
    "entries_of",
    "new_run",
    "progress",
    "run_id",
]

ANY = frozenset({"greet", "review"})
BEGINNING = datetime(2026, 1, 1, tzinfo=UTC)
FAST = "fast"
MINUTE = timedelta(minutes=1)
SECOND = timedelta(seconds=1)
SLOW = "slow"
TENANT = "acme"


def run_id(number: int) -> str:
    """Return the id of a run of the tests."""
    return f"{number:032x}"


def new_run(number: int = 1, *, tenant: str = TENANT, task: str = "greet", **more: Any) -> NewRun:
    """Return a run to be created."""
    record = CreatedRecord(
        seq=1, at=BEGINNING, task=task, args=Raw(b'{"name":"Ada"}'), seed="5eed", tenant=tenant
    )
    first = encode_record(record, tenant=tenant, run=run_id(number), token=0, head=GENESIS)
    fields: dict[str, Any] = {
        "id": run_id(number),
        "task": task,
        "entry": first,
        "fingerprint": "greet Ada",
        "created_at": BEGINNING,
    }
    return NewRun(**(fields | more))


def entries_of(lease: Lease, *records: Record) -> tuple[Entry, ...]:
    """Return records as the entries that follow a lease."""
    entries: list[Entry] = []
    head = lease.head
    for record in records:
        entry = encode_record(
            record, tenant=lease.tenant, run=lease.run, token=lease.token, head=head
        )
        head = entry.hash
        entries.append(entry)
    return tuple(entries)


def progress(lease: Lease, *, entries: int = 1, result: str = '"hello"', **more: Any) -> Commit:
    """Return a commit of results of calls."""
    records = [
        SucceededRecord(
            seq=lease.seq + n, at=BEGINNING, call=f"root/greet.{n}", result=Raw(result.encode())
        )
        for n in range(1, entries + 1)
    ]
    fields: dict[str, Any] = {"state": State.RUNNING, "wake_at": BEGINNING}
    return Commit(entries=entries_of(lease, *records), **(fields | more))


def end(lease: Lease, state: State = State.DONE, **more: Any) -> Commit:
    """Return a commit that ends a run."""
    record = FinishedRecord(seq=lease.seq + 1, at=BEGINNING, state=state)
    return Commit(entries=entries_of(lease, record), state=state, **more)


def answer(call: str = "ask", *, once: str | None = "ask", **more: Any) -> AnswerMessage:
    """Return an answer to a question; `once` is what makes it the only one."""
    return AnswerMessage(call=call, answer=Raw(b"true"), once=once, **more)


def cancel(reason: str = "enough") -> CancelMessage:
    """Return what asks for the end of a run."""
    return CancelMessage(reason=reason)
