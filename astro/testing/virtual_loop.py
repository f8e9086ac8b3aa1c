"""The virtual loop: asyncio's event loop, with its own idea of time and of what runs next.

It needs no selector, for nothing outside the process can wake it, and overrides the one method in
which asyncio's loops differ: what to do in one turn. Here that is one callback, or the jump to the
next timer.
"""

from __future__ import annotations

import asyncio
import gc
import heapq
import math
import threading
from collections import Counter, deque
from collections.abc import Callable, Coroutine
from concurrent.futures import Executor
from contextlib import suppress
from contextvars import Context
from hashlib import blake2b
from itertools import count
from operator import itemgetter
from queue import Empty, SimpleQueue
from types import MethodType
from typing import Any, TypeVar, TypeVarTuple

from astro.testing.schedules import Schedule
from astro.testing.stalls import DeadlockError, StepLimitError, ThreadsError, standing

__all__ = ["VirtualLoop"]

T = TypeVar("T")
Ts = TypeVarTuple("Ts")

_ENDING = 100_000  # steps that what is left of a simulation may take to end
_REMEMBERED = 200  # labels of steps, for the message of a StepLimitError
_ROUNDING = 1e-9  # parts of a resolution that sums of floats may be off
_SWEEP = 5_000  # steps between collections of garbage, whose finalizers are steps too
_PATIENCE = 0.05  # seconds of real time that threads get before virtual time passes
_LAST_PATIENCE = 5.0  # seconds of real time that threads get if nothing else can happen

_NO_WORLD = (
    "In virtual time there are no processes and connections: nobody could say how long they take. "
    "Use doubles; a cancel matrix also happens in real time: threads=True."
)


class _Task(asyncio.Task[Any]):
    """A task whose hash is its number.

    anyio keeps tasks in sets, and cancels them in the order of the set: it must not be that of
    addresses in memory.
    """

    def __init__(
        self, coro: Coroutine[Any, Any, Any], *, loop: VirtualLoop, name: Any = None, **options: Any
    ) -> None:
        self.number = loop.number_task()
        self._label = ""
        self._home = loop
        name = f"Task-{self.number}" if name is None else name
        super().__init__(coro, loop=loop, name=name, **options)

    def __hash__(self) -> int:
        return self.number

    @property
    def label(self) -> str:
        """Number and name, which asyncio may give after the task is made."""
        if not self._label:
            self._label = f"{self.get_name()} #{self.number}"
        return self._label

    def cancel(self, msg: Any = None) -> bool:
        self._home.cancelling += 1
        try:
            return super().cancel(msg)
        finally:
            self._home.cancelling -= 1


def _stepping(callback: Any) -> _Task | None:
    """Return the task that a callback continues, if that is what it does."""
    task = getattr(callback, "__self__", None)
    # A method that is written in Python is `cancel`.
    return task if isinstance(task, _Task) and not isinstance(callback, MethodType) else None


def _age(task: asyncio.Task[Any]) -> float:
    return task.number if isinstance(task, _Task) else math.inf


def _label(handle: Any) -> str:
    callback = handle._callback
    task = _stepping(callback)
    if task is not None:
        return task.label
    return str(getattr(callback, "__qualname__", type(callback).__qualname__))


