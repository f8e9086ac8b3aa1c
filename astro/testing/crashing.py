"""The crash matrix: a workflow is killed at each of its commits, and has to end as if it had not.

Each crash has two variants: the commit is applied and nobody hears of it, or it never arrives.
Another engine goes on with the same store. What it must not lose, repeat or change is compared
with what happened without a crash.
"""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

import attrs

from astro.core.protocols import Sandbox
from astro.core.records import State
from astro.core.task import Task
from astro.stores.memory import MemoryStore
from astro.testing.clock import VirtualClock
from astro.testing.effects import watch_effects
from astro.testing.outcomes import Outcome, differences, misplaced
from astro.testing.trial import Done, Point, Trial

__all__ = ["CrashMatrixError", "CrashReport", "crash_matrix"]


@attrs.frozen(kw_only=True)
class CrashReport:
    """What a crash matrix has done.

    Attributes:
        commits: Commits of the workflow, when nothing crashes.
        crashes: How often an engine was killed.
        pairs: How often the engine that went on was killed as well.
        calls: Identities of the calls it asked for.
        deterministic: Whether two runs without a crash did the same, so that those with a crash
            were held to it; else only what each run had committed was.
    """

    commits: int
    crashes: int
    pairs: int
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
    fails: bool | None = False,
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
        twice: How many crashes are followed by one more during the resumption; fewer if the
            workflow has not as many pairs of commits.
        processes: Whether each engine is a process, killed with SIGKILL, on a SQLite store. Slower;
            and whoever goes on knows nothing that is not stored, and hashes otherwise.
        fails: Whether the task fails when nothing crashes, and so has to fail the same way after a
            crash; None allows both.
        sandbox: For tasks that use one; not in processes. Open it around this to keep it warm.

    Raises:
        CrashMatrixError: Something was lost, repeated or changed; or code that is not in a step
            or a task of its own has effects that a crash would repeat; or the task failed anyhow.
    """
    known: dict[str, Any] = {"parts": parts, "answers": answers or {}, "sandbox": sandbox}
    trial = Trial(task, args, kwargs, stores=stores or _memory, **known)
    with watch_effects() as effects:
        first = await trial.run()
    problems = [*_unexpected(first, fails=fails), *misplaced(effects, first.records)]
    if problems:
        raise CrashMatrixError(task.name, problems)
    run = trial.run_killed if processes else trial.run
    expected = await run() if processes else first
    if problems := _unexpected(expected, fails=fails):
        raise CrashMatrixError(task.name, problems)
    deterministic = not differences(expected.outcome, (await run()).outcome)
    matrix = _Matrix(run, expected.outcome if deterministic else None)
    await matrix.crash(_everywhere(expected.commits))
    await matrix.crash(matrix.pairs(twice))
    if matrix.problems:
        raise CrashMatrixError(task.name, list(dict.fromkeys(matrix.problems)))
    return CrashReport(
        commits=expected.commits,
        crashes=matrix.crashes,
        pairs=matrix.both,
        calls=frozenset(expected.outcome.calls),
        deterministic=deterministic,
    )


def _unexpected(done: Done, *, fails: bool | None) -> list[str]:
    """Return what is wrong with a run that nothing has crashed."""
    outcome = done.outcome
    if outcome.faults or fails in (None, outcome.state != State.DONE):
        return [*outcome.faults]
    if fails:
        return ["it does not fail: leave out fails=True"]
    return [f"it fails without a crash, with {outcome.result}; if it should, say fails=True"]


class _Matrix:
    """Crashes a trial, as often as there are points, or until enough has gone wrong.

    Attributes:
        problems: What is wrong, a line each.
        crashes: How many engines have died.
        both: How often two did, one after the other.
    """

    def __init__(self, run: Callable[..., Awaitable[Done]], expected: Outcome | None) -> None:
        self._run = run
        self._expected = expected
        self._left: list[tuple[Point, int]] = []  # commits of the engine that went on
        self._bad = 0
        self.problems: list[str] = []
        self.crashes = 0
        self.both = 0

    async def crash(self, plans: Sequence[tuple[Point, ...]]) -> None:
        """Run the trial once per plan, and crash at each of its points in turn."""
        for plan in plans:
            if self._bad >= _ENOUGH:
                return
            done = await self._run(*plan)
            self.crashes += done.crashes
            self.both += done.crashes > 1
            if len(plan) == 1:
                self._left.append((plan[0], done.commits))
            problems = [*done.outcome.faults]
            if self._expected is not None:
                problems += differences(self._expected, done.outcome)
            self._bad += bool(problems)
            where = " and ".join(map(str, plan))
            self.problems += [f"{where}: {problem}" for problem in problems]

    def pairs(self, wanted: int) -> list[tuple[Point, ...]]:
        """Return pairs of points, the second among the commits that the first one leaves."""
        every: list[tuple[Point, ...]] = [
            (point, Point(at, applied))
            for point, commits in self._left
            for at in _numbers(commits)
            for applied in _BOTH
        ]
        return random.Random(0).sample(every, min(wanted, len(every)))


def _everywhere(commits: int) -> list[tuple[Point, ...]]:
    return [(Point(at, applied),) for at in _numbers(commits) for applied in _BOTH]


def _numbers(commits: int) -> range:
    return range(1, commits + 1)


def _memory(clock: VirtualClock) -> MemoryStore:
    return MemoryStore(clock=clock)


_BOTH = (False, True)
_SHOWN = 12
_ENOUGH = 4  # plans that go wrong, after which no further ones are tried
