"""Identity and memory, rules 1 to 11: the histories that the rules prevent.

Most tests have two lives of one run: the first engine is drained while the task holds, the
second continues what it finds in the store, sometimes with changed code. A fork replays too.
"""

from __future__ import annotations

import gc
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import anyio
import anyio.lowlevel
import attrs
import pytest

from astro import (
    AmbiguousCallError,
    CallFailedError,
    Context,
    Effect,
    InvalidArgumentsError,
    Limits,
    LocalEngine,
    MemoryStore,
    Node,
    PermanentError,
    Retry,
    State,
    Workflow,
    task,
)
from astro.core.workflow import Input
from astro.testing.watched_store import WatchedStore
from tests.engine.conftest import OpenEngine
from tests.engine.hold import Hold

pytestmark = pytest.mark.anyio
NOW = timedelta(0)
BRIEF = 0.02
AGES = 30


@asynccontextmanager
async def first_life(
    engine_of: OpenEngine, hold: Hold, *parts: Any, **options: Any
) -> AsyncIterator[Any]:
    """Run the last part until it holds, give its handle, and drain; then let the next life pass."""
    async with engine_of(*parts) as engine:
        run = await engine.options(**options).start(parts[-1])
        with anyio.fail_after(5):
            await hold.reached.wait()
        yield run
        await engine.drain(NOW)
    hold.release()


@asynccontextmanager
async def second_life(engine_of: OpenEngine, run: Any, *parts: Any) -> AsyncIterator[Any]:
    """Continue a run with these parts, and give its handle."""
    async with engine_of(*parts) as engine:
        with anyio.fail_after(5):
            yield await engine.get(run.id)
        await engine.drain(NOW)


async def kinds_of(run: Any) -> list[str]:
    return [record.kind async for record in run.records(follow=False)]


async def until(run: Any, kind: str) -> None:
    """Return when the run has a record of a kind."""
    async for record in run.records():
        if record.kind == kind:
            return


@task
async def key_of(ctx: Context, item: str) -> str:
    return ctx.key


# --- Rule 1: identity ----------------------------------------------------------------------------


async def test_rule_01_two_calls_that_swap_places_keep_their_results(
    engine_of: OpenEngine,
) -> None:
    hold = Hold()
    done: list[str] = []

    @task
    async def work(ctx: Context, item: str) -> str:
        done.append(item)
        return f"{item} {len(done)}"

    @task(name="root")
    async def before(ctx: Context) -> list[str]:
        found = [await ctx.call(work, "a"), await ctx.call(work, "b")]
        await hold()
        return found

    @task(name="root")
    async def after(ctx: Context) -> list[str]:
        b = await ctx.call(work, "b")
        return [await ctx.call(work, "a"), b]

    async with first_life(engine_of, hold, work, before) as run:
        pass
    async with second_life(engine_of, run, work, after) as again:
        assert await again == ["a 1", "b 2"]
    assert done == ["a", "b"]


async def test_rule_01_a_parameter_that_gets_a_default_keeps_the_calls_of_before(
    engine_of: OpenEngine,
) -> None:
    hold = Hold()
    done: list[str] = []

    @task(name="work")
    async def old(ctx: Context, item: str) -> str:
        done.append(item)
        return f"old {item}"

    @task(name="work")
    async def new(ctx: Context, item: str, tone: str = "plain", marks: int = 0) -> str:
        done.append(item)
        return f"new {item}"

    @task(name="root")
    async def before(ctx: Context) -> str:
        found = await ctx.call(old, "a")
        await hold()
        return found

    @task(name="root")
    async def after(ctx: Context) -> str:
        return await ctx.call(new, item="a", tone="plain")

    async with first_life(engine_of, hold, old, before) as run:
        pass
    async with second_life(engine_of, run, new, after) as again:
        assert await again == "old a"
    assert done == ["a"]


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ({"a": 1, "b": 2}, {"b": 2, "a": 1}),
        ({"x": {"p", "q", "r"}}, {"x": {"r", "q", "p"}}),
        ([{"b": [1], "a": {}}], [{"a": {}, "b": [1]}]),
    ],
)
async def test_rule_01_the_order_of_keys_and_of_sets_makes_no_other_call(
    engine_of: OpenEngine, first: Any, second: Any
) -> None:
    hold = Hold()
    done: list[int] = []

    @task
    async def work(ctx: Context, items: Any) -> None:
        done.append(1)

    @task(name="root")
    async def before(ctx: Context) -> None:
        await ctx.call(work, first)
        await hold()

    @task(name="root")
    async def after(ctx: Context) -> None:
        await ctx.call(work, second)

    async with first_life(engine_of, hold, work, before) as run:
        pass
    async with second_life(engine_of, run, work, after) as again:
        await again
    assert done == [1]


@pytest.mark.parametrize(("one", "other"), [(1, True), (1, "1"), (0, None), ([], {})])
async def test_rule_01_arguments_of_other_types_are_other_calls(
    engine_of: OpenEngine, one: Any, other: Any
) -> None:
    done: list[Any] = []

    @task
    async def work(ctx: Context, item: Any) -> None:
        done.append(ctx.key.rpartition(".")[0])

    @task
    async def root(ctx: Context) -> None:
        await ctx.call(work, one)
        await ctx.call(work, other)

    async with engine_of(work, root) as engine:
        await engine.run(root)
    assert len(set(done)) == 2


async def test_rule_01_equal_calls_that_are_awaited_the_other_way_round_keep_their_results(
    engine_of: OpenEngine,
) -> None:
    hold = Hold()
    done: list[str] = []

    @task
    async def draw(ctx: Context) -> int:
        done.append(ctx.key)
        return len(done)

    @task(name="root")
    async def before(ctx: Context) -> list[int]:
        one, two = ctx.call(draw), ctx.call(draw)
        found = [await one, await two]
        await hold()
        return found

    @task(name="root")
    async def after(ctx: Context) -> list[int]:
        one, two = ctx.call(draw), ctx.call(draw)
        last = await two
        return [await one, last]

    async with first_life(engine_of, hold, draw, before) as run:
        pass
    async with second_life(engine_of, run, draw, after) as again:
        assert await again == [1, 2]