class VirtualLoop(asyncio.BaseEventLoop):
    """Runs callbacks one by one, in virtual time.

    Args:
        limit: How many callbacks may run.
        resolution: Seconds; timers go off at multiples of it, if it is not zero.
        threads: Whether threads may call.
        on_step: Called before each callback, with its number, from 1.

    Attributes:
        steps: How many callbacks have run.
        trace: Hash of what ran.
        cancelling: How deep tasks are being cancelled by what runs now.
    """

    _stopping: bool

    def __init__(
        self,
        schedule: Schedule,
        *,
        limit: int,
        resolution: float,
        threads: bool,
        on_step: Callable[[int], object] | None = None,
    ) -> None:
        super().__init__()
        self.steps = 0
        self.trace = blake2b(digest_size=16)
        self.cancelling = 0
        self._schedule = schedule
        self._on_step = on_step
        self._limit = limit
        self._resolution = resolution
        self._seconds = 0.0
        self._timers: list[tuple[float, float, int, asyncio.TimerHandle]] = []
        self._timer_numbers = count()
        self._task_numbers = count(1)
        self._cancelled: list[tuple[int, asyncio.Handle]] = []
        self._recent: deque[str] = deque(maxlen=_REMEMBERED)
        self._threads = threads
        self._thread = threading.get_ident()
        self._bystanders = set(threading.enumerate())
        self._arrived: SimpleQueue[asyncio.Handle] = SimpleQueue()
        self._refused: ThreadsError | None = None

    def number_task(self) -> int:
        return next(self._task_numbers)

    # --- What asyncio calls ------------------------------------------------------------------

    def time(self) -> float:
        return self._seconds

    def create_task(self, coro: Any, **options: Any) -> asyncio.Task[Any]:
        self._require_open()
        if self.get_task_factory() is not None:
            return super().create_task(coro, **options)
        return _Task(coro, loop=self, **options)

    def call_soon(
        self, callback: Callable[[*Ts], object], *args: *Ts, context: Context | None = None
    ) -> asyncio.Handle:
        self._require_open()
        handle = asyncio.Handle(callback, args, self, context)
        task = _stepping(callback)
        if task is None:
            self._schedule.add(handle, task=0)
        elif self.cancelling:
            self._cancelled.append((task.number, handle))
        else:
            self._schedule.add(handle, task=task.number)
        return handle

    def call_at(
        self,
        when: float,
        callback: Callable[[*Ts], object],
        *args: *Ts,
        context: Context | None = None,
    ) -> asyncio.TimerHandle:
        self._require_open()
        timer = asyncio.TimerHandle(when, callback, args, self, context)
        if when < math.inf:
            entry = (self._rounded(when), self._schedule.tie(), next(self._timer_numbers), timer)
            heapq.heappush(self._timers, entry)
        return timer

    def call_soon_threadsafe(
        self, callback: Callable[[*Ts], object], *args: *Ts, context: Context | None = None
    ) -> asyncio.Handle:
        if threading.get_ident() == self._thread:
            return self.call_soon(callback, *args, context=context)
        handle = asyncio.Handle(callback, args, self, context)
        if self._threads:
            self._require_open()
            self._arrived.put(handle)
        else:
            # The thread is not to blame, and could do nothing about it: the simulation fails.
            self._refused = ThreadsError(f"the thread {threading.current_thread().name!r} called")
            handle.cancel()
        return handle

    def run_in_executor(
        self, executor: Executor | None, func: Callable[[*Ts], T], *args: *Ts
    ) -> asyncio.Future[T]:
        if not self._threads:
            name = getattr(func, "__qualname__", type(func).__qualname__)
            self._refused = ThreadsError(f"{name} was to run in an executor")
            raise self._refused
        return super().run_in_executor(executor, func, *args)

    async def _make_subprocess_transport(self, *args: Any, **kwargs: Any) -> Any:
        raise NotImplementedError(_NO_WORLD)

    async def sock_connect(self, *args: Any, **kwargs: Any) -> None:
        raise NotImplementedError(_NO_WORLD)

    def _run_once(self) -> None:
        self._gather()
        if self._refused is not None:
            raise self._refused
        if not self._schedule:
            self._pass_time()
            return
        handle = self._schedule.take()
        if handle.cancelled():
            return
        self._note(_label(handle))
        if self._on_step is not None:
            self._on_step(self.steps)
        if not handle.cancelled():  # it may be by now
            handle._run()

    # --- Steps and time ----------------------------------------------------------------------

    def _require_open(self) -> None:
        if self.is_closed():
            raise RuntimeError("the simulation is over")

    def _gather(self) -> None:
        """Schedule what has become ready."""
        if self._cancelled:
            # anyio keeps scopes in sets as well: who is cancelled first is chance.
            for number, handle in sorted(self._cancelled, key=itemgetter(0)):
                self._schedule.add(handle, task=number)
            self._cancelled.clear()
        while not self._arrived.empty():
            self._schedule.add(self._arrived.get(), task=0)
        while self._timers and self._timers[0][0] <= self._seconds:
            self._schedule.add(heapq.heappop(self._timers)[3], task=0)

    def _rounded(self, when: float) -> float:
        if self._resolution <= 0.0 or when <= self._seconds:
            return when
        return max(math.ceil(when / self._resolution - _ROUNDING) * self._resolution, when)

    def _note(self, label: str) -> None:
        """Count a step."""
        if self.steps >= self._limit:
            busy = [f"{name} ({n} times)" for name, n in Counter(self._recent).most_common()]
            raise StepLimitError(
                self.steps, self._seconds, busy=busy, waiting=standing(self.tasks())
            )
        self.steps += 1
        self.trace.update(f"{label}@{self._seconds!r}\n".encode())
        self._recent.append(label)
        if self.steps % _SWEEP == 0:
            gc.collect(1)

    def _pass_time(self) -> None:
        """Go to the next timer, since nothing is ready."""
        while self._timers and self._timers[0][3].cancelled():
            heapq.heappop(self._timers)
        if self._stopping or self._wait_for_threads():
            return
        if not self._timers:
            raise DeadlockError(standing(self.tasks()))
        self._seconds = self._timers[0][0]

    def _wait_for_threads(self) -> bool:
        """Return whether a thread has brought something to do."""
        threads = set(threading.enumerate()) - self._bystanders
        if not threads:
            return False
        if not self._threads:
            raise ThreadsError(f"there are threads: {', '.join(sorted(t.name for t in threads))}")
        patience = _PATIENCE if self._timers else _LAST_PATIENCE
        with suppress(Empty):
            self._schedule.add(self._arrived.get(timeout=patience), task=0)
            return True
        return False

    # --- The end -----------------------------------------------------------------------------

    def tasks(self) -> list[asyncio.Task[Any]]:
        """Return the tasks that have not ended, oldest first."""
        return sorted(asyncio.all_tasks(self), key=_age)

    def wind_up(self) -> None:
        """End what is left, and close."""
        stalled = (DeadlockError, StepLimitError, ThreadsError)
        # What is cleaned up may need an answer of the threads that it should not have used.
        allowed, self._threads = self._threads, True
        for _ in range(2):
            self._refused = None
            self._limit = self.steps + _ENDING
            with suppress(*stalled):
                self._drive(self.create_task(self._end(self.tasks())))
            for task in self.tasks():
                # It does not end when it is cancelled; without its code it does.
                with suppress(Exception, asyncio.CancelledError):
                    _close(task)
        self.close()
        self._timers.clear()
        self.set_exception_handler(None)
        self._threads = allowed

    def _drive(self, ending: asyncio.Task[None]) -> None:
        ending.add_done_callback(lambda _: self.stop())
        while not ending.done():
            # What the simulation was stopped by may stop this as well.
            self.run_forever()

    async def _end(self, tasks: list[asyncio.Task[Any]]) -> None:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self.shutdown_asyncgens()


def _close(task: asyncio.Task[Any]) -> None:
    coro = task.get_coro()
    if isinstance(coro, Coroutine):
        coro.close()
