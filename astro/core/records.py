"""Records: the facts of a journal, one closed union, and how they are chained.

A run is an ordered list of records; its state is their fold (`decisions.replay`). The same
records are what handles iterate over and observers see. Each is stored as one `Entry`: its JSON
and a hash that covers tenant, run, sequence number, token, body and the entry before.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from datetime import datetime
from enum import StrEnum
from hashlib import blake2b
from typing import Annotated, Any, Final, TypeAlias

import msgspec

from astro.core.errors import CodecError, JournalCorruptError
from astro.core.policy import Budget

__all__ = [
    "GENESIS",
    "UNSET",
    "AbandonedRecord",
    "AnsweredRecord",
    "AskedRecord",
    "AttemptFailedRecord",
    "BaseRecord",
    "CancelRequestedRecord",
    "ChildFinishedRecord",
    "ChildStartedRecord",
    "CreatedRecord",
    "DivergedRecord",
    "EmittedRecord",
    "Entry",
    "FailedRecord",
    "Failure",
    "FinishedRecord",
    "IgnoredRecord",
    "Json",
    "Moment",
    "NotedRecord",
    "OwnedRecord",
    "ParkedRecord",
    "PausedRecord",
    "Raw",
    "Record",
    "ReleasedRecord",
    "ReservedRecord",
    "ResumedRecord",
    "SleptRecord",
    "SpentRecord",
    "StartedRecord",
    "State",
    "SucceededRecord",
    "UndoingRecord",
    "as_bytes",
    "as_json",
    "decode_entries",
    "decode_entry",
    "encode_record",
    "verify",
]

Raw: TypeAlias = msgspec.Raw
Moment: TypeAlias = Annotated[datetime, msgspec.Meta(tz=True)]
"""A moment that is the same one everywhere; one without a time zone is not read."""

Json: TypeAlias = msgspec.Raw | msgspec.UnsetType
"""JSON kept as it is, or nothing (`UNSET`), which is not the same as null."""

UNSET: Final = msgspec.UNSET
GENESIS: Final = ""
"""The hash before the first entry."""


class State(StrEnum):
    """The state of a call, and of a run as derived from its calls."""

    READY = "ready"
    RUNNING = "running"
    ASKED = "asked"
    SLEEPING = "sleeping"
    PAUSED = "paused"
    PARKED = "parked"
    UNDOING = "undoing"
    DONE = "done"
    FAILED = "failed"
    CANCELLED = "cancelled"

    @property
    def terminal(self) -> bool:
        return self in _TERMINAL


_TERMINAL: Final = frozenset({State.DONE, State.FAILED, State.CANCELLED})


def as_json(raw: bytes | None) -> Json:
    """Return bytes of JSON as a field of a record."""
    return UNSET if raw is None else Raw(raw)


def as_bytes(json: Json) -> bytes | None:
    """Return a field of a record as bytes of JSON."""
    return None if json is UNSET else bytes(json)


class Failure(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What an attempt raised.

    Attributes:
        type: Qualified name of the class, for people and for `@task(raises=...)`.
        attempts: How many attempts there have been, this one included.
        args: The exception's arguments as a JSON list, if they have that form.
        where: File name and line that raised it.
    """

    type: str
    message: str
    attempts: int = 1
    retryable: bool = True
    args: Json = UNSET
    where: str = ""

    @property
    def remedy(self) -> str:
        """What to do about it, as ASTRO's own errors say; empty for others."""
        match msgspec.json.decode(as_bytes(self.args) or b"[]"):
            case [str(told)] if told.startswith(self.message):
                return told[len(self.message) :].strip()
        return ""


class BaseRecord(
    msgspec.Struct, frozen=True, kw_only=True, tag_field="kind", omit_defaults=True, gc=False
):
    """What all records have.

    Attributes:
        seq: Place in the journal; the first is 1, without gaps.
        at: When the engine recorded it.
    """

    seq: int
    at: Moment

    @property
    def kind(self) -> str:
        """The name of this kind of record."""
        return str(self.__struct_config__.tag)


class CreatedRecord(BaseRecord, frozen=True, kw_only=True, tag="created"):
    """The run was accepted.

    Attributes:
        seed: What `ctx.uuid` and `ctx.random` derive from.
        parent: Run and call that started this run, if any: `(run, call)`.
        workflow: Content hash of the workflow's definition, if its task is a workflow.
        source: Run this one was forked from, if any.
        copied: How many of the entries that follow are copies from the source.
    """

    task: str
    args: Raw
    seed: str
    tenant: str
    key: str | None = None
    priority: int = 20
    deadline: Moment | None = None
    budget: Budget | None = None
    strict: bool = False
    parent: tuple[str, str] | None = None
    workflow: str | None = None
    source: str | None = None
    copied: int = 0


class OwnedRecord(BaseRecord, frozen=True, kw_only=True, tag="owned"):
    """An engine took the run over, or took it up again.

    Attributes:
        lost: Whether the owner before it did not release the run.
    """

    owner: str
    token: int
    lost: bool = False


