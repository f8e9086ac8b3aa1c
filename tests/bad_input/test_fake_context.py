"""The door of the double: what a live context refuses, `FakeContext` refuses in the same words."""

from __future__ import annotations

from datetime import timedelta

import pytest

from astro.testing.fake_context import FakeContext
from tests.bad_input import test_context as live
from tests.bad_input.cases import Case, each, refused

pytestmark = pytest.mark.anyio


@each(live.CALLS, live.STEPS, live.TIMES, live.ASKS, live.EVENTS, live.MONEY, live.VIEWS)
async def test_what_an_engine_refuses_is_refused_in_a_unit_test(case: Case) -> None:
    ctx = FakeContext()
    with refused(case):
        await live.settled(ctx, case.what)
    assert (ctx.calls, ctx.emitted, ctx.money, ctx.tokens) == ([], [], 0.0, 0)
    assert not any(ctx.slept)
    await ctx.options(name="a").branch("b").spend(money=1, tokens=2)
    assert await ctx.call(live.greet, "after") == "hello after"
    assert (ctx.money, ctx.tokens) == (1, 2)


async def test_a_question_that_is_refused_was_not_asked() -> None:
    ctx = FakeContext(answers={"?": True})
    with pytest.raises(TypeError, match="timeout"):
        await ctx.ask("?", bool, timeout=5)  # type: ignore[arg-type]  # the mistake under test
    assert ctx.asked == []
    assert await ctx.ask("?", bool, timeout=timedelta(1)) is True
    assert ctx.asked == ["?"]
