"""Slots, priorities, tenants, agents, retries, undo; rules 19 to 22 and 34."""

from __future__ import annotations

import asyncio
import random
from datetime import timedelta
from typing import Any

import anyio
import pytest

from astro import (
    BaseAgent,
    CallFailedError,
    Context,
    InvalidArgumentsError,
    Limits,
    NeedsAgentError,
    PermanentError,
    Priority,
    Retry,
    RunCancelledError,
    RunFailedError,
    State,
    UnknownTaskError,
    WaitingForAncestorError,
    agent,
    performs,
    task,
)
from astro.decisions.retrying import BackoffRetry
from tests.engine.conftest import OpenEngine

pytestmark = pytest.mark.anyio
NOW = timedelta(0)


@task
async def leaf(ctx: Context, item: int) -> int:
    return item


async def test_rule_19_one_slot_is_enough_for_any_depth_of_calls(engine_of: OpenEngine) -> None:
    @task
    async def nest(ctx: Context, depth: int) -> int:
        return depth if depth == 0 else await ctx.call(nest, depth - 1) + 1

    async with engine_of(nest, limits=Limits(attempts=1)) as engine:
        with anyio.fail_after(5):
            assert await engine.run(nest, 20) == 20


async def test_rule_19_a_map_inside_a_map_does_not_deadlock_on_one_slot(
    engine_of: OpenEngine,
) -> None:
    @task
    async def inner(ctx: Context, n: int) -> int:
        return sum(await ctx.map(leaf, range(n)))

    @task
    async def outer(ctx: Context) -> list[int]:
        return await ctx.map(inner, [3, 4, 5])

    async with engine_of(leaf, inner, outer, limits=Limits(attempts=1)) as engine:
        with anyio.fail_after(5):
            assert await engine.run(outer) == [3, 6, 10]


@pytest.mark.parametrize("by", ["engine", "task", "settings"])
async def test_a_limit_bounds_the_attempts_at_work(engine_of: OpenEngine, by: str) -> None:
    running = most = 0

    @task(limit=2 if by == "task" else None)
    async def work(ctx: Context, item: int) -> None:
        nonlocal running, most
        running += 1
        most = max(most, running)
        await anyio.sleep(0.001)
        running -= 1

    @task
    async def root(ctx: Context) -> None:
        await ctx.map(work, range(12))

    limits = {
        "engine": Limits(attempts=2),
        "task": Limits(),
        "settings": Limits(tasks={"work": 2}),
    }[by]
    async with engine_of(work, root, limits=limits) as engine:
        await engine.run(root)
    assert most == 2


async def _queued(run: Any) -> None:
    """Return when an engine has taken a run, and had time to put it into the queue."""
    while (await run.status()).owner is None:
        await anyio.sleep(0.01)
    await anyio.sleep(0.1)


async def test_an_urgent_run_goes_before_one_that_waits(engine_of: OpenEngine) -> None:
    order: list[str] = []
    go = anyio.Event()

    @task
    async def blocker(ctx: Context) -> None:
        await go.wait()

    @task
    async def work(ctx: Context, name: str) -> None:
        order.append(name)

    limits = Limits(attempts=1, age=timedelta(hours=1))
    async with engine_of(blocker, work, limits=limits) as engine:
        first = await engine.start(blocker)
        while (await first.status()).records < 2:
            await anyio.sleep(0.01)
        low = await engine.options(priority=Priority.LOW).start(work, "low")
        await _queued(low)
        high = await engine.options(priority=Priority.CRITICAL).start(work, "high")
        await _queued(high)
        go.set()
        await low
        await high
    assert order == ["high", "low"]


async def test_tenants_take_turns(engine_of: OpenEngine) -> None:
    order: list[str] = []
    go = anyio.Event()

    @task
    async def work(ctx: Context, item: int) -> None:
        await go.wait()
        order.append(ctx.tenant)

    @task
    async def root(ctx: Context, n: int) -> None:
        await ctx.map(work, range(n))

    async with engine_of(work, root, limits=Limits(tasks={"work": 1})) as engine:
        many = await engine.tenant("many").start(root, 8)
        few = await engine.tenant("few").start(root, 2)
        while (await few.status()).records < 3:
            await anyio.sleep(0.01)
        go.set()
        await many
        await few
    assert order.index("few") < 6


class Reviewer(BaseAgent):
    """Reviews, and counts what it has reviewed."""

    def __init__(self, *, name: str | None = None, fails: bool = False) -> None:
        super().__init__(name=name)
        self.fails = fails
        self.entered = 0
        self.count = 0

    async def __aenter__(self) -> Reviewer:
        self.entered += 1
        return self

    async def __aexit__(self, *error: object) -> None:
        self.entered -= 1


@task(needs_agent=True)
async def review(ctx: Context, text: str) -> str:
    raise NeedsAgentError("review")


class HouseReviewer(Reviewer):
    @performs(review)
    async def review(self, ctx: Context, text: str) -> str:
        self.count += 1
        if self.fails:
            raise ValueError("ill")
        return f"{self.name}: {text}"


