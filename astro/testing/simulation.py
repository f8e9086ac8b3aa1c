"""Simulation: engines on one store, and everything that can go wrong around them, by a seed.

Engines crash, leave and stall; the store fails before or after it has done what it was asked for;
the clock is set; runs are cancelled, paused and forked. Each seed is one history, the same one
every time. After every commit the invariants are checked; in the end no run that was accepted may
be lost, and each must have the result that was expected.
"""

from __future__ import annotations

import inspect
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
from astro.testing import ends
from astro.testing.addresses import command_for
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
    """Raised when a history went wrong; says which seed repeats it, and by which command.

    Attributes:
        seed: Repeats it, with the same parts and jobs.
        problems: One text each.
        report: What was done so far, this seed included.
        command: Repeats it too; empty if jobs or parts are not at the top of a module.
    """

    def __init__(
        self, seed: int, problems: Sequence[str], report: SimulationReport, command: str = ""
    ) -> None:
        self.seed = seed
        self.report = report
        self.problems = list(problems)
        self.command = command
        listed = "\n".join(f"  - {problem}" for problem in self.problems[:8])
        again = command or (
            f"simulate(..., seeds=[{seed}])\n"
            "With parts and jobs at the top of a module there would be a command here."
        )
        super().__init__(f"Seed {seed} went wrong; repeat it:\n{again}\n{listed}")


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
    kinds, budgets, attempts = sorted(kinds), dict(budgets or {}), dict(attempts or {})
    flows = {part.name: part for part in parts if isinstance(part, Workflow)}
    plan = Plan(engines=engines, faults=faults, mishaps=mishaps, kinds=kinds, budgets=budgets)
    rules = Rules(attempts=attempts, workflows=flows)
    given = {"jobs": jobs, "store": store, "budgets": budgets, "attempts": attempts}
    given |= {"engines": engines, "faults": faults, "mishaps": mishaps, "kinds": kinds}
    made = _made(parts)
    report = SimulationReport()
    for seed in seeds:
        chance, clock = random.Random(seed), LoopClock()
        watched = WatchedStore(store(clock), rules)
        world = World(made, list(jobs(chance)), plan, chance=chance, clock=clock, watched=watched)
        problems, cause = _live(world, seed, report)
        if problems:
            raise SimulationError(seed, problems, report, _command(parts, given, seed)) from cause
    return report


def _command(parts: Sequence[Any], given: Mapping[str, Any], seed: int) -> str:
    """Return the command that repeats a seed; empty if there is none."""
    usual: dict[str, Any] = {
        name: parameter.default
        for name, parameter in inspect.signature(simulate).parameters.items()
    }
    usual |= {"kinds": sorted(MISHAPS), "budgets": {}, "attempts": {}}
    unusual = {name: one for name, one in given.items() if one != usual[name]}
    return command_for(simulate, parts, {"seeds": [seed]} | unusual)


def _made(parts: Sequence[Any]) -> list[Any]:
    """Return parts of which each workflow is a task already, so that engines open sooner.

    Raises:
        InvalidArgumentsError: A part is none, or two have the same name.
        WorkflowError: A workflow does not fit its tasks.
    """
    tasks = LocalEngine(*parts, store=MemoryStore()).parts.tasks
    return [tasks[part.name] if isinstance(part, Workflow) else part for part in parts]


def _live(world: World, seed: int, report: SimulationReport) -> tuple[list[str], Exception | None]:
    """Let a world live, count what it did, and return what went wrong, and what ended it."""
    wrong = world.watched.wrong
    ended: Exception | None = None
    with quiet("astro"), confined() as broken_out:
        try:
            done = run_deterministically(world.run, seed=seed, steps=_STEPS, resolution=_RESOLUTION)
            report.virtual += timedelta(seconds=done.elapsed)
        except Exception as error:  # whatever ends a history belongs to its seed
            wrong += _told(error)
            ended = error
    ends.judge_process(world, broken_out)
    report.seeds += 1
    report.runs += len(world.watched.accepted)
    report.commits += world.watched.commits
    report.crashes += world.happened["crash"]
    report.faults += world.faults
    report.mishaps.update(world.happened)
    for name, count in world.watched.counts.items():
        report.checks[name] = report.checks.get(name, 0) + count
    return list(wrong), ended


def _told(error: BaseException) -> list[str]:
    """Return what an error says, or those that it is a group of."""
    if isinstance(error, BaseExceptionGroup):
        return [told for one in error.exceptions for told in _told(one)]
    return [f"{type(error).__name__}: {error}"]
