"""Requests: a call as it was asked for, with the policy that holds for it."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import msgspec

from astro.core.policy import Budget, Retry
from astro.core.signature import Bound
from astro.core.task import Task

__all__ = ["CallPolicy", "Request"]


class CallPolicy(msgspec.Struct, frozen=True, kw_only=True):
    """What `ctx.options` said about the calls of a view; None leaves it to the task."""

    name: str | None = None
    retry: Retry | None = None
    timeout: timedelta | None = None
    deadline: timedelta | None = None
    priority: int | None = None
    detached: bool | None = None
    budget: Budget | None = None


class Request(msgspec.Struct, frozen=True):
    """A call as it was asked for.

    Attributes:
        undoes: Whether it undoes another one.
        exempt: Whether it is part of an undo: no budget and no pause keeps it from being done.
    """

    task: Task[..., Any]
    bound: Bound
    id: str
    parent: str
    place: str
    policy: CallPolicy
    undoes: bool = False
    exempt: bool = False

    @property
    def retry(self) -> Retry:
        return self.policy.retry or self.task.retry

    @property
    def budget(self) -> Budget | None:
        return None if self.exempt else self.policy.budget or self.task.budget

    @property
    def lasting(self) -> timedelta | None:
        """How long the call may take, all its attempts together."""
        limits = [self.policy.deadline or self.task.deadline]
        if self.budget is not None:
            limits.append(self.budget.time)
        return min((limit for limit in limits if limit is not None), default=None)
