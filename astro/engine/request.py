"""Requests: a call as it was asked for, with the policy that holds for it."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Any, Final

import attrs
import msgspec

from astro.core.codec import clean_text
from astro.core.errors import InvalidArgumentsError
from astro.core.policy import Budget, Retry, misuse
from astro.core.signature import Bound
from astro.core.task import Task

__all__ = ["CallPolicy", "Request", "require_options"]


class CallPolicy(msgspec.Struct, frozen=True, kw_only=True):
    """What `ctx.options` said about the calls of a view; None leaves it to the task."""

    name: str | None = None
    retry: Retry | None = None
    timeout: timedelta | None = None
    deadline: timedelta | None = None
    priority: int | None = None
    detached: bool | None = None
    budget: Budget | None = None


_RULES: Final[Mapping[str, Any]] = {
    field.name: field
    for field in attrs.fields(Task)
    if field.name in ("budget", "deadline", "priority", "retry", "timeout")
}


def require_options(said: Mapping[str, Any]) -> None:
    """Return if `ctx.options` may say this of calls; what holds for `@task` holds here.

    Raises:
        InvalidArgumentsError: An option is none.
        CodecError: The name cannot be kept.
    """
    for what, value in said.items():
        if what == "name":
            _require_name(value)
        elif what == "detached":
            if not isinstance(value, bool):
                raise InvalidArgumentsError(
                    f"{value!r:.60} is no answer to `detached`.", remedy="Pass True or False."
                )
        else:
            try:
                _RULES[what].validator(None, _RULES[what], value)
            except (TypeError, ValueError) as error:
                raise misuse(
                    "ctx.options", error, remedy="Leave it out to take what the task says."
                ) from error


def _require_name(name: object) -> None:
    if not isinstance(name, str) or not name:
        raise InvalidArgumentsError(
            f"{name!r:.60} is no name of a view.", remedy="Pass a text that is not empty."
        )
    clean_text(name, what="name of a view")


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
