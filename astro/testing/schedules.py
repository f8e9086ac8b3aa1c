"""Schedules: which of the callbacks that are ready runs next.

Tasks may run in any order, so a seeded schedule gives them any. Callbacks are different: an event
loop promises to run them in the order in which they were scheduled, and code relies on it. So they
stay in order among themselves, and no task overtakes a callback that was scheduled before it.
"""

from __future__ import annotations

import asyncio
import random
from bisect import insort
from collections import deque
from operator import itemgetter
from typing import Protocol, TypeAlias

__all__ = ["FifoSchedule", "Schedule", "SeededSchedule"]

_Numbered: TypeAlias = tuple[int, asyncio.Handle]
_NUMBER = itemgetter(0)


class Schedule(Protocol):
    """Holds what is ready."""

    def add(self, handle: asyncio.Handle, /, *, task: int) -> None:
        """Take one more.

        Args:
            task: Number of the task that it continues, 0 if it is another callback.
        """
        ...

    def take(self) -> asyncio.Handle:
        """Return the one that runs next; there is one."""
        ...

    def tie(self) -> float:
        """Return what puts timers of the same moment in order."""
        ...

    def __len__(self) -> int: ...


class FifoSchedule:
    """First come, first served, as asyncio itself does.

    So whoever wakes the tasks in a set decides by addresses who is first, on any loop.
    """

    def __init__(self) -> None:
        self._queue: deque[asyncio.Handle] = deque()

    def add(self, handle: asyncio.Handle, /, *, task: int) -> None:
        self._queue.append(handle)

    def take(self) -> asyncio.Handle:
        return self._queue.popleft()

    def tie(self) -> float:
        return 0.0

    def __len__(self) -> int:
        return len(self._queue)


class SeededSchedule:
    """Any of the tasks that are ready, or the callback that has waited longest.

    It does not matter in which order tasks became ready: whoever wakes those in a set wakes them
    in the order of their addresses, which no seed decides.
    """

    def __init__(self, seed: int) -> None:
        self._chance = random.Random(seed)
        self._tasks: list[_Numbered] = []
        # Callbacks, each with the tasks that were scheduled behind it.
        self._later: deque[tuple[asyncio.Handle, list[_Numbered]]] = deque()
        self._size = 0

    def add(self, handle: asyncio.Handle, /, *, task: int) -> None:
        self._size += 1
        if task:
            tasks = self._later[-1][1] if self._later else self._tasks
            insort(tasks, (task, handle), key=_NUMBER)
        else:
            self._later.append((handle, []))

    def take(self) -> asyncio.Handle:
        self._size -= 1
        choices = len(self._tasks) + bool(self._later)
        chosen = int(self._chance.random() * choices) if choices > 1 else 0
        if chosen < len(self._tasks):
            return self._tasks.pop(chosen)[1]
        handle, tasks = self._later.popleft()
        if tasks:
            self._tasks = sorted(self._tasks + tasks, key=_NUMBER)
        return handle

    def tie(self) -> float:
        return self._chance.random()

    def __len__(self) -> int:
        return self._size
