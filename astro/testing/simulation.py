"""Simulation: engines on one store, and everything that can go wrong around them, by a seed.

Engines crash, leave and stall; the store fails before or after it has done what it was asked for;
the clock is set; runs are cancelled, paused and forked. Each seed is one history, the same one
every time. After every commit the invariants are checked; in the end no run that was accepted may
be lost, and each must have the result that was expected.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import timedelta
from typing import Any

import attrs

from astro.core.clock import Clock
from astro.core.policy import Budget
from astro.core.workflow import Workflow
from astro.engine.local import LocalEngine
from astro.stores.memory import MemoryStore
from astro.testing.confinement import confined
from astro.testing.invariants import Rules
from astro.testing.jobs import Job
from astro.testing.loop import LoopClock, run_deterministically
from astro.testing.mishaps import MISHAPS
from astro.testing.quiet import quiet
from astro.testing.watched_store import WatchedStore
from astro.testing.world import Plan, World

__all__ = ["Job", "SimulationError", "SimulationReport", "simulate"]

_RESOLUTION = timedelta(seconds=1)
_STEPS = 5_000_000


@attrs.define(kw_only=True)
class SimulationReport:
    """What simulations have done.

    Attributes:
        mishaps: How often each kind of them happened.
        checks: How often each invariant was checked.
    """

    seeds: int = 0
    runs: int = 0
    commits: int = 0
    crashes: int = 0
    faults: int = 0
    virtual: timedelta = timedelta(0)
    mishaps: Counter[str] = attrs.field(factory=Counter)
    checks: dict[str, int] = attrs.field(factory=dict)


class SimulationError(AssertionError):
    """Raised when a history went wrong; says which seed repeats it.

    Attributes:
        seed: Repeats it, with the same parts and jobs.
        problems: One text each.
        report: What was done so far, this seed included.
    """

    def __init__(self, seed: int, problems: Sequence[str], report: SimulationReport) -> None:
        self.seed = seed
        self.report = report
        self.problems = list(problems)
        listed = "\n".join(f"  - {problem}" for problem in self.problems[:8])
        super().__init__(
            f"Seed {seed} went wrong; repeat it: simulate(..., seeds=[{seed}])\n{listed}"
        )


def _in_memory(clock: Clock) -> MemoryStore:
    return MemoryStore(clock=clock)


def simulate(
    *parts: Any,
    jobs: Callable[[random.Random], Sequence[Job]],
    seeds: Iterable[int] = range(100),
    engines: int = 2,
    faults: float = 0.05,
    mishaps: int = 6,
    kinds: Iterable[str] = MISHAPS,
    store: Callable[[Clock], Any] = _in_memory,
    budgets: Mapping[str, Budget] | None = None,
    attempts: Mapping[str, int] | None = None,
) -> SimulationReport:
    """Let engines do jobs while things go wrong, once per seed.

    Args:
        parts: Tasks, workflows and agents, without state that outlives a seed.
        jobs: Gives what is to be done; draws from the chance of the seed.
        engines: How many live at the same moment.
        faults: Share of the store's calls that fail or are late.
        mishaps: How many of `MISHAPS` there are at most, until everything has ended.
        kinds: Which of them.
        store: Makes an empty store; `InlineSqliteStore` is one on a file.
        budgets: Of tenants.
        attempts: How many a call may have at most, by task.

    Raises:
        SimulationError: An invariant was broken, a run was lost, or a result is not the expected.
        RuntimeError: An event loop runs here already.
    """
    plan = Plan(
        engines=engines,
        faults=faults,
        mishaps=mishaps,
        kinds=sorted(kinds),
        budgets=dict(budgets or {}),
    )
    rules = Rules(
        attempts=dict(attempts or {}),
        workflows={part.name: part for part in parts if isinstance(part, Workflow)},
    )
    made = _made(parts)
    report = SimulationReport()
    for seed in seeds:
        chance, clock = random.Random(seed), LoopClock()
        world = World(
            made,
            list(jobs(chance)),
            plan,
            chance=chance,
            clock=clock,
            watched=WatchedStore(store(clock), rules),
        )
        problems = _live(world, seed, report)
        if problems:
            raise SimulationError(seed, problems, report)
    return report


def _made(parts: Sequence[Any]) -> list[Any]:
    """Return parts of which each workflow is a task already, so that engines open sooner.

    Raises:
        InvalidArgumentsError: A part is none, or two have the same name.
        WorkflowError: A workflow does not fit its tasks.
    """
    tasks = LocalEngine(*parts, store=MemoryStore()).parts.tasks
    return [tasks[part.name] if isinstance(part, Workflow) else part for part in parts]


def _live(world: World, seed: int, report: SimulationReport) -> list[str]:
    """Let a world live, count what it did, and return what went wrong."""
    with quiet("astro"), confined() as broken_out:
        done = run_deterministically(world.run, seed=seed, steps=_STEPS, resolution=_RESOLUTION)
    world.watched.model.check("code runs in a sandbox only", broken_out)
    report.seeds += 1
    report.runs += len(world.watched.accepted)
    report.commits += world.watched.commits
    report.crashes += world.happened["crash"]
    report.faults += world.faults
    report.virtual += timedelta(seconds=done.elapsed)
    report.mishaps.update(world.happened)
    for name, count in world.watched.counts.items():
        report.checks[name] = report.checks.get(name, 0) + count
    return list(world.watched.wrong)
