"""One run while this engine owns it: from its journal to its end, or to being given up.

Everything about a run that is not in its journal lives here and is lost without harm: who waits
for what, which attempts are at work, which events to set.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from datetime import datetime
from typing import Any, TypeVar

import anyio

from astro.core.errors import (
    AstroError,
    RunNotFoundError,
    RunSuspended,
    StoreError,
)
from astro.core.messages import Posted
from astro.core.policy import Budget
from astro.core.protocols import Lease
from astro.core.records import (
    CreatedRecord,
    Failure,
    OwnedRecord,
    ParkedRecord,
    Record,
    ReleasedRecord,
    ResumedRecord,
    State,
)
from astro.core.task import Task
from astro.decisions.replay import CallState, RunState
from astro.engine import ending, execution, mail, root, undoing
from astro.engine.attempt import Attempt
from astro.engine.clock import LONG_AGO
from astro.engine.divergence import Divergence
from astro.engine.failures import failure_of
from astro.engine.journal import PROOF, Journal, read_state
from astro.engine.parts import Parts
from astro.engine.purse import Purse
from astro.engine.request import Request
from astro.engine.rest import Rest
from astro.engine.supervisor import StrayError, apart

__all__ = ["OwnedRun"]

T = TypeVar("T")
_LOGGER = logging.getLogger("astro.engine")
_PARTS = frozenset({"agent", "task"})


class OwnedRun:
    """A run that this engine owns.

    Attributes:
        closing: Whether its attempts are being cancelled from outside, by a cancelled run, a
            deadline or a suspension; what is cancelled then is not abandoned by its task.
        rest: Which attempts are at work, and what the others wait for.
        started: Whether `main` has begun.
        draining: Whether the engine gives its runs up.
        stalled: Whether the engine could not renew its leases for too long.
        mail: Set when the inbox was read for the first time.
        early: Messages that came before the journal was read.
        taken: Numbers of the inbox messages that were dealt with.
        proved: Set when the run has got somewhere without ending the engine.
        over: Set when nothing of the run is at work here any more.
    """

    def __init__(
        self,
        parts: Parts,
        lease: Lease,
        *,
        kin: Mapping[str, OwnedRun],
        committed: Callable[[OwnedRun, Sequence[Record]], None],
    ) -> None:
        self._kin = kin
        self.parts = parts
        self.id = lease.run
        self.tenant = lease.tenant
        self.lease = lease
        self.state = RunState()
        self.closed = False
        self.closing = False
        self.over = anyio.Event()
        self.proved = anyio.Event()
        self.steps: dict[Any, Task[..., Any]] = {}
        self.result: tuple[bytes | None, str | None] = (None, None)
        self.failure: Failure | None = None
        self.started = False
        self.draining = False
        self.stalled = False
        self.taken: set[int] = set()
        self.early: list[Posted] = []
        self.mail = anyio.Event()
        self.rest = Rest(self)
        self.divergence = Divergence(self)
        self._committed = committed
        self._opened = anyio.Event()
        self._scope, self._last = anyio.CancelScope(), anyio.CancelScope()
        self._shielded: dict[anyio.CancelScope, None] = {}
        self._expired = False
        self.journal: Journal
        self.purse: Purse

    # --- What the run is ---------------------------------------------------------------------

    @property
    def created(self) -> CreatedRecord:
        assert self.state.created is not None  # the first record of every journal
        return self.state.created

    @property
    def priority(self) -> int:
        return self.created.priority

    @property
    def deadline(self) -> datetime | None:
        return self.created.deadline

    @property
    def budget(self) -> Budget:
        return self.created.budget or self.parts.budget or _UNLIMITED

    @property
    def root(self) -> str:
        """Identity of the root call."""
        return self.created.task

    @property
    def loaded(self) -> bool:
        """Whether the journal has been read."""
        return self.state.created is not None

    @property
    def waits(self) -> bool:
        """Whether nothing is at work, and nothing is left to be committed."""
        if not self.loaded or not self.mail.is_set() or self.rest.at_work:
            return False
        return self.journal.lease.seq == self.state.seq

    def next_moment(self) -> datetime | None:
        """Return when the run should be claimed again if it is given up now."""
        if self.lacks_part:
            return self.parts.clock.now()  # whoever has the part may claim it
        return self.rest.next_moment()

    @property
    def lacks_part(self) -> bool:
        """Whether the run is parked for a part that this engine does not have."""
        return not self.parts.has(self.state.needs)

    def condition(self) -> State:
        """Return the state that the next commit stores."""
        if self.state.finished is not None:
            return self.state.finished.state
        if self.state.needs:
            return State.PARKED
        undone = self.state.undoing
        if undone and (self.closing or self.root in undone):
            return State.UNDOING
        return self.rest.condition(paused=self.state.paused)

    # --- The life of a run -------------------------------------------------------------------

    async def main(self) -> None:
        """Own the run until it ends or is given up; errors of its store suspend it."""
        self.started = True
        try:
            self.require_open()
            await self._load()
            await self.mail.wait()
            for posted in self.early:
                self.deliver(posted)
            if self.state.needs.keys() & _PARTS and not self.lacks_part:
                self.journal.append(ResumedRecord, by=self.lease.owner)
            try:
                await apart(self._perform, self.close)
            except StrayError as error:
                self.require_open()
                wrong = AstroError(
                    f"{self.root} spoiled its task: {error}.",
                    remedy="Close each scope and task group in the block that opened it.",
                )
                self.failure = failure_of(wrong, attempts=1, retryable=False)
                self._last = anyio.CancelScope()
                await self._end()
        except RunSuspended:
            pass
        finally:
            self.closed = self.closing = True
            self.over.set()
            self.proved.set()

    async def _perform(self) -> None:
        """Perform the root call and end the run, in a task of its own that a body may spoil."""
        with self._scope:
            await root.perform_root(self)
        await self._end()

    async def _end(self) -> None:
        with self._last:
            self.require_open()
            if self.state.finished is None:
                await ending.end(self)
            else:
                await self.journal.flush()  # whoever had written this was cut off

    async def _load(self) -> None:
        state = await read_state(self.parts.store, self.lease)
        self.divergence.remember(state)
        self.journal = Journal(
            store=self.parts.store,
            lease=self.lease,
            state=state,
            clock=self.parts.clock,
            condition=self.condition,
            committed=self._saw,
            broken=self._broken,
            movement=lambda: self.purse.movement(),
        )
        self.state = state
        self.purse = Purse(self)
        self.journal.closed = self.closed
        lease = self.lease
        self.journal.append(OwnedRecord, owner=lease.owner, token=lease.token, lost=lease.lost)

    def lineage(self) -> tuple[str, ...]:
        """Return this run and the runs above it, as far as this engine owns them."""
        found = [self.id]
        run: OwnedRun | None = self
        while run is not None and run.loaded and run.created.parent is not None:
            found.append(run.created.parent[0])
            run = self._kin.get(found[-1])
        return tuple(found)

    def end_by_cancel(self) -> None:
        """Cancel the attempts of a run whose cancellation is recorded."""
        self.closing = True
        self._scope.cancel()

    async def suspend(self) -> None:
        """Give the run up: commit what is known, cancel what is at work, release the lease."""
        moment: datetime | None = self.parts.clock.now()
        if self.loaded:
            with suppress(RunSuspended):
                await self.journal.flush()
                if self.state.finished is None and self.condition() is not self.journal.kept:
                    # Who waits for what has changed without anything to be kept.
                    self.journal.append(ReleasedRecord, owner=self.lease.owner)
                    await self.journal.flush()
                while self.state.finished is not None and self.journal.lease.seq < self.state.seq:
                    await self.journal.flush()  # it came to its end while that was committed
            if self.journal.lease.seq == self.state.seq:
                moment = self.next_moment()  # else somebody has to look at what is not kept
        self.close()
        if self.started:
            await self.over.wait()
        if not self.loaded:
            await self.parts.store.release(self.lease, wake_at=LONG_AGO)
        elif self.journal.error is None and self.state.finished is None:
            shown = self.parts.clock.as_shown(moment)
            await self.parts.store.release(self.journal.lease, wake_at=shown)

    def close(self) -> None:
        """Close the context and cancel what is at work; nothing is journaled any more."""
        self.closed = self.closing = True
        if self.loaded:
            self.journal.closed = True
        for scope in (self._scope, self._last, *self._shielded):
            scope.cancel()

    async def park(self, needs: dict[str, str]) -> None:
        """Record what the run waits for, and wait until somebody posts a message."""
        waits = ", ".join(f"{what}: {name}" for what, name in needs.items())
        _LOGGER.warning("Run %s waits for %s", self.id, waits, extra={"run": self.id})
        self.journal.append(ParkedRecord, needs=needs)
        await self.journal.flush()
        await self.gate()

    def _broken(self, error: Exception) -> None:
        self.close()

    def _saw(self, records: Sequence[Record]) -> None:
        """Wake who waits for what was just committed, then tell the engine."""
        self.rest.saw(records)
        if not self.proved.is_set() and any(isinstance(one, PROOF) for one in records):
            self.proved.set()
        self._committed(self, records)

    # --- What the rooms of execution ask -----------------------------------------------------

    def require_open(self) -> None:
        """Return if the engine still owns the run.

        Raises:
            RunSuspended: It does not.
        """
        if self.closed:
            raise RunSuspended

    async def ask(self, parent: Attempt, task: Task[..., Any], *said: Any) -> Any:
        """Return the result of a call; `said` is bound, identity, place and policy."""
        bound, identity, place, policy = said
        exempt = parent.exempt
        request = Request(task, bound, identity, parent.call, place, policy, exempt=exempt)
        return await execution.ask(parent, request)

    async def recalled(self, task: Task[..., Any], memory: CallState) -> Any:
        """Return the result of a finished call."""
        return await execution.recalled(self, task, memory)

    async def undo(
        self, call: str, *, into: State = State.FAILED, failure: Failure | None = None
    ) -> None:
        """Undo what the subtree of a call has done; only giving the run up cuts it off."""
        if self.state.undoable:
            with anyio.CancelScope(shield=True) as scope:
                self._shielded[scope] = None
                try:
                    await undoing.undo(self, call, into, failure)
                finally:
                    del self._shielded[scope]
            self.require_open()

    def held(self, *, undoing: bool = False) -> bool:
        """Return whether new attempts may not begin: paused, parked, draining or overdue."""
        if self.closed or self.draining or self.stalled:
            return True
        return not undoing and (self.state.paused or bool(self.state.needs))

    async def gate(self, *, undoing: bool = False) -> None:
        """Return when new attempts may begin.

        Raises:
            RunSuspended: The engine has given the run up.
        """
        self.require_open()
        self.rest.gated += 1
        try:
            while self.held(undoing=undoing):
                await self._opened.wait()
                self.require_open()
        finally:
            self.rest.gated -= 1

    def reopen(self) -> None:
        """Let those who wait at the gate look again."""
        self._opened.set()
        self._opened = anyio.Event()

    async def reach(self, asked: Awaitable[T]) -> T:
        """Return what the store says; if it fails, the run is given up and not its call.

        Raises:
            RunNotFoundError: The store does not have what was asked for.
            RunSuspended: The store fails.
        """
        try:
            return await asked
        except RunNotFoundError:
            raise
        except StoreError as error:
            self.journal.fail(error)
            raise RunSuspended from error

    # --- Mail --------------------------------------------------------------------------------

    async def pull(self) -> None:
        """Take what is in the inbox at this moment."""
        for posted in await self.reach(self.parts.store.inbox(self.lease.owner)):
            if posted.run == self.id:
                self.deliver(posted)

    def deliver(self, posted: Posted) -> None:
        """Record what becomes of a message, and act on it."""
        mail.deliver(self, posted)


_UNLIMITED = Budget()
