"""Handles: the records of a run, in order, and what is made of them."""

from __future__ import annotations

from itertools import pairwise

import anyio
import pytest

from astro.core.context import Context
from astro.core.errors import CallNotFoundError, InvalidArgumentsError
from astro.core.protocols import Store
from astro.core.records import State
from astro.core.task import Task, task
from astro.testing.conformance.engine.opening import EngineSuite, Gate, echo, records_of

__all__ = ["HandleTests"]


@task(name="conformance.twice")
async def _twice(ctx: Context, text: str) -> str:
    ctx.emit("said", text)
    return await ctx.call(echo, text) + await ctx.call(echo, text)


def _counted() -> tuple[Task[[], str], Task[[str], str], list[str]]:
    """Return a root that makes two calls, what it calls, and what was done."""
    done: list[str] = []

    @task(name="conformance.work")
    async def work(ctx: Context, item: str) -> str:
        done.append(item)
        return item

    @task(name="conformance.root")
    async def root(ctx: Context) -> str:
        return await ctx.call(work, "a") + await ctx.call(work, "b")

    return root, work, done


class HandleTests(EngineSuite):
    """What an engine promises of the handle of a run."""

    async def test_rule_29_records_are_numbered_from_one_without_a_gap(self, store: Store) -> None:
        async with self.opened(_twice, echo, store=store) as engine:
            run = await engine.start(_twice, "x")
            records = [one async for one in run]
            assert [one.seq for one in records] == list(range(1, len(records) + 1))
            assert (records[0].kind, records[-1].kind) == ("created", "finished")
            assert all(one.at <= after.at for one, after in pairwise(records))

    async def test_rule_29_records_are_read_from_any_position(self, store: Store) -> None:
        async with self.opened(_twice, echo, store=store) as engine:
            run = await engine.start(_twice, "x")
            await run
            everything = [one async for one in run]
            for after in range(len(everything) + 1):
                assert [one async for one in run.records(after=after)] == everything[after:]

    async def test_records_are_followed_while_the_run_goes_on(self, store: Store) -> None:
        gate = Gate()

        @task(name="conformance.held")
        async def held(ctx: Context) -> None:
            await gate()

        async with self.opened(held, store=store) as engine:
            run = await engine.start(held)
            await gate.reached.wait()
            until_now = [one.seq async for one in run.records(follow=False)]
            seen: list[str] = []

            async def follow() -> None:
                seen.extend([one.kind async for one in run.records(after=until_now[-1])])

            async with anyio.create_task_group() as group:
                group.start_soon(follow)
                gate.open()
            assert seen[-1] == "finished"

    async def test_rule_29_what_a_run_says_is_in_its_records(self, store: Store) -> None:
        async with self.opened(_twice, echo, store=store) as engine:
            run = await engine.start(_twice, "x")
            await run
            said = await records_of(run, "emitted")
            assert [(one.name, bytes(one.value)) for one in said] == [("said", b'"x"')]

    async def test_the_status_of_a_run_says_how_it_ended(self, store: Store) -> None:
        async with self.opened(_twice, echo, store=store) as engine:
            run = await engine.start(_twice, "x")
            await run
            found = await run.status()
            records = [one async for one in run]
            assert (found.id, found.task, found.state) == (run.id, _twice.name, State.DONE)
            assert found.records == len(records)
            assert found.created_at <= found.updated_at

    async def test_rule_35_a_fork_does_again_what_came_after_its_point(self, store: Store) -> None:
        root, work, done = _counted()
        async with self.opened(root, work, store=store) as engine:
            run = await engine.start(root)
            assert await run == "ab"
            fork = await run.fork(at=(await records_of(run, "succeeded"))[0].seq)
            assert await fork == "ab"
            assert fork.id != run.id
            assert (await fork.status()).source == run.id
        assert done == ["a", "b", "b"]

    async def test_rule_35_a_fork_of_all_does_nothing_again(self, store: Store) -> None:
        root, work, done = _counted()
        async with self.opened(root, work, store=store) as engine:
            run = await engine.start(root)
            await run
            assert await (await run.fork()) == "ab"
            assert await run == "ab"
        assert done == ["a", "b"]

    async def test_a_fork_at_no_record_of_the_run_is_refused(self, store: Store) -> None:
        async with self.opened(echo, store=store) as engine:
            run = await engine.start(echo, "x")
            await run
            with pytest.raises(InvalidArgumentsError):
                await run.fork(at=10_000)

    async def test_two_runs_differ_in_the_calls_that_ended_differently(self, store: Store) -> None:
        async with self.opened(_twice, echo, store=store) as engine:
            one, two = await engine.start(_twice, "a"), await engine.start(_twice, "b")
            await one
            await two
            assert await one.diff(two)
            assert await one.diff(await engine.get(one.id)) == []

    async def test_a_call_is_explained(self, store: Store) -> None:
        async with self.opened(_twice, echo, store=store) as engine:
            run = await engine.start(_twice, "x")
            await run
            call = (await records_of(run, "succeeded"))[0].call
            assert "succeeded" in await run.explain(call)
            with pytest.raises(CallNotFoundError):
                await run.explain("no/such.1")

    async def test_a_run_is_drawn(self, store: Store) -> None:
        async with self.opened(_twice, echo, store=store) as engine:
            run = await engine.start(_twice, "x")
            await run
            assert "<svg" in await run.to_svg()
            assert "echo" in await run.to_mermaid()
