"""A store as a page of plain Python: what leases, fences, keys, inboxes and wake-ups mean.

It is slow and simple, and decides nothing: where a store may choose whom it serves, it tells
whether the choice was a fair one.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import datetime

import attrs

from astro.core.messages import Message
from astro.core.protocols import Commit, Lease, NewRun
from astro.core.records import State

__all__ = ["Model", "ModelRun", "Refused"]


class Refused(Exception):  # noqa: N818  # what a store refuses, and the name of its error
    """Raised when a store has to raise the error of this name."""


@attrs.define(eq=False)
class ModelRun:
    """One run."""

    tenant: str
    new: NewRun
    number: int
    heads: list[str]
    state: State
    wake_at: datetime | None
    owner: str | None = None
    until: datetime | None = None
    token: int = 0
    failures: int = 0
    needs: Mapping[str, str] = attrs.field(factory=dict)
    inbox: dict[int, Message] = attrs.field(factory=dict)
    used: set[str] = attrs.field(factory=set)

    @property
    def ended(self) -> bool:
        return self.state.terminal

    @property
    def rank(self) -> tuple[int, int]:
        return -self.new.priority, self.number

    def held(self, now: datetime) -> bool:
        return self.owner is not None and self.until is not None and self.until > now

    def due(self, now: datetime) -> bool:
        return bool(self.inbox) or (self.wake_at is not None and self.wake_at <= now)

    def claimable(self, owner: str, offers: frozenset[str], now: datetime) -> bool:
        lacks = {name for kind, name in self.needs.items() if kind == "task"} - offers
        own = self.owner == owner
        mine = self.new.task in offers and not lacks and not own
        return mine and not self.ended and not self.held(now) and self.due(now)


class Model:
    """All runs, keys and messages."""

    def __init__(self) -> None:
        self.runs: dict[tuple[str, str], ModelRun] = {}
        self.keys: dict[tuple[str, str, str], tuple[str, str]] = {}
        self._posted = 0

    # --- Runs --------------------------------------------------------------------------------

    def create(self, tenant: str, new: NewRun, now: datetime) -> str:
        known = self.keys.get((tenant, new.namespace, new.key or ""))
        if known is None and (tenant, new.id) in self.runs:
            known = (self.runs[tenant, new.id].new.fingerprint, new.id)
        if known is not None:
            if known[0] != new.fingerprint:
                raise Refused("KeyConflictError")
            return known[1]
        run = ModelRun(tenant, new, len(self.runs), [new.entry.hash], new.state, new.wake_at or now)
        self.runs[tenant, new.id] = run
        if new.key is not None:
            self.keys[tenant, new.namespace, new.key] = (new.fingerprint, new.id)
        return new.id

    def get(self, tenant: str, run: str) -> ModelRun:
        if (tenant, run) not in self.runs:
            raise Refused("RunNotFoundError")
        return self.runs[tenant, run]

    # --- Leases ------------------------------------------------------------------------------

    def claimed(
        self,
        owner: str,
        offers: frozenset[str],
        limit: int,
        now: datetime,
        leases: Sequence[Lease],
    ) -> list[ModelRun]:
        """Check what a store has chosen, and return those runs."""
        free = [run for run in self.runs.values() if run.claimable(owner, offers, now)]
        chosen = [self.runs[lease.tenant, lease.run] for lease in leases]
        assert len({*map(id, chosen)}) == len(chosen)
        assert {*map(id, chosen)} <= {*map(id, free)}, "claimed what nobody may claim"
        assert len(chosen) == min(limit, len(free)), "left what could have been claimed"
        assert [run.rank for run in chosen] == sorted(run.rank for run in chosen)
        waiting = Counter(run.tenant for run in free)
        served = Counter(run.tenant for run in chosen)
        for tenant, count in waiting.items():
            ranks = sorted(run.rank for run in free if run.tenant == tenant)
            mine = sorted(run.rank for run in chosen if run.tenant == tenant)
            assert mine == ranks[: len(mine)], "the urgent go first"
            behind = served[tenant] < count
            assert not behind or max(served.values()) <= served[tenant] + 1, "tenants take turns"
        return chosen

    def own(self, run: ModelRun, owner: str, until: datetime) -> None:
        if run.owner is not None:
            run.failures += 1
        run.token += 1
        run.owner, run.until = owner, until

    def renew(self, owner: str, until: datetime) -> set[tuple[str, int]]:
        mine = [run for run in self.runs.values() if run.owner == owner]
        for run in mine:
            run.until = until
        return {(run.new.id, run.token) for run in mine}

    def release(self, lease: Lease, wake_at: datetime | None) -> None:
        run = self.runs[lease.tenant, lease.run]
        if run.token == lease.token and run.owner is not None:
            run.owner = run.until = None
            run.wake_at = wake_at

    # --- Commits and messages ----------------------------------------------------------------

    def commit(self, lease: Lease, commit: Commit, now: datetime) -> None:
        run = self.runs[lease.tenant, lease.run]
        if run.heads[-1] == commit.entries[-1].hash:
            return  # it is there already
        at = (run.token, len(run.heads), run.heads[-1])
        if run.ended or at != (lease.token, lease.seq, lease.head):
            raise Refused("LeaseLostError")
        run.heads += [entry.hash for entry in commit.entries]
        run.state, run.needs, run.wake_at = commit.state, commit.needs, commit.wake_at
        run.failures = 0 if commit.proves else run.failures
        for number in commit.consumed:
            run.inbox.pop(number, None)
        for new in commit.create:
            self.create(lease.tenant, new, now)
        for target, message in commit.outgoing:
            self.send(lease.tenant, target, message, now)
        if run.ended:
            run.owner = run.until = None
            run.inbox.clear()

    def post(self, tenant: str, target: str, message: Message, now: datetime) -> None:
        if self.get(tenant, target).ended:
            raise Refused("RunFinishedError")
        if not self.send(tenant, target, message, now):
            raise Refused("AlreadyAnsweredError")

    def send(self, tenant: str, target: str, message: Message, now: datetime) -> bool:
        run = self.runs.get((tenant, target))
        late = message.not_after is not None and message.not_after < now
        if run is None or run.ended or late or message.once in run.used:
            return False
        if message.once is not None:
            run.used.add(message.once)
        self._posted += 1
        run.inbox[self._posted] = message
        return True

    def mail(self, owner: str) -> list[tuple[int, str]]:
        found = [
            (number, run.new.id)
            for run in self.runs.values()
            if run.owner == owner
            for number in run.inbox
        ]
        return sorted(found)
