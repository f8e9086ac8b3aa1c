"""Invariants: what holds after every commit of a run, whatever happens around it.

Each is a function of what was there before and what a commit adds; it yields what is wrong. It
looks at what is new, so that a long run costs no more per commit than a short one. The names are
those of the table in `docs/explanation/tested.md`. What holds of what a store answers is in
`watched_store`, what holds in the end in `ends`.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from types import MappingProxyType

import msgspec

from astro.core.errors import JournalCorruptError
from astro.core.records import (
    AnsweredRecord,
    AttemptFailedRecord,
    DivergedRecord,
    Entry,
    FailedRecord,
    OwnedRecord,
    Record,
    ReservedRecord,
    StartedRecord,
    State,
    SucceededRecord,
    verify,
)
from astro.core.workflow import Workflow
from astro.decisions.replay import CallState, RunState
from astro.decisions.states import allowed

__all__ = [
    "INVARIANTS",
    "Change",
    "Invariant",
    "Rules",
    "a_node_starts_after_those_before_it",
    "a_takeover_settles_what_was_reserved",
    "an_answer_is_used_once",
    "no_call_has_more_attempts_than_it_may",
    "no_more_is_held_than_the_budget",
    "nothing_fires_early",
    "one_result_per_call",
    "only_the_newest_token_commits",
    "replay_gives_the_same",
    "states_move_along_the_table",
    "the_hash_chain_verifies",
    "what_cannot_succeed_is_not_tried_again",
]


class Rules(msgspec.Struct, frozen=True, kw_only=True):
    """What an application has said of its tasks, as far as invariants follow from it.

    Attributes:
        attempts: How many a call of a task may have at most, by task.
        workflows: By name.
    """

    attempts: Mapping[str, int] = msgspec.field(default_factory=dict)
    workflows: Mapping[str, Workflow] = msgspec.field(default_factory=dict)


class Change(msgspec.Struct, frozen=True, kw_only=True):
    """What one accepted commit has changed.

    Attributes:
        tenant: Whose run it is.
        token: Fencing token it was committed with.
        newest: The newest token that was handed out for the run.
        before: The calls that the commit is about, as they were before it.
        again: Calls that began or succeeded when they had a result.
        held: Money and tokens of the run's budget that were used or reserved before it.
        after: The fold with it.
        places: The calls of each node of a workflow.
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
    before: Mapping[str, CallState]
    again: Sequence[str]
    held: tuple[float, int]
    after: RunState
    places: Mapping[str, Collection[str]]
    was: State
    state: State
    head: str
    entries: Sequence[Entry]
    records: Sequence[Record]
    now: float
    waits: Mapping[str, float]
    rules: Rules


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
    """A call that has a result is not begun again and gets no other, unless it was forgotten."""
    for call in change.again:
        yield f"{call} had its result already"


def an_answer_is_used_once(change: Change) -> Iterator[str]:
    """A question that has its answer gets no other one."""
    seen: set[str] = set()
    for record in change.records:
        if isinstance(record, AnsweredRecord):
            known = change.before.get(record.call)
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


def no_call_has_more_attempts_than_it_may(change: Change) -> Iterator[str]:
    """No call is tried more often than its task says, counted anew each time it is asked for."""
    for record in change.records:
        if isinstance(record, StartedRecord) and record.task in change.rules.attempts:
            known = change.before.get(record.call)
            tries = record.attempt - (known.base if known is not None else 0)
            if tries > change.rules.attempts[record.task]:
                yield f"{record.call} is tried for the {tries}. time"


def a_node_starts_after_those_before_it(change: Change) -> Iterator[str]:
    """A node of a workflow starts when the results of all before it have been committed."""
    created = change.after.created
    workflow = change.rules.workflows.get(created.task) if created is not None else None
    if workflow is None:
        return
    for record in change.records:
        if not isinstance(record, StartedRecord) or record.place not in workflow.edges:
            continue
        for name in workflow.edges[record.place].all:
            if not _has_ended(change, change.places.get(name, ())):
                yield f"{record.place} has started before {name} had its result"


def _has_ended(change: Change, calls: Collection[str]) -> bool:
    """Return whether the calls of a node have their results, or it was said that it gives none."""
    known = [change.after.calls[call] for call in calls if call in change.after.calls]
    if any(call.task == "emit" for call in known):
        return True
    now = {record.call for record in change.records if isinstance(record, SucceededRecord)}
    return bool(known) and all(
        call.state is State.DONE and not call.abandoned and call.id not in now for call in known
    )


def nothing_fires_early(change: Change) -> Iterator[str]:
    """No attempt begins before its wait is over, and no question times out before its deadline.

    Time has passed by the clock or in truth: who takes over cannot know that a clock was set.
    """
    for record in change.records:
        begun = isinstance(record, StartedRecord)
        timed_out = isinstance(record, AnsweredRecord) and record.by == "default"
        known = change.before.get(getattr(record, "call", ""))
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
    if any(record.kind == "spent" for record in change.records):
        return  # who spends more than was put aside is told so afterwards
    held = change.after.spending.run
    money, tokens = change.held
    over = budget.money is not None and held.held_money > budget.money * (1 + 1e-9)
    if over and held.held_money > money:
        yield f"{held.held_money:g} of {budget.money:g} money are reserved"
    if budget.tokens is not None and max(budget.tokens, tokens) < held.held_tokens:
        yield f"{held.held_tokens} of {budget.tokens} tokens are reserved"


def a_takeover_settles_what_was_reserved(change: Change) -> Iterator[str]:
    """What a dead engine had put aside is charged when another one takes over."""
    lost = False
    anew: set[str] = set()
    for record in change.records:
        if isinstance(record, OwnedRecord) and record.lost:
            lost = True
        elif isinstance(record, ReservedRecord):
            anew.add(record.call)
    left = change.after.spending.opened.keys() - anew
    if lost and left:
        yield f"{', '.join(sorted(left))} was reserved by an engine that is dead"


def replay_gives_the_same(change: Change) -> Iterator[str]:
    """Whoever takes a run over asks for the calls that were asked for before."""
    for record in change.records:
        if isinstance(record, DivergedRecord):
            held = f", but for {', '.join(record.held)}" if record.held else ""
            yield f"nobody asked again for {', '.join(record.missing)}{held}"


INVARIANTS: Mapping[str, Invariant] = MappingProxyType(
    {
        invariant.__name__.replace("_", " "): invariant
        for invariant in (
            a_node_starts_after_those_before_it,
            a_takeover_settles_what_was_reserved,
            an_answer_is_used_once,
            no_call_has_more_attempts_than_it_may,
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
