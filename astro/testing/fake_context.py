"""FakeContext: a context for unit tests of tasks, without an engine, a store or a wait.

Calls run the bodies of their tasks in place, or give what the test says instead. Values cross the
same codecs, failures take the same form, and verbs refuse the same things as in an engine, so that
what passes here does not fail there. Nothing is routed, retried or remembered.
"""

from __future__ import annotations

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

from astro.core.codec import clean_text, codec_of, to_json
from astro.core.context import ChildRun, MapsOver
from astro.core.errors import (
    AstroError,
    InvalidArgumentsError,
    RunFailedError,
    SandboxUnavailableError,
    TaskTimeoutError,
)
from astro.core.policy import Budget, Retry
from astro.core.signature import Bound
from astro.core.task import Task, require_task, step_task
from astro.decisions.budget import require_within
from astro.decisions.spending import Scope
from astro.engine.failures import failure_of, rebuilt
from astro.engine.request import require_options
from astro.testing import refusing
from astro.testing.answering import given, in_order, unanswered

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
        bound = require_task(task).signature.bind(args, kwargs)
        return self._ask(task, bound, task.name)

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
        signature = require_task(task).signature
        refusing.require_limit(limit)
        bounds = [signature.bind(tuple(item), {}) for item in items]
        asked = [self._ask(task, bound, f"{task.name}[{i}]") for i, bound in enumerate(bounds)]
        try:
            return [await one for one in asked]
        finally:
            for one in asked:
                one.close()  # those behind the one that failed

    async def start(self, task: Task[P, R], /, *args: P.args, **kwargs: P.kwargs) -> ChildRun[R]:
        bound = require_task(task).signature.bind(args, kwargs)
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
                result = await given(self._world.answers[task.name], *in_order(task, loaded))
            elif task.needs_agent:
                raise unanswered(f"the task {task.name!r}", task.name, self._world.answers)
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

    def sleep(self, duration: timedelta | datetime, /) -> Coroutine[Any, Any, None]:
        self._require_words(duration)
        return self._slept(duration)

    async def _slept(self, duration: timedelta | datetime, verb: str = "sleep") -> None:
        await checkpoint()
        world = self._world
        wanted = refusing.moment_after(duration, world.now, verb=verb) - world.now
        world.slept.append(max(wanted, timedelta(0)))
        world.now += world.slept[-1]

    def ask(
        self,
        question: str,
        kind: Any,
        /,
        *,
        timeout: timedelta | None = None,
        default: Any = _MISSING,
    ) -> Coroutine[Any, Any, Any]:
        clean_text(question, what="question", cap=100_000)
        return self._answered(question, kind, timeout, default)

    async def _answered(
        self, question: str, kind: Any, timeout: timedelta | None, default: Any
    ) -> Any:
        await checkpoint()
        refusing.require_question(kind)
        if timeout is not None:
            refusing.moment_after(timeout, self._world.now, verb="timeout")
        instead = None if default is _MISSING else codec_of(kind).settle(default)
        self.asked.append(question)
        if question in self._world.answers:
            answer = await given(self._world.answers[question], (), {})
            return codec_of(kind).settle(answer)[1]
        if timeout is None:
            raise unanswered(f"the question {question!r}", question, self._world.answers)
        await self._slept(timeout, "timeout")
        if instead is None:
            raise TaskTimeoutError(
                f"Nobody answered {question!r:.200} in time.", remedy="Give ask() a default."
            )
        return instead[1]

    def now(self, name: str = "", /) -> datetime:
        self._require_words(name)
        return self._world.now

    def emit(self, name: str, value: object = None, /) -> None:
        plain = msgspec.json.decode(to_json(value))
        clean_text(name, what="name of an event")
        self.emitted.append((name, plain))

    def spend(self, *, money: float = 0.0, tokens: int = 0) -> Awaitable[None]:
        refusing.require_spendable(money, tokens)
        world = self._world
        world.money += money
        world.tokens += tokens
        require_within([Scope(used_money=world.money, used_tokens=world.tokens)], self._budget)
        return _Turn()

    def _require_words(self, what: object) -> None:
        """Return if a live context could remember a verb by this."""
        to_json(self._name or what)

    # --- Chance ------------------------------------------------------------------------------

    def uuid(self, name: str = "", /) -> UUID:
        return UUID(bytes=self._derived("uuid", name, 16), version=4)

    def random(self, name: str = "", /) -> random.Random:
        return random.Random(int.from_bytes(self._derived("random", name, 32), "big"))

    def _derived(self, what: str, name: str, size: int) -> bytes:
        clean_text(name, what="name for chance")
        said = "\0".join((what, str(self._world.seed), self._path, self._place, name))
        return blake2b(said.encode(), digest_size=size).digest()

    # --- Views -------------------------------------------------------------------------------

    def branch(self, name: str, /) -> FakeContext:
        refusing.require_branch(name)
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
        said = {
            "name": name,
            "retry": retry,
            "timeout": timeout,
            "deadline": deadline,
            "priority": priority,
            "detached": detached,
            "budget": budget,
        }
        require_options({key: value for key, value in said.items() if value is not None})
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
