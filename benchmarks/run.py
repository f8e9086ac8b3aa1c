"""Run: measures ASTRO beside baselines and peers and says which goals it meets.

`python -m benchmarks.run [workload ...] [--reps 5] [--json out]`. Within a workload the systems
take turns, round by round, so that whatever else the machine does strikes all of them alike; ratios
are taken within a round.
"""

import argparse
import json
import sys
import traceback
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from benchmarks.measuring import Sample
from benchmarks.peers.environments import ROOT
from benchmarks.processes import PROCESSES
from benchmarks.report import Comparison, document, table, verdicts
from benchmarks.systems import Entrant, entrants
from benchmarks.workloads import WORKLOADS, Verdict, Workload

__all__ = ["compare", "main"]


def compare(
    workload: Workload, systems: Sequence[Entrant], rounds: int, scratch: Path
) -> Comparison:
    """Let every system perform the workload once a round."""
    samples: dict[str, list[Sample]] = {system.name: [] for system in systems}
    for turn in range(rounds):
        first = turn % len(systems)
        for system in (*systems[first:], *systems[:first]):
            _tell(f"{workload.name}: round {turn + 1} of {rounds}: {system.name}")
            samples[system.name].append(system.perform(workload, scratch))
    durability = {system.name: system.durability(workload.synchronous) for system in systems}
    return Comparison(workload=workload, durability=durability, rounds=samples)


def main() -> None:
    """Measure what the command line names, print it, and fail when a goal is missed."""
    asked = _arguments()
    asked.scratch.mkdir(parents=True, exist_ok=True)
    systems = [each for each in entrants() if asked.systems is None or each.name in asked.systems]
    comparisons: list[Comparison] = []
    judged: list[tuple[str, Verdict]] = []
    for workload in WORKLOADS:
        if workload.name in asked.workloads and systems:
            with _going_on(workload.name, judged):
                comparisons.append(compare(workload, systems, asked.reps, asked.scratch))
                judged += ((workload.name, verdict) for verdict in comparisons[-1].judge())
                print(f"{table(comparisons[-1])}\n", flush=True)
    for name, measurement in PROCESSES.items():
        if name in asked.workloads:
            _tell(name)
            with _going_on(name, judged):
                judged += ((name, verdict) for verdict in measurement(asked.reps, asked.scratch))
    print(verdicts(judged))
    if asked.json:
        asked.json.write_text(json.dumps(document(comparisons, judged), indent=1) + "\n")
    sys.exit(any(not verdict.met for _, verdict in judged))


@contextmanager
def _going_on(name: str, judged: list[tuple[str, Verdict]]) -> Iterator[None]:
    """Count an error as a missed goal, so that the other measurements are not lost."""
    try:
        yield
    except Exception as error:
        traceback.print_exc()
        failed = Verdict(goal="runs to its end", measured=type(error).__name__, met=False)
        judged.append((name, failed))


def _arguments() -> argparse.Namespace:
    names = [*(workload.name for workload in WORKLOADS), *PROCESSES]
    systems = [system.name for system in entrants()]
    parser = argparse.ArgumentParser(description="Measures ASTRO beside baselines and peers.")
    parser.add_argument("workloads", nargs="*", metavar="workload", help=f"of {', '.join(names)}")
    parser.add_argument("--reps", type=int, default=5, help="rounds; the median counts")
    parser.add_argument("--systems", nargs="+", metavar="system", help=f"of {', '.join(systems)}")
    parser.add_argument("--json", type=Path, help="file for everything that was measured")
    parser.add_argument(
        "--scratch",
        type=Path,
        default=ROOT / "benchmarks" / ".scratch",
        help="folder for databases; FULL means nothing on a disk of memory",
    )
    asked = parser.parse_args()
    for kind, given, known in (
        ("workload", asked.workloads, names),
        ("system", asked.systems or [], systems),
    ):
        if unknown := sorted(set(given) - set(known)):
            parser.error(f"no {kind} is called {', '.join(unknown)}; there are {', '.join(known)}")
    asked.workloads = asked.workloads or names
    return asked


def _tell(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
