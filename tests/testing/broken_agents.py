"""Agents that are broken, each in one way, and the tests that are meant to find it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import timedelta
from itertools import count
from typing import Any, ClassVar

import anyio
import anyio.lowlevel

from astro import Agent, Context, UnknownTaskError, task
from astro.core.protocols import Call
from astro.testing.conformance import AgentConformance, Example


@task
async def shout(ctx: Context, text: str) -> str:
    return text.upper()


@task
async def whisper(ctx: Context, text: str) -> str:
    return text.lower()


class Sound:
    """An agent that performs a task, and asks for another."""

    name = "sound"
    performs = frozenset({"shout"})

    async def perform(self, ctx: Context, call: Call, /) -> object:
        if call.task.name != "shout":
            raise UnknownTaskError(call.task.name, self.performs)
        text = call.task.signature.load(call.args).kwargs["text"]
        if not text:
            raise ValueError("nothing to shout")
        await anyio.lowlevel.checkpoint()
        return (await ctx.call(whisper, text)).upper()


class BrokenAgent(AgentConformance):
    """Made of a sound agent, with little patience for what never ends."""

    patience = timedelta(seconds=0.6)
    refuses = True
    parts = (whisper,)
    calls = (
        Example(shout, "Ada", expected="ADA"),
        Example(shout, "Grace", expected="GRACE"),
        Example(shout, "", raises=ValueError),
    )
    found_by: ClassVar[tuple[str, ...]]
    agent_class: ClassVar[Callable[[], Any]]

    def make(self) -> Agent:
        made: Agent = type(self).agent_class()
        return made


class SoundAgent(BrokenAgent):
    agent_class = Sound
    found_by = ()


class _SwallowsCancellation(Sound):
    async def perform(self, ctx: Context, call: Call, /) -> object:
        try:
            return await super().perform(ctx, call)
        except asyncio.CancelledError:
            return "SORRY"


class SwallowsCancellation(BrokenAgent):
    agent_class = _SwallowsCancellation
    found_by = ("test_a_cancelled_perform_ends_and_leaves_nothing_running",)


class _NeverEndsWhenCancelled(Sound):
    async def perform(self, ctx: Context, call: Call, /) -> object:
        try:
            return await super().perform(ctx, call)
        except asyncio.CancelledError:
            while True:
                try:
                    await asyncio.sleep(3600)
                except asyncio.CancelledError:
                    continue


class NeverEndsWhenCancelled(BrokenAgent):
    agent_class = _NeverEndsWhenCancelled
    found_by = ("test_a_cancelled_perform_ends_and_leaves_nothing_running",)


class _LeavesATaskRunning(Sound):
    async def perform(self, ctx: Context, call: Call, /) -> object:
        self.ticking = asyncio.ensure_future(asyncio.sleep(60))
        result = await super().perform(ctx, call)
        self.ticking.cancel()
        return result


class LeavesATaskRunning(BrokenAgent):
    agent_class = _LeavesATaskRunning
    found_by = ("test_a_cancelled_perform_ends_and_leaves_nothing_running",)


class _ReturnsItsErrors(Sound):
    async def perform(self, ctx: Context, call: Call, /) -> object:
        try:
            return await super().perform(ctx, call)
        except ValueError as error:
            return error


class ReturnsItsErrors(BrokenAgent):
    agent_class = _ReturnsItsErrors
    found_by = ("test_errors_are_raised_and_not_returned",)


class _MixesCalls(Sound):
    async def perform(self, ctx: Context, call: Call, /) -> object:
        self.call = call
        await anyio.lowlevel.checkpoint()
        return await super().perform(ctx, self.call)


class MixesCalls(BrokenAgent):
    agent_class = _MixesCalls
    found_by = ("test_performs_at_the_same_time_do_not_mix",)


class _ChangesItsName(Sound):
    numbers = count()

    @property
    def name(self) -> str:  # type: ignore[override]
        return f"agent {next(self.numbers)}"


class ChangesItsName(BrokenAgent):
    agent_class = _ChangesItsName
    found_by = ("test_its_name_is_a_word_that_stays",)


class _ListsNoNames(Sound):
    performs: ClassVar[Any] = ["shout"]  # type: ignore[assignment]


class ListsNoNames(BrokenAgent):
    agent_class = _ListsNoNames
    found_by = ("test_what_it_performs_are_names_that_stay",)


class _PerformsSomethingElseEachTime(Sound):
    numbers = count()

    def __init__(self) -> None:
        self.performs = frozenset({"shout", f"other {next(self.numbers)}"})


class PerformsSomethingElseEachTime(BrokenAgent):
    agent_class = _PerformsSomethingElseEachTime
    found_by = ("test_two_of_it_perform_the_same",)


class _PerformsWhatItDoesNotSay(Sound):
    performs = frozenset({"whisper"})


class PerformsWhatItDoesNotSay(BrokenAgent):
    agent_class = _PerformsWhatItDoesNotSay
    found_by = (
        "test_there_is_an_example_of_what_it_performs",
        "test_an_engine_chooses_it_and_keeps_its_results",
    )


class _GivesAnotherType(Sound):
    async def perform(self, ctx: Context, call: Call, /) -> object:
        return [await super().perform(ctx, call)]


class GivesAnotherType(BrokenAgent):
    agent_class = _GivesAnotherType
    found_by = (
        "test_examples_give_results_of_their_type",
        "test_an_engine_chooses_it_and_keeps_its_results",
    )


class _WorksOnce(Sound):
    def __init__(self) -> None:
        self.done: set[bytes] = set()

    async def perform(self, ctx: Context, call: Call, /) -> object:
        if call.args in self.done:
            raise RuntimeError("this was done before")
        self.done.add(call.args)
        return await super().perform(ctx, call)


class WorksOnce(BrokenAgent):
    agent_class = _WorksOnce
    found_by = ("test_examples_can_be_performed_again",)


class _TakesTheEndForAFailure(Sound):
    async def perform(self, ctx: Context, call: Call, /) -> object:
        try:
            return await super().perform(ctx, call)
        except (Exception, anyio.get_cancelled_exc_class()):
            raise
        except BaseException:
            return "IT ENDED"


class TakesTheEndForAFailure(BrokenAgent):
    agent_class = _TakesTheEndForAFailure
    found_by = ("test_a_run_that_is_given_up_is_no_failure",)


class _PerformsAnything(Sound):
    async def perform(self, ctx: Context, call: Call, /) -> object:
        return await super().perform(
            ctx, Example(shout, "x").call if call.task.name != "shout" else call
        )


class PerformsAnything(BrokenAgent):
    agent_class = _PerformsAnything
    found_by = ("test_a_task_it_does_not_perform_is_refused",)


class _HasNoPerform:
    name = "shape"
    performs = frozenset({"shout"})


class HasNoPerform(BrokenAgent):
    agent_class = _HasNoPerform
    found_by = ("test_it_has_the_shape_of_an_agent",)
