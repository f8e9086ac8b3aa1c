"""Leftovers: what a piece of code can leave behind, and where it is seen.

Threads, file descriptors, child processes and containers are looked at; tasks and exceptions that
nobody retrieved are noted as event loops close and complain. What belongs to an event loop or a
sandbox that is still open is the loop's or the sandbox's, and none of the code's that used it.
"""

from __future__ import annotations

import asyncio
import inspect
import os
import socket
import sys
import threading
from collections.abc import Hashable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Protocol
from weakref import WeakSet

from astro.core.errors import SandboxError
from astro.sandboxes.docker.daemon import Daemon
from astro.sandboxes.docker.leftovers import owner
from astro.testing.replacing import replaced
from astro.testing.stalls import standing

__all__ = ["Children", "Containers", "Descriptors", "Loops", "Probe", "Threads"]

_DESCRIPTORS = Path("/proc/self/fd")
_TASKS = Path("/proc/self/task")
_TURNS = 3  # of a loop that closes: what has been cancelled already may still end
_RUNNERS = ("TestRunner._run_tests_and_fixtures",)  # tasks of those who run tests: anyio's
_POOLS = ("asyncio_", "AnyIO worker thread")  # threads that an event loop ends when it closes
_TRACKER = "multiprocessing.resource_tracker"
_SANDBOX = "astro-pool"  # threads that a sandbox of Docker has as long as it is open


class Probe(Protocol):
    """Looks at one kind of thing that can be left behind."""

    @property
    def kind(self) -> str:
        """What such a thing is called, in the singular."""
        ...

    def look(self) -> Mapping[Hashable, str]:
        """Return all that there are now: what tells one from another, and words for a reader."""
        ...


class Loops:
    """Follows asyncio's event loops: their pending tasks, and what they complain of.

    Attributes:
        complaints: Exceptions that nobody has retrieved, and tasks that were forgotten, so far:
            the kind, and which one it is.
        abandoned: Tasks that were pending when their loop was closed, so far.
    """

    kind = "task"

    def __init__(self) -> None:
        self.complaints: list[tuple[str, str]] = []
        self.abandoned: dict[asyncio.Task[Any], str] = {}
        self._loops: WeakSet[asyncio.AbstractEventLoop] = WeakSet()
        self._older: WeakSet[asyncio.Task[Any]] = WeakSet()

    @contextmanager
    def followed(self) -> Iterator[None]:
        """Follow each loop that is made or runs meanwhile, in any thread."""
        with suppress(RuntimeError):
            self._loops.add(asyncio.get_running_loop())
        base, runner = asyncio.BaseEventLoop, asyncio.Runner
        make, run, complain = base.__init__, base.run_forever, base.call_exception_handler
        close = runner.close

        def made(loop: asyncio.BaseEventLoop, *args: Any, **kwargs: Any) -> None:
            make(loop, *args, **kwargs)
            self._loops.add(loop)

        def run_forever(loop: asyncio.BaseEventLoop) -> None:
            self._meet(loop)
            run(loop)

        def call_exception_handler(loop: asyncio.BaseEventLoop, context: dict[str, Any]) -> None:
            if _nobody_handles(loop):
                self.complaints.append(_told(context))
            complain(loop, context)

        def close_runner(self_: asyncio.Runner) -> None:
            self._note(getattr(self_, "_loop", None))
            close(self_)

        with (
            replaced(base, "__init__", made),
            replaced(base, "run_forever", run_forever),
            replaced(base, "call_exception_handler", call_exception_handler),
            replaced(runner, "close", close_runner),
        ):
            yield

    @property
    def open(self) -> bool:
        """Whether any of them is open, and so keeps what belongs to it."""
        return any(not loop.is_closed() for loop in self._loops)

    def look(self) -> Mapping[Hashable, str]:
        """Return the tasks that are pending now, or were when their loop was closed."""
        tasks = [
            task
            for loop in list(self._loops)
            for task in self._pending(loop)
            # In a loop that stands still, who was told to end cannot.
            if loop.is_running() or not task.cancelling()
        ]
        return self.abandoned | dict(zip(tasks, standing(tasks), strict=True))

    def _meet(self, loop: asyncio.AbstractEventLoop) -> None:
        """Follow a loop from now on; what it does already is older than this."""
        if loop not in self._loops:
            self._older.update(_pending(loop))
            self._loops.add(loop)

    def _note(self, loop: asyncio.AbstractEventLoop | None) -> None:
        """Note what a loop that is about to close would cancel without a word."""
        if loop is None or loop not in self._loops or loop.is_closed() or loop.is_running():
            return
        for _ in range(_TURNS if self._pending(loop) else 0):
            with suppress(RuntimeError):
                loop.run_until_complete(asyncio.sleep(0))
        tasks = self._pending(loop)
        self.abandoned |= zip(tasks, standing(tasks), strict=True)

    def _pending(self, loop: asyncio.AbstractEventLoop) -> list[asyncio.Task[Any]]:
        return [task for task in _pending(loop) if task not in self._older]


