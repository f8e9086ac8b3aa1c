"""Simulations: an async function on an event loop where the same seed gives the same execution.

Time is virtual: it stands still while anything is ready, and then jumps to the next timer, so that
three days pass in a millisecond. What runs next is decided by a seed. What waits for something that
nothing can bring about is reported, not waited for.
"""

from __future__ import annotations

import gc
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Generic, TypeVar, TypeVarTuple

import anyio
import attrs

from astro.engine.supervisor import in_event_loop
from astro.testing.garbage import only_new_garbage
from astro.testing.schedules import FifoSchedule, SeededSchedule
from astro.testing.virtual_loop import VirtualLoop

__all__ = ["LoopClock", "Simulated", "run_deterministically"]

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)
Ts = TypeVarTuple("Ts")

_START = datetime(2030, 1, 1, tzinfo=UTC)


@attrs.frozen(kw_only=True)
class Simulated(Generic[T_co]):
    """What came of a simulation.

    Attributes:
        value: What the main function returned.
        steps: How many callbacks ran.
        trace: Hash of what ran, in which order and when.
        elapsed: Seconds of virtual time.
    """

    value: T_co
    steps: int
    trace: str
    elapsed: float


class LoopClock:
    """The time of the event loop, as a clock for engines and stores.

    Args:
        start: What it shows when the loop's time is zero; aware.
    """

    def __init__(self, start: datetime = _START) -> None:
        if start.tzinfo is None:
            raise ValueError("the moment has no time zone")
        self._shown = start.astimezone(UTC)

    def now(self) -> datetime:
        """Return the present moment, aware and in UTC."""
        return self._shown + timedelta(seconds=anyio.current_time())

    def monotonic(self) -> float:
        """Return the loop's time, in seconds."""
        return anyio.current_time()

    async def sleep(self, duration: timedelta, /) -> None:
        """Return once so much time has passed."""
        await anyio.sleep(max(duration.total_seconds(), 0.0))

    def jump(self, duration: timedelta) -> None:
        """Set the clock forward, or back; no time passes, and nobody wakes."""
        self._shown += duration


def run_deterministically(
    async_fn: Callable[[*Ts], Awaitable[T]],
    *args: *Ts,
    seed: int | None,
    steps: int = 1_000_000,
    resolution: timedelta = timedelta(0),
    threads: bool = False,
    on_step: Callable[[int], object] | None = None,
) -> Simulated[T]:
    """Run an async function on an event loop of its own, in virtual time.

    Args:
        seed: Decides which of the tasks that are ready goes on; None lets the first.
        steps: How many callbacks may run, so that what never ends is found out.
        resolution: Of timers: they go off at multiples of this, and up to so much late. What looks
            twice a second for something new does it 500,000 times in three days; with a resolution
            of an hour, 72 times.
        threads: Whether threads may be used. They are not deterministic, and whenever time has to
            pass while any lives, they get a moment of real time first.
        on_step: Called before each callback, with its number, from 1. It may cancel tasks.

    Raises:
        DeadlockError: All tasks wait for something that can no longer happen.
        StepLimitError: The function has not returned within the steps.
        ThreadsError: Something used a thread.
        RuntimeError: An event loop runs here already.
    """
    if in_event_loop():
        raise RuntimeError("a simulation is an event loop of its own: call it where none runs")

    async def main() -> T:
        return await async_fn(*args)

    loop = VirtualLoop(
        FifoSchedule() if seed is None else SeededSchedule(seed),
        limit=steps,
        resolution=resolution.total_seconds(),
        threads=threads,
        on_step=on_step,
    )
    with _orderly_garbage():
        try:
            value = loop.run_until_complete(loop.create_task(main(), name="main"))
            return Simulated(
                value=value, steps=loop.steps, trace=loop.trace.hexdigest(), elapsed=loop.time()
            )
        finally:
            loop.wind_up()


@contextmanager
def _orderly_garbage() -> Iterator[None]:
    """Let the loop alone collect garbage, and only what the simulation has made.

    The finalizers of what ran before it would be steps of the simulation, once and never again.
    """
    collecting = gc.isenabled()
    gc.disable()
    try:
        with only_new_garbage():
            yield
            gc.collect()  # it is little now, and would be looked for in everything later, or never
    finally:
        if collecting:
            gc.enable()