async def test_rule_01_equal_items_of_a_map_are_numbered_in_list_order(
    engine_of: OpenEngine,
) -> None:
    @task
    async def root(ctx: Context) -> list[str]:
        return await ctx.map(key_of, ["x", "y", "x", "x"], limit=1)

    async with engine_of(key_of, root) as engine:
        keys = await engine.run(root)
    assert [key[-1] for key in keys] == ["0", "0", "1", "2"]


async def test_rule_01_equal_items_of_a_map_keep_their_places_when_their_speed_changes(
    engine_of: OpenEngine,
) -> None:
    hold = Hold()
    slow = {"0"}
    done: list[str] = []

    @task
    async def work(ctx: Context, item: str) -> str:
        await anyio.sleep(BRIEF if ctx.key[-1] in slow else 0)
        done.append(ctx.key[-1])
        return ctx.key[-1]

    @task
    async def root(ctx: Context) -> list[str]:
        found = await ctx.map(work, ["x", "x"])
        await hold()
        return found

    async with first_life(engine_of, hold, work, root) as run:
        pass
    slow.clear()
    async with second_life(engine_of, run, work, root) as again:
        assert await again == ["0", "1"]
    assert done == ["1", "0"]


async def test_rule_01_a_map_takes_all_its_numbers_before_it_dispatches_anything(
    engine_of: OpenEngine,
) -> None:
    done: list[str] = []
    began, refused = anyio.Event(), anyio.Event()

    @task
    async def note(ctx: Context, item: str) -> None:
        done.append(item)
        began.set()
        await refused.wait()

    @task
    async def root(ctx: Context) -> None:
        async with anyio.create_task_group() as group:
            group.start_soon(ctx.map, note, ["same"])
            await began.wait()
            # The last item is somebody else's; one at a time, the first would have begun.
            with pytest.raises(AmbiguousCallError):
                await ctx.map(note, ["new", "same"], limit=1)
            refused.set()

    async with engine_of(note, root) as engine:
        await engine.run(root)
    assert done == ["same"]


# --- Rule 2: ambiguity ---------------------------------------------------------------------------


async def plain() -> str:
    return "plain"


VERBS: dict[str, Callable[[Any], Any]] = {
    "call": lambda ctx: ctx.call(key_of, "same"),
    "map": lambda ctx: ctx.map(key_of, ["same"]),
    "step": lambda ctx: ctx.step(plain),
    "sleep": lambda ctx: ctx.sleep(timedelta(milliseconds=1)),
    "ask": lambda ctx: ctx.ask("Same?", bool, timeout=timedelta(milliseconds=1), default=True),
}


async def told_apart(ctx: Context, verb: Callable[[Any], Any], *views: Context) -> str:
    """Use a verb in concurrent parts, each with a view; return which errors there were."""
    errors: list[str] = []

    async def part(view: Context) -> None:
        try:
            await verb(view)
        except AmbiguousCallError as error:
            errors.append(type(error).__name__)

    async with anyio.create_task_group() as group:
        for view in views:
            group.start_soon(part, view)
    return " ".join(errors)


@pytest.mark.parametrize("verb", VERBS)
async def test_rule_02_two_concurrent_parts_with_equal_verbs_are_told_so(
    engine_of: OpenEngine, verb: str
) -> None:
    @task
    async def root(ctx: Context) -> str:
        return await told_apart(ctx, VERBS[verb], ctx, ctx)

    async with engine_of(key_of, root) as engine:
        assert await engine.run(root) == "AmbiguousCallError"


@pytest.mark.parametrize("verb", VERBS)
async def test_rule_02_branches_tell_equal_verbs_apart(engine_of: OpenEngine, verb: str) -> None:
    @task
    async def root(ctx: Context) -> str:
        return await told_apart(ctx, VERBS[verb], ctx.branch("left"), ctx.branch("right"))

    async with engine_of(key_of, root) as engine:
        assert await engine.run(root) == ""


@pytest.mark.parametrize("verb", ["step", "sleep", "ask"])
async def test_rule_02_names_tell_equal_verbs_apart(engine_of: OpenEngine, verb: str) -> None:
    @task
    async def root(ctx: Context) -> str:
        views = ctx.options(name="left"), ctx.options(name="right")
        return await told_apart(ctx, VERBS[verb], *views)

    async with engine_of(root) as engine:
        assert await engine.run(root) == ""


@pytest.mark.parametrize(("names", "errors"), [(("", ""), 1), (("left", "right"), 0)])
async def test_rule_02_two_concurrent_readings_of_the_clock_need_names(
    engine_of: OpenEngine, names: tuple[str, str], errors: int
) -> None:
    @task
    async def root(ctx: Context) -> int:
        found: list[Exception] = []

        async def part(name: str) -> None:
            try:
                ctx.now(name)
            except AmbiguousCallError as error:
                found.append(error)
            await anyio.sleep(BRIEF)

        async with anyio.create_task_group() as group:
            for name in names:
                group.start_soon(part, name)
        return len(found)

    async with engine_of(root) as engine:
        assert await engine.run(root) == errors


async def test_rule_02_a_part_that_has_ended_does_not_hide_an_ambiguity(
    engine_of: OpenEngine,
) -> None:
    @task
    async def root(ctx: Context) -> str:
        errors: list[str] = []
        first, second, third = anyio.Event(), anyio.Event(), anyio.Event()

        async def bystander() -> None:
            await ctx.call(key_of, "other")
            first.set()
            await second.wait()

        async def left() -> None:
            await first.wait()
            await ctx.call(key_of, "same")
            second.set()
            await third.wait()

        async def right() -> None:
            try:
                await ctx.call(key_of, "same")
            except AmbiguousCallError as error:
                errors.append(type(error).__name__)
            third.set()

        async with anyio.create_task_group() as group:
            group.start_soon(left)
            async with anyio.create_task_group() as short:
                short.start_soon(bystander)
            await anyio.lowlevel.checkpoint()
            gc.collect()  # the bystander is gone, in every sense
            group.start_soon(right)
        return " ".join(errors)

    async with engine_of(key_of, root) as engine:
        assert await engine.run(root) == "AmbiguousCallError"


