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

from astro.core.task import Task
from astro.stores.memory import MemoryStore
from astro.testing.clock import VirtualClock
from astro.testing.effects import watch_effects
from astro.testing.outcomes import Outcome, differences, misplaced
from astro.testing.trial import Trial

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

    Raises:
        CrashMatrixError: Something was lost, repeated or changed; or code that is not in a step
            or a task of its own has effects that a crash would repeat.
    """
    trial = Trial(task, args, kwargs, parts=parts, answers=answers or {}, stores=stores or _memory)
    with watch_effects() as effects:
        first = await trial.run()
    problems = [*first.outcome.faults, *misplaced(effects, first.records)]
    if problems:
        raise CrashMatrixError(task.name, problems)
    second = await trial.run()
    deterministic = not differences(first.outcome, second.outcome)
    expected = first.outcome if deterministic else None
    crashes = 0
    for at in range(1, first.commits + 1):
        for applied in (False, True):
            crashes += 1
            problems += await _crash(trial, [(at, applied)], expected)
    chance = random.Random(0)
    for _ in range(twice):
        points = [(chance.randint(1, first.commits), chance.random() < 0.5) for _ in range(2)]
        crashes += 2
        problems += await _crash(trial, points, expected)
    if problems:
        raise CrashMatrixError(task.name, list(dict.fromkeys(problems)))
    return CrashReport(
        commits=first.commits,
        crashes=crashes,
        calls=frozenset(first.outcome.calls),
        deterministic=deterministic,
    )


async def _crash(
    trial: Trial, points: list[tuple[int, bool]], expected: Outcome | None
) -> list[str]:
    """Crash at each of some commits in turn; return what is wrong in the end."""
    done = await trial.run(crashes=points)
    at, applied = points[-1]
    when = f"killed {'after' if applied else 'before'} commit {at}"
    problems = [*done.outcome.faults]
    if expected is not None:
        problems += differences(expected, done.outcome)
    return [f"{when}: {problem}" for problem in problems]


def _memory(clock: VirtualClock) -> MemoryStore:
    return MemoryStore(clock=clock)


_SHOWN = 12
