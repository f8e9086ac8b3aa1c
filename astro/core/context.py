"""The context: what a task sees of the engine that performs it.

A protocol, so that a task runs in a unit test with `astro.testing.FakeContext` as well as in an
engine. Everything that a task must not do by itself goes through here: calls, time, chance,
questions.
"""

from __future__ import annotations

import logging
import random
from collections.abc import Awaitable, Callable, Coroutine, Generator, Iterable, Sequence
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, ParamSpec, Protocol, TypeVar, overload
from uuid import UUID

from astro.core.box import TaskBox
from astro.core.policy import Budget, Retry
from astro.core.task import Task

if TYPE_CHECKING:
    from typing_extensions import TypeForm

__all__ = ["ChildRun", "Context", "MapsOver"]

P = ParamSpec("P")
R = TypeVar("R")
R_co = TypeVar("R_co", covariant=True)
A_contra = TypeVar("A_contra", contravariant=True)
T = TypeVar("T")


class MapsOver(Protocol[A_contra, R_co]):
    """A task that one positional argument is enough for."""

    def __call__(self, ctx: Context, item: A_contra, /) -> Awaitable[R_co]: ...


class ChildRun(Protocol[R_co]):
    """A run that was started from inside another one; awaiting it gives its result."""

    @property
    def id(self) -> str: ...

    def __await__(self) -> Generator[Any, Any, R_co]: ...


class Context(Protocol):
    """What a task sees."""

    @property
    def run_id(self) -> str:
        """Id of the run, 32 hexadecimal digits; also its trace id."""
        ...

    @property
    def tenant(self) -> str: ...

    @property
    def key(self) -> str:
        """The idempotency key of this call: the same on every attempt, unlike any other's."""
        ...

    @property
    def attempt(self) -> int:
        """Number of this attempt; the first is 1."""
        ...

    @property
    def token(self) -> int:
        """The fencing token of the run's owner; grows with each owner."""
        ...

    @property
    def deadline(self) -> datetime | None:
        """When this attempt is given up, if ever."""
        ...

    @property
    def log(self) -> logging.LoggerAdapter[logging.Logger]:
        """A logger whose lines carry run, task, call and attempt."""
        ...

    @property
    def sandbox(self) -> TaskBox:
        """The attempt's box for untrusted code; without a sandbox, its verbs raise."""
        ...

    def call(
        self, task: Task[P, R], /, *args: P.args, **kwargs: P.kwargs
    ) -> Coroutine[Any, Any, R]:
        """Ask for a task; done once, never done again.

        Raises:
            CallFailedError: All attempts failed.
            InvalidArgumentsError: The arguments do not fit.
            AmbiguousCallError: A concurrent part of this attempt asks for the same.
        """
        ...

    def step(
        self, fn: Callable[P, Awaitable[R]], /, *args: P.args, **kwargs: P.kwargs
    ) -> Coroutine[Any, Any, R]:
        """Run a plain async function in place, durably, without routing."""
        ...

    async def map(
        self, task: MapsOver[T, R], items: Iterable[T], /, *, limit: int = 100
    ) -> list[R]:
        """Ask for a task once per item, at most `limit` at a time; results in the items' order."""
        ...

    async def starmap(
        self, task: Task[..., R], items: Iterable[Sequence[Any]], /, *, limit: int = 100
    ) -> list[R]:
        """Ask for a task once per tuple of arguments."""
        ...

    async def start(self, task: Task[P, R], /, *args: P.args, **kwargs: P.kwargs) -> ChildRun[R]:
        """Start a run of its own, which is not awaited; awaiting the handle gives its result."""
        ...

    def sleep(self, duration: timedelta | datetime, /) -> Coroutine[Any, Any, None]:
        """Wait for a duration or until a moment; survives restarts."""
        ...

    @overload
    def ask(
        self,
        question: str,
        kind: type[T],
        /,
        *,
        timeout: timedelta | None = None,
        default: T = ...,
    ) -> Coroutine[Any, Any, T]: ...

    # Unions and literals are no classes; the first overload serves checkers without TypeForm.
    @overload
    def ask(
        self,
        question: str,
        kind: TypeForm[T],
        /,
        *,
        timeout: timedelta | None = None,
        default: T = ...,
    ) -> Coroutine[Any, Any, T]: ...

    def ask(
        self,
        question: str,
        kind: Any,
        /,
        *,
        timeout: timedelta | None = None,
        default: Any = ...,
    ) -> Coroutine[Any, Any, Any]:
        """Ask a person and wait for the answer, for days if need be.

        Raises:
            TaskTimeoutError: Nobody answered in time and there is no default.
        """
        ...

    def now(self, name: str = "", /) -> datetime:
        """Return the present moment; a resumed attempt gets the same one."""
        ...

    def uuid(self, name: str = "", /) -> UUID:
        """Return a UUID that depends on run, call and name only."""
        ...

    def random(self, name: str = "", /) -> random.Random:
        """Return a source of chance that depends on run, call and name only."""
        ...

    def emit(self, name: str, value: object = None, /) -> None:
        """Tell observers something, once, however often the code runs."""
        ...

    def spend(self, *, money: float = 0.0, tokens: int = 0) -> Awaitable[None]:
        """Count something against the budgets of the call, its callers and the run.

        It counts at once; awaiting what is returned waits until it is kept.

        Raises:
            BudgetExceededError: The budget is used up; what was spent is recorded.
        """
        ...

    def branch(self, name: str, /) -> Context:
        """Return a view for one of several concurrent parts, whose calls carry its name."""
        ...

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
    ) -> Context:
        """Return a view whose next calls have another policy than their tasks."""
        ...
