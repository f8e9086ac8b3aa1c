"""Measuring what a busy machine does not disturb: processor time of one thread, and memory."""

from __future__ import annotations

import gc
import os
import threading
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import anyio
import attrs

__all__ = ["LoopWatch", "resident", "slowness", "watch_loop"]

_STATM = Path("/proc/self/statm")
_LOOK = 0.002  # seconds
_WORK = 0.006  # seconds that a machine of 2026 takes for the work of `slowness`


@attrs.define
class LoopWatch:
    """What the event loop was busy with.

    Attributes:
        longest: Most seconds of processor time between two turns of a task that is always due,
            without Python's own collections of garbage.
        collecting: Seconds of the longest collection of garbage.
        turns: How often the task had its turn.
    """

    longest: float = 0.0
    collecting: float = 0.0
    turns: int = 0


@asynccontextmanager
async def watch_loop() -> AsyncIterator[LoopWatch]:
    """Measure how long tasks have to wait for a turn, in processor time of the loop's thread.

    What other processes take of the machine does not count, nor does waiting for something.
    """
    watch = LoopWatch()

    async def look(collections: list[float]) -> None:
        before = time.thread_time()
        while True:
            await anyio.sleep(_LOOK)
            now = time.thread_time()
            watch.longest = max(watch.longest, now - before - sum(collections))
            watch.collecting = max(watch.collecting, *collections, 0.0)
            watch.turns += 1
            collections.clear()
            before = time.thread_time()

    with _collections() as found:
        async with anyio.create_task_group() as group:
            group.start_soon(look, found)
            yield watch
            group.cancel_scope.cancel()


@contextmanager
def _collections() -> Iterator[list[float]]:
    """Collect how many seconds each collection of garbage in this thread takes."""
    found: list[float] = []
    here, began = threading.get_ident(), 0.0

    def note(phase: str, info: dict[str, Any]) -> None:
        nonlocal began
        if threading.get_ident() != here:
            return
        if phase == "start":
            began = time.thread_time()
        else:
            found.append(time.thread_time() - began)

    gc.callbacks.append(note)
    try:
        yield found
    finally:
        gc.callbacks.remove(note)


def resident() -> int:
    """Return the bytes of memory that the process has at the moment; 0 where nobody tells."""
    if not _STATM.exists():
        return 0
    return int(_STATM.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def slowness() -> float:
    """Return how many times longer this machine takes for the same work than a fast one; from 1."""
    least = min(_timed() for _ in range(5))
    return max(1.0, least / _WORK)


def _timed() -> float:
    began = time.thread_time()
    found: dict[str, int] = {}
    for number in range(60_000):
        found[f"key {number % 100}"] = number
    return time.thread_time() - began
