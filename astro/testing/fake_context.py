"""FakeContext: a context for unit tests of tasks, without an engine, a store or a wait.

Calls run the bodies of their tasks in place, or give what the test says instead. Values cross the
same codecs and failures take the same form as in an engine, so that what passes here does not
fail there for want of a JSON form. Nothing is routed, retried or remembered.
"""

from __future__ import annotations

import inspect
import logging
import random
from collections.abc import (
    Awaitable,
    Callable,
    Coroutine,
    Generator,
    Iterable,
    Mapping,
    Sequence,
)
from datetime import UTC, datetime, timedelta
from hashlib import blake2b
from typing import Any, Final, Generic, ParamSpec, TypeVar
from uuid import UUID

import attrs
import msgspec
from anyio.lowlevel import checkpoint

from astro.core.codec import codec_of, to_json
from astro.core.context import ChildRun, MapsOver
from astro.core.errors import (
    AstroError,
    InvalidArgumentsError,
    RunFailedError,
    SandboxUnavailableError,
    TaskTimeoutError,
    nearest,
)
from astro.core.policy import Budget, Retry
from astro.core.signature import Bound
from astro.core.task import Task, step_task
from astro.decisions.budget import require_within
from astro.decisions.spending import Scope
from astro.engine.failures import failure_of, rebuilt

__all__ = ["FakeCall", "FakeContext", "FakeRun"]

P = ParamSpec("P")
R = TypeVar("R")
R_co = TypeVar("R_co", covariant=True)
T = TypeVar("T")

_START: Final = datetime(2026, 1, 1, tzinfo=UTC)
_MISSING: Final[Any] = object()
_LOGGER: Final = logging.getLogger("astro.task")


@attrs.frozen(kw_only=True)
class FakeCall:
    """One task or step that was asked for.

    Attributes:
        args: The arguments by parameter name, as plain JSON values; defaults are left out.
        place: The branch that asked.
    """

    task: str
    args: Mapping[str, Any]
    place: str = ""


class FakeRun(Generic[R_co]):
    """A run that a task has started; it has already ended."""

    def __init__(self, id: str, result: Any = None, error: Exception | None = None) -> None:
        self.id = id
        self._result = result
        self._error = error

    def __await__(self) -> Generator[Any, Any, R_co]:
        return self._wait().__await__()

    async def _wait(self) -> R_co:
        await checkpoint()
        if self._error is not None:
            failure = failure_of(self._error, attempts=1, retryable=False)
            raise RunFailedError(self.id, failure) from self._error
        result: R_co = self._result
        return result


@attrs.define(kw_only=True)
class _World:
    """What all views of one context share."""

    answers: Mapping[str, Any]
    seed: int
    now: datetime
    calls: list[FakeCall] = attrs.field(factory=list)
    asked: list[str] = attrs.field(factory=list)
    emitted: list[tuple[str, Any]] = attrs.field(factory=list)
    slept: list[timedelta] = attrs.field(factory=list)
    money: float = 0.0
    tokens: int = 0


