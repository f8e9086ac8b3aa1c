"""Reports: what was measured, as a table for people and as JSON for machines."""

import platform
import sqlite3
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from benchmarks.measuring import median
from benchmarks.workloads import Rounds, Verdict, Workload, speed

__all__ = ["Comparison", "document", "table", "verdicts"]


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """One workload, performed by several systems in turns.

    Attributes:
        durability: What the commits of each system survived.
    """

    workload: Workload
    durability: dict[str, str]
    rounds: Rounds

    def judge(self) -> list[Verdict]:
        """Return the verdicts on those goals that could be judged."""
        verdicts = (goal.judge(self.rounds) for goal in self.workload.goals)
        return [verdict for verdict in verdicts if verdict]


def table(comparison: Comparison) -> str:
    """Return a Markdown table: one line a system, medians over the rounds.

    The last column says how many times as fast as that system the first one is.
    """
    first = next(iter(comparison.rounds))
    lines = [["system", "durability", "wall µs/item", "CPU µs/item", "items/s", f"{first} is"]]
    for system, samples in comparison.rounds.items():
        wall = median(sample.wall / sample.items for sample in samples)
        cpu = median(sample.cpu / sample.items for sample in samples)
        numbers = [f"{wall * 1e6:,.1f}", f"{cpu * 1e6:,.1f}", f"{1 / wall:,.0f}"]
        ratio = f"{speed(comparison.rounds, first, than=system):.2f} x"
        lines.append([system, comparison.durability[system], *numbers, ratio])
    workload = comparison.workload
    title = f"### {workload.name}: {workload.items:,} items of {workload.shape}"
    return f"{title}\n\n{_markdown(lines)}"


def verdicts(judged: Sequence[tuple[str, Verdict]]) -> str:
    """Return a Markdown table: one line a goal."""
    lines = [["workload", "goal", "measured", "met"]]
    for workload, verdict in judged:
        lines.append([workload, verdict.goal, verdict.measured, "yes" if verdict.met else "NO"])
    return f"### Goals\n\n{_markdown(lines)}"


def document(
    comparisons: Sequence[Comparison], judged: Sequence[tuple[str, Verdict]]
) -> dict[str, Any]:
    """Return everything that was measured, ready for JSON."""
    return {
        "python": platform.python_version(),
        "sqlite": sqlite3.sqlite_version,
        "machine": platform.machine(),
        "workloads": [
            {
                "name": comparison.workload.name,
                "items": comparison.workload.items,
                "systems": [
                    {
                        "name": system,
                        "durability": comparison.durability[system],
                        "rounds": [asdict(sample) for sample in samples],
                    }
                    for system, samples in comparison.rounds.items()
                ],
            }
            for comparison in comparisons
        ],
        "goals": [{"workload": workload, **asdict(verdict)} for workload, verdict in judged],
    }


def _markdown(lines: Sequence[Sequence[str]]) -> str:
    widths = [max(len(cell) for cell in column) for column in zip(*lines, strict=True)]
    head, *body = (
        " | ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True))
        for line in lines
    )
    rule = " | ".join("-" * width for width in widths)
    return "\n".join(f"| {line} |" for line in (head, rule, *body))
