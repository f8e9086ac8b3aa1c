"""Patience: a user who tries again, an engine on a store in which one call goes wrong.

What the user was told, which verb went wrong and for whom, and what became of the runs is kept, so
that a test can hold one to the other.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import AbstractAsyncContextManager, nullcontext, suppress
from datetime import timedelta
from typing import Any

import anyio
import attrs

from astro import LocalEngine, RunFailedError, State
from astro.core.errors import (
    AlreadyAnsweredError,
    AstroError,
    RunFinishedError,
    StoreError,
    StoreUnavailableError,
)
from astro.core.ledger import Account, Usage
from astro.core.protocols import RunQuery
from astro.core.records import Record, SucceededRecord
from astro.decisions.replay import replay
from astro.engine import posting
from astro.testing.clock import VirtualIds
from astro.testing.faulty_store import Fault, FaultyStore, Plan
from astro.testing.loop import LoopClock
from astro.testing.outcomes import outcome_of
from astro.testing.watched_store import WatchedStore
from tests.exhaustion.scenarios import PARTS, Scenario

__all__ = ["Pace", "Tried", "try_with", "wrongs"]

TENANT = "default"
MORE = frozenset({"account", "allow", "budgets", "tenants", "wait"})


@attrs.frozen(kw_only=True)
class Pace:
    """How long things last.

    Attributes:
        lease: Of the engines.
        again: After which the user tries again.
        patience: After which the user loses faith.
    """

    lease: timedelta
    again: timedelta
    patience: timedelta


@attrs.define(kw_only=True)
class Tried:
    """What came of one try.

    Attributes:
        struck: The verb that went wrong, if any did.
        told: Errors that the user met, with what the user was doing.
        direct: Whether the verb was the user's own, and not the engine's behind its back.
        silent: Whether it went wrong while an engine closed, which tells nobody.
        wrong: What broke an invariant of the store.
        seen: What the user saw in the end.
    """

    struck: str = ""
    told: list[tuple[str, AstroError]] = attrs.field(factory=list)
    direct: bool = False
    silent: bool = False
    wrong: list[str] = attrs.field(factory=list)
    seen: object = None
    state: State | None = None
    unfinished: list[str] = attrs.field(factory=list)
    journals: Mapping[str, Sequence[Record]] = attrs.field(factory=dict)
    root: str = ""
    account: Account | None = None
    problems: tuple[str, ...] = ()
    checks: int = 0


class Witness:
    """A plan that takes note of what it strikes."""

    def __init__(self, plan: Plan, tried: Tried) -> None:
        self._plan = plan
        self._tried = tried
        self._user = anyio.get_current_task().id
        self.closing = False

    def __call__(self, verb: str, number: int) -> Fault | None:
        fault = self._plan(verb, number)
        if fault is not None:
            self._tried.struck = verb
            self._tried.direct = anyio.get_current_task().id == self._user
            self._tried.silent = self.closing
        return fault


class EveryVerb:
    """Lets the faults of a store meet the few verbs, too, that it leaves alone."""

    def __init__(self, store: FaultyStore) -> None:
        self._store = store

    async def __aenter__(self) -> EveryVerb:
        await self._store.__aenter__()
        return self

    async def __aexit__(self, *error: object) -> bool | None:
        return await self._store.__aexit__(*error)

    def __getattr__(self, name: str) -> Any:
        verb = getattr(self._store, name)
        if name not in MORE:
            return verb

        async def perform(*args: Any, **kwargs: Any) -> Any:
            plan = self._store.plan
            fault = None if plan is None else plan(name, 0)
            if fault is None:
                return await verb(*args, **kwargs)
            self._store.faults += 1
            await anyio.sleep(fault.delay.total_seconds())
            late = await verb(*args, **kwargs) if fault.late or fault.error is None else None
            if fault.error is not None:
                raise fault.error("A fault that was asked for.", remedy="Try again.")
            return late

        return perform


def _engine(store: Any, clock: LoopClock, pace: Pace, number: int) -> LocalEngine:
    """Return an engine that has not been opened yet."""
    return LocalEngine(
        *PARTS,
        store=store,
        clock=clock,
        ids=VirtualIds(number),
        chance=random.Random(0),
        lease_for=pace.lease,
        grace=timedelta(seconds=1),
        idle_for=timedelta(seconds=60),
        blob_size=64,
        name="engine",
    )


class _User:
    """Does a scenario, and does again what fails.

    Args:
        moves: Whether a fresh engine is opened after the first error.
    """

    def __init__(
        self, scenario: Scenario, store: Any, witness: Witness, tried: Tried, *, pace: Pace
    ) -> None:
        self._scenario = scenario
        self._store = store
        self._witness = witness
        self._tried = tried
        self._pace = pace
        self._numbers = iter(range(1, 100))
        self._clock = LoopClock()
        self._left = not scenario.parted
        self._allowed = False

    async def live(self, *, moves: bool) -> None:
        while self._tried.state is None:
            engine = _engine(self._store, self._clock, self._pace, next(self._numbers))
            try:
                await engine.__aenter__()
            except StoreError as error:
                await self._told("open", error)
                continue
            try:
                await self._use(engine, moves=moves)
            finally:
                self._witness.closing = True
                await engine.__aexit__(None, None, None)
                self._witness.closing = False

    async def _use(self, engine: LocalEngine, *, moves: bool) -> None:
        while self._tried.state is None:
            try:
                await self._do(engine)
            except _LeaveError:
                return
            except StoreError as error:
                await self._told("use", error)
                if moves:
                    return

    async def _do(self, engine: LocalEngine) -> None:
        """Do all of it, which is what a user does who does not know what was done already."""
        scenario, tried = self._scenario, self._tried
        if scenario.budget is not None and not self._allowed:
            await engine.allow(scenario.budget)
            self._allowed = await engine.account() is not None
        run = await engine.options(key="one").start(scenario.task, *scenario.args)
        tried.root = run.id
        if scenario.answer is not None:
            await self._answer(run)
        try:
            tried.seen = await run
            tried.state = State.DONE
        except RunFailedError as error:
            tried.seen, tried.state = error.failure.type, State.FAILED

    async def _answer(self, run: Any) -> None:
        """Answer the first question, and no other one, once it is asked."""
        while True:
            records = [one async for one in run.records(follow=False)]
            asked = [one for one in records if one.kind == "asked"][:1]
            if asked and self._left:
                with suppress(AlreadyAnsweredError, RunFinishedError):
                    await run.answer(self._scenario.answer, call=asked[0].call)
                return
            if asked:
                self._left = True
                raise _LeaveError
            await anyio.sleep(self._pace.again.total_seconds() / 20)

    async def _told(self, doing: str, error: StoreError) -> None:
        self._tried.told.append((doing, error))
        await anyio.sleep(self._pace.again.total_seconds())


class _LeaveError(Exception):
    """Raised by a user who lets the engine go while a run waits."""


async def try_with(store: Any, scenario: Scenario, plan: Plan, *, pace: Pace, moves: bool) -> Tried:
    """Let a user do a scenario on an empty store while a plan goes wrong."""
    tried = Tried()
    watched = WatchedStore(store)
    witness = Witness(plan, tried)
    faulty = FaultyStore(watched, witness, clock=LoopClock())
    async with watched:  # kept open, so that leases are ended by time and by nothing else
        user = _User(scenario, EveryVerb(faulty), witness, tried, pace=pace)
        with anyio.move_on_after(pace.patience.total_seconds()) as scope:
            async with _rival(scenario, watched, pace):
                await user.live(moves=moves)
        if scope.cancelled_caught:
            tried.wrong.append("the user lost patience")
        await _look(watched, tried)
    tried.wrong += watched.wrong
    tried.checks = sum(watched.counts.values())
    return tried


def _rival(scenario: Scenario, store: Any, pace: Pace) -> AbstractAsyncContextManager[Any]:
    return _engine(store, LoopClock(), pace, 1_000) if scenario.rival else nullcontext()


async def _look(store: WatchedStore, tried: Tried) -> None:
    """Take note of what the store holds in the end."""
    found = (await store.runs(TENANT, RunQuery(limit=1_000))).items
    tried.journals = {one.id: await posting.read_all(store, TENANT, one.id) for one in found}
    tried.unfinished = store.unfinished()
    tried.account = await store.account(TENANT)
    tried.problems = (await store.check()).problems


# --- What is wrong ---------------------------------------------------------------------------


def wrongs(scenario: Scenario, fault: Fault, tried: Tried) -> list[str]:
    """Return what should not be after a try."""
    found = [*tried.wrong, *tried.problems]
    found += [f"run {run} has not ended" for run in tried.unfinished]
    if tried.state is not scenario.state:
        found.append(f"it ended {tried.state}: {tried.seen}")
    elif scenario.state is State.DONE and tried.seen != scenario.expected:
        found.append(f"it gave {tried.seen!r} and not {scenario.expected!r}")
    found += _wrong_words(fault, tried)
    found += _wrong_results(scenario, tried)
    found += _wrong_account(scenario, tried)
    return found


def _wrong_words(fault: Fault, tried: Tried) -> list[str]:
    """Return what the user was told amiss: by another error than the store's, or by none."""
    kinds = [type(error) for _, error in tried.told]
    allowed = {fault.error, StoreUnavailableError}  # the latter says that the engine is not well
    found = [f"the user met {kind.__name__}" for kind in kinds if kind not in allowed]
    quiet = fault.error is None or tried.silent
    if tried.direct and not quiet and fault.error not in kinds:
        found.append(f"{tried.struck} failed and the user was told {kinds or 'nothing'}")
    if fault.error is None and kinds:
        found.append(f"nothing failed, and the user was told {tried.told}")
    return found


def _wrong_results(scenario: Scenario, tried: Tried) -> list[str]:
    results = Counter(
        f"{run}/{record.call}"
        for run, records in tried.journals.items()
        for record in records
        if isinstance(record, SucceededRecord)
    )
    found = [f"{call} has {count} results" for call, count in results.items() if count > 1]
    if len(results) != scenario.calls:
        found.append(f"{len(results)} calls have a result and not {scenario.calls}")
    if tried.root:
        found += outcome_of(tried.journals, tried.root).faults
    return found


def _wrong_account(scenario: Scenario, tried: Tried) -> list[str]:
    """Return how the tenant's account and the journals of its runs disagree."""
    if scenario.budget is None:
        return []
    account = tried.account
    if account is None:
        return ["the budget is gone"]
    found = []
    if account.reserved != Usage():
        found.append(f"{account.reserved} is still reserved")
    spent = [replay(records).spending.run for records in tried.journals.values()]
    used = Usage(
        money=sum(one.used_money for one in spent),
        tokens=sum(one.used_tokens for one in spent),
        calls=sum(one.used_calls for one in spent),
    )
    if account.used != used:
        found.append(f"the account says {account.used}, the journals say {used}")
    return found
