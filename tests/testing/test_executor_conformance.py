"""The suite of executors: sound ones pass; each broken one is found by the test meant for it."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from subprocess import DEVNULL
from typing import Any, ClassVar, Self

import anyio
import anyio.to_thread
import pytest

from astro import Context
from astro.core.errors import AstroError
from astro.core.protocols import Call, Executor
from astro.testing.conformance.executor import BODIES, ExecutorConformance
from astro.testing.conformance.suite import Suite
from astro.testing.fake_context import FakeContext
from tests.testing.finding import found_by_suite

# --- Sound ones --------------------------------------------------------------------------------


class InProcessExecutor:
    """Runs bodies in place, as an engine without an executor does."""

    async def execute(self, call: Call, ctx: Context, /) -> object:
        bound = call.task.signature.load(call.args)
        return await call.task.fn(ctx, *bound.args, **bound.kwargs)


class TestInProcessExecutor(ExecutorConformance):
    """As an author would write it."""

    trio = True

    def make(self) -> Executor:
        return InProcessExecutor()


class ThreadExecutor(InProcessExecutor):
    """Runs the body that blocks in a thread, with an event loop of its own."""

    async def execute(self, call: Call, ctx: Context, /) -> object:
        if call.task.name != "conformance.block":
            return await super().execute(call, ctx)
        return await anyio.to_thread.run_sync(anyio.run, super().execute, call, ctx)


class Freeing(ExecutorConformance):
    """An executor that makes every promise."""

    trio = True
    frees_loop = True

    def make(self) -> Executor:
        return ThreadExecutor()


class TestExecutorWithEveryPromise(Freeing):
    """So that each test of the suite has passed once."""


def test_the_bodies_have_names_of_their_own() -> None:
    names = [body.name for body in BODIES]
    assert len(set(names)) == len(names)
    assert all(name.startswith("conformance.") for name in names)


# --- Broken ones -------------------------------------------------------------------------------


class Broken(Freeing):
    """Made of a sound one, with little patience for what hangs."""

    trio = False
    patience = timedelta(milliseconds=300)
    frees_loop = False  # the test of it takes half a second
    found_by: ClassVar[tuple[str, ...]]


class AbandonsCancelledBodies(Broken):
    found_by = (
        "test_a_cancelled_body_has_ended_when_its_execution_returns",
        "test_nothing_of_a_cancelled_body_goes_on",
    )

    def make(self) -> Executor:
        class Abandoning(ThreadExecutor):
            async def __aenter__(self) -> Self:
                self.group = anyio.create_task_group()
                await self.group.__aenter__()
                return self

            async def __aexit__(self, *error: Any) -> None:
                self.group.cancel_scope.cancel()
                await self.group.__aexit__(None, None, None)

            async def execute(self, call: Call, ctx: Context, /) -> object:
                outcome: list[Any] = []
                ended = anyio.Event()

                async def run() -> None:
                    try:
                        outcome.append(await super(Abandoning, self).execute(call, ctx))
                    except Exception as error:
                        outcome.append(error)
                    ended.set()

                self.group.start_soon(run)
                await ended.wait()
                if isinstance(outcome[0], Exception):
                    raise outcome[0]
                return outcome[0]

        return Abandoning()


class LeavesTasksBehind(Broken):
    found_by = ("test_nothing_is_left_when_the_executor_is_closed",)

    def make(self) -> Executor:
        class Leaving(ThreadExecutor):
            async def execute(self, call: Call, ctx: Context, /) -> object:
                LEFT.append(
                    await anyio.open_process(["sleep", "2"], stdout=DEVNULL, stderr=DEVNULL)
                )
                return await super().execute(call, ctx)

        return Leaving()


LEFT: list[Any] = []


class SharesArguments(Broken):
    found_by = ("test_each_attempt_has_arguments_of_its_own",)

    def make(self) -> Executor:
        class Sharing:
            def __init__(self) -> None:
                self.bound: dict[bytes, Any] = {}

            async def execute(self, call: Call, ctx: Context, /) -> object:
                bound = self.bound.setdefault(call.args, call.task.signature.load(call.args))
                return await call.task.fn(ctx, *bound.args, **bound.kwargs)

        return Sharing()


class ForgetsDefaults(Broken):
    found_by = (
        "test_arguments_arrive_and_the_result_comes_back",
        "test_arguments_that_are_left_out_have_their_defaults",
    )

    def make(self) -> Executor:
        class Positional:
            async def execute(self, call: Call, ctx: Context, /) -> object:
                bound = call.task.signature.load(call.args)
                names = call.task.signature.names[len(bound.args) :]
                return await call.task.fn(ctx, *bound.args, *(bound.kwargs[n] for n in names))

        return Positional()


class OneAtATime(Broken):
    found_by = ("test_bodies_run_at_the_same_time",)

    def make(self) -> Executor:
        class Serial(ThreadExecutor):
            def __init__(self) -> None:
                self.lock = anyio.Lock()

            async def execute(self, call: Call, ctx: Context, /) -> object:
                async with self.lock:
                    return await super().execute(call, ctx)

        return Serial()


class CancelsOthersToo(Broken):
    found_by = ("test_a_body_that_is_cancelled_leaves_others_alone",)

    def make(self) -> Executor:
        class Common(ThreadExecutor):
            def __init__(self) -> None:
                self.scopes: list[anyio.CancelScope] = []

            async def execute(self, call: Call, ctx: Context, /) -> object:
                with anyio.CancelScope() as scope:
                    self.scopes.append(scope)
                    try:
                        return await super().execute(call, ctx)
                    except anyio.get_cancelled_exc_class():
                        for one in self.scopes:
                            one.cancel()
                        raise
                raise ConnectionError("the worker is gone")

        return Common()


class SwallowsCancellation(Broken):
    found_by = (
        "test_a_cancelled_body_has_ended_when_its_execution_returns",
        "test_nothing_of_a_cancelled_body_goes_on",
    )

    def make(self) -> Executor:
        class Deaf(ThreadExecutor):
            async def execute(self, call: Call, ctx: Context, /) -> object:
                try:
                    return await super().execute(call, ctx)
                except anyio.get_cancelled_exc_class():
                    return None

        return Deaf()


class IgnoresCancellation(Broken):
    found_by = (
        "test_a_time_limit_ends_a_body",
        "test_nothing_of_a_cancelled_body_goes_on",
    )

    def make(self) -> Executor:
        class Shielding(ThreadExecutor):
            async def execute(self, call: Call, ctx: Context, /) -> object:
                with anyio.move_on_after(0.3, shield=True):
                    return await super().execute(call, ctx)
                return None

        return Shielding()


class TellsAllFailuresAlike(Broken):
    found_by = (
        "test_an_exception_that_is_known_comes_out_as_itself",
        "test_a_body_that_fails_has_run_once",
    )

    def make(self) -> Executor:
        class Alike(ThreadExecutor):
            async def execute(self, call: Call, ctx: Context, /) -> object:
                try:
                    return await super().execute(call, ctx)
                except Exception as error:
                    raise AstroError(str(error), remedy="") from error

        return Alike()


class HidesTheWords(Broken):
    found_by = ("test_any_other_exception_comes_out_with_its_words",)

    def make(self) -> Executor:
        class Silent(ThreadExecutor):
            async def execute(self, call: Call, ctx: Context, /) -> object:
                try:
                    return await super().execute(call, ctx)
                except Exception as error:
                    raise RuntimeError(f"a {type(error).__name__} somewhere") from None

        return Silent()


class TriesAgain(Broken):
    found_by = ("test_a_body_that_fails_has_run_once",)

    def make(self) -> Executor:
        class Stubborn(ThreadExecutor):
            async def execute(self, call: Call, ctx: Context, /) -> object:
                try:
                    return await super().execute(call, ctx)
                except Exception:
                    return await super().execute(call, ctx)

        return Stubborn()


class DiesWithItsBody(Broken):
    found_by = ("test_a_body_that_exits_takes_nobody_with_it",)

    def make(self) -> Executor:
        class Mortal(ThreadExecutor):
            dead = False

            async def execute(self, call: Call, ctx: Context, /) -> object:
                if self.dead:
                    raise ConnectionError("the worker is gone")
                try:
                    return await super().execute(call, ctx)
                except SystemExit:
                    self.dead = True
                    raise

        return Mortal()


class HasAContextOfItsOwn(Broken):
    found_by = (
        "test_the_verbs_of_the_context_do_what_they_do",
        "test_a_call_that_fails_is_raised_in_the_body",
    )

    def make(self) -> Executor:
        class Apart(ThreadExecutor):
            async def execute(self, call: Call, ctx: Context, /) -> object:
                return await super().execute(call, FakeContext())

        return Apart()


class TakesTheEndForAFailure(Broken):
    found_by = ("test_a_run_that_is_given_up_is_no_failure",)

    def make(self) -> Executor:
        class Mistaken(ThreadExecutor):
            async def execute(self, call: Call, ctx: Context, /) -> object:
                try:
                    return await super().execute(call, ctx)
                except (Exception, anyio.get_cancelled_exc_class(), SystemExit):
                    raise
                except BaseException as error:
                    raise RuntimeError("it ended") from error

        return Mistaken()


class BlocksTheLoop(Broken):
    found_by = ("test_a_body_that_blocks_leaves_the_event_loop_alone",)
    patience = timedelta(seconds=2)
    frees_loop = True

    def make(self) -> Executor:
        return InProcessExecutor()


BROKEN = {kind.__name__: kind for kind in Broken.__subclasses__()}


@pytest.fixture(scope="module")
def failed(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, set[str]]:
    folder = tmp_path_factory.mktemp("broken")
    return found_by_suite(__name__, TestExecutorWithEveryPromise, BROKEN, folder)


@pytest.mark.slow
def test_the_sound_one_passes_where_the_broken_ones_fail(failed: Mapping[str, set[str]]) -> None:
    assert failed["TestExecutorWithEveryPromise"] == set()


@pytest.mark.slow
@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_executor_is_found_by_the_tests_meant_for_it(
    failed: Mapping[str, set[str]], name: str
) -> None:
    assert set(BROKEN[name].found_by) <= failed[name]


@pytest.mark.slow
def test_every_test_of_the_suite_finds_something(failed: Mapping[str, set[str]]) -> None:
    tests = {name for name in dir(ExecutorConformance) if name.startswith("test_")} - {*dir(Suite)}
    assert tests - set().union(*failed.values()) == set()
