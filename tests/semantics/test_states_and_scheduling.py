"""States, slots, deployments, agents and poison: rules 18 to 22."""

from __future__ import annotations

import logging
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import anyio
import pytest

from astro import (
    BaseAgent,
    Context,
    Effect,
    Limits,
    NeedsAgentError,
    Priority,
    Retry,
    State,
    UnknownTaskError,
    WaitingForAncestorError,
    agent,
    performs,
    task,
)
from astro.engine import posting
from tests.engine.conftest import OpenEngine
from tests.engine.hold import Hold
from tests.semantics.watching import kinds_of, until, until_status

pytestmark = pytest.mark.anyio

ALWAYS = timedelta(hours=1)
NOW = timedelta(0)
ONE = Limits(attempts=1, age=ALWAYS)


@task
async def echo(ctx: Context, text: str) -> str:
    return text


@task
async def approve(ctx: Context, text: str) -> str:
    return text if await ctx.ask(f"{text}?", bool) else "no"


async def wait_in_ask(ctx: Context) -> None:
    await ctx.ask("Go on?", bool)


async def wait_in_sleep(ctx: Context) -> None:
    await ctx.sleep(ALWAYS)


async def wait_in_call(ctx: Context) -> None:
    await ctx.call(approve, "by call")


async def wait_in_map(ctx: Context) -> None:
    await ctx.map(approve, ["by map"])


async def wait_for_child(ctx: Context) -> None:
    await (await ctx.start(approve, "by child"))


# --- 18: states ------------------------------------------------------------------------------


async def in_parts(ctx: Context, *parts: Any) -> None:
    """Wait in each part, each in a branch of its own."""
    async with anyio.create_task_group() as group:
        for part in parts:
            group.start_soon(part, ctx.branch(part.__name__))


async def test_rule_18_running_goes_before_asked(engine_of: OpenEngine) -> None:
    go = anyio.Event()

    @task(effect=Effect.EXECUTE)
    async def work(ctx: Context) -> None:
        await go.wait()

    async def busy(ctx: Context) -> None:
        await ctx.call(work)

    @task
    async def root(ctx: Context) -> None:
        await in_parts(ctx, wait_in_ask, wait_in_sleep, busy)

    async with engine_of(work, root) as engine:
        run = await engine.start(root)
        await until(run, "asked")
        await until(run, "slept")
        before = (await run.status()).state
        go.set()
        await until(run, "succeeded")
        after = (await run.status()).state
        await run.cancel()
    assert (before, after) == (State.RUNNING, State.ASKED)


async def test_rule_18_asked_goes_before_sleeping(engine_of: OpenEngine) -> None:
    @task
    async def root(ctx: Context) -> None:
        await in_parts(ctx, wait_in_sleep, wait_in_ask)

    async with engine_of(root) as engine:
        run = await engine.start(root)
        await until(run, "asked")
        await until(run, "slept")
        found = await until_status(run, lambda one: one.state is not State.RUNNING)
        await run.cancel()
    assert found.state is State.ASKED


async def test_rule_18_a_run_that_has_its_answer_and_sleeps_on_is_sleeping(
    engine_of: OpenEngine,
) -> None:
    @task
    async def root(ctx: Context) -> None:
        await in_parts(ctx, wait_in_sleep, wait_in_ask)

    async with engine_of(root) as engine:
        run = await engine.start(root)
        await until(run, "asked")
        await run.answer(True)
        await until(run, "answered")
        answered = (await run.status()).state
        await anyio.sleep(0.05)  # the part that had asked is over
        await engine.drain(NOW)
        released = (await run.status()).state
        assert (await kinds_of(run))[-1] == "released"
    assert (answered, released) == (State.RUNNING, State.SLEEPING)


async def test_rule_18_a_paused_run_in_which_a_question_is_open_is_asked(
    engine_of: OpenEngine,
) -> None:
    async with engine_of(approve) as engine:
        run = await engine.start(approve, "pay")
        await until(run, "asked")
        await run.pause()
        await until(run, "paused")
        assert (await run.status()).state is State.ASKED


async def test_rule_18_an_answer_that_comes_while_nobody_owns_the_run_wakes_it(
    engine_of: OpenEngine, store_of: Callable[[], Any]
) -> None:
    async with engine_of(approve) as engine:
        run = await engine.start(approve, "pay")
        await until(run, "asked")
    async with store_of() as store:  # no engine is there to notice
        await posting.answer(store, run.tenant, run.id, True)
    async with engine_of(approve) as engine:
        with anyio.fail_after(5):
            assert await (await engine.get(run.id)) == "pay"


