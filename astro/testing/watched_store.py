"""A store that checks every commit it accepts against the invariants."""

from __future__ import annotations

import copy
from collections import defaultdict
from collections.abc import Sequence
from datetime import timedelta
from typing import Any

import anyio

from astro.core.protocols import Claimed, Commit, Lease, NewRun
from astro.core.records import (
    GENESIS,
    AskedRecord,
    AttemptFailedRecord,
    Entry,
    Record,
    SleptRecord,
    State,
    decode_entries,
)
from astro.decisions.replay import RunState, replay
from astro.testing.invariants import INVARIANTS, Change

__all__ = ["WatchedStore"]


class _Known:
    """What is known of one run."""

    def __init__(self, new: NewRun) -> None:
        self.entries: list[Entry] = [new.entry, *new.entries]
        self.state = new.state
        self.fold = replay(decode_entries(self.entries))
        self.token = 0
        self.waits: dict[str, float] = {}
        self.last = 0.0  # when the commit before was accepted

    def note_waits(self, records: Sequence[Record], now: float) -> None:
        """Remember when, in truth, the waits will be over that records begin."""
        for record in records:
            match record:
                case (
                    SleptRecord(call=call, at=at, until=moment)
                    | AttemptFailedRecord(call=call, at=at, retry_at=moment)
                ):
                    self.waits[call] = now + (moment - at).total_seconds()
                case AskedRecord(call=call, at=at, deadline=deadline) if deadline is not None:
                    self.waits[call] = now + (deadline - at).total_seconds()


class WatchedStore:
    """Passes everything on, and keeps a model of what has become of each run.

    Attributes:
        accepted: Ids of the runs whose creation was acknowledged or may have been.
        wrong: What broke an invariant, in order.
        commits: How many were accepted.
    """

    def __init__(self, store: Any) -> None:
        self._store = store
        self._known: dict[tuple[str, str], _Known] = {}
        self.accepted: list[tuple[str, str]] = []
        self.wrong: list[str] = []
        self.commits = 0
        self.counts: defaultdict[str, int] = defaultdict(int)

    async def __aenter__(self) -> WatchedStore:
        await self._store.__aenter__()
        return self

    async def __aexit__(self, *error: object) -> bool | None:
        result: bool | None = await self._store.__aexit__(*error)
        return result

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    async def create(self, tenant: str, run: NewRun, /) -> str:
        """Create a run, and expect that it is not lost."""
        kept: str = await self._store.create(tenant, run)
        if kept == run.id and (tenant, kept) not in self._known:
            self._adopt(tenant, run)
        return kept

    def _adopt(self, tenant: str, run: NewRun) -> None:
        self._known[tenant, run.id] = _Known(run)
        self.accepted.append((tenant, run.id))

    async def claim(
        self, owner: str, /, *, offers: frozenset[str], limit: int, duration: timedelta
    ) -> Claimed:
        """Claim, and note the tokens that were handed out."""
        claimed: Claimed = await self._store.claim(
            owner, offers=offers, limit=limit, duration=duration
        )
        for lease in claimed.leases:
            known = self._known[lease.tenant, lease.run]
            if lease.token <= known.token:
                self.wrong.append(f"run {lease.run}: token {lease.token} was handed out again")
            known.token = lease.token
        return claimed

    async def commit(self, lease: Lease, commit: Commit, /) -> Lease:
        """Commit, and check what that has changed."""
        known = self._known[lease.tenant, lease.run]
        repeated = known.entries[-1].hash == commit.entries[-1].hash
        newest = known.token
        after: Lease = await self._store.commit(lease, commit)
        if not repeated:
            self._check(known, lease, commit, newest)
            for run in commit.create:
                if (lease.tenant, run.id) not in self._known:
                    self._adopt(lease.tenant, run)
        return after

    def _check(self, known: _Known, lease: Lease, commit: Commit, newest: int) -> None:
        self.commits += 1
        records: list[Record] = decode_entries(commit.entries)
        now = anyio.current_time()
        before = known.fold
        fold: RunState = copy.deepcopy(before)
        for record in records:
            fold.apply(record)
        change = Change(
            tenant=lease.tenant,
            run=lease.run,
            token=lease.token,
            newest=newest,
            before=before,
            after=fold,
            was=known.state,
            state=commit.state,
            head=known.entries[-1].hash if known.entries else GENESIS,
            entries=commit.entries,
            records=records,
            now=now,
            waits=known.waits,
        )
        for name, invariant in INVARIANTS.items():
            self.counts[name] += 1
            self.wrong += [f"run {lease.run}: {name}: {what}" for what in invariant(change)]
        # The records may have waited long for this commit, but not since before the last one.
        known.note_waits(records, known.last)
        known.last = now
        known.fold, known.state = fold, commit.state
        known.entries.extend(commit.entries)

    def unfinished(self) -> list[str]:
        """Return the runs that were accepted and have not ended."""
        return [run for (_, run), known in self._known.items() if not known.state.terminal]

    def state_of(self, tenant: str, run: str) -> State:
        """Return the state of a run as its commits have left it."""
        return self._known[tenant, run].state
