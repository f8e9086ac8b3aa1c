"""Budgets: what is used and reserved never exceeds what is allowed, whoever dies.

Owners of runs reserve, spend and settle as an engine does, with its own purse, the fold of their
journals, and a store. Beside them a page of plain Python keeps the same accounts.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from datetime import timedelta
from types import SimpleNamespace
from typing import Any, TypeVar

import anyio
import attrs
import msgspec
import pytest
from hypothesis import strategies as st
from hypothesis.stateful import initialize, invariant, precondition, rule

from astro import Budget, BudgetExceededError, Context, LocalEngine, MemoryStore, State, task
from astro.core.ledger import Usage
from astro.core.protocols import Commit, Lease
from astro.core.records import (
    FailedRecord,
    Failure,
    OwnedRecord,
    Record,
    ReservedRecord,
    SpentRecord,
    StartedRecord,
    SucceededRecord,
    decode_entries,
)
from astro.decisions.replay import CallState, RunState
from astro.decisions.spending import Scope, Spending
from astro.engine.purse import Purse
from tests.machines.profile import MANY, CountedMachine, found_by
from tests.stores.making import ANY, ManualClock, end, entries_of, new_run

T = TypeVar("T")
TENANT = "acme"
CAP = Budget(money=20.0, tokens=200)
RUN = Budget(money=12.0, tokens=100)
LONG = timedelta(minutes=1)
SLACK = 1 + 1e-9
FAILURE = Failure(type="OSError", message="busy")
MONEY = st.sampled_from([0.0, 0.5, 1.0, 2.5, 7.0])
SHARES = st.sampled_from([0.1, 0.5, 1.0])
TOKENS = st.sampled_from([0, 1, 10, 40])


@attrs.define
class Open:
    """A call that has something put aside for it, and is part of no other such call."""

    budget: Usage
    spent: Usage = attrs.field(factory=Usage)


class Owner:
    """An engine, as far as the budgets of one run are concerned.

    Attributes:
        used: What the run has used, by plain arithmetic.
        open: What is put aside for its calls, likewise.
        kept: The two, as they were committed last.
    """

    def __init__(self, store: MemoryStore, lease: Lease, state: RunState) -> None:
        self.state = state
        self.lease = lease
        self.pending: list[Record] = []
        self.parts = SimpleNamespace(ledger=store, budgets={TENANT: CAP})
        self.journal = SimpleNamespace(lease=lease, fail=None)
        self.budget, self.tenant = RUN, TENANT
        self.purse = Purse(self)  # type: ignore[arg-type]  # it asks for no more than this
        self.used = Usage()
        self.open: dict[str, Open] = {}
        self.kept: tuple[Usage, dict[str, Open]] = (Usage(), {})

    def record(self, kind: type[Any], at: Any, **fields: Any) -> None:
        one = kind(seq=self.state.seq + 1, at=at, **fields)
        self.state.apply(one)
        self.pending.append(one)

    def calls(self) -> list[CallState]:
        return [call for call in self.state.calls.values() if call.state is State.RUNNING]

    def around(self, call: str) -> str:
        """Return the call around a call, or itself, that has something put aside for it."""
        while call and call not in self.open:
            call = self.state.calls[call].parent
        return call


class BudgetMachine(CountedMachine):
    """Owners of one tenant, with a budget for it and for each of its runs."""

    kind: type[MemoryStore] = MemoryStore
    spending: type[Spending] = Spending

    def __init__(self) -> None:
        super().__init__()
        self.runner = asyncio.Runner()
        self.clock = ManualClock()
        self.store = self.kind(clock=self.clock)
        self.owners: dict[str, Owner] = {}
        self.ended = Usage()  # what the runs that have ended used
        self.numbers = 0
        self.say(self.store.__aenter__())

    def teardown(self) -> None:
        self.say(self.store.__aexit__(None, None, None))
        self.runner.close()

    def say(self, asked: Coroutine[Any, Any, T]) -> T:
        return self.runner.run(asked)

    @initialize()
    def allow(self) -> None:
        self.say(self.store.allow(TENANT, CAP))

    def some_owner(self, data: st.DataObject) -> Owner:
        return self.owners[data.draw(st.sampled_from(sorted(self.owners)))]

    def some_call(self, data: st.DataObject, owner: Owner) -> str:
        """Return a call at work, more often than not the last that began."""
        calls = [call.id for call in owner.calls()]
        return data.draw(st.sampled_from([*calls, *calls[-1:] * len(calls)]))

    # --- Runs ----------------------------------------------------------------------------------

    @precondition(lambda self: len(self.owners) < 3)
    @rule()
    def start(self) -> None:
        self.numbers += 1
        self.say(self.store.create(TENANT, new_run(self.numbers)))
        self.take(RunState(spending=self.spending()))

    def take(self, state: RunState, kept: tuple[Usage, dict[str, Open]] | None = None) -> None:
        """Claim the one run that can be claimed, and own it."""
        self.numbers += 1
        name = f"engine {self.numbers}"
        asked = self.store.claim(name, offers=ANY, limit=1, duration=LONG)
        (lease,) = self.say(asked).leases
        for record in decode_entries(self.say(self.store.read(TENANT, lease.run))):
            state.apply(record)
        owner = self.owners[lease.run] = Owner(self.store, lease, state)
        now = self.clock.now()
        if kept is not None:
            used, still = kept
            for one in still.values():
                used = used.plus(one.budget)  # nobody knows what a dead owner spent last
            owner.used = used
        owner.record(OwnedRecord, now, owner=name, token=lease.token, lost=lease.lost)
        if "root" not in state.calls:
            owner.record(StartedRecord, now, call="root", task="root")
        self.commit_of(owner)

    @precondition(lambda self: self.owners)
    @rule(data=st.data())
    def die(self, data: st.DataObject) -> None:
        """An owner dies with all that it did not commit, and another takes its run over."""
        gone = self.some_owner(data)
        self.clock.advance(LONG * 2)
        for owner in self.owners.values():
            if owner is not gone:
                self.say(self.store.renew(owner.lease.owner, duration=LONG))
        used, still = gone.kept
        self.take(RunState(spending=self.spending()), (used, still))

    @precondition(lambda self: self.owners)
    @rule(data=st.data())
    def finish(self, data: st.DataObject) -> None:
        """A run ends with whatever it still holds."""
        owner = self.some_owner(data)
        for call in [*owner.open]:
            self.settle(owner, call, FailedRecord, failure=FAILURE)
        self.commit_of(owner)
        self.say(self.store.commit(owner.lease, end(owner.lease)))
        del self.owners[owner.lease.run]
        self.ended = self.ended.plus(owner.used)

    # --- What attempts do ----------------------------------------------------------------------

    @precondition(lambda self: self.owners)
    @rule(data=st.data(), money=MONEY, tokens=TOKENS)
    def begin(self, data: st.DataObject, money: float, tokens: int) -> None:
        owner = self.some_owner(data)
        self.dispatch(owner, self.some_call(data, owner), Budget(money=money, tokens=tokens))

    @precondition(lambda self: any(owner.open for owner in self.owners.values()))
    @rule(data=st.data(), share=SHARES, done=st.booleans())
    def think_inside(self, data: st.DataObject, share: float, done: bool) -> None:
        """Let a call with a budget ask for one with a smaller budget, which spends and ends."""
        owner = self.some_spender(data)
        parent = self.some_call(data, owner)
        inner = self.dispatch(owner, parent, Budget(money=0.5, tokens=2))
        if owner.around(inner) and inner in owner.state.spending.opened:
            self.spend_in(owner, inner, share)
        if done and owner.state.calls[inner].state is State.RUNNING:
            self.settle(owner, inner, SucceededRecord)

    def dispatch(self, owner: Owner, parent: str, budget: Budget) -> str:
        """Begin a call with a budget of its own, as `astro.engine.dispatching` does."""
        self.numbers += 1
        call = f"c{self.numbers}"
        request: Any = SimpleNamespace(id=call, parent=parent, budget=budget)
        outermost = not owner.around(parent)
        room = self.has_room(owner, budget) if outermost else True
        name, refused = "", False
        try:
            name = self.say(owner.purse.reserve(request, 1, resumed=False))
        except BudgetExceededError:
            refused = True
            assert not room or not outermost, "refused although there is room"
        else:
            assert room, "reserved although there is no room"
        try:
            refused = refused or owner.purse.require(request, resumed=False) is None
        except BudgetExceededError:
            refused = True
        now = self.clock.now()
        owner.record(StartedRecord, now, call=call, task="work", parent=parent)
        if not refused:
            owner.record(ReservedRecord, now, call=call, attempt=1, budget=budget)
            if outermost:
                aside = Usage(money=budget.money or 0.0, tokens=budget.tokens or 0)
                owner.open[call] = Open(aside)
        owner.purse.recorded(name)
        if refused:
            owner.record(FailedRecord, now, call=call, attempt=1, failure=FAILURE)
        self.commit_of(owner)
        return call

    def has_room(self, owner: Owner, budget: Budget) -> bool:
        """Tell, by plain arithmetic, whether the tenant may put so much aside."""
        held = self.held()
        wanted = ((CAP.money, held.money, budget.money), (CAP.tokens, held.tokens, budget.tokens))
        return all(has < cap and has + more <= cap * SLACK for cap, has, more in wanted)

    @precondition(lambda self: any(owner.open for owner in self.owners.values()))
    @rule(data=st.data(), share=SHARES)
    def spend(self, data: st.DataObject, share: float) -> None:
        owner = self.some_spender(data)
        self.spend_in(owner, self.some_call(data, owner), share)

    def some_spender(self, data: st.DataObject) -> Owner:
        """Return an owner that has put something aside."""
        found = sorted(run for run, owner in self.owners.items() if owner.open)
        return self.owners[data.draw(st.sampled_from(found))]

    def spend_in(self, owner: Owner, call: str, share: float) -> None:
        """Spend a part of what is left to the innermost call with a budget."""
        outer = owner.around(call)
        if not outer:
            return  # without a budget of its own, it spends what nobody has put aside
        left = self.left(owner.state.scope(call))
        amount = Usage(money=left.money * share, tokens=int(left.tokens * share))
        self.numbers += 1
        owner.record(
            SpentRecord,
            self.clock.now(),
            call=f"p{self.numbers}",
            parent=call,
            money=amount.money,
            tokens=amount.tokens,
        )
        owner.open[outer].spent = owner.open[outer].spent.plus(amount)

    def left(self, scope: Scope) -> Usage:
        """Return what a scope has not used up, or put aside for those inside it."""
        assert scope.budget is not None  # it is not the run's
        money = (scope.budget.money or 0.0) - scope.held_money
        tokens = (scope.budget.tokens or 0) - scope.held_tokens
        return Usage(money=max(money, 0.0), tokens=max(tokens, 0))

    @precondition(lambda self: any(owner.open for owner in self.owners.values()))
    @rule(data=st.data(), done=st.booleans())
    def end_call(self, data: st.DataObject, done: bool) -> None:
        owner = self.some_owner(data)
        call = self.some_call(data, owner)
        if call == "root":
            return
        if done:
            self.settle(owner, call, SucceededRecord)
        else:
            self.settle(owner, call, FailedRecord, failure=FAILURE)

    def settle(self, owner: Owner, call: str, kind: type[Any], **fields: Any) -> None:
        """End a call; what it did not use is given back."""
        below = [child.id for child in owner.calls() if child.parent == call]
        for child in below:
            self.settle(owner, child, FailedRecord, failure=FAILURE)
        owner.record(kind, self.clock.now(), call=call, attempt=1, **fields)
        ended = owner.open.pop(call, None)
        if ended is not None:
            owner.used = owner.used.plus(ended.spent)

    @precondition(lambda self: self.owners)
    @rule(data=st.data())
    def commit(self, data: st.DataObject) -> None:
        self.commit_of(self.some_owner(data))

    def commit_of(self, owner: Owner) -> None:
        """Commit what was recorded, with what it means for the tenant."""
        if not owner.pending:
            return
        used, reserved = owner.purse.movement()
        commit = Commit(
            entries=entries_of(owner.lease, *owner.pending),
            state=State.RUNNING,
            wake_at=self.clock.now(),
            used=used,
            reserved=reserved,
        )
        owner.lease = owner.journal.lease = self.say(self.store.commit(owner.lease, commit))
        owner.pending.clear()
        still = {call: attrs.evolve(one) for call, one in owner.open.items()}
        owner.kept = (owner.used, still)

    # --- What holds ----------------------------------------------------------------------------

    def held(self) -> Usage:
        """Return what the tenant's runs have used, and may still use, as far as committed."""
        total = self.ended
        for owner in self.owners.values():
            used, still = owner.kept
            total = total.plus(used)
            for one in still.values():
                total = total.plus(one.budget)
        return total

    @invariant()
    def the_account_is_what_arithmetic_says(self) -> None:
        account = self.say(self.store.account(TENANT))
        if account is None:
            return  # before the beginning
        together, expected = account.used.plus(account.reserved), self.held()
        assert together.money == pytest.approx(expected.money), "money is lost or made"
        assert together.tokens == expected.tokens, "tokens are lost or made"
        reserved = Usage()
        for owner in self.owners.values():
            for one in owner.kept[1].values():
                reserved = reserved.plus(one.budget)
        assert account.reserved.money == pytest.approx(reserved.money), "something stays reserved"

    @invariant()
    def no_more_is_used_and_reserved_than_allowed(self) -> None:
        account = self.say(self.store.account(TENANT))
        if account is not None:
            together = account.used.plus(account.reserved)
            assert together.money <= (CAP.money or 0) * SLACK, "more money than allowed"
            assert together.tokens <= (CAP.tokens or 0), "more tokens than allowed"

    @invariant()
    def no_run_holds_more_than_its_own_budget(self) -> None:
        for owner in self.owners.values():
            run = owner.state.spending.run
            assert run.held_money <= (RUN.money or 0) * SLACK
            assert run.held_tokens <= (RUN.tokens or 0)


