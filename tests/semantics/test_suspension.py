"""Suspension, cancellation and drain, rules 12 to 17: the histories that the rules prevent."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import anyio
import anyio.lowlevel
import pytest

from astro import (
    Context,
    EngineClosedError,
    LocalEngine,
    MemoryStore,
    RunCancelledError,
    RunFailedError,
    RunFinishedError,
    RunSuspended,
    State,
    SystemClock,
    task,
)
from astro.testing import Fault, FaultyStore
from tests.engine.conftest import QUICK, OpenEngine
from tests.engine.hold import Hold

pytestmark = pytest.mark.anyio
NOW = timedelta(0)
BRIEF = timedelta(milliseconds=20)
AGES = timedelta(seconds=30)
SOON = {"idle_for": timedelta(milliseconds=20)}


@task
async def echo(ctx: Context, text: str) -> str:
    return text


async def plain() -> str:
    return "plain"


async def kinds_of(run: Any) -> list[str]:
    return [record.kind async for record in run.records(follow=False)]


async def until(run: Any, kind: str) -> None:
    """Return when the run has a record of a kind."""
    async for record in run.records():
        if record.kind == kind:
            return


async def evicted(engine: Any, run: Any) -> None:
    """Return when the engine has given up a run that asks."""
    await until(run, "asked")
    while engine.drives(run.id):
        await anyio.sleep(0.005)


class Trace:
    """A task whose calls and whose code between them leave traces."""

    def __init__(self, hold: Callable[[Context], Any]) -> None:
        self.between = 0
        self.called: list[str] = []

        @task
        async def noted(ctx: Context, what: str) -> None:
            self.called.append(what)

        @task
        async def root(ctx: Context) -> str:
            await ctx.call(noted, "before")
            self.between += 1
            await hold(ctx)
            await ctx.call(noted, "after")
            return "done"

        self.parts = (noted, root)
        self.root = root


class Asleep(SystemClock):
    """The clock of an engine that does not get to renew its leases."""

    async def sleep(self, duration: timedelta, /) -> None:
        await anyio.sleep_forever()


# --- Rule 12: what may run again -----------------------------------------------------------------


async def test_rule_12_a_live_run_never_replays_however_often_it_waits(
    engine_of: OpenEngine,
) -> None:
    lines: list[str] = []

    @task
    async def root(ctx: Context) -> None:
        lines.append("begin")
        await ctx.call(echo, "x")
        lines.append("called")
        await ctx.map(echo, ["x", "y"])
        lines.append("mapped")
        await ctx.sleep(BRIEF)
        lines.append("slept")
        await ctx.ask("Go on?", bool)
        lines.append("asked")
        await (await ctx.start(echo, "child"))
        lines.append("waited")
        await ctx.step(plain)
        lines.append("stepped")

    async with engine_of(echo, root) as engine:
        run = await engine.start(root)
        await until(run, "asked")
        await run.answer(True)
        with anyio.fail_after(5):
            await run
    assert lines == ["begin", "called", "mapped", "slept", "asked", "waited", "stepped"]


async def test_rule_12_after_a_drain_code_runs_again_and_calls_do_not(
    engine_of: OpenEngine,
) -> None:
    hold = Hold()
    trace = Trace(lambda ctx: hold())
    async with engine_of(*trace.parts) as engine:
        run = await engine.start(trace.root)
        await hold.reached.wait()
        await engine.drain(NOW)
    hold.release()
    async with engine_of(*trace.parts) as engine:
        with anyio.fail_after(5):
            assert await (await engine.get(run.id)) == "done"
    assert trace.between == 2
    assert trace.called == ["before", "after"]


async def test_rule_12_after_an_eviction_code_runs_again_and_calls_do_not(
    engine_of: OpenEngine,
) -> None:
    trace = Trace(lambda ctx: ctx.ask("Go on?", bool))
    async with engine_of(*trace.parts, **SOON) as engine:
        run = await engine.start(trace.root)
        with anyio.fail_after(5):
            await evicted(engine, run)
            await run.answer(True)
            assert await run == "done"
    assert trace.between == 2
    assert trace.called == ["before", "after"]


async def test_rule_12_after_a_lost_lease_code_runs_again_and_calls_do_not(
    store_of: Callable[[], Any],
) -> None:
    hold = Hold()
    trace = Trace(lambda ctx: hold() if ctx.token == 1 else anyio.lowlevel.checkpoint())
    short = QUICK | {"lease_for": timedelta(seconds=0.1)}
    async with LocalEngine(*trace.parts, store=store_of(), clock=Asleep(), **short) as slow:
        run = await slow.start(trace.root)
        await hold.reached.wait()
        await until(run, "succeeded")
        async with LocalEngine(*trace.parts, store=store_of(), **QUICK) as heir:
            with anyio.fail_after(5):
                assert await (await heir.get(run.id)) == "done"
    assert trace.between == 2
    assert trace.called == ["before", "after"]


# --- Rule 13: the context closes first -----------------------------------------------------------


VERBS: dict[str, Callable[[Context], Any]] = {
    "call": lambda ctx: ctx.call(echo, "clean up"),
    "step": lambda ctx: ctx.step(plain),
    "map": lambda ctx: ctx.map(echo, ["clean up"]),
    "starmap": lambda ctx: ctx.starmap(echo, [("clean up",)]),
    "start": lambda ctx: ctx.start(echo, "clean up"),
    "sleep": lambda ctx: ctx.sleep(NOW),
    "ask": lambda ctx: ctx.ask("Clean up?", bool),
    "now": lambda ctx: ctx.now("clean up"),
    "emit": lambda ctx: ctx.emit("clean up"),
    "spend": lambda ctx: ctx.spend(tokens=1),
}


async def attempted(verb: Callable[[Context], Any], ctx: Context) -> str:
    """Use a verb as clean-up code does that must not be cut off; return what it raises."""
    try:
        with anyio.CancelScope(shield=True):
            waits = verb(ctx)
            if hasattr(waits, "__await__"):
                await waits
    except BaseException as error:
        return type(error).__name__
    return "nothing"


@pytest.mark.parametrize("verb", VERBS)
async def test_rule_13_clean_up_code_of_a_drained_attempt_can_use_no_verb(
    engine_of: OpenEngine, verb: str
) -> None:
    hold = Hold()
    raised: list[str] = []

    @task
    async def root(ctx: Context) -> None:
        try:
            await hold()
        finally:
            raised.append(await attempted(VERBS[verb], ctx))

    async with engine_of(root, echo) as engine:
        run = await engine.start(root)
        await hold.reached.wait()
        await engine.drain(NOW)
        kinds = await kinds_of(run)
    assert raised == ["RunSuspended"]
    assert kinds == ["created", "owned", "started"]


@pytest.mark.parametrize(
    "verb",
    [
        "call",
        "step",
        "sleep",
        "now",
        "spend",
        "map",
        "start",
        "emit",
    ],
)
async def test_rule_13_a_verb_the_journal_could_answer_raises_too(
    engine_of: OpenEngine, verb: str
) -> None:
    hold, later = Hold(), Hold()
    raised: list[str] = []

    @task
    async def root(ctx: Context) -> None:
        try:
            if later.reached.is_set():  # in its second life
                await hold()
        finally:
            raised.append(await attempted(VERBS[verb], ctx))
        await later()

    async with engine_of(root, echo) as engine:
        run = await engine.start(root)
        with anyio.fail_after(5):
            await later.reached.wait()
        await engine.drain(NOW)
    async with engine_of(root, echo) as engine:
        with anyio.fail_after(5):
            await hold.reached.wait()
        assert engine.drives(run.id)
        await engine.drain(NOW)
    assert raised == ["nothing", "RunSuspended"]


async def test_rule_13_compensation_of_errors_does_not_take_a_drain_for_one(
    engine_of: OpenEngine,
) -> None:
    hold = Hold()
    done: list[str] = []

    @task
    async def undo(ctx: Context) -> None:
        done.append("undone")

    @task
    async def work(ctx: Context) -> None:
        await hold()

    @task
    async def root(ctx: Context) -> str:
        try:
            await ctx.call(work)
        except Exception:
            done.append("caught")
            await ctx.call(undo)
        return "done"

    async with engine_of(work, undo, root) as engine:
        run = await engine.start(root)
        await hold.reached.wait()
        await engine.drain(NOW)
    hold.release()
    async with engine_of(work, undo, root) as engine:
        with anyio.fail_after(5):
            assert await (await engine.get(run.id)) == "done"
    assert done == []


async def test_rule_13_clean_up_code_runs_at_a_drain_but_its_call_is_done_once(
    engine_of: OpenEngine,
) -> None:
    hold = Hold()
    left: list[str] = []
    cleaned: list[str] = []

    @task
    async def clean(ctx: Context) -> None:
        cleaned.append("cleaned")

    @task
    async def root(ctx: Context) -> None:
        try:
            await hold()
        finally:
            left.append("left")
            await ctx.call(clean)

    async with engine_of(clean, root) as engine:
        run = await engine.start(root)
        await hold.reached.wait()
        await engine.drain(NOW)
    assert (left, cleaned) == (["left"], [])
    hold.release()
    async with engine_of(clean, root) as engine:
        with anyio.fail_after(5):
            await (await engine.get(run.id))
    assert (left, cleaned) == (["left", "left"], ["cleaned"])


async def test_rule_13_clean_up_code_runs_at_an_eviction_but_its_call_is_done_once(
    engine_of: OpenEngine,
) -> None:
    left: list[str] = []
    cleaned: list[str] = []

    @task
    async def clean(ctx: Context) -> None:
        cleaned.append("cleaned")

    @task
    async def root(ctx: Context) -> None:
        try:
            await ctx.ask("Go on?", bool)
        finally:
            left.append("left")
            await ctx.call(clean)

    async with engine_of(clean, root, **SOON) as engine:
        run = await engine.start(root)
        with anyio.fail_after(5):
            await evicted(engine, run)
            assert (left, cleaned) == (["left"], [])
            await run.answer(True)
            await run
    assert (left, cleaned) == (["left", "left"], ["cleaned"])


async def test_rule_13_clean_up_code_of_an_attempt_whose_lease_is_lost_can_use_no_verb(
    store_of: Callable[[], Any],
) -> None:
    hold = Hold()
    raised: list[str] = []

    @task
    async def root(ctx: Context) -> int:
        if ctx.token == 1:
            try:
                await hold()
            finally:
                raised.append(await attempted(VERBS["call"], ctx))
        return ctx.token

    short = QUICK | {"lease_for": timedelta(seconds=0.1)}
    async with LocalEngine(echo, root, store=store_of(), clock=Asleep(), **short) as slow:
        run = await slow.start(root)
        await hold.reached.wait()
        async with LocalEngine(echo, root, store=store_of(), **QUICK) as heir:
            with anyio.fail_after(5):
                assert await (await heir.get(run.id)) == 2
        with anyio.fail_after(5):
            while not raised:
                await anyio.sleep(0.005)
        calls = [r.task async for r in run if r.kind == "started"]
    assert raised == ["RunSuspended"]
    assert calls == ["root"]


async def test_rule_13_a_run_one_part_of_which_is_at_work_is_not_evicted(
    engine_of: OpenEngine,
) -> None:
    begun: list[str] = []
    go = anyio.Event()

    @task
    async def work(ctx: Context) -> None:
        begun.append("work")
        await go.wait()

    @task
    async def root(ctx: Context) -> None:
        async with anyio.create_task_group() as group:
            group.start_soon(ctx.call, work)
            await ctx.ask("Go on?", bool)

    async with engine_of(work, root, **SOON) as engine:
        run = await engine.start(root)
        await until(run, "asked")
        await anyio.sleep(0.2)
        assert engine.drives(run.id)
        go.set()
        await run.answer(True)
        with anyio.fail_after(5):
            await run
    assert begun == ["work"]


async def test_rule_13_suspension_is_no_error_that_code_may_handle() -> None:
    assert not issubclass(RunSuspended, Exception)


# --- Rule 14: waiting is not owning --------------------------------------------------------------


@task
async def answered(ctx: Context) -> str:
    return "yes" if await ctx.ask("Go on?", bool) else "no"


async def test_rule_14_cancelling_who_runs_a_task_leaves_its_run_alone(
    engine_of: OpenEngine,
) -> None:
    async with engine_of(answered) as engine:
        with anyio.move_on_after(BRIEF.total_seconds()) as scope:
            await engine.options(key="k").run(answered)
        assert scope.cancelled_caught
        run = await engine.options(key="k").start(answered)
        await until(run, "asked")
        await run.answer(True)
        with anyio.fail_after(5):
            assert await run == "yes"
        assert "cancel_requested" not in await kinds_of(run)
        assert (await engine.runs()).items[0].id == run.id


async def test_rule_14_a_failed_neighbour_of_who_waits_leaves_the_run_alone(
    engine_of: OpenEngine,
) -> None:
    async def neighbour() -> None:
        await anyio.lowlevel.checkpoint()
        raise ValueError("no")

    async def wait(run: Any) -> None:
        await run

    async def both(run: Any) -> None:
        async with anyio.create_task_group() as group:
            group.start_soon(wait, run)
            group.start_soon(neighbour)

    async with engine_of(answered) as engine:
        run = await engine.start(answered)
        with pytest.raises(BaseExceptionGroup):
            await both(run)
        await until(run, "asked")
        await run.answer(False)
        with anyio.fail_after(5):
            assert await run == "no"


async def test_rule_14_one_of_two_who_wait_may_leave(engine_of: OpenEngine) -> None:
    found: list[str] = []

    async def wait() -> None:
        found.append(await run)

    async with engine_of(answered) as engine:
        run = await engine.start(answered)
        async with anyio.create_task_group() as group:
            group.start_soon(wait)
            with anyio.move_on_after(BRIEF.total_seconds()):
                await run
            await until(run, "asked")
            await run.answer(True)
    assert found == ["yes"]


async def test_rule_14_cancelling_the_run_does_cancel_it(engine_of: OpenEngine) -> None:
    async with engine_of(answered) as engine:
        run = await engine.start(answered)
        await run.cancel("enough")
        with pytest.raises(RunCancelledError, match="enough"):
            await run


async def test_rule_14_what_start_has_returned_another_process_can_see(
    engine_of: OpenEngine, store_of: Callable[[], Any]
) -> None:
    async with engine_of(answered) as engine:
        run = await engine.start(answered)
        async with store_of() as other:
            assert await other.read("default", run.id, after=0, limit=1)


@pytest.mark.parametrize("turns", range(8))
async def test_rule_14_a_start_that_is_cancelled_ends_when_it_is_true_what_it_did(
    engine_of: OpenEngine, turns: int
) -> None:
    returned: list[Any] = []

    async def start() -> None:
        returned.append(await engine.options(key="k").start(answered))

    async with engine_of(answered) as engine:
        async with anyio.create_task_group() as group:
            group.start_soon(start)
            for _ in range(turns):
                await anyio.lowlevel.checkpoint()
            group.cancel_scope.cancel()
        kept = (await engine.runs()).items
        assert {run.id for run in returned} <= {run.id for run in kept}
        await anyio.sleep(2 * BRIEF.total_seconds())  # nothing is created behind its back
        assert [run.id for run in (await engine.runs()).items] == [run.id for run in kept]
        again = await engine.options(key="k").start(answered)
        assert again.id in {run.id for run in kept} or not kept


# --- Rule 15: the end ----------------------------------------------------------------------------


async def test_rule_15_of_an_end_and_a_cancellation_that_meet_one_wins_for_everybody(
    engine_of: OpenEngine,
) -> None:
    go = anyio.Event()
    states: list[State] = []

    @task
    async def root(ctx: Context) -> str:
        await go.wait()
        return "done"

    async with engine_of(root) as engine:
        run = await engine.start(root)
        await until(run, "owned")

        async def cancel() -> None:
            states.append((await run.cancel()).state)

        async with anyio.create_task_group() as group:
            group.start_soon(cancel)
            group.start_soon(cancel)
            go.set()
        ends = [r.state async for r in run if r.kind == "finished"]
        assert len(ends) == 1
        assert states == [ends[0], ends[0]]
        assert (await run.status()).state is ends[0]


async def test_rule_15_a_result_that_is_kept_cannot_be_cancelled(engine_of: OpenEngine) -> None:
    async with engine_of(echo) as engine:
        run = await engine.start(echo, "x")
        await run
        assert (await run.cancel("too late")).state is State.DONE
        assert await run == "x"
        assert (await kinds_of(run))[-1] == "finished"


POSTS: dict[str, Callable[[Any], Any]] = {
    "pause": lambda run: run.pause(),
    "resume": lambda run: run.resume(),
    "answer": lambda run: run.answer(True),
}


@pytest.mark.parametrize("post", POSTS)
async def test_rule_15_the_inbox_of_a_finished_run_is_closed(
    engine_of: OpenEngine, post: str
) -> None:
    async with engine_of(echo) as engine:
        run = await engine.start(echo, "x")
        await run
        before = await kinds_of(run)
        with pytest.raises(RunFinishedError):
            await POSTS[post](run)
        assert await kinds_of(run) == before


async def test_rule_15_a_message_that_comes_when_the_end_is_decided_changes_nothing(
    anyio_backend: str,
) -> None:
    over = anyio.Event()

    @task
    async def root(ctx: Context) -> str:
        over.set()
        return "done"

    def slow(verb: str, _: int) -> Fault | None:
        last = verb == "commit" and over.is_set()
        return Fault(error=None, delay=5 * BRIEF) if last else None

    store = FaultyStore(MemoryStore(), slow, clock=SystemClock())
    async with LocalEngine(root, store=store, **QUICK) as engine:
        run = await engine.start(root)
        await over.wait()
        await anyio.sleep(BRIEF.total_seconds())
        await run.pause()  # the end is decided, but not kept
        with anyio.fail_after(5):
            assert await run == "done"
        assert "paused" not in await kinds_of(run)
        with pytest.raises(RunFinishedError):
            await run.resume()


@pytest.mark.parametrize("how", ["cancel", "failure"])
async def test_rule_15_the_end_of_a_run_goes_down_to_its_grandchildren(
    engine_of: OpenEngine, how: str
) -> None:
    fail = anyio.Event()

    @task
    async def child(ctx: Context) -> None:
        await ctx.start(answered)
        await ctx.ask("Go on?", bool)

    @task
    async def root(ctx: Context) -> None:
        await ctx.start(child)
        await fail.wait()
        raise ValueError("no")

    async with engine_of(answered, child, root) as engine:
        run = await engine.start(root)
        with anyio.fail_after(5):
            while not (below := (await engine.runs(task="answered")).items):
                await anyio.sleep(0.005)
            if how == "cancel":
                await run.cancel()
            else:
                fail.set()
            with pytest.raises((RunFailedError, RunCancelledError)):
                await run
            with pytest.raises(RunCancelledError):
                await (await engine.get(below[0].id))


async def test_rule_15_the_failure_of_a_run_leaves_detached_children_alone(
    engine_of: OpenEngine,
) -> None:
    @task
    async def root(ctx: Context) -> None:
        await ctx.options(detached=True).start(answered)
        raise ValueError("no")

    async with engine_of(answered, root) as engine:
        with pytest.raises(RunFailedError):
            await engine.run(root)
        child = await engine.get((await engine.runs(task="answered")).items[0].id)
        with anyio.fail_after(5):
            await until(child, "asked")
            await child.answer(True)
            assert await child == "yes"


async def test_rule_15_a_child_that_its_parent_awaits_is_seen_cancelled(
    engine_of: OpenEngine,
) -> None:
    @task
    async def root(ctx: Context) -> str:
        try:
            return await (await ctx.start(answered))
        except RunCancelledError:
            return "the child was cancelled"

    async with engine_of(answered, root) as engine:
        run = await engine.start(root)
        with anyio.fail_after(5):
            while not (below := (await engine.runs(task="answered")).items):
                await anyio.sleep(0.005)
            await (await engine.get(below[0].id)).cancel()
            assert await run == "the child was cancelled"


# --- Rule 16: drain ------------------------------------------------------------------------------


async def test_rule_16_an_engine_touches_no_signal_of_its_host(engine_of: OpenEngine) -> None:
    watched = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR1)
    before = [signal.getsignal(one) for one in watched]
    async with engine_of(echo) as engine:
        await engine.run(echo, "x")
        during = [signal.getsignal(one) for one in watched]
        await engine.drain()
        assert [signal.getsignal(one) for one in watched] == during == before


async def test_rule_16_a_second_signal_cancels_what_the_first_lets_finish(
    engine_of: OpenEngine,
) -> None:
    hold = Hold()
    cut: list[str] = []

    @task
    async def root(ctx: Context) -> None:
        try:
            await hold()
        finally:
            cut.append("cut")

    async with engine_of(root, grace=AGES) as engine:
        with anyio.fail_after(5):
            async with anyio.create_task_group() as group:
                group.start_soon(engine.drain_on, signal.SIGUSR1)
                run = await engine.start(root)
                await hold.reached.wait()
                os.kill(os.getpid(), signal.SIGUSR1)
                await anyio.sleep(2 * BRIEF.total_seconds())
                assert cut == []
                os.kill(os.getpid(), signal.SIGUSR1)
        assert cut == ["cut"]
        assert not (await run.status()).state.terminal


async def test_rule_16_after_drain_on_the_host_has_its_signals_back(engine_of: OpenEngine) -> None:
    before = signal.getsignal(signal.SIGUSR1)
    async with engine_of(echo) as engine, anyio.create_task_group() as group:
        group.start_soon(engine.drain_on, signal.SIGUSR1)
        await anyio.sleep(BRIEF.total_seconds())
        group.cancel_scope.cancel()
    assert signal.getsignal(signal.SIGUSR1) == before


async def test_rule_16_a_drained_engine_takes_no_run_and_another_goes_on_with_its_runs(
    store_of: Callable[[], Any],
) -> None:
    hold = Hold()

    @task
    async def root(ctx: Context) -> int:
        await hold()
        return ctx.token

    async with LocalEngine(root, store=store_of(), **QUICK) as old:
        run = await old.start(root)
        await hold.reached.wait()
        await old.drain(NOW)
        hold.release()
        with pytest.raises(EngineClosedError, match="draining"):
            await old.start(root)
        async with LocalEngine(root, store=store_of(), **QUICK) as new:
            with anyio.fail_after(5):
                assert await (await new.get(run.id)) == 2
                assert await run == 2


async def test_rule_16_a_drain_lets_what_is_in_flight_finish_and_begins_nothing(
    engine_of: OpenEngine,
) -> None:
    hold, begun = anyio.Event(), anyio.Event()
    done: list[str] = []

    @task
    async def work(ctx: Context, item: str) -> None:
        begun.set()
        await hold.wait()
        done.append(item)

    @task
    async def root(ctx: Context) -> None:
        await ctx.call(work, "first")
        await ctx.call(work, "second")

    async with engine_of(work, root) as engine:
        run = await engine.start(root)
        await begun.wait()
        async with anyio.create_task_group() as group:
            group.start_soon(engine.drain, timedelta(seconds=0.1))
            await anyio.sleep(BRIEF.total_seconds())
            hold.set()
        assert done == ["first"]
        assert (await kinds_of(run)).count("succeeded") == 1
    async with engine_of(work, root) as engine:
        with anyio.fail_after(5):
            await (await engine.get(run.id))
    assert done == ["first", "second"]


# --- Rule 17: engines belong to no task ----------------------------------------------------------


async def test_rule_17_an_engine_outlives_the_task_that_opened_it(engine_of: OpenEngine) -> None:
    engine: Any = engine_of(echo)

    async def cell() -> None:
        await engine.__aenter__()
        opened.set()
        await anyio.sleep_forever()

    opened = anyio.Event()
    async with anyio.create_task_group() as group:
        group.start_soon(cell)
        await opened.wait()
        group.cancel_scope.cancel()
    try:
        with anyio.fail_after(5):
            assert await engine.run(echo, "x") == "x"
    finally:
        await engine.__aexit__(None, None, None)


async def test_rule_17_an_engine_with_a_run_in_it_may_be_closed_by_another_task(
    engine_of: OpenEngine,
) -> None:
    engine: Any = engine_of(answered)

    async def close() -> None:
        await engine.__aexit__(None, None, None)

    await engine.__aenter__()
    run = await engine.start(answered)
    await until(run, "asked")
    with anyio.fail_after(5):
        async with anyio.create_task_group() as group:
            group.start_soon(close)
    async with engine_of(answered) as other:
        again = await other.get(run.id)
        await again.answer(True)
        with anyio.fail_after(5):
            assert await again == "yes"


async def test_rule_17_an_error_of_the_host_leaves_the_engine_as_it_is(
    engine_of: OpenEngine,
) -> None:
    async def host() -> None:
        async with engine_of(echo) as engine:
            await engine.run(echo, "x")
            raise KeyError("mine")

    with pytest.raises(KeyError, match="mine"):
        await host()


class Breaking(SystemClock):
    """A clock that stops for good when it is told to."""

    def __init__(self) -> None:
        self.broken = False

    async def sleep(self, duration: timedelta, /) -> None:
        await super().sleep(duration)
        if self.broken:
            raise RuntimeError("the clock has stopped")


async def test_rule_17_a_background_failure_is_raised_to_those_who_wait(
    store_of: Callable[[], Any],
) -> None:
    clock = Breaking()
    short = QUICK | {"lease_for": timedelta(seconds=0.06)}
    async with LocalEngine(answered, store=store_of(), clock=clock, **short) as engine:
        run = await engine.start(answered)
        await until(run, "asked")
        clock.broken = True
        with (
            anyio.fail_after(5),
            pytest.raises(EngineClosedError, match="the clock has stopped") as caught,
        ):
            await run
        assert caught.value.__cause__ is not None
        with pytest.raises(EngineClosedError, match="the clock has stopped"):
            await engine.start(answered)


async def test_rule_17_a_background_failure_does_not_cancel_the_host(
    store_of: Callable[[], Any],
) -> None:
    clock = Breaking()
    short = QUICK | {"lease_for": timedelta(seconds=0.06)}
    with anyio.CancelScope() as scope:
        async with LocalEngine(answered, store=store_of(), clock=clock, **short) as engine:
            clock.broken = True
            await anyio.sleep(0.1)
            with pytest.raises(EngineClosedError):
                await engine.start(answered)
            await anyio.lowlevel.checkpoint()
    assert not scope.cancel_called


async def test_rule_17_a_run_that_a_failed_engine_held_goes_on_elsewhere(
    store_of: Callable[[], Any],
) -> None:
    clock = Breaking()
    short = QUICK | {"lease_for": timedelta(seconds=0.06)}
    async with LocalEngine(answered, store=store_of(), clock=clock, **short) as engine:
        run = await engine.start(answered)
        await until(run, "asked")
        clock.broken = True
        await anyio.sleep(0.1)
    async with LocalEngine(answered, store=store_of(), **QUICK) as engine:
        again = await engine.get(run.id)
        await again.answer(True)
        with anyio.fail_after(5):
            assert await again == "yes"
