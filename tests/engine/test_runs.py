"""Runs from outside: keys, messages, time, people, forks; rules 12 to 18 and 31 to 36."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import anyio
import pytest

from astro import (
    AlreadyAnsweredError,
    Budget,
    CallFailedError,
    CodecError,
    Context,
    EngineClosedError,
    InvalidArgumentsError,
    KeyConflictError,
    LocalEngine,
    RunCancelledError,
    RunFailedError,
    RunFinishedError,
    RunNotFoundError,
    State,
    TaskTimeoutError,
    UnknownTaskError,
    task,
)
from astro.engine.run import RunHandle
from tests.engine.conftest import OpenEngine
from tests.engine.hold import Hold

pytestmark = pytest.mark.anyio
SHORT = timedelta(milliseconds=40)


@task
async def echo(ctx: Context, text: str) -> str:
    return text


@task
async def publish(ctx: Context, title: str) -> str:
    ok = await ctx.ask(f"Publish {title}?", bool)
    return "published" if ok else "kept"


async def until(run: RunHandle[object], kind: str) -> None:
    """Return when the run has a record of a kind."""
    async for record in run.records():
        if record.kind == kind:
            return


async def test_the_same_key_is_the_same_run(engine_of: OpenEngine) -> None:
    async with engine_of(echo) as engine:
        first = await engine.options(key="a").start(echo, "x")
        second = await engine.options(key="a").start(echo, "x")
        assert first.id == second.id
        assert await second == "x"
        assert len((await engine.runs()).items) == 1


async def test_rule_36_the_same_key_with_other_arguments_is_a_conflict(
    engine_of: OpenEngine,
) -> None:
    async with engine_of(echo) as engine:
        await engine.options(key="a").start(echo, "x")
        with pytest.raises(KeyConflictError, match="Choose another key"):
            await engine.options(key="a").start(echo, "y")


async def test_tenants_do_not_see_each_other(engine_of: OpenEngine) -> None:
    async with engine_of(echo) as engine:
        mine = await engine.tenant("a").start(echo, "x")
        await mine
        assert (await engine.tenant("b").runs()).items == ()
        with pytest.raises(RunNotFoundError):
            await engine.tenant("b").get(mine.id)
        assert (await engine.tenant("a").get(mine.id)).id == mine.id


async def test_an_unknown_task_is_named_with_the_nearest_known_one(engine_of: OpenEngine) -> None:
    @task(name="ecko")
    async def unknown(ctx: Context) -> None: ...

    async with engine_of(echo) as engine:
        with pytest.raises(UnknownTaskError, match="Did you mean 'echo'"):
            await engine.start(unknown)


async def test_a_person_is_asked_and_answers(engine_of: OpenEngine) -> None:
    async with engine_of(publish) as engine:
        run = await engine.start(publish, "Fusion")
        await until(run, "asked")
        assert (await run.status()).state is State.ASKED
        await run.answer(True, by="ada")
        assert await run == "published"


async def test_rule_31_an_answer_of_the_wrong_type_is_refused(engine_of: OpenEngine) -> None:
    async with engine_of(publish) as engine:
        run = await engine.start(publish, "Fusion")
        await until(run, "asked")
        with pytest.raises(InvalidArgumentsError, match="expected boolean"):
            await run.answer("yes")
        await run.answer(False)
        assert await run == "kept"


async def test_rule_31_a_question_is_answered_once(engine_of: OpenEngine) -> None:
    async with engine_of(publish) as engine:
        run = await engine.start(publish, "Fusion")
        await until(run, "asked")
        await run.answer(True)
        with pytest.raises((AlreadyAnsweredError, RunFinishedError)):
            await run.answer(False)
        assert await run == "published"


async def test_an_unanswered_question_takes_its_default(engine_of: OpenEngine) -> None:
    @task
    async def root(ctx: Context) -> str:
        return await ctx.ask("Name?", str, timeout=SHORT, default="nobody")

    async with engine_of(root) as engine:
        assert await engine.run(root) == "nobody"


async def test_an_unanswered_question_without_a_default_raises(engine_of: OpenEngine) -> None:
    @task
    async def root(ctx: Context) -> str:
        with pytest.raises(TaskTimeoutError):
            await ctx.ask("Name?", str, timeout=SHORT)
        return "late"

    async with engine_of(root) as engine:
        assert await engine.run(root) == "late"


async def test_questions_may_have_a_union_as_their_type(engine_of: OpenEngine) -> None:
    @task
    async def root(ctx: Context) -> int | None:
        return await ctx.ask("How many?", int | None)

    async with engine_of(root) as engine:
        run = await engine.start(root)
        await until(run, "asked")
        await run.answer(None)
        assert await run is None


async def test_sleeping_lasts_at_least_its_duration(engine_of: OpenEngine) -> None:
    @task
    async def root(ctx: Context) -> float:
        before = datetime.now(UTC)
        await ctx.sleep(SHORT)
        return (datetime.now(UTC) - before).total_seconds()

    async with engine_of(root) as engine:
        assert await engine.run(root) >= SHORT.total_seconds()


async def test_rule_14_cancelling_who_waits_leaves_the_run_alone(engine_of: OpenEngine) -> None:
    async with engine_of(publish) as engine:
        run = await engine.start(publish, "Fusion")
        with anyio.move_on_after(0.05):
            await run
        await until(run, "asked")
        await run.answer(True)
        assert await run == "published"


async def test_rule_15_cancelling_a_run_ends_it(engine_of: OpenEngine) -> None:
    async with engine_of(publish) as engine:
        run = await engine.start(publish, "Fusion")
        await until(run, "asked")
        assert (await run.cancel("changed my mind")).state is State.CANCELLED
        with pytest.raises(RunCancelledError, match="changed my mind"):
            await run


async def test_rule_15_posting_to_a_finished_run_raises_but_cancelling_returns_its_state(
    engine_of: OpenEngine,
) -> None:
    async with engine_of(echo) as engine:
        run = await engine.start(echo, "x")
        await run
        with pytest.raises(RunFinishedError):
            await run.pause()
        assert (await run.cancel()).state is State.DONE


async def test_rule_15_cancel_goes_down_to_children_unless_detached(engine_of: OpenEngine) -> None:
    @task
    async def root(ctx: Context) -> None:
        await ctx.start(publish, "attached")
        await ctx.options(detached=True).start(publish, "detached")
        await ctx.ask("Go on?", bool)

    async with engine_of(root, publish) as engine:
        run = await engine.start(root)
        await until(run, "asked")
        children = {r.id: r for r in (await engine.runs(task="publish")).items}
        await run.cancel()
        detached = {r.run: r.detached async for r in run if r.kind == "child_started"}
        attached = await engine.get(next(i for i in children if not detached[i]))
        with pytest.raises(RunCancelledError):
            await attached
        other = await engine.get(next(i for i in children if detached[i]))
        assert not (await other.status()).state.terminal


async def test_rule_18_pausing_stops_dispatch_and_attempts_in_flight_finish(
    engine_of: OpenEngine,
) -> None:
    begun, go = anyio.Event(), anyio.Event()

    @task
    async def first(ctx: Context) -> None:
        begun.set()
        await go.wait()

    @task
    async def root(ctx: Context) -> str:
        await ctx.call(first)
        return await ctx.call(echo, "second")

    async with engine_of(first, echo, root) as engine:
        run = await engine.start(root)
        await begun.wait()
        await run.pause()
        await until(run, "paused")
        go.set()
        await until(run, "succeeded")
        await anyio.sleep(0.05)
        assert "echo" not in {getattr(r, "task", "") async for r in run.records(follow=False)}
        await run.resume()
        assert await run == "second"


async def test_a_deadline_of_a_run_fails_it(engine_of: OpenEngine) -> None:
    async with engine_of(publish) as engine:
        with pytest.raises(RunFailedError, match="deadline"):
            await engine.options(deadline=SHORT).run(publish, "Fusion")


async def test_a_timeout_of_an_attempt_is_a_failure_that_is_tried_again(
    engine_of: OpenEngine,
) -> None:
    @task(timeout=SHORT, retry=2)
    async def slow_once(ctx: Context) -> int:
        if ctx.attempt == 1:
            await anyio.sleep(30)
        return ctx.attempt

    @task
    async def root(ctx: Context) -> int:
        assert ctx.deadline is None
        return await ctx.call(slow_once)

    async with engine_of(slow_once, root) as engine:
        assert await engine.run(root) == 2


async def test_a_deadline_of_a_call_covers_all_its_attempts(engine_of: OpenEngine) -> None:
    @task(deadline=SHORT, retry=50)
    async def hopeless(ctx: Context) -> None:
        raise ValueError("no")

    @task
    async def root(ctx: Context) -> int:
        with pytest.raises(CallFailedError) as caught:
            await ctx.call(hopeless)
        return caught.value.failure.attempts

    async with engine_of(hopeless, root) as engine:
        assert await engine.run(root) < 5


async def test_a_budget_of_calls_ends_the_run_before_it_is_overspent(
    engine_of: OpenEngine,
) -> None:
    done: list[str] = []

    @task
    async def work(ctx: Context, item: str) -> None:
        done.append(item)

    @task
    async def root(ctx: Context) -> None:
        for item in "abcdef":
            await ctx.call(work, item)

    async with engine_of(work, root) as engine:
        with pytest.raises(RunFailedError, match="budget of 4 calls"):
            await engine.options(budget=Budget(calls=4)).run(root)
    assert done == ["a", "b", "c"]


async def test_spending_beyond_the_budget_is_recorded_and_raised(engine_of: OpenEngine) -> None:
    @task
    async def root(ctx: Context) -> None:
        await ctx.spend(tokens=60)
        await ctx.spend(tokens=60)

    async with engine_of(root) as engine:
        run = await engine.options(budget=Budget(tokens=100)).start(root)
        with pytest.raises(RunFailedError, match="tokens"):
            await run
        assert sum([r.tokens async for r in run if r.kind == "spent"]) == 120


async def test_rule_35_a_fork_remembers_what_was_committed(engine_of: OpenEngine) -> None:
    done: list[str] = []

    @task
    async def work(ctx: Context, item: str) -> str:
        done.append(item)
        return item

    @task
    async def root(ctx: Context) -> str:
        return await ctx.call(work, "a") + await ctx.call(work, "b")

    async with engine_of(work, root) as engine:
        run = await engine.start(root)
        await run
        first = [r.seq async for r in run if r.kind == "succeeded"][0]
        fork = await run.fork(at=first)
        assert await fork == "ab"
        assert (await fork.status()).source == run.id
        assert await run.diff(fork) == []
    assert done == ["a", "b", "b"]


async def test_diff_names_the_calls_that_ended_differently(engine_of: OpenEngine) -> None:
    @task
    async def root(ctx: Context, text: str) -> str:
        return await ctx.call(echo, text)

    async with engine_of(echo, root) as engine:
        one, two = await engine.start(root, "a"), await engine.start(root, "b")
        await one
        await two
        found = await one.diff(two)
    assert {d.task for d in found} == {"echo", "root"}
    assert any("not asked for" in str(d) for d in found)


async def test_explain_tells_what_happened_to_a_call(engine_of: OpenEngine) -> None:
    @task(retry=2, timeout=30)
    async def weak(ctx: Context) -> None:
        if ctx.attempt == 1:
            raise ValueError("not yet")

    @task
    async def root(ctx: Context) -> None:
        await ctx.options(retry=None).call(weak)

    async with engine_of(weak, root) as engine:
        run = await engine.start(root)
        await run
        call = [r.call async for r in run if r.kind == "succeeded"][0]
        text = await run.explain(call)
    assert "attempt 1" in text
    assert "not yet" in text
    assert text.endswith("succeeded")


async def test_a_child_run_is_not_awaited_unless_its_handle_is(engine_of: OpenEngine) -> None:
    @task
    async def root(ctx: Context) -> str:
        child = await ctx.start(echo, "from the child")
        return await child

    async with engine_of(echo, root) as engine:
        run = await engine.start(root)
        assert await run == "from the child"
        assert [r.parent for r in (await engine.runs(task="echo")).items] == [run.id]


async def test_a_failed_child_raises_where_it_is_awaited(engine_of: OpenEngine) -> None:
    @task
    async def broken(ctx: Context) -> None:
        raise ValueError("broken")

    @task
    async def root(ctx: Context) -> str:
        with pytest.raises(RunFailedError, match="broken"):
            await (await ctx.start(broken))
        return "caught"

    async with engine_of(broken, root) as engine:
        assert await engine.run(root) == "caught"


async def test_rule_29_records_can_be_read_from_any_position(engine_of: OpenEngine) -> None:
    async with engine_of(echo) as engine:
        run = await engine.start(echo, "x")
        await run
        everything = [r.seq async for r in run]
        assert everything == list(range(1, len(everything) + 1))
        assert [r.seq async for r in run.records(after=2)] == everything[2:]


async def test_rule_17_an_engine_opened_in_one_task_closes_in_another(
    engine_of: OpenEngine,
) -> None:
    engine = engine_of(echo)

    async def open_it() -> None:
        await engine.__aenter__()

    async def close_it() -> None:
        await engine.__aexit__(None, None, None)

    async with anyio.create_task_group() as group:
        group.start_soon(open_it)
    assert await engine.run(echo, "x") == "x"  # type: ignore[attr-defined]
    async with anyio.create_task_group() as group:
        group.start_soon(close_it)
    with pytest.raises(EngineClosedError):
        await engine.run(echo, "x")  # type: ignore[attr-defined]


async def test_rule_13_after_a_drain_the_context_is_closed_and_nothing_is_journaled(
    engine_of: OpenEngine,
) -> None:
    after: list[str] = []
    hold = Hold()

    @task
    async def root(ctx: Context) -> str:
        try:
            await hold()
            return "done"
        finally:
            try:
                with anyio.CancelScope(shield=True):
                    await ctx.call(echo, "clean up")
            except BaseException as error:
                after.append(type(error).__name__)

    async with engine_of(root, echo) as engine:
        run = await engine.start(root)
        await hold.reached.wait()
        await engine.drain(timedelta(0))
        records = [r.kind async for r in run.records(follow=False)]
    assert after == ["RunSuspended"]
    assert "abandoned" not in records


async def test_notebooks_draw_a_run_that_was_made_there(engine_of: OpenEngine) -> None:
    async with engine_of(echo) as engine:
        run = await engine.start(echo, "x")
        await run
        assert run._repr_mimebundle_()["image/svg+xml"] == await run.to_svg()


async def test_notebooks_draw_no_part_of_a_large_run(engine_of: OpenEngine) -> None:
    @task
    async def root(ctx: Context) -> None:
        await ctx.map(echo, [str(n) for n in range(1_000)])

    async with engine_of(echo, root) as engine:
        run = await engine.start(root)
        await run
        assert "image/svg+xml" not in run._repr_mimebundle_()


async def test_notebooks_draw_a_run_that_was_read(engine_of: OpenEngine) -> None:
    async with engine_of(echo) as engine:
        run = await engine.start(echo, "x")
        await run
        assert "<svg" in await run.to_svg()
        bundle = run._repr_mimebundle_()
    assert run.id in bundle["text/plain"]
    assert "<svg" in bundle["image/svg+xml"]


def test_rule_43_a_script_without_a_loop_runs_tasks(engine_of: OpenEngine, where: str) -> None:
    if where == "memory-trio":
        return  # the portal's thread runs asyncio
    engine = engine_of(echo)
    assert isinstance(engine, LocalEngine)
    try:
        assert engine.run_sync(echo, "x") == "x"
        assert engine.run_sync(echo, "y") == "y"
    finally:
        engine.close_sync()


async def test_rule_43_run_sync_inside_a_loop_names_await(engine_of: OpenEngine) -> None:
    engine = engine_of(echo)
    assert isinstance(engine, LocalEngine)
    with pytest.raises(EngineClosedError, match="await"):
        engine.run_sync(echo, "x")


@pytest.mark.parametrize("text", ["\ud800", "a\0b", "x" * 2_000, 3])
async def test_text_that_cannot_be_kept_is_refused_at_the_door(
    engine_of: OpenEngine, text: str
) -> None:
    async with engine_of(publish) as engine:
        with pytest.raises(CodecError, match="key"):
            engine.options(key=text)
        run = await engine.start(publish, "Fusion")
        await until(run, "asked")
        with pytest.raises(CodecError, match="reason"):
            await run.cancel(text)
        await run.answer(True)
        assert await run == "published"
