"""A watchdog of the event loop: how long it stood still, and in which line.

A thread asks the loop again and again to do next to nothing, and measures how long that takes. So
it sees what no list of blocking functions contains: a loop of one's own, a regular expression
that goes back and forth, the JSON of something large.
"""

from __future__ import annotations

import asyncio
import sys
import threading
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import timedelta
from types import FrameType
from typing import Any

import attrs

from astro.core.clock import Clock, SystemClock

__all__ = ["LoopWatch", "watch_loop"]

_LIMIT = timedelta(milliseconds=100)
_SHARE = 10  # times within the limit that the loop is asked
_KEPT = 100  # stacks
_IDLE = ("/selectors.py", "asyncio/windows_events.py", "trio/_core/_io_epoll.py")
_MACHINERY = ("asyncio/base_events.py", "asyncio/events.py", "trio/_core/_run.py")


class LoopWatch:
    """What a watchdog has seen so far.

    A machine with much to do makes a loop stand still too. Assert on `longest` with that in mind.

    Attributes:
        limit: What it takes to be noticed.
        longest: For how long the loop stood still at most, until it last turned.
        stacks: Where it stood, as text, each time that it stood still for longer than the limit.
    """

    def __init__(self, limit: timedelta) -> None:
        self.limit = limit
        self.longest = timedelta(0)
        self.stacks: list[str] = []


@contextmanager
def watch_loop(limit: timedelta = _LIMIT) -> Iterator[LoopWatch]:
    """Watch the event loop that runs here, until the block ends; fails nothing by itself.

    Raises:
        RuntimeError: No event loop runs here.
        ValueError: The limit is zero or negative.
    """
    if limit <= timedelta(0):
        raise ValueError(f"a loop cannot turn within {limit}")
    watch = LoopWatch(limit)
    dog = _Watchdog(watch, _here())
    dog.start()
    try:
        yield watch
    finally:
        dog.stop()


@attrs.frozen
class _Loop:
    """An event loop, seen from another thread.

    Attributes:
        ask: Makes it call a function.
        runs: Tells whether it runs, given what its thread does. Between the parts of a test it
            does not, and nobody is to blame.
    """

    ask: Callable[[Callable[[], object]], object]
    runs: Callable[[FrameType | None], bool]


def _here() -> _Loop:
    """Return the loop that runs here."""
    with suppress(RuntimeError):
        loop = asyncio.get_running_loop()
        return _Loop(loop.call_soon_threadsafe, lambda _: loop.is_running())
    trio: Any = sys.modules.get("trio")
    if trio is None or not trio.lowlevel.in_trio_run():
        raise RuntimeError("there is no event loop to watch: call watch_loop() where one runs")
    token = trio.lowlevel.current_trio_token()
    return _Loop(token.run_sync_soon, _has_machinery)


class _Answer:
    """What the loop does when it is asked: it notes how long that took, in its own thread."""

    def __init__(self, watch: LoopWatch, clock: Clock, asked: float) -> None:
        self._watch = watch
        self._clock = clock
        self._asked = asked
        self.given = threading.Event()
        self.void = False

    def give(self) -> None:
        if not self.void and not self.given.is_set():
            self._watch.longest = max(self._watch.longest, self.pending)
        self.given.set()

    @property
    def pending(self) -> timedelta:
        """How long ago it was that the loop was asked."""
        return timedelta(seconds=self._clock.monotonic() - self._asked)


class _Watchdog:
    """The thread, and its conversation with the loop."""

    def __init__(self, watch: LoopWatch, loop: _Loop) -> None:
        self._watch = watch
        self._loop = loop
        self._clock = SystemClock()
        self._limit = watch.limit.total_seconds()
        self._ident = threading.get_ident()
        self._over = threading.Event()
        self._pending: _Answer | None = None
        self._thread = threading.Thread(target=self._work, name="astro watchdog", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """End in the thread of the loop, which therefore answers no more."""
        self._over.set()
        if self._pending is not None:
            self._pending.give()
        self._thread.join()

    def _work(self) -> None:
        pause = self._limit / _SHARE
        due = self._clock.monotonic() + pause
        while not self._over.wait(pause):
            now = self._clock.monotonic()
            # Some functions written in C let no other thread run until they are done.
            held = now - due > self._limit and self._is_at_work()
            answer = self._pending = _Answer(self._watch, self._clock, due if held else now)
            if self._over.is_set():  # and has not seen this answer
                return
            try:
                self._loop.ask(answer.give)
            except RuntimeError:  # the loop was closed meanwhile
                return
            self._wait(answer, kept=held)
            due = self._clock.monotonic() + pause

    def _wait(self, answer: _Answer, *, kept: bool) -> None:
        """Wait until the loop turns; look what it does if that takes long."""
        while not answer.given.wait(self._limit / _SHARE):
            frame = sys._current_frames().get(self._ident)
            if not self._loop.runs(frame):
                answer.void = True
                answer.given.wait()
            elif not kept and answer.pending > self._watch.limit:
                self._keep(frame)
                kept = True

    def _is_at_work(self) -> bool:
        """Return whether the loop runs something just now; if so, keep what it is."""
        frame = sys._current_frames().get(self._ident)
        at_work = frame is not None and self._loop.runs(frame) and not _is_idle(frame)
        if at_work:
            self._keep(frame)
        return at_work

    def _keep(self, frame: FrameType | None) -> None:
        stack = _stack(frame)
        # What leads to the loop is the same every time.
        own = [number for number, (one, _) in enumerate(stack) if _is_machinery(one)][-1:]
        told = traceback.StackSummary.extract(stack[own[0] + 1 :] if own else stack)
        if len(self._watch.stacks) < _KEPT:
            self._watch.stacks.append("".join(told.format()))


def _stack(frame: FrameType | None) -> list[tuple[FrameType, int]]:
    """Return the frames of a stack with their lines, outermost first."""
    return list(traceback.walk_stack(frame))[::-1] if frame is not None else []


def _has_machinery(frame: FrameType | None) -> bool:
    return any(_is_machinery(one) for one, _ in _stack(frame))


def _is_machinery(frame: FrameType) -> bool:
    return _path(frame).endswith(_MACHINERY)


def _is_idle(frame: FrameType) -> bool:
    return _path(frame).endswith(_IDLE)


def _path(frame: FrameType) -> str:
    return frame.f_code.co_filename.replace("\\", "/")
