"""Answering: what a test says instead of calls and people, as `FakeContext` gives it to a task."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any

from astro.core.errors import InvalidArgumentsError, nearest
from astro.core.signature import Bound
from astro.core.task import Task

__all__ = ["given", "in_order", "unanswered"]


async def given(answer: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Any:
    """Return an answer of the test: a value, or what a function gives."""
    if isinstance(answer, BaseException):
        raise answer
    if not callable(answer):
        return answer
    result = answer(*args, **kwargs)
    return await result if inspect.isawaitable(result) else result


def in_order(task: Task[..., Any], bound: Bound) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Return arguments by place as far as they have one, since `len` takes no `text=`."""
    args, kwargs = list(bound.args), dict(bound.kwargs)
    signature = task.signature
    for name in signature.names[signature.positional :]:
        if name in signature.keyword_only or name not in kwargs:
            break
        args.append(kwargs.pop(name))
    return tuple(args), kwargs


def unanswered(what: str, name: str, known: Mapping[str, Any]) -> InvalidArgumentsError:
    """Return the error of a test that has said nothing about something that needs an answer."""
    return InvalidArgumentsError(
        f"The test has no answer for {what}.{nearest(name, known)}",
        remedy=f"Pass FakeContext(answers={{{name!r}: ...}}).",
    )
