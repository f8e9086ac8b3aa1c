"""Forking: a new run that remembers what another one had committed up to a point.

Only what is settled is copied: results, answers, moments, elapsed sleeps. Calls in flight at that
point, and calls that failed, are asked for again, with new keys: their effects may happen twice.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

import msgspec

from astro.core.errors import InvalidArgumentsError
from astro.core.policy import Budget
from astro.core.protocols import NewRun
from astro.core.records import (
    GENESIS,
    AnsweredRecord,
    AskedRecord,
    ChildFinishedRecord,
    ChildStartedRecord,
    CreatedRecord,
    EmittedRecord,
    Entry,
    NotedRecord,
    Record,
    SleptRecord,
    SpentRecord,
    StartedRecord,
    State,
    SucceededRecord,
    encode_record,
)
from astro.decisions.replay import RunState, replay

__all__ = ["forked"]


def forked(
    records: Sequence[Record],
    *,
    source: str,
    at: int,
    id: str,
    now: datetime,
    budget: Budget | None = None,
) -> NewRun:
    """Return the run that continues after record `at` of another one.

    Args:
        records: All records of the source, from the first.
        budget: Of the new run, if it is another one; what is copied counts against it.

    Raises:
        InvalidArgumentsError: There is no such record.
    """
    if not 1 <= at <= len(records):
        raise InvalidArgumentsError(
            f"Run {source} has {len(records)} records, and no record {at} to fork at.",
            remedy=f"Fork at a number from 1 to {len(records)}.",
        )
    before = [record for record in records if record.seq <= at]
    state = replay(before)
    kept = [record for record in before if _settled(record, state, now)]
    assert state.created is not None  # the first record of every journal
    first = msgspec.structs.replace(
        state.created,
        at=now,
        key=None,
        parent=None,
        source=source,
        copied=len(kept),
        budget=budget or state.created.budget,
        deadline=_shifted(state.created, now),
    )
    entries = _chained([first, *kept], tenant=first.tenant, run=id)
    return NewRun(
        id=id,
        task=first.task,
        entry=entries[0],
        entries=tuple(entries[1:]),
        fingerprint="",
        priority=first.priority,
        deadline=first.deadline,
        source=source,
        created_at=now,
    )


def _shifted(created: CreatedRecord, now: datetime) -> datetime | None:
    """Return a deadline that gives the fork as much time as the source had."""
    return None if created.deadline is None else now + (created.deadline - created.at)


def _chained(records: Sequence[Record], *, tenant: str, run: str) -> list[Entry]:
    """Return records as the first entries of a run."""
    entries: list[Entry] = []
    head = GENESIS
    for seq, record in enumerate(records, start=1):
        copy = msgspec.structs.replace(record, seq=seq)
        entry = encode_record(copy, tenant=tenant, run=run, token=0, head=head)
        head = entry.hash
        entries.append(entry)
    return entries


def _settled(record: Record, state: RunState, now: datetime) -> bool:
    match record:
        case StartedRecord() | SucceededRecord() | AnsweredRecord() | AskedRecord():
            call = state.calls[record.call]
            settled = call.state is State.DONE and not call.abandoned and bool(call.parent)
            return settled and not record.call.endswith("/undo")
        case SleptRecord(until=until):
            return until <= now and not state.calls[record.call].abandoned
        case ChildStartedRecord():
            return record.run in state.finished_runs
        case NotedRecord() | EmittedRecord() | SpentRecord() | ChildFinishedRecord():
            return True
        case _:
            return False
