"""Rule 33: what attempts may use is put aside before they begin, and settled when they end."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import anyio
import pytest

from astro import (
    Budget,
    CallFailedError,
    Context,
    LocalEngine,
    RunFailedError,
    TaskTimeoutError,
    task,
)
from astro.core.ledger import Account, Usage
from astro.core.records import ReservedRecord, StartedRecord
from tests.engine.conftest import QUICK, anyio_backend, engine_of, store_of, where
from tests.engine.hold import Hold

__all__ = ["anyio_backend", "engine_of", "store_of", "where"]

pytestmark = pytest.mark.anyio

OpenEngine = Callable[..., Any]


@task(budget=Budget(money=1.0))
async def think(ctx: Context, cost: float) -> float:
    await ctx.spend(money=cost)
    return cost


@task
async def think_often(ctx: Context, times: int, cost: float) -> int:
    """Return how many thoughts the budget allowed, all asked for at once."""
    done = []

    async def one(n: int) -> None:
        try:
            await ctx.branch(str(n)).call(think, cost)
        except CallFailedError:
            return
        done.append(n)

    async with anyio.create_task_group() as group:
        for n in range(times):
            group.start_soon(one, n)
    return len(done)


async def test_rule_33_calls_at_once_do_not_overspend(engine_of: OpenEngine) -> None:
    async with engine_of(think, think_often) as engine:
        limited = engine.options(budget=Budget(money=3.0))
        assert await limited.run(think_often, 10, 1.0) == 3


async def test_rule_33_what_was_not_used_is_given_back(engine_of: OpenEngine) -> None:
    @task
    async def in_turn(ctx: Context) -> int:
        for _ in range(10):
            await ctx.call(think, 0.1)
        return 10

    async with engine_of(think, in_turn) as engine:
        assert await engine.options(budget=Budget(money=2.0)).run(in_turn) == 10


async def test_rule_33_calls_at_once_keep_to_the_number_of_attempts(engine_of: OpenEngine) -> None:
    begun: list[int] = []

    @task
    async def work(ctx: Context, n: int) -> None:
        begun.append(n)

    @task
    async def root(ctx: Context) -> None:
        await ctx.map(work, range(50))

    async with engine_of(work, root) as engine:
        with pytest.raises(RunFailedError, match="budget of 11 calls"):
            await engine.options(budget=Budget(calls=11)).run(root)
    assert len(begun) == 10


async def test_rule_33_a_call_keeps_to_its_own_budget(engine_of: OpenEngine) -> None:
    @task
    async def root(ctx: Context) -> str:
        with pytest.raises(CallFailedError, match="budget of 1 money"):
            await ctx.call(think, 1.5)
        return "went on"

    async with engine_of(think, root) as engine:
        assert await engine.run(root) == "went on"


async def test_rule_33_what_is_asked_for_inside_a_call_counts_there(engine_of: OpenEngine) -> None:
    @task
    async def plain(ctx: Context, cost: float) -> None:
        await ctx.spend(money=cost)

    @task
    async def project(ctx: Context) -> None:
        for cost in (0.4, 0.4, 0.4, 0.4):
            await ctx.call(plain, cost)

    @task
    async def root(ctx: Context) -> str:
        with pytest.raises(CallFailedError, match=r"call .*budget of 1 money"):
            await ctx.options(budget=Budget(money=1.0)).call(project)
        return "went on"

    async with engine_of(plain, project, root) as engine:
        assert await engine.options(budget=Budget(money=9.0)).run(root) == "went on"


async def test_rule_33_a_call_is_not_dispatched_without_enough_left_for_it(
    engine_of: OpenEngine,
) -> None:
    async with engine_of(think, think_often) as engine:
        run = await engine.options(budget=Budget(money=0.5)).start(think_often, 1, 0.1)
        assert await run == 0
        records = [record async for record in run]
    assert not [record for record in records if isinstance(record, ReservedRecord)]


async def test_rule_33_the_time_of_a_call_is_part_of_its_budget(engine_of: OpenEngine) -> None:
    @task(budget=Budget(time=timedelta(milliseconds=20)), raises=(TaskTimeoutError,))
    async def slow(ctx: Context) -> None:
        await anyio.sleep(30)

    async with engine_of(slow) as engine:
        with pytest.raises(RunFailedError, match="in time"):
            await engine.run(slow)


async def test_rule_33_the_reservation_is_committed_before_the_body_runs(
    engine_of: OpenEngine, store_of: Callable[[], Any]
) -> None:
    kept: list[str] = []

    @task(budget=Budget(money=1.0))
    async def look(ctx: Context) -> None:
        async with store_of() as store:
            entries = await store.read(ctx.tenant, ctx.run_id)
        kept.extend(entry.body for entry in entries if '"kind":"reserved"' in entry.body)

    async with engine_of(look) as engine:
        await engine.run(look)
    assert len(kept) == 1


async def test_rule_33_a_dead_owner_is_charged_in_full_and_the_heir_reserves_anew(
    store_of: Callable[[], Any],
) -> None:
    hold = Hold()

    @task(budget=Budget(money=1.0))
    async def think_long(ctx: Context) -> None:
        await ctx.spend(money=0.1)
        await hold()

    @task
    async def root(ctx: Context) -> str:
        with pytest.raises(CallFailedError, match="has no 1 left"):
            await ctx.call(think_long)
        return "went on"

    async with _dies(store_of, think_long, root) as engine:
        run = await engine.options(budget=Budget(money=1.5)).start(root)
        await hold.reached.wait()
    hold.release()
    async with LocalEngine(think_long, root, store=store_of(), **QUICK) as heir:
        with anyio.fail_after(5):
            assert await (await heir.get(run.id)) == "went on"


async def test_rule_33_a_run_given_up_in_peace_keeps_its_reservation(
    engine_of: OpenEngine,
) -> None:
    hold = Hold()

    @task(budget=Budget(money=1.0))
    async def think_long(ctx: Context) -> str:
        await hold()
        await ctx.spend(money=0.1)
        return "thought"

    @task
    async def root(ctx: Context) -> str:
        return await ctx.call(think_long)

    async with engine_of(think_long, root) as engine:
        run = await engine.options(budget=Budget(money=1.5)).start(root)
        await hold.reached.wait()
    hold.release()
    async with engine_of(think_long, root) as engine:
        run = await engine.get(run.id)
        assert await run == "thought"
        reserved = [record async for record in run if isinstance(record, ReservedRecord)]
    assert len(reserved) == 1


async def test_rule_33_another_attempt_spends_again_and_a_resumed_one_does_not(
    engine_of: OpenEngine,
) -> None:
    hold = Hold()

    @task(retry=2)
    async def root(ctx: Context) -> None:
        await ctx.spend(tokens=10)
        await hold()
        if ctx.attempt == 1:
            raise ValueError("once more")

    async with engine_of(root) as engine:
        run = await engine.start(root)
        await hold.reached.wait()
    hold.release()
    async with engine_of(root) as engine:
        run = await engine.get(run.id)
        await run
        spent = [record.tokens async for record in run if record.kind == "spent"]
    assert spent == [10, 10]


# --- The budget of a tenant --------------------------------------------------------------------


async def _settled(view: Any, used: Usage) -> Account:
    """Return the account once nothing is reserved any more."""
    with anyio.fail_after(5):
        while True:
            account: Account = await view.account()
            if account.reserved == Usage():
                assert account.used == used
                return account
            await anyio.sleep(0.01)


async def test_rule_33_runs_of_a_tenant_share_its_budget(engine_of: OpenEngine) -> None:
    async with engine_of(think, think_often) as engine:
        acme = engine.tenant("acme")
        await acme.allow(Budget(money=3.0))
        first = await acme.start(think_often, 2, 1.0)
        assert await first == 2
        assert await acme.run(think_often, 5, 1.0) == 1
        assert await engine.tenant("globex").run(think_often, 5, 1.0) == 5
        await _settled(acme, Usage(money=3.0, calls=9))


async def test_rule_33_a_tenant_keeps_to_its_number_of_attempts(engine_of: OpenEngine) -> None:
    begun: list[int] = []

    @task
    async def work(ctx: Context, n: int) -> None:
        begun.append(n)

    @task
    async def root(ctx: Context) -> None:
        await ctx.map(work, range(50))

    async with engine_of(work, root) as engine:
        acme = engine.tenant("acme")
        await acme.allow(Budget(calls=11))
        with pytest.raises(RunFailedError, match="Tenant 'acme' has a budget of 11 calls"):
            await acme.run(root)
    assert len(begun) == 10


async def test_rule_33_a_dead_owner_has_used_what_it_had_reserved(
    store_of: Callable[[], Any],
) -> None:
    hold = Hold()

    @task(budget=Budget(money=1.0))
    async def think_long(ctx: Context) -> str:
        await ctx.spend(money=0.25)
        await hold()
        return "thought"

    async with _dies(store_of, think_long) as engine:
        acme = engine.tenant("acme")
        await acme.allow(Budget(money=9.0))
        run = await acme.start(think_long)
        await hold.reached.wait()
    hold.release()
    async with LocalEngine(think_long, store=store_of(), **QUICK) as heir:
        acme = heir.tenant("acme")
        with anyio.fail_after(5):
            assert await (await acme.get(run.id)) == "thought"
        account = await _settled(acme, Usage(money=1.0, calls=1))
        assert account.budget == Budget(money=9.0)


async def test_rule_33_a_fork_does_not_charge_its_tenant_again(engine_of: OpenEngine) -> None:
    async with engine_of(think, think_often) as engine:
        acme = engine.tenant("acme")
        await acme.allow(Budget(money=9.0))
        run = await acme.start(think_often, 2, 0.5)
        await run
        before = (await _settled(acme, Usage(money=1.0, calls=3))).used
        fork = await run.fork()
        await fork
        after = (await acme.account()).used
    assert (before.money, after.money) == (1.0, 1.0)


async def test_rule_33_a_run_that_ran_out_goes_on_as_a_fork_with_more(
    engine_of: OpenEngine,
) -> None:
    @task
    async def in_turn(ctx: Context, times: int) -> int:
        for _ in range(times):
            await ctx.call(think, 1.0)
        return times

    async with engine_of(think, in_turn) as engine:
        run = await engine.options(budget=Budget(money=2.0)).start(in_turn, 3)
        with pytest.raises(RunFailedError, match="budget"):
            await run
        fork = await run.fork(budget=Budget(money=3.0))
        assert await fork == 3
        kinds = [record.kind async for record in fork]
    assert kinds.count("reserved") == 1


async def test_rule_33_reservations_and_spending_survive_being_folded(
    engine_of: OpenEngine,
) -> None:
    async with engine_of(think, think_often) as engine:
        run = await engine.options(budget=Budget(money=5.0)).start(think_often, 3, 0.5)
        await run
        records = [record async for record in run]
    starts = [record for record in records if isinstance(record, StartedRecord)]
    assert len(starts) == 4


def _dies(store_of: Callable[[], Any], *parts: Any) -> Any:
    """Return an engine that leaves its leases behind, as one that is killed does."""
    return _Dying(*parts, store=_Unreleasing(store_of()), **QUICK)


class _Dying(LocalEngine):
    async def drain(self, grace: timedelta | None = None) -> None:
        await super().drain(timedelta(0))


class _Unreleasing:
    """A store whose owner's last words are lost."""

    def __init__(self, store: Any) -> None:
        self._store = store

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    async def __aenter__(self) -> Any:
        await self._store.__aenter__()
        return self

    async def __aexit__(self, *error: object) -> None:
        await self._store.__aexit__(*error)

    async def release(self, lease: Any, /, *, wake_at: Any = None) -> None:
        """Lose it."""
