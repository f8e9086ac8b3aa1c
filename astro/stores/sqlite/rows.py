"""Rows: values of the protocol as SQLite keeps them, and back."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Final, TypeAlias

import msgspec
from msgspec import Raw

from astro.core.errors import JournalCorruptError
from astro.core.ledger import Account, Usage
from astro.core.messages import Message, Posted, decode_message, encode_message
from astro.core.policy import Budget
from astro.core.protocols import Commit, Lease, NewRun, RunSummary
from astro.core.records import Entry, State
from astro.stores.admission import blobs_named

__all__ = [
    "Row",
    "account_of",
    "as_json",
    "as_parameters",
    "commit_row",
    "lease_of",
    "message_row",
    "micros",
    "moment",
    "posted_of",
    "release_row",
    "run_row",
    "size_of",
    "summary_of",
]

Row: TypeAlias = tuple[Any, ...]
"""Cells of JSON types; `Raw` is JSON that is ready."""

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MICRO: Final = timedelta(microseconds=1)
_ENCODER: Final = msgspec.json.Encoder()
_NEEDS: Final = msgspec.json.Decoder(dict[str, str])
_UNREADABLE: Final = (ValueError, OverflowError, RecursionError)  # what msgspec raises, too


def micros(value: datetime) -> int:
    """Return a moment as microseconds since 1970."""
    return (value - _EPOCH) // _MICRO


def moment(value: int) -> datetime:
    """Return the moment of microseconds since 1970."""
    return _EPOCH + timedelta(microseconds=value)


def _micros(value: datetime | None) -> int | None:
    return None if value is None else micros(value)


def _moment(value: int | None) -> datetime | None:
    return None if value is None else moment(value)


def commit_row(lease: Lease, commit: Commit) -> Row:
    """Return a commit as a row of the statement that carries commits."""
    entries = commit.entries
    return (
        lease.tenant,
        lease.run,
        lease.token,
        lease.seq,
        lease.head,
        Raw(_ENCODER.encode([entry.body for entry in entries])),
        "".join([entry.hash for entry in entries]),
        len(entries),
        entries[-1].hash,
        commit.state.value,
        _micros(commit.wake_at),
        int(commit.state.terminal),
        _text(dict(commit.needs)) if commit.needs else None,
        _extras(commit),
        int(commit.proves),
    )


def as_json(rows: list[Row]) -> str:
    """Return rows as one JSON array."""
    return _ENCODER.encode(rows).decode()


def as_parameters(row: Row) -> Row:
    """Return a row as parameters of a statement that takes one row."""
    return tuple([str(cell, "utf-8") if type(cell) is Raw else cell for cell in row])


def size_of(row: Row) -> int:
    """Return about how many bytes a row takes."""
    return 100 + sum([len(cell) for cell in row if type(cell) is str or type(cell) is Raw])


def _extras(commit: Commit) -> Raw | None:
    refs = blobs_named(commit.entries)
    few = commit.consumed or commit.create or commit.outgoing or commit.remember
    if not few and not refs and commit.used is None and commit.reserved is None:
        return None
    used = commit.used
    # Flat: all rows of a list in one array.
    extras = {
        "consumed": commit.consumed,
        "create": [cell for run in commit.create for cell in _run(run)],
        "outgoing": [
            cell for run, message in commit.outgoing for cell in (run, *_message(message))
        ],
        "remember": [
            cell
            for result in commit.remember
            for cell in (result.key, result.result.decode(), micros(result.until))
        ],
        "refs": sorted(refs),
        "used": [] if used is None else [float(used.money), used.tokens, used.calls],
        # An empty name is that of no reservation: it says that those not named end.
        "reserved": [] if commit.reserved is None else ["", *commit.reserved],
    }
    return Raw(_ENCODER.encode(extras))


def run_row(tenant: str, run: NewRun) -> Row:
    """Return a new run as a row of the statement that creates runs."""
    return tenant, *_run(run)


def _run(run: NewRun) -> Row:
    entries = (run.entry, *run.entries)
    refs = sorted(blobs_named(entries))
    return (
        run.id,
        run.task,
        run.fingerprint,
        run.key,
        run.namespace,
        run.priority,
        _micros(run.deadline),
        run.parent,
        run.source,
        run.state.value,
        int(run.state.terminal),
        _micros(run.wake_at),
        micros(run.created_at),
        len(entries),
        entries[-1].hash,
        _text([entry.body for entry in entries]),
        "".join([entry.hash for entry in entries]),
        "".join([f"{entry.token:020}" for entry in entries]),
        _text(refs) if refs else None,
    )


def _text(value: object) -> str:
    return _ENCODER.encode(value).decode()


def message_row(tenant: str, run: str, message: Message) -> Row:
    """Return a message as a row of the statement that posts messages."""
    return tenant, run, *_message(message)


def _message(message: Message) -> Row:
    return message.once, encode_message(message).decode(), _micros(message.not_after)


def release_row(lease: Lease, wake_at: datetime | None) -> Row:
    """Return a release as a row of the statement that releases leases."""
    return lease.tenant, lease.run, lease.token, _micros(wake_at)


def account_of(row: Sequence[Any], reserved: Sequence[Any]) -> Account:
    """Return the account of a row, and of the sums of its reservations."""
    _, money, tokens, calls, used_money, used_tokens, used_calls = row
    return Account(
        budget=Budget(money=money, tokens=tokens, calls=calls),
        used=Usage(money=used_money, tokens=used_tokens, calls=used_calls),
        reserved=Usage(**dict(zip(("money", "tokens", "calls"), reserved, strict=False))),
    )


def lease_of(row: Sequence[Any], owner: str) -> Lease:
    """Return the lease of a row.

    One that was just claimed ends with its number, the body of its only entry, and whether the
    owner before did not release it.
    """
    tenant, run, task, token, seq, head, priority, failures = row[:8]
    return Lease(
        tenant=tenant,
        run=run,
        task=task,
        owner=owner,
        token=token,
        seq=seq,
        head=head,
        priority=priority,
        failures=failures,
        # A run's only entry is its first one, whose hash is the head.
        first=Entry(1, row[9], head, 0) if len(row) > 9 and row[9] is not None else None,
        lost=len(row) > 10 and bool(row[10]),
    )


def posted_of(row: Sequence[Any]) -> Posted:
    """Return the unread message of a row.

    Raises:
        JournalCorruptError: It is none, or one of a newer ASTRO.
    """
    number, tenant, run, at, body = row
    try:
        message = decode_message(body)
        return Posted(number=number, tenant=tenant, run=run, at=moment(at), message=message)
    except _UNREADABLE as error:
        raise JournalCorruptError(
            f"The message {number} to run {run} cannot be read: {error}.",
            remedy="It stays in the inbox, for a newer ASTRO; upgrade, or post it again.",
        ) from error


def summary_of(tenant: str, row: Sequence[Any], now: int) -> RunSummary:
    """Return what outsiders see of a run.

    Raises:
        JournalCorruptError: Its row has been damaged.
    """
    try:
        return _summary(tenant, row, now)
    except _UNREADABLE as error:
        raise JournalCorruptError(
            f"The row of run {row[1]} cannot be read, with the state {row[3]!r:.60} "
            f"and the needs {row[-1]!r:.60}: {error}.",
            remedy="Restore the store from a backup, or let an engine go on with the run.",
        ) from error


def _summary(tenant: str, row: Sequence[Any], now: int) -> RunSummary:
    (_, run, task, state, created_at, updated_at, key, priority, deadline) = row[:9]
    wake_at, parent, source, records, owner, until, needs = row[9:]
    return RunSummary(
        id=run,
        tenant=tenant,
        task=task,
        state=State(state),
        created_at=moment(created_at),
        updated_at=moment(updated_at),
        key=key,
        priority=priority,
        deadline=_moment(deadline),
        wake_at=_moment(wake_at),
        parent=parent,
        source=source,
        records=records,
        owner=owner if until is not None and until > now else None,
        needs={} if needs is None else _NEEDS.decode(needs),
    )