async def test_rule_02_two_branches_that_swap_their_speed_keep_their_results(
    engine_of: OpenEngine,
) -> None:
    hold = Hold()
    slow = ["left", "right"]
    done: list[str] = []

    @task
    async def draw(ctx: Context) -> int:
        done.append(ctx.key)
        return len(done)

    @task
    async def root(ctx: Context) -> dict[str, int]:
        found: dict[str, int] = {}

        async def part(name: str) -> None:
            if name == slow[0]:
                await anyio.sleep(BRIEF)
            found[name] = await ctx.branch(name).call(draw)

        async with anyio.create_task_group() as group:
            group.start_soon(part, "left")
            group.start_soon(part, "right")
        await hold()
        return found

    async with first_life(engine_of, hold, draw, root) as run:
        pass
    slow.reverse()
    async with second_life(engine_of, run, draw, root) as again:
        assert await again == {"left": 2, "right": 1}


async def test_rule_02_a_map_and_a_call_beside_it_do_not_meet(engine_of: OpenEngine) -> None:
    @task
    async def root(ctx: Context) -> int:
        keys: list[str] = []

        async def mapped() -> None:
            keys.extend(await ctx.map(key_of, ["same"]))

        async def called() -> None:
            keys.append(await ctx.call(key_of, "same"))

        async with anyio.create_task_group() as group:
            group.start_soon(mapped)
            group.start_soon(called)
        return len(set(keys))

    async with engine_of(key_of, root) as engine:
        assert await engine.run(root) == 2


async def test_rule_02_equal_nodes_of_a_workflow_do_not_meet(engine_of: OpenEngine) -> None:
    one, two = Node("one", key_of, {"item": "same"}), Node("two", key_of, {"item": "same"})
    flow = Workflow("flow", [one, two], output={"one": one, "two": two})
    async with engine_of(key_of, flow) as engine:
        keys = await engine.run(flow)
    assert keys["one"] != keys["two"]


# --- Rule 3: chance and the clock ----------------------------------------------------------------


async def test_rule_03_chance_is_the_same_after_a_restart(engine_of: OpenEngine) -> None:
    hold = Hold()
    seen: list[list[Any]] = []

    @task
    async def root(ctx: Context) -> None:
        seen.append([str(ctx.uuid("a")), [ctx.random("b").random() for _ in range(3)]])
        await hold()

    async with first_life(engine_of, hold, root) as run:
        pass
    async with second_life(engine_of, run, root) as again:
        await again
    assert len(seen) == 2
    assert seen[0] == seen[1]


async def test_rule_03_what_changed_code_draws_first_does_not_shift_the_rest(
    engine_of: OpenEngine,
) -> None:
    hold = Hold()
    seen: list[str] = []

    @task(name="root")
    async def before(ctx: Context) -> None:
        seen.append(str(ctx.uuid("a")))
        await hold()

    @task(name="root")
    async def after(ctx: Context) -> None:
        ctx.uuid("inserted")
        ctx.random("inserted").random()
        seen.append(str(ctx.uuid("a")))

    async with first_life(engine_of, hold, before) as run:
        pass
    async with second_life(engine_of, run, after) as again:
        await again
    assert seen[0] == seen[1]


async def test_rule_03_chance_leaves_nothing_in_the_journal(engine_of: OpenEngine) -> None:
    @task
    async def root(ctx: Context, draws: int) -> None:
        for n in range(draws):
            ctx.uuid(str(n))
            ctx.random(str(n)).random()

    async with engine_of(root) as engine:
        none, many = await engine.start(root, 0), await engine.start(root, 50)
        await none
        await many
        assert await kinds_of(none) == await kinds_of(many)


async def test_rule_03_two_calls_of_one_run_have_chances_of_their_own(
    engine_of: OpenEngine,
) -> None:
    @task
    async def draw(ctx: Context) -> str:
        return str(ctx.uuid("a"))

    @task
    async def root(ctx: Context) -> list[str]:
        return [await ctx.call(draw), await ctx.call(draw), str(ctx.uuid("a"))]

    async with engine_of(draw, root) as engine:
        assert len(set(await engine.run(root))) == 3


async def test_rule_03_the_clock_says_the_same_after_a_restart(engine_of: OpenEngine) -> None:
    hold = Hold()
    seen: list[datetime] = []

    @task
    async def root(ctx: Context) -> None:
        seen.append(ctx.now("begin"))
        await hold()

    async with first_life(engine_of, hold, root) as run:
        await anyio.sleep(0.002)
    async with second_life(engine_of, run, root) as again:
        await again
        noted = [r.moment async for r in again if r.kind == "noted"]
    assert seen[0] == seen[1]
    assert noted == [seen[0]]


# --- Rule 4: steps -------------------------------------------------------------------------------


def adding(extra: int) -> Callable[..., Any]:
    async def add(x: int) -> int:
        return x + extra

    return add


@pytest.mark.parametrize("fn", [lambda: plain(), adding(1)], ids=["lambda", "closure"])
async def test_rule_04_a_step_that_could_be_mistaken_for_another_is_refused(
    engine_of: OpenEngine, fn: Any
) -> None:
    @task
    async def root(ctx: Context) -> None:
        with pytest.raises(InvalidArgumentsError, match="name it"):
            ctx.step(fn)

    async with engine_of(root) as engine:
        await engine.run(root)


async def test_rule_04_closures_with_names_keep_their_results_when_they_swap_places(
    engine_of: OpenEngine,
) -> None:
    hold = Hold()

    @task(name="root")
    async def before(ctx: Context) -> list[int]:
        found = [await ctx.options(name=f"add {n}").step(adding(n), 0) for n in (1, 2)]
        await hold()
        return found

    @task(name="root")
    async def after(ctx: Context) -> list[int]:
        found = [await ctx.options(name=f"add {n}").step(adding(100 * n), 0) for n in (2, 1)]
        return found[::-1]

    async with first_life(engine_of, hold, before) as run:
        pass
    async with second_life(engine_of, run, after) as again:
        assert await again == [1, 2]


async def test_rule_04_a_function_of_its_own_needs_no_name(engine_of: OpenEngine) -> None:
    @task
    async def root(ctx: Context) -> str:
        return await ctx.step(plain)

    async with engine_of(root) as engine:
        run = await engine.start(root)
        assert await run == "plain"
        fork = await run.fork()
        assert await fork == "plain"


# --- Rule 5: live equals replayed ----------------------------------------------------------------


@attrs.frozen
class Article:
    title: str
    words: int = 0


@task
async def loose(ctx: Context) -> Any:
    return (1, [2, (3,)])


@task
async def measured(ctx: Context) -> float:
    return 1


@task
async def written(ctx: Context) -> Article:
    return Article("Fusion")


