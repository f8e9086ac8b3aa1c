"""Measuring: the shapes of work every system performs, and what one performance cost.

A system is anything that can perform the four shapes: ASTRO, a baseline, a peer. All are
warmed and timed by the same `measure`, so that a ratio compares like with like. Only the
standard library is used here, because the peers import it in environments of their own.
"""

import gc
import resource
import statistics
import sys
import time
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol

__all__ = [
    "BRANCHES",
    "LIMIT",
    "PAUSE",
    "Sample",
    "Shape",
    "Synchronous",
    "System",
    "measure",
    "median",
    "peak_memory",
]

Shape = Literal["chain", "fan", "diamonds", "waits"]
Synchronous = Literal["NORMAL", "FULL"]

LIMIT = 100
"""Calls in flight in a fan and in waits."""

BRANCHES = 50
"""Workflows in flight in diamonds."""

PAUSE = 0.01
"""Seconds that one wait takes."""

_WARM_UP = 50


class System(Protocol):
    """Performs work durably; every method returns how many items it finished."""

    async def chain(self, items: int, /) -> int:
        """Perform calls one after the other, each durable before the next."""
        ...

    async def fan(self, items: int, /) -> int:
        """Perform calls, `LIMIT` at a time."""
        ...

    async def diamonds(self, items: int, /) -> int:
        """Perform workflows of four calls (one, two side by side, one), `BRANCHES` at a time."""
        ...

    async def waits(self, items: int, /) -> int:
        """Perform calls that take `PAUSE` each, `LIMIT` at a time."""
        ...


@dataclass(frozen=True, kw_only=True)
class Sample:
    """What one performance cost.

    Attributes:
        items: Calls, or workflows, performed.
        wall: Seconds that passed.
        cpu: Seconds of processor time, user and system, all threads of the process.
    """

    items: int
    wall: float
    cpu: float


async def measure(system: System, shape: Shape, items: int) -> Sample:
    """Perform the shape once to warm up, then once for the clock.

    Raises:
        RuntimeError: The system did not finish every item.
    """
    await _perform(system, shape, min(items, _WARM_UP))
    gc.collect()
    cpu, wall = time.process_time(), time.perf_counter()
    finished = await _perform(system, shape, items)
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    if finished != items:
        raise RuntimeError(f"{system} finished {finished} of {items} items of {shape}.")
    return Sample(items=items, wall=wall, cpu=cpu)


async def _perform(system: System, shape: Shape, items: int) -> int:
    match shape:
        case "chain":
            return await system.chain(items)
        case "fan":
            return await system.fan(items)
        case "diamonds":
            return await system.diamonds(items)
        case "waits":
            return await system.waits(items)


def median(values: Iterable[float]) -> float:
    """Return the middle value."""
    return statistics.median(values)


def peak_memory() -> int:
    """Return the most resident bytes that this process has held.

    Linux hands `ru_maxrss` down from the parent through fork and exec, so a small child of a
    large process would seem large; the high-water mark of the address space is the child's own.
    """
    with suppress(FileNotFoundError):
        for line in Path("/proc/self/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024