TestBudgets = BudgetMachine.TestCase
TestBudgets.settings = MANY


# --- What is planted is found ------------------------------------------------------------------


class ForgetsReserved(MemoryStore):
    """Reserves whatever is asked for."""

    async def reserve(self, lease: Lease, name: str, amount: Usage, /) -> None:
        account = await self.account(lease.tenant)
        assert account is not None
        await self.allow(lease.tenant, Budget())
        await super().reserve(lease, name, amount)


class NeverSettles(MemoryStore):
    """Keeps what was reserved after it was settled."""

    async def commit(self, lease: Lease, commit: Commit, /) -> Lease:
        return await super().commit(lease, msgspec.structs.replace(commit, reserved=None))


class ChargesTwice(MemoryStore):
    """Counts what was used once more than it was."""

    async def commit(self, lease: Lease, commit: Commit, /) -> Lease:
        used = commit.used and commit.used.plus(commit.used)
        return await super().commit(lease, msgspec.structs.replace(commit, used=used))


class SparesTheDead(Spending):
    """Charges a dead owner with what it is known to have spent."""

    def close_all(self, *, in_full: bool = True) -> None:
        for call in [*self.run.below]:
            self.close(call)


class KeepsInner(Spending):
    """Forgets what was spent in a call inside another one."""

    def close(self, call: str, *, in_full: bool = False) -> None:
        scope = self.opened.get(call)
        if scope is not None and scope.above:
            scope.used_money = 0.0
        super().close(call, in_full=in_full)


