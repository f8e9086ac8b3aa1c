"""Undo when things go wrong around it: retries, take-overs, time-outs, budgets; rule 34."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Any

import anyio
import pytest

from astro import (
    Budget,
    CallFailedError,
    Context,
    LocalEngine,
    Retry,
    RunFailedError,
    RunSummary,
    State,
    SystemClock,
    Task,
    task,
)
from tests.engine.conftest import QUICK, OpenEngine
from tests.engine.hold import Hold

pytestmark = pytest.mark.anyio
NOW = Retry(attempts=2, first=timedelta(0))
SOON = timedelta(milliseconds=50)
Wait = Callable[[float], Awaitable[None]]


class Bank:
    """Counts what was charged and not refunded, and keeps the keys under which it was."""

    def __init__(self) -> None:
        self.balance = 0
        self.keys: list[str] = []
        self.undo_keys: list[str] = []

    def charge(
        self, *, then: Wait = anyio.sleep, first: Wait = anyio.sleep, **options: Any
    ) -> Task[..., int]:
        """Return a task that charges, then does more; when it is undone it refunds, after more."""

        async def refund(ctx: Context, result: int | None, amount: int) -> None:
            self.undo_keys.append(ctx.key)
            await first(0)
            self.balance -= amount

        @task(undo=refund, **options)
        async def charge(ctx: Context, amount: int) -> int:
            self.keys.append(ctx.key)
            self.balance += amount
            await then(0)
            return amount

        return charge


async def reach(run: Any, kind: str) -> None:
    """Return when the run has a record of a kind."""
    with anyio.fail_after(5):
        async for record in run.records():
            if record.kind == kind:
                break


def asking(charge: Task[..., int]) -> Task[..., Any]:
    """Return a root that charges and then waits for a person."""

    @task
    async def root(ctx: Context) -> None:
        await ctx.call(charge, 100)
        await ctx.ask("Pay?", bool)

    return root


def ordering(charge: Task[..., int], faults: list[str]) -> tuple[Task[..., Any], ...]:
    """Return a task that charges, and fails as long as there are faults; one that tries twice."""

    @task
    async def order(ctx: Context) -> str:
        await ctx.call(charge, 60)
        await ctx.call(charge, 40)
        if faults:
            raise RuntimeError(faults.pop())
        return "shipped"

    @task(retry=NOW)
    async def twice(ctx: Context) -> str:
        return await ctx.call(order)

    return order, twice


async def test_a_call_that_was_undone_is_done_when_asked_for_again(engine_of: OpenEngine) -> None:
    bank = Bank()
    charge = bank.charge()
    order, twice = ordering(charge, ["flaky"])
    async with engine_of(charge, order, twice) as engine:
        assert await engine.run(twice) == "shipped"
    assert len(bank.keys) == 4
    assert bank.balance == 100


async def test_what_is_done_or_undone_again_has_a_key_of_its_own(engine_of: OpenEngine) -> None:
    bank = Bank()
    charge = bank.charge()
    order, twice = ordering(charge, ["flaky", "flaky"])
    async with engine_of(charge, order, twice) as engine:
        with pytest.raises(RunFailedError, match="flaky"):
            await engine.run(twice)
    assert bank.balance == 0
    assert len(bank.keys) == len(bank.undo_keys) == 4
    assert len({*bank.keys, *bank.undo_keys}) == 8


def stuck(bank: Bank, hold: Hold) -> tuple[Task[..., Any], ...]:
    """Return an order that fails once and is held in the second of its undos, and its charge."""

    async def stick(_: float) -> None:
        if len(bank.undo_keys) == 2:
            await hold()

    charge = bank.charge(first=stick)
    return ordering(charge, ["no"])[0], charge


async def test_an_undo_gets_the_defaults_of_what_the_call_left_out(engine_of: OpenEngine) -> None:
    undone: list[tuple[Any, ...]] = []

    async def give_back(
        ctx: Context, result: int | None, first: int, /, second: int, *, third: int = 9
    ) -> None:
        undone.append((result, first, second, third))

    @task(undo=give_back)
    async def take(ctx: Context, first: int = 1, /, second: int = 2, *, third: int = 3) -> int:
        return first + second + third

    @task
    async def failing(ctx: Context) -> None:
        await ctx.call(take)
        await ctx.call(take, 5, third=7)
        raise ValueError("no")

    async with engine_of(failing, take) as engine:
        with pytest.raises(RunFailedError):
            await engine.run(failing)
    assert undone == [(14, 5, 2, 7), (6, 1, 2, 3)]


async def test_a_run_taken_over_while_it_undoes_goes_on_and_fails(engine_of: OpenEngine) -> None:
    bank, hold = Bank(), Hold()
    order, charge = stuck(bank, hold)
    async with engine_of(order, charge, grace=SOON) as engine:
        run = await engine.start(order)
        await hold.reached.wait()
        assert (await run.status()).state is State.UNDOING
    hold.release()
    async with engine_of(order, charge) as engine:
        with anyio.fail_after(5), pytest.raises(RunFailedError, match="no"):
            await (await engine.get(run.id))
    assert bank.balance == 0
    assert len(bank.keys) == 2
    assert bank.undo_keys[1] == bank.undo_keys[2]


async def test_a_call_taken_over_while_undone_does_not_run_again(engine_of: OpenEngine) -> None:
    bank, hold = Bank(), Hold()
    order, charge = stuck(bank, hold)

    @task
    async def root(ctx: Context) -> str:
        try:
            return await ctx.call(order)
        except CallFailedError:
            return "at home"

    async with engine_of(root, order, charge, grace=SOON) as engine:
        run = await engine.start(root)
        await hold.reached.wait()
    hold.release()
    async with engine_of(root, order, charge) as engine:
        with anyio.fail_after(5):
            assert await (await engine.get(run.id)) == "at home"
    assert bank.balance == 0
    assert len(bank.keys) == 2


async def test_a_fresh_attempt_leaves_nothing_that_is_not_undone(engine_of: OpenEngine) -> None:
    bank = Bank()
    charge = bank.charge()

    @task(retry=Retry(attempts=2, first=timedelta(0), fresh=True))
    async def root(ctx: Context) -> None:
        if ctx.attempt == 1:
            await ctx.call(charge, 100)
        raise RuntimeError(f"{bank.balance} charged")

    async with engine_of(charge, root) as engine:
        with pytest.raises(RunFailedError, match="100 charged"):
            await engine.run(root)
    assert bank.balance == 0


async def test_a_call_cancelled_between_two_attempts_is_undone(engine_of: OpenEngine) -> None:
    async def lose_the_connection(_: float) -> None:
        raise RuntimeError("after the effect")

    bank = Bank()
    later = Retry(attempts=3, first=timedelta(seconds=30))
    charge = bank.charge(then=lose_the_connection, retry=later)
    root = asking(charge)
    async with engine_of(charge, root) as engine:
        run = await engine.start(root)
        await reach(run, "attempt_failed")
        assert bank.balance == 100
        assert (await run.cancel()).state is State.CANCELLED
    assert bank.balance == 0


async def test_a_call_that_an_earlier_attempt_gave_up_is_undone(engine_of: OpenEngine) -> None:
    bank = Bank()
    charge = bank.charge(then=lambda _: anyio.sleep_forever())

    @task(retry=NOW)
    async def root(ctx: Context) -> None:
        if ctx.attempt == 1:
            with anyio.move_on_after(0.05):
                await ctx.call(charge, 3)
        raise RuntimeError(f"attempt {ctx.attempt}, {bank.balance} charged")

    async with engine_of(charge, root) as engine:
        with pytest.raises(RunFailedError, match="attempt 2, 3 charged"):
            await engine.run(root)
    assert bank.balance == 0


async def test_an_undo_may_make_calls_when_the_budget_is_used_up(engine_of: OpenEngine) -> None:
    log: list[str] = []

    async def refund(ctx: Context, result: int, amount: int) -> None:
        await ctx.options(name="append").step(append, "refunded")

    async def append(line: str) -> None:
        log.append(line)

    @task(undo=refund)
    async def charge(ctx: Context, amount: int) -> int:
        log.append("charged")
        return amount

    order, _ = ordering(charge, [])
    async with engine_of(charge, order) as engine:
        with anyio.fail_after(5), pytest.raises(RunFailedError, match="budget of 2 calls"):
            await engine.options(budget=Budget(calls=2)).run(order)
    assert log == ["charged", "refunded"]


async def cancelled_until_parked(engine: LocalEngine, id: str) -> RunSummary:
    """Cancel a run, and return what it is like when it is parked."""
    run = await engine.get(id)
    async with anyio.create_task_group() as group:
        group.start_soon(run.cancel)
        await reach(run, "parked")
        group.cancel_scope.cancel()
    return await run.status()


async def test_a_task_that_has_lost_its_undo_parks_the_run(engine_of: OpenEngine) -> None:
    bank = Bank()
    charge = bank.charge()
    root = asking(charge)

    @task(name="charge")
    async def changed(ctx: Context, amount: int) -> int:
        return amount

    async with engine_of(charge, root) as engine:
        run = await engine.start(root)
        await reach(run, "asked")
    async with engine_of(changed, root) as engine:
        found = await cancelled_until_parked(engine, run.id)
    assert found.needs["attention"].startswith("could not undo charge:")


async def test_an_undo_whose_task_is_not_deployed_waits_for_it(engine_of: OpenEngine) -> None:
    bank = Bank()
    charge = bank.charge()
    root = asking(charge)
    async with engine_of(charge, root) as engine:
        run = await engine.start(root)
        await reach(run, "asked")
    async with engine_of(root) as engine:
        assert (await cancelled_until_parked(engine, run.id)).needs == {"task": "charge"}
    assert bank.balance == 100
    async with engine_of(charge, root) as engine:
        with anyio.fail_after(5):
            assert (await (await engine.get(run.id)).cancel()).state is State.CANCELLED
    assert bank.balance == 0


async def test_the_fork_of_an_undone_run_does_its_calls_again(engine_of: OpenEngine) -> None:
    bank = Bank()
    charge = bank.charge()
    order, _ = ordering(charge, ["flaky"])
    async with engine_of(charge, order) as engine:
        run = await engine.start(order)
        with pytest.raises(RunFailedError):
            await run
        assert bank.balance == 0
        assert await (await run.fork()) == "shipped"
    assert bank.balance == 100


async def test_a_drain_gives_an_undo_no_more_time_than_its_grace(engine_of: OpenEngine) -> None:
    hold = Hold()
    order, charge = stuck(Bank(), hold)
    async with engine_of(order, charge) as engine:
        run = await engine.start(order)
        await hold.reached.wait()
        with anyio.fail_after(0.4):
            await engine.drain(SOON)
        assert not engine.drives(run.id)


async def test_an_undo_is_cut_off_when_the_lease_is_lost(store_of: Callable[[], Any]) -> None:
    class Asleep(SystemClock):
        """The clock of an engine that does not get to renew its leases."""

        async def sleep(self, duration: timedelta, /) -> None:
            await anyio.sleep_forever()

    cut_off = anyio.Event()

    async def stick(_: float) -> None:
        if len(bank.undo_keys) == 1:
            try:
                await anyio.sleep_forever()
            finally:
                cut_off.set()

    bank = Bank()
    charge = bank.charge(first=stick)
    order, _ = ordering(charge, ["no"])
    options = QUICK | {"lease_for": timedelta(seconds=0.3)}
    async with LocalEngine(charge, order, store=store_of(), clock=Asleep(), **options) as sleepy:
        run = await sleepy.start(order)
        await reach(run, "undoing")
        async with LocalEngine(charge, order, store=store_of(), **options) as heir:
            with anyio.fail_after(5):
                await cut_off.wait()
                with pytest.raises(RunFailedError):
                    await (await heir.get(run.id))
    assert bank.balance == 0


async def test_a_time_out_around_a_call_leaves_its_undo_alone(engine_of: OpenEngine) -> None:
    bank = Bank()
    charge = bank.charge(first=lambda _: anyio.sleep(0.15))
    order, _ = ordering(charge, ["no"])

    @task
    async def root(ctx: Context) -> str:
        with anyio.move_on_after(0.05) as scope:
            await ctx.call(order)
        return f"went on without: {scope.cancelled_caught}, {bank.balance} charged"

    async with engine_of(charge, order, root) as engine:
        assert await engine.run(root) == "went on without: True, 0 charged"


async def test_who_only_used_a_remembered_result_does_not_undo_it(engine_of: OpenEngine) -> None:
    bank = Bank()
    charge = bank.charge(cache=timedelta(hours=1))
    faults: list[str] = []
    order, _ = ordering(charge, faults)
    async with engine_of(charge, order) as engine:
        assert await engine.run(order) == "shipped"
        faults.append("no")
        with pytest.raises(RunFailedError, match="no"):
            await engine.run(order)
    assert len(bank.keys) == 2
    assert bank.balance == 100


@pytest.mark.parametrize("undo", ["is under way", "has failed"])
async def test_the_children_of_a_cancelled_run_do_not_go_on_while_it_is_undone(
    engine_of: OpenEngine, undo: str
) -> None:
    begun, stopped = anyio.Event(), anyio.Event()

    async def unbook(ctx: Context, result: None) -> None:
        await anyio.sleep(30 if undo == "is under way" else 0)
        raise RuntimeError("cannot")

    @task(undo=unbook)
    async def book(ctx: Context) -> None: ...

    @task
    async def child(ctx: Context) -> None:
        begun.set()
        try:
            await anyio.sleep_forever()
        finally:
            stopped.set()

    @task
    async def root(ctx: Context) -> None:
        await ctx.call(book)
        await (await ctx.start(child))

    async with engine_of(book, child, root, grace=SOON) as engine, anyio.create_task_group() as g:
        run = await engine.start(root)
        await begun.wait()
        g.start_soon(run.cancel)
        with anyio.fail_after(5):
            await stopped.wait()
        assert not (await run.status()).state.terminal
        g.cancel_scope.cancel()
