"""Agents that are classes: for state and resources, and for more than one task."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Iterator
from typing import Any, ClassVar, Concatenate, ParamSpec, TypeVar

from astro.core.context import Context
from astro.core.errors import InvalidArgumentsError, UnknownTaskError
from astro.core.protocols import Call
from astro.core.task import Task, check_name, require_performs, require_task

__all__ = ["BaseAgent", "performs"]

S = TypeVar("S")
P = ParamSpec("P")
R = TypeVar("R")
_MARK = "__astro_performs__"


def performs(
    task: Task[P, R], /
) -> Callable[
    [Callable[Concatenate[S, Context, P], Coroutine[Any, Any, R]]],
    Callable[Concatenate[S, Context, P], Coroutine[Any, Any, R]],
]:
    """Mark a method as the one that performs a task; its parameters are checked by type.

    Raises:
        InvalidArgumentsError: The method is not async, or takes other arguments than the task.
    """
    require_task(task)

    def mark(
        method: Callable[Concatenate[S, Context, P], Coroutine[Any, Any, R]],
    ) -> Callable[Concatenate[S, Context, P], Coroutine[Any, Any, R]]:
        bare = isinstance(method, staticmethod)
        body = getattr(method, "__func__", method)
        require_performs(body, task, first=("ctx",) if bare else ("self", "ctx"))
        setattr(method, _MARK, task)
        return method

    return mark


class BaseAgent:
    """An agent whose methods perform tasks.

    Subclass it, mark methods with `@performs(task)`, and give instances to an engine. Several
    instances with names of their own form a pool. `async with` is the place for resources: an
    engine enters its agents when it opens and leaves them when it closes.

    Attributes:
        cost: Relative cost of a call, for routing.
        limit: Calls one instance takes at the same moment; None is no limit.
    """

    cost: float = 1.0
    limit: int | None = None
    _methods: ClassVar[dict[str, tuple[Task[..., Any], str]]] = {}

    def __init__(self, *, name: str | None = None) -> None:
        self._name = check_name(name or type(self).__name__, what="agent")
        if not self._methods and type(self).performs is BaseAgent.performs:
            raise InvalidArgumentsError(
                f"{type(self).__name__} performs nothing.",
                remedy="Mark a method: @performs(task).",
            )

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        cls._methods = dict(_marked(cls))

    @property
    def name(self) -> str:
        # A subclass whose __init__ does not call this one still has a name.
        return getattr(self, "_name", type(self).__name__)

    @property
    def performs(self) -> frozenset[str]:
        return frozenset(self._methods)

    @property
    def offers(self) -> tuple[Task[..., Any], ...]:
        """The tasks themselves, so that an engine need not be given them again."""
        return tuple(task for task, _ in self._methods.values())

    async def perform(self, ctx: Context, call: Call, /) -> object:
        """Call the method that performs the task.

        Raises:
            UnknownTaskError: No method does.
        """
        try:
            task, method = self._methods[call.task.name]
        except KeyError:
            raise UnknownTaskError(call.task.name, self._methods) from None
        bound = task.signature.load(call.args)
        return await getattr(self, method)(ctx, *bound.args, **bound.kwargs)


def _marked(cls: type) -> Iterator[tuple[str, tuple[Task[..., Any], str]]]:
    """Yield the tasks that methods of a class perform, inherited ones too."""
    found: dict[str, str] = {}
    for base in reversed(cls.__mro__):
        for attribute, value in vars(base).items():
            task = getattr(value, _MARK, None)
            if isinstance(task, Task):
                other = found.setdefault(task.name, attribute)
                if other != attribute:
                    raise InvalidArgumentsError(
                        f"{cls.__name__} performs {task.name!r} twice, in {other} and {attribute}.",
                        remedy="Keep one of them.",
                    )
                yield task.name, (task, attribute)