async def test_rule_18_a_moment_that_passes_while_nobody_owns_the_run_wakes_it(
    engine_of: OpenEngine,
) -> None:
    @task
    async def root(ctx: Context) -> str:
        await ctx.sleep(timedelta(milliseconds=100))
        return "awake"

    async with engine_of(root) as engine:
        run = await engine.start(root)
        await until(run, "slept")
    async with engine_of(root) as engine:
        with anyio.fail_after(5):
            assert await (await engine.get(run.id)) == "awake"


async def test_rule_18_a_run_that_waits_for_a_person_only_is_not_claimed(
    engine_of: OpenEngine, store_of: Callable[[], Any]
) -> None:
    async with engine_of(approve) as engine:
        run = await engine.start(approve, "pay")
        await until(run, "asked")
    async with store_of() as store:
        idle = await store.claim(
            "other", offers=frozenset({"approve"}), limit=9, duration=timedelta(seconds=9)
        )
        await posting.answer(store, run.tenant, run.id, True)
        answered = await store.claim(
            "other", offers=frozenset({"approve"}), limit=9, duration=timedelta(seconds=9)
        )
    assert [len(idle.leases), len(answered.leases)] == [0, 1]


async def test_rule_18_a_run_under_a_live_lease_is_not_claimed_though_it_has_mail(
    engine_of: OpenEngine, store_of: Callable[[], Any]
) -> None:
    go = anyio.Event()

    @task(effect=Effect.EXECUTE)
    async def work(ctx: Context) -> None:
        await go.wait()

    async with engine_of(work, lease_for=timedelta(seconds=30)) as engine:
        run = await engine.start(work)
        await until(run, "started")
        async with store_of() as store:
            await run.pause()
            claimed = await store.claim(
                "other", offers=frozenset({"work"}), limit=9, duration=timedelta(seconds=9)
            )
        assert claimed.leases == ()
        go.set()
        await run


async def test_rule_18_pause_lets_the_attempt_in_flight_finish_and_starts_no_other(
    engine_of: OpenEngine,
) -> None:
    begun: list[str] = []
    go = anyio.Event()

    @task
    async def work(ctx: Context, name: str) -> str:
        begun.append(name)
        await go.wait()
        return name

    @task
    async def root(ctx: Context) -> list[str]:
        return [await ctx.call(work, "first"), await ctx.call(work, "second")]

    async with engine_of(work, root) as engine:
        run = await engine.start(root)
        while not begun:
            await anyio.sleep(0.001)
        await run.pause()
        await until(run, "paused")
        go.set()
        await until_status(run, lambda one: one.state is State.PAUSED)
        assert "succeeded" in await kinds_of(run)
        assert begun == ["first"]
        await run.resume()
        assert await run == ["first", "second"]


# --- 19: slots -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "wait", [wait_in_ask, wait_in_sleep, wait_in_call, wait_in_map, wait_for_child]
)
async def test_rule_19_an_attempt_that_waits_leaves_the_only_slot_to_others(
    engine_of: OpenEngine, wait: Any
) -> None:
    waiting = task(wait)

    async with engine_of(waiting, approve, echo, limits=ONE) as engine:
        run = await engine.start(waiting)
        await until_status(run, lambda one: one.records > 2)
        while engine.parts.slots.used:
            await anyio.sleep(0.001)
        with anyio.fail_after(5):
            assert await engine.run(echo, "beside") == "beside"
        await run.cancel()


async def test_rule_19_a_task_with_one_slot_of_its_own_may_call_itself(
    engine_of: OpenEngine,
) -> None:
    @task(limit=1)
    async def nest(ctx: Context, depth: int) -> int:
        return 0 if depth == 0 else 1 + await ctx.call(nest, depth - 1)

    async with engine_of(nest) as engine:
        with anyio.fail_after(5):
            assert await engine.run(nest, 5) == 5


async def test_rule_19_an_agent_with_one_slot_may_ask_for_what_only_it_performs(
    engine_of: OpenEngine,
) -> None:
    @task(needs_agent=True)
    async def nest(ctx: Context, depth: int) -> int:
        raise NeedsAgentError("nest")

    class Lone(BaseAgent):
        limit = 1

        @performs(nest)
        async def perform_it(self, ctx: Context, depth: int) -> int:
            return 0 if depth == 0 else 1 + await ctx.call(nest, depth - 1)

    @task
    async def root(ctx: Context) -> int:
        return await ctx.call(nest, 5)

    async with engine_of(root, Lone()) as engine:
        with anyio.fail_after(5):
            assert await engine.run(root) == 5


