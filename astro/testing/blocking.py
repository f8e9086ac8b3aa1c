"""No blocking: code that makes the event loop wait for the disk, a socket or a clock is an error.

blockbuster (the extra `testing`) guards `time.sleep`, `sqlite3`, files, sockets, locks and pipes of
processes in any thread in which asyncio runs a loop; waiting for a process is added here. What
computes for long is no call that could be guarded: see `watchdog`. What the kernel answers from
memory is left alone.
"""

from __future__ import annotations

import os
import sys
import sysconfig
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from types import FrameType
from typing import Any

from astro.core.errors import MissingExtraError

try:
    import blockbuster
except ImportError as missing:
    raise MissingExtraError("forbid_blocking", extra="testing") from missing

__all__ = ["forbid_blocking"]

_STANDARD = (sysconfig.get_path("stdlib"), sysconfig.get_path("platstdlib"))
_PACKAGES = (sysconfig.get_path("purelib"), sysconfig.get_path("platlib"))
_RUNNERS = ("anyio", "blockbuster", "hypothesis", "pytest_asyncio")  # of async tests
_IN_MEMORY = ("os.getcwd", "os.path.abspath")
_FOR_PROCESSES = ("system", "wait", "waitid", "waitpid")
_AT_ONCE = getattr(os, "WNOHANG", 0)
_EXEMPT = (
    "<frozen importlib._bootstrap>",  # happens once
    "logging/__init__.py",  # goes where who runs the program wants it to go
    "astro/testing/leaks.py",  # reads /proc, which is in memory
)
_UNHINDERED = (
    "astro/stores/sqlite/transactions.py",  # asks after a file that it has open
    "asyncio/unix_events.py",  # asks after a process that has ended
)
_TURN = "asyncio/events.py"  # a callback of the loop; what is beyond runs the loop itself


@contextmanager
def forbid_blocking(*, apart_from: Callable[[str], bool] = lambda path: False) -> Iterator[None]:
    """Raise `blockbuster.BlockingError` at each call that blocks a running event loop.

    Imports may block, since they happen once, and so may the handlers of logging.

    Args:
        apart_from: Tells of a file whether it is part of the tests. What tests do themselves,
            without any other code but the standard library between them and the call, may block.
    """
    guard = blockbuster.BlockBuster()
    for name in _IN_MEMORY:
        guard.functions.pop(name, None)
    for name in _FOR_PROCESSES:
        guard.functions[f"os.{name}"] = blockbuster.BlockBusterFunction(
            os, name, can_block_predicate=_only_asks
        )
    for function in guard.functions.values():
        function.can_block_predicate = _either(function.can_block_predicate, apart_from)
    guard.activate()
    try:
        yield
    finally:
        guard.deactivate()


def _only_asks(*args: Any) -> bool:
    """Return whether a call that waits for a process is told not to wait."""
    return bool(args) and isinstance(args[-1], int) and bool(args[-1] & _AT_ONCE)


def _either(allowed: Callable[..., bool], apart_from: Callable[[str], bool]) -> Callable[..., bool]:
    """Return what allows a call by its arguments, or by who makes it."""

    def allows(*args: Any, **kwargs: Any) -> bool:
        return allowed(*args, **kwargs) or _may_block(sys._getframe(1), apart_from)

    return allows


def _may_block(frame: FrameType | None, apart_from: Callable[[str], bool]) -> bool:
    """Return whether what is done here may block anyhow, or nobody but a test is at work."""
    if _caller(frame).endswith(_UNHINDERED):
        return True
    tests = others = False
    while frame is not None:
        path = frame.f_code.co_filename
        if _ends_with(path, _EXEMPT):
            return True
        if _ends_with(path, (_TURN,)):
            break
        if apart_from(path):
            tests = True
        elif not _is_neutral(path):
            others = True
        frame = frame.f_back
    return tests and not others


def _caller(frame: FrameType | None) -> str:
    """Return the file from which blockbuster's wrapper was called."""
    caller = frame.f_back if frame is not None else None
    return caller.f_code.co_filename.replace("\\", "/") if caller is not None else ""


@cache
def _ends_with(path: str, ends: tuple[str, ...]) -> bool:
    return path.replace("\\", "/").endswith(ends)


@cache
def _is_neutral(path: str) -> bool:
    """Return whether a file belongs to Python, or to what runs async tests."""
    path = path.replace("\\", "/")
    for folder in _PACKAGES:
        if path.startswith(folder):
            return path.removeprefix(folder).split("/")[1] in _RUNNERS
    return path.startswith(("<", *_STANDARD))
