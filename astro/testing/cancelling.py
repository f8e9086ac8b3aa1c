"""The cancel matrix: a caller is cancelled at every step, and nothing may come of it.

Cancelling a caller never loses, repeats or half-writes anything: it ends, leaves nothing behind,
and a fresh engine on the same store brings each run that was accepted to the end that it has when
nobody is cancelled.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from datetime import timedelta
from typing import Any

import attrs

from astro.core.protocols import Composition
from astro.core.records import CreatedRecord, Record, State
from astro.core.task import Task
from astro.engine.supervisor import in_event_loop
from astro.stores.memory import MemoryStore
from astro.testing.callers import CallerLife, Cancellation, Life, Plot, Stage
from astro.testing.loop import LoopClock, run_deterministically
from astro.testing.outcomes import Outcome, differences, outcome_of
from astro.testing.quiet import quiet
from astro.testing.stalls import DeadlockError, StepLimitError

__all__ = ["CancelMatrixError", "CancelReport", "cancel_matrix"]

_WAYS = ("once", "twice", "scope")
_KEY = "trial"
_LEASE = timedelta(seconds=15)
_LONG = 3_600  # moments of the resolution that a caller may take undisturbed
_MORE = 1_200  # moments that one may take beyond that when it is cancelled
_REALLY = (60.0, 10.0)  # the same in seconds, where time is real
_STEPS = 2_000_000  # that a caller may take undisturbed, and all that comes after it
_EXTRA = 100_000
_ENOUGH = 40  # points at which something is wrong, after which no further ones are tried
_SHOWN = 12


@attrs.frozen(kw_only=True)
class CancelReport:
    """What a cancel matrix has done.

    Attributes:
        steps: At which the caller could be cancelled.
        cancellations: How often it was acted out with a caller that was cancelled.
        cancelled: How many of those ended as cancelled.
        finished: How many had nothing left to wait for, and ended as if they had not been.
        resumed: How many runs a fresh engine had to bring to their end.
        deterministic: Whether two callers that were not cancelled gave the same, so that those
            that were are held to it.
    """

    steps: int
    cancellations: int
    cancelled: int
    finished: int
    resumed: int
    deterministic: bool


@attrs.frozen
class _Found:
    point: Cancellation | None
    place: str
    problem: str


class CancelMatrixError(AssertionError):
    """Raised when something came of a cancellation; lists what, and how to repeat it.

    Attributes:
        problems: One text each.
        steps: At which a cancellation had one of them.
        report: Of what was done, unless it went wrong without a cancellation.
    """

    def __init__(
        self, name: str, found: Sequence[_Found], report: CancelReport | None = None
    ) -> None:
        self.report = report
        alike: dict[str, list[_Found]] = {}
        for one in found:
            alike.setdefault(one.problem, []).append(one)
        self.problems = list(alike)
        self.steps = sorted({one.point.step for one in found if one.point is not None})
        listed = "\n".join(f"  - {_told(those)}" for those in [*alike.values()][:_SHOWN])
        more = len(alike) - _SHOWN
        rest = f"\n  and {more} more" if more > 0 else ""
        first = next((one.point for one in found if one.point is not None), None)
        repeat = f"\nRepeat the first: at=[{first.step}], ways=[{first.way!r}]" if first else ""
        super().__init__(f"{name} is not safe to cancel:\n{listed}{rest}{repeat}")


def _told(those: Sequence[_Found]) -> str:
    first = those[0]
    where = f"{first.point}, in {first.place}" if first.point else "not cancelled at all"
    others = f" (and {len(those) - 1} more times)" if len(those) > 1 else ""
    return f"{where}: {first.problem}{others}"


def cancel_matrix(
    caller: Task[..., Any] | Composition | Callable[..., Awaitable[Any]],
    /,
    *args: Any,
    parts: Sequence[Any] = (),
    answers: Mapping[str, object] | None = None,
    states: frozenset[State] = frozenset(),
    fails: bool | None = False,
    again: bool = False,
    grace: timedelta = timedelta(0),
    stores: Callable[[LoopClock], Any] | None = None,
    threads: bool = False,
    tenants: Sequence[str] = ("default",),
    ways: Sequence[str] = _WAYS,
    at: Iterable[int] | None = None,
    most: int | None = None,
    seed: int | None = None,
    resolution: timedelta = timedelta(milliseconds=500),
    **kwargs: Any,
) -> CancelReport:
    """Let a caller act once per step and way, cancel it there, and see what comes of it.

    Args:
        caller: A task or a workflow, which is run by an engine and waited for; or an async
            function, which is given a `Stage` and does what it likes with engines of that.
            `args` and `kwargs` are its arguments.
        parts: Agents, and tasks that have to be known by name.
        answers: To the questions of runs, by question. A function is not answered while it acts.
        states: In which a run may end as well, since the caller did not get to say something.
        fails: Whether the caller gets an error when nobody cancels it; None allows both.
        again: Whether a function is called once more in the end. It must then give the same, and
            begin nothing that is there already: its runs need keys.
        grace: For which an engine whose caller is cancelled lets a task finish what it does. With
            none the task is cut off where it stands; a function says so to its engines itself.
        stores: Makes an empty store that tells the time of a clock; in memory if left out, and
            only then the invariants are checked after every commit.
        threads: Whether the store uses threads, as SqliteStore does, or the caller uses threads,
            processes or connections. All of it then happens in real time, and the steps are those
            at which the caller itself begins to wait.
        tenants: Whose runs there are.
        ways: Of cancelling: natively `once`, `twice` with two steps between, by a `scope` of anyio.
        at: At which steps; None means at all.
        most: At how many steps at most, spread evenly.
        seed: Decides which of the tasks that are ready goes on; None lets the first.
        resolution: Of timers. For workflows that wait for days, an hour or so: a caller gets
            some thousand times as long.

    Raises:
        CancelMatrixError: Something was lost, repeated, changed or left behind, or the caller
            got an error that it should not get.
        RuntimeError: An event loop runs here already.
    """
    if in_event_loop():
        raise RuntimeError("a cancel matrix has event loops of its own: call it where none runs")
    act, offered, durable = _acting(caller, args, kwargs, grace)
    plot = Plot(
        act=act,
        parts=[*offered, *(part for part in parts if part is not caller)],
        answers=answers or {},
        helped=durable and bool(answers),
        stores=stores or _memory,
        watched=stores is None,
        again=again or durable,
        threads=threads,
        tenants=tenants,
        lease=max(_LEASE, 20 * resolution),
    )
    name = str(getattr(caller, "name", getattr(caller, "__name__", caller)))
    matrix = _Matrix(name, plot, states, fails=fails, seed=seed, resolution=resolution)
    return matrix.run(ways, at, most)


def _acting(
    caller: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any], grace: timedelta
) -> tuple[Callable[[Stage], Awaitable[Any]], list[Any], bool]:
    """Return what a caller does, the parts it brings, and whether it waits for a run with a key."""

    async def run(stage: Stage) -> Any:
        async with stage.engine(grace=grace) as engine:
            return await engine.options(key=_KEY).run(caller, *args, **kwargs)

    async def call(stage: Stage) -> Any:
        return await caller(stage, *args, **kwargs)

    if isinstance(caller, (Task, Composition)):
        return run, [caller], True
    return call, [], False


def _memory(clock: LoopClock) -> MemoryStore:
    return MemoryStore(clock=clock)


class _Matrix:
    """One caller, again and again."""

    def __init__(
        self,
        name: str,
        plot: Plot,
        states: frozenset[State],
        *,
        fails: bool | None,
        seed: int | None,
        resolution: timedelta,
    ) -> None:
        self._name = name
        self._fails = fails
        self._plot = plot
        self._states = frozenset(state.value for state in states)
        self._seed = seed
        self._resolution = resolution
        moment = max(resolution.total_seconds(), 0.5)
        self._limit, self._more = _REALLY if plot.threads else (_LONG * moment, _MORE * moment)
        self._steps = _STEPS
        self._expected = Life()
        self._deterministic = False

    def run(self, ways: Sequence[str], at: Iterable[int] | None, most: int | None) -> CancelReport:
        self._expected = first = self._undisturbed()
        self._limit = first.elapsed + self._more
        self._deterministic = not self._compare(self._undisturbed(), exactly=True)
        steps = [*at] if at is not None else _spread(first.steps, most)
        found: list[_Found] = []
        lives: list[Life] = []
        bad = 0
        for point in (Cancellation(way, step) for step in steps for way in ways):
            life = self._live(point)
            problems = [*life.problems, *self._compare(life, exactly=self._deterministic)]
            found += [_Found(point, life.place, problem) for problem in dict.fromkeys(problems)]
            lives.append(life)
            bad += bool(problems)
            if bad >= _ENOUGH:
                break
        hit = [life.ended == "cancelled" for life in lives if life.hits]
        report = CancelReport(
            steps=first.steps,
            cancellations=len(hit),
            cancelled=sum(hit),
            finished=len(hit) - sum(hit),
            resumed=sum(life.resumed for life in lives),
            deterministic=self._deterministic,
        )
        if found:
            raise CancelMatrixError(self._name, found, report)
        return report

    def _undisturbed(self) -> Life:
        """Return the life of a caller that nobody cancels."""
        life = self._live(None)
        faults = [fault for run, one in life.runs.items() for fault in _outcome(run, one).faults]
        problems = [*life.problems, *faults]
        if not life.ended:
            longest = timedelta(seconds=self._limit)
            problems[1:] = [
                f"it had {longest}: where it waits for longer, say resolution=timedelta(hours=1); "
                "where it waits for an answer, answers={...}"
            ]
        elif self._plot.again and len(life.runs) > life.begun:
            problems.append(
                f"there were {life.begun} runs, and {len(life.runs)} when it had asked again: "
                "give them keys, engine.options(key=...), or say again=False"
            )
        if not problems and self._fails not in (None, life.ended.startswith("raised")):
            said = "leave out fails=True" if self._fails else "if it should, say fails=True"
            problems.append(f"the caller {life.ended}: {said}")
        if problems:
            raise CancelMatrixError(self._name, [_Found(None, "", one) for one in problems])
        return life

    def _live(self, point: Cancellation | None) -> Life:
        one = CallerLife(self._plot, point, limit=self._limit)
        with quiet("astro"):
            if self._plot.threads:
                return asyncio.run(one.live())
            try:
                done = run_deterministically(
                    one.live,
                    seed=self._seed,
                    steps=self._steps,
                    resolution=self._resolution,
                    on_step=one.on_step,
                )
            except (DeadlockError, StepLimitError) as error:
                one.life.problems.append(str(error))
                return one.life
        if point is None:
            self._steps = 10 * done.steps + _EXTRA
        return done.value

    # --- Comparing ---------------------------------------------------------------------------

    def _compare(self, life: Life, *, exactly: bool) -> list[str]:
        """Return in what a life differs from that of a caller which was not cancelled."""
        expected = self._expected
        if not life.ended:
            return []  # it did not end, and nothing came after it
        told: list[str] = []
        if exactly and life.ended not in ("cancelled", expected.ended):
            told.append(f"the caller {life.ended} and has not {expected.ended}")
        if exactly and life.told and life.told not in (expected.ended, expected.told):
            told.append(f"when it asked again it {life.told} and has not {expected.ended}")
        for run, records in life.runs.items():
            told += self._differences(run, records, exactly=exactly)
        return told + (_uneven(expected.runs, life.runs) if self._plot.again else [])

    def _differences(self, run: str, records: Sequence[Record], *, exactly: bool) -> list[str]:
        found = _outcome(run, records)
        told = [*found.faults]
        if run in self._expected.runs and found.state not in self._states:
            same = _outcome(run, self._expected.runs[run])
            if exactly or found.state != same.state:
                told += differences(same, found)
        return [f"run {run}: {line}".replace("the crash", "the cancellation") for line in told]


def _outcome(run: str, records: Sequence[Record]) -> Outcome:
    return outcome_of({run: records}, run)


def _uneven(
    expected: Mapping[str, Sequence[Record]], found: Mapping[str, Sequence[Record]]
) -> list[str]:
    """Return which runs there are more often or less often than they should be."""
    wanted, there = (Counter(map(_begun, runs.values())) for runs in (expected, found))
    return [
        f"there are {there[what]} runs of {what[0]} with key {what[1]} and not {wanted[what]}"
        for what in dict.fromkeys([*wanted, *there])
        if there[what] != wanted[what]
    ]


def _begun(records: Sequence[Record]) -> tuple[str, str | None]:
    created = records[0]
    assert isinstance(created, CreatedRecord)  # the first record of every journal
    return created.task, created.key


def _spread(steps: int, most: int | None) -> list[int]:
    """Return the numbers of steps, or some of them that are evenly spread."""
    if most is None or steps <= most:
        return [*range(1, steps + 1)]
    return sorted({1 + place * steps // most for place in range(most)})