async def test_an_agent_performs_what_a_task_has_no_body_for(engine_of: OpenEngine) -> None:
    @task
    async def root(ctx: Context) -> str:
        return await ctx.call(review, "text")

    reviewer = HouseReviewer()
    async with engine_of(root, reviewer) as engine:
        assert await engine.run(root) == "HouseReviewer: text"
        assert reviewer.entered == 1
    assert reviewer.entered == 0


async def test_rule_21_a_task_that_needs_an_agent_is_an_error_without_one(
    engine_of: OpenEngine,
) -> None:
    with pytest.raises(UnknownTaskError, match="review"):
        engine_of(review)


async def test_the_next_agent_takes_over_from_one_that_fails(engine_of: OpenEngine) -> None:
    @task
    async def root(ctx: Context) -> str:
        return await ctx.options(retry=Retry(attempts=2, first=NOW)).call(review, "text")

    ill, well = HouseReviewer(name="a", fails=True), HouseReviewer(name="b")
    async with engine_of(root, ill, well) as engine:
        run = await engine.start(root)
        assert await run == "b: text"
        reasons = [r.reason async for r in run if r.kind == "started" and r.agent == "b"]
    assert reasons == ["next of 2 after a failure"]


async def test_rule_21_the_body_is_the_last_candidate_after_the_agents(
    engine_of: OpenEngine,
) -> None:
    @task(retry=Retry(attempts=2, first=NOW))
    async def guess(ctx: Context) -> str:
        return "body"

    @agent(guess)
    async def unreliable(ctx: Context) -> str:
        raise ValueError("no idea")

    @task
    async def root(ctx: Context) -> str:
        return await ctx.call(guess)

    async with engine_of(root, guess, unreliable) as engine:
        assert await engine.run(root) == "body"


async def test_a_pool_of_agents_shares_the_work(engine_of: OpenEngine) -> None:
    @task
    async def root(ctx: Context) -> list[str]:
        return await ctx.map(slow_review, ["x"] * 6)

    @task(needs_agent=True)
    async def slow_review(ctx: Context, text: str) -> str:
        raise NeedsAgentError("slow_review")

    class Slow(BaseAgent):
        limit = 1

        @performs(slow_review)
        async def perform_it(self, ctx: Context, text: str) -> str:
            await anyio.sleep(0.005)
            return self.name

    async with engine_of(root, Slow(name="a"), Slow(name="b"), Slow(name="c")) as engine:
        assert set(await engine.run(root)) == {"a", "b", "c"}


async def test_two_agents_of_one_name_are_refused(engine_of: OpenEngine) -> None:
    with pytest.raises(InvalidArgumentsError, match="Two agents"):
        engine_of(HouseReviewer(), HouseReviewer())


async def test_a_class_given_instead_of_an_instance_is_refused(engine_of: OpenEngine) -> None:
    with pytest.raises(InvalidArgumentsError, match="instances"):
        engine_of(HouseReviewer)


async def test_a_permanent_error_is_not_tried_again(engine_of: OpenEngine) -> None:
    tries: list[int] = []

    @task(retry=Retry(attempts=5, first=NOW))
    async def doomed(ctx: Context) -> None:
        tries.append(ctx.attempt)
        raise PermanentError("never")

    async with engine_of(doomed) as engine:
        with pytest.raises(RunFailedError, match="never"):
            await engine.run(doomed)
    assert tries == [1]


async def test_only_the_errors_named_are_tried_again(engine_of: OpenEngine) -> None:
    tries: list[int] = []

    @task(retry=Retry(attempts=5, first=NOW, on=(KeyError,)))
    async def root(ctx: Context) -> None:
        tries.append(ctx.attempt)
        raise KeyError("again") if ctx.attempt == 1 else ValueError("enough")

    async with engine_of(root) as engine:
        with pytest.raises(RunFailedError, match="enough"):
            await engine.run(root)
    assert tries == [1, 2]


async def test_a_task_that_raises_system_exit_fails_and_the_engine_goes_on(
    engine_of: OpenEngine,
) -> None:
    @task
    async def leaves(ctx: Context) -> None:
        raise SystemExit(3)

    async with engine_of(leaves, leaf) as engine:
        with pytest.raises(RunFailedError, match="SystemExit"):
            await engine.run(leaves)
        assert await engine.run(leaf, 1) == 1


def test_delays_grow_by_the_factor_up_to_the_cap() -> None:
    retry = Retry(
        attempts=9, first=timedelta(seconds=1), factor=3, max=timedelta(seconds=20), jitter=0
    )
    chance = random.Random(0)
    delays = [
        BackoffRetry().delay(retry, attempt=n, error=ValueError(), chance=chance)
        for n in range(1, 6)
    ]
    assert [d.total_seconds() if d else None for d in delays] == [1, 3, 9, 20, 20]


def test_a_wait_that_the_other_side_asks_for_is_honoured() -> None:
    class BusyError(Exception):
        retry_after = 120

    retry = Retry(attempts=3, first=NOW)
    delay = BackoffRetry().delay(retry, attempt=1, error=BusyError(), chance=random.Random(0))
    assert delay == timedelta(seconds=120)