async def test_rule_19_who_has_waited_gets_its_slot_back_before_new_work_starts(
    engine_of: OpenEngine,
) -> None:
    order: list[str] = []
    taken, go = anyio.Event(), anyio.Event()

    @task
    async def first(ctx: Context) -> None:
        await ctx.ask("Go on?", bool)
        order.append("went on")

    @task
    async def between(ctx: Context) -> None:
        taken.set()
        await go.wait()

    @task
    async def fresh(ctx: Context) -> None:
        order.append("began")

    async with engine_of(first, between, fresh, limits=ONE) as engine:
        run = await engine.start(first)
        await until(run, "asked")
        holder = await engine.start(between)
        await taken.wait()
        others = [await engine.start(fresh) for _ in range(3)]
        await anyio.sleep(0.05)  # all of them have come to the queue
        await run.answer(True)
        await until(run, "answered")
        await anyio.sleep(0.05)  # and then who has its answer
        go.set()
        for one in (run, holder, *others):
            await one
    assert order == ["went on", "began", "began", "began"]


async def test_rule_19_submissions_from_outside_wait_until_there_is_room(
    engine_of: OpenEngine,
) -> None:
    kept: list[str] = []

    async with engine_of(approve, limits=Limits(pending=1)) as engine:
        first = await engine.start(approve, "first")

        async def submit() -> None:
            kept.append((await engine.start(approve, "second")).id)

        async with anyio.create_task_group() as group:
            group.start_soon(submit)
            await until(first, "asked")
            await anyio.sleep(0.05)
            assert kept == []
            await first.answer(True)
        assert len(kept) == 1


async def test_rule_19_submissions_from_inside_a_run_do_not_wait_for_room(
    engine_of: OpenEngine,
) -> None:
    @task
    async def root(ctx: Context) -> list[str]:
        children = [await ctx.start(echo, str(n)) for n in range(3)]
        return [await child for child in children]

    async with engine_of(echo, root, limits=Limits(pending=1)) as engine:
        with anyio.fail_after(5):
            assert await engine.run(root) == ["0", "1", "2"]


async def order_of_two(engine_of: OpenEngine, limits: Limits, wait: float) -> list[str]:
    """Return who got the only slot first: who asked first, or an urgent run that asked later."""
    order: list[str] = []
    go = anyio.Event()

    @task(priority=Priority.LOW)
    async def work(ctx: Context, name: str) -> None:
        order.append(name)
        await go.wait()

    @task
    async def root(ctx: Context, name: str) -> None:
        await ctx.call(work, name)

    async with engine_of(work, root, limits=limits) as engine:
        runs = []
        for n, (name, priority) in enumerate(
            [("holds", Priority.LOW), ("early", Priority.LOW), ("urgent", Priority.HIGH)]
        ):
            runs.append(await engine.options(priority=priority).start(root, name))
            while engine.parts.slots.load("task:work") <= n:
                await anyio.sleep(0.001)
            await anyio.sleep(wait)
        go.set()
        for run in runs:
            await run
    return order[1:]


async def test_rule_19_what_an_urgent_run_asks_for_is_as_urgent_as_the_run(
    engine_of: OpenEngine,
) -> None:
    limits = Limits(tasks={"work": 1}, age=ALWAYS)
    assert await order_of_two(engine_of, limits, 0) == ["urgent", "early"]


async def test_rule_19_who_has_waited_long_goes_before_who_is_urgent(
    engine_of: OpenEngine,
) -> None:
    limits = Limits(tasks={"work": 1}, age=timedelta(milliseconds=5))
    assert await order_of_two(engine_of, limits, 0.05) == ["early", "urgent"]


async def test_rule_19_waiting_for_an_ancestor_raises(engine_of: OpenEngine) -> None:
    found: list[str] = []

    @task
    async def grandchild(ctx: Context, above: str) -> None:
        try:
            await (await engine.get(above))
        except WaitingForAncestorError:
            found.append("refused")

    @task
    async def child(ctx: Context, above: str) -> None:
        await (await ctx.start(grandchild, above))

    @task
    async def root(ctx: Context) -> None:
        await (await ctx.start(child, ctx.run_id))

    async with engine_of(root, child, grandchild) as engine:
        with anyio.fail_after(5):
            await engine.run(root)
    assert found == ["refused"]


# --- 20: deployments -------------------------------------------------------------------------


@task(needs_agent=True)
async def review(ctx: Context, text: str) -> str:
    raise NeedsAgentError("review")


@agent(review)
async def reviewer(ctx: Context, text: str) -> str:
    return f"read {text}"


@task
async def publish(ctx: Context, text: str) -> str:
    return await ctx.call(review, text)