class ReleasedRecord(BaseRecord, frozen=True, kw_only=True, tag="released"):
    """An engine gave the run up while it waited for something else than it was last kept to."""

    owner: str


class StartedRecord(BaseRecord, frozen=True, kw_only=True, tag="started"):
    """An attempt at a call began.

    Attributes:
        parent: Identity of the asking call; empty for the root.
        args: Canonical JSON of the arguments; only with the first attempt.
        agent: Who performs it; empty when the task's own body does.
        reason: Why the router chose so.
        place: Node of a workflow or branch that asked.
        fresh: Whether this attempt begins with an empty memory.
        undo: Whether the task has an undo.
    """

    call: str
    task: str
    attempt: int = 1
    parent: str = ""
    args: Json = UNSET
    agent: str = ""
    reason: str = ""
    place: str = ""
    effect: str = "write"
    fresh: bool = False
    undo: bool = False


class SucceededRecord(BaseRecord, frozen=True, kw_only=True, tag="succeeded"):
    """A call has its result; this never changes.

    Attributes:
        result: The result's JSON, unless it was large.
        blob: Content hash of a large result.
        cached: Whether the result of an earlier call was used.
    """

    call: str
    attempt: int = 1
    result: Json = UNSET
    blob: str | None = None
    cached: bool = False


class AttemptFailedRecord(BaseRecord, frozen=True, kw_only=True, tag="attempt_failed"):
    """An attempt failed, and another one follows at `retry_at`."""

    call: str
    attempt: int
    failure: Failure
    retry_at: Moment


class FailedRecord(BaseRecord, frozen=True, kw_only=True, tag="failed"):
    """A call failed for good."""

    call: str
    attempt: int
    failure: Failure


class AbandonedRecord(BaseRecord, frozen=True, kw_only=True, tag="abandoned"):
    """A call was cancelled by the task that had asked for it.

    Attributes:
        parent: Who waited; only for a wait that has no other record.
    """

    call: str
    parent: str = ""


class SleptRecord(BaseRecord, frozen=True, kw_only=True, tag="slept"):
    """A call sleeps until a moment."""

    call: str
    parent: str
    until: Moment


class AskedRecord(BaseRecord, frozen=True, kw_only=True, tag="asked"):
    """A person is asked.

    Attributes:
        schema: JSON Schema of the answer.
        default: What counts as the answer when nobody answers in time.
        binds: Hash of what an approval is for, if it is one.
    """

    call: str
    parent: str
    question: str
    schema: Raw
    deadline: Moment | None = None
    default: Json = UNSET
    binds: str | None = None


class AnsweredRecord(BaseRecord, frozen=True, kw_only=True, tag="answered"):
    """A question has its answer.

    Attributes:
        by: Who answered; `"default"` when time ran out.
    """

    call: str
    answer: Raw
    by: str = ""


class NotedRecord(BaseRecord, frozen=True, kw_only=True, tag="noted"):
    """A task read the clock."""

    call: str
    parent: str
    moment: Moment


class EmittedRecord(BaseRecord, frozen=True, kw_only=True, tag="emitted"):
    """A task told its observers something."""

    call: str
    parent: str
    name: str
    value: Raw


_MOST_MONEY: Final = sys.float_info.max
_MOST_TOKENS: Final = 2**63 - 1  # what every store can count


class SpentRecord(BaseRecord, frozen=True, kw_only=True, tag="spent"):
    """A call used part of the run's budget."""

    call: str
    parent: str = ""
    money: float = 0.0
    tokens: int = 0

    def __post_init__(self) -> None:
        # What JSON keeps as something else, a NaN or a bool, is no record when it is read again.
        countable = type(self.money) in (int, float) and type(self.tokens) is int
        if not (countable and 0 <= self.money <= _MOST_MONEY and 0 <= self.tokens <= _MOST_TOKENS):
            raise CodecError(
                f"Money {self.money!r:.40} and tokens {self.tokens!r:.40} cannot be spent.",
                remedy="Spend finite amounts that are not negative: money as a float, tokens as "
                "an int.",
            )


class ReservedRecord(BaseRecord, frozen=True, kw_only=True, tag="reserved"):
    """Part of the budget around a call was put aside for an attempt at it, before it began.

    Attributes:
        budget: What the call may use; its money and tokens are what is put aside.
    """

    call: str
    attempt: int
    budget: Budget


class ChildStartedRecord(BaseRecord, frozen=True, kw_only=True, tag="child_started"):
    """A run was started from inside this one."""

    call: str
    parent: str
    run: str
    task: str
    detached: bool = False


class ChildFinishedRecord(BaseRecord, frozen=True, kw_only=True, tag="child_finished"):
    """A run that was started from inside this one has ended."""

    run: str
    state: State
    result: Json = UNSET
    blob: str | None = None
    failure: Failure | None = None


class PausedRecord(BaseRecord, frozen=True, kw_only=True, tag="paused"):
    """Dispatch stopped; attempts in flight finish."""

    by: str = ""


class ResumedRecord(BaseRecord, frozen=True, kw_only=True, tag="resumed"):
    """Dispatch goes on."""

    by: str = ""


