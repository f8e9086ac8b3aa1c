"""ExecutorConformance: what every executor promises, as tests that its author inherits.

    class TestMyExecutor(ExecutorConformance):
        def make(self) -> Executor:
            return MyExecutor(tasks=BODIES)

The tasks whose bodies are run are in `BODIES`; a body that runs in another process finds them by
importing this module. What only some executors promise is an attribute of the class: a promise
that is not made skips its tests, and says so.
"""

from __future__ import annotations

import threading
from collections.abc import AsyncIterator, Callable, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, ClassVar, Final

import anyio
import attrs
import pytest
from anyio.lowlevel import checkpoint

from astro.core.context import Context
from astro.core.errors import CallFailedError, PermanentError, RunSuspended
from astro.core.policy import Retry
from astro.core.protocols import Call, Executor
from astro.core.task import Task, task
from astro.testing.conformance.suite import Suite, entered
from astro.testing.fake_context import FakeContext

__all__ = ["BODIES", "ExecutorConformance"]

_MOMENT: Final = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
_NAP: Final = 0.005  # seconds


# --- Bodies ------------------------------------------------------------------------------------


class _DeclaredError(Exception):
    """Named in `raises`."""


class _PassingError(Exception):
    """Named in `retry`."""


class _OtherError(Exception):
    """Named nowhere."""


@attrs.frozen
class _Parcel:
    content: bytes
    sent: datetime
    stamps: tuple[int, ...] = ()


@task(name="conformance.pack")
async def _pack(
    ctx: Context, content: bytes, /, parcel: _Parcel, *, copies: int = 2
) -> list[_Parcel]:
    return [attrs.evolve(parcel, content=content, stamps=(n,)) for n in range(copies)]


@task(name="conformance.grow")
async def _grow(ctx: Context, items: list[int]) -> list[int]:
    items.append(len(items))
    return items


@task(name="conformance.greet")
async def _greet(ctx: Context, name: str) -> str:
    return f"Good morning, {name}."


@task(
    name="conformance.fail",
    raises=(_DeclaredError,),
    retry=Retry(attempts=2, on=(_PassingError,)),
)
async def _fail(ctx: Context, kind: str) -> None:
    ctx.emit("tried")
    await checkpoint()
    raise _ERRORS[kind]("some words")


_ERRORS: Final[Mapping[str, type[Exception]]] = {
    "declared": _DeclaredError,
    "passing": _PassingError,
    "permanent": PermanentError,
    "builtin": ValueError,
    "other": _OtherError,
}


@task(name="conformance.leave")
async def _leave(ctx: Context) -> None:
    raise SystemExit(3)


@task(name="conformance.use")
async def _use(ctx: Context) -> list[str | int]:
    said = await ctx.call(_greet, "Ada")
    ctx.emit("said", said)
    await ctx.spend(tokens=7)
    return [ctx.run_id, ctx.key, ctx.attempt, ctx.tenant, ctx.token, said]


@task(name="conformance.ask")
async def _ask(ctx: Context) -> str:
    try:
        return await ctx.call(_greet, "Ada")
    except Exception as error:
        return f"{type(error).__name__}: {error}"
    finally:
        ctx.emit("left")


@task(name="conformance.linger")
async def _linger(ctx: Context) -> None:
    ctx.emit("begun")
    try:
        await anyio.sleep_forever()
    finally:
        with anyio.CancelScope(shield=True):
            await anyio.sleep(5 * _NAP)
        ctx.emit("ended")


@task(name="conformance.beat")
async def _beat(ctx: Context) -> None:
    ctx.emit("begun")
    while True:
        ctx.emit("beat")
        await anyio.sleep(_NAP)


@task(name="conformance.nap")
async def _nap(ctx: Context, times: int) -> int:
    for _ in range(times):
        await anyio.sleep(_NAP)
    return times


@task(name="conformance.block")
async def _block(ctx: Context, seconds: float) -> str:
    ctx.emit("begun")
    threading.Event().wait(seconds)
    return "done"


BODIES: Final[tuple[Task[..., Any], ...]] = (
    _pack,
    _grow,
    _greet,
    _fail,
    _leave,
    _use,
    _ask,
    _linger,
    _beat,
    _nap,
    _block,
)
"""The tasks whose bodies the suite runs."""


# --- The suite ---------------------------------------------------------------------------------