@task
async def numbered(ctx: Context) -> dict[int, str]:
    return {2: "b", 1: "a"}


@task
async def sets(ctx: Context) -> set[str]:
    return {"c", "a", "b"}


@task
async def dated(ctx: Context) -> datetime:
    return datetime(2024, 2, 29, 12, 30, 0, 7, tzinfo=UTC)


@pytest.mark.parametrize("part", [loose, measured, written, numbered, sets, dated])
async def test_rule_05_a_result_looks_the_same_live_and_replayed(
    engine_of: OpenEngine, part: Any
) -> None:
    seen: list[str] = []

    @task
    async def root(ctx: Context) -> None:
        value = await ctx.call(part)
        seen.append(f"{type(value).__name__} {sorted(value) if part is sets else value!r}")

    async with engine_of(part, root) as engine:
        run = await engine.start(root)
        await run
        await (await run.fork())
    assert len(seen) == 2
    assert seen[0] == seen[1]


async def test_rule_05_a_task_gets_what_the_arguments_were_when_it_was_asked_for(
    engine_of: OpenEngine,
) -> None:
    @task
    async def count(ctx: Context, items: list[int]) -> int:
        return len(items)

    @task
    async def root(ctx: Context) -> int:
        items = [1]
        asked = ctx.call(count, items)
        items.append(2)
        return await asked

    async with engine_of(count, root) as engine:
        assert await engine.run(root) == 1


async def test_rule_05_a_result_that_its_task_changes_later_stays_as_it_was(
    engine_of: OpenEngine,
) -> None:
    kept: list[int] = []

    @task
    async def give(ctx: Context) -> list[int]:
        kept.append(len(kept))
        return kept

    @task
    async def root(ctx: Context) -> list[list[int]]:
        return [await ctx.call(give), await ctx.call(give)]

    async with engine_of(give, root) as engine:
        assert await engine.run(root) == [[0], [0, 1]]


async def test_rule_05_the_arguments_of_a_run_are_nobodys_but_its_own(
    engine_of: OpenEngine,
) -> None:
    @task
    async def root(ctx: Context, items: list[int]) -> list[int]:
        items.append(2)
        return items

    mine = [1]
    async with engine_of(root) as engine:
        run = await engine.start(root, mine)
        mine.append(9)
        assert await run == [1, 2]
        assert await (await run.fork()) == [1, 2]


async def test_rule_05_who_changes_the_result_of_a_run_changes_his_own_copy(
    engine_of: OpenEngine,
) -> None:
    @task
    async def root(ctx: Context) -> list[int]:
        return [1]

    async with engine_of(root) as engine:
        run = await engine.start(root)
        (await run).append(2)
        assert await run == [1]


async def test_rule_05_items_of_a_map_do_not_share_what_they_are_given(
    engine_of: OpenEngine,
) -> None:
    @task
    async def add(ctx: Context, items: list[int]) -> list[int]:
        items.append(1)
        return items

    @task
    async def root(ctx: Context) -> list[list[int]]:
        shared: list[int] = []
        found = await ctx.map(add, [shared, shared])
        found[0].append(7)
        return [*found, shared]

    async with engine_of(add, root) as engine:
        assert await engine.run(root) == [[1, 7], [1], []]


async def test_rule_05_the_default_of_a_question_is_not_shared(engine_of: OpenEngine) -> None:
    default = [1]

    @task
    async def root(ctx: Context) -> list[int]:
        got = await ctx.ask("Which?", list[int], timeout=timedelta(milliseconds=1), default=default)
        got.append(2)
        return got

    async with engine_of(root) as engine:
        assert await engine.run(root) == [1, 2]
    assert default == [1]


async def test_rule_05_an_argument_that_equals_a_mutable_default_is_not_that_default(
    engine_of: OpenEngine,
) -> None:
    @task
    async def add(ctx: Context, n: int, items: list[int] = []) -> list[int]:  # noqa: B006
        items.append(n)
        return items

    @task
    async def root(ctx: Context) -> list[list[int]]:
        return [await ctx.call(add, n, []) for n in (1, 2)]

    async with engine_of(add, root) as engine:
        assert await engine.run(root) == [[1], [2]]


# --- Rule 6: failures ----------------------------------------------------------------------------


class DeclinedError(Exception):
    def __init__(self, code: int, names: Any = ()) -> None:
        super().__init__(code, names)
        self.code = code
        self.names = names


def failing(*raises: type[Exception]) -> Any:
    @task(raises=raises, retry=Retry(attempts=2, first=NOW))
    async def pay(ctx: Context) -> None:
        raise DeclinedError(51, ("ada", "bob"))

    return pay


def where_of(error: Exception) -> tuple[Any, ...]:
    """Return what is known of a failure, but for its encoded arguments."""
    failure = getattr(error, "failure", None)
    return () if failure is None else (failure.type, failure.message, failure.attempts)


@pytest.mark.parametrize("raises", [(), (DeclinedError,)], ids=["undeclared", "declared"])
async def test_rule_06_a_failure_looks_the_same_live_and_replayed(
    engine_of: OpenEngine, raises: tuple[type[Exception], ...]
) -> None:
    pay = failing(*raises)
    seen: list[str] = []

    @task
    async def root(ctx: Context) -> None:
        with pytest.raises(Exception, match="51") as caught:
            await ctx.call(pay)
        error = caught.value
        seen.append(f"{type(error).__name__} {error} {error.args} {where_of(error)}")

    hold = Hold()

    @task(name="root")
    async def held(ctx: Context) -> None:
        await root.fn(ctx)
        await hold()

    async with first_life(engine_of, hold, pay, held) as run:
        pass
    async with second_life(engine_of, run, pay, held) as again:
        await again
    assert len(seen) == 2
    assert seen[0] == seen[1]


async def test_rule_06_a_failure_carries_type_message_and_attempts(engine_of: OpenEngine) -> None:
    pay = failing()

    @task
    async def root(ctx: Context) -> list[Any]:
        with pytest.raises(CallFailedError) as caught:
            await ctx.call(pay)
        failure = caught.value.failure
        return [failure.type, failure.message, failure.attempts]

    async with engine_of(pay, root) as engine:
        kind, message, attempts = await engine.run(root)
    assert kind.endswith("DeclinedError")
    assert "51" in message
    assert attempts == 2


