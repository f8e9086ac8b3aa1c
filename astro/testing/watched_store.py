"""A store that checks everything it accepts, and everything it answers, against the invariants."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from datetime import timedelta
from types import MappingProxyType
from typing import Any

import anyio

from astro.core.errors import JournalCorruptError, StoreError
from astro.core.ledger import Usage
from astro.core.messages import Message, Posted
from astro.core.protocols import Claimed, Commit, Lease, NewRun, Page, RunQuery, RunSummary
from astro.core.records import GENESIS, Entry, State, verify
from astro.testing.invariants import Rules
from astro.testing.model import KnownRun, Model

__all__ = ["ANSWER_INVARIANTS", "WatchedStore"]

ANSWER_INVARIANTS: Mapping[str, str] = MappingProxyType(
    {
        "a message that counts once is accepted once": "a question takes one answer",
        "a tenant sees only its own": "nothing that a store answers is about another tenant's run",
        "no more is reserved than the tenant has": "used and reserved fit the tenant's budget",
        "tokens rise": "each claim of a run gives a higher token",
    }
)
"""What holds of every answer of a store, by name."""

_ONCE, _OWN, _ROOM, _RISE = ANSWER_INVARIANTS


class WatchedStore:
    """Passes everything on, and keeps a model of what has become of each run.

    Args:
        rules: What the application has said of its tasks.

    Attributes:
        model: What the store has accepted.
    """

    def __init__(self, store: Any, rules: Rules | None = None) -> None:
        self._store = store
        self._blobs: set[tuple[str, str]] = set()
        self._results: set[tuple[str, str]] = set()
        self.model = Model(rules or Rules())

    async def __aenter__(self) -> WatchedStore:
        await self._store.__aenter__()
        return self

    async def __aexit__(self, *error: object) -> bool | None:
        result: bool | None = await self._store.__aexit__(*error)
        return result

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    # --- What it has seen --------------------------------------------------------------------

    @property
    def accepted(self) -> list[tuple[str, str]]:
        """Tenants and ids of the runs whose creation was acknowledged or may have been."""
        return self.model.accepted

    @property
    def wrong(self) -> list[str]:
        """What broke an invariant, in order."""
        return self.model.wrong

    @property
    def counts(self) -> Mapping[str, int]:
        """How often each invariant was checked."""
        return self.model.counts

    @property
    def commits(self) -> int:
        """How many were accepted."""
        return self.model.commits

    def unfinished(self) -> list[str]:
        """Return the runs that were accepted and have not ended."""
        return [run for _, run, known in self.model.runs() if not known.state.terminal]

    def state_of(self, tenant: str, run: str) -> State:
        """Return the state of a run as its commits have left it."""
        return self._known(tenant, run).state

    def held_by(self, owner: str) -> list[str]:
        """Return the runs whose newest lease is an owner's and was not given back."""
        return [run for _, run, known in self.model.runs() if known.owner == owner]

    def _known(self, tenant: str, run: str) -> KnownRun:
        known = self.model.find(tenant, run)
        if known is None:
            raise LookupError(f"run {run} of {tenant!r} was never created")
        return known

    def _own(self, tenant: str, runs: Sequence[tuple[str, str]], verb: str) -> None:
        """Check that runs belong to a tenant and exist."""
        self.model.check(
            _OWN,
            (
                f"{verb} for {tenant!r} gave run {run} of {whose!r}"
                for whose, run in runs
                if whose != tenant or not self.model.knows(tenant, run)
            ),
        )

    # --- Runs --------------------------------------------------------------------------------

    async def create(self, tenant: str, run: NewRun, /) -> str:
        """Create a run, and expect that it is not lost."""
        self.model.means(tenant, run)
        kept: str = await self._store.create(tenant, run)
        self._own(tenant, [(tenant, kept)], "create")
        self.model.find(tenant, kept)
        return kept

    async def read(
        self, tenant: str, run: str, /, *, after: int = 0, limit: int = 1_000
    ) -> Sequence[Entry]:
        """Read, and check that it is what this very run of the tenant has committed."""
        entries: Sequence[Entry] = await self._store.read(tenant, run, after=after, limit=limit)
        self.model.check(_OWN, self._unlike(tenant, run, entries, after))
        return entries

    def _unlike(self, tenant: str, run: str, found: Sequence[Entry], after: int) -> Iterator[str]:
        known = self.model.find(tenant, run)
        if known is None:
            yield f"read for {tenant!r} gave run {run}, which it does not have"
        elif found:
            # The hashes cover tenant and run.
            head = GENESIS if after <= 0 else known.entries[min(after, len(known.entries)) - 1].hash
            try:
                if after <= len(known.entries):
                    verify(found, tenant=tenant, run=run, after=max(after, 0), head=head)
            except JournalCorruptError as error:
                yield f"read for {tenant!r} gave what is not of run {run}: {error.problem}"

    async def runs(self, tenant: str, query: RunQuery, /) -> Page[RunSummary]:
        """List runs, and check whose they are."""
        page: Page[RunSummary] = await self._store.runs(tenant, query)
        self._own(tenant, [(found.tenant, found.id) for found in page.items], "runs")
        return page

    # --- Leases ------------------------------------------------------------------------------

    async def claim(
        self, owner: str, /, *, offers: frozenset[str], limit: int, duration: timedelta
    ) -> Claimed:
        """Claim, and note the tokens that were handed out."""
        claimed: Claimed = await self._store.claim(
            owner, offers=offers, limit=limit, duration=duration
        )
        for lease in claimed.leases:
            self.model.check(_RISE, self._claimed(lease))
        return claimed

    def _claimed(self, lease: Lease) -> Iterator[str]:
        known = self.model.find(lease.tenant, lease.run)
        if known is None:
            yield f"run {lease.run} of {lease.tenant!r} was claimed and never created"
            return
        if lease.token <= known.token:
            yield f"run {lease.run}: token {lease.token} was handed out again"
        known.token, known.owner = max(lease.token, known.token), lease.owner

    async def release(self, lease: Lease, /, **when: Any) -> None:
        """Release, and note that nobody holds the run."""
        await self._store.release(lease, **when)
        known = self._known(lease.tenant, lease.run)
        if known.token == lease.token:
            known.owner = ""

    async def commit(self, lease: Lease, commit: Commit, /) -> Lease:
        """Commit, and check what that has changed."""
        known = self._known(lease.tenant, lease.run)
        self.model.about_to(lease, commit, known.token)
        self._results |= {(lease.tenant, one.key) for one in commit.remember}
        try:
            after: Lease = await self._store.commit(lease, commit)
        except BaseException:
            with anyio.CancelScope(shield=True):
                await self._catch_up(lease.tenant, lease.run)
            raise
        self.model.reached(lease.tenant, lease.run, commit.entries[-1].hash)
        return after

    async def _catch_up(self, tenant: str, run: str) -> None:
        """Learn what has become of a commit whose outcome nobody has heard."""
        behind = len(self._known(tenant, run).entries)
        with suppress(StoreError):
            news: Sequence[Entry] = await self._store.read(tenant, run, after=behind)
            if news:
                self.model.reached(tenant, run, news[-1].hash)

    # --- Messages ----------------------------------------------------------------------------

    async def post(self, tenant: str, run: str, message: Message, /) -> None:
        """Post, and check that what counts once was not accepted before."""
        await self._store.post(tenant, run, message)
        self._own(tenant, [(tenant, run)], "post")
        if message.once is not None and self.model.knows(tenant, run):
            once = self._known(tenant, run).once
            taken = [f"run {run}: {message.once}"] if message.once in once else []
            self.model.check(_ONCE, taken)
            once.add(message.once)

    async def inbox(self, owner: str, /) -> Sequence[Posted]:
        """Read messages, and check whose they are."""
        posted: Sequence[Posted] = await self._store.inbox(owner)
        for one in posted:
            self._own(one.tenant, [(one.tenant, one.run)], "inbox")
        return posted

    # --- Results, blobs and budgets ----------------------------------------------------------

    async def put(self, tenant: str, content: bytes, /) -> str:
        """Keep bytes, and note whose they are."""
        digest: str = await self._store.put(tenant, content)
        self._blobs.add((tenant, digest))
        return digest

    async def fetch(self, tenant: str, digest: str, /) -> bytes:
        """Fetch bytes, and check whose they are."""
        content: bytes = await self._store.fetch(tenant, digest)
        own = (tenant, digest) in self._blobs
        self.model.check(_OWN, [] if own else [f"fetch gave {tenant!r} another's {digest}"])
        return content

    async def recall(self, tenant: str, key: str, /) -> bytes | None:
        """Recall a result, and check whose it is."""
        result: bytes | None = await self._store.recall(tenant, key)
        own = result is None or (tenant, key) in self._results
        self.model.check(_OWN, [] if own else [f"recall gave {tenant!r} another's {key}"])
        return result

    async def reserve(self, lease: Lease, name: str, amount: Usage, /) -> None:
        """Reserve, and check that it fits, unless somebody spends more than was put aside."""
        await self._store.reserve(lease, name, amount)
        with anyio.CancelScope(shield=True):
            account = await self._store.account(lease.tenant)
        problems = []
        if account is not None:
            held = account.used.plus(account.reserved)
            for what in ("calls", "money", "tokens"):
                has, cap = getattr(held, what), getattr(account.budget, what)
                if cap is not None and has > cap * (1 + 1e-9):
                    problems.append(f"{has:g} of {cap:g} {what} of {lease.tenant!r}")
        self.model.check(_ROOM, problems)
