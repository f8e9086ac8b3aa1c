"""Crashing: every commit of every scenario, killed there, and a second time on the way back.

The scenarios are those of the replay corpus and random trees of calls.
"""

from __future__ import annotations

import itertools
import os
import random
import tempfile
from collections.abc import Awaitable, Callable
from concurrent.futures import ProcessPoolExecutor, as_completed
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any

import anyio

from astro import SqliteStore
from astro.testing import CrashReport, crash_matrix, run_deterministically
from soak.telling import SoakError, amount, say
from tests.replays import parts
from tests.simulation import scenarios

__all__ = ["soak"]

TREES = 1_000
TWICE = 40  # crashes of each scenario that are followed by another one
_ANSWERS = {"Sure?": True, "Your name?": "Ada"}
_MANY = 10**9
_RESOLUTION = timedelta(milliseconds=50)  # of looks whether a run has ended
_BY_OTHERS = {"cancel", "fork", "pause"}  # where somebody has to do more than answer


def soak(share: float) -> None:
    names = [name for name in parts.HISTORIES if name not in _BY_OTHERS]
    work: list[tuple[Callable[..., tuple[int, int, int, list[str]]], Any]] = [
        (_history, (name, memory)) for name in names for memory in (True, False)
    ]
    work += [(_tree, (seed, True)) for seed in range(amount(TREES, share))]
    total = {"scenarios": 0, "commits": 0, "crashes": 0, "pairs of them": 0}
    wrong: list[str] = []
    with ProcessPoolExecutor(os.cpu_count()) as pool:
        for done in as_completed([pool.submit(one, *args, share) for one, args in work]):
            commits, crashes, pairs, problems = done.result()
            total["scenarios"] += 1
            total["commits"] += commits
            total["crashes"] += crashes
            total["pairs of them"] += pairs
            wrong += problems
    told = ", ".join(f"{count} {name}" for name, count in total.items())
    say(f"crashing: {told}, {len(wrong)} went wrong")
    if wrong:
        raise SoakError("\n".join(wrong[:20]))


def _history(name: str, memory: bool, share: float) -> tuple[int, int, int, list[str]]:
    task, args, _ = parts.HISTORIES[name]
    found = [part for part in parts.PARTS if part is not task]
    return _crashed(name, task, args, found, memory, amount(TWICE, share))


def _tree(seed: int, memory: bool, share: float) -> tuple[int, int, int, list[str]]:
    (job,) = scenarios.trees(random.Random(seed), 1)
    found = [part for part in scenarios.PARTS if part is not job.task]
    name, args = f"tree {seed}", tuple(map(_without_races, job.args))
    return _crashed(name, job.task, args, found, memory, amount(TWICE, share))


def _without_races(plan: dict[str, Any]) -> dict[str, Any]:
    """Leave out time-outs in bodies: engines that died twice let runs wait for their turn."""
    return {
        "steps": [
            (kind, _without_races(what) if kind in ("tree", "start") else what)
            for kind, what in plan["steps"]
            if kind != "race"
        ]
    }


def _crashed(
    name: str, task: Any, args: tuple[Any, ...], found: list[Any], memory: bool, twice: int
) -> tuple[int, int, int, list[str]]:
    """Return how many commits, crashes and pairs of crashes there were, and what was wrong."""
    with tempfile.TemporaryDirectory(prefix="astro-soak-") as folder:
        numbers = itertools.count()

        def on_a_file(clock: Any) -> SqliteStore:
            path = Path(folder) / f"{next(numbers)}.db"
            return SqliteStore(path, clock=clock, synchronous="NORMAL")

        work = partial(
            crash_matrix,
            task,
            *args,
            parts=found,
            answers=_ANSWERS,
            stores=None if memory else on_a_file,
            twice=twice,
            fails=None,
        )
        try:
            report = _in_virtual_time(work) if memory else anyio.run(work)
        except Exception as error:  # a process pool cannot pass on what it cannot pickle
            where = "in memory" if memory else "on a file"
            return 0, 0, 0, [f"{name}, {where}: {type(error).__name__}: {error}"]
        return report.commits, report.crashes, report.pairs, []


def _in_virtual_time(work: Callable[[], Awaitable[CrashReport]]) -> CrashReport:
    """Let what sleeps by itself sleep in no time, too; threads, of files, would need real time."""
    return run_deterministically(work, seed=None, steps=_MANY, resolution=_RESOLUTION).value