def booked(log: list[str]):  # type: ignore[no-untyped-def]
    """Return a task that books, and unbooks when it is undone."""

    async def unbook(ctx: Context, result: str | None, what: str) -> None:
        log.append(f"undo {what} {result}")

    @task(undo=unbook)
    async def book(ctx: Context, what: str) -> str:
        log.append(f"book {what}")
        return f"#{what}"

    return book


async def test_rule_34_on_failure_the_committed_calls_are_undone_in_reverse(
    engine_of: OpenEngine,
) -> None:
    log: list[str] = []
    book = booked(log)

    @task
    async def trip(ctx: Context) -> None:
        await ctx.call(book, "hotel")
        await ctx.call(book, "flight")
        raise ValueError("no visa")

    async with engine_of(book, trip) as engine:
        run = await engine.start(trip)
        with pytest.raises(RunFailedError, match="no visa"):
            await run
        assert (await run.status()).state is State.FAILED
    assert log == ["book hotel", "book flight", "undo flight #flight", "undo hotel #hotel"]


async def test_rule_34_on_cancel_too(engine_of: OpenEngine) -> None:
    log: list[str] = []
    book = booked(log)

    @task
    async def trip(ctx: Context) -> None:
        await ctx.call(book, "hotel")
        await ctx.ask("Pay?", bool)

    async with engine_of(book, trip) as engine:
        run = await engine.start(trip)
        async for record in run.records():
            if record.kind == "asked":
                break
        assert (await run.cancel()).state is State.CANCELLED
        with pytest.raises(RunCancelledError):
            await run
    assert log == ["book hotel", "undo hotel #hotel"]


async def test_rule_34_the_scope_is_the_failed_calls_subtree(engine_of: OpenEngine) -> None:
    log: list[str] = []
    book = booked(log)

    @task
    async def part(ctx: Context, what: str, good: bool) -> None:
        await ctx.call(book, what)
        if not good:
            raise ValueError(what)

    @task
    async def trip(ctx: Context) -> str:
        await ctx.call(part, "hotel", True)
        with pytest.raises(CallFailedError):
            await ctx.call(part, "flight", False)
        return "by train"

    async with engine_of(book, part, trip) as engine:
        assert await engine.run(trip) == "by train"
    assert log == ["book hotel", "book flight", "undo flight #flight"]


async def test_rule_34_an_undo_that_cannot_be_done_does_not_keep_the_others_from_it(
    engine_of: OpenEngine,
) -> None:
    log: list[str] = []

    async def fails(ctx: Context, result: str | None, what: str) -> None:
        if what == "flight":
            raise PermanentError("the airline is closed")
        log.append(what)

    @task(undo=fails)
    async def book(ctx: Context, what: str) -> str:
        return what

    @task
    async def trip(ctx: Context) -> None:
        await ctx.call(book, "hotel")
        await ctx.call(book, "flight")
        raise ValueError("no visa")

    async with engine_of(book, trip) as engine:
        run = await engine.start(trip)
        async for record in run.records():
            if record.kind == "parked":
                break
        assert (await run.status()).state is State.PARKED
        await run.resume()
        with pytest.raises(RunFailedError, match="no visa"):
            await run
    assert log == ["hotel"]


async def test_rule_19_waiting_for_an_ancestor_raises(engine_of: OpenEngine) -> None:
    found: list[str] = []

    @task
    async def child(ctx: Context, parent: str) -> None:
        run = await engine.get(parent)
        try:
            await run
        except WaitingForAncestorError as error:
            found.append(error.remedy)

    @task
    async def root(ctx: Context) -> None:
        await (await ctx.start(child, ctx.run_id))

    async with engine_of(root, child) as engine:
        with anyio.fail_after(5):
            await engine.run(root)
    assert found == ["Start the run without waiting for it."]


async def test_a_call_left_running_by_its_task_keeps_no_slot(engine_of: OpenEngine) -> None:
    go = anyio.Event()

    @task
    async def slow(ctx: Context) -> None:
        await go.wait()

    @task
    async def careless(ctx: Context) -> None:
        if asyncio._get_running_loop() is not None:
            left.append(asyncio.get_running_loop().create_task(ctx.call(slow)))
            await anyio.sleep(0.01)

    left: list[asyncio.Task[None]] = []
    async with engine_of(slow, careless, leaf, limits=Limits(attempts=2)) as engine:
        await engine.run(careless)
        go.set()
        await asyncio.gather(*left, return_exceptions=True) if left else None
        with anyio.fail_after(5):
            assert [await engine.run(leaf, n) for n in range(3)] == [0, 1, 2]
        assert engine.parts.slots.used == 0


async def test_a_step_is_done_in_place_even_if_an_agent_performs_a_task_of_its_name(
    engine_of: OpenEngine,
) -> None:
    async def twice(item: int) -> int:
        return 2 * item

    @task(name="twice")
    async def capability(ctx: Context, item: int) -> int:
        return -1

    @agent(capability)
    async def eager(ctx: Context, item: int) -> int:
        return -2

    @task
    async def root(ctx: Context) -> int:
        return await ctx.step(twice, 4)

    async with engine_of(root, eager) as engine:
        assert await engine.run(root) == 8
