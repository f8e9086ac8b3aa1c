"""SqliteStore: runs in one file, for one machine and any number of processes on it.

An acknowledged commit survives the end of the process; with `synchronous="FULL"`, the default, it
also survives the loss of power. One connection writes, in a task of its own; a few others read.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping, Sequence
from contextlib import suppress
from datetime import datetime, timedelta
from functools import partial
from os import PathLike
from typing import Any, Final, Literal, Self

from astro.core.clock import Clock, SystemClock
from astro.core.errors import RunNotFoundError, StoreClosedError, StoreError, StoreUnavailableError
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
from astro.stores import admission as door
from astro.stores.bell import Bell
from astro.stores.sqlite import statements as sql
from astro.stores.sqlite import upkeep, verbs
from astro.stores.sqlite.listing import list_runs
from astro.stores.sqlite.opening import named
from astro.stores.sqlite.reports import Reports
from astro.stores.sqlite.rows import (
    account_of,
    commit_row,
    lease_of,
    message_row,
    micros,
    moment,
    posted_of,
    release_row,
    run_row,
)
from astro.stores.sqlite.session import Session
from astro.stores.sqlite.watching import wait_for_news

__all__ = ["SqliteStore"]

_MICRO: Final = timedelta(microseconds=1)


class SqliteStore:
    """Keeps journals in one SQLite file.

    Args:
        path: The file; it is created, readable by this user only, if there is none.
        synchronous: `"FULL"` to survive the loss of power, `"NORMAL"` to be faster and, after the
            loss of power, perhaps a moment behind.
        clock: Tells the store's time, by which leases and wake-ups go.
        readers: How many connections read, from 1 to 16.
        lock_timeout: How long to wait for another process that is writing.
        patience: How long to wait for the disk.
        blob_grace: How long a blob that no run refers to is kept after it was put.

    Raises:
        TypeError: A duration is no timedelta.
        ValueError: An argument is out of its range.
        StoreUnavailableError: The path does not name a file.
    """

    def __init__(
        self,
        path: str | PathLike[str],
        *,
        synchronous: Literal["FULL", "NORMAL"] = "FULL",
        clock: Clock | None = None,
        readers: int = 2,
        lock_timeout: timedelta = timedelta(seconds=10),
        patience: timedelta = timedelta(seconds=60),
        blob_grace: timedelta = timedelta(days=1),
    ) -> None:
        self._path = named(path)
        if synchronous not in ("FULL", "NORMAL"):
            raise ValueError(f"synchronous is 'FULL' or 'NORMAL', not {synchronous!r}")
        if not isinstance(readers, int) or not 1 <= readers <= 16:
            raise ValueError(f"readers is a number from 1 to 16, not {readers}")
        door.require_durations(lock_timeout=lock_timeout, patience=patience, blob_grace=blob_grace)
        self._clock = clock or SystemClock()
        self._grace = blob_grace
        self._bell = Bell(self._clock)
        self._new_session = partial(
            Session,
            self._path,
            synchronous=synchronous,
            clock=self._clock,
            readers=readers,
            lock_timeout=lock_timeout,
            patience=patience,
        )
        self._session: Session | None = None
        self._users = 0
        self._last = ""  # the tenant whose run was claimed last
        self._reports = Reports()

    # --- Opening -----------------------------------------------------------------------------

    async def __aenter__(self) -> Self:
        try:
            asyncio.get_running_loop()
        except RuntimeError as error:
            raise StoreUnavailableError(
                "SqliteStore needs asyncio.", remedy="Run under asyncio, or use MemoryStore."
            ) from error
        self._users += 1
        if self._session is None:
            self._session = self._new_session()
        try:
            await self._session.open()
        except BaseException:
            self._users -= 1
            self._session = None
            raise
        return self

    async def __aexit__(self, *error: object) -> None:
        self._users -= 1
        if self._users == 0 and self._session is not None:
            session, self._session = self._session, None
            self._bell.ring()
            await session.close()

    @property
    def _open(self) -> Session:
        if self._session is None:
            raise StoreClosedError(
                "The store is not open.", remedy="Use it inside 'async with store:'."
            )
        return self._session

    async def _find(
        self, statement: str, parameters: Any, *names: str | None
    ) -> list[tuple[Any, ...]]:
        """Return the rows of names; there are none of such as no store keeps."""
        readers = self._open.readers
        return await readers.fetch(statement, parameters) if door.findable(*names) else []

    # --- Runs --------------------------------------------------------------------------------

    async def create(self, tenant: str, run: NewRun, /) -> str:
        """Keep a new run and return its id; the same key gives the id of the first run.

        The key of a pruned run still gives its id.

        Raises:
            KeyConflictError: The key names a run with another fingerprint.
            StoreUnavailableError: The store cannot write.
        """
        door.admit_run(tenant, run)
        operation = self._open.writer.submit(
            verbs.CREATE, row=run_row(tenant, run), value=(tenant, run)
        )
        try:
            return await operation.truth() or run.id
        finally:
            self._bell.ring()

    async def read(
        self, tenant: str, run: str, /, *, after: int = 0, limit: int = 1_000
    ) -> Sequence[Entry]:
        """Return entries in order, those with a sequence number above `after`.

        Raises:
            RunNotFoundError: The tenant has no such run.
        """
        door.admit_number("after", after)
        door.admit_number("limit", limit)
        asked = (max(after, 0), tenant, run, max(limit, 1))
        rows = await self._find(sql.READ, asked, tenant, run)
        if not rows:
            raise RunNotFoundError(run)
        if rows[0][0] is None or limit <= 0:
            return []
        return [Entry(*row) for row in rows]

    async def runs(self, tenant: str, query: RunQuery, /) -> Page[RunSummary]:
        """Return runs, newest first."""
        now = micros(self._clock.now())
        return await list_runs(self._open.readers, self._reports, tenant, query, now)

    # --- Leases ------------------------------------------------------------------------------

    async def claim(
        self, owner: str, /, *, offers: frozenset[str], limit: int, duration: timedelta
    ) -> Claimed:
        """Take leases on runs that wait for an owner, and on those whose owner's process died."""
        door.admit_names(owner)
        door.admit_number("limit", limit)
        door.admit_duration("duration", duration)
        self._bell.mark()
        await self._open.show_life(owner)
        asked = verbs.Claiming(
            owner=owner,
            offers=json.dumps(sorted(filter(door.findable, offers))),
            limit=max(limit, 0),
            duration=duration // _MICRO,
            last=self._last,
        )
        writer = self._open.writer
        operation = writer.submit(verbs.CLAIM, value=asked)
        try:
            at, leases = await operation.truth()
        except asyncio.CancelledError:
            with suppress(StoreError):  # a claim that failed took nothing
                at, leases = operation.outcome()
                for lease in leases:
                    writer.submit(verbs.RELEASE, row=release_row(lease, moment(at)))
            raise
        self._last = asked.last
        return Claimed(at=moment(at), leases=leases)

    async def renew(self, owner: str, /, *, duration: timedelta) -> Sequence[Lease]:
        """Lengthen all leases of an owner that nobody took, expired ones too; return those."""
        door.admit_duration("duration", duration)
        writer = self._open.writer
        if not door.findable(owner):
            return []
        operation = writer.submit(verbs.RENEW, value=(owner, duration // _MICRO))
        rows = await operation.truth()
        return [lease_of(row, owner) for row in rows]

    async def release(self, lease: Lease, /, *, wake_at: datetime | None = None) -> None:
        """Give a lease back; unread messages make the run claimable at once.

        Without `wake_at`, only a message makes it claimable. A lease that is no longer the newest
        is ignored.
        """
        door.admit_moment("wake_at", wake_at)
        writer = self._open.writer
        if not door.findable(lease.tenant, lease.run):
            return
        operation = writer.submit(verbs.RELEASE, row=release_row(lease, wake_at))
        try:
            await operation.truth()
        finally:
            self._bell.ring()

    # --- Commits -----------------------------------------------------------------------------

    async def commit(self, lease: Lease, commit: Commit, /) -> Lease:
        """Add entries and all that goes with them; return the lease that follows.

        Raises:
            LeaseLostError: A newer token exists, or the journal is not where the lease says.
            KeyConflictError: A run to be created has the key of another one.
            StoreUnavailableError: The outcome is unknown or negative.
        """
        door.admit_commit(lease, commit)
        operation = self._open.writer.submit(
            verbs.COMMIT,
            thing=(lease.tenant, lease.run),
            row=commit_row(lease, commit),
            value=(lease, commit),
        )
        try:
            await operation.truth()
        finally:
            if commit.create or commit.outgoing:
                self._bell.ring()
        return door.following(lease, commit)

    # --- Messages ----------------------------------------------------------------------------

    async def post(self, tenant: str, run: str, message: Message, /) -> None:
        """Put a message into a run's inbox and make the run claimable if nobody owns it.

        Raises:
            RunNotFoundError: The tenant has no such run.
            RunFinishedError: The run has ended.
            AlreadyAnsweredError: The message's `once` is taken, or its `not_after` has passed.
        """
        door.admit_names(tenant, run)
        door.admit_message(message)
        operation = self._open.writer.submit(
            verbs.POST, thing=(tenant, run), row=message_row(tenant, run, message)
        )
        try:
            await operation.truth()
        finally:
            self._bell.ring()

    async def inbox(self, owner: str, /) -> Sequence[Posted]:
        """Return the unread messages of all runs that an owner holds, oldest first."""
        rows = await self._find(sql.INBOX, (owner,), owner)
        return self._reports.read(posted_of, rows)

    # --- Waiting -----------------------------------------------------------------------------

    async def wait(self, /, *, timeout: timedelta) -> None:
        """Return when something may have become claimable or been posted, or time is up."""
        await wait_for_news(self._open, self._bell, timeout=timeout)

    async def tenants(self) -> Sequence[str]:
        """Return the tenants that have runs which have not ended, sorted."""
        return [row[0] for row in await self._open.readers.fetch(sql.TENANTS, ())]

    # --- Results and blobs -------------------------------------------------------------------

    async def recall(self, tenant: str, key: str, /) -> bytes | None:
        """Return a remembered result that has not expired, or None."""
        now = micros(self._clock.now())
        rows = await self._find(sql.RECALL, (tenant, key, now), tenant, key)
        return rows[0][0].encode() if rows else None

    async def put(self, tenant: str, content: bytes, /) -> str:
        """Keep bytes and return their hash: BLAKE2b, 32 bytes, hexadecimal."""
        door.admit_names(tenant)
        name = door.blob_name(content)
        put = self._open.writer.submit(
            verbs.PUT, value=(tenant, name, content), weight=len(content)
        )
        await put.truth()
        return name

    async def fetch(self, tenant: str, digest: str, /) -> bytes:
        """Return the bytes of a hash.

        Raises:
            RunNotFoundError: The tenant has no such blob.
        """
        rows = await self._find(sql.FETCH, (tenant, digest), tenant, digest)
        if not rows:
            raise RunNotFoundError(digest)
        return bytes(rows[0][0])

    # --- Budgets of tenants ------------------------------------------------------------------

    async def allow(self, tenant: str, budget: Budget | None, /) -> None:
        """Let a tenant use a budget from now on, or anything; what it used before is forgotten."""
        door.admit_names(tenant)
        door.admit_budget(budget)
        await self._open.writer.submit(verbs.ALLOW, value=(tenant, budget)).truth()

    async def account(self, tenant: str, /) -> Account | None:
        """Return a tenant's budget and what became of it, or None if it has none."""
        rows = await self._find(sql.ACCOUNT, {"tenant": tenant}, tenant)
        return account_of(rows[0][:7], rows[0][7:]) if rows else None

    async def budgets(self) -> Mapping[str, Budget]:
        """Return the budgets of all tenants that have one."""
        rows = await self._open.readers.fetch(sql.ACCOUNTS, ())
        return {row[0]: account_of(row, ()).budget for row in rows}

    async def reserve(self, lease: Lease, name: str, amount: Usage, /) -> None:
        """Put something of a tenant's budget aside, until a commit of the run leaves it out.

        Raises:
            BudgetExceededError: There is not so much left.
            LeaseLostError: A newer token exists.
        """
        door.admit_names(name, lease.tenant, lease.run)
        door.admit_usage(amount)
        await self._open.writer.submit(verbs.RESERVE, value=(lease, name, amount)).truth()

    # --- Maintenance -------------------------------------------------------------------------

    async def backup(self, target: str | PathLike[str], /) -> None:
        """Write a consistent copy while the store is in use, readable by this user only.

        Raises:
            StoreError: The target exists, or cannot be written.
        """
        assert self._open is not None
        await upkeep.back_up(self._path, named(target))

    async def prune(self, /, *, older_than: timedelta) -> int:
        """Remove whole families of runs that ended longer ago; return how many runs.

        Keys that callers chose stay taken. Blobs that no run refers to go after their grace.
        """
        door.admit_duration("older_than", older_than)
        session = self._open
        old = micros(self._clock.now() - older_than)
        return await upkeep.prune_store(
            session.readers, session.writer, old=old, grace=self._grace // _MICRO
        )

    async def check(self) -> StoreCheck:
        """Verify the file and the hash chain of every run."""
        return await upkeep.check_store(self._open.readers)
