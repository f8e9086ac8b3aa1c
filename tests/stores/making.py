"""What the tests of stores are made of: runs, commits, messages, a clock that is set by hand."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import anyio

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

ANY = frozenset({"greet", "review"})
BEGINNING = datetime(2026, 1, 1, tzinfo=UTC)
FAST, SLOW = "fast", "slow"
MINUTE = timedelta(minutes=1)
SECOND = timedelta(seconds=1)
TENANT = "acme"


class ManualClock:
    """A clock that stands still until it is advanced."""

    def __init__(self) -> None:
        self._now = BEGINNING
        self._sleepers: list[tuple[datetime, anyio.Event]] = []

    def now(self) -> datetime:
        return self._now

    def monotonic(self) -> float:
        return (self._now - BEGINNING).total_seconds()

    async def sleep(self, duration: timedelta, /) -> None:
        if duration <= timedelta():
            return
        event = anyio.Event()
        self._sleepers.append((self._now + duration, event))
        await event.wait()

    def advance(self, duration: timedelta) -> None:
        self._now += duration
        for moment, event in self._sleepers:
            if moment <= self._now:
                event.set()


def run_id(number: int) -> str:
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
    return AnswerMessage(call=call, answer=Raw(b"true"), once=once, **more)


def cancel(reason: str = "enough") -> CancelMessage:
    return CancelMessage(reason=reason)