async def test_rule_20_a_run_whose_agent_is_not_deployed_says_what_it_needs(
    engine_of: OpenEngine,
) -> None:
    async with engine_of(publish) as engine:
        run = await engine.start(publish, "it")
        await until(run, "parked")
        found = await run.status()
    assert (found.state, found.needs) == (State.PARKED, {"agent": "review"})


async def test_rule_20_a_parked_run_goes_to_the_engine_that_has_the_agent(
    engine_of: OpenEngine,
) -> None:
    async with engine_of(publish) as old:
        run = await old.start(publish, "it")
        await until(run, "parked")
        async with engine_of(publish, reviewer):
            with anyio.fail_after(5):
                assert await run == "read it"


async def test_rule_20_a_run_whose_task_is_unknown_is_left_to_those_who_know_it(
    engine_of: OpenEngine, caplog: pytest.LogCaptureFixture
) -> None:
    async with engine_of(approve) as engine:
        run = await engine.start(approve, "pay")
        await until(run, "asked")
        await engine.drain(NOW)
        await run.answer(True)
    with caplog.at_level(logging.WARNING, "astro.engine"):
        async with engine_of(echo) as engine:
            await engine.run(echo, "beside")
            assert (await (await engine.get(run.id)).status()).owner is None
    assert any("approve" in record.getMessage() for record in caplog.records)
    async with engine_of(approve) as engine:
        with anyio.fail_after(5):
            assert await (await engine.get(run.id)) == "pay"


async def test_rule_20_arguments_that_no_longer_decode_park_the_run(
    engine_of: OpenEngine,
) -> None:
    hold = Hold()

    @task(name="order")
    async def before(ctx: Context, size: str) -> str:
        await hold()
        return size

    @task(name="order")
    async def after(ctx: Context, size: int) -> int:
        return size

    async with engine_of(before) as engine:
        run = await engine.start(before, "large")
        await hold.reached.wait()
        await engine.drain(NOW)
    hold.release()
    async with engine_of(after) as engine:
        again = await engine.get(run.id)
        await until(again, "parked")
        assert (await again.status()).needs == {"arguments": "order"}
    async with engine_of(before) as engine:  # rolled back
        with anyio.fail_after(5):
            assert await (await engine.get(run.id)) == "large"


async def test_rule_20_what_a_renamed_task_has_done_is_not_done_again(
    engine_of: OpenEngine,
) -> None:
    done: list[str] = []
    hold = Hold()

    async def charge(ctx: Context) -> str:
        done.append(ctx.key)
        return "charged"

    old = task(name="pay")(charge)
    new = task(name="charge", aliases=("pay",))(charge)

    @task(name="order")
    async def before(ctx: Context) -> str:
        await ctx.call(old)
        await hold()
        return "never"

    @task(name="order")
    async def after(ctx: Context) -> str:
        return await ctx.call(new)

    async with engine_of(old, before) as engine:
        run = await engine.start(before)
        await hold.reached.wait()
        await engine.drain(NOW)
    async with engine_of(new, after) as engine:
        assert await (await engine.get(run.id)) == "charged"
        assert "diverged" not in await kinds_of(await engine.get(run.id))
    assert len(done) == 1


# --- 21: capabilities ------------------------------------------------------------------------


async def test_rule_21_a_task_that_nobody_performs_is_an_error_when_the_engine_is_built(
    engine_of: OpenEngine,
) -> None:
    @task(name="reviews", needs_agent=True)
    async def other(ctx: Context, text: str) -> str:
        raise NeedsAgentError("reviews")

    @agent(other)
    async def near(ctx: Context, text: str) -> str:
        return text

    with pytest.raises(UnknownTaskError, match=r"'review'.*Did you mean 'reviews'"):
        engine_of(review, near)


async def test_rule_21_a_capability_has_no_body_of_its_own(engine_of: OpenEngine) -> None:
    bodies: list[str] = []

    @task(needs_agent=True)
    async def guess(ctx: Context) -> str:
        bodies.append("body")
        return "body"

    @agent(guess)
    async def ill(ctx: Context) -> str:
        bodies.append("agent")
        raise ValueError("no idea")

    @task
    async def root(ctx: Context) -> str:
        with pytest.raises(Exception, match="no idea"):
            await ctx.options(retry=Retry(attempts=3, first=NOW)).call(guess)
        return "gave up"

    async with engine_of(root, guess, ill) as engine:
        assert await engine.run(root) == "gave up"
    assert bodies == ["agent"] * 3


