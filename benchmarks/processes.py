"""Processes: goals about a whole process: its memory, its death, its files, its imports.

Each measurement takes the number of rounds and a folder for databases, and gives its verdicts.
"""

import asyncio
import json
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from pathlib import Path

from benchmarks.alone import LEASE, MARK, RUN_KEY
from benchmarks.measuring import median
from benchmarks.on_astro import open_engine, resumed
from benchmarks.peers.environments import ROOT
from benchmarks.workloads import Verdict

__all__ = ["PROCESSES", "Measurement"]

Measurement = Callable[[int, Path], list[Verdict]]

_SMALL, _LARGE = 1_000, 100_000
_FINISHED = 10_000
_FEW, _MANY = 10_000, 1_000_000
_LISTED = 50

_FLOOR = "import anyio, attrs, aiosqlite, msgspec"
_DOOR = "from astro import LocalEngine, SqliteStore, task"
_CLOCK = "import sys, time; started = time.process_time(); {}; cpu = time.process_time() - started"
_ANSWER = "import json; print(json.dumps([cpu, [*{'docker', 'tenacity'} & set(sys.modules)]]))"


def growth(rounds: int, scratch: Path) -> list[Verdict]:
    """Measure what a call costs in a run of 100,000, beside one of 1,000 (WAL FULL)."""
    slower, memory = [], []
    for _ in range(rounds):
        with tempfile.TemporaryDirectory(dir=scratch) as small_folder:
            small = _alone("grow", Path(small_folder), _SMALL)
        with tempfile.TemporaryDirectory(dir=scratch) as large_folder:
            large = _alone("grow", Path(large_folder), _LARGE)
        slower.append((large["wall"] / _LARGE) / (small["wall"] / _SMALL))
        memory.append(large["memory"] / _LARGE)
    return [
        _at_most(1.3, slower, f"time a call at {_LARGE:,} / at {_SMALL:,}", "{:.2f}"),
        _at_most(2048, memory, f"memory a call at {_LARGE:,}, above idle", "{:,.0f} B"),
    ]


def resume(rounds: int, scratch: Path) -> list[Verdict]:
    """Measure opening an engine after SIGKILL until the unfinished call runs (WAL FULL).

    The dead engine's lease has run out by then: how long to wait for a silent engine is a setting,
    not a cost.
    """
    seconds = []
    for _ in range(rounds):
        with tempfile.TemporaryDirectory(dir=scratch) as folder:
            _fall(Path(folder))
            time.sleep(LEASE.total_seconds())
            seconds.append(asyncio.run(_resume(Path(folder))))
    return [_at_most(0.5, seconds, f"new call after {_FINISHED:,} finished", "{:.3f} s")]


def opening(rounds: int, scratch: Path) -> list[Verdict]:
    """Measure opening an engine on a large store, and listing 50 runs of it (WAL FULL)."""
    few, many = (_open_filled(records, rounds, scratch) for records in (_FEW, _MANY))
    verdicts = []
    for what, small, large in zip(("opening", f"listing {_LISTED} runs"), few, many, strict=True):
        name = f"{what}, {_MANY:,} records"
        longer = [median(large) - median(small)]
        verdicts.append(_at_most(0.05, large, name, "{:.4f} s"))
        verdicts.append(_at_most(0.005, longer, f"{name}, above {_FEW:,}", "{:.4f} s"))
    return verdicts


def imports(rounds: int, _scratch: Path) -> list[Verdict]:
    """Measure the processor time of importing ASTRO, beside that of what it is built on."""
    slower: list[float] = []
    for _ in range(rounds * 3):  # A single import is short, and its time uneven.
        floor, _ = _import(_FLOOR)
        door, heavy = _import(_DOOR)
        slower.append(door / floor)
    return [
        _at_most(1.35, slower, "CPU of importing ASTRO / its libraries", "{:.2f}"),
        Verdict(
            goal="docker and tenacity stay unloaded",
            measured=", ".join(heavy) or "unloaded",
            met=not heavy,
        ),
    ]


PROCESSES: Mapping[str, Measurement] = {
    "growth": growth,
    "resume": resume,
    "opening": opening,
    "imports": imports,
}


def _fall(folder: Path) -> None:
    """Let a process start the run and be killed in its last call."""
    ended = _run("-m", "benchmarks.alone", "fall", str(folder), str(_FINISHED))
    if ended.returncode != -signal.SIGKILL:
        raise RuntimeError(f"The process should have been killed: {ended.stderr[-2000:]}")


async def _resume(folder: Path) -> float:
    """Return the seconds from opening the engine to the body of the unfinished call."""
    started = time.perf_counter()
    async with open_engine(folder, "FULL") as engine:
        run = await engine.options(key=RUN_KEY).start(resumed, _FINISHED, str(folder / MARK))
        return await run - started


def _open_filled(records: int, rounds: int, scratch: Path) -> tuple[list[float], list[float]]:
    """Return the seconds that opening and listing take, each time, after one for the caches."""
    with tempfile.TemporaryDirectory(dir=scratch) as folder:
        _alone("fill", Path(folder), records // 100)  # 50 runs; each call leaves two records.
        if (held := _records(Path(folder))) < records:
            raise RuntimeError(f"The store should hold {records:,} records, not {held:,}.")
        times = [asyncio.run(_open_and_list(Path(folder))) for _ in range(rounds + 1)][1:]
    return [opened for opened, _ in times], [listed for _, listed in times]


async def _open_and_list(folder: Path) -> tuple[float, float]:
    started = time.perf_counter()
    async with open_engine(folder, "FULL") as engine:
        opened = time.perf_counter()
        page = await engine.runs(limit=_LISTED)
        listed = time.perf_counter()
    if len(page.items) != _LISTED:
        raise RuntimeError(f"{len(page.items)} runs were listed instead of {_LISTED}.")
    return opened - started, listed - opened


def _records(folder: Path) -> int:
    """Return how many rows the largest table has."""
    with closing(sqlite3.connect(folder / "astro.db")) as connection:
        tables = connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")
        counts = [
            connection.execute(f'SELECT count(*) FROM "{table}"').fetchone()[0]
            for (table,) in tables.fetchall()
        ]
    return int(max(counts))


def _import(statement: str) -> tuple[float, list[str]]:
    """Return the seconds of processor time an import takes, and which heavy modules it loads."""
    ended = _run("-c", "; ".join((_CLOCK.format(statement), _ANSWER)))
    if ended.returncode != 0:
        raise RuntimeError(ended.stderr[-2000:])
    cpu, heavy = json.loads(ended.stdout)
    return float(cpu), sorted(heavy)


def _alone(program: str, folder: Path, items: int) -> dict[str, float]:
    """Run a program of `alone.py` and return its answer."""
    ended = _run("-m", "benchmarks.alone", program, str(folder), str(items))
    if ended.returncode != 0:
        raise RuntimeError(f"{program} failed: {ended.stderr[-2000:]}")
    answer: dict[str, float] = json.loads(ended.stdout)
    return answer


def _run(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, *arguments]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)


def _at_most(goal: float, values: Sequence[float], what: str, form: str) -> Verdict:
    """Judge the median of what was measured."""
    measured = median(values)
    return Verdict(
        goal=f"{what} <= {form.format(goal)}", measured=form.format(measured), met=measured <= goal
    )
