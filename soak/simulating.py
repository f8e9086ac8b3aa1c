"""Simulating: random histories in which everything goes wrong that can, spread over processes."""

from __future__ import annotations

import os
from concurrent.futures import ProcessPoolExecutor, as_completed

from astro.testing import SimulationReport, simulate
from soak.telling import SoakError, amount, say
from tests.simulation.scenarios import ATTEMPTS, BUDGETS, PARTS, jobs

__all__ = ["soak"]

SEEDS = 20_000
_FIRST = 2_000  # seeds before it belong to the daily tests
_CHUNK = 25


def soak(share: float) -> None:
    seeds = range(_FIRST, _FIRST + amount(SEEDS, share))
    chunks = [seeds[start : start + _CHUNK] for start in range(0, len(seeds), _CHUNK)]
    total = SimulationReport()
    wrong: list[str] = []
    with ProcessPoolExecutor(os.cpu_count()) as pool:
        for done in as_completed([pool.submit(_simulated, chunk) for chunk in chunks]):
            report, problems = done.result()
            wrong += problems
            for name in ("seeds", "runs", "commits", "crashes", "faults", "virtual"):
                setattr(total, name, getattr(total, name) + getattr(report, name))
            for name, count in report.checks.items():
                total.checks[name] = total.checks.get(name, 0) + count
            if total.seeds % 1_000 < _CHUNK:
                say(f"simulating: {total.seeds} seeds so far")
    days = total.virtual.total_seconds() / 86_400
    say(
        f"simulating: {total.seeds} seeds, {total.runs} runs, {total.commits} commits, "
        f"{total.crashes} crashes, {total.faults} faults, {days:.1f} virtual days, "
        f"{sum(total.checks.values())} checks of {len(total.checks)} invariants, "
        f"{len(wrong)} seeds went wrong"
    )
    if wrong:
        raise SoakError("\n".join(wrong[:20]))


def _simulated(seeds: range) -> tuple[SimulationReport, list[str]]:
    """Simulate some seeds; return what was done, and what went wrong with which."""
    total = SimulationReport()
    wrong: list[str] = []
    for seed in seeds:
        try:
            report = simulate(*PARTS, jobs=jobs, seeds=[seed], budgets=BUDGETS, attempts=ATTEMPTS)
        except Exception as error:  # a process pool cannot pass on what it cannot pickle
            again = f"ASTRO_SEED={seed} pytest tests/simulation -k one_seed_in_memory"
            wrong.append(f"{again}: {type(error).__name__}: {error}")
            total.seeds += 1
            continue
        for name in ("seeds", "runs", "commits", "crashes", "faults", "virtual"):
            setattr(total, name, getattr(total, name) + getattr(report, name))
        for name, count in report.checks.items():
            total.checks[name] = total.checks.get(name, 0) + count
    return total, wrong