def _pending(loop: asyncio.AbstractEventLoop) -> list[asyncio.Task[Any]]:
    """Return the tasks of a loop that can go on: not the current one, nor the runner's."""
    current = asyncio.current_task(loop) if loop.is_running() else None
    return [
        task
        for task in asyncio.all_tasks(loop)
        if task is not current and not _is_exempt(task.get_coro())
    ]


def _is_exempt(coroutine: object) -> bool:
    """Return whether a coroutine runs tests, or was closed, so that nothing goes on with it."""
    if inspect.iscoroutine(coroutine) and inspect.getcoroutinestate(coroutine) == "CORO_CLOSED":
        return True
    return getattr(coroutine, "__qualname__", "") in _RUNNERS


def _nobody_handles(loop: asyncio.AbstractEventLoop) -> bool:
    """Return whether complaints go to nobody but the log, or to what runs tests."""
    handler = loop.get_exception_handler()
    return handler is None or str(getattr(handler, "__module__", "")).startswith("anyio.")


def _told(context: Mapping[str, Any]) -> tuple[str, str]:
    parts = [str(context.get("message", "an event loop complained"))]
    if (error := context.get("exception")) is not None:
        parts.append(repr(error))
    if (task := context.get("task") or context.get("future")) is not None:
        coroutine = getattr(task, "get_coro", lambda: None)()
        parts.append(getattr(coroutine, "__qualname__", type(task).__name__))
    forgotten = error is None and "task" in context
    return "task" if forgotten else "exception", ", ".join(parts)


class Threads:
    """Looks at threads that keep the process alive, and at those of ASTRO.

    Args:
        loops: Whose worker threads are theirs, as long as any of them is open.
    """

    kind = "thread"

    def __init__(self, loops: Loops) -> None:
        self._loops = loops

    def look(self) -> Mapping[Hashable, str]:
        """Return the threads that run now."""
        return {thread: thread.name for thread in threading.enumerate() if self._counts(thread)}

    def _counts(self, thread: threading.Thread) -> bool:
        if thread.name.startswith(_POOLS) and self._loops.open:
            return False
        return not thread.daemon or thread.name.startswith("astro")


