"""Agents that misbehave harm their call at most: others take over, the engine goes on.

Bodies that do the like are the matter of `tests/engine/test_hostile_bodies.py`.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import suppress
from datetime import timedelta
from typing import Any

import anyio
import pytest

from astro import AstroError, CallFailedError, Context, PermanentError, Retry, agent, task
from tests.engine.conftest import OpenEngine
from tests.hostile_agents.agents import Behaviour, Hostile, as_function, good, hostile, root
from tests.telling import Tell

pytestmark = pytest.mark.anyio
on_asyncio = pytest.mark.parametrize("where", ["memory-asyncio", "sqlite-asyncio"], indirect=True)
KIND = "worked on [1, 2]"


# --- What hangs, and what does not let itself be stopped -----------------------------------------


async def hangs(ctx: Context, items: list[int]) -> str:
    await anyio.sleep_forever()
    return "never"


async def hangs_in_a_call(ctx: Context, items: list[int]) -> str:
    await ctx.sleep(timedelta(days=1))
    return "never"


async def swallows(ctx: Context, items: list[int]) -> str:
    try:
        await anyio.sleep_forever()
    except BaseException:  # what is wrong with it
        return "swallowed"
    return "never"


async def ignores_for_a_while(ctx: Context, items: list[int]) -> str:
    end = time.monotonic() + 0.4
    while time.monotonic() < end:
        try:
            await asyncio.sleep(0.05)
        except asyncio.CancelledError:
            continue
    return "late"


async def takes_its_cancellation_back(ctx: Context, items: list[int]) -> str:
    try:
        await anyio.sleep_forever()
    except asyncio.CancelledError:
        me = asyncio.current_task()
        assert me is not None
        me.uncancel()
    return "uncancelled"


async def computes(ctx: Context, items: list[int]) -> str:
    end = time.perf_counter() + 0.3
    while time.perf_counter() < end:
        sum(range(1_000))
    return "computed"


# --- What raises ---------------------------------------------------------------------------------


class OddError(BaseException):
    """Nobody catches it who catches what is an Exception."""


def raises(make: Callable[[], BaseException]) -> Behaviour:
    async def behaviour(ctx: Context, items: list[int]) -> str:
        raise make()

    return behaviour


def a_deep_group() -> BaseException:
    error: Exception = ValueError("bottom")
    for _ in range(200):
        error = ExceptionGroup("deeper", [error])
    return error


def a_long_chain() -> BaseException:
    error = ValueError("bottom")
    for _ in range(2_000):
        above = ValueError("above")
        above.__cause__ = error
        error = above
    return error


class OddArgumentsError(Exception):
    """Its arguments are nothing that could be kept."""

    def __init__(self) -> None:
        super().__init__(object(), float("nan"), b"\xff", "\ud800")


class OddWaitError(Exception):
    """Asks for a wait that is none."""

    retry_after = float("nan")


MENDED_BY_ANOTHER: dict[str, Behaviour] = {
    "hangs": hangs,
    "hangs in a call": hangs_in_a_call,
    "raises a group": raises(lambda: ExceptionGroup("many", [OSError("a"), ValueError("b")])),
    "raises a deep group": raises(a_deep_group),
    "raises a long chain": raises(a_long_chain),
    "raises a megabyte": raises(lambda: OSError("x" * 1_000_000)),
    "raises odd arguments": raises(OddArgumentsError),
    "raises an odd wait": raises(OddWaitError),
    "raises MemoryError": raises(MemoryError),
    "raises RecursionError": raises(RecursionError),
    "raises StopIteration": raises(lambda: StopIteration(1)),
    "raises StopAsyncIteration": raises(StopAsyncIteration),
}
ENDS_ITS_CALL: dict[str, tuple[Behaviour, str]] = {
    "SystemExit": (raises(lambda: SystemExit(3)), "AstroError after 1"),
    "GeneratorExit": (raises(GeneratorExit), "AstroError after 1"),
    "a base exception": (raises(OddError), "AstroError after 1"),
    "a base group": (
        raises(lambda: BaseExceptionGroup("g", [SystemExit(3), OddError()])),
        "AstroError after 1",
    ),
    "a permanent error": (raises(lambda: PermanentError("no")), "PermanentError after 1"),
}
kinds = pytest.mark.parametrize("kind", [Hostile, as_function], ids=["class", "function"])


@kinds
@pytest.mark.parametrize("name", MENDED_BY_ANOTHER)
async def test_another_agent_takes_over_from_one_that(
    engine_of: OpenEngine, kind: Callable[[Behaviour], Any], name: str
) -> None:
    async with hostile(engine_of, kind(MENDED_BY_ANOTHER[name])) as engine:
        assert await engine.run(root, [1, 2]) == [KIND, [1, 2]]


@kinds
@pytest.mark.parametrize("name", ENDS_ITS_CALL)
async def test_a_call_fails_for_good_when_its_agent_raises(
    engine_of: OpenEngine, kind: Callable[[Behaviour], Any], name: str
) -> None:
    behaviour, said = ENDS_ITS_CALL[name]
    async with hostile(engine_of, kind(behaviour)) as engine:
        assert await engine.run(root, [1, 2]) == [said, [1, 2]]


@on_asyncio
@pytest.mark.parametrize(
    ("behaviour", "said"),
    [
        (swallows, "swallowed"),
        (ignores_for_a_while, "late"),
        (takes_its_cancellation_back, "uncancelled"),
        (computes, "computed"),
    ],
)
async def test_an_agent_that_does_not_heed_its_time_out_is_waited_for(
    engine_of: OpenEngine, behaviour: Behaviour, said: str
) -> None:
    async with hostile(engine_of, Hostile(behaviour)) as engine:
        assert await engine.run(root, [1, 2]) == [said, [1, 2]]


@on_asyncio
async def test_closing_waits_no_longer_than_an_agent_ignores_its_cancellation(
    engine_of: OpenEngine,
) -> None:
    begun = anyio.Event()

    async def ignores(ctx: Context, items: list[int]) -> str:
        begun.set()
        return await ignores_for_a_while(ctx, items)

    with anyio.fail_after(5):
        async with engine_of(root, Hostile(ignores), grace=timedelta(0)) as engine:
            run = await engine.start(root, [1, 2])
            await begun.wait()
    async with hostile(engine_of) as engine:
        assert await (await engine.get(run.id)) == [KIND, [1, 2]]


# --- What returns something else -----------------------------------------------------------------


def returns(make: Callable[[], Any]) -> Behaviour:
    async def behaviour(ctx: Context, items: list[int]) -> Any:
        return make()

    return behaviour


async def stream() -> AsyncIterator[int]:
    yield 1


def numbers() -> Iterator[int]:
    yield 1


NO_RESULTS: dict[str, Callable[[], Any]] = {
    "100 megabytes of text": lambda: "x" * 100_000_000,
    "100 megabytes of bytes": lambda: b"x" * 100_000_000,
    "an object": object,
    "a function": lambda: numbers,
    "a generator": numbers,
    "an async generator": stream,
    "an exception": lambda: ValueError("x"),
    "a number that is none": lambda: float("nan"),
    "half a character": lambda: "\ud800",
    "nothing": lambda: None,
    "a class": lambda: int,
}


@pytest.mark.parametrize("name", NO_RESULTS)
async def test_a_call_fails_when_its_agent_returns(engine_of: OpenEngine, name: str) -> None:
    async with hostile(engine_of, Hostile(returns(NO_RESULTS[name]))) as engine:
        assert await engine.run(root, [1, 2]) == ["CodecError after 1", [1, 2]]


async def test_a_call_fails_when_its_agent_returns_a_coroutine(engine_of: OpenEngine) -> None:
    made: list[Any] = []

    async def forgot_to_await() -> str:
        return "x"

    def make() -> Any:
        made.append(forgot_to_await())
        return made[-1]

    async with hostile(engine_of, Hostile(returns(make))) as engine:
        assert await engine.run(root, [1, 2]) == ["CodecError after 1", [1, 2]]
    for one in made:
        one.close()


async def test_a_list_that_contains_itself_is_no_result(engine_of: OpenEngine) -> None:
    @task
    async def endless(ctx: Context) -> list[Any]:
        found: list[Any] = []
        found.append(found)
        return found

    @task
    async def asks(ctx: Context) -> str:
        with pytest.raises(CallFailedError, match="CodecError"):
            await ctx.call(endless)
        return "handled"

    async with hostile(engine_of, endless, asks) as engine:
        assert await engine.run(asks) == "handled"


async def test_an_agent_that_changes_its_arguments_changes_nobody_elses(
    engine_of: OpenEngine,
) -> None:
    async def changes(ctx: Context, items: list[int]) -> str:
        items.clear()
        raise OSError("after the harm was done")

    async with hostile(engine_of, Hostile(changes)) as engine:
        run = await engine.start(root, [1, 2])
        assert await run == [KIND, [1, 2]]
        kept = [one.args async for one in run if one.kind == "started" and one.task == "work"]
    assert bytes(kept[0]) == b'{"items":[1,2]}'


# --- What leaves something behind ----------------------------------------------------------------


@on_asyncio
async def test_a_task_that_an_agent_leaves_behind_harms_nobody(engine_of: OpenEngine) -> None:
    left: list[asyncio.Task[Any]] = []
    ended: list[str] = []

    async def later(ctx: Context) -> None:
        try:
            await ctx.sleep(timedelta(seconds=0.05))
            await ctx.sleep(timedelta(days=1))
        except BaseException as error:
            ended.append(type(error).__name__)
            raise

    async def leaves(ctx: Context, items: list[int]) -> str:
        left.append(asyncio.create_task(later(ctx)))
        return "left"

    async with hostile(engine_of, Hostile(leaves)) as engine:
        assert await engine.run(root, [1, 2]) == ["left", [1, 2]]
        with anyio.fail_after(2):
            await asyncio.wait(left)
    assert ended == ["RunSuspended"]
    assert [type(one.exception()).__name__ for one in left] == ["RunSuspended"]


@on_asyncio
async def test_tasks_that_agents_leave_behind_do_not_keep_an_engine_open(
    engine_of: OpenEngine,
) -> None:
    left: list[asyncio.Task[Any]] = []

    async def leaves(ctx: Context, items: list[int]) -> str:
        left.extend(asyncio.create_task(asyncio.sleep(3_600)) for _ in range(100))
        return "left"

    with anyio.fail_after(5):
        async with engine_of(root, Hostile(leaves)) as engine:
            assert await engine.run(root, [1, 2]) == ["left", [1, 2]]
    assert not any(one.done() for one in left)
    for one in left:
        one.cancel()
    await asyncio.wait(left)


# --- Very many ----------------------------------------------------------------------------------


@pytest.mark.slow
async def test_five_thousand_failing_calls_are_told_and_end(
    engine_of: OpenEngine, tell: Tell
) -> None:
    @task(retry=Retry(attempts=1))
    async def breaks(ctx: Context, number: int) -> int:
        raise OSError(f"storm {number}")

    @task
    async def storm(ctx: Context, count: int) -> int:
        failed = 0

        async def one(number: int) -> None:
            nonlocal failed
            try:
                await ctx.call(breaks, number)
            except CallFailedError:
                failed += 1

        for first in range(0, count, 500):
            async with anyio.create_task_group() as group:
                for number in range(first, first + 500):
                    group.start_soon(one, number)
        return failed

    began = time.perf_counter()
    async with hostile(engine_of, breaks, storm) as engine:
        assert await engine.run(storm, 5_000) == 5_000
    took = time.perf_counter() - began
    tell("a storm", failing_calls=5_000, per_second=f"{5_000 / took:.0f}")


# --- What does not hold yet ----------------------------------------------------------------------


class NoWordsError(Exception):
    """Cannot say what is wrong."""

    def __str__(self) -> str:
        raise ValueError("no words")


class NeverInitialisedError(PermanentError):
    """Forgets to initialise what it is made of."""

    def __init__(self) -> None:
        pass


class NoAnswerError(Exception):
    """Cannot say how long to wait."""

    @property
    def retry_after(self) -> float:
        raise RuntimeError("no idea")


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (NoWordsError, KIND),
        (NeverInitialisedError, "NeverInitialisedError after 1"),
        (NoAnswerError, KIND),
    ],
)
async def test_an_error_that_raises_when_it_is_looked_at_is_a_failure_like_any_other(
    engine_of: OpenEngine, make: type[Exception], said: str
) -> None:
    async with hostile(engine_of, Hostile(raises(make))) as engine:
        assert await engine.run(root, [1, 2]) == [said, [1, 2]]


async def test_another_agent_takes_over_from_one_that_failed_before_a_restart(
    engine_of: OpenEngine,
) -> None:
    @task(needs_agent=True, retry=Retry(attempts=2, first=timedelta(seconds=0.3)))
    async def patient(ctx: Context) -> str: ...

    async def fails(ctx: Context) -> str:
        raise OSError("out of order")

    async def works(ctx: Context) -> str:
        return "worked"

    cheap = agent(patient, name="cheap", cost=0.1)(fails)
    dear = agent(patient, name="dear")(works)
    with anyio.fail_after(10):
        async with engine_of(cheap, dear) as engine:
            run = await engine.start(patient)
            async for record in run:
                if record.kind == "attempt_failed":
                    break
        async with engine_of(cheap, dear) as engine:
            assert await (await engine.get(run.id)) == "worked"


class PickyError(Exception):
    """Cannot be made again from what is kept of it."""

    def __init__(self, code: str) -> None:
        if code != "x":
            raise ValueError("unknown code")
        super().__init__(f"declined: {code}")


async def test_a_declared_error_that_cannot_be_made_again_is_raised_all_the_same(
    engine_of: OpenEngine,
) -> None:
    @task(raises=(PickyError,))
    async def declines(ctx: Context) -> None:
        raise PickyError("x")

    @task
    async def asks(ctx: Context) -> str:
        try:
            await ctx.call(declines)
        except PickyError as error:
            return str(error)
        return "nothing"

    async with hostile(engine_of, declines, asks) as engine:
        assert await engine.run(asks) == "declined: x"


@pytest.mark.parametrize("where", ["memory-asyncio"], indirect=True)
async def test_a_failure_whose_name_cannot_be_kept_is_the_matter_of_its_run_only(
    engine_of: OpenEngine,
) -> None:
    nameless = type("Odd", (Exception,), {"__qualname__": "Odd\ud800"})
    async with engine_of(root, good, Hostile(raises(nameless)), grace=timedelta(0)) as engine:
        run = await engine.start(root, [1, 2])
        with anyio.move_on_after(1), suppress(AstroError):
            await run
        assert await engine.run(good, 1) == 2


async def numbers_in_time() -> AsyncIterator[int]:
    with anyio.move_on_after(5):
        for number in range(3):
            yield number


async def takes_the_first(ctx: Context, items: list[int]) -> str:
    """Leave a cancel scope open, as whoever breaks out of such a loop does."""
    async for number in kept[-1]:
        return str(number)
    return "none"


kept: list[Any] = []


async def cancels_itself(ctx: Context, items: list[int]) -> str:
    me = asyncio.current_task()
    assert me is not None
    me.cancel()
    await asyncio.sleep(0)
    return "not cancelled"


LEFT_OPEN = pytest.param(
    takes_the_first,
    marks=pytest.mark.astro_leaks(
        allow=["exception"], reason="the loop complains of what the agent leaves open"
    ),
)


@pytest.mark.parametrize("where", ["memory-asyncio"], indirect=True)
@pytest.mark.parametrize("behaviour", [cancels_itself, LEFT_OPEN])
async def test_an_agent_that_harms_its_own_task_does_not_end_the_engine(
    engine_of: OpenEngine, behaviour: Behaviour
) -> None:
    kept.append(numbers_in_time())
    async with engine_of(root, good, Hostile(behaviour), grace=timedelta(0)) as engine:
        run = await engine.start(root, [1, 2])
        with anyio.fail_after(2), suppress(AstroError):
            await run
        with anyio.fail_after(2):
            assert await engine.run(good, 1) == 2
