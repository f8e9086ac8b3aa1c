"""Options: keys, tenants, budgets, deadlines; and the list of runs."""

from __future__ import annotations

from typing import Any

import pytest

from astro.core.context import Context
from astro.core.errors import (
    BudgetExceededError,
    KeyConflictError,
    RunFailedError,
    RunNotFoundError,
)
from astro.core.policy import Budget
from astro.core.protocols import Engine, Store
from astro.core.records import State
from astro.core.task import task
from astro.testing.conformance.engine.opening import EngineSuite, Gate, echo, reached, records_of

__all__ = ["OptionTests"]


@task(name="conformance.other")
async def _other(ctx: Context, text: str) -> str:
    return text


@task(name="conformance.patient")
async def _patient(ctx: Context) -> bool:
    return await ctx.ask("Go on?", bool)


async def _ids(engine: Engine, **query: Any) -> list[str]:
    return [one.id for one in (await engine.runs(**query)).items]


class OptionTests(EngineSuite):
    """What an engine promises of the options of runs."""

    # --- Keys --------------------------------------------------------------------------------

    async def test_rule_36_the_same_key_is_the_same_run(self, store: Store) -> None:
        done: list[str] = []

        @task(name="conformance.work")
        async def work(ctx: Context, text: str) -> str:
            done.append(text)
            return text

        async with self.opened(work, store=store) as engine:
            first = await engine.options(key="fusion").start(work, "x")
            second = await engine.options(key="fusion").start(work, "x")
            assert (second.id, await second, await first) == (first.id, "x", "x")
            assert await engine.options(key="fusion").run(work, "x") == "x"
            assert await _ids(engine) == [first.id]
        assert done == ["x"]

    async def test_rule_36_the_same_key_for_something_else_is_refused(self, store: Store) -> None:
        async with self.opened(echo, _other, store=store) as engine:
            first = await engine.options(key="fusion").start(echo, "x")
            for asked, text in ((echo, "y"), (_other, "x")):
                with pytest.raises(KeyConflictError) as caught:
                    await engine.options(key="fusion").start(asked, text)
                assert caught.value.run == first.id
            assert await _ids(engine) == [first.id]

    async def test_rule_36_a_key_belongs_to_its_tenant(self, store: Store) -> None:
        async with self.opened(echo, store=store) as engine:
            mine = await engine.tenant("a").options(key="fusion").start(echo, "x")
            other = await engine.tenant("b").options(key="fusion").start(echo, "y")
            assert (await mine, await other) == ("x", "y")
            assert mine.id != other.id

    # --- Tenants -----------------------------------------------------------------------------

    async def test_a_tenant_sees_only_its_own_runs(self, store: Store) -> None:
        async with self.opened(echo, store=store) as engine:
            mine = await engine.tenant("a").start(echo, "x")
            await mine
            assert mine.tenant == "a"
            assert await _ids(engine.tenant("a")) == [mine.id]
            assert await _ids(engine.tenant("b")) == await _ids(engine) == []
            assert (await engine.tenant("a").get(mine.id)).id == mine.id
            for stranger in (engine, engine.tenant("b"), engine.options(tenant="b")):
                with pytest.raises(RunNotFoundError):
                    await stranger.get(mine.id)

    async def test_what_a_run_starts_belongs_to_its_tenant(self, store: Store) -> None:
        @task(name="conformance.root")
        async def root(ctx: Context) -> list[str]:
            return [ctx.tenant, await (await ctx.start(echo, "child"))]

        async with self.opened(root, echo, store=store) as engine:
            assert await engine.tenant("a").run(root) == ["a", "child"]
            assert len(await _ids(engine.tenant("a"), task=echo.name)) == 1
            assert await _ids(engine) == []

    # --- Views -------------------------------------------------------------------------------

    async def test_options_add_up_and_leave_the_engine_alone(self, store: Store) -> None:
        async with self.opened(echo, store=store) as engine:
            view = engine.options(priority=35).options(key="fusion").tenant("a")
            run = await view.start(echo, "x")
            await run
            found = await run.status()
            assert (found.priority, found.key, found.tenant) == (35, "fusion", "a")
            plain = await engine.start(echo, "x")
            await plain
            status = await plain.status()
            assert (status.key, status.tenant == "a", status.priority == 35) == (None, False, False)

    async def test_a_deadline_fails_a_run_that_outlives_it(self, store: Store) -> None:
        async with self.opened(_patient, store=store) as engine:
            run = await engine.options(deadline=self.moment).start(_patient)
            with pytest.raises(RunFailedError):
                await run
            assert (await run.status()).state is State.FAILED

    # --- Budgets -----------------------------------------------------------------------------

    async def test_a_budget_of_calls_is_not_overspent(self, store: Store) -> None:
        done: list[str] = []

        @task(name="conformance.work")
        async def work(ctx: Context, item: str) -> None:
            done.append(item)

        @task(name="conformance.root")
        async def root(ctx: Context) -> None:
            for item in "abcdef":
                await ctx.call(work, item)

        async with self.opened(root, work, store=store) as engine:
            with pytest.raises(RunFailedError, match=BudgetExceededError.__name__):
                await engine.options(budget=Budget(calls=4)).run(root)
        assert done == ["a", "b", "c"]  # the root is the fourth

    async def test_what_is_spent_beyond_a_budget_is_recorded_and_raised(self, store: Store) -> None:
        @task(name="conformance.root")
        async def root(ctx: Context) -> None:
            await ctx.spend(tokens=60)
            await ctx.spend(tokens=60)

        async with self.opened(root, store=store) as engine:
            run = await engine.options(budget=Budget(tokens=100)).start(root)
            with pytest.raises(RunFailedError, match=BudgetExceededError.__name__):
                await run
            assert sum(one.tokens for one in await records_of(run, "spent")) == 120

    async def test_a_run_within_its_budget_succeeds(self, store: Store) -> None:
        @task(name="conformance.root")
        async def root(ctx: Context) -> str:
            await ctx.spend(money=0.5, tokens=100)
            return await ctx.call(echo, "x")

        async with self.opened(root, echo, store=store) as engine:
            budget = Budget(money=1.0, tokens=200, calls=2)
            assert await engine.options(budget=budget).run(root) == "x"

    # --- The list ----------------------------------------------------------------------------

    async def test_runs_are_listed_newest_first_page_by_page(self, store: Store) -> None:
        async with self.opened(echo, store=store) as engine:
            made = [(await engine.start(echo, str(number))).id for number in range(7)]
            listed: list[str] = []
            after, pages = None, 0
            while pages == 0 or after is not None:
                page = await engine.runs(limit=3, after=after)
                listed += [one.id for one in page.items]
                after, pages = page.next, pages + 1
        assert (listed, pages) == (made[::-1], 3)

    async def test_runs_are_found_by_what_is_asked_for(self, store: Store) -> None:
        gate = Gate()

        @task(name="conformance.held")
        async def held(ctx: Context) -> None:
            await gate()

        async with self.opened(echo, held, _patient, store=store) as engine:
            done = await engine.options(key="fusion").start(echo, "x")
            await done
            asking = await engine.start(_patient)
            await reached(asking, "asked")
            going = await engine.start(held)
            await gate.reached.wait()
            assert await _ids(engine, key="fusion") == [done.id]
            assert await _ids(engine, task=held.name) == [going.id]
            assert await _ids(engine, unfinished=True) == [going.id, asking.id]
            assert await _ids(engine, states=frozenset({State.ASKED})) == [asking.id]
            both = frozenset({State.ASKED, State.DONE})
            assert await _ids(engine, states=both) == [asking.id, done.id]
            assert await _ids(engine, limit=1) == [going.id]
            gate.open()
