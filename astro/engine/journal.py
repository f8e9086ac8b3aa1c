"""The journal: what happened to a run, in order, never edited.

Every change to a run passes through here, from the one engine that owns it: decide in memory,
commit through the lease, then let observers see it. Whoever needs an acknowledgement first
carries the commit for all who wait with it, so that concurrent calls share one transaction; one
commit of a run is in flight at a time. A commit whose lease was lost is refused; that is the
only locking ASTRO has.

Called by `execution`, `context` and `owned`; calls the store.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import anyio
import anyio.lowlevel
import msgspec

from astro.core.clock import Clock
from astro.core.errors import JournalCorruptError, RunSuspended
from astro.core.ledger import Usage
from astro.core.messages import Message
from astro.core.protocols import Commit, Lease, NewRun, Remembered, Store
from astro.core.records import (
    AskedRecord,
    Entry,
    FinishedRecord,
    ParkedRecord,
    Record,
    State,
    SucceededRecord,
    decode_entries,
    encode_record,
    verify,
)
from astro.decisions.replay import RunState, replay
from astro.engine.clock import LONG_AGO

__all__ = ["PROOF", "Journal", "read_state", "require_length"]

PROOF = (SucceededRecord, FinishedRecord, ParkedRecord, AskedRecord)
"""The records that show that a run got somewhere without ending its engine."""

_PAGE = 5_000  # entries read at once
_RESTORE = "Restore the run from a backup of the store; 'astro doctor' tells what is damaged."


class _Extras(msgspec.Struct, eq=False):
    """What the next commit carries beside its entries."""

    consumed: list[int] = msgspec.field(default_factory=list)
    create: list[NewRun] = msgspec.field(default_factory=list)
    outgoing: list[tuple[str, Message]] = msgspec.field(default_factory=list)
    remember: list[Remembered] = msgspec.field(default_factory=list)


class Journal:
    """The one write path of one run.

    Attributes:
        lease: The newest lease.
        kept: The run's state as it was last committed here.
        state: The fold of all records, acknowledged or not.
        error: Why nothing can be committed any more, if so.
        closed: Whether the engine has given the run up.
        crowd: How many parts of the run ask for calls at the moment.
    """

    def __init__(
        self,
        *,
        store: Store,
        lease: Lease,
        state: RunState,
        clock: Clock,
        condition: Callable[[], State],
        committed: Callable[[Sequence[Record]], None],
        broken: Callable[[Exception], None],
        movement: Callable[[], tuple[Usage | None, tuple[str, ...] | None]],
    ) -> None:
        self._store = store
        self.lease = lease
        self.kept: State | None = None
        self.state = state
        self._clock = clock
        self._condition = condition
        self._committed = committed
        self._broken = broken
        self._movement = movement
        self._pending: list[Record] = []
        self._extras = _Extras()
        self._unknown: tuple[Commit, list[Record]] | None = None
        self._flying = False
        self._landed: anyio.Event | None = None
        self.error: BaseException | None = None
        self.closed = False
        self.crowd = 0

    @property
    def dirty(self) -> bool:
        """Whether something is not acknowledged yet and nobody is about to commit it."""
        return not self._flying and bool(self._pending or self._unknown)

    def append(self, kind: type[Any], /, **fields: Any) -> Any:
        """Record a fact; it counts from now on, and is kept with the next commit.

        Raises:
            RunSuspended: The engine has given the run up.
        """
        if self.closed:
            raise RunSuspended
        record = kind(seq=self.state.seq + 1, at=self._clock.now(), **fields)
        self.state.apply(record)
        self._pending.append(record)
        return record

    def consume(self, number: int) -> None:
        """Remove an inbox message with the next commit."""
        self._extras.consumed.append(number)

    def create(self, run: NewRun) -> None:
        """Create a run with the next commit."""
        self._extras.create.append(run)

    def send(self, run: str, message: Message) -> None:
        """Send a message to another run with the next commit."""
        self._extras.outgoing.append((run, message))

    def remember(self, result: Remembered) -> None:
        """Keep a result for the cache with the next commit."""
        self._extras.remember.append(result)

    async def flush(self) -> None:
        """Return when everything recorded so far is kept.

        Raises:
            RunSuspended: The engine has given the run up, the store cannot write, or another
                engine owns the run; `error` says which.
        """
        target = self.state.seq
        while self.lease.seq < target:
            if self.error is not None:
                raise RunSuspended from self.error
            if self.closed:
                raise RunSuspended
            if self._flying:
                self._landed = self._landed or anyio.Event()
                await self._landed.wait()
            else:
                await self._fly()

    async def _fly(self) -> None:
        """Carry everything that waits, for all who wait."""
        self._flying = True
        try:
            if self.crowd > 1 and self._unknown is None:
                # Others are about to record something in this very turn of the loop.
                await anyio.lowlevel.checkpoint()
            if self._unknown is None:
                self._unknown = self._load()
            commit, records = self._unknown
            # Cancelled in here, the outcome stays unknown; whoever flushes next repeats the
            # commit, which is harmless, as a store knows a commit it already has.
            lease = await self._store.commit(self.lease, commit)
            self.lease = lease
            self.kept = commit.state
            self._unknown = None
            self._committed(records)
        except Exception as error:
            self.fail(error)
        finally:
            self._flying = False
            if self._landed is not None:
                self._landed.set()
                self._landed = None

    def fail(self, error: Exception) -> None:
        """Commit nothing any more."""
        self.error = error
        self._broken(error)

    def _load(self) -> tuple[Commit, list[Record]]:
        records, self._pending = self._pending, []
        extras, self._extras = self._extras, _Extras()
        lease = self.lease
        head = lease.head
        entries: list[Entry] = []
        for record in records:
            entry = encode_record(
                record, tenant=lease.tenant, run=lease.run, token=lease.token, head=head
            )
            head = entry.hash
            entries.append(entry)
        used, reserved = self._movement()
        commit = Commit(
            entries=tuple(entries),
            state=self._condition(),
            wake_at=LONG_AGO,
            consumed=tuple(extras.consumed),
            create=tuple(extras.create),
            outgoing=tuple(extras.outgoing),
            remember=tuple(extras.remember),
            needs=self.state.needs,
            used=used,
            reserved=reserved,
            proves=any(isinstance(record, PROOF) for record in records),
        )
        return commit, records


async def read_state(store: Store, lease: Lease) -> RunState:
    """Return the state of a run that was just claimed, after checking its journal.

    Raises:
        JournalCorruptError: The journal is damaged.
    """
    entries: list[Entry] = [] if lease.first is None else [lease.first]
    while len(entries) < lease.seq:
        page = await store.read(lease.tenant, lease.run, after=len(entries), limit=_PAGE)
        if not page:
            break
        entries.extend(page)
    del entries[lease.seq :]  # of an engine that has taken the run over since
    verify(entries, tenant=lease.tenant, run=lease.run)
    require_length(lease.run, len(entries), lease.seq)
    if entries[-1].hash != lease.head:
        raise JournalCorruptError(
            f"The head of run {lease.run} is not the hash of its last entry.", remedy=_RESTORE
        )
    return replay(decode_entries(entries))


def require_length(run: str, found: int, kept: int) -> None:
    """Return if a journal has as many entries as were committed.

    Raises:
        JournalCorruptError: It has fewer, or none.
    """
    if found < max(kept, 1):
        raise JournalCorruptError(
            f"Run {run} has {found} entries instead of {kept}.", remedy=_RESTORE
        )