async def test_rule_06_a_declared_class_is_rebuilt_live_too(engine_of: OpenEngine) -> None:
    pay = failing(DeclinedError)

    @task
    async def root(ctx: Context) -> Any:
        with pytest.raises(DeclinedError) as caught:
            await ctx.call(pay)
        return [caught.value.code, type(caught.value.names).__name__]

    async with engine_of(pay, root) as engine:
        assert await engine.run(root) == [51, "list"]


async def test_rule_06_a_class_that_another_task_declares_is_not_raised(
    engine_of: OpenEngine,
) -> None:
    pay = failing(DeclinedError)

    @task
    async def between(ctx: Context) -> None:
        await ctx.call(pay)

    @task
    async def root(ctx: Context) -> str:
        with pytest.raises(CallFailedError) as caught:
            await ctx.call(between)
        return caught.value.failure.type.rpartition(".")[2]

    async with engine_of(pay, between, root) as engine:
        assert await engine.run(root) == "DeclinedError"


# --- Rule 7: resuming, and trying again ----------------------------------------------------------


def worker(done: list[str], name: str, **policy: Any) -> Any:
    @task(name=name, **policy)
    async def work(ctx: Context) -> int:
        done.append(name)
        return done.count(name)

    return work


def weak_once(done: list[str]) -> Any:
    @task
    async def weak(ctx: Context) -> str:
        done.append("weak")
        if done.count("weak") == 1:
            raise ValueError("once")
        return "strong"

    return weak


@pytest.mark.parametrize("effect", Effect)
async def test_rule_07_a_resumed_attempt_repeats_no_call_whatever_its_effect(
    engine_of: OpenEngine, effect: Effect
) -> None:
    hold = Hold()
    done: list[str] = []
    work = worker(done, "work", effect=effect)

    @task
    async def root(ctx: Context) -> int:
        found = await ctx.call(work)
        await hold()
        return found

    async with first_life(engine_of, hold, work, root) as run:
        pass
    async with second_life(engine_of, run, work, root) as again:
        assert await again == 1
    assert done == ["work"]


async def test_rule_07_a_resumed_attempt_sees_the_failure_it_saw(engine_of: OpenEngine) -> None:
    hold = Hold()
    done: list[str] = []
    weak = weak_once(done)

    @task
    async def root(ctx: Context) -> str:
        try:
            return await ctx.call(weak)
        except CallFailedError:
            await hold()
            return "failed"

    async with first_life(engine_of, hold, weak, root) as run:
        pass
    async with second_life(engine_of, run, weak, root) as again:
        assert await again == "failed"
    assert done == ["weak"]


@pytest.mark.parametrize(
    ("effect", "times"),
    [
        (Effect.READ, 2),
        (Effect.WRITE, 1),
        (Effect.IRREVERSIBLE, 1),
        (Effect.SPEND, 1),
        (Effect.EXECUTE, 1),
    ],
)
async def test_rule_07_a_new_attempt_repeats_successes_of_reads_only(
    engine_of: OpenEngine, effect: Effect, times: int
) -> None:
    done: list[str] = []
    work = worker(done, "work", effect=effect)

    @task(retry=Retry(attempts=2, first=NOW))
    async def root(ctx: Context) -> int:
        found = await ctx.call(work)
        if ctx.attempt == 1:
            raise ValueError("once")
        return found

    async with engine_of(work, root) as engine:
        assert await engine.run(root) == times


async def test_rule_07_a_new_attempt_asks_a_failed_call_again_but_not_what_it_had_done(
    engine_of: OpenEngine,
) -> None:
    done: list[str] = []
    work, weak = worker(done, "work"), weak_once(done)

    @task
    async def between(ctx: Context) -> str:
        await ctx.call(work)
        return await ctx.call(weak)

    @task(retry=Retry(attempts=2, first=NOW))
    async def root(ctx: Context) -> str:
        return await ctx.call(between)

    async with engine_of(work, weak, between, root) as engine:
        assert await engine.run(root) == "strong"
    assert done == ["work", "weak", "weak"]


async def test_rule_07_a_new_attempt_does_not_ask_a_person_again(engine_of: OpenEngine) -> None:
    @task(retry=Retry(attempts=2, first=NOW))
    async def root(ctx: Context) -> str:
        name = await ctx.ask("Who?", str)
        if ctx.attempt == 1:
            raise ValueError("once")
        return name

    async with engine_of(root) as engine:
        run = await engine.start(root)
        await until(run, "asked")
        await run.answer("ada")
        with anyio.fail_after(5):
            assert await run == "ada"
        assert (await kinds_of(run)).count("asked") == 1


async def test_rule_07_a_fresh_retry_that_is_cut_off_stays_fresh(engine_of: OpenEngine) -> None:
    hold = Hold()
    done: list[str] = []
    work = worker(done, "work")

    @task(retry=Retry(attempts=2, first=NOW, fresh=True))
    async def root(ctx: Context) -> int:
        if ctx.attempt == 2:
            await hold()
        found = await ctx.call(work)
        if ctx.attempt == 1:
            raise ValueError("once")
        return found

    async with first_life(engine_of, hold, work, root) as run:
        pass
    async with second_life(engine_of, run, work, root) as again:
        assert await again == 2


# --- Rule 8: what is kept before a body runs -----------------------------------------------------


async def kept_before(engine_of: OpenEngine, store_of: Callable[[], Any], effect: Effect) -> bool:
    """Return whether another process could see the start of a call while its body runs."""
    kept: list[bool] = []

    @task(effect=effect)
    async def launch(ctx: Context) -> None:
        async with store_of() as other:
            entries = await other.read(ctx.tenant, ctx.run_id, after=0, limit=100)
        kept.append(any('"task":"launch"' in e.body and "started" in e.body for e in entries))

    @task
    async def root(ctx: Context) -> None:
        await ctx.call(launch)

    async with engine_of(launch, root) as engine:
        await engine.run(root)
    return kept == [True]


@pytest.mark.parametrize("effect", [Effect.IRREVERSIBLE, Effect.SPEND, Effect.EXECUTE])
async def test_rule_08_another_process_sees_the_start_of_a_dangerous_call_while_it_runs(
    engine_of: OpenEngine, store_of: Callable[[], Any], effect: Effect
) -> None:
    assert await kept_before(engine_of, store_of, effect)


