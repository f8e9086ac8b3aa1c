"""The engine of one process: its parts, its background work, and the verbs of its users.

Opening it on a store with unfinished runs continues them; several engines may share one store.
"""

from __future__ import annotations

import logging
import os
import random
import signal
from collections.abc import Sequence
from contextlib import AsyncExitStack
from datetime import datetime, timedelta
from typing import Any, ParamSpec, Self, TypeVar
from weakref import WeakValueDictionary

import anyio

from astro import engine
from astro.core.clock import Clock, Ids, SystemClock, SystemIds, system_random
from astro.core.errors import (
    EngineClosedError,
    InvalidArgumentsError,
    StoreUnavailableError,
)
from astro.core.ledger import Ledger, ledger_of
from astro.core.messages import ResumeMessage
from astro.core.policy import Budget, Limits, RunOptions
from astro.core.protocols import (
    Agent,
    Composition,
    Observer,
    RetryPolicy,
    Router,
    RunQuery,
    Sandbox,
    Store,
)
from astro.core.records import Record, State
from astro.core.task import Task
from astro.decisions.retrying import BackoffRetry
from astro.decisions.routing import LeastLoadRouter
from astro.engine.admission import admit_amounts, admit_parts, admit_times
from astro.engine.catalog import catalog_of
from astro.engine.clock import EngineClock
from astro.engine.observe import Observers
from astro.engine.owned import OwnedRun
from astro.engine.ownership import Ownership
from astro.engine.parts import Parts
from astro.engine.run import Watch
from astro.engine.sandboxing import SandboxDoor
from astro.engine.slots import Slots
from astro.engine.supervisor import Supervisor, to_the_end
from astro.engine.timers import Timers
from astro.engine.verbs import Verbs

__all__ = ["LocalEngine"]

P = ParamSpec("P")
R = TypeVar("R")
_LOGGER = logging.getLogger("astro.engine")
_LOOK = 1_000  # unfinished runs of a tenant that an opening engine looks at


