"""Bodies and observers that misbehave: they harm themselves, never the engine."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any

import anyio
import pytest

from astro import (
    AmbiguousCallError,
    CallFailedError,
    Context,
    Limits,
    RunFailedError,
    State,
    task,
)
from tests.engine.conftest import OpenEngine

pytestmark = pytest.mark.anyio
on_asyncio = pytest.mark.parametrize("where", ["memory-asyncio", "sqlite-asyncio"], indirect=True)


class OddError(BaseException):
    """Nobody catches it who catches what is an Exception."""


@task
async def leaf(ctx: Context, item: int) -> int:
    return item


@task
async def awaits_a_cancelled_future(ctx: Context) -> None:
    future = asyncio.get_running_loop().create_future()
    future.cancel()
    await future


@task
async def awaits_a_cancelled_task(ctx: Context) -> None:
    other = asyncio.ensure_future(asyncio.sleep(5))
    await asyncio.sleep(0)
    other.cancel()
    await other


cancelled_elsewhere = pytest.mark.parametrize(
    "awaits", [awaits_a_cancelled_future, awaits_a_cancelled_task], ids=["future", "task"]
)


@on_asyncio
@cancelled_elsewhere
async def test_a_body_that_awaits_what_was_cancelled_elsewhere_fails_its_run(
    engine_of: OpenEngine, awaits: Any
) -> None:
    async with engine_of(awaits, leaf) as engine:
        with anyio.fail_after(5), pytest.raises(RunFailedError, match="CancelledError"):
            await engine.run(awaits)


@on_asyncio
@cancelled_elsewhere
async def test_other_runs_go_on_when_a_body_awaits_what_was_cancelled_elsewhere(
    engine_of: OpenEngine, awaits: Any
) -> None:
    async with engine_of(awaits, leaf) as engine:
        await engine.start(awaits)
        await anyio.sleep(0.05)
        with anyio.fail_after(5):
            assert await engine.run(leaf, 1) == 1


@on_asyncio
@cancelled_elsewhere
async def test_a_call_that_awaits_what_was_cancelled_elsewhere_fails_for_its_caller(
    engine_of: OpenEngine, awaits: Any
) -> None:
    @task
    async def root(ctx: Context) -> str:
        with pytest.raises(CallFailedError, match="CancelledError"):
            await ctx.call(awaits)
        return "handled"

    async with engine_of(awaits, root) as engine:
        with anyio.fail_after(5):
            run = await engine.start(root)
            assert await run == "handled"
            assert (await run.status()).state is State.DONE


oddities = pytest.mark.parametrize(
    "error", [GeneratorExit, SystemExit, OddError, asyncio.CancelledError]
)


@oddities
async def test_a_body_that_raises_no_exception_fails_its_run(
    engine_of: OpenEngine, error: type[BaseException]
) -> None:
    @task
    async def odd(ctx: Context) -> None:
        raise error

    async with engine_of(odd) as engine:
        with anyio.fail_after(5), pytest.raises(RunFailedError, match=error.__name__):
            await engine.run(odd)


@oddities
async def test_other_runs_go_on_when_a_body_raises_no_exception(
    engine_of: OpenEngine, error: type[BaseException]
) -> None:
    @task
    async def odd(ctx: Context) -> None:
        raise error

    async with engine_of(odd, leaf) as engine:
        await engine.start(odd)
        await anyio.sleep(0.05)
        with anyio.fail_after(5):
            assert await engine.run(leaf, 1) == 1


@oddities
async def test_a_call_that_raises_no_exception_fails_for_its_caller(
    engine_of: OpenEngine, error: type[BaseException]
) -> None:
    @task
    async def odd(ctx: Context) -> None:
        await ctx.call(leaf, 1)
        raise error

    @task
    async def root(ctx: Context) -> str:
        with pytest.raises(CallFailedError, match=error.__name__):
            await ctx.call(odd)
        return "handled"

    async with engine_of(odd, root, leaf) as engine:
        with anyio.fail_after(5):
            assert await engine.run(root) == "handled"


async def test_a_body_that_is_cancelled_by_its_caller_is_not_taken_for_one_that_failed(
    engine_of: OpenEngine,
) -> None:
    @task
    async def slow(ctx: Context) -> None:
        await anyio.sleep_forever()

    @task
    async def root(ctx: Context) -> str:
        with anyio.move_on_after(0.05):
            await ctx.call(slow)
        return "went on"

    async with engine_of(slow, root) as engine:
        run = await engine.start(root)
        assert await run == "went on"
        kinds = [record.kind async for record in run]
    assert "abandoned" in kinds
    assert "failed" not in kinds


async def test_calls_of_what_a_body_left_running_give_no_slots_away(
    engine_of: OpenEngine,
) -> None:
    working = most = 0
    left: list[int] = []

    @task
    async def work(ctx: Context, item: int) -> None:
        nonlocal working, most
        working += 1
        most = max(most, working)
        await anyio.sleep(0.005)
        working -= 1

    async def stray(ctx: Context) -> None:
        await anyio.sleep(0.02)
        for item in range(3):
            left.append(await ctx.call(leaf, item))

    async with anyio.create_task_group() as group:

        @task
        async def leaves(ctx: Context) -> None:
            group.start_soon(stray, ctx)

        @task
        async def root(ctx: Context) -> None:
            await ctx.call(leaves)
            while len(left) < 3:
                await anyio.sleep(0.01)
            await ctx.map(work, range(8))

        parts = (leaf, leaves, work, root)
        async with engine_of(*parts, limits=Limits(attempts=2)) as engine:
            with anyio.fail_after(5):
                await engine.run(root)
                left.clear()
                await engine.run(root)
    assert most == 2


async def test_an_observer_that_hangs_holds_the_closing_up_for_the_grace_at_most(
    engine_of: OpenEngine,
) -> None:
    class Hanging:
        """Observes, for ever."""

        async def observe(self, *records: object) -> None:
            await anyio.sleep_forever()

    with anyio.fail_after(2):
        grace = timedelta(milliseconds=50)
        async with engine_of(leaf, observers=[Hanging()], grace=grace) as engine:
            assert await engine.run(leaf, 1) == 1


async def test_tasks_of_one_attempt_that_map_over_equal_items_are_told_so(
    engine_of: OpenEngine,
) -> None:
    @task
    async def root(ctx: Context) -> str:
        try:
            async with anyio.create_task_group() as group:
                group.start_soon(ctx.map, leaf, [1, 2])
                group.start_soon(ctx.map, leaf, [2, 3])
        except* AmbiguousCallError as errors:
            found = errors.exceptions
        return f"{len(found)} ambiguous"

    async with engine_of(leaf, root) as engine:
        with anyio.fail_after(5):
            assert await engine.run(root) == "1 ambiguous"


async def test_tasks_of_one_attempt_may_map_over_equal_items_in_branches(
    engine_of: OpenEngine,
) -> None:
    found: dict[str, list[int]] = {}

    @task
    async def root(ctx: Context) -> dict[str, list[int]]:
        async def part(name: str) -> None:
            found[name] = await ctx.branch(name).map(leaf, [1, 2])

        async with anyio.create_task_group() as group:
            group.start_soon(part, "a")
            group.start_soon(part, "b")
        return found

    async with engine_of(leaf, root) as engine:
        with anyio.fail_after(5):
            assert await engine.run(root) == {"a": [1, 2], "b": [1, 2]}
