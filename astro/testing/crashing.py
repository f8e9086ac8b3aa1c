"""The crash matrix: a workflow is killed at each of its commits, and has to end as if it had not.

Each crash has two variants: the commit is applied and nobody hears of it, or it never arrives.
Another engine goes on with the same store. What it must not lose, repeat or change is compared
with what happened without a crash.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import attrs

from astro.core.protocols import Sandbox
from astro.core.task import Task
from astro.stores.memory import MemoryStore
from astro.testing.clock import VirtualClock
from astro.testing.effects import watch_effects
from astro.testing.outcomes import Outcome, differences, misplaced
from astro.testing.trial import Point, Trial

__all__ = ["CrashMatrixError", "CrashReport", "crash_matrix"]


@attrs.frozen(kw_only=True)
class CrashReport:
    """What a crash matrix has done.

    Attributes:
        commits: Commits of the workflow, when nothing crashes.
        crashes: How often it was killed.
        calls: Identities of the calls it asked for.
        deterministic: Whether two runs without a crash did the same, so that those with a crash
            were held to it; else only what each run had committed was.
    """

    commits: int
    crashes: int
    calls: frozenset[str]
    deterministic: bool


class CrashMatrixError(AssertionError):
    """Raised when a workflow did not survive a crash, or would not; lists each way in which.

    Attributes:
        problems: One text each.
    """

    def __init__(self, task: str, problems: Sequence[str]) -> None:
        self.problems = list(problems)
        listed = "\n".join(f"  - {problem}" for problem in self.problems[:_SHOWN])
        more = len(self.problems) - _SHOWN
        rest = f"\n  and {more} more" if more > 0 else ""
        super().__init__(f"{task} does not survive crashes:\n{listed}{rest}")


async def crash_matrix(
    task: Task[..., Any],
    /,
    *args: Any,
    parts: Sequence[Any] = (),
    answers: Mapping[str, object] | None = None,
    stores: Callable[[VirtualClock], Any] | None = None,
    twice: int = 0,
    processes: bool = False,
    sandbox: Sandbox | None = None,
    **kwargs: Any,
) -> CrashReport:
    """Run a task once per commit point, kill it there, and let another engine go on.

    Time is virtual: sleeps, retries and deadlines pass as soon as nothing is at work.

    Args:
        task: What is run; `args` and `kwargs` are its arguments.
        parts: Agents, and tasks that have to be known by name: those with an undo, and those that
            are started as runs of their own.
        answers: To the questions of the workflow, by question.
        stores: Makes an empty store that tells the time of a clock; in memory if left out.
        twice: How many crashes are followed by one more during the resumption.
        processes: Whether each engine that dies is a process, killed with SIGKILL, on a SQLite
            store. Slower, and nothing of the engine's own is trusted to be cut off.
        sandbox: For tasks that use one; not in processes. Open it around this to keep it warm.

    Raises:
        CrashMatrixError: Something was lost, repeated or changed; or code that is not in a step
            or a task of its own has effects that a crash would repeat.
    """
    trial = Trial(
        task,
        args,
        kwargs,
        parts=parts,
        answers=answers or {},
        stores=stores or _memory,
        sandbox=sandbox,
    )
    with watch_effects() as effects:
        first = await trial.run()
    problems = [*first.outcome.faults, *misplaced(effects, first.records)]
    if problems:
        raise CrashMatrixError(task.name, problems)
    second = await trial.run()
    deterministic = not differences(first.outcome, second.outcome)
    expected = first.outcome if deterministic else None
    plans = _plans(first.commits, twice)
    for plan in plans:
        problems += await _crash(trial, plan, expected, processes=processes)
    if problems:
        raise CrashMatrixError(task.name, list(dict.fromkeys(problems)))
    return CrashReport(
        commits=first.commits,
        crashes=sum(map(len, plans)),
        calls=frozenset(first.outcome.calls),
        deterministic=deterministic,
    )


def _plans(commits: int, twice: int) -> list[tuple[Point, ...]]:
    """Return where engines die: at each commit once, and at some pairs of commits."""
    plans: list[tuple[Point, ...]] = [
        (Point(at, applied),) for at in range(1, commits + 1) for applied in _BOTH
    ]
    chance = random.Random(0)
    for _ in range(twice):
        pair = [Point(chance.randint(1, commits), chance.random() < 0.5) for _ in "12"]
        plans.append((pair[0], pair[1]))
    return plans


async def _crash(
    trial: Trial, plan: tuple[Point, ...], expected: Outcome | None, *, processes: bool
) -> list[str]:
    """Crash at each of some points in turn; return what is wrong in the end."""
    done = await (trial.run_killed if processes else trial.run)(*plan)
    problems = [*done.outcome.faults]
    if expected is not None:
        problems += differences(expected, done.outcome)
    return [f"{' and '.join(map(str, plan))}: {problem}" for problem in problems]


def _memory(clock: VirtualClock) -> MemoryStore:
    return MemoryStore(clock=clock)


_BOTH = (False, True)
_SHOWN = 12