@pytest.mark.parametrize(
    ("effect", "more"),
    [
        (Effect.READ, 0),
        (Effect.WRITE, 0),
        (Effect.IRREVERSIBLE, 1),
        (Effect.SPEND, 1),
        (Effect.EXECUTE, 1),
    ],
)
async def test_rule_08_only_dangerous_starts_cost_a_commit_of_their_own(
    effect: Effect, more: int
) -> None:
    async def commits(effect: Effect) -> int:
        work = worker([], "work", effect=effect)

        @task
        async def root(ctx: Context) -> None:
            for _ in range(3):
                await ctx.call(work)

        store = WatchedStore(MemoryStore())
        async with LocalEngine(work, root, store=store) as engine:
            await engine.run(root)
        return store.commits

    # The least of some: the engine commits by itself what lies about for a while.
    cheap = min([await commits(Effect.WRITE) for _ in range(3)])
    assert min([await commits(effect) for _ in range(3)]) - cheap == 3 * more


# --- Rule 9: abandoned calls ---------------------------------------------------------------------


def slowly(done: list[str], *, first: float = AGES) -> Any:
    """Return a task that takes ages the first time and no time later."""

    @task
    async def slow(ctx: Context, item: str = "") -> str:
        done.append(f"slow {item}".strip())
        if len(done) == 1:
            await anyio.sleep(first)
        return "slow"

    return slow


async def test_rule_09_a_call_that_was_given_up_is_not_revived_by_a_restart(
    engine_of: OpenEngine,
) -> None:
    hold = Hold()
    done: list[str] = []
    slow = slowly(done)

    @task
    async def root(ctx: Context) -> str:
        found = "gave up"
        with anyio.move_on_after(BRIEF):
            found = await ctx.call(slow)
        await hold()
        return found

    async with first_life(engine_of, hold, slow, root) as run:
        pass
    async with second_life(engine_of, run, slow, root) as again:
        assert await again == "gave up"
    assert done == ["slow"]


async def test_rule_09_the_winner_of_a_race_wins_again_after_a_restart(
    engine_of: OpenEngine,
) -> None:
    hold = Hold()
    done: list[str] = []
    slow = slowly(done)

    @task
    async def quick(ctx: Context) -> str:
        return "quick"

    @task
    async def root(ctx: Context) -> list[str]:
        finished: list[str] = []

        async def racer(call: Any) -> None:
            finished.append(await call)
            group.cancel_scope.cancel()

        async with anyio.create_task_group() as group:
            group.start_soon(racer, ctx.call(slow))
            group.start_soon(racer, ctx.call(quick))
        await hold()
        return finished

    async with first_life(engine_of, hold, slow, quick, root) as run:
        pass
    async with second_life(engine_of, run, slow, quick, root) as again:
        assert await again == ["quick"]
    assert done == ["slow"]


async def test_rule_09_an_abandonment_is_kept_no_later_than_what_follows(
    engine_of: OpenEngine,
) -> None:
    slow = slowly([])

    @task
    async def root(ctx: Context) -> None:
        with anyio.move_on_after(BRIEF):
            await ctx.call(slow)
        await ctx.call(key_of, "next")

    async with engine_of(slow, key_of, root) as engine:
        run = await engine.start(root)
        await run
        kinds = await kinds_of(run)
    assert kinds.index("abandoned") < kinds.index("succeeded")


async def test_rule_09_a_failed_item_of_a_map_is_found_before_an_abandoned_one(
    engine_of: OpenEngine,
) -> None:
    hold = Hold()
    done: list[str] = []
    wide = [2]

    @task
    async def work(ctx: Context, item: str) -> str:
        done.append(item)
        if item == "bad":
            raise PermanentError("no")
        await anyio.sleep(AGES)
        return item

    @task
    async def root(ctx: Context) -> str:
        # One at a time, an abandoned first item would be waited for, for ever.
        try:
            await ctx.map(work, ["slow", "bad"], limit=wide[0])
        except CallFailedError:
            await hold()
            return "failed"
        return "done"

    async with first_life(engine_of, hold, work, root) as run:
        pass
    wide[0] = 1
    async with second_life(engine_of, run, work, root) as again:
        assert await again == "failed"
    assert done == ["slow", "bad"]


async def test_rule_09_what_an_abandoned_call_had_asked_for_is_not_revived(
    engine_of: OpenEngine,
) -> None:
    hold = Hold()
    done: list[str] = []
    slow = slowly(done)

    @task
    async def between(ctx: Context) -> str:
        return await ctx.call(slow)

    @task
    async def root(ctx: Context) -> str:
        found = "gave up"
        with anyio.move_on_after(BRIEF):
            found = await ctx.call(between)
        await hold()
        return found

    async with first_life(engine_of, hold, slow, between, root) as run:
        pass
    async with second_life(engine_of, run, slow, between, root) as again:
        assert await again == "gave up"
    assert done == ["slow"]


async def test_rule_09_a_question_that_was_given_up_is_not_open_any_more(
    engine_of: OpenEngine,
) -> None:
    hold = Hold()

    @task
    async def root(ctx: Context) -> None:
        with anyio.move_on_after(BRIEF):
            await ctx.ask("Go on?", bool)
        await hold()

    async with first_life(engine_of, hold, root) as run:
        await until(run, "abandoned")
        with pytest.raises(InvalidArgumentsError, match="none is open"):
            await run.answer(True)


async def test_rule_09_an_answer_to_a_question_that_was_given_up_changes_nothing_that_followed(
    engine_of: OpenEngine,
) -> None:
    hold = Hold()

    @task
    async def root(ctx: Context) -> str:
        with anyio.move_on_after(BRIEF):
            await ctx.ask("Go on?", bool)
            return "answered"
        await hold()
        return "gave up"

    async with first_life(engine_of, hold, root) as run:
        await run.answer(True)  # in the inbox before the abandonment is kept
    async with second_life(engine_of, run, root) as again:
        assert await again == "gave up"


async def test_rule_09_a_nap_that_was_given_up_is_not_over_after_a_restart(
    engine_of: OpenEngine,
) -> None:
    hold = Hold()

    @task
    async def root(ctx: Context) -> str:
        with anyio.move_on_after(BRIEF):
            await ctx.sleep(timedelta(seconds=3 * BRIEF))
            return "slept"
        await hold()
        return "gave up"

    async with first_life(engine_of, hold, root) as run:
        await anyio.sleep(4 * BRIEF)  # by now it would be over
    async with second_life(engine_of, run, root) as again:
        assert await again == "gave up"


