"""AgentConformance: what every agent promises, as tests that its author inherits.

    class TestReviewer(AgentConformance):
        calls = (Example(review, "a text", expected=Review(fits=True)),)

        def make(self):
            return Reviewer()

What only some agents promise is an attribute of the class: a promise that is not made skips its
tests, and says so.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from datetime import timedelta
from functools import partial
from threading import Event, Thread
from typing import Any, ClassVar, Final

import anyio
import pytest

from astro.core.context import Context
from astro.core.errors import AstroError, RunSuspended
from astro.core.protocols import Agent, Call
from astro.core.records import StartedRecord
from astro.core.task import Task, task
from astro.engine.local import LocalEngine
from astro.stores.memory import MemoryStore
from astro.testing.conformance.suite import Suite, entered
from astro.testing.fake_context import FakeContext

__all__ = ["AgentConformance", "Example"]

_STEPS: Final = (0, 1, 2, 3, 5, 8, 13, 21, 34)  # turns of the event loop before a cancellation


class Example:
    """A call that an agent is able to perform.

    Args:
        task: What is asked for.
        args: The arguments, as they are given to `ctx.call`.
        expected: The result, where it is known.
        raises: The class of the exception, where the agent is to fail.
        answers: What the calls and questions of the agent are answered, as in `FakeContext`.
    """

    def __init__(
        self,
        task: Task[..., Any],
        /,
        *args: Any,
        expected: Any = ...,
        raises: type[Exception] | None = None,
        answers: Mapping[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        self.task = task
        self.args = args
        self.kwargs = kwargs
        self.expected = expected
        self.raises = raises
        self.answers = answers or {}

    @property
    def call(self) -> Call:
        """The call as an agent sees it."""
        bound = self.task.signature.bind(self.args, self.kwargs)
        return Call(id=f"run/{self.task.name}", task=self.task, args=bound.raw, attempt=1)

    def __repr__(self) -> str:
        given = [repr(arg) for arg in self.args]
        given += [f"{name}={value!r}" for name, value in self.kwargs.items()]
        return f"{self.task.name}({', '.join(given)})"


class _Suspended:
    """A context whose run is given up: its verbs raise, and it counts how often they did."""

    def __init__(self, ctx: Context) -> None:
        self._ctx = ctx
        self.asked = 0

    def __getattr__(self, name: str) -> Any:
        if name in ("branch", "options"):
            return self._view
        if name in ("call", "step", "map", "starmap", "start", "sleep", "ask"):
            return self._give_up
        return getattr(self._ctx, name)

    def _view(self, *args: Any, **kwargs: Any) -> _Suspended:
        return self

    async def _give_up(self, *args: Any, **kwargs: Any) -> None:
        self.asked += 1
        raise RunSuspended


@task(name="conformance.stranger")
async def _stranger(ctx: Context, text: str) -> str:
    raise AssertionError("no agent performs this task")


class AgentConformance(Suite):
    """What every agent promises; inherit it, say how yours is made, and give examples.

    Attributes:
        calls: Calls that the agent is able to perform, at least one.
        parts: What an engine needs beside the agent and the tasks of the examples, because the
            agent asks for it.
        refuses: Whether the agent refuses a task it does not perform, with an error of ASTRO that
            names the task. An engine never asks for one.
        trio: Whether the agent works on trio too.
        patience: What any of the examples may take, and what ending may take when cancelled.
    """

    __test__: ClassVar[object] = False
    promises: ClassVar[tuple[str, ...]] = ("refuses", "trio")
    calls: ClassVar[Sequence[Example]] = ()
    parts: ClassVar[Sequence[Any]] = ()
    refuses: ClassVar[bool] = False

    def make(self) -> Agent:
        """Return an agent; one that is an async context manager is entered, as engines do."""
        raise NotImplementedError

    def context(self, example: Example) -> FakeContext:
        """Return what the agent sees of an engine; override it where it needs a sandbox, say."""
        return FakeContext(answers=example.answers)

    @pytest.fixture
    async def agent(self) -> AsyncIterator[Agent]:
        async with entered(self.make()) as agent:
            yield agent

    async def perform(self, agent: Agent, example: Example, ctx: Any = None) -> Any:
        """Return what an engine would keep of a call; never wait for ever."""
        with anyio.fail_after(self.patience.total_seconds()):
            value = await agent.perform(ctx or self.context(example), example.call)
        return example.task.signature.returns.settle(value)[1]

    def succeeding(self) -> list[Example]:
        """Return the examples that are no failures."""
        return [example for example in self.calls if example.raises is None]

    # --- Who it is ---------------------------------------------------------------------------

    async def test_it_has_the_shape_of_an_agent(self, agent: Agent) -> None:
        assert isinstance(agent, Agent)

    async def test_its_name_is_a_word_that_stays(self, agent: Agent) -> None:
        name = agent.name
        assert isinstance(name, str)
        assert name.strip()
        for example in self.succeeding():
            await self.perform(agent, example)
        assert agent.name == name

    async def test_what_it_performs_are_names_that_stay(self, agent: Agent) -> None:
        performs = agent.performs
        assert isinstance(performs, frozenset)
        assert performs
        assert all(isinstance(name, str) and name for name in performs)
        for example in self.succeeding():
            await self.perform(agent, example)
        assert agent.performs == performs

    async def test_two_of_it_perform_the_same(self) -> None:
        assert self.make().performs == self.make().performs

    async def test_there_is_an_example_of_what_it_performs(self, agent: Agent) -> None:
        assert self.calls, "Give the class attribute `calls` at least one Example."
        assert {example.task.name for example in self.calls} <= agent.performs

    # --- What it does ------------------------------------------------------------------------

    async def test_examples_give_results_of_their_type(self, agent: Agent) -> None:
        for example in self.succeeding():
            result = await self.perform(agent, example)
            if example.expected is not ...:
                assert result == example.expected, f"{example} gave another result."

    async def test_examples_can_be_performed_again(self, agent: Agent) -> None:
        for example in (*self.succeeding(), *self.succeeding()):
            result = await self.perform(agent, example)
            assert example.expected is ... or result == example.expected

    async def test_errors_are_raised_and_not_returned(self, agent: Agent) -> None:
        for example in self.calls:
            with anyio.fail_after(self.patience.total_seconds()):
                try:
                    value = await agent.perform(self.context(example), example.call)
                except Exception as error:
                    if example.raises is None or not isinstance(error, example.raises):
                        raise
                else:
                    assert not isinstance(value, BaseException), f"{example} returned an error."
                    assert example.raises is None, f"{example} raised nothing."

    async def test_performs_at_the_same_time_do_not_mix(self, agent: Agent) -> None:
        if getattr(agent, "limit", None) == 1:
            pytest.skip("the agent's limit is 1: no engine asks for two things at once")
        examples = self.succeeding()
        if len({example.call.args for example in examples}) < 2:
            pytest.skip("there are no two examples with different arguments in `calls`")
        known = [await self._known(agent, example) for example in examples]
        found: list[Any] = [None] * len(examples)

        async def one(number: int, example: Example) -> None:
            found[number] = await self.perform(agent, example)

        async with anyio.create_task_group() as group:
            for number, example in enumerate(examples):
                group.start_soon(one, number, example)
        for example, result, wanted in zip(examples, found, known, strict=True):
            assert wanted is ... or result == wanted, f"{example} gave another result among others."

    async def _known(self, agent: Agent, example: Example) -> Any:
        """Return what an example gives whenever it is performed, or dots if that is not known."""
        if example.expected is not ...:
            return example.expected
        first, again = [await self.perform(agent, example) for _ in range(2)]
        return first if first == again else ...

    async def test_a_run_that_is_given_up_is_no_failure(self, agent: Agent) -> None:
        for example in self.succeeding():
            ctx = _Suspended(self.context(example))
            try:
                await self.perform(agent, example, ctx)
            except RunSuspended:
                continue
            assert not ctx.asked, f"{example} went on although its run was given up."

    async def test_a_task_it_does_not_perform_is_refused(self, agent: Agent) -> None:
        self.promised("refuses")
        assert _stranger.name not in agent.performs
        with pytest.raises(AstroError, match=_stranger.name):
            await self.perform(agent, Example(_stranger, "hello"))

    # --- Cancellation ------------------------------------------------------------------------

    def test_a_cancelled_perform_ends_and_leaves_nothing_running(self) -> None:
        for example in self.succeeding():
            problem = _in_thread(partial(self._cancelled_everywhere, example), self.patience)
            assert not problem, f"{example}: {problem}"

    async def _cancelled_everywhere(self, example: Example) -> str:
        """Cancel a perform at one point after the other; return what goes wrong."""
        async with entered(self.make()) as agent:
            for steps in _STEPS:
                before = asyncio.all_tasks()
                ctx: Any = self.context(example)
                perform: Any = agent.perform(ctx, example.call)
                attempt = asyncio.ensure_future(perform)
                for _ in range(steps):
                    await asyncio.sleep(0)
                if attempt.done():
                    break
                attempt.cancel()
                await asyncio.wait({attempt}, timeout=self.patience.total_seconds() / 2)
                if not attempt.done():
                    return "cancelled, it goes on."
                if not attempt.cancelled():
                    how = attempt.exception() or f"a result, {attempt.result()!r}"
                    return f"cancelled, it ended with {how}."
                if left := await _left(before, self.patience / 2):
                    return f"cancelled, it left running: {left}."
        return ""

    # --- In an engine ------------------------------------------------------------------------

    async def test_an_engine_chooses_it_and_keeps_its_results(self) -> None:
        examples = [one for one in self.succeeding() if self.parts or not one.answers]
        if not examples:
            pytest.skip("all examples have `answers`; name what the agent asks for in `parts`")
        for example in examples:
            agent, asked = self.make(), example.task
            parts = [part for part in self.parts if part is not asked]
            with anyio.fail_after(self.patience.total_seconds()):
                async with LocalEngine(asked, agent, *parts, store=MemoryStore()) as engine:
                    run = await engine.start(asked, *example.args, **example.kwargs)
                    result = await run
                    starts = [one async for one in run if isinstance(one, StartedRecord)]
            assert starts[0].agent == agent.name
            assert example.expected is ... or result == example.expected


async def _left(before: set[Any], patience: timedelta) -> list[str]:
    """Return the names of tasks that are there beside those of before, and stay."""
    deadline = anyio.current_time() + patience.total_seconds()
    while left := {one for one in asyncio.all_tasks() - before if not one.done()}:
        if anyio.current_time() > deadline:
            return sorted(one.get_name() for one in left)
        await asyncio.sleep(0)
    return []


def _in_thread(main: Callable[[], Awaitable[str]], patience: timedelta) -> str:
    """Return what a function gives on an event loop of its own, which may hang for ever."""
    said: list[str] = []
    ended = Event()

    async def run() -> None:
        try:
            said.append(await main())
        finally:
            ended.set()

    def work() -> None:
        try:
            asyncio.run(run())
        except Exception as error:
            said.append(f"{type(error).__name__}: {error}")
        finally:
            ended.set()

    thread = Thread(target=work, daemon=True)
    thread.start()
    ended.wait((len(_STEPS) + 1) * patience.total_seconds())
    thread.join(patience.total_seconds() / 10)  # what refuses to end stays behind
    return said[0] if said else "cancelled, it never ends."
