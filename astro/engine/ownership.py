"""Ownership: which runs this engine owns; claiming, renewing, taking over, giving up.

One loop claims what waits and reads the inboxes, one heartbeat renews all leases, one keeper
commits what nobody waits for and evicts runs in which nothing moves. When the engine cannot renew,
it starts nothing after two thirds of the lease and cancels its attempts at its end.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta

import anyio

from astro.core.errors import (
    CodecError,
    JournalCorruptError,
    KeyConflictError,
    LeaseLostError,
    RunSuspended,
    StoreError,
)
from astro.core.protocols import Lease
from astro.core.records import Record
from astro.engine.clock import LONG_AGO
from astro.engine.owned import OwnedRun
from astro.engine.parts import Parts
from astro.engine.supervisor import Supervisor

__all__ = ["Ownership"]

_LOGGER = logging.getLogger("astro.engine")
_POLL = timedelta(milliseconds=500)
_KEEP = 0.1  # seconds a record may wait for a commit that nobody asks for
_SUSPICIOUS = 2  # leases in a row that were not released
_STILL = 20  # looks in a row at which a run waits, until that counts as having got somewhere
_DOUBLED = 8  # times that the pause after a fault of a run is doubled at most
_LOOK = 0.005  # seconds between looks at attempts in flight while draining


class Ownership:
    """The runs of one engine.

    Attributes:
        owned: By run id.
        healthy: Whether the store has taken the last renewal.
        fault: What was wrong with it last.
    """

    def __init__(
        self,
        parts: Parts,
        *,
        owner: str,
        lease_for: timedelta,
        supervisor: Supervisor,
        committed: Callable[[OwnedRun, Sequence[Record]], None],
        gone: Callable[[OwnedRun], None],
    ) -> None:
        self._parts = parts
        self._owner = owner
        self._lease_for = lease_for
        self._supervisor = supervisor
        self._committed = committed
        self._gone = gone
        self._renewed_at = parts.clock.monotonic()
        self._dirty = anyio.Event()
        self._alone = anyio.Lock()
        self._claiming = anyio.Lock()
        self._drained = anyio.Event()
        self._drain_end = math.inf
        self._suspect: OwnedRun | None = None
        self._withheld: dict[str, tuple[Lease, datetime | None]] = {}
        self._faults: dict[str, int] = {}  # in a row, by run
        self.owned: dict[str, OwnedRun] = {}
        self.draining = False
        self.healthy = True
        self.fault = ""

    # --- Claiming ----------------------------------------------------------------------------

    async def run(self) -> None:
        """Claim and read mail until cancelled."""
        offers = self._parts.offers
        while True:
            try:
                await self._turn(offers)
            except StoreError as error:
                self._unwell(error)
                await self._parts.clock.sleep(_POLL)

    async def adopt_time(self) -> None:
        """Ask the store what time it is."""
        await self._claim(frozenset(), limit=0)

    async def _claim(self, offers: frozenset[str], *, limit: int) -> Sequence[Lease]:
        clock, store = self._parts.clock, self._parts.store
        async with self._claiming:
            asked = clock.reading()
            claimed = await store.claim(
                self._owner, offers=offers, limit=limit, duration=self._lease_for
            )
            clock.adopt(claimed.at, asked=asked)
            if self.draining:  # it began while the store was asked
                for lease in claimed.leases:
                    await self._let_go(lease, wake_at=LONG_AGO)
                return ()
            return claimed.leases

    async def _turn(self, offers: frozenset[str]) -> None:
        store = self._parts.store
        room = self._parts.limits.runs - len(self.owned)
        more = False
        adopted: list[OwnedRun] = []
        if room > 0 and not self.draining and self.healthy and not self._overdue(2 / 3):
            adopted = [self._adopt(one) for one in await self._claim(offers, limit=min(room, 100))]
            more = len(adopted) == min(room, 100)
        try:
            if self.owned:
                await self._read_mail()
        finally:
            for run in adopted:
                run.mail.set()
        if not more:
            await store.wait(timeout=_POLL)

    def _adopt(self, lease: Lease) -> OwnedRun:
        old = self.owned.pop(lease.run, None)
        if old is not None:
            old.close()  # lost and claimed again before the loss was noticed
        self._withheld.pop(lease.run, None)
        run = OwnedRun(self._parts, lease, kin=self.owned, committed=self._saw)
        run.draining = self.draining
        run.stalled = self._suspect is not None
        self.owned[lease.run] = run
        if lease.failures >= _SUSPICIOUS:
            self._supervisor.spawn(self._try_alone, run)
        else:
            self._supervisor.spawn(self._own, run)
        return run

    async def _try_alone(self, run: OwnedRun) -> None:
        """Own a run that may have ended engines, while nothing else is at work here."""
        async with self._alone:
            self._suspect = run
            self._heed_age()
            while self._at_work():  # noqa: ASYNC110  # rare
                await anyio.sleep(_LOOK)
            run.stalled = False
            self._supervisor.spawn(self._own, run)
            await self._judged(run)
            self._suspect = None
            self._heed_age()

    async def _judged(self, run: OwnedRun) -> None:
        """Return when a run has got somewhere, or waits: maybe for one that is tried next."""
        still = 0
        while still < _STILL:
            with anyio.move_on_after(_LOOK):
                await run.proved.wait()
                return
            still = still + 1 if run.waits else 0

    async def _own(self, run: OwnedRun) -> None:
        try:
            await run.main()
        except JournalCorruptError as error:
            # A read that fails once looks the same to SQLite, and who mends a file tells nobody.
            _LOGGER.error("%s", error, extra={"run": run.id})
            await self._withhold(run.lease)
        except StoreError as error:
            self._unwell(error)
        except Exception:
            _LOGGER.exception("A run could not be owned", extra={"run": run.id})
            await self._withhold(run.lease)
        else:
            wrong = run.journal.error if run.loaded else None
            if wrong is None:
                self._faults.pop(run.id, None)
            else:
                await self._blame(run, wrong)
        finally:
            if self.owned.get(run.id) is run:
                del self.owned[run.id]
            self._gone(run)

    async def _blame(self, run: OwnedRun, error: BaseException) -> None:
        """Tell what is wrong with a store from what is wrong with a run that cannot be kept."""
        if isinstance(error, (CodecError, KeyConflictError)):
            _LOGGER.error("Run %s cannot be kept: %s", run.id, error, extra={"run": run.id})
            await self._withhold(run.journal.lease)
        else:
            self._unwell(error)

    async def _withhold(self, lease: Lease) -> None:
        """Hold a run that cannot be gone on with for a while, twice as long each time.

        Released, it would be claimed again: at once if it has mail, and by whoever is the next.
        """
        clock, times = self._parts.clock, self._faults.get(lease.run, 0)
        self._faults[lease.run] = times + 1
        wake_at = clock.as_shown(clock.now() + self._lease_for)
        if self.draining:
            await self._let_go(lease, wake_at=wake_at)
        else:
            self._withheld[lease.run] = (lease, wake_at)
            pause = self._lease_for * 2 ** min(times, _DOUBLED)
            self._supervisor.spawn(self._let_go_after, lease, pause)

    async def _let_go_after(self, lease: Lease, pause: timedelta) -> None:
        await self._parts.clock.sleep(pause)
        if self._withheld.get(lease.run, (None, None))[0] is lease:
            del self._withheld[lease.run]
            await self._let_go(lease, wake_at=LONG_AGO)

    async def _let_go(self, lease: Lease, *, wake_at: datetime | None) -> None:
        try:
            await self._parts.store.release(lease, wake_at=wake_at)
        except StoreError as error:
            self._unwell(error)

    async def _read_mail(self) -> None:
        for posted in await self._parts.store.inbox(self._owner):
            run = self.owned.get(posted.run)
            if run is None:
                continue
            if run.loaded:
                run.deliver(posted)
                self._dirty.set()
            elif posted not in run.early:
                run.early.append(posted)

    def _saw(self, run: OwnedRun, records: Sequence[Record]) -> None:
        self._committed(run, records)

    # --- Renewing ----------------------------------------------------------------------------

    async def heartbeat(self) -> None:
        """Renew all leases until cancelled."""
        while True:
            await self._parts.clock.sleep(self._lease_for / 3)
            began = self._parts.clock.monotonic()
            held = dict(self.owned)
            try:
                renewed = await self._parts.store.renew(self._owner, duration=self._lease_for)
                await self._parts.learn_budgets()
            except StoreError as error:
                self._unwell(error)
                continue
            self._renewed_at = began
            self._well()
            await self._release_strays(renewed, held)
            tokens = {lease.run: lease.token for lease in renewed}
            for run in held.values():
                if tokens.get(run.id) != run.lease.token and self.owned.get(run.id) is run:
                    _LOGGER.warning("Lease lost; discarding the attempts", extra={"run": run.id})
                    run.close()

    async def _release_strays(self, renewed: Sequence[Lease], held: Mapping[str, OwnedRun]) -> None:
        """Release what was given up while the store could not take it back."""
        for lease in renewed:
            kept = lease.run in self.owned or lease.run in self._withheld
            if lease.run not in held and not kept:
                await self._let_go(lease, wake_at=LONG_AGO)

    def _overdue(self, share: float) -> bool:
        """Return whether a share of the lease has passed since leases were renewed."""
        passed = self._parts.clock.monotonic() - self._renewed_at
        return passed >= self._lease_for.total_seconds() * share

    def _heed_age(self) -> None:
        """Start nothing, then stop everything, when leases cannot be renewed."""
        late, expired = self._overdue(2 / 3), self._overdue(1)
        for run in [*self.owned.values()]:
            stalled = late or self._suspect not in (None, run)
            if expired:
                run.close()
            elif run.stalled != stalled:
                run.stalled = stalled
                run.reopen()

    def _unwell(self, error: BaseException) -> None:
        if isinstance(error, LeaseLostError):
            return  # another engine's gain, not the store's fault
        if self.healthy:
            _LOGGER.error("The store fails; no new work is taken: %s", error)
        self.healthy, self.fault = False, str(error)

    def _well(self) -> None:
        self.healthy = True

    # --- Keeping -----------------------------------------------------------------------------

    async def keep(self) -> None:
        """Commit what nobody waits for, and evict what stands still, until cancelled."""
        while True:
            with anyio.move_on_after(_KEEP):
                await self._dirty.wait()
            self._dirty = anyio.Event()
            self._heed_age()
            await self.commit_leftovers()
            await self._evict()

    async def commit_leftovers(self) -> None:
        """Commit the records that no attempt waits for."""
        for run in [*self.owned.values()]:
            if run.loaded and run.journal.dirty and not run.closed:
                try:
                    await run.journal.flush()
                except RunSuspended:
                    continue

    def _is_idle(self, run: OwnedRun, now: datetime) -> bool:
        if run.rest.at_work or run.rest.idle_since is None or run.closed or not run.loaded:
            return False
        if run.lacks_part:
            return True
        if run.rest.boxes or run.rest.ends.keys() - {run.root}:
            return False  # an attempt's time-out counts while it is at work here, or waits
        if now - run.rest.idle_since < self._parts.idle_for:
            return False
        moment = run.next_moment()
        return moment is None or moment - now > self._parts.idle_for

    async def _evict(self) -> None:
        now = self._parts.clock.now()
        for run in [*self.owned.values()]:
            if self._is_idle(run, now):
                # An engine that closes meanwhile still gives the run back.
                with anyio.move_on_after(self._lease_for.total_seconds(), shield=True):
                    await self._suspend(run)

    async def _suspend(self, run: OwnedRun) -> None:
        try:
            await run.suspend()
        except StoreError as error:
            _LOGGER.warning("Run not released: %s", error, extra={"run": run.id})
            self._unwell(error)

    # --- Giving up ---------------------------------------------------------------------------

    async def drain(self, grace: timedelta) -> None:
        """Claim nothing more, let attempts in flight finish for a while, release the rest."""
        end = anyio.current_time() + grace.total_seconds()
        self._drain_end = min(self._drain_end, end)
        if self.draining:
            await self._drained.wait()
            return
        self.draining = True
        for run in self.owned.values():
            run.draining = True
        try:
            while anyio.current_time() < self._drain_end and self._at_work():  # noqa: ASYNC110
                await anyio.sleep(_LOOK)
            async with self._claiming:
                await self.commit_leftovers()
                for run in [*self.owned.values()]:
                    await self._suspend(run)
                while self._withheld:
                    _, (lease, wake_at) = self._withheld.popitem()
                    await self._let_go(lease, wake_at=wake_at)
        finally:
            self._drained.set()

    def _at_work(self) -> bool:
        return any(run.rest.working for run in self.owned.values())
