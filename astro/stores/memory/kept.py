"""What a memory store keeps of one run."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from enum import IntEnum

import attrs

from astro.core.messages import Posted
from astro.core.protocols import Lease, NewRun, RunQuery, RunSummary
from astro.core.records import Entry, State

__all__ = ["KeptRun", "Phase"]


class Phase(IntEnum):
    """How a run stands to its owners."""

    RESTING = 0
    READY = 1
    HELD = 2
    ENDED = 3


@attrs.define(eq=False, kw_only=True)
class KeptRun:
    """One run, with its journal and its inbox.

    Attributes:
        number: Grows with each run that is created.
        family: Number of the first run of its family: parents, children, sources, forks.
        used: Every `once` that a message of this run has carried.
        blobs: Names of the blobs that its entries refer to.
    """

    number: int
    tenant: str
    new: NewRun
    family: int
    entries: list[Entry]
    state: State
    wake_at: datetime | None
    updated_at: datetime
    phase: Phase = Phase.RESTING
    owner: str | None = None
    until: datetime | None = None
    token: int = 0
    failures: int = 0
    lost: bool = False
    needs: Mapping[str, str] = attrs.field(factory=dict)
    inbox: dict[int, Posted] = attrs.field(factory=dict)
    used: set[str | None] = attrs.field(factory=set)
    blobs: set[str] = attrs.field(factory=set)

    @property
    def head(self) -> str:
        """Hash of the newest entry."""
        return self.entries[-1].hash

    @property
    def ended(self) -> bool:
        return self.phase is Phase.ENDED

    def claimable(self, owner: str, offers: frozenset[str]) -> bool:
        """Tell whether an owner may claim this run, which is not its own and has what it needs."""
        wanted = {"agent": "agent:{}", "task": "{}"}
        lacks = [wanted[kind].format(name) for kind, name in self.needs.items() if kind in wanted]
        return self.phase is Phase.READY and self.owner != owner and offers.issuperset(lacks)

    def lease(self, owner: str, *, with_first: bool = False) -> Lease:
        """Return the newest lease, for its owner."""
        return Lease(
            tenant=self.tenant,
            run=self.new.id,
            task=self.new.task,
            owner=owner,
            token=self.token,
            seq=len(self.entries),
            head=self.head,
            priority=self.new.priority,
            failures=self.failures,
            lost=self.lost and with_first,
            first=self.entries[0] if with_first and len(self.entries) == 1 else None,
        )

    def summary(self, now: datetime) -> RunSummary:
        """Return what outsiders see."""
        live = self.until is not None and self.until > now
        return RunSummary(
            id=self.new.id,
            tenant=self.tenant,
            task=self.new.task,
            state=self.state,
            created_at=self.new.created_at,
            updated_at=self.updated_at,
            key=self.new.key,
            priority=self.new.priority,
            deadline=self.new.deadline,
            wake_at=self.wake_at,
            parent=self.new.parent,
            source=self.new.source,
            records=len(self.entries),
            owner=self.owner if live else None,
            needs=self.needs,
        )

    def fits(self, query: RunQuery) -> bool:
        """Tell whether a query asks for this run."""
        new = self.new
        return (
            (query.ids is None or new.id in query.ids)
            and (query.states is None or self.state in query.states)
            and (query.task is None or new.task == query.task)
            and (query.key is None or (new.key == query.key and new.namespace == ""))
            and (query.parent is None or new.parent == query.parent)
            and not (query.unfinished and self.ended)
        )
