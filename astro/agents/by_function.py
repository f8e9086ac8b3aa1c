"""Agents that are functions: the shortest way to perform a task."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, Concatenate, ParamSpec, TypeVar

import attrs
from attrs.validators import optional

from astro.core.context import Context
from astro.core.policy import EXPENSE, POSITIVE, misuse
from astro.core.protocols import Call
from astro.core.task import Task, check_name, require_performs, require_task

__all__ = ["FunctionAgent", "agent"]

P = ParamSpec("P")
R = TypeVar("R")


@attrs.frozen(kw_only=True, eq=False)
class FunctionAgent:
    """An agent that performs one task by calling one function.

    Attributes:
        cost: Relative cost of a call, for routing.
        limit: Calls it takes at the same moment; None is no limit.
    """

    task: Task[..., Any]
    fn: Callable[..., Awaitable[Any]]
    name: str
    cost: float = attrs.field(default=1.0, validator=EXPENSE)
    limit: int | None = attrs.field(default=None, validator=optional(POSITIVE))

    @property
    def performs(self) -> frozenset[str]:
        return frozenset({self.task.name})

    @property
    def offers(self) -> tuple[Task[..., Any], ...]:
        """The tasks themselves, so that an engine need not be given them again."""
        return (self.task,)

    async def perform(self, ctx: Context, call: Call, /) -> object:
        """Call the function with the call's arguments."""
        bound = self.task.signature.load(call.args)
        return await self.fn(ctx, *bound.args, **bound.kwargs)


def agent(
    task: Task[P, R], /, *, name: str | None = None, cost: float = 1.0, limit: int | None = None
) -> Callable[[Callable[Concatenate[Context, P], Coroutine[Any, Any, R]]], FunctionAgent]:
    """Make an agent of a function with the parameters and the result of a task.

    Raises:
        InvalidArgumentsError: The function is not async, or takes other arguments than the task;
            or the name, the cost or the limit is none.
    """
    require_task(task)

    def make(fn: Callable[Concatenate[Context, P], Coroutine[Any, Any, R]]) -> FunctionAgent:
        label = check_name(name or str(getattr(fn, "__name__", "agent")), what="agent")
        require_performs(fn, task, first=("ctx",))
        try:
            return FunctionAgent(task=task, fn=fn, name=label, cost=cost, limit=limit)
        except (TypeError, ValueError) as error:
            raise misuse(f"the agent {label}", error, remedy="See astro.agent.") from error

    return make
