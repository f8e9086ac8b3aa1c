"""ScriptedAgent: answers in order, in an engine and without one; a wrong script is found early."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import anyio
import attrs
import pytest

from astro import (
    Agent,
    CallFailedError,
    Context,
    InvalidArgumentsError,
    LocalEngine,
    MemoryStore,
    Retry,
    RunFailedError,
    UnknownTaskError,
    task,
)
from astro.core.protocols import Call
from astro.testing.clock import VirtualClock
from astro.testing.fake_context import FakeContext
from astro.testing.loop import LoopClock, run_deterministically
from astro.testing.scripted_agent import (
    After,
    Always,
    ScriptedAgent,
    ScriptedCall,
    UnscriptedError,
)

pytestmark = pytest.mark.anyio

MINUTE, HOUR = timedelta(minutes=1), timedelta(hours=1)


@attrs.frozen
class Review:
    """What a critic says."""

    mark: int
    words: list[str]


class TooLongError(Exception):
    """Raised by a critic."""


@task(needs_agent=True, raises=(TooLongError,))
async def review(ctx: Context, text: str, *, harsh: bool = False) -> Review:
    raise NotImplementedError


@task(needs_agent=True)
async def count(ctx: Context, text: str, /) -> int:
    raise NotImplementedError


@task(needs_agent=True, retry=Retry(attempts=3, first=timedelta(0)))
async def patient(ctx: Context, text: str) -> int:
    raise NotImplementedError


@task
async def best(ctx: Context, texts: list[str]) -> int:
    return max(await ctx.map(count, texts))


def typed(agent: ScriptedAgent) -> Agent:
    """Hold for type checkers that the double fills the seam."""
    return agent


def call(of: Any, *args: Any, attempt: int = 1, **kwargs: Any) -> Call:
    bound = of.signature.bind(args, kwargs)
    return Call(id="run/task", task=of, args=bound.raw, attempt=attempt)


async def perform(agent: ScriptedAgent, of: Any, *args: Any, **kwargs: Any) -> Any:
    return await typed(agent).perform(FakeContext(), call(of, *args, **kwargs))


# --- Answers -----------------------------------------------------------------------------------


async def test_answers_come_in_order_for_each_task() -> None:
    critic = ScriptedAgent("critic", {count: [1, 2], patient: [10]})
    assert [await perform(critic, of, "x") for of in (count, patient, count)] == [1, 10, 2]


async def test_a_value_arrives_as_its_task_returns_it() -> None:
    critic = ScriptedAgent("critic", {review: [{"mark": 1, "words": ["dull"]}]})
    assert await perform(critic, review, "x") == Review(mark=1, words=["dull"])


async def test_nobody_shares_an_answer_with_the_next_call() -> None:
    said = Review(mark=1, words=["dull"])
    critic = ScriptedAgent("critic", {review: [Always(said)]})
    (await perform(critic, review, "x")).words.append("changed")
    said.words.append("changed")
    assert await perform(critic, review, "x") == Review(mark=1, words=["dull"])


async def test_an_exception_is_raised() -> None:
    critic = ScriptedAgent("critic", {count: [OSError("down"), 1]})
    with pytest.raises(OSError, match="down"):
        await perform(critic, count, "x")
    assert await perform(critic, count, "x") == 1


async def test_an_exception_that_is_raised_again_keeps_no_trace_of_the_first_time() -> None:
    critic = ScriptedAgent("critic", {count: [Always(OSError("down"))]})
    depths = []
    for _ in range(2):
        with pytest.raises(OSError, match="down") as caught:
            await perform(critic, count, "x")
        depths.append(len(caught.traceback))
    assert depths[0] == depths[1]


async def test_a_function_gets_the_arguments_of_the_call() -> None:
    async def judge(text: str, *, harsh: bool = False) -> Review:
        return Review(mark=len(text), words=["harsh"] * harsh)

    critic = ScriptedAgent("critic", {count: [len], review: [judge, judge]})
    assert await perform(critic, count, "abc") == 3
    assert await perform(critic, review, "ab", harsh=True) == Review(mark=2, words=["harsh"])
    assert await perform(critic, review, "a") == Review(mark=1, words=[])


async def test_an_answer_takes_its_time_on_the_clock() -> None:
    clock = VirtualClock()
    critic = ScriptedAgent("critic", {count: [After(HOUR, 1)]}, clock=clock)
    answers: list[int] = []

    async def ask() -> None:
        answers.append(await perform(critic, count, "x"))

    async with anyio.create_task_group() as group:
        group.start_soon(ask)
        with anyio.fail_after(5):
            while clock.next_due() is None:
                await anyio.lowlevel.checkpoint()
        assert (answers, clock.next_due()) == ([], HOUR)
        clock.advance(HOUR)
    assert answers == [1]


async def test_calls_that_overlap_get_answers_of_their_own() -> None:
    clock = VirtualClock()
    critic = ScriptedAgent("critic", {count: [After(HOUR, 1), 2]}, clock=clock)
    answers: dict[str, int] = {}

    async def ask(text: str) -> None:
        answers[text] = await perform(critic, count, text)

    async with anyio.create_task_group() as group:
        group.start_soon(ask, "slow")
        with anyio.fail_after(5):
            while clock.next_due() is None:
                await anyio.lowlevel.checkpoint()
        await ask("fast")
        clock.advance(HOUR)
    assert answers == {"slow": 1, "fast": 2}


async def test_always_answers_every_further_call() -> None:
    critic = ScriptedAgent("critic", {count: [7, Always(0)]})
    assert [await perform(critic, count, "x") for _ in range(4)] == [7, 0, 0, 0]


async def test_an_exhausted_script_says_whose_it_is_and_what_to_do() -> None:
    critic = ScriptedAgent("critic", {count: [1]})
    await perform(critic, count, "x")
    with pytest.raises(UnscriptedError) as caught:
        await perform(critic, count, "x")
    assert "'critic' for 'count' is exhausted: call 2 has no answer" in caught.value.problem
    assert "Always" in caught.value.remedy


async def test_a_task_that_is_not_in_the_script_is_unknown() -> None:
    with pytest.raises(UnknownTaskError, match="'patient'"):
        await perform(ScriptedAgent("critic", {count: [1]}), patient, "x")


# --- What it remembers -------------------------------------------------------------------------


async def test_calls_are_kept_with_their_arguments() -> None:
    critic = ScriptedAgent("critic", {review: [Always(OSError())]})
    for attempt in (1, 2):
        with pytest.raises(OSError):  # noqa: PT011
            await perform(critic, review, "a", harsh=True, attempt=attempt)
    args = {"text": "a", "harsh": True}
    assert critic.calls == [
        ScriptedCall(task="review", args=args, attempt=n, id="run/task") for n in (1, 2)
    ]


async def test_what_nobody_asked_for_is_left() -> None:
    critic = ScriptedAgent("critic", {count: [1, 2], patient: [Always(1)], review: []})
    assert critic.left == {"count": 2}
    await perform(critic, count, "x")
    assert critic.left == {"count": 1}
    await perform(critic, count, "x")
    assert critic.left == {}


# --- Wrong scripts -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("script", "words"),
    [
        ({count: [1, "two"]}, "Answer 2 .* 'critic' for 'count' .* does not fit the type int"),
        ({count: [Always("two")]}, "Answer 1 .* does not fit the type int"),
        ({count: [After(HOUR, "two")]}, "Answer 1 .* does not fit the type int"),
        ({review: [{"mark": 1}]}, "does not fit the type Review"),
        ({review: [object()]}, "cannot be kept as JSON"),
        ({count: [OSError]}, "no exception that can be raised"),
        ({count: [KeyboardInterrupt()]}, "no exception that can be raised"),
        ({count: [Always(1), 2]}, "goes on after Always"),
        ({count: [After(HOUR, Always(1))]}, "stands inside another"),
        ({count: [Always(Always(1))]}, "stands inside another"),
        ({count: 1}, "is no list"),
        ({count: "text"}, "is no list"),
        ({"count": [1]}, "'count' is no task"),
    ],
)
async def test_a_wrong_script_is_found_when_it_is_written(script: Any, words: str) -> None:
    with pytest.raises(InvalidArgumentsError, match=words):
        ScriptedAgent("critic", script)


@pytest.mark.parametrize("duration", [-HOUR, 3])
async def test_a_wrong_duration_is_found_when_it_is_written(duration: Any) -> None:
    with pytest.raises((TypeError, ValueError)):
        After(duration, 1)


async def test_a_name_is_held_to_the_rules_of_names() -> None:
    with pytest.raises(InvalidArgumentsError, match="no name for a agent"):
        ScriptedAgent("", {count: [1]})


# --- In an engine, and in a FakeContext --------------------------------------------------------


async def test_an_engine_gets_its_answers() -> None:
    critic = ScriptedAgent("critic", {count: [3, 9]})
    async with LocalEngine(best, critic, store=MemoryStore()) as engine:
        assert await engine.run(best, ["a", "b"]) == 9
    assert [made.args for made in critic.calls] == [{"text": "a"}, {"text": "b"}]
    assert {made.attempt for made in critic.calls} == {1}
    assert critic.left == {}


async def test_an_engine_tries_again_after_an_exception() -> None:
    critic = ScriptedAgent("critic", {patient: [OSError("down"), OSError("down"), 5]})
    async with LocalEngine(critic, store=MemoryStore()) as engine:
        assert await engine.run(patient, "x") == 5
    assert [made.attempt for made in critic.calls] == [1, 2, 3]


async def test_an_engine_does_not_try_an_exhausted_script_again() -> None:
    critic = ScriptedAgent("critic", {patient: [OSError("down")]})
    async with LocalEngine(critic, store=MemoryStore()) as engine:
        with pytest.raises(RunFailedError, match=r"UnscriptedError.*exhausted: call 2"):
            await engine.run(patient, "x")
    assert [made.attempt for made in critic.calls] == [1, 2]


async def test_an_engine_refuses_a_functions_wrong_answer() -> None:
    critic = ScriptedAgent("critic", {count: [lambda text: "three"]})
    async with LocalEngine(critic, store=MemoryStore()) as engine:
        with pytest.raises(RunFailedError, match="does not fit the type int"):
            await engine.run(count, "x")


async def test_a_declared_exception_reaches_the_caller_as_itself() -> None:
    @task
    async def careful(ctx: Context) -> str:
        try:
            await ctx.call(review, "x")
        except TooLongError as error:
            return f"caught {error}"
        return "nothing"

    critic = ScriptedAgent("critic", {review: [TooLongError("by 3")]})
    async with LocalEngine(careful, critic, store=MemoryStore()) as engine:
        assert await engine.run(careful) == "caught by 3"


@pytest.mark.parametrize(("limit", "minutes"), [(None, 1), (1, 2)])
def test_an_engine_in_virtual_time_keeps_to_the_agents_limit(
    limit: int | None, minutes: int
) -> None:
    async def main() -> int:
        clock = LoopClock()
        critic = ScriptedAgent("critic", {count: [After(MINUTE, 1)] * 2}, limit=limit, clock=clock)
        store = MemoryStore(clock=clock)
        async with LocalEngine(best, critic, store=store, clock=clock) as engine:
            begun = clock.now()
            await engine.run(best, ["a", "b"])
            return (clock.now() - begun) // MINUTE

    assert run_deterministically(main, seed=1).value == minutes


async def test_a_context_without_an_engine_gets_its_answers() -> None:
    critic = ScriptedAgent("critic", {count: [3, OSError("down")], review: [TooLongError("!")]})
    ctx = FakeContext(answers=critic.answers)
    assert await ctx.call(count, "a") == 3
    with pytest.raises(CallFailedError, match="down"):
        await ctx.call(count, "b")
    with pytest.raises(TooLongError):
        await ctx.call(review, "c", harsh=True)
    assert [made.args for made in critic.calls] == [
        {"text": "a"},
        {"text": "b"},
        {"text": "c", "harsh": True},
    ]
    with pytest.raises(UnscriptedError):
        await ctx.call(count, "d")
