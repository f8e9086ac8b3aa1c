"""Alone: the programs that are measured in a process of their own.

`python -m benchmarks.alone grow FOLDER ITEMS` and its siblings are started by `processes.py`. Each
prints one line of JSON; `fall` prints nothing, because it is killed.
"""

import argparse
import asyncio
import json
from collections.abc import Awaitable, Callable
from datetime import timedelta
from pathlib import Path

from benchmarks.measuring import measure, median, peak_memory
from benchmarks.on_astro import fan, open_astro, open_engine, resumed

__all__ = ["LEASE", "MARK", "RUN_KEY"]

MARK = "fallen"
"""Name of the file that tells the next process that this one was killed."""

LEASE = timedelta(seconds=2)
"""How long the lease of a killed process keeps others from its runs."""

RUN_KEY = "resumed"
"""Key of the run that outlives its process."""


async def grow(folder: Path, items: int) -> dict[str, float]:
    """Perform a fan of this size; tell its time, and what it added to the peak of memory.

    Small ones are performed several times, because a single one is over too soon to be timed well.
    """
    async with open_astro(folder, "FULL") as system:
        await measure(system, "fan", 100)
        idle = peak_memory()
        times = max(1, 10_000 // items)
        walls = [(await measure(system, "fan", items)).wall for _ in range(times)]
    return {"wall": median(walls), "memory": peak_memory() - idle}


async def fall(folder: Path, items: int) -> dict[str, float]:
    """Finish this many calls, then be killed within the next."""
    async with open_engine(folder, "FULL", lease_for=LEASE) as engine:
        run = await engine.options(key=RUN_KEY).start(resumed, items, str(folder / MARK))
        await run
    raise RuntimeError("The process was to be killed.")


async def fill(folder: Path, items: int) -> dict[str, float]:
    """Perform 50 runs of this many calls."""
    async with open_engine(folder, "NORMAL") as engine:
        finished = [await engine.run(fan, items) for _ in range(50)]
    return {"calls": sum(finished)}


_PROGRAMS: dict[str, Callable[[Path, int], Awaitable[dict[str, float]]]] = {
    "grow": grow,
    "fall": fall,
    "fill": fill,
}


async def main() -> None:
    """Run the program that the command line names."""
    parser = argparse.ArgumentParser(description="Runs one program of the benchmarks alone.")
    parser.add_argument("program", choices=_PROGRAMS)
    parser.add_argument("folder", type=Path)
    parser.add_argument("items", type=int)
    asked = parser.parse_args()
    print(json.dumps(await _PROGRAMS[asked.program](asked.folder, asked.items)))


if __name__ == "__main__":
    asyncio.run(main())
