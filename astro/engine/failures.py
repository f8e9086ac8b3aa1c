"""Failures: what an exception leaves in the journal, and the exception it becomes again.

The live path goes through here too, so that a caller sees the same exception live and replayed.
"""

from __future__ import annotations

import traceback
from typing import Any

import msgspec

from astro.core.codec import to_json
from astro.core.errors import AstroError, CallFailedError
from astro.core.records import UNSET, Failure, as_bytes, as_json
from astro.core.task import Task

__all__ = ["failure_of", "rebuilt"]

_MESSAGE = 4_000  # characters kept of a message


def failure_of(error: BaseException, *, attempts: int, retryable: bool) -> Failure:
    """Return what the journal keeps of an exception."""
    try:
        args = as_json(to_json(list(error.args)))
    except Exception:  # CodecError, or what somebody else's value raises when it is looked at
        args = UNSET
    return Failure(
        type=_printable(_name(type(error))),
        message=_printable(_words(error))[:_MESSAGE],
        attempts=attempts,
        retryable=retryable,
        args=args,
        where=_where(error),
    )


def _words(error: BaseException) -> str:
    """Return what an exception says, even if it was not made to be asked."""
    try:
        return error.problem if isinstance(error, AstroError) else str(error)
    except Exception as second:
        return f"it cannot be shown: {type(second).__name__}"


def rebuilt(task: Task[..., Any], call: str, failure: Failure) -> Exception:
    """Return the exception that a caller of a failed call gets.

    It is of the failure's own class only if the task declares that class in `raises`.
    """
    for declared in task.raises:
        if _name(declared) == failure.type:
            return _instance(declared, failure)
    return CallFailedError(call, failure)


def _instance(declared: type[Exception], failure: Failure) -> Exception:
    args = msgspec.json.decode(as_bytes(failure.args) or b"[]")
    try:
        return declared(*args)
    except Exception:
        # A class whose constructor takes something else than its `args`.
        error = declared.__new__(declared)
        error.args = tuple(args)
        if isinstance(error, AstroError):
            error.problem, error.remedy = failure.message, failure.remedy
        return error


def _name(kind: type[BaseException]) -> str:
    if kind.__module__ in ("builtins", "__main__"):
        return kind.__qualname__
    return f"{kind.__module__}.{kind.__qualname__}"


def _where(error: BaseException) -> str:
    # Extracting the traceback would read the source of every file in it, on the event loop.
    frames = list(traceback.walk_tb(error.__traceback__))
    if not frames:
        return ""
    last, line = frames[-1]
    return f"{last.f_code.co_filename.replace(chr(92), '/').rpartition('/')[2]}:{line}"


def _printable(text: str) -> str:
    """Return the text without what UTF-8 cannot hold."""
    return text.encode("utf-8", "backslashreplace").decode()
