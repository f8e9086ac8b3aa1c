"""Invariants: what holds after every commit of a run, whatever happens around it.

Each is a function of what was there before and what a commit adds; it yields what is wrong. The
names are those of the table in the documentation.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from types import MappingProxyType

import msgspec

from astro.core.errors import JournalCorruptError
from astro.core.records import (
    AnsweredRecord,
    AttemptFailedRecord,
    Entry,
    FailedRecord,
    FinishedRecord,
    Record,
    StartedRecord,
    State,
    SucceededRecord,
    verify,
)
from astro.decisions.replay import RunState
from astro.decisions.states import allowed

__all__ = [
    "INVARIANTS",
    "Change",
    "Invariant",
    "an_answer_is_used_once",
    "no_more_is_held_than_the_budget",
    "nothing_fires_early",
    "one_result_per_call",
    "only_the_newest_token_commits",
    "replay_gives_the_same",
    "states_move_along_the_table",
    "the_hash_chain_verifies",
    "what_cannot_succeed_is_not_tried_again",
]


class Change(msgspec.Struct, frozen=True, kw_only=True):
    """What one accepted commit has changed.

    Attributes:
        tenant: Whose run it is.
        token: Fencing token it was committed with.
        newest: The newest token that was handed out for the run.
        before: The fold of all entries before it.
        after: The fold with it.
        was: State that the store showed before.
        state: State that the store shows now.
        head: Hash of the last entry before it.
        entries: What it added.
        records: The same, decoded.
        now: Seconds of the event loop's time, which nobody can set.
        waits: When, by that time, the wait of a call is over that was set before.
    """

    tenant: str
    run: str
    token: int
    newest: int
    before: RunState
    after: RunState
    was: State
    state: State
    head: str
    entries: Sequence[Entry]
    records: Sequence[Record]
    now: float
    waits: Mapping[str, float]


Invariant = Callable[[Change], Iterator[str]]


def only_the_newest_token_commits(change: Change) -> Iterator[str]:
    """A commit that was accepted carries the newest token that was handed out."""
    if change.token != change.newest:
        yield f"token {change.token} committed after token {change.newest} was handed out"


def the_hash_chain_verifies(change: Change) -> Iterator[str]:
    """Each entry follows the one before it."""
    try:
        first = change.entries[0].seq - 1
        verify(change.entries, tenant=change.tenant, run=change.run, after=first, head=change.head)
    except JournalCorruptError as error:
        yield error.problem


def states_move_along_the_table(change: Change) -> Iterator[str]:
    """The state of a run follows from the one before; what has ended stays so."""
    if not allowed(change.was, change.state):
        yield f"the run went from {change.was} to {change.state}"


def one_result_per_call(change: Change) -> Iterator[str]:
    """A call that has a result gets no other one, unless it was asked for anew."""
    begun = {record.call for record in change.records if isinstance(record, StartedRecord)}
    for record in change.records:
        if isinstance(record, SucceededRecord):
            known = change.before.calls.get(record.call)
            if known is not None and known.state is State.DONE and record.call not in begun:
                yield f"{record.call} has a second result"


def an_answer_is_used_once(change: Change) -> Iterator[str]:
    """A question that has its answer gets no other one."""
    seen: set[str] = set()
    for record in change.records:
        if isinstance(record, AnsweredRecord):
            known = change.before.calls.get(record.call)
            if record.call in seen or (known is not None and known.state is State.DONE):
                yield f"{record.call} was answered twice"
            seen.add(record.call)


def what_cannot_succeed_is_not_tried_again(change: Change) -> Iterator[str]:
    """After an error that no further attempt can help there is none."""
    for record in change.records:
        if isinstance(record, AttemptFailedRecord) and not record.failure.retryable:
            yield f"{record.call} is to be tried again after {record.failure.type}"
        if isinstance(record, FailedRecord) and record.failure.attempts > record.attempt:
            yield f"{record.call} counts {record.failure.attempts} attempts at {record.attempt}"


def nothing_fires_early(change: Change) -> Iterator[str]:
    """No attempt begins before its wait is over, and no question times out before its deadline.

    Time has passed by the clock or in truth: who takes over cannot know that a clock was set.
    """
    for record in change.records:
        begun = isinstance(record, StartedRecord)
        timed_out = isinstance(record, AnsweredRecord) and record.by == "default"
        known = change.before.calls.get(getattr(record, "call", ""))
        if known is None or known.moment is None or not (begun or timed_out):
            continue
        waited = known.state in (State.SLEEPING, State.ASKED)
        early = change.now < change.waits.get(known.id, 0.0) - 1e-6
        if waited and early and record.at < known.moment:
            yield f"the wait of {known.id} ended before {known.moment}"


def no_more_is_held_than_the_budget(change: Change) -> Iterator[str]:
    """What is reserved fits the budget of the run when it is put aside."""
    created = change.after.created
    budget = created.budget if created is not None else None
    if budget is None or not any(record.kind == "reserved" for record in change.records):
        return
    held = change.after.spending.run
    spent = any(record.kind == "spent" for record in change.records)
    over = budget.money is not None and held.held_money > budget.money * (1 + 1e-9)
    if over and not spent and held.held_money > change.before.spending.run.held_money:
        yield f"{held.held_money:g} of {budget.money:g} money are reserved"


def replay_gives_the_same(change: Change) -> Iterator[str]:
    """The fold of what is kept is the one that the commits gave, one after the other."""
    ended = [record for record in change.records if isinstance(record, FinishedRecord)]
    if ended and change.after.finished != ended[-1]:
        yield "the last record is not the end that was committed"


INVARIANTS: Mapping[str, Invariant] = MappingProxyType(
    {
        invariant.__name__.replace("_", " "): invariant
        for invariant in (
            an_answer_is_used_once,
            no_more_is_held_than_the_budget,
            nothing_fires_early,
            one_result_per_call,
            only_the_newest_token_commits,
            replay_gives_the_same,
            states_move_along_the_table,
            the_hash_chain_verifies,
            what_cannot_succeed_is_not_tried_again,
        )
    }
)
"""All of them, by name."""
