"""Agents that are functions and agents that are classes keep what every agent promises."""

from __future__ import annotations

from datetime import timedelta
from typing import Self

import anyio
import anyio.lowlevel
import attrs
import pytest

from astro import Agent, BaseAgent, Context, NeedsAgentError, agent, performs, task
from astro.testing.conformance import AgentConformance, Example


@attrs.frozen
class Review:
    """What a reviewer finds."""

    fits: bool
    remarks: tuple[str, ...] = ()


@task(needs_agent=True)
async def review(ctx: Context, text: str, *, words: int = 3) -> Review:
    raise NeedsAgentError("review")


@task
async def count(ctx: Context, text: str) -> int:
    await anyio.lowlevel.checkpoint()
    return len(text.split())


@task(raises=(ValueError,))
async def greet(ctx: Context, name: str) -> str:
    return f"Good morning, {name}."


@agent(greet, name="polite")
async def politely(ctx: Context, name: str) -> str:
    if not name:
        raise ValueError("nobody is there")
    await anyio.lowlevel.checkpoint()
    return f"Good morning, dear {name}."


class TestFunctionAgent(AgentConformance):
    trio = True
    calls = (
        Example(greet, "Ada", expected="Good morning, dear Ada."),
        Example(greet, name="Grace", expected="Good morning, dear Grace."),
        Example(greet, "", raises=ValueError),
    )

    def make(self) -> Agent:
        return politely


class Reviewer(BaseAgent):
    """Has a resource, asks for another task, and performs two."""

    async def __aenter__(self) -> Self:
        self.open = True
        return self

    async def __aexit__(self, *error: object) -> None:
        self.open = False

    @performs(review)
    async def judge(self, ctx: Context, text: str, *, words: int = 3) -> Review:
        assert self.open
        found = await ctx.call(count, text)
        if found <= words:
            return Review(fits=True)
        return Review(fits=False, remarks=(f"{found} words",))

    @performs(greet)
    async def hello(self, ctx: Context, name: str) -> str:
        if await ctx.ask(f"Greet {name}?", bool, timeout=timedelta(seconds=0.01), default=True):
            return f"Hello, {name}."
        return ""


class TestClassAgent(AgentConformance):
    refuses = True
    trio = True
    parts = (count,)
    calls = (
        Example(review, "short", expected=Review(fits=True)),
        Example(review, "a b c", words=2, expected=Review(fits=False, remarks=("3 words",))),
        Example(greet, "Ada", expected="Hello, Ada."),
    )

    def make(self) -> Agent:
        return Reviewer()


class TestAgentWithAnswers(AgentConformance):
    """Of an agent that asks, in a project that has no engine in its tests."""

    calls = (
        Example(review, "x", answers={"count": 9}, expected=Review(False, ("9 words",))),
        Example(review, "y", answers={"count": OSError("down")}, raises=Exception),
    )

    def make(self) -> Agent:
        return Reviewer(name="another")


def test_an_example_says_what_it_is() -> None:
    assert repr(Example(review, "x", words=2)) == "review('x', words=2)"


def test_a_suite_without_examples_says_what_is_missing() -> None:
    class Empty(AgentConformance):
        def make(self) -> Agent:
            return politely

    async def check() -> None:
        await Empty().test_there_is_an_example_of_what_it_performs(politely)

    with pytest.raises(AssertionError, match="at least one Example"):
        anyio.run(check)
