"""The world of one simulated history: a store, engines that come and go, and work for them."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from datetime import timedelta
from typing import Any

import anyio
import attrs

from astro.core.codec import to_json
from astro.core.errors import (
    AstroError,
    EngineClosedError,
    RunCancelledError,
    RunFailedError,
    StoreError,
)
from astro.core.policy import Budget
from astro.engine import posting
from astro.engine.local import LocalEngine
from astro.testing import ends
from astro.testing.clock import VirtualIds
from astro.testing.faulty_store import FaultyStore, chance_of_faults
from astro.testing.jobs import Job
from astro.testing.loop import LoopClock
from astro.testing.mishaps import MISHAPS
from astro.testing.model import KnownRun
from astro.testing.watched_store import WatchedStore

__all__ = ["Plan", "Slot", "Submitted", "World"]

_LEASE = timedelta(seconds=6)
_IDLE = timedelta(seconds=4)  # less than the longer waits of jobs
_BLOB = 256  # bytes; small enough that results are stored beside their journals
_LONG = timedelta(minutes=10)  # what healthy engines need at most to bring everything to its end
_GAP = 3.0  # seconds between mishaps, at most
_WAITERS = 0.6  # share of the jobs for which somebody waits


@attrs.frozen(kw_only=True)
class Plan:
    """What goes wrong in a history.

    Attributes:
        faults: Share of the store's calls that fail or are late.
        mishaps: How many there are at most; none comes when everything has ended.
        kinds: Which there are, of `MISHAPS`.
        budgets: Of tenants.
    """

    engines: int = 2
    faults: float = 0.05
    mishaps: int = 6
    kinds: Sequence[str] = tuple(MISHAPS)
    budgets: Mapping[str, Budget] = attrs.field(factory=dict)


@attrs.define(eq=False)
class Submitted:
    """A run that was started, or forked.

    Attributes:
        waiters: Those who wait for it at the moment.
        heard: JSON of each result that a waiter was given.
    """

    job: Job
    id: str
    cancelled: bool = False
    waiters: list[anyio.CancelScope] = attrs.field(factory=list)
    heard: list[bytes] = attrs.field(factory=list)


class Slot:
    """A place for an engine."""

    def __init__(self, store: FaultyStore) -> None:
        self.engine: LocalEngine | None = None
        self.store = store
        self.leave = anyio.Event()


class World:
    """One history.

    Attributes:
        over: Whether all engines leave, because everything has ended.
        excused: Names of engines that may have left leases behind.
        happened: How often each kind of mishap did.
        behind: How far the clock has been set back.
        faults: Calls of the store that failed or were late.
    """

    lease = _LEASE

    def __init__(
        self,
        parts: Sequence[Any],
        jobs: Sequence[Job],
        plan: Plan,
        *,
        chance: random.Random,
        clock: LoopClock,
        watched: WatchedStore,
    ) -> None:
        self.chance = chance
        self.clock = clock
        self.watched = watched
        self.jobs = jobs
        self.slots: list[Slot] = []
        self.submitted: list[Submitted] = []
        self.happened: Counter[str] = Counter()
        self.behind = timedelta(0)
        self.faults = 0
        self._parts = parts
        self._plan = plan
        self._numbers = iter(range(1, 1_000_000))
        self._missing = len(jobs)
        self.over = False
        self.excused: set[str] = set()
        self._group: Any = None

    async def run(self) -> list[str]:
        """Live through it; return what went wrong."""
        async with self.watched:
            for tenant, budget in self._plan.budgets.items():
                await self.watched.allow(tenant, budget)
            async with anyio.create_task_group() as self._group:
                await self._live()
            await ends.judge(self)
        ends.judge_loop(self)
        return list(self.watched.wrong)

    async def _live(self) -> None:
        for _ in range(self._plan.engines):
            self.open_engine()
        for number, job in enumerate(self.jobs):
            self._group.start_soon(self._submit, number, job)
        self._group.start_soon(self._answer)
        for _ in range(self._plan.mishaps):
            await anyio.sleep(self.chance.random() * _GAP)
            if self.is_done():
                break
            await MISHAPS[self.chance.choice(self._plan.kinds)](self)
        await self._heal()
        self.over = True
        for slot in self.slots:
            slot.leave.set()

    # --- Engines -----------------------------------------------------------------------------

    def open_engine(self) -> None:
        """Let one more engine come."""
        plan = None if self.over else chance_of_faults(self.chance, self._plan.faults)
        slot = Slot(FaultyStore(self.watched, plan, clock=self.clock))
        self.slots.append(slot)
        self._group.start_soon(self._inhabit, slot)

    def later(self, work: Callable[..., Awaitable[object]], *args: object) -> None:
        """Do something beside everything else, before the end."""
        self._group.start_soon(work, *args)

    async def _inhabit(self, slot: Slot) -> None:
        """Let an engine live in a place until it has to leave."""
        number = next(self._numbers)
        while not slot.leave.is_set():
            engine = self._engine(slot.store, number)
            try:
                async with engine:
                    slot.engine = engine
                    await slot.leave.wait()
            except StoreError:
                await anyio.sleep(1)  # it could not be opened: the operator tries again
            finally:
                slot.engine = None
        self.faults += slot.store.faults
        self.slots.remove(slot)

    def _engine(self, store: FaultyStore, number: int) -> LocalEngine:
        return LocalEngine(
            *self._parts,
            store=store,
            clock=self.clock,
            ids=VirtualIds(number),
            chance=random.Random(number),
            lease_for=_LEASE,
            grace=timedelta(seconds=1),
            idle_for=_IDLE,
            blob_size=_BLOB,
            name="engine",
        )

    def _some_engine(self) -> LocalEngine | None:
        engines = [slot.engine for slot in self.slots if slot.engine is not None]
        return self.chance.choice(engines) if engines else None

    # --- People ------------------------------------------------------------------------------

    async def _submit(self, number: int, job: Job) -> None:
        """Start a run, again and again until it is known to have been accepted."""
        while not self.over:
            await anyio.sleep(self.chance.random() * 3)
            engine = self._some_engine()
            if engine is None:
                continue
            with suppress(EngineClosedError, StoreError):
                view = engine.options(key=f"job {number}", tenant=job.tenant, budget=job.budget)
                handle: Any = await view.start(job.task, *job.args, **job.kwargs)
                run = self.note(job, handle.id)
                self._missing -= 1
                if self.chance.random() < _WAITERS:
                    self._group.start_soon(self._wait, run, handle)
                return

    def note(self, job: Job, id: str) -> Submitted:
        """Expect of a run what is expected of its job."""
        self.submitted.append(Submitted(job, id))
        return self.submitted[-1]

    def _job_of(self, run: str) -> Job | None:
        """Return the job that a run, or the one that it comes from, was started for."""
        jobs = {one.id: one.job for one in self.submitted}
        above = {run: known.fold.created for _, run, known in self.watched.model.runs()}
        while run not in jobs:
            created = above.get(run)
            if created is None or (created.source is None and created.parent is None):
                return None
            run = created.source or (created.parent or ("",))[0]
        return jobs[run]

    async def _wait(self, run: Submitted, handle: Any) -> None:
        """Wait for a run at one engine, then at another, until it has ended or nobody cares."""
        with anyio.CancelScope() as scope:
            run.waiters.append(scope)
            while not self.over:
                try:
                    run.heard.append(to_json(await handle))
                    break
                except (RunCancelledError, RunFailedError):
                    break
                except AstroError:
                    pass
                await anyio.sleep(1)
                engine = self._some_engine()
                with suppress(AstroError):
                    if engine is not None:
                        handle = await engine.tenant(run.job.tenant).get(run.id)
        run.waiters.remove(scope)

    async def _answer(self) -> None:
        """Answer the questions that are asked, now and then one of them twice."""
        if not any(job.answers for job in self.jobs):
            return
        while not self.over:
            await anyio.sleep(self.chance.random() * 4)
            for tenant, run, known in self.watched.model.runs():
                job = None if known.state.terminal else self._job_of(run)
                if job is not None and job.answers is not None:
                    await self._answer_run(tenant, run, known, job.answers)

    async def _answer_run(
        self, tenant: str, run: str, known: KnownRun, answers: Callable[[str], object]
    ) -> None:
        slots = [slot for slot in self.slots if slot.engine is not None]
        if not slots:
            return
        for asked in posting.open_questions(known.fold):
            if self.chance.random() < 0.5:
                continue
            store = self.chance.choice(slots).store
            post = (store, tenant, run, answers(asked.question))
            async with anyio.create_task_group() as group:
                for _ in range(self.chance.choice((1, 1, 2))):
                    group.start_soon(_post_answer, post, asked.call)

    # --- The end -----------------------------------------------------------------------------

    def is_done(self) -> bool:
        """Return whether everything was accepted, and has ended."""
        return not self._missing and not self.unfinished()

    def unfinished(self) -> list[str]:
        """Return the runs that still have to end."""
        left = self.watched.unfinished()
        if not any(job.lasting for job in self.jobs):
            return left
        jobs = {run: self._job_of(run) for run in left}
        return [run for run, job in jobs.items() if job is None or not job.lasting]

    async def _heal(self) -> None:
        """Let nothing more go wrong, and wait for the end of everything that was accepted."""
        # Leases and wake-ups go by the clock: by one that is behind, they last as much longer.
        self.clock.jump(self.behind)
        with anyio.move_on_after(_LONG.total_seconds()):
            while True:
                for slot in self.slots:  # those that came meanwhile too
                    slot.store.plan = None
                if self.is_done():
                    break
                await anyio.sleep(1)
        if any(job.lasting for job in self.jobs):
            # What could not be released is released when leases are renewed next.
            await anyio.sleep(_LEASE.total_seconds())


async def _post_answer(post: tuple[Any, ...], call: str) -> None:
    with suppress(AstroError):
        await posting.answer(*post, call=call, by="somebody")
