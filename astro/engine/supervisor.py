"""The supervisor: background work that belongs to an object, not to the task that opened it.

A task group held open across `__aenter__` would tie an engine to the task that opened it, and
throw its cancellations at the host. Notebooks and test fixtures open in one task and close in
another, so the work runs in a task of its own; a failure is kept and raised to those who ask.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable, Coroutine
from typing import Any

import anyio
import anyio.abc
import anyio.lowlevel

__all__ = [
    "StrayError",
    "Supervisor",
    "apart",
    "current_task",
    "in_event_loop",
    "require_cancelled",
    "to_the_end",
]


def _trio() -> Any:
    """Return trio if it runs this very code.

    Reads what is imported instead of importing: nobody can run under trio without it.
    """
    trio = sys.modules.get("trio")
    return trio if trio is not None and trio.lowlevel.in_trio_run() else None


def in_event_loop() -> bool:
    """Return whether an event loop runs in this thread."""
    return asyncio._get_running_loop() is not None or _trio() is not None


def current_task() -> object:
    """Return the task that runs now, whatever the event loop."""
    trio = _trio()
    found: object = asyncio.current_task() if trio is None else trio.lowlevel.current_task()
    return found


async def require_cancelled() -> None:
    """Raise if the task that runs now is being cancelled; return if only a body pretends so.

    What was cancelled elsewhere raises in whoever awaits it, as if that were cancelled too.
    """
    await anyio.lowlevel.checkpoint_if_cancelled()
    if _trio() is None:
        task = asyncio.current_task()
        if task is None or task.cancelling():
            raise asyncio.CancelledError


class StrayError(Exception):
    """Raised when code has cancelled the task it runs in, or left a cancel scope open in it."""


async def apart(work: Callable[[], Coroutine[Any, Any, None]], give_up: Callable[[], None]) -> None:
    """Do work in a task of its own, so that what it does to its task stays there.

    Args:
        give_up: Cancels the work, when who waits for it is cancelled.

    Raises:
        StrayError: The work has ended its own task.
    """
    if _trio() is not None:
        await work()
        return
    doing = asyncio.get_running_loop().create_task(work())
    try:
        await asyncio.wait({doing})
    except asyncio.CancelledError:
        give_up()
        with anyio.CancelScope(shield=True):
            await _ended(doing)
        if not doing.cancelled():
            doing.exception()  # heard of; the cancellation is what counts
        raise
    if doing.cancelled():
        raise StrayError("it cancelled its own task")
    error = doing.exception()
    if isinstance(error, RuntimeError) and "cancel scope" in str(error):
        raise StrayError("it left a cancel scope open, as a generator does that is not closed")
    if error is not None:
        raise error


async def to_the_end(work: Callable[[], Coroutine[Any, Any, object]]) -> None:
    """Do something to its end, and only then be cancelled.

    A shield keeps off the scopes of anyio, and not `asyncio.Task.cancel()`: the work has a task of
    its own. What is raised is the first cancellation itself, as a scope knows no other.
    """
    with anyio.CancelScope(shield=True):
        if _trio() is not None:
            await work()
            return
        doing = asyncio.get_running_loop().create_task(work())
        hit = await _ended(doing)
    if hit is not None:
        if not doing.cancelled():
            doing.exception()  # heard of; the cancellation is what counts
        raise hit
    doing.result()


async def _ended(doing: asyncio.Task[Any]) -> asyncio.CancelledError | None:
    """Return when a task has ended, with the first cancellation that came meanwhile."""
    hit: asyncio.CancelledError | None = None
    while not doing.done():
        try:
            await asyncio.wait({doing})
        except asyncio.CancelledError as error:
            hit = hit or error
    return hit


class Supervisor:
    """Runs background work from `open` to `close`."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._stop = anyio.Event()
        self._opened = anyio.Event()
        self._closed = anyio.Event()
        self._group: anyio.abc.TaskGroup | None = None
        self._task: object = None
        self.error: BaseException | None = None

    async def open(self) -> None:
        """Begin; work can be spawned once this returns."""
        trio = _trio()
        if trio is not None:
            trio.lowlevel.spawn_system_task(self._main, name=self._name)
        else:
            # The loop keeps only a weak reference to its tasks.
            self._task = asyncio.get_running_loop().create_task(self._main(), name=self._name)
        await self._opened.wait()

    def spawn(self, work: Callable[..., Coroutine[Any, Any, Any]], *args: object) -> None:
        """Run work in the background; a failure of it ends the supervisor."""
        if self._group is None:
            raise RuntimeError("the supervisor is not open")
        self._group.start_soon(work, *args)

    async def close(self) -> None:
        """Cancel what still runs, and return when it has ended."""
        self._stop.set()
        if self._group is not None:
            self._group.cancel_scope.cancel()
        await to_the_end(self._closed.wait)

    async def _main(self) -> None:
        try:
            async with anyio.create_task_group() as group:
                self._group = group
                self._opened.set()
                await self._stop.wait()
                group.cancel_scope.cancel()
        except Exception as error:
            # Kept for those who wait; the host that opened the engine is not interrupted.
            self.error = error
        except BaseException as error:
            self.error = error
            raise
        finally:
            if self.error is None and not self._stop.is_set():
                self.error = RuntimeError("its background work was cancelled")
            self._group = None
            self._closed.set()