async def test_rule_09_a_child_run_nobody_waits_for_any_more_is_not_waited_for_again(
    engine_of: OpenEngine,
) -> None:
    hold = Hold()

    @task
    async def child(ctx: Context) -> str:
        await anyio.sleep(2 * BRIEF)
        return "child"

    @task
    async def root(ctx: Context) -> str:
        with anyio.move_on_after(BRIEF):
            return await (await ctx.start(child))
        await hold()
        return "gave up"

    async with first_life(engine_of, hold, child, root) as run:
        await anyio.sleep(4 * BRIEF)  # by now the child has ended
    async with second_life(engine_of, run, child, root) as again:
        assert await again == "gave up"


async def test_rule_09_a_call_that_was_given_up_in_the_queue_is_not_dispatched_after_a_restart(
    engine_of: OpenEngine,
) -> None:
    hold = Hold()
    done: list[str] = []

    @task
    async def busy(ctx: Context) -> None:
        await anyio.sleep(2 * BRIEF)

    @task
    async def late(ctx: Context) -> str:
        done.append("late")
        return "late"

    @task
    async def root(ctx: Context) -> str:
        found: list[str] = []

        async def impatient() -> None:
            with anyio.move_on_after(BRIEF):
                found.append(await ctx.call(late))

        async with anyio.create_task_group() as group:
            group.start_soon(ctx.call, busy)
            await anyio.lowlevel.checkpoint()
            group.start_soon(impatient)
        await hold()
        return " ".join(found) or "gave up"

    one = Limits(attempts=1)
    async with engine_of(busy, late, root, limits=one) as engine:
        run = await engine.start(root)
        with anyio.fail_after(5):
            await hold.reached.wait()
        assert done == []
        await engine.drain(NOW)
    hold.release()
    async with second_life(engine_of, run, busy, late, root) as again:
        assert await again == "gave up"
    assert done == []


async def test_rule_09_a_call_that_a_drain_cuts_off_is_not_abandoned(
    engine_of: OpenEngine,
) -> None:
    hold = Hold()
    done: list[str] = []

    @task
    async def work(ctx: Context) -> str:
        done.append("work")
        await hold()
        return "worked"

    @task
    async def root(ctx: Context) -> str:
        return await ctx.call(work)

    async with first_life(engine_of, hold, work, root) as run:
        pass
    async with second_life(engine_of, run, work, root) as again:
        assert await again == "worked"
        assert "abandoned" not in await kinds_of(again)
    assert done == ["work", "work"]


# --- Rule 10: divergence -------------------------------------------------------------------------


@task
async def work(ctx: Context, item: str) -> str:
    return item


def launching(launched: list[str], **policy: Any) -> Any:
    @task(**(policy or {"effect": Effect.IRREVERSIBLE}))
    async def launch(ctx: Context, what: str) -> None:
        launched.append(what)

    return launch


async def take_back(ctx: Context, result: None, what: str) -> None: ...


async def test_rule_10_an_abandoned_call_that_is_not_asked_for_again_is_no_divergence(
    engine_of: OpenEngine,
) -> None:
    hold = Hold()
    slow = slowly([])

    @task(name="root")
    async def before(ctx: Context) -> None:
        with anyio.move_on_after(BRIEF):
            await ctx.call(slow)
        await hold()

    @task(name="root")
    async def after(ctx: Context) -> str:
        return await ctx.call(work, "new")

    async with first_life(engine_of, hold, slow, before) as run:
        pass
    async with second_life(engine_of, run, slow, work, after) as again:
        assert await again == "new"
        assert "diverged" not in await kinds_of(again)


async def test_rule_10_an_unfinished_call_that_is_not_asked_for_again_is_no_divergence(
    engine_of: OpenEngine,
) -> None:
    hold = Hold()
    launched: list[str] = []
    launch = launching(launched)

    @task
    async def unfinished(ctx: Context) -> None:
        await hold()

    @task(name="root")
    async def before(ctx: Context) -> None:
        await ctx.call(unfinished)

    @task(name="root")
    async def after(ctx: Context) -> None:
        await ctx.call(launch, "new")

    async with first_life(engine_of, hold, unfinished, before) as run:
        pass
    async with second_life(engine_of, run, unfinished, launch, after) as again:
        await again
        assert "diverged" not in await kinds_of(again)
    assert launched == ["new"]


@pytest.mark.parametrize(
    ("policy", "strict"),
    [
        ({"effect": Effect.IRREVERSIBLE}, False),
        ({"effect": Effect.SPEND}, False),
        ({"undo": take_back}, False),
        ({"effect": Effect.WRITE}, True),
        ({"effect": Effect.READ}, True),
    ],
    ids=["irreversible", "spend", "undo", "strict write", "strict read"],
)
async def test_rule_10_changed_code_begins_nothing_of_consequence_before_somebody_has_looked(
    engine_of: OpenEngine, policy: dict[str, Any], strict: bool
) -> None:
    hold = Hold()
    launched: list[str] = []
    launch = launching(launched, **policy)

    @task(name="root")
    async def before(ctx: Context) -> None:
        await ctx.call(work, "old")
        await hold()

    @task(name="root")
    async def after(ctx: Context) -> None:
        await ctx.call(launch, "new")

    async with first_life(engine_of, hold, launch, work, before, strict=strict) as run:
        old = [r.call async for r in run.records(follow=False) if r.kind == "started"][-1]
    async with second_life(engine_of, run, launch, work, after) as again:
        await until(again, "parked")
        assert launched == []
        assert (await again.status()).state is State.PARKED
        assert [r.missing async for r in again.records(follow=False) if r.kind == "diverged"] == [
            (old,)
        ]
        await again.resume()
        await again
    assert launched == ["new"]


async def test_rule_10_a_divergence_nobody_accepted_is_not_accepted_by_a_restart(
    engine_of: OpenEngine,
) -> None:
    hold = Hold()
    launched: list[str] = []
    launch = launching(launched)

    @task(name="root")
    async def before(ctx: Context) -> None:
        await ctx.call(launch, "old")
        await hold()

    @task(name="root")
    async def after(ctx: Context) -> None:
        await ctx.call(launch, "new")

    async with first_life(engine_of, hold, launch, before) as run:
        pass
    async with second_life(engine_of, run, launch, after) as again:
        await until(again, "parked")
    async with second_life(engine_of, run, launch, after) as again:
        await anyio.sleep(0.1)
        assert launched == ["old"]
        assert (await again.status()).state is State.PARKED


