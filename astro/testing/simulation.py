"""Simulation: engines on one store, and everything that can go wrong around them, by a seed.

Engines crash, leave and stall; the store fails before or after it has done what it was asked for;
the clock is set. Each seed is one history, the same one every time. After every commit the
invariants are checked; in the end no run that was accepted may be lost, and each must have the
result that was expected.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from datetime import timedelta
from typing import Any

import anyio
import attrs

from astro.core.errors import AstroError
from astro.core.records import FinishedRecord, State, as_bytes
from astro.core.task import Task
from astro.engine import posting
from astro.engine.local import LocalEngine
from astro.stores.memory import MemoryStore
from astro.testing.clock import VirtualIds
from astro.testing.faulty_store import Fault, FaultyStore, chance_of_faults
from astro.testing.loop import LoopClock, run_deterministically
from astro.testing.quiet import quiet
from astro.testing.watched_store import WatchedStore

__all__ = ["Job", "SimulationError", "SimulationReport", "simulate"]

_LEASE = timedelta(seconds=15)
_LONG = timedelta(minutes=30)  # what a healthy engine needs at most to bring everything to its end
_TENANT = "default"


@attrs.frozen(kw_only=True)
class Job:
    """A run to be started.

    Attributes:
        expected: JSON of the result; None accepts any.
        states: In which the run may end.
    """

    task: Task[..., Any]
    args: tuple[Any, ...] = ()
    expected: bytes | None = None
    states: frozenset[State] = frozenset({State.DONE})


@attrs.define(kw_only=True)
class SimulationReport:
    """What simulations have done.

    Attributes:
        checks: How often each invariant was checked.
    """

    seeds: int = 0
    runs: int = 0
    commits: int = 0
    crashes: int = 0
    faults: int = 0
    virtual: timedelta = timedelta(0)
    checks: dict[str, int] = attrs.field(factory=dict)


class SimulationError(AssertionError):
    """Raised when a history went wrong; says which seed repeats it.

    Attributes:
        seed: Repeats it, with the same parts and jobs.
        problems: One text each.
    """

    def __init__(self, seed: int, problems: Sequence[str]) -> None:
        self.seed = seed
        self.problems = list(problems)
        listed = "\n".join(f"  - {problem}" for problem in self.problems[:8])
        super().__init__(f"Seed {seed} went wrong; repeat it with seeds=[{seed}]:\n{listed}")


def simulate(
    *parts: Any,
    jobs: Callable[[random.Random], Sequence[Job]],
    seeds: Iterable[int] = range(100),
    engines: int = 2,
    faults: float = 0.05,
    mishaps: int = 6,
) -> SimulationReport:
    """Let engines do jobs while things go wrong, once per seed.

    Args:
        parts: Tasks, workflows and agents, without state that outlives a seed.
        jobs: Gives what is to be done; draws from the chance of the seed.
        engines: How many live at the same moment.
        faults: Share of the store's calls that fail or are late.
        mishaps: How many crashes, departures, stalls and settings of the clock there are.

    Raises:
        SimulationError: An invariant was broken, a run was lost, or a result is not the expected.
        RuntimeError: An event loop runs here already.
    """
    report = SimulationReport()
    for seed in seeds:
        world = _World(parts, jobs, seed, engines=engines, faults=faults, mishaps=mishaps)
        with quiet("astro"):
            done = run_deterministically(
                world.run, seed=seed, steps=5_000_000, resolution=timedelta(milliseconds=500)
            )
        report.seeds += 1
        report.runs += len(world.watched.accepted)
        report.commits += world.watched.commits
        report.crashes += world.crashes
        report.faults += world.faults
        report.virtual += timedelta(seconds=done.elapsed)
        for name, count in world.watched.counts.items():
            report.checks[name] = report.checks.get(name, 0) + count
        if done.value:
            raise SimulationError(seed, done.value)
    return report


class _Slot:
    """A place for an engine."""

    def __init__(self) -> None:
        self.engine: LocalEngine | None = None
        self.store: FaultyStore | None = None
        self.leave = anyio.Event()
        self.left = anyio.Event()


class _World:
    """One history."""

    def __init__(
        self,
        parts: Sequence[Any],
        jobs: Callable[[random.Random], Sequence[Job]],
        seed: int,
        *,
        engines: int,
        faults: float,
        mishaps: int,
    ) -> None:
        self._parts = parts
        self._chance = random.Random(seed)
        self._jobs = list(jobs(self._chance))
        self._count = engines
        self._share = faults
        self._mishaps = mishaps
        self._numbers = iter(range(1, 1_000_000))
        self._clock = LoopClock()
        self._slots: list[_Slot] = []
        self._ids: dict[int, str] = {}
        self._over = False
        self.watched = WatchedStore(MemoryStore(clock=self._clock))
        self.crashes = 0
        self.faults = 0

    async def run(self) -> list[str]:
        """Live through it; return what went wrong."""
        async with self.watched:
            async with anyio.create_task_group() as group:
                for _ in range(self._count):
                    group.start_soon(self._inhabit, _Slot())
                for number, job in enumerate(self._jobs):
                    group.start_soon(self._submit, number, job)
                for _ in range(self._mishaps):
                    await anyio.sleep(self._chance.random() * 20)
                    await self._mishap(group)
                problems = await self._heal()
                self._over = True
                for slot in self._slots:
                    slot.leave.set()
            return [*self.watched.wrong, *problems, *await self._judge()]

    # --- Engines -----------------------------------------------------------------------------

    async def _inhabit(self, slot: _Slot) -> None:
        """Let an engine live in a place until it has to leave."""
        number = next(self._numbers)
        plan = chance_of_faults(self._chance, self._share)
        slot.store = FaultyStore(self.watched, plan, clock=self._clock)
        self._slots.append(slot)
        while not (self._over or slot.leave.is_set()):
            try:
                async with self._engine(slot.store, number) as engine:
                    slot.engine = engine
                    await slot.leave.wait()
            except AstroError:
                await anyio.sleep(1)  # it could not be opened: the operator tries again
            finally:
                slot.engine = None
        self.faults += slot.store.faults
        self._slots.remove(slot)
        slot.left.set()

    def _engine(self, store: FaultyStore, number: int) -> LocalEngine:
        return LocalEngine(
            *self._parts,
            store=store,
            clock=self._clock,
            ids=VirtualIds(number),
            chance=random.Random(number),
            lease_for=_LEASE,
            grace=timedelta(seconds=1),
            idle_for=timedelta(seconds=30),
            name="engine",
        )

    async def _submit(self, number: int, job: Job) -> None:
        """Start a run, again and again until it is known to have been accepted."""
        while True:
            await anyio.sleep(self._chance.random() * 5)
            engine = next((slot.engine for slot in self._slots if slot.engine is not None), None)
            if engine is None:
                continue
            with suppress(AstroError):
                view = engine.options(key=f"job {number}")
                self._ids[number] = (await view.start(job.task, *job.args)).id
                return

    # --- What goes wrong ---------------------------------------------------------------------

    async def _mishap(self, group: Any) -> None:
        kind = self._chance.choice((self._crash, self._depart, self._stall, self._set_clock))
        slots = [slot for slot in self._slots if slot.engine is not None]
        if slots:
            await kind(self._chance.choice(slots), group)

    async def _crash(self, slot: _Slot, group: Any) -> None:
        """End an engine without a word to its store; another one comes."""
        self.crashes += 1
        assert slot.store is not None
        slot.store.cut_off()
        slot.leave.set()
        group.start_soon(self._inhabit, _Slot())

    async def _depart(self, slot: _Slot, group: Any) -> None:
        """Let an engine leave in peace; another one comes."""
        slot.leave.set()
        group.start_soon(self._inhabit, _Slot())

    async def _stall(self, slot: _Slot, group: Any) -> None:
        """Let an engine get no answer for longer than its leases last."""
        assert slot.store is not None
        before = slot.store.plan
        slow = Fault(error=None, delay=_LEASE * self._chance.choice((0.8, 1.5, 3.0)))
        slot.store.plan = lambda verb, number: slow
        await anyio.sleep(self._chance.random() * 5)
        slot.store.plan = before

    async def _set_clock(self, slot: _Slot, group: Any) -> None:
        """Set the clock that all go by, forward or back."""
        self._clock.jump(timedelta(seconds=self._chance.choice((-600, -60, 1, 60, 3600))))

    # --- The end -----------------------------------------------------------------------------

    async def _heal(self) -> list[str]:
        """Let nothing more go wrong, and wait for the end of everything that was accepted."""
        for slot in self._slots:
            if slot.store is not None and not slot.store.cut:
                slot.store.plan = None
        with anyio.move_on_after(_LONG.total_seconds()):
            while len(self._ids) < len(self._jobs) or self.watched.unfinished():
                await anyio.sleep(1)
                for slot in self._slots:  # those that came meanwhile
                    if slot.store is not None:
                        slot.store.plan = None
            return []
        lost = [f"run {run} did not end" for run in self.watched.unfinished()]
        waiting = [n for n in range(len(self._jobs)) if n not in self._ids]
        return [*lost, *(f"job {number} was not accepted" for number in waiting)]

    async def _judge(self) -> list[str]:
        """Return what is wrong with the results."""
        problems: list[str] = []
        for number, job in enumerate(self._jobs):
            if number in self._ids:
                problems += await self._judge_one(job, self._ids[number])
        return problems

    async def _judge_one(self, job: Job, run: str) -> list[str]:
        records = await posting.read_all(self.watched, _TENANT, run)
        end = records[-1]
        if not isinstance(end, FinishedRecord):
            return []  # told already
        if end.state not in job.states:
            told = end.failure.message if end.failure is not None else end.reason
            return [f"run {run} of {job.task.name} ended {end.state.value}: {told}"]
        found = as_bytes(end.result)
        if end.state is State.DONE and job.expected is not None and found != job.expected:
            return [f"run {run} of {job.task.name} gave {found!r} and not {job.expected!r}"]
        return []
