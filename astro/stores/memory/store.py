"""MemoryStore: the whole contract of a store, in dictionaries.

Nothing waits inside a verb after it has begun to change something, so each happens as a whole.
What it keeps belongs to the object: several engines of one event loop may share it, and it may
be opened again.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import Self

from anyio.lowlevel import checkpoint

from astro.core.clock import Clock, SystemClock
from astro.core.errors import (
    AlreadyAnsweredError,
    JournalCorruptError,
    KeyConflictError,
    LeaseLostError,
    RunFinishedError,
    RunNotFoundError,
    StoreClosedError,
    StoreError,
)
from astro.core.messages import Message, Posted
from astro.core.protocols import (
    Claimed,
    Commit,
    Lease,
    NewRun,
    Page,
    RunQuery,
    RunSummary,
    StoreCheck,
)
from astro.core.records import Entry, verify
from astro.stores.admission import (
    admit_commit,
    admit_message,
    admit_names,
    admit_page,
    admit_run,
    blob_name,
    blobs_named,
)
from astro.stores.bell import Bell
from astro.stores.memory.kept import KeptRun, Phase
from astro.stores.memory.queue import Queue

__all__ = ["MemoryStore"]


class MemoryStore:
    """Keeps journals in memory, on asyncio and on trio.

    Args:
        clock: Tells the store's time, by which leases and wake-ups go.
        blob_grace: How long a blob that no run refers to is kept after it was put.
    """

    def __init__(
        self, *, clock: Clock | None = None, blob_grace: timedelta = timedelta(days=1)
    ) -> None:
        self._clock = clock or SystemClock()
        self._grace = blob_grace
        self._bell = Bell(self._clock)
        self._queue = Queue()
        self._opened = 0
        self._count = 0
        self._posts = 0
        self._runs: dict[tuple[str, str], KeptRun] = {}
        self._listed: defaultdict[str, dict[int, KeptRun]] = defaultdict(dict)
        self._owned: defaultdict[str, dict[int, KeptRun]] = defaultdict(dict)
        self._mail: dict[int, KeptRun] = {}
        self._keys: dict[tuple[str, str, str], tuple[str, str]] = {}
        self._results: dict[tuple[str, str], tuple[bytes, datetime]] = {}
        self._blobs: dict[tuple[str, str], tuple[bytes, datetime]] = {}

    async def __aenter__(self) -> Self:
        self._opened += 1
        return self

    async def __aexit__(self, *error: object) -> None:
        self._opened -= 1
        self._bell.ring()

    async def _begin(self) -> datetime:
        """Let others run, then return the store's time; nothing is awaited after this."""
        await checkpoint()
        if not self._opened:
            raise StoreClosedError(
                "The store is not open.", remedy="Use it inside 'async with store:'."
            )
        return self._clock.now()

    # --- Runs --------------------------------------------------------------------------------

    async def create(self, tenant: str, run: NewRun, /) -> str:
        """Keep a new run and return its id; the same key gives the id of the first run.

        The key of a pruned run still gives its id.

        Raises:
            KeyConflictError: The key names a run with another fingerprint.
        """
        admit_run(tenant, run)
        now = await self._begin()
        found = self._find(tenant, run)
        if found is not None:
            return found
        self._add(tenant, run, now)
        self._bell.ring()
        return run.id

    def _find(self, tenant: str, run: NewRun) -> str | None:
        """Return the id of the run that was meant, if it has been created before."""
        known = None
        if run.key is not None:
            known = self._keys.get((tenant, run.namespace, run.key))
        if known is None and (tenant, run.id) in self._runs:
            known = (self._runs[tenant, run.id].new.fingerprint, run.id)
        if known is None:
            return None
        if known[0] != run.fingerprint:
            raise KeyConflictError(run.key or run.id, known[1])
        return known[1]

    def _add(self, tenant: str, new: NewRun, now: datetime) -> None:
        self._count += 1
        relatives = [self._runs.get((tenant, name or "")) for name in (new.source, new.parent)]
        families = [relative.family for relative in relatives if relative is not None]
        kept = KeptRun(
            number=self._count,
            tenant=tenant,
            new=new,
            family=families[0] if families else self._count,
            entries=[new.entry, *new.entries],
            state=new.state,
            wake_at=new.wake_at,
            updated_at=now,
        )
        kept.blobs |= blobs_named(kept.entries)
        self._runs[tenant, new.id] = self._listed[tenant][kept.number] = kept
        if new.key is not None:
            self._keys[tenant, new.namespace, new.key] = (new.fingerprint, new.id)
        if new.state.terminal:
            kept.phase = Phase.ENDED
        else:
            self._queue.rest(kept, new.wake_at or now, now=now)

    # --- Leases ------------------------------------------------------------------------------

    async def claim(
        self, owner: str, /, *, offers: frozenset[str], limit: int, duration: timedelta
    ) -> Claimed:
        """Take leases on runs that wait for an owner."""
        admit_names(owner)
        now = await self._begin()
        self._bell.mark()
        self._queue.advance(now)
        runs = self._queue.take(offers, limit=limit)
        for run in runs:
            if run.owner is not None:
                run.failures += 1
                del self._owned[run.owner][run.number]
            run.token += 1
            self._queue.hold(run, owner, now + duration)
            self._owned[owner][run.number] = run
        runs.sort(key=lambda run: (-run.new.priority, run.number))
        return Claimed(at=now, leases=tuple(run.lease(owner) for run in runs))

    async def renew(self, owner: str, /, *, duration: timedelta) -> Sequence[Lease]:
        """Lengthen all leases of an owner that nobody took, expired ones too; return those."""
        now = await self._begin()
        runs = self._owned.get(owner, {}).values()
        for run in runs:
            self._queue.hold(run, owner, now + duration)
        return [run.lease(owner) for run in runs]

    async def release(self, lease: Lease, /, *, wake_at: datetime | None = None) -> None:
        """Give a lease back; unread messages make the run claimable at once.

        Without `wake_at`, only a message makes it claimable. A lease that is no longer the newest
        is ignored.
        """
        now = await self._begin()
        run = self._runs.get((lease.tenant, lease.run))
        if run is None or run.token != lease.token or run.owner is None:
            return
        self._disown(run)
        self._queue.rest(run, now if run.inbox else wake_at, now=now)
        self._bell.ring()

    def _disown(self, run: KeptRun) -> None:
        if run.owner is not None:
            del self._owned[run.owner][run.number]
        run.owner = run.until = None

    # --- Commits -----------------------------------------------------------------------------

    async def commit(self, lease: Lease, commit: Commit, /) -> Lease:
        """Add entries and all that goes with them; return the lease that follows.

        Raises:
            LeaseLostError: A newer token exists, or the journal is not where the lease says.
            KeyConflictError: A run to be created has the key of another one.
        """
        admit_commit(lease, commit)
        now = await self._begin()
        run = self._runs.get((lease.tenant, lease.run))
        if run is None:
            raise LeaseLostError(lease.owner, lease.run)
        if run.head != commit.entries[-1].hash:
            at = (run.token, len(run.entries), run.head)
            if run.ended or at != (lease.token, lease.seq, lease.head):
                raise LeaseLostError(lease.owner, lease.run)
            self._apply(run, commit, now)
        return run.lease(lease.owner)

    def _apply(self, run: KeptRun, commit: Commit, now: datetime) -> None:
        missing = [new for new in commit.create if not self._is_child(run.tenant, new)]
        run.entries.extend(commit.entries)
        run.blobs |= blobs_named(commit.entries)
        run.state, run.needs, run.failures = commit.state, dict(commit.needs), 0
        run.updated_at = now
        for number in commit.consumed:
            if run.inbox.pop(number, None) is not None:
                del self._mail[number]
        for new in missing:
            self._add(run.tenant, new, now)
        for target, message in commit.outgoing:
            self._send(run.tenant, target, message, now)
        for result in commit.remember:
            self._results[run.tenant, result.key] = (result.result, result.until)
        if commit.state.terminal:
            self._end(run)
        elif run.phase is Phase.RESTING:  # the lease was given back, or ran out unnoticed
            self._queue.rest(run, commit.wake_at, now=now)
        else:
            run.wake_at = commit.wake_at
        if missing or commit.outgoing:
            self._bell.ring()

    def _is_child(self, tenant: str, new: NewRun) -> bool:
        found = self._find(tenant, new)
        if found not in (None, new.id):
            raise KeyConflictError(new.key or new.id, str(found))
        return found is not None

    def _end(self, run: KeptRun) -> None:
        self._disown(run)
        run.phase, run.wake_at = Phase.ENDED, None
        for number in run.inbox:
            del self._mail[number]
        run.inbox.clear()

    # --- Messages ----------------------------------------------------------------------------

    async def post(self, tenant: str, run: str, message: Message, /) -> None:
        """Put a message into a run's inbox and make the run claimable if nobody owns it.

        Raises:
            RunNotFoundError: The tenant has no such run.
            RunFinishedError: The run has ended.
            AlreadyAnsweredError: The message's `once` is taken, or its `not_after` has passed.
        """
        admit_message(message)
        now = await self._begin()
        kept = self._get(tenant, run)
        if kept.ended:
            raise RunFinishedError(run, kept.state)
        if not self._send(tenant, run, message, now):
            raise AlreadyAnsweredError(
                f"Run {run} takes no answer any more: it has one, or its time is over.",
                remedy="Look at the run: astro show " + run,
            )
        self._bell.ring()

    def _send(self, tenant: str, target: str, message: Message, now: datetime) -> bool:
        run = self._runs.get((tenant, target))
        late = message.not_after is not None and message.not_after < now
        if run is None or run.ended or late or message.once in run.used:
            return False
        if message.once is not None:
            run.used.add(message.once)
        self._posts += 1
        number = self._posts
        run.inbox[number] = Posted(
            number=number, tenant=tenant, run=target, at=now, message=message
        )
        self._mail[number] = run
        if run.phase is Phase.RESTING:
            self._queue.rest(run, now, now=now)
        return True

    async def inbox(self, owner: str, /) -> Sequence[Posted]:
        """Return the unread messages of all runs that an owner holds, oldest first."""
        await self._begin()
        return [run.inbox[number] for number, run in self._mail.items() if run.owner == owner]

    # --- Reading -----------------------------------------------------------------------------

    def _get(self, tenant: str, run: str) -> KeptRun:
        found = self._runs.get((tenant, run))
        if found is None:
            raise RunNotFoundError(run)
        return found

    async def read(
        self, tenant: str, run: str, /, *, after: int = 0, limit: int = 1_000
    ) -> Sequence[Entry]:
        """Return entries in order, those with a sequence number above `after`.

        Raises:
            RunNotFoundError: The tenant has no such run.
        """
        await self._begin()
        after = max(after, 0)
        return self._get(tenant, run).entries[after : after + max(limit, 0)]

    async def runs(self, tenant: str, query: RunQuery, /) -> Page[RunSummary]:
        """Return runs, newest first."""
        before = admit_page(query.after)
        now = await self._begin()
        items: list[RunSummary] = []
        last = 0
        for number, run in reversed(self._listed.get(tenant, {}).items()):
            if (before is None or number < before) and run.fits(query):
                if len(items) >= query.limit:
                    return Page(items=tuple(items), next=str(last))
                items.append(run.summary(now))
                last = number
        return Page(items=tuple(items))

    async def recall(self, tenant: str, key: str, /) -> bytes | None:
        """Return a remembered result that has not expired, or None."""
        now = await self._begin()
        result, until = self._results.get((tenant, key), (None, now))
        return result if until > now else None

    async def wait(self, /, *, timeout: timedelta) -> None:
        """Return when something may have become claimable or been posted, or time is up."""
        await self._begin()
        await self._bell.wait(timeout=timeout, due=self._queue.next_due(self._bell.since()))

    # --- Blobs -------------------------------------------------------------------------------

    async def put(self, tenant: str, content: bytes, /) -> str:
        """Keep bytes and return their hash: BLAKE2b, 32 bytes, hexadecimal."""
        name = blob_name(content)
        now = await self._begin()
        self._blobs[tenant, name] = (bytes(content), now)
        return name

    async def fetch(self, tenant: str, digest: str, /) -> bytes:
        """Return the bytes of a hash.

        Raises:
            RunNotFoundError: The tenant has no such blob.
        """
        await self._begin()
        found = self._blobs.get((tenant, digest))
        if found is None:
            raise RunNotFoundError(digest)
        return found[0]

    # --- Maintenance -------------------------------------------------------------------------

    async def backup(self, target: Path, /) -> None:
        """Refuse.

        Raises:
            StoreError: Always; there is no file to copy.
        """
        raise StoreError(
            f"A MemoryStore has no file that could be copied to {target}.",
            remedy="Use SqliteStore for what must outlive the process.",
        )

    async def prune(self, /, *, older_than: timedelta) -> int:
        """Remove whole families of runs that ended longer ago; return how many runs.

        Keys that callers chose stay taken. Blobs that no run refers to go after their grace.
        """
        now = await self._begin()
        old = now - older_than
        kept = {run.family for run in self._runs.values() if not run.ended or run.updated_at > old}
        gone = [run for run in self._runs.values() if run.family not in kept]
        ids = {(run.tenant, run.new.id) for run in gone}
        for run in gone:
            del self._runs[run.tenant, run.new.id]
            del self._listed[run.tenant][run.number]
        self._keys = {key: value for key, value in self._keys.items() if key[:2] not in ids}
        self._results = {key: value for key, value in self._results.items() if value[1] > now}
        named = {(run.tenant, name) for run in self._runs.values() for name in run.blobs}
        self._blobs = {
            key: value
            for key, value in self._blobs.items()
            if key in named or value[1] > now - self._grace
        }
        return len(gone)

    async def check(self) -> StoreCheck:
        """Verify the hash chain of every run."""
        await self._begin()
        problems = []
        for run in self._runs.values():
            try:
                verify(run.entries, tenant=run.tenant, run=run.new.id)
            except JournalCorruptError as error:
                problems.append(error.problem)
        return StoreCheck(
            runs=len(self._runs),
            entries=sum(len(run.entries) for run in self._runs.values()),
            problems=tuple(problems),
        )