class LocalEngine(Verbs):
    """Owns runs in this process: claims, decides, dispatches, commits.

    Args:
        parts: Tasks, workflows and agents, as decorated functions and instances.
        store: Where journals are kept; the engine opens and closes it.
        sandbox: Where untrusted code runs; without one, it does not. The engine opens and closes
            it; what needs no box works while it cannot be opened.
        router: Chooses who performs a call.
        retrying: Computes the delays between attempts.
        observers: See records after they are committed.
        budget: Of every run that has none of its own.
        limits: How much is taken on at once.
        lease_for: How long another engine waits before it takes over from a dead one.
        grace: How long attempts in flight may finish when the engine closes.
        idle_for: How long a run in which nothing moves stays in memory.
        blob_size: Bytes from which a result is stored beside the journal.
        name: Of this engine in leases and logs; by default the number of its process.

    Raises:
        InvalidArgumentsError: A part is none, two have the same name, or an argument is wrong.
        UnknownTaskError: Something needs a task that no part offers.
        WorkflowError: A workflow does not fit its tasks.
    """

    def __init__(
        self,
        *parts: Task[..., Any] | Composition | Agent,
        store: Store,
        sandbox: Sandbox | None = None,
        router: Router | None = None,
        retrying: RetryPolicy | None = None,
        clock: Clock | None = None,
        ids: Ids | None = None,
        chance: random.Random | None = None,
        observers: Sequence[Observer] = (),
        budget: Budget | None = None,
        limits: Limits | None = None,
        lease_for: timedelta = timedelta(seconds=15),
        grace: timedelta = timedelta(seconds=10),
        idle_for: timedelta = timedelta(seconds=60),
        blob_size: int = 64 * 1024,
        name: str | None = None,
    ) -> None:
        super().__init__(RunOptions())
        admit_parts(store, sandbox, router, retrying, clock, ids, chance, observers)
        admit_amounts(budget, limits, blob_size, name)
        admit_times(lease_for=lease_for, grace=grace, idle_for=idle_for)
        self._catalog = catalog_of(parts)
        engine_clock = EngineClock(clock or SystemClock())
        limits = limits or Limits()
        ids = ids or SystemIds()
        self._parts = Parts(
            store=store,
            clock=engine_clock,
            ids=ids,
            chance=chance or system_random(),
            router=router or LeastLoadRouter(),
            retrying=retrying or BackoffRetry(),
            sandbox=SandboxDoor(sandbox),
            slots=Slots(limits, self._catalog.caps(limits), engine_clock),
            timers=Timers(engine_clock),
            limits=limits,
            budget=budget,
            tasks=self._catalog.tasks,
            performers=self._catalog.performers,
            blob_size=blob_size,
            idle_for=idle_for,
            ledger=ledger_of(store),
        )
        # A restarted engine of the same name is another owner: its leases are not yet its own.
        self.name = f"{name or os.getpid()}-{ids.new()[-12:]}"
        self._lease_for = lease_for
        self._grace = grace
        self._observers = Observers(observers)
        self._watches: WeakValueDictionary[str, Watch] = WeakValueDictionary()
        self._submitted: dict[str, str] = {}
        self._room = anyio.Event()
        self._open = self._leaving = False
        self._stack = AsyncExitStack()
        self._supervisor: Supervisor
        self._ownership: Ownership
        self._portal: engine.SyncPortal | None = None

    # --- Opening and closing -----------------------------------------------------------------

    async def __aenter__(self) -> Self:
        if self._open:
            raise EngineClosedError("The engine is already open.", remedy="Open it once.")
        async with AsyncExitStack() as stack:
            await stack.enter_async_context(self.store)
            for agent in self._catalog.agents:
                if hasattr(agent, "__aenter__"):
                    await stack.enter_async_context(agent)  # type: ignore[arg-type]  # by shape
            stack.push_async_callback(self._parts.sandbox.close)
            await self._parts.sandbox.open()
            self._supervisor = Supervisor(f"astro engine {self.name}")
            stack.push_async_callback(self._supervisor.close)
            await self._supervisor.open()
            self._ownership = Ownership(
                self._parts,
                owner=self.name,
                lease_for=self._lease_for,
                supervisor=self._supervisor,
                committed=self._committed,
                gone=self._gone,
            )
            await self._ownership.adopt_time()
            await self._parts.learn_budgets()
            work = (self._parts.timers.run, self._ownership.heartbeat, self._ownership.keep)
            for part in (*work, self._ownership.run, self._observers.run):
                self._supervisor.spawn(part)
            await self._look_around()
            self._stack = stack.pop_all()
        self._open = True
        return self

    async def __aexit__(self, *error: object) -> None:
        self._open, self._leaving = False, True
        # Whoever cancels the host still gets its runs released, within the grace.
        with anyio.CancelScope(shield=True):
            try:
                await to_the_end(self._leave)
            finally:
                await self._stack.aclose()
                self._leaving = False

    async def _leave(self) -> None:
        await self.drain()
        with anyio.move_on_after(self._grace.total_seconds()):
            await self._observers.drain()

    async def drain(self, grace: timedelta | None = None) -> None:
        """Take nothing more, let attempts in flight finish, release the rest for others.

        Raises:
            EngineClosedError: The engine is not open.
            InvalidArgumentsError: The grace is no duration.
        """
        grace = self._grace if grace is None else grace
        admit_times(grace=grace)
        if not (self._open or self._leaving):
            raise _not_open()
        await self._ownership.drain(grace)

    async def drain_on(self, *signals: signal.Signals) -> None:
        """Wait for a signal and drain; a second one cancels attempts in flight.

        Run it in a task of the application's own; it returns once the engine is drained.
        """
        async with anyio.create_task_group() as group:
            with anyio.open_signal_receiver(*signals or (signal.SIGTERM,)) as received:
                async for _ in received:
                    if self._ownership.draining:
                        await self._ownership.drain(timedelta(0))
                        group.cancel_scope.cancel()
                        return
                    group.start_soon(self._drain_then, group.cancel_scope.cancel)

    async def _drain_then(self, done: Any) -> None:
        await self.drain()
        done()

    async def _look_around(self) -> None:
        """Report what nobody here can claim, and free what waited for a part that is here now."""
        for tenant in await self.store.tenants():
            page = await self.store.runs(tenant, RunQuery(unfinished=True, limit=_LOOK))
            for found in page.items:
                if found.state is State.PARKED and self._has(found.needs):
                    message = ResumeMessage(by=self.name)
                    await self.store.post(found.tenant, found.id, message)
                elif found.task not in self._parts.tasks:
                    _LOGGER.warning("No part performs %r", found.task, extra={"run": found.id})

    def _has(self, needs: Any) -> bool:
        known = all(kind in ("agent", "task", "arguments") for kind in needs)
        return bool(needs) and known and self._parts.has(needs)

    # --- What handles and verbs ask ----------------------------------------------------------

    @property
    def store(self) -> Store:
        """The store this engine was given."""
        return self._parts.store

    @property
    def parts(self) -> Parts:
        """What the rooms of this engine share."""
        return self._parts

    @property
    def ledger(self) -> Ledger:
        """The part of the store that keeps the budgets of tenants.

        Raises:
            InvalidArgumentsError: The store has none.
        """
        if self._parts.ledger is None:
            raise InvalidArgumentsError(
                f"{type(self.store).__name__} keeps no budgets of tenants.",
                remedy="Use a store that implements astro.core.ledger.Ledger.",
            )
        return self._parts.ledger

    @property
    def idle(self) -> bool:
        """Whether all runs that this engine owns wait, and everything about them is kept."""
        return all(run.waits for run in self._ownership.owned.values())

    def new_id(self) -> str:
        """Return an id for a run."""
        return self._parts.ids.new()

    def now(self) -> datetime:
        """Return the engine's time."""
        return self._parts.clock.now()

    def require_alive(self) -> None:
        """Return if the engine's background work goes on.

        Raises:
            EngineClosedError: The engine is closed, or has failed; its cause says why.
        """
        if not self._open:
            raise _not_open()
        if self._supervisor.error is not None:
            raise EngineClosedError(
                f"The engine has failed: {self._supervisor.error!r}.", remedy="Open a new one."
            ) from self._supervisor.error

    def require_healthy(self) -> None:
        """Return if the engine takes work.

        Raises:
            EngineClosedError: It is closed, draining or failed.
            StoreUnavailableError: The store has failed and has not come back yet.
        """
        self.require_alive()
        if not self._ownership.healthy:
            raise StoreUnavailableError(
                f"The store fails: {self._ownership.fault}",
                remedy="Mend the store; the engine takes work again by itself.",
            )
        if self._ownership.draining:
            raise EngineClosedError(
                "The engine is draining and takes no new runs.", remedy="Use another engine."
            )

    def watch(self, run: str) -> Watch:
        """Return what tells of a run's commits as long as somebody holds it."""
        watch = self._watches.get(run)
        if watch is None:
            watch = self._watches[run] = Watch()
        return watch

    def drives(self, run: str) -> bool:
        """Return whether this engine owns a run at the moment."""
        return run in self._ownership.owned

    async def room(self, run: str, tenant: str) -> None:
        """Return when one more run may be submitted from outside (back-pressure)."""
        while len(self._submitted) >= self._parts.limits.pending:
            with anyio.move_on_after(1.0):
                await self._room.wait()
            await self._forget_finished()
        self._submitted[run] = tenant

    async def _forget_finished(self) -> None:
        """Count no longer what other engines have finished."""
        for tenant in {*self._submitted.values()}:
            ids = frozenset(run for run, whose in self._submitted.items() if whose == tenant)
            found = await self.store.runs(tenant, RunQuery(ids=ids, limit=len(ids)))
            for one in found.items:
                if one.state.terminal:
                    self._submitted.pop(one.id, None)

    def submitted_elsewhere(self, run: str) -> None:
        """Count a run no longer that turned out to exist."""
        self._submitted.pop(run, None)

    # --- What ownership tells ----------------------------------------------------------------

    def _committed(self, run: OwnedRun, records: Sequence[Record]) -> None:
        watch = self._watches.get(run.id)
        if watch is not None:
            watch.notify(records)
        if self._observers:
            self._observers.publish(run.tenant, run.id, records)

    def _gone(self, run: OwnedRun) -> None:
        if run.state.finished is not None:
            self._submitted.pop(run.id, None)
            self._room.set()
            self._room = anyio.Event()

    # --- Without an event loop ---------------------------------------------------------------

    def run_sync(self, task: Task[P, R], /, *args: P.args, **kwargs: P.kwargs) -> R:
        """Start a run and wait for its result, from code that has no event loop.

        The engine opens on a thread of its own and stays open until `close_sync`.

        Raises:
            EngineClosedError: The engine is open in an event loop, or one runs here: use `await`.
        """
        result: R = self._sync().run(self, task, args, kwargs)
        return result

    def start_sync(self, task: Task[P, R], /, *args: P.args, **kwargs: P.kwargs) -> str:
        """Start a run from code that has no event loop, and return its id."""
        return self._sync().start(self, task, args, kwargs)

    def close_sync(self) -> None:
        """Close an engine that `run_sync` or `start_sync` opened."""
        if self._portal is not None:
            portal, self._portal = self._portal, None
            portal.close()

    def _sync(self) -> engine.SyncPortal:
        if self._portal is None:
            if self._open:
                raise EngineClosedError(
                    "The engine is open in an event loop.", remedy="Write: await engine.run(...)."
                )
            self._portal = engine.SyncPortal(self)
        return self._portal


def _not_open() -> EngineClosedError:
    return EngineClosedError(
        "The engine is not open.", remedy="Use it inside `async with LocalEngine(...)`."
    )
