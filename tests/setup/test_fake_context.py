"""FakeContext: a task in a unit test sees what it would see in an engine."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import anyio
import pytest

from astro import (
    Budget,
    BudgetExceededError,
    CallFailedError,
    CodecError,
    Context,
    InvalidArgumentsError,
    NeedsAgentError,
    RunFailedError,
    SandboxUnavailableError,
    TaskTimeoutError,
    task,
)
from astro.testing.fake_context import FakeCall, FakeContext
from tests.setup.pages import blocks, run_block

pytestmark = pytest.mark.anyio


class CardDeclinedError(Exception):
    """What a task declares in `raises`."""


@task
async def greet(ctx: Context, name: str, *, mark: str = ".") -> str:
    return f"Good morning, {name}{mark}"


@task
async def broken(ctx: Context, name: str) -> str:
    raise OSError("down")


@task(raises=(CardDeclinedError,))
async def pay(ctx: Context, amount: int) -> None:
    raise CardDeclinedError(amount)


@task(needs_agent=True)
async def review(ctx: Context, text: str) -> int:
    raise NotImplementedError


@task
async def whose(ctx: Context) -> str:
    return ctx.key


async def length(text: str) -> int:
    return len(text)


def typed(ctx: FakeContext) -> Context:
    """Hold for type checkers that the double fills the seam."""
    return ctx


# --- Calls -------------------------------------------------------------------------------------


async def test_a_call_runs_the_body() -> None:
    assert await typed(FakeContext()).call(greet, "Ada", mark="!") == "Good morning, Ada!"


async def test_a_call_is_noted_when_it_is_evaluated_with_defaults_left_out() -> None:
    ctx = FakeContext()
    asked = ctx.branch("left").call(greet, "Ada", mark=".")
    assert ctx.calls == [FakeCall(task="greet", args={"name": "Ada"}, place="left/")]
    await asked


@pytest.mark.parametrize("answer", ["hi", lambda name: "hi", lambda name: length_as_text(name)])
async def test_an_answer_stands_for_the_body(answer: Any) -> None:
    result = await FakeContext(answers={"greet": answer}).call(greet, "Ada")
    assert result in ("hi", "3")


async def length_as_text(text: str) -> str:
    return str(len(text))


async def test_an_answer_has_to_fit_the_type_of_the_result() -> None:
    with pytest.raises(CallFailedError, match="CodecError"):
        await FakeContext(answers={"greet": 7}).call(greet, "Ada")


async def test_a_result_is_what_its_json_gives() -> None:
    @task
    async def give(ctx: Context) -> list[int]:
        return shared

    shared = [1]
    assert await FakeContext().call(give) is not shared


async def test_arguments_that_do_not_fit_are_refused_at_once() -> None:
    with pytest.raises(InvalidArgumentsError):
        await FakeContext().call(greet, 7)  # type: ignore[arg-type]  # the mistake under test


async def test_a_failure_arrives_as_a_failed_call() -> None:
    with pytest.raises(CallFailedError, match="OSError: down") as caught:
        await FakeContext().call(broken, "Ada")
    assert isinstance(caught.value.__cause__, OSError)


async def test_a_declared_failure_arrives_as_itself() -> None:
    with pytest.raises(CardDeclinedError, match="7"):
        await FakeContext().call(pay, 7)


async def test_an_answer_may_be_a_failure() -> None:
    with pytest.raises(CallFailedError, match="TimeoutError: slow"):
        await FakeContext(answers={"greet": TimeoutError("slow")}).call(greet, "Ada")


async def test_a_task_for_agents_without_an_answer_is_named_with_the_nearest_one() -> None:
    with pytest.raises(InvalidArgumentsError, match="Did you mean 'reviews'"):
        await FakeContext(answers={"reviews": 1}).call(review, "text")


async def test_a_task_for_agents_that_is_called_directly_needs_one() -> None:
    with pytest.raises(NeedsAgentError):
        await review(FakeContext(), "text")


async def test_map_keeps_the_order_of_its_items() -> None:
    assert await typed(FakeContext()).map(review_len, ["a", "bcd"]) == [1, 3]


@task
async def review_len(ctx: Context, text: str) -> int:
    return len(text)


async def test_map_raises_the_first_failure_and_leaves_no_call_unawaited() -> None:
    answers = {"review": lambda text: 1 if text == "a" else fail()}
    with pytest.raises(CallFailedError, match="ZeroDivisionError"):
        await FakeContext(answers=answers).map(review, ["a", "b", "c"])


def fail() -> int:
    raise ZeroDivisionError


async def test_starmap_takes_several_arguments() -> None:
    @task
    async def add(ctx: Context, left: int, right: int) -> int:
        return left + right

    assert await typed(FakeContext()).starmap(add, [(1, 2), (3, 4)]) == [3, 7]


async def test_a_step_runs_in_place() -> None:
    ctx = FakeContext()
    assert await typed(ctx).step(length, "abc") == 3
    assert ctx.calls[0].task == "length"


async def test_a_step_without_an_identity_needs_a_name() -> None:
    extra = 1

    async def closed(text: str) -> int:
        return len(text) + extra

    with pytest.raises(InvalidArgumentsError, match="name it"):
        await FakeContext().step(closed, "abc")
    assert await FakeContext().options(name="count").step(closed, "abc") == 4


async def test_a_started_run_gives_its_result_when_awaited() -> None:
    child = await typed(FakeContext()).start(greet, "Ada")
    assert len(child.id) == 32
    assert await child == "Good morning, Ada."


async def test_a_started_run_that_failed_says_so_when_awaited() -> None:
    child = await FakeContext().start(broken, "Ada")
    with pytest.raises(RunFailedError, match="down"):
        await child


# --- People and time ---------------------------------------------------------------------------


async def test_a_question_is_answered_by_its_words() -> None:
    ctx = FakeContext(answers={"Publish?": True})
    assert await typed(ctx).ask("Publish?", bool) is True
    assert ctx.asked == ["Publish?"]


async def test_an_answer_of_the_wrong_type_is_refused() -> None:
    with pytest.raises(CodecError):
        await FakeContext(answers={"Publish?": "yes"}).ask("Publish?", bool)


async def test_an_unanswered_question_takes_its_default_after_its_time() -> None:
    ctx = FakeContext()
    before = ctx.now()
    assert await ctx.ask("Publish?", bool, timeout=timedelta(days=3), default=False) is False
    assert ctx.now() - before == timedelta(days=3)


async def test_an_unanswered_question_without_a_default_times_out() -> None:
    with pytest.raises(TaskTimeoutError):
        await FakeContext().ask("Publish?", bool, timeout=timedelta(days=3))


async def test_an_unanswered_question_without_a_time_out_is_a_mistake_of_the_test() -> None:
    with pytest.raises(InvalidArgumentsError, match=r"answers=\{'Publish\?'"):
        await FakeContext().ask("Publish?", bool)


async def test_sleeping_moves_only_the_time_of_the_context() -> None:
    ctx = FakeContext(now=datetime(2026, 5, 1, tzinfo=UTC))
    with anyio.fail_after(5):
        await ctx.sleep(timedelta(days=30))
        await ctx.sleep(datetime(2026, 6, 1, tzinfo=UTC))
        await ctx.sleep(datetime(2020, 1, 1, tzinfo=UTC))
    assert ctx.now() == datetime(2026, 6, 1, tzinfo=UTC)
    assert ctx.slept == [timedelta(days=30), timedelta(days=1), timedelta(0)]


# --- The rest ----------------------------------------------------------------------------------


async def test_chance_depends_on_seed_name_and_call_only() -> None:
    draws: list[Callable[[FakeContext], object]] = [
        lambda ctx: ctx.uuid("a"),
        lambda ctx: ctx.random("a").random(),
    ]
    for draw in draws:
        assert draw(FakeContext(seed=1)) == draw(FakeContext(seed=1))
        assert draw(FakeContext(seed=1)) != draw(FakeContext(seed=2))
        assert draw(FakeContext()) != draw(FakeContext().branch("left"))


async def test_what_is_emitted_and_spent_is_collected_from_all_views() -> None:
    ctx = FakeContext()
    ctx.branch("left").emit("progress", (1, 2))
    await ctx.options(priority=30).spend(money=0.5, tokens=10)
    assert ctx.emitted == [("progress", [1, 2])]
    assert (ctx.money, ctx.tokens) == (0.5, 10)


async def test_a_budget_that_is_used_up_raises_as_in_an_engine() -> None:
    ctx = FakeContext(budget=Budget(tokens=10))
    await ctx.spend(tokens=9)
    with pytest.raises(BudgetExceededError, match="tokens"):
        await ctx.spend(tokens=2)


async def test_each_call_has_a_key_of_its_own() -> None:
    ctx = FakeContext()
    assert await ctx.call(whose) != ctx.key


async def test_a_sandbox_is_the_one_that_the_test_gave() -> None:
    box = object()
    assert FakeContext(sandbox=box).sandbox is box
    with pytest.raises(SandboxUnavailableError):
        _ = FakeContext().sandbox


async def test_log_lines_carry_the_run() -> None:
    extra = FakeContext(run_id="r1", attempt=2).log.extra
    assert extra is not None
    assert (extra["run"], extra["attempt"]) == ("r1", 2)


async def test_the_examples_of_the_manual_pass() -> None:
    first, second = (
        run_block(code, "testing.md") for code in blocks("how-to/testing.md", "python")
    )
    await first["test_what_was_approved_is_published"]()
    await first["test_nothing_is_published_without_approval"]()
    await second["check"]()