class ExecutorConformance(Suite):
    """What every executor promises; inherit it and say how yours is made.

    Attributes:
        moment: A time limit that is meant to pass.
        unwinds: Whether a body that is cancelled ends its `finally` blocks first.
        frees_loop: Whether a body that blocks leaves the engine's event loop alone.
    """

    __test__ = False
    promises = ("trio", "unwinds", "frees_loop")
    patience: ClassVar[timedelta] = timedelta(seconds=30)
    moment: ClassVar[timedelta] = timedelta(milliseconds=50)
    unwinds: ClassVar[bool] = True
    frees_loop: ClassVar[bool] = False

    def make(self) -> Executor:
        """Return an executor; one that is an async context manager is entered."""
        raise NotImplementedError

    @pytest.fixture
    async def executor(self) -> AsyncIterator[Executor]:
        async with entered(self.make()) as executor:
            yield executor

    async def execute(self, executor: Executor, call: Call, ctx: Context | None = None) -> Any:
        """Return what a body returned, as an engine would see it; never wait for ever."""
        with anyio.fail_after(self.patience.total_seconds()):
            value = await executor.execute(call, ctx or FakeContext())
        return call.task.signature.returns.settle(value)[1]

    async def seen(self, happened: Callable[[], object]) -> None:
        """Return when something has happened; the test fails if it does not."""

        async def look() -> object:
            return happened()

        await self.until(look)

    # --- Arguments and results ---------------------------------------------------------------

    async def test_arguments_arrive_and_the_result_comes_back(self, executor: Executor) -> None:
        parcel = _Parcel(content=b"", sent=_MOMENT)
        made = await self.execute(executor, _call(_pack, bytes(range(256)), parcel, copies=1))
        assert made == [_Parcel(content=bytes(range(256)), sent=_MOMENT, stamps=(0,))]

    async def test_arguments_that_are_left_out_have_their_defaults(
        self, executor: Executor
    ) -> None:
        made = await self.execute(executor, _call(_pack, b"x", _Parcel(b"", _MOMENT)))
        assert [one.stamps for one in made] == [(0,), (1,)]

    async def test_each_attempt_has_arguments_of_its_own(self, executor: Executor) -> None:
        call = _call(_grow, [0])
        assert [await self.execute(executor, call) for _ in range(3)] == [[0, 1]] * 3

    # --- Failures ----------------------------------------------------------------------------

    @pytest.mark.parametrize("kind", ["declared", "passing", "permanent", "builtin"])
    async def test_an_exception_that_is_known_comes_out_as_itself(
        self, executor: Executor, kind: str
    ) -> None:
        with pytest.raises(_ERRORS[kind], match=r"^some words$") as caught:
            await self.execute(executor, _call(_fail, kind))
        assert type(caught.value) is _ERRORS[kind]

    async def test_any_other_exception_comes_out_with_its_words(self, executor: Executor) -> None:
        with pytest.raises(Exception, match="some words"):
            await self.execute(executor, _call(_fail, "other"))

    async def test_a_body_that_fails_has_run_once(self, executor: Executor) -> None:
        ctx = FakeContext()
        with pytest.raises(_PassingError):
            await self.execute(executor, _call(_fail, "passing"), ctx)
        assert ctx.emitted == [("tried", None)]

    async def test_a_body_that_exits_takes_nobody_with_it(self, executor: Executor) -> None:
        with pytest.raises((Exception, SystemExit)) as caught:
            await self.execute(executor, _call(_leave))
        assert not isinstance(caught.value, TimeoutError)
        assert await self.execute(executor, _call(_grow, [])) == [0]

    # --- The context -------------------------------------------------------------------------

    async def test_the_verbs_of_the_context_do_what_they_do(self, executor: Executor) -> None:
        ctx = FakeContext(tenant="acme", attempt=3, token=5)
        said = "Good morning, Ada."
        found = await self.execute(executor, _call(_use, attempt=3), ctx)
        assert found == [ctx.run_id, ctx.key, 3, "acme", 5, said]
        assert [(made.task, made.args) for made in ctx.calls] == [(_greet.name, {"name": "Ada"})]
        assert (ctx.emitted, ctx.tokens) == ([("said", said)], 7)

    async def test_a_call_that_fails_is_raised_in_the_body(self, executor: Executor) -> None:
        ctx = FakeContext(answers={_greet.name: OSError("down")})
        said = await self.execute(executor, _call(_ask), ctx)
        assert said.startswith(f"{CallFailedError.__name__}: ")
        assert "down" in said

    async def test_a_run_that_is_given_up_is_no_failure(self, executor: Executor) -> None:
        ctx = FakeContext(answers={_greet.name: RunSuspended()})
        with pytest.raises(RunSuspended):
            await self.execute(executor, _call(_ask), ctx)
        assert ctx.emitted == [("left", None)]

    # --- Cancellation and time ---------------------------------------------------------------

    async def test_a_cancelled_body_has_ended_when_its_execution_returns(
        self, executor: Executor
    ) -> None:
        self.promised("unwinds")
        ctx = FakeContext()
        assert await self._cancelled(executor, _call(_linger), ctx)
        assert ctx.emitted == [("begun", None), ("ended", None)]

    async def test_nothing_of_a_cancelled_body_goes_on(self, executor: Executor) -> None:
        ctx = FakeContext()
        assert await self._cancelled(executor, _call(_beat), ctx)
        beats = len(ctx.emitted)
        await self.execute(executor, _call(_nap, 20))
        assert len(ctx.emitted) == beats

    async def test_a_time_limit_ends_a_body(self, executor: Executor) -> None:
        with anyio.fail_after(self.patience.total_seconds()):
            with anyio.move_on_after(self.moment.total_seconds()) as scope:
                await executor.execute(_call(_linger), FakeContext())
        assert scope.cancelled_caught
        assert await self.execute(executor, _call(_grow, [])) == [0]

    async def test_a_body_that_blocks_leaves_the_event_loop_alone(self, executor: Executor) -> None:
        self.promised("frees_loop")
        ctx, order = FakeContext(), []

        async def block() -> None:
            assert await self.execute(executor, _call(_block, 100 * _NAP), ctx) == "done"
            order.append("body")

        async with anyio.create_task_group() as group:
            group.start_soon(block)
            await self.seen(lambda: ctx.emitted)
            order.append("loop")
        assert order == ["loop", "body"]

    # --- Several, and what is left of them ---------------------------------------------------

    async def test_bodies_run_at_the_same_time(self, executor: Executor) -> None:
        there: list[str] = []

        async def meet(name: str) -> str:
            there.append(name)
            await self.seen(lambda: len(there) == 4)
            return "met"

        ctx = FakeContext(answers={_greet.name: meet})
        async with anyio.create_task_group() as group:
            for _ in range(4):
                group.start_soon(self.execute, executor, _call(_ask), ctx)
        assert ctx.emitted == [("left", None)] * 4

    async def test_a_body_that_is_cancelled_leaves_others_alone(self, executor: Executor) -> None:
        gone, answers = anyio.Event(), []

        async def wait(name: str) -> str:
            await gone.wait()
            return "answered"

        async def other() -> None:
            ctx = FakeContext(answers={_greet.name: wait})
            answers.append(await self.execute(executor, _call(_ask), ctx))

        async with anyio.create_task_group() as group:
            group.start_soon(other)
            assert await self._cancelled(executor, _call(_linger), FakeContext())
            gone.set()
        assert answers == ["answered"]

    async def test_nothing_is_left_when_the_executor_is_closed(self) -> None:
        before = _alive()
        async with entered(self.make()) as made:
            await self.execute(made, _call(_grow, []))
            with pytest.raises(ValueError, match="some words"):
                await self.execute(made, _call(_fail, "builtin"))
            assert await self._cancelled(made, _call(_beat), FakeContext())
        await self.seen(lambda: _alive() <= before)

    async def _cancelled(self, executor: Executor, call: Call, ctx: FakeContext) -> bool:
        """Cancel a body once it has begun; return whether its execution was cancelled."""
        returned = False
        with anyio.CancelScope() as scope:

            async def cancel() -> None:
                await self.seen(lambda: ctx.emitted)
                scope.cancel()

            async with anyio.create_task_group() as group:
                group.start_soon(cancel)
                await self.execute(executor, call, ctx)
                returned = True
        return scope.cancelled_caught and not returned


def _call(task: Task[..., Any], *args: object, attempt: int = 1, **kwargs: object) -> Call:
    bound = task.signature.bind(args, kwargs)
    return Call(id=f"run/{task.name}", task=task, args=bound.raw, attempt=attempt)


def _alive() -> set[object]:
    """Return the tasks of this event loop and, where it can be seen, the child processes."""
    tasks = {task.id for task in anyio.get_running_tasks()}
    children = [path.read_text() for path in Path("/proc/self/task").glob("*/children")]
    return {*tasks, *" ".join(children).split()}
