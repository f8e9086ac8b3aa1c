"""Comparing and explaining: what two runs have done differently, and why a call went as it did."""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from astro.core.errors import CallNotFoundError
from astro.core.records import (
    AttemptFailedRecord,
    BaseRecord,
    DivergedRecord,
    FailedRecord,
    OwnedRecord,
    Record,
    StartedRecord,
    SucceededRecord,
)
from astro.decisions.replay import CallState, replay

__all__ = ["Difference", "diff", "explain"]


class Difference(msgspec.Struct, frozen=True, kw_only=True):
    """One call that two runs do not have in common, or that ended differently.

    Attributes:
        left: What became of it in the first run; empty if it was not asked for.
    """

    call: str
    task: str
    left: str
    right: str

    def __str__(self) -> str:
        return f"{self.call}: {self.left or 'not asked for'} | {self.right or 'not asked for'}"


def diff(left: Iterable[Record], right: Iterable[Record]) -> list[Difference]:
    """Return the calls in which two runs differ, in the order of the first run."""
    ours, theirs = replay(left).calls, replay(right).calls
    found = []
    for identity in {**ours, **theirs}:
        one, other = ours.get(identity), theirs.get(identity)
        said = _spoken(one), _spoken(other)
        if said[0] != said[1]:
            task = one.task if one is not None else theirs[identity].task
            found.append(Difference(call=identity, task=task, left=said[0], right=said[1]))
    return found


def _spoken(call: CallState | None) -> str:
    if call is None:
        return ""
    if call.result is not None:
        return f"{call.state.value}: {call.result.decode()[:200]}"
    if call.failure is not None:
        return f"{call.state.value}: {call.failure.type}: {call.failure.message[:200]}"
    return call.state.value


def explain(records: Iterable[Record], call: str) -> str:
    """Return, line by line, what happened to a call and why.

    Args:
        call: Its identity, or the beginning of it that no other call has.

    Raises:
        CallNotFoundError: The run has no such call, or several.
    """
    records = list(records)
    call = _meant(records, call)
    told: list[BaseRecord] = []
    for record in records:
        concerns = getattr(record, "call", None) == call or (
            isinstance(record, DivergedRecord) and call in record.missing + record.held
        )
        if concerns or (isinstance(record, OwnedRecord) and told):
            told.append(record)
    while isinstance(told[-1], OwnedRecord):  # who owned the run later did not touch the call
        told.pop()
    return "\n".join(f"{one.seq:>6}  {one.at:%H:%M:%S.%f}  {_told(one)}" for one in told)


def _meant(records: Iterable[Record], call: str) -> str:
    names = {str(one.call): None for one in records if hasattr(one, "call")}
    for record in records:
        if isinstance(record, DivergedRecord):
            names |= dict.fromkeys(record.missing + record.held)
    found = [name for name in names if name.startswith(str(call))]
    if call in names or len(found) == 1:
        return call if call in names else found[0]
    raise CallNotFoundError(str(call), found or list(names))


def _told(record: BaseRecord) -> str:
    match record:
        case StartedRecord(agent=agent, reason=reason, attempt=attempt):
            who = f"by {agent} ({reason})" if agent else "by the task's own body"
            return f"attempt {attempt} {who}"
        case SucceededRecord(cached=cached):
            return "succeeded, from the cache" if cached else "succeeded"
        case AttemptFailedRecord(failure=failure, retry_at=moment):
            return f"failed: {failure.type}: {failure.message}; again at {moment:%H:%M:%S.%f}"
        case FailedRecord(failure=failure):
            retry = "" if failure.retryable else ", which no further attempt can help"
            return f"failed for good: {failure.type}: {failure.message}{retry}"
        case OwnedRecord(owner=owner):
            return f"the run went over to engine {owner}"
        case _:
            return record.kind.replace("_", " ")