async def test_rule_10_a_divergence_that_was_accepted_is_not_asked_about_again(
    engine_of: OpenEngine,
) -> None:
    hold, later = Hold(), Hold()
    launched: list[str] = []
    launch = launching(launched)

    @task(name="root")
    async def before(ctx: Context) -> None:
        await ctx.call(launch, "old")
        await hold()

    @task(name="root")
    async def after(ctx: Context) -> None:
        await ctx.call(launch, "new")
        await later()
        await ctx.call(launch, "newer")

    async with first_life(engine_of, hold, launch, before) as run:
        pass
    async with second_life(engine_of, run, launch, after) as again:
        await until(again, "parked")
        await again.resume()
        await later.reached.wait()
    later.release()
    async with second_life(engine_of, run, launch, after) as again:
        await again
    assert launched == ["old", "new", "newer"]


async def ask_after(ctx: Context, launch: Any, pause: Callable[[], Any]) -> None:
    """Ask for something new, and beside it, a little later, for what is remembered."""

    async def other() -> None:
        await pause()
        await ctx.call(work, "old")

    async with anyio.create_task_group() as group:
        group.start_soon(ctx.call, launch, "new")
        group.start_soon(other)


async def test_rule_10_a_new_call_is_not_blamed_for_what_is_asked_for_beside_it(
    engine_of: OpenEngine,
) -> None:
    hold = Hold()
    launched: list[str] = []
    launch = launching(launched)

    @task(name="root")
    async def before(ctx: Context) -> None:
        await ctx.call(work, "old")
        await hold()

    @task(name="root")
    async def after(ctx: Context) -> None:
        await ask_after(ctx, launch, anyio.lowlevel.checkpoint)

    async with first_life(engine_of, hold, launch, work, before) as run:
        pass
    async with second_life(engine_of, run, launch, work, after) as again:
        await again
        assert "diverged" not in await kinds_of(again)
    assert launched == ["new"]


async def test_rule_10_a_run_that_was_judged_too_early_goes_on_by_itself(
    engine_of: OpenEngine,
) -> None:
    hold, late = Hold(), anyio.Event()
    launched: list[str] = []
    launch = launching(launched)

    @task(name="root")
    async def before(ctx: Context) -> None:
        await ctx.call(work, "old")
        await hold()

    @task(name="root")
    async def after(ctx: Context) -> None:
        await ask_after(ctx, launch, late.wait)

    async with first_life(engine_of, hold, launch, work, before) as run:
        pass
    async with second_life(engine_of, run, launch, work, after) as again:
        await until(again, "parked")  # nothing was asked for, so something seems to be missing
        assert launched == []
        late.set()
        await again
    assert launched == ["new"]


# --- Rule 11: definitions ------------------------------------------------------------------------


class Items:
    """A task that notes its items, and holds the run at one of them."""

    def __init__(self, at: int) -> None:
        self.hold = Hold()
        self.done: list[int] = []

        @task
        async def item(ctx: Context, number: int) -> int:
            self.done.append(number)
            if number == at:
                await self.hold()
            return 2 * number

        self.task = item


def each(items: Items, numbers: list[int]) -> Workflow:
    node = Node("each", items.task, {"number": "{{ item }}"}, for_each="{{ numbers }}")
    return Workflow(
        "flow", [node], inputs=[Input("numbers", list[int], default=numbers)], output=node
    )


async def test_rule_11_a_list_that_an_edited_file_changes_stays_the_list_of_its_run(
    engine_of: OpenEngine,
) -> None:
    items = Items(at=3)
    before, after = each(items, [1, 2, 3]), each(items, [7, 8])
    async with first_life(engine_of, items.hold, items.task, before) as run:
        pass
    async with second_life(engine_of, run, items.task, after) as again:
        assert await again == [2, 4, 6]
    async with engine_of(items.task, after) as engine:
        assert await engine.run(after) == [14, 16]


async def test_rule_11_a_node_that_an_edited_file_lacks_still_belongs_to_its_run(
    engine_of: OpenEngine,
) -> None:
    items = Items(at=1)
    first = Node("first", items.task, {"number": 1})
    second = Node("second", items.task, {"number": 2}, after=[first])
    before = Workflow("flow", [first, second], output=second)
    after = Workflow("flow", [first], output=first)
    async with first_life(engine_of, items.hold, items.task, before) as run:
        pass
    async with second_life(engine_of, run, items.task, after) as again:
        assert await again == 4
        assert "diverged" not in await kinds_of(again)


async def test_rule_11_a_definition_is_known_by_its_hash(engine_of: OpenEngine) -> None:
    items = Items(at=0)
    async with engine_of(items.task, each(items, [1])) as engine:
        run = await engine.start(each(items, [1]))
        await run
        same = [r async for r in run][0].workflow
    async with engine_of(items.task, each(items, [2])) as engine:
        run = await engine.start(each(items, [2]))
        await run
        other = [r async for r in run][0].workflow
    assert same == each(items, [1]).digest
    assert same != other


async def test_rule_11_equal_items_are_told_apart_by_number(engine_of: OpenEngine) -> None:
    node = Node("each", key_of, {"item": "{{ item }}"}, for_each=["x", "y", "x"])
    flow = Workflow("flow", [node], output=node)
    async with engine_of(key_of, flow) as engine:
        keys = await engine.run(flow)
    assert [key[-1] for key in keys] == ["0", "0", "1"]
    assert len(set(keys)) == 3


async def test_rule_11_the_list_of_a_node_is_kept_before_its_first_item(
    engine_of: OpenEngine,
) -> None:
    items = Items(at=1)
    flow = each(items, [1, 2])
    async with first_life(engine_of, items.hold, items.task, flow) as run:
        pass
    async with second_life(engine_of, run, items.task, flow) as again:
        assert await again == [2, 4]
        records = [r async for r in again]
    listed = [r.call for r in records if r.kind == "started" and r.task == "for_each"]
    kept = [r.seq for r in records if r.kind == "succeeded" and r.call in listed]
    begun = [r.seq for r in records if r.kind == "started" and r.task == "item"]
    assert len(kept) == 1
    assert kept[0] < min(begun)
