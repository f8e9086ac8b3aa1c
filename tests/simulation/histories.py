"""Many histories: what a number of seeds gave, all of them together."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import attrs

from astro.testing.simulation import SimulationError, SimulationReport, simulate
from tests.simulation.scenarios import ATTEMPTS, BUDGETS, PARTS, jobs

__all__ = ["Histories"]


@attrs.define
class Histories:
    """Counts what simulations did."""

    report: SimulationReport = attrs.field(factory=SimulationReport)

    def live(self, seeds: Iterable[int], **options: Any) -> SimulationReport:
        """Let each seed be a history; raise with the command that repeats the first wrong one."""
        try:
            self._add(
                simulate(
                    *PARTS, jobs=jobs, seeds=seeds, budgets=BUDGETS, attempts=ATTEMPTS, **options
                )
            )
        except SimulationError as error:
            test = "sqlite" if "store" in options else "memory"
            told = f"ASTRO_SEED={error.seed} pytest tests/simulation -k one_seed_in_{test}"
            error.add_note(f"Repeat it: {told}")
            raise
        return self.report

    def _add(self, one: SimulationReport) -> None:
        total = self.report
        for name in ("seeds", "runs", "commits", "crashes", "faults", "virtual"):
            setattr(total, name, getattr(total, name) + getattr(one, name))
        total.mishaps.update(one.mishaps)
        for name, count in one.checks.items():
            total.checks[name] = total.checks.get(name, 0) + count

    def __str__(self) -> str:
        one = self.report
        mishaps = ", ".join(f"{kind}: {count}" for kind, count in sorted(one.mishaps.items()))
        return (
            f"{one.seeds} seeds, {one.runs} runs, {one.commits} commits, {one.crashes} crashes, "
            f"{one.faults} faults of the store, {one.virtual} virtual, "
            f"{sum(one.checks.values())} checks of {len(one.checks)} invariants; {mishaps}"
        )
