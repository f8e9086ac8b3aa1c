"""MemoryStore: the whole contract of a store, without a file.

What it keeps belongs to the object: several engines of one event loop may share it, and it may
be opened again.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from os import PathLike
from typing import Self

from anyio.lowlevel import checkpoint

from astro.core.clock import Clock, SystemClock
from astro.core.errors import (
    AlreadyAnsweredError,
    LeaseLostError,
    RunFinishedError,
    RunNotFoundError,
    StoreClosedError,
    StoreError,
)
from astro.core.ledger import Account, Usage
from astro.core.messages import Message, Posted
from astro.core.policy import Budget
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
from astro.core.records import Entry
from astro.stores.admission import (
    admit_budget,
    admit_commit,
    admit_duration,
    admit_message,
    admit_moment,
    admit_names,
    admit_number,
    admit_page,
    admit_run,
    admit_usage,
    blob_name,
    following,
    require_durations,
)
from astro.stores.bell import Bell
from astro.stores.memory.books import Books

__all__ = ["MemoryStore"]


class MemoryStore:
    """Keeps journals in memory, on asyncio and on trio.

    Args:
        clock: Tells the store's time, by which leases and wake-ups go.
        blob_grace: How long a blob that no run refers to is kept after it was put.

    Raises:
        TypeError: The grace is no timedelta.
        ValueError: The grace is negative.
    """

    def __init__(
        self, *, clock: Clock | None = None, blob_grace: timedelta = timedelta(days=1)
    ) -> None:
        require_durations(blob_grace=blob_grace)
        self._clock = clock or SystemClock()
        self._grace = blob_grace
        self._bell = Bell(self._clock)
        self._books = Books()
        self._users = 0

    async def __aenter__(self) -> Self:
        if self._users == 0:
            # Nobody had it open, so whoever holds a lease is not there any more.
            self._books.end_leases(self._clock.now())
        self._users += 1
        return self

    async def __aexit__(self, *error: object) -> None:
        self._users -= 1
        self._bell.ring()

    async def _begin(self) -> datetime:
        """Let others run, then return the store's time; nothing is awaited after this."""
        await checkpoint()
        if not self._users:
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
        found = self._books.meant(tenant, run)
        if found is not None:
            return found
        self._books.add(tenant, run, now)
        self._bell.ring()
        return run.id

    async def read(
        self, tenant: str, run: str, /, *, after: int = 0, limit: int = 1_000
    ) -> Sequence[Entry]:
        """Return entries in order, those with a sequence number above `after`.

        Raises:
            RunNotFoundError: The tenant has no such run.
        """
        admit_number("after", after)
        admit_number("limit", limit)
        await self._begin()
        after = max(after, 0)
        return self._books.get(tenant, run).entries[after : after + max(limit, 0)]

    async def runs(self, tenant: str, query: RunQuery, /) -> Page[RunSummary]:
        """Return runs, newest first."""
        before = admit_page(query.after)
        admit_number("limit", query.limit)
        now = await self._begin()
        items: list[RunSummary] = []
        last = 0
        for run in self._books.newest(tenant):
            if (before is None or run.number < before) and run.fits(query):
                if len(items) >= query.limit:
                    return Page(items=tuple(items), next=str(last) if items else None)
                items.append(run.summary(now))
                last = run.number
        return Page(items=tuple(items))

    # --- Leases ------------------------------------------------------------------------------

    async def claim(
        self, owner: str, /, *, offers: frozenset[str], limit: int, duration: timedelta
    ) -> Claimed:
        """Take leases on runs that wait for an owner."""
        admit_names(owner)
        admit_number("limit", limit)
        admit_duration("duration", duration)
        now = await self._begin()
        self._bell.mark()
        self._books.queue.advance(now)
        runs = self._books.queue.take(offers, owner=owner, limit=limit)
        for run in runs:
            self._books.own(run, owner, now + duration)
        runs.sort(key=lambda run: (-run.new.priority, run.number))
        return Claimed(at=now, leases=tuple(run.lease(owner, with_first=True) for run in runs))

    async def renew(self, owner: str, /, *, duration: timedelta) -> Sequence[Lease]:
        """Lengthen all leases of an owner that nobody took, expired ones too; return those."""
        admit_duration("duration", duration)
        now = await self._begin()
        runs = self._books.owned.get(owner, {}).values()
        for run in runs:
            self._books.queue.hold(run, owner, now + duration)
        return [run.lease(owner) for run in runs]

    async def release(self, lease: Lease, /, *, wake_at: datetime | None = None) -> None:
        """Give a lease back; unread messages make the run claimable at once.

        Without `wake_at`, only a message makes it claimable. A lease that is no longer the newest
        is ignored.
        """
        admit_moment("wake_at", wake_at)
        now = await self._begin()
        run = self._books.find(lease.tenant, lease.run)
        if run is None or run.token != lease.token or run.owner is None:
            return
        self._books.disown(run)
        self._books.queue.rest(run, now if run.inbox else wake_at, now=now)
        self._bell.ring()

    # --- Commits -----------------------------------------------------------------------------

    async def commit(self, lease: Lease, commit: Commit, /) -> Lease:
        """Add entries and all that goes with them; return the lease that follows.

        Raises:
            LeaseLostError: A newer token exists, or the journal is not where the lease says.
            KeyConflictError: A run to be created has the key of another one.
        """
        admit_commit(lease, commit)
        now = await self._begin()
        run = self._books.find(lease.tenant, lease.run)
        if run is None:
            raise LeaseLostError(lease.owner, lease.run)
        if run.head != commit.entries[-1].hash:
            at = (run.token, len(run.entries), run.head)
            if run.ended or at != (lease.token, lease.seq, lease.head):
                raise LeaseLostError(lease.owner, lease.run)
            self._books.apply(run, commit, now)
            if commit.create or commit.outgoing:
                self._bell.ring()
        return following(lease, commit)

    # --- Messages ----------------------------------------------------------------------------

    async def post(self, tenant: str, run: str, message: Message, /) -> None:
        """Put a message into a run's inbox and make the run claimable if nobody owns it.

        Raises:
            RunNotFoundError: The tenant has no such run.
            RunFinishedError: The run has ended.
            AlreadyAnsweredError: The message's `once` is taken, or its `not_after` has passed.
        """
        admit_names(tenant, run)
        admit_message(message)
        now = await self._begin()
        kept = self._books.get(tenant, run)
        if kept.ended:
            raise RunFinishedError(run, kept.state)
        if not self._books.send(tenant, run, message, now):
            raise AlreadyAnsweredError(
                f"Run {run} takes no answer any more: it has one, or its time is over.",
                remedy=f"Look at the run: astro show {run}",
            )
        self._bell.ring()

    async def inbox(self, owner: str, /) -> Sequence[Posted]:
        """Return the unread messages of all runs that an owner holds, oldest first."""
        await self._begin()
        mail = self._books.mail.items()
        return [run.inbox[number] for number, run in mail if run.owner == owner]

    async def wait(self, /, *, timeout: timedelta) -> None:
        """Return when something may have become claimable or been posted, or time is up."""
        await self._begin()
        due = self._books.queue.next_due(self._bell.since())
        await self._bell.wait(timeout=timeout, due=due)

    async def tenants(self) -> Sequence[str]:
        """Return the tenants that have runs which have not ended, sorted."""
        await self._begin()
        return self._books.tenants()

    # --- Results and blobs -------------------------------------------------------------------

    async def recall(self, tenant: str, key: str, /) -> bytes | None:
        """Return a remembered result that has not expired, or None."""
        now = await self._begin()
        result, until = self._books.results.get((tenant, key), (None, now))
        return result if until > now else None

    async def put(self, tenant: str, content: bytes, /) -> str:
        """Keep bytes and return their hash: BLAKE2b, 32 bytes, hexadecimal."""
        admit_names(tenant)
        name = blob_name(content)
        now = await self._begin()
        self._books.blobs[tenant, name] = (bytes(content), now)
        return name

    async def fetch(self, tenant: str, digest: str, /) -> bytes:
        """Return the bytes of a hash.

        Raises:
            RunNotFoundError: The tenant has no such blob.
        """
        await self._begin()
        found = self._books.blobs.get((tenant, digest))
        if found is None:
            raise RunNotFoundError(digest)
        return found[0]

    # --- Budgets of tenants ------------------------------------------------------------------

    async def allow(self, tenant: str, budget: Budget | None, /) -> None:
        """Let a tenant use a budget from now on, or anything; what it used before is forgotten."""
        admit_names(tenant)
        admit_budget(budget)
        await self._begin()
        self._books.accounts.allow(tenant, budget)

    async def account(self, tenant: str, /) -> Account | None:
        """Return a tenant's budget and what became of it, or None if it has none."""
        await self._begin()
        return self._books.accounts.account(tenant)

    async def budgets(self) -> Mapping[str, Budget]:
        """Return the budgets of all tenants that have one."""
        await self._begin()
        return dict(self._books.accounts.budgets)

    async def reserve(self, lease: Lease, name: str, amount: Usage, /) -> None:
        """Put something of a tenant's budget aside, until a commit of the run leaves it out.

        Raises:
            BudgetExceededError: There is not so much left.
            LeaseLostError: A newer token exists.
        """
        admit_names(name)
        admit_usage(amount)
        await self._begin()
        run = self._books.find(lease.tenant, lease.run)
        if run is None or run.ended or run.token != lease.token:
            raise LeaseLostError(lease.owner, lease.run)
        self._books.accounts.reserve(run.tenant, run.number, name, amount)

    # --- Maintenance -------------------------------------------------------------------------

    async def backup(self, target: str | PathLike[str], /) -> None:
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
        admit_duration("older_than", older_than)
        now = await self._begin()
        return self._books.prune(now=now, old=now - older_than, untouched=now - self._grace)

    async def check(self) -> StoreCheck:
        """Verify the hash chain of every run."""
        await self._begin()
        return self._books.check()