@pytest.mark.parametrize(
    ("planted", "found"),
    [
        ({"kind": ForgetsReserved}, ""),
        ({"kind": NeverSettles}, "lost or made"),
        ({"kind": ChargesTwice}, "lost or made"),
        ({"spending": SparesTheDead}, ""),
        ({"spending": KeepsInner}, "lost or made"),
    ],
)
def test_an_account_that_is_wrong_is_found(planted: dict[str, Any], found: str) -> None:
    assert found in found_by(type("Planted", (BudgetMachine,), planted))


# --- What does not hold yet --------------------------------------------------------------------


@task(budget=Budget(money=1.0))
async def think(ctx: Context, number: int) -> int:
    await anyio.sleep(0.2)
    return number


@task
async def thoughts(ctx: Context) -> int:
    async def one(number: int) -> None:
        await anyio.sleep(number * 0.05)
        await ctx.branch(str(number)).call(think, number)

    async with anyio.create_task_group() as group:
        for number in range(3):
            group.start_soon(one, number)
    return 3


@pytest.mark.anyio
async def test_a_call_at_work_counts_once_against_the_calls_of_its_tenant() -> None:
    async with LocalEngine(think, thoughts, store=MemoryStore()) as engine:
        await engine.allow(Budget(calls=4))  # the three thoughts, and what asks for them
        assert await engine.run(thoughts) == 3