async def test_rule_21_the_body_is_tried_when_all_agents_have_failed(
    engine_of: OpenEngine,
) -> None:
    tried: list[str] = []

    @task(retry=Retry(attempts=3, first=NOW))
    async def guess(ctx: Context) -> str:
        tried.append("body")
        return "body"

    class Ill(BaseAgent):
        @performs(guess)
        async def perform_it(self, ctx: Context) -> str:
            tried.append(self.name)
            raise ValueError("no idea")

    @task
    async def root(ctx: Context) -> str:
        return await ctx.call(guess)

    async with engine_of(root, guess, Ill(name="a"), Ill(name="b")) as engine:
        assert await engine.run(root) == "body"
    assert sorted(tried[:2]) == ["a", "b"]
    assert tried[2:] == ["body"]


# --- 22: poison ------------------------------------------------------------------------------


async def lose(store_of: Callable[[], Any], name: str, times: int) -> None:
    """Claim the run of a task as engines do that die at once."""
    async with store_of() as store:
        for time in range(times):
            claimed = await store.claim(
                f"dead {time}", offers=frozenset({name}), limit=9, duration=NOW
            )
            assert len(claimed.leases) == 1


async def left_behind(engine_of: OpenEngine, item: Any, hold: Hold) -> str:
    """Leave a run in the store that holds and that no engine owns; return its id."""
    async with engine_of(item) as engine:
        run = await engine.start(item)
        await hold.reached.wait()
        await engine.drain(NOW)
        return run.id


async def test_rule_22_a_run_that_kills_engines_is_parked(
    engine_of: OpenEngine, store_of: Callable[[], Any]
) -> None:
    tried: list[int] = []
    hold = Hold()

    @task
    async def poison(ctx: Context) -> str:
        tried.append(1)
        await hold()
        return "no poison any more"

    id = await left_behind(engine_of, poison, hold)
    hold.release()
    await lose(store_of, "poison", 5)
    async with engine_of(poison, echo) as engine:
        run = await engine.get(id)
        await until(run, "parked")
        assert "attention" in (await run.status()).needs
        assert await engine.run(echo, "the engine lives") == "the engine lives"
        assert len(tried) == 1
        await run.resume()  # somebody has looked at it
        with anyio.fail_after(5):
            assert await run == "no poison any more"


async def test_rule_22_a_committed_result_makes_a_run_harmless_again(
    engine_of: OpenEngine, store_of: Callable[[], Any]
) -> None:
    begin, middle = Hold(), Hold()

    @task
    async def unlucky(ctx: Context) -> str:
        await begin()
        await ctx.call(echo, "got somewhere")
        await middle()
        return "done"

    id = await left_behind(engine_of, unlucky, begin)
    await lose(store_of, "unlucky", 3)
    begin.release()
    async with engine_of(unlucky, echo) as engine:
        await middle.reached.wait()
        await engine.drain(NOW)
    middle.release()
    await lose(store_of, "unlucky", 3)
    async with engine_of(unlucky, echo) as engine:
        run = await engine.get(id)
        with anyio.fail_after(5):
            assert await run == "done"
        assert "parked" not in await kinds_of(run)


async def test_rule_22_a_run_that_was_released_again_and_again_is_no_poison(
    engine_of: OpenEngine,
) -> None:
    seen: list[int] = []
    hold = Hold()

    @task
    async def patient(ctx: Context) -> str:
        seen.append(ctx.token)
        hold.reached = anyio.Event()
        await hold()
        return "done"

    id = ""
    for deployment in range(6):
        async with engine_of(patient) as engine:
            if not deployment:
                id = (await engine.start(patient)).id
            while len(seen) <= deployment:
                await anyio.sleep(0.001)
            await engine.drain(NOW)
    hold.release()
    async with engine_of(patient) as engine:
        with anyio.fail_after(5):
            assert await (await engine.get(id)) == "done"


async def test_rule_22_a_suspect_is_tried_while_nothing_else_is_at_work(
    engine_of: OpenEngine, store_of: Callable[[], Any]
) -> None:
    at_work: list[str] = []
    beside: list[str] = []
    hold = Hold()

    @task
    async def suspect(ctx: Context) -> None:
        await hold()
        await anyio.sleep(0.05)
        beside.extend(at_work)

    @task
    async def other(ctx: Context, name: str) -> None:
        at_work.append(name)
        await anyio.sleep(0.02)
        at_work.remove(name)

    id = await left_behind(engine_of, suspect, hold)
    hold.release()
    await lose(store_of, "suspect", 2)
    async with engine_of(suspect, other) as engine:
        others = [await engine.start(other, str(n)) for n in range(5)]
        with anyio.fail_after(5):
            await (await engine.get(id))
            for run in others:
                await run
    assert beside == []