class Containers:
    """Looks at the containers of this process, if it had to do with Docker meanwhile.

    What has an open sandbox that others have opened is the sandbox's: it makes containers
    whenever it likes. Once that is closed, what is left of it shows.
    """

    kind = "container"

    def __init__(self) -> None:
        self._asked: set[Daemon] = set()
        self._others: set[threading.Thread] = set()
        self._found: dict[Hashable, str] = {}

    @contextmanager
    def followed(self) -> Iterator[None]:
        """Note who makes containers, or has made some and is done."""
        self.spare()
        begin, close = Daemon.begin, Daemon.close

        def begun(daemon: Daemon, *args: Any, **kwargs: Any) -> Any:
            self._asked.add(daemon)
            return begin(daemon, *args, **kwargs)

        def closed(daemon: Daemon) -> None:
            self._asked.add(daemon)
            close(daemon)

        with replaced(Daemon, "begin", begun), replaced(Daemon, "close", closed):
            yield

    def spare(self) -> None:
        """Leave the sandboxes that are open now to those who have opened them."""
        self._others = _of_sandboxes()

    @property
    def spared(self) -> bool:
        """Whether a sandbox of others is open."""
        return bool(self._others and self._others & _of_sandboxes())

    @property
    def due(self) -> bool:
        """Whether Docker has to be asked."""
        return bool(self._asked) and not self.spared

    def ask(self) -> None:
        """Ask Docker, if that is due; blocks."""
        self._found = {}
        for daemon in list(self._asked) if self.due else ():
            try:
                mine = [one for one in daemon.boxes() if one.owner == owner()]
            except SandboxError:  # it is gone, and its containers with it
                self._asked.discard(daemon)
                continue
            finally:
                daemon.close()  # or its connections are left behind
            self._found |= {
                one.id: one.id[:12] + ("" if one.begun else " (never begun)") for one in mine
            }

    def look(self) -> Mapping[Hashable, str]:
        """Return the containers that there were when Docker was last asked."""
        return self._found


def _of_sandboxes() -> set[threading.Thread]:
    return {one for one in threading.enumerate() if one.name.startswith(_SANDBOX)}


class Descriptors:
    """Looks at file descriptors, where the system shows them in /proc.

    Args:
        containers: Tells whether a sandbox of others is open, which has its connections to Docker.
    """

    kind = "file descriptor"

    def __init__(self, containers: Containers) -> None:
        self._containers = containers

    def look(self) -> Mapping[Hashable, str]:
        """Return the file descriptors that are open now, with what they lead to."""
        found: dict[Hashable, str] = {}
        spared = self._containers.spared
        for number in _listed(_DESCRIPTORS):
            # The one through which the folder is read is gone by now.
            with suppress(OSError):
                target = os.readlink(_DESCRIPTORS / number)
                told = f"{number} -> {target}{_peers(int(number), target)}"
                if int(number) != _of_tracker() and not (spared and "docker" in told):
                    found[number, target] = told
        return found


def _peers(number: int, target: str) -> str:
    """Return which addresses a socket connects, as far as it says."""
    if not target.startswith("socket:"):
        return ""
    with suppress(OSError), socket.socket(fileno=os.dup(number)) as twin:
        told = f" {twin.family.name} {twin.getsockname() or ''}".rstrip()
        with suppress(OSError):
            told += f" to {twin.getpeername() or 'its other end'}"
        return told
    return ""


def _of_tracker() -> int | None:
    """Return the pipe of the process in which multiprocessing keeps account, once for all."""
    tracker = getattr(sys.modules.get(_TRACKER), "_resource_tracker", None)
    number = getattr(tracker, "_fd", None)
    return number if isinstance(number, int) else None


class Children:
    """Looks at child processes, where the system shows them in /proc."""

    kind = "child process"

    def look(self) -> Mapping[Hashable, str]:
        """Return the child processes there are now, those included that nobody has waited for."""
        found: dict[Hashable, str] = {}
        for thread in _listed(_TASKS):
            for pid in _words(_TASKS / thread / "children"):
                command = " ".join(_words(Path("/proc") / pid / "cmdline"))
                if _TRACKER not in command:
                    found[pid] = f"{pid} {command or '(ended, and nobody has waited for it)'}"
        return found


def _listed(folder: Path) -> Iterable[str]:
    with suppress(OSError):
        return os.listdir(folder)
    return ()


def _words(path: Path) -> list[str]:
    with suppress(OSError):
        return path.read_text("utf-8", "replace").replace("\0", " ").split()
    return []