class CancelRequestedRecord(BaseRecord, frozen=True, kw_only=True, tag="cancel_requested"):
    """Somebody asked for the run's end."""

    reason: str


class ParkedRecord(BaseRecord, frozen=True, kw_only=True, tag="parked"):
    """The run waits for something that this deployment does not have.

    Attributes:
        needs: What is missing, as `{"task": "greet"}` or `{"attention": "..."}`.
    """

    needs: dict[str, str]


class DivergedRecord(BaseRecord, frozen=True, kw_only=True, tag="diverged"):
    """Changed code no longer asks for calls that are committed.

    Attributes:
        missing: Identities that were not asked for again.
        held: Identities asked for instead that wait for a decision.
    """

    call: str
    missing: tuple[str, ...]
    held: tuple[str, ...] = ()


class UndoingRecord(BaseRecord, frozen=True, kw_only=True, tag="undoing"):
    """The undos of a call's committed calls begin.

    Attributes:
        calls: Identities to undo, in the order of undoing.
        into: The terminal state that follows.
        failure: Why, unless the run is cancelled.
    """

    call: str
    calls: tuple[str, ...]
    into: State = State.FAILED
    failure: Failure | None = None


class IgnoredRecord(BaseRecord, frozen=True, kw_only=True, tag="ignored"):
    """A message came too late to matter."""

    message: str


class FinishedRecord(BaseRecord, frozen=True, kw_only=True, tag="finished"):
    """The run has ended; the last record of every journal."""

    state: State
    result: Json = UNSET
    blob: str | None = None
    failure: Failure | None = None
    reason: str = ""


Record: TypeAlias = (
    CreatedRecord
    | OwnedRecord
    | ReleasedRecord
    | StartedRecord
    | SucceededRecord
    | AttemptFailedRecord
    | FailedRecord
    | AbandonedRecord
    | SleptRecord
    | AskedRecord
    | AnsweredRecord
    | NotedRecord
    | EmittedRecord
    | SpentRecord
    | ReservedRecord
    | ChildStartedRecord
    | ChildFinishedRecord
    | PausedRecord
    | ResumedRecord
    | CancelRequestedRecord
    | ParkedRecord
    | DivergedRecord
    | UndoingRecord
    | IgnoredRecord
    | FinishedRecord
)


class Entry(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """One stored record.

    Attributes:
        seq: Place in the journal, from 1.
        body: The record's JSON, as text.
        hash: 32 hexadecimal digits that cover this entry and all before it.
        token: Fencing token of the engine that wrote it; 0 for the first entry.
    """

    seq: int
    body: str
    hash: str
    token: int


_ENCODER: Final = msgspec.json.Encoder()
_DECODER: Final[msgspec.json.Decoder[Any]] = msgspec.json.Decoder(Record)


def encode_record(record: Record, *, tenant: str, run: str, token: int, head: str) -> Entry:
    """Return the record as the entry that follows `head`.

    Raises:
        CodecError: A text of the record cannot be kept.
    """
    try:
        body = _ENCODER.encode(record)
    except UnicodeEncodeError as error:
        raise CodecError(
            f"A text of the {record.kind} record cannot be kept: {error}.",
            remedy="Replace lone surrogates: text.encode('utf-8', 'replace').decode().",
        ) from error
    return Entry(
        record.seq, body.decode(), _chained(head, tenant, run, record.seq, token, body), token
    )


def decode_entry(entry: Entry) -> Record:
    """Return the record of an entry.

    Raises:
        JournalCorruptError: The body is not a record, or another one than the entry's.
    """
    try:
        record: Record = _DECODER.decode(entry.body)
    except (msgspec.MsgspecError, RecursionError, UnicodeError) as error:
        raise _no_record(entry, str(error)) from error
    if record.seq != entry.seq:
        raise _no_record(entry, f"it says that it is record {record.seq}")
    return record


def _no_record(entry: Entry, reason: str) -> JournalCorruptError:
    return JournalCorruptError(
        f"Entry {entry.seq} is no record: {reason}.",
        remedy="Restore the store from a backup, or fork the run before that entry.",
    )


def verify(
    entries: Iterable[Entry], *, tenant: str, run: str, after: int = 0, head: str = GENESIS
) -> None:
    """Check that entries follow each other and fit their hashes.

    Raises:
        JournalCorruptError: One of them does not.
    """
    for entry in entries:
        after += 1
        body = entry.body.encode("utf-8", "surrogatepass")
        head = _chained(head, tenant, run, entry.seq, entry.token, body)
        if entry.seq != after or entry.hash != head:
            raise JournalCorruptError(
                f"Entry {after} of run {run} does not fit the entries before it.",
                remedy="Restore the store from a backup, or fork the run before that entry.",
            )


def _chained(head: str, tenant: str, run: str, seq: int, token: int, body: bytes) -> str:
    digest = blake2b(f"{head}\0{tenant}\0{run}\0{seq}\0{token}\0".encode(), digest_size=16)
    digest.update(body)
    return digest.hexdigest()


def decode_entries(entries: Sequence[Entry]) -> list[Record]:
    """Return the records of entries."""
    return [decode_entry(entry) for entry in entries]
