"""Identity and memory: rules 1 to 9 of what exactly happens."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import anyio
import anyio.lowlevel
import attrs
import pytest

from astro import (
    AmbiguousCallError,
    CallFailedError,
    CodecError,
    Context,
    Effect,
    InvalidArgumentsError,
    PermanentError,
    Retry,
    RunFailedError,
    State,
    task,
)
from tests.engine.conftest import OpenEngine
from tests.engine.hold import Hold

pytestmark = pytest.mark.anyio
NOW = timedelta(0)


@attrs.frozen
class Article:
    title: str
    words: int = 0


@task
async def shout(ctx: Context, text: str, marks: int = 1) -> str:
    return text.upper() + "!" * marks


async def test_a_call_gives_the_result_of_its_task(engine_of: OpenEngine) -> None:
    @task
    async def root(ctx: Context, text: str) -> str:
        return await ctx.call(shout, text, marks=2)

    async with engine_of(shout, root) as engine:
        assert await engine.run(root, "hi") == "HI!!"


async def test_rule_01_equal_arguments_are_the_same_identity_however_they_are_spelled(
    engine_of: OpenEngine,
) -> None:
    seen: list[str] = []

    @task
    async def note(ctx: Context, text: str, marks: float = 1) -> None:
        seen.append(ctx.key)

    @task
    async def positional(ctx: Context) -> None:
        await ctx.call(note, "a", 2)

    async with engine_of(note, positional) as engine:
        first = await engine.start(positional)
        await first
        by_call = [r.call async for r in first if r.kind == "started" and r.task == "note"]

    @task(name="positional")
    async def by_keyword(ctx: Context) -> None:
        await ctx.call(note, marks=2.0, text="a")

    async with engine_of(note, by_keyword) as engine:
        second = await engine.start(by_keyword)
        await second
        again = [r.call async for r in second if r.kind == "started" and r.task == "note"]
    assert by_call == again


async def test_rule_01_the_ordinal_is_taken_when_the_call_is_evaluated(
    engine_of: OpenEngine,
) -> None:
    @task
    async def where(ctx: Context, x: int) -> str:
        return ctx.key

    @task
    async def root(ctx: Context) -> list[str]:
        first, second = ctx.call(where, 1), ctx.call(where, 1)
        late = await second
        return [await first, late]

    async with engine_of(where, root) as engine:
        first, second = await engine.run(root)
    assert first.endswith(".0")
    assert second.endswith(".1")


async def test_rule_02_two_concurrent_parts_may_not_ask_for_the_same_call(
    engine_of: OpenEngine,
) -> None:
    @task
    async def root(ctx: Context) -> str:
        found: list[Exception] = []

        async def part() -> None:
            try:
                await ctx.call(shout, "same")
            except AmbiguousCallError as error:
                found.append(error)

        async with anyio.create_task_group() as group:
            group.start_soon(part)
            group.start_soon(part)
        return str(len(found))

    async with engine_of(shout, root) as engine:
        assert await engine.run(root) == "1"


async def test_rule_02_branches_make_equal_calls_of_concurrent_parts_distinct(
    engine_of: OpenEngine,
) -> None:
    @task
    async def root(ctx: Context) -> int:
        async def part(name: str) -> None:
            await ctx.branch(name).call(shout, "same")

        async with anyio.create_task_group() as group:
            group.start_soon(part, "left")
            group.start_soon(part, "right")
        return 2

    async with engine_of(shout, root) as engine:
        run = await engine.start(root)
        await run
        calls = [r.call async for r in run if r.kind == "started" and r.task == "shout"]
    assert len(set(calls)) == 2


async def test_rule_03_chance_depends_on_run_call_and_name_only(engine_of: OpenEngine) -> None:
    @task
    async def root(ctx: Context) -> list[str]:
        return [
            str(ctx.uuid("a")),
            str(ctx.uuid("a")),
            str(ctx.uuid("b")),
            str(ctx.random("a").random()),
        ]

    async with engine_of(root) as engine:
        one, two = await engine.run(root), await engine.run(root)
    assert one[0] == one[1] != one[2]
    assert set(one).isdisjoint(two)


async def test_rule_04_a_step_without_a_name_of_its_own_is_refused(engine_of: OpenEngine) -> None:
    @task
    async def root(ctx: Context, extra: int) -> str:
        async def closure(x: int) -> int:
            return x + extra

        with pytest.raises(InvalidArgumentsError, match="name it"):
            ctx.step(closure, 1)
        return str(await ctx.options(name="add").step(closure, 1))

    async with engine_of(root) as engine:
        assert await engine.run(root, 4) == "5"


async def test_rule_05_nobody_shares_a_mutable_object_with_the_journal(
    engine_of: OpenEngine,
) -> None:
    shared = {"words": [1]}

    @task
    async def give(ctx: Context, items: dict[str, list[int]]) -> dict[str, list[int]]:
        items["words"].append(2)
        return shared

    @task
    async def root(ctx: Context) -> dict[str, list[int]]:
        mine = {"words": [0]}
        got = await ctx.call(give, mine)
        got["words"].append(9)
        return mine

    async with engine_of(give, root) as engine:
        assert await engine.run(root) == {"words": [0]}
    assert shared == {"words": [1]}


async def test_rule_05_results_have_their_declared_type_live_too(engine_of: OpenEngine) -> None:
    @task
    async def write(ctx: Context, title: str) -> Article:
        return Article(title)

    @task
    async def root(ctx: Context) -> str:
        article = await ctx.call(write, "Fusion")
        return f"{type(article).__name__} {article.title}"

    async with engine_of(write, root) as engine:
        assert await engine.run(root) == "Article Fusion"


class CardDeclinedError(Exception):
    def __init__(self, code: int) -> None:
        super().__init__(code)
        self.code = code


async def test_rule_06_a_failure_reaches_the_caller_as_call_failed(engine_of: OpenEngine) -> None:
    @task
    async def pay(ctx: Context) -> None:
        raise CardDeclinedError(51)

    @task
    async def root(ctx: Context) -> str:
        with pytest.raises(CallFailedError) as caught:
            await ctx.call(pay)
        return f"{caught.value.failure.type.rpartition('.')[2]} {caught.value.failure.attempts}"

    async with engine_of(pay, root) as engine:
        assert await engine.run(root) == "CardDeclinedError 1"


async def test_rule_06_a_declared_class_reaches_the_caller_as_itself(engine_of: OpenEngine) -> None:
    @task(raises=(CardDeclinedError,))
    async def pay(ctx: Context) -> None:
        raise CardDeclinedError(51)

    @task
    async def root(ctx: Context) -> int:
        with pytest.raises(CardDeclinedError) as caught:
            await ctx.call(pay)
        return caught.value.code

    async with engine_of(pay, root) as engine:
        assert await engine.run(root) == 51


async def test_rule_07_a_new_attempt_reuses_successes_and_asks_failures_and_reads_again(
    engine_of: OpenEngine,
) -> None:
    done: list[str] = []

    @task
    async def written(ctx: Context) -> None:
        done.append("written")

    @task(effect=Effect.READ)
    async def looked_up(ctx: Context) -> None:
        done.append("looked up")

    @task
    async def weak(ctx: Context) -> None:
        done.append("weak")
        if done.count("weak") == 1:
            raise ValueError("once")

    @task(retry=Retry(attempts=2, first=NOW))
    async def root(ctx: Context) -> int:
        await ctx.call(written)
        await ctx.call(looked_up)
        await ctx.call(weak)
        return ctx.attempt

    async with engine_of(written, looked_up, weak, root) as engine:
        assert await engine.run(root) == 2
    assert done == ["written", "looked up", "weak", "looked up", "weak"]


async def test_rule_07_a_fresh_retry_begins_with_an_empty_memory(engine_of: OpenEngine) -> None:
    done: list[str] = []

    @task
    async def written(ctx: Context) -> None:
        done.append("written")

    @task(retry=Retry(attempts=2, first=NOW, fresh=True))
    async def root(ctx: Context) -> None:
        await ctx.call(written)
        if ctx.attempt == 1:
            raise ValueError("once")

    async with engine_of(written, root) as engine:
        await engine.run(root)
    assert done == ["written", "written"]


@pytest.mark.parametrize("effect", [Effect.IRREVERSIBLE, Effect.SPEND, Effect.EXECUTE])
async def test_rule_08_the_start_of_a_dangerous_attempt_is_kept_before_its_body_runs(
    engine_of: OpenEngine, effect: Effect
) -> None:
    kept: list[bool] = []

    async with engine_of_later(engine_of) as later:

        @task(effect=effect)
        async def launch(ctx: Context) -> None:
            run = await later.engine.get(ctx.run_id)
            kept.append(
                any(
                    [
                        r.kind == "started" and r.task == "launch"
                        async for r in run.records(follow=False)
                    ]
                )
            )

        @task
        async def root(ctx: Context) -> None:
            await ctx.call(launch)

        await later.open(launch, root)
        await later.engine.run(root)
    assert kept == [True]


class engine_of_later:  # noqa: N801  # reads as a function
    """Opens an engine whose tasks refer to it."""

    def __init__(self, engine_of: OpenEngine) -> None:
        self._engine_of = engine_of
        self.engine: Any = None

    async def __aenter__(self) -> engine_of_later:
        return self

    async def open(self, *parts: Any) -> None:
        self.engine = self._engine_of(*parts)
        await self.engine.__aenter__()

    async def __aexit__(self, *error: object) -> None:
        await self.engine.__aexit__(*error)


async def test_rule_09_an_abandoned_call_is_recorded_and_never_dispatched_again(
    engine_of: OpenEngine,
) -> None:
    begun: list[int] = []

    @task
    async def slow(ctx: Context) -> None:
        begun.append(1)
        await anyio.sleep(30)

    @task
    async def root(ctx: Context) -> str:
        with anyio.move_on_after(0.05):
            await ctx.call(slow)
        return await ctx.call(shout, "on")

    async with engine_of(slow, shout, root) as engine:
        run = await engine.start(root)
        assert await run == "ON!"
        kinds = [r.kind async for r in run]
        assert "abandoned" in kinds
        fork = await run.fork()
        assert await fork == "ON!"
    assert len(begun) == 2  # the fork has not copied a call in flight


async def test_rule_09_a_replayed_abandoned_call_stays_pending_until_cancelled_again(
    engine_of: OpenEngine,
) -> None:
    begun: list[int] = []
    hold = Hold()

    @task
    async def slow(ctx: Context) -> None:
        begun.append(1)
        await anyio.sleep(30)

    @task
    async def root(ctx: Context) -> str:
        with anyio.move_on_after(0.05):
            await ctx.call(slow)
        result = await ctx.call(shout, "on")
        await hold()
        return result

    async with engine_of(slow, shout, root) as engine:
        run = await engine.options(key="k").start(root)
        await hold.reached.wait()
    hold.release()
    async with engine_of(slow, shout, root) as engine:
        assert await (await engine.get(run.id)) == "ON!"
    assert begun == [1]


async def test_map_keeps_the_order_of_its_items(engine_of: OpenEngine) -> None:
    @task
    async def wait(ctx: Context, turns: int) -> int:
        for _ in range(turns):
            await anyio.lowlevel.checkpoint()
        return turns

    @task
    async def root(ctx: Context) -> list[int]:
        return await ctx.map(wait, [5, 1, 3, 1], limit=3)

    async with engine_of(wait, root) as engine:
        assert await engine.run(root) == [5, 1, 3, 1]


async def test_map_runs_no_more_than_its_limit_at_once(engine_of: OpenEngine) -> None:
    running = most = 0

    @task
    async def work(ctx: Context, item: int) -> None:
        nonlocal running, most
        running += 1
        most = max(most, running)
        await anyio.sleep(0.001)
        running -= 1

    @task
    async def root(ctx: Context) -> None:
        await ctx.map(work, range(20), limit=4)

    async with engine_of(work, root) as engine:
        await engine.run(root)
    assert most == 4


async def test_a_failed_item_of_map_cancels_its_siblings(engine_of: OpenEngine) -> None:
    @task
    async def work(ctx: Context, item: int) -> None:
        if item == 1:
            raise PermanentError("no")
        await anyio.sleep(30)

    @task
    async def root(ctx: Context) -> None:
        await ctx.map(work, range(3))

    async with engine_of(work, root) as engine:
        run = await engine.start(root)
        with pytest.raises(RunFailedError, match="no"):
            await run
        kinds = [r.kind async for r in run]
    assert kinds.count("abandoned") == 2


@pytest.mark.parametrize("value", [float("nan"), float("inf"), "\ud800", [[]], object()])
async def test_a_result_that_cannot_be_kept_fails_the_call_and_nothing_else(
    engine_of: OpenEngine, value: object
) -> None:
    if value == [[]]:
        value = nested = []
        for _ in range(200):
            nested.append([])
            nested = nested[0]

    @task
    async def bad(ctx: Context) -> Any:
        return value

    @task
    async def root(ctx: Context) -> str:
        with pytest.raises(CallFailedError) as caught:
            await ctx.call(bad)
        return caught.value.failure.type

    async with engine_of(bad, root) as engine:
        assert (await engine.run(root)).endswith(CodecError.__name__)


async def test_arguments_of_the_wrong_type_are_refused_at_the_door(engine_of: OpenEngine) -> None:
    async with engine_of(shout) as engine:
        with pytest.raises(InvalidArgumentsError, match=r"\$\.text"):
            await engine.run(shout, 3)  # type: ignore[arg-type]  # the point of the test
        assert (await engine.runs()).items == ()


async def test_a_large_result_is_stored_once_beside_the_journal(engine_of: OpenEngine) -> None:
    @task
    async def large(ctx: Context) -> str:
        return "x" * 100_000

    @task
    async def root(ctx: Context) -> int:
        return len(await ctx.call(large)) + len(await ctx.call(large))

    async with engine_of(large, root) as engine:
        run = await engine.start(root)
        assert await run == 200_000
        blobs = {r.blob async for r in run if r.kind == "succeeded"}
    assert len(blobs) == 1
    assert None not in blobs


async def test_a_cached_result_answers_other_runs(engine_of: OpenEngine) -> None:
    asked: list[int] = []

    @task(cache=timedelta(hours=1))
    async def look_up(ctx: Context, x: int) -> int:
        asked.append(x)
        return x

    @task
    async def root(ctx: Context, x: int) -> int:
        return await ctx.call(look_up, x)

    async with engine_of(look_up, root) as engine:
        assert [
            await engine.run(root, 1),
            await engine.run(root, 1),
            await engine.run(root, 2),
        ] == [1, 1, 2]
    assert asked == [1, 2]


async def test_events_are_emitted_once_however_often_the_code_runs(engine_of: OpenEngine) -> None:
    @task(retry=Retry(attempts=2, first=NOW))
    async def root(ctx: Context) -> None:
        ctx.emit("progress", {"done": 1})
        if ctx.attempt == 1:
            raise ValueError("once")

    async with engine_of(root) as engine:
        run = await engine.start(root)
        await run
        assert [r.name async for r in run if r.kind == "emitted"] == ["progress"]


async def test_the_state_of_a_finished_run_is_done(engine_of: OpenEngine) -> None:
    async with engine_of(shout) as engine:
        run = await engine.start(shout, "a")
        await run
        assert (await run.status()).state is State.DONE
