"""Leaving: what another engine on the same store makes of runs that have not ended."""

from __future__ import annotations

from datetime import datetime, timedelta
from uuid import UUID

import anyio
import pytest

from astro.agents.by_function import agent
from astro.core.context import Context
from astro.core.errors import NeedsAgentError, RunFailedError
from astro.core.policy import Retry
from astro.core.protocols import Run, Store
from astro.core.records import State
from astro.core.task import task
from astro.testing.conformance.engine.opening import EngineSuite, echo, reached, records_of

__all__ = ["LeavingTests"]


@task(name="conformance.review", needs_agent=True)
async def _review(ctx: Context, text: str) -> str:
    raise NeedsAgentError("conformance.review")


@agent(_review)
async def _reviewer(ctx: Context, text: str) -> str:
    return f"read {text}"


@task(name="conformance.hand_in")
async def _hand_in(ctx: Context, text: str) -> str:
    return await ctx.call(_review, text)


async def _wait_for(run: Run[str]) -> None:
    await run


class LeavingTests(EngineSuite):
    """What an engine promises of runs that it leaves, and of those that it finds."""

    async def test_rule_12_a_run_goes_on_where_it_was_left_and_does_nothing_twice(
        self, store: Store
    ) -> None:
        done: list[str] = []

        @task(name="conformance.work")
        async def work(ctx: Context, item: str) -> str:
            done.append(item)
            return item

        @task(name="conformance.root")
        async def root(ctx: Context) -> str:
            made = await ctx.map(work, ["a", "b"])
            if await ctx.ask("Go on?", bool):
                made.append(await ctx.call(work, "c"))
            return "".join(made)

        async with self.opened(root, work, store=store) as engine:
            run = await engine.start(root)
            await reached(run, "asked")
        async with self.opened(root, work, store=store) as engine:
            again = await engine.get(run.id)
            await again.answer(True)
            assert await again == "abc"
            seqs = [one.seq async for one in again]
        assert sorted(done) == ["a", "b", "c"]
        assert seqs == list(range(1, len(seqs) + 1))

    async def test_what_was_at_work_is_done_again_under_the_same_key(self, store: Store) -> None:
        seen: list[str] = []
        begun = anyio.Event()

        @task(name="conformance.work")
        async def work(ctx: Context) -> str:
            seen.append(ctx.key)
            if len(seen) == 1:
                begun.set()
                await anyio.sleep_forever()  # until its engine is closed
            return "done"

        @task(name="conformance.root")
        async def root(ctx: Context) -> str:
            return await ctx.call(work)

        async with self.opened(root, work, store=store) as engine:
            run = await engine.start(root)
            await begun.wait()
        async with self.opened(root, work, store=store) as engine:
            assert await (await engine.get(run.id)) == "done"
        assert len(seen) == 2
        assert len(set(seen)) == 1

    async def test_rule_03_time_and_chance_are_the_same_after_it(self, store: Store) -> None:
        seen: list[tuple[datetime, UUID, float]] = []

        @task(name="conformance.root")
        async def root(ctx: Context) -> bool:
            seen.append((ctx.now("a"), ctx.uuid("b"), ctx.random("c").random()))
            return await ctx.ask("Go on?", bool)

        async with self.opened(root, store=store) as engine:
            run = await engine.start(root)
            await reached(run, "asked")
        async with self.opened(root, store=store) as engine:
            again = await engine.get(run.id)
            await again.answer(True)
            assert await again is True
        assert len(seen) == 2
        assert len(set(seen)) == 1

    async def test_a_sleep_goes_on_and_does_not_begin_anew(self, store: Store) -> None:
        @task(name="conformance.root")
        async def root(ctx: Context) -> str:
            await ctx.sleep(4 * self.moment)
            return "awake"

        async with self.opened(root, store=store) as engine:
            run = await engine.start(root)
            await reached(run, "slept")
            until = [one.until for one in await records_of(run, "slept")]
        async with self.opened(root, store=store) as engine:
            again = await engine.get(run.id)
            assert await again == "awake"
            assert [one.until for one in await records_of(again, "slept")] == until

    async def test_the_number_of_attempts_is_not_forgotten(self, store: Store) -> None:
        attempts: list[int] = []
        retry = Retry(attempts=3, first=timedelta(seconds=0.2), factor=1.0, jitter=0.0)

        @task(name="conformance.flaky", retry=retry)
        async def flaky(ctx: Context) -> None:
            attempts.append(ctx.attempt)
            raise OSError(f"no. {ctx.attempt}")

        @task(name="conformance.root")
        async def root(ctx: Context) -> None:
            await ctx.call(flaky)

        async with self.opened(root, flaky, store=store) as engine:
            run = await engine.start(root)
            await reached(run, "attempt_failed")
        async with self.opened(root, flaky, store=store) as engine:
            with pytest.raises(RunFailedError, match=r"3 attempts: OSError: no\. 3"):
                await (await engine.get(run.id))
        assert attempts == [1, 2, 3]

    async def test_the_key_of_a_run_is_not_forgotten(self, store: Store) -> None:
        async with self.opened(echo, store=store) as engine:
            run = await engine.options(key="fusion").start(echo, "x")
            await run
        async with self.opened(echo, store=store) as engine:
            again = await engine.options(key="fusion").start(echo, "x")
            assert (again.id, await again) == (run.id, "x")

    async def test_what_has_ended_stays_ended(self, store: Store) -> None:
        done: list[str] = []

        @task(name="conformance.work")
        async def work(ctx: Context) -> None:
            done.append(ctx.key)
            raise ValueError("some words")

        async with self.opened(work, store=store) as engine:
            run = await engine.start(work)
            with pytest.raises(RunFailedError):
                await run
        async with self.opened(work, echo, store=store) as engine:
            await engine.run(echo, "beside")
            with pytest.raises(RunFailedError, match="some words"):
                await (await engine.get(run.id))
        assert len(done) == 1

    async def test_rule_18_a_paused_run_stays_paused(self, store: Store) -> None:
        @task(name="conformance.root")
        async def root(ctx: Context) -> str:
            await ctx.ask("Go on?", bool)
            return await ctx.call(echo, "after the pause")

        async with self.opened(root, echo, store=store) as engine:
            run = await engine.start(root)
            await reached(run, "asked")
            await run.pause()
            await reached(run, "paused")
        async with self.opened(root, echo, store=store) as engine:
            again = await engine.get(run.id)
            await again.answer(True)
            await engine.run(echo, "another run")
            assert not (await again.status()).state.terminal
            await again.resume()
            assert await again == "after the pause"

    # --- Engines that offer less -------------------------------------------------------------

    async def test_rule_20_a_run_whose_task_is_not_offered_waits_for_it(self, store: Store) -> None:
        @task(name="conformance.root")
        async def root(ctx: Context) -> bool:
            return await ctx.ask("Go on?", bool)

        async with self.opened(root, store=store) as engine:
            run = await engine.start(root)
            await reached(run, "asked")
        async with self.opened(echo, store=store) as engine:
            found = await engine.get(run.id)
            await found.answer(True)
            await engine.run(echo, "beside")
            assert not (await found.status()).state.terminal
        async with self.opened(root, store=store) as engine:
            assert await (await engine.get(run.id)) is True

    async def test_rule_20_a_run_that_lacks_an_agent_says_so_and_waits_for_it(
        self, store: Store
    ) -> None:
        async with self.opened(_hand_in, store=store) as engine:
            run = await engine.start(_hand_in, "it")
            await reached(run, "parked")
            found = await run.status()
            assert (found.state, dict(found.needs)) == (State.PARKED, {"agent": _review.name})
        async with self.opened(_hand_in, _reviewer, store=store) as engine:
            assert await (await engine.get(run.id)) == "read it"

    # --- Engines that are open at the same time ----------------------------------------------

    async def test_engines_that_share_a_store_do_each_run_once(self, store: Store) -> None:
        self.promised("shared")
        done: list[str] = []

        @task(name="conformance.work")
        async def work(ctx: Context, item: str) -> str:
            done.append(item)
            return item

        async with (
            self.opened(work, store=store) as one,
            self.opened(work, store=store) as two,
        ):
            runs = [await at.start(work, str(n)) for n in range(5) for at in (one, two)]
            async with anyio.create_task_group() as group:
                for run in runs:
                    group.start_soon(_wait_for, run)
        assert sorted(done) == sorted(str(n) for n in range(5) for _ in "12")

    async def test_a_run_of_one_engine_is_seen_and_answered_at_another(self, store: Store) -> None:
        self.promised("shared")

        @task(name="conformance.root")
        async def root(ctx: Context) -> bool:
            return await ctx.ask("Go on?", bool)

        async with (
            self.opened(root, store=store) as one,
            self.opened(echo, store=store) as two,
        ):
            run = await one.start(root)
            await reached(run, "asked")
            seen = await two.get(run.id)
            await seen.answer(True)
            assert (await run, await seen) == (True, True)

    async def test_a_key_is_the_same_run_at_every_engine(self, store: Store) -> None:
        self.promised("shared")
        async with (
            self.opened(echo, store=store) as one,
            self.opened(echo, store=store) as two,
        ):
            first = await one.options(key="fusion").start(echo, "x")
            second = await two.options(key="fusion").start(echo, "x")
            assert (second.id, await second) == (first.id, "x")
