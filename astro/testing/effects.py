"""Effects: what a task's code does to the world by itself, seen as it happens.

Code between committed calls may run again after a crash. So an effect that is followed, in the same
attempt, by a verb of the context is in the wrong place: once that verb has committed, a crash makes
the effect happen again. It belongs into a step or a task of its own.

Effects are recognised by Python's audit events (PEP 578): files opened for writing, files removed
or renamed, processes, network connections, requests over HTTP; and by what SQLite is told to change
in a file. A double that stands for the world, say a mailbox kept in a list, reports its own with
`note_effect`; so does what speaks to the world unknown to Python, as some database drivers do.
"""

from __future__ import annotations

import os
import re
import sqlite3
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from threading import Thread
from types import FrameType
from typing import Any, Final

import attrs

from astro.engine.attempt import Attempt, calling
from astro.testing.replacing import replaced

__all__ = ["Effect", "Effects", "note_effect", "watch_effects"]

_WRITES: Final = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
_EVENTS: Final = frozenset(
    {
        "http.client.send",
        "os.chmod",
        "os.chown",
        "os.exec",
        "os.fork",
        "os.link",
        "os.mkdir",
        "os.posix_spawn",
        "os.remove",
        "os.rename",
        "os.rmdir",
        "os.symlink",
        "os.system",
        "os.truncate",
        "os.utime",
        "smtplib.send",
        "socket.connect",
        "socket.sendmsg",
        "socket.sendto",
        "subprocess.Popen",
    }
)
_CHANGE: Final = re.compile(
    r"\s*(with\b.*\b)?(insert|update|delete|replace|create|drop|alter|reindex|vacuum)\b",
    re.IGNORECASE | re.DOTALL,
)
_SECOND: Final = ("http.", "smtplib.", "socket.")  # events whose second argument says where it went
_HOME: Final = str(Path(__file__).parents[1])


@attrs.frozen(kw_only=True)
class Effect:
    """Something that a task's code did.

    Attributes:
        what: The audit event and its first argument, or the name it was noted by.
        where: File and line of the task's code.
        seq: Records of the run's journal when it happened.
    """

    run: str
    call: str
    task: str
    attempt: int
    what: str
    where: str
    seq: int


class Effects:
    """The effects of the attempts that ran while they were watched.

    Attributes:
        seen: In order.
    """

    def __init__(self) -> None:
        self.seen: list[Effect] = []

    def add(self, attempt: Attempt, what: str, where: str) -> None:
        """Take note of an effect of an attempt."""
        self.seen.append(
            Effect(
                run=attempt.run.id,
                call=attempt.call,
                task=attempt.task,
                attempt=attempt.number,
                what=what,
                where=where,
                seq=attempt.run.state.seq,
            )
        )


_watchers: list[Effects] = []
_installed: list[bool] = []  # an audit hook cannot be removed again, so there is one


def note_effect(name: str) -> None:
    """Report an effect of the task that runs here; does nothing unless somebody watches."""
    attempt = calling.get()
    if attempt is not None and _watchers:
        _note(attempt, name, sys._getframe(1))


@contextmanager
def watch_effects() -> Iterator[Effects]:
    """Collect the effects of all attempts, in whatever engine of this process."""
    if not _installed:
        sys.addaudithook(_hook)
        _installed.append(True)
    effects = Effects()
    _watchers.append(effects)
    try:
        with _heard_by_databases(), _followed_into_threads():
            yield effects
    finally:
        _watchers.remove(effects)


def _note(attempt: Attempt, what: str, frame: FrameType) -> None:
    where = _place(frame)
    for effects in _watchers:
        effects.add(attempt, what, where)


def _hook(event: str, args: tuple[Any, ...]) -> None:
    if not _watchers or (event != "open" and event not in _EVENTS):
        return
    attempt = calling.get()
    if attempt is None or (event == "open" and not _is_write(args)):
        return
    target = args[1] if event.startswith(_SECOND) else args[0] if args else ""
    _note(attempt, f"{event}({target!r:.80})", sys._getframe(1))


def _is_write(args: tuple[Any, ...]) -> bool:
    path, _, flags = args
    harmless = isinstance(path, str) and ("__pycache__" in path or path == os.devnull)
    return not harmless and isinstance(flags, int) and bool(flags & _WRITES)


# --- Databases of SQLite -------------------------------------------------------------------------


@contextmanager
def _heard_by_databases() -> Iterator[None]:
    """Hear what a connection that an attempt makes is told, unless it leads to no file."""
    connect = sqlite3.connect

    def connected(database: Any, *args: Any, **kwargs: Any) -> sqlite3.Connection:
        connection: sqlite3.Connection = connect(database, *args, **kwargs)
        if calling.get() is not None and database not in ("", ":memory:"):
            connection.set_trace_callback(_hear)
        return connection

    with replaced(sqlite3, "connect", connected):
        yield


def _hear(statement: str) -> None:
    attempt = calling.get()
    if attempt is not None and _watchers and _CHANGE.match(statement):
        _note(attempt, f"SQL({statement!r:.80})", sys._getframe(1))


# --- Threads -------------------------------------------------------------------------------------


@contextmanager
def _followed_into_threads() -> Iterator[None]:
    """Let threads of an attempt know whose they are: unlike tasks, they do not by themselves."""
    start, submit = Thread.start, ThreadPoolExecutor.submit

    def started(thread: Thread) -> None:
        if (attempt := calling.get()) is not None:
            run: Any = partial(_on_behalf_of, attempt, thread.run)
            vars(thread)["run"] = run
        start(thread)

    def submitted(
        pool: ThreadPoolExecutor, function: Callable[..., Any], /, *args: Any, **kwargs: Any
    ) -> Future[Any]:
        return submit(pool, partial(_on_behalf_of, calling.get(), function), *args, **kwargs)

    with replaced(Thread, "start", started), replaced(ThreadPoolExecutor, "submit", submitted):
        yield


def _on_behalf_of(
    attempt: Attempt | None, function: Callable[..., Any], /, *args: Any, **kwargs: Any
) -> Any:
    token = calling.set(attempt)
    try:
        return function(*args, **kwargs)
    finally:
        calling.reset(token)


def _place(frame: FrameType | None) -> str:
    """Return the innermost place that is neither Python's nor ASTRO's own code."""
    first = frame
    while frame is not None:
        name = frame.f_code.co_filename
        if not name.startswith((_HOME, sys.base_prefix, sys.prefix, "<frozen")):
            return f"{name}:{frame.f_lineno}"
        frame = frame.f_back
    return "" if first is None else f"{first.f_code.co_filename}:{first.f_lineno}"