class FakeContext:
    """What a task sees in a unit test.

    Args:
        answers: What tasks, steps and people answer, by the task's name or the question's words:
            a value; an exception, which is raised as a failed call is; or a function, sync or
            async, of the call's arguments. What has no answer here runs its body.
        now: Where the context's own time begins; only `sleep` moves it.
        seed: What `uuid` and `random` derive from.
        budget: What `spend` is held against.
        sandbox: The box for untrusted code, usually a double.

    Attributes:
        calls: Everything that was asked for, in order.
        asked: The questions, in order.
        emitted: Pairs of name and value, in order.
        slept: How long each sleep was.
        money: What was spent.
        tokens: What was spent.
    """

    def __init__(
        self,
        *,
        answers: Mapping[str, Any] | None = None,
        run_id: str = "0" * 32,
        tenant: str = "default",
        attempt: int = 1,
        token: int = 1,
        deadline: datetime | None = None,
        now: datetime = _START,
        seed: int = 0,
        budget: Budget | None = None,
        sandbox: Any = None,
    ) -> None:
        self._world = _World(answers=dict(answers or {}), seed=seed, now=now)
        self._path = "task"
        self._place = ""
        self._name: str | None = None
        self._budget = budget or Budget()
        self._sandbox = sandbox
        self.run_id = run_id
        self.tenant = tenant
        self.attempt = attempt
        self.token = token
        self.deadline = deadline
        world = self._world
        self.calls, self.asked = world.calls, world.asked
        self.emitted, self.slept = world.emitted, world.slept

    # --- Who and when ------------------------------------------------------------------------

    @property
    def key(self) -> str:
        return f"{self.run_id}/{self._path}"

    @property
    def money(self) -> float:
        return self._world.money

    @property
    def tokens(self) -> int:
        return self._world.tokens

    @property
    def log(self) -> logging.LoggerAdapter[logging.Logger]:
        fields = {
            "run": self.run_id,
            "task": self._path.rpartition("/")[2],
            "call": self._path,
            "attempt": self.attempt,
            "tenant": self.tenant,
            "trace_id": self.run_id,
        }
        return logging.LoggerAdapter(_LOGGER, fields)

    @property
    def sandbox(self) -> Any:
        if self._sandbox is None:
            raise SandboxUnavailableError(
                "This context has no sandbox.", remedy="Pass one: FakeContext(sandbox=...)."
            )
        return self._sandbox

    # --- Calls -------------------------------------------------------------------------------

    def call(
        self, task: Task[P, R], /, *args: P.args, **kwargs: P.kwargs
    ) -> Coroutine[Any, Any, R]:
        return self._ask(task, task.signature.bind(args, kwargs), task.name)

    def step(
        self, fn: Callable[P, Awaitable[R]], /, *args: P.args, **kwargs: P.kwargs
    ) -> Coroutine[Any, Any, R]:
        task = step_task(fn, self._name)
        return self._ask(task, task.signature.bind(args, kwargs), task.name)

    async def map(
        self, task: MapsOver[T, R], items: Iterable[T], /, *, limit: int = 100
    ) -> list[R]:
        return await self.starmap(task, ((item,) for item in items), limit=limit)  # type: ignore[arg-type]  # every task is one

    async def starmap(
        self, task: Task[..., R], items: Iterable[Sequence[Any]], /, *, limit: int = 100
    ) -> list[R]:
        bounds = [task.signature.bind(tuple(item), {}) for item in items]
        asked = [self._ask(task, bound, f"{task.name}[{i}]") for i, bound in enumerate(bounds)]
        try:
            return [await one for one in asked]
        finally:
            for one in asked:
                one.close()  # those behind the one that failed

    async def start(self, task: Task[P, R], /, *args: P.args, **kwargs: P.kwargs) -> ChildRun[R]:
        bound = task.signature.bind(args, kwargs)
        id = self._derived("run", f"{task.name}/{len(self.calls)}", 16).hex()
        try:
            return FakeRun(id, await self._ask(task, bound, f"{task.name}+"))
        except Exception as error:
            return FakeRun(id, error=error)

    def _ask(self, task: Task[..., Any], bound: Bound, name: str) -> Coroutine[Any, Any, Any]:
        """Note the call, now; the coroutine does it."""
        args = msgspec.json.decode(bound.raw)
        self.calls.append(FakeCall(task=task.name, args=args, place=self._place))
        return self._performed(task, bound, f"{self._path}/{self._place}{name}")

    async def _performed(self, task: Task[..., Any], bound: Bound, path: str) -> Any:
        await checkpoint()
        loaded = task.signature.load(bound.raw)
        try:
            if task.name in self._world.answers:
                result = await _given(self._world.answers[task.name], *_in_order(task, loaded))
            elif task.needs_agent:
                raise _unanswered(f"the task {task.name!r}", task.name, self._world.answers)
            else:
                ahead = (self._inside(path),) * task.skip
                result = await task.fn(*ahead, *loaded.args, **loaded.kwargs)
            return task.signature.returns.settle(result)[1]
        except (AssertionError, InvalidArgumentsError):
            raise  # the test's own mistake, not the task's failure
        except Exception as error:
            retryable = not isinstance(error, AstroError) or error.retryable
            failure = failure_of(error, attempts=1, retryable=retryable)
            raise rebuilt(task, path, failure) from error

    # --- Time and people ---------------------------------------------------------------------

    async def sleep(self, duration: timedelta | datetime, /) -> None:
        await checkpoint()
        world = self._world
        wanted = duration - world.now if isinstance(duration, datetime) else duration
        world.slept.append(max(wanted, timedelta(0)))
        world.now += world.slept[-1]

    async def ask(
        self,
        question: str,
        kind: Any,
        /,
        *,
        timeout: timedelta | None = None,
        default: Any = _MISSING,
    ) -> Any:
        await checkpoint()
        self.asked.append(question)
        if question in self._world.answers:
            answer = await _given(self._world.answers[question], (), {})
            return codec_of(kind).settle(answer)[1]
        if timeout is None:
            raise _unanswered(f"the question {question!r}", question, self._world.answers)
        await self.sleep(timeout)
        if default is _MISSING:
            raise TaskTimeoutError(
                f"Nobody answered {question!r} in time.", remedy="Give ask() a default."
            )
        return codec_of(kind).settle(default)[1]

    def now(self, name: str = "", /) -> datetime:
        return self._world.now

    def emit(self, name: str, value: object = None, /) -> None:
        self.emitted.append((name, msgspec.json.decode(to_json(value))))

    def spend(self, *, money: float = 0.0, tokens: int = 0) -> Awaitable[None]:
        world = self._world
        world.money += money
        world.tokens += tokens
        require_within([Scope(used_money=world.money, used_tokens=world.tokens)], self._budget)
        return _Turn()

    # --- Chance ------------------------------------------------------------------------------

    def uuid(self, name: str = "", /) -> UUID:
        return UUID(bytes=self._derived("uuid", name, 16), version=4)

    def random(self, name: str = "", /) -> random.Random:
        return random.Random(int.from_bytes(self._derived("random", name, 32), "big"))

    def _derived(self, what: str, name: str, size: int) -> bytes:
        said = "\0".join((what, str(self._world.seed), self._path, self._place, name))
        return blake2b(said.encode(), digest_size=size).digest()

    # --- Views -------------------------------------------------------------------------------

    def branch(self, name: str, /) -> FakeContext:
        return self._view(place=f"{self._place}{name}/")

    def options(
        self,
        *,
        name: str | None = None,
        retry: Retry | None = None,
        timeout: timedelta | None = None,
        deadline: timedelta | None = None,
        priority: int | None = None,
        detached: bool | None = None,
        budget: Budget | None = None,
    ) -> FakeContext:
        return self._view(name=name or self._name)

    def _inside(self, path: str) -> FakeContext:
        """Return what the body of a call sees."""
        return self._view(path=path, place="", name=None)

    def _view(self, **changed: Any) -> FakeContext:
        view = FakeContext.__new__(FakeContext)
        vars(view).update(vars(self))
        vars(view).update({f"_{name}": value for name, value in changed.items()})
        return view


class _Turn:
    """Nothing to wait for but others' turn."""

    def __await__(self) -> Generator[Any, Any, None]:
        return checkpoint().__await__()


async def _given(answer: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Any:
    """Return an answer of the test: a value, or what a function gives."""
    if isinstance(answer, BaseException):
        raise answer
    if not callable(answer):
        return answer
    result = answer(*args, **kwargs)
    return await result if inspect.isawaitable(result) else result


def _in_order(task: Task[..., Any], bound: Bound) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Return arguments by place as far as they have one, since `len` takes no `text=`."""
    args, kwargs = list(bound.args), dict(bound.kwargs)
    signature = task.signature
    for name in signature.names[signature.positional :]:
        if name in signature.keyword_only or name not in kwargs:
            break
        args.append(kwargs.pop(name))
    return tuple(args), kwargs


def _unanswered(what: str, name: str, known: Mapping[str, Any]) -> InvalidArgumentsError:
    return InvalidArgumentsError(
        f"The test has no answer for {what}.{nearest(name, known)}",
        remedy=f"Pass FakeContext(answers={{{name!r}: ...}}).",
    )
