"""The queue: which runs of a memory store wait for an owner, and in what order they get one.

Entries of the heaps are never searched for: one that no longer describes its run is dropped when
it comes to the top.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import defaultdict, deque
from collections.abc import Iterable
from datetime import datetime
from heapq import heappop, heappush
from typing import TypeAlias

from astro.stores.memory.kept import KeptRun, Phase

__all__ = ["Queue"]

_Timed: TypeAlias = list[tuple[datetime, int, KeptRun]]
_Entry: TypeAlias = tuple[int, int, KeptRun]
_Ready: TypeAlias = list[_Entry]


class Queue:
    """Runs by what they wait for: a moment, an owner, the end of a lease."""

    def __init__(self) -> None:
        self._resting: _Timed = []
        self._held: _Timed = []
        self._ready: defaultdict[str, dict[str, _Ready]] = defaultdict(dict)
        self._last = ""  # the tenant that was served last; the next one begins

    def rest(self, run: KeptRun, wake_at: datetime | None, *, now: datetime) -> None:
        """Let a run without an owner wait for a moment, or, without one, for a message."""
        run.phase = Phase.RESTING
        self.wake(run, wake_at)
        if wake_at is not None and wake_at <= now:
            self._make_ready(run)

    def wake(self, run: KeptRun, wake_at: datetime | None) -> None:
        """Change the moment that a run waits for when nobody owns it."""
        run.wake_at = wake_at
        if run.phase is Phase.RESTING and wake_at is not None:
            heappush(self._resting, (wake_at, run.number, run))

    def hold(self, run: KeptRun, owner: str, until: datetime) -> None:
        """Let a run have an owner for a time."""
        run.phase, run.owner, run.until = Phase.HELD, owner, until
        heappush(self._held, (until, run.number, run))

    def advance(self, now: datetime) -> None:
        """Make ready what has fallen due."""
        while self._held and self._held[0][0] <= now:
            until, _, run = heappop(self._held)
            if run.phase is Phase.HELD and run.until == until:
                # The owner stays: it may renew a lease that nobody took.
                self.rest(run, now if run.inbox else run.wake_at, now=now)
        while self._resting and self._resting[0][0] <= now:
            wake_at, _, run = heappop(self._resting)
            if run.phase is Phase.RESTING and run.wake_at == wake_at:
                self._make_ready(run)

    def take(self, offers: Iterable[str], *, owner: str, limit: int) -> list[KeptRun]:
        """Remove and return ready runs; tenants take turns.

        Args:
            owner: Who takes them; its own runs, whose leases ran out, it renews instead.
        """
        tasks = [task for task in offers if task in self._ready]
        tenants = sorted({tenant for task in tasks for tenant in self._ready[task]})
        offered = frozenset(offers)
        turn = bisect_right(tenants, self._last)
        turns = deque(tenants[turn:] + tenants[:turn])
        taken: list[KeptRun] = []
        while turns and len(taken) < limit:
            tenant = turns.popleft()
            run = self._take_one(tasks, tenant, owner, offered)
            if run is not None:
                run.phase = Phase.HELD
                taken.append(run)
                turns.append(tenant)
                self._last = tenant
        return taken

    def next_due(self, after: datetime) -> datetime | None:
        """Return the first moment after another at which a run may fall due."""
        while self._held and self._held[0][2].until != self._held[0][0]:
            heappop(self._held)
        tops = [heap[0][0] for heap in (self._resting, self._held) if heap]
        return min((moment for moment in tops if moment > after), default=None)

    def _make_ready(self, run: KeptRun) -> None:
        run.phase = Phase.READY
        heap = self._ready[run.new.task].setdefault(run.tenant, [])
        heappush(heap, (-run.new.priority, run.number, run))

    def _take_one(
        self, tasks: Iterable[str], tenant: str, owner: str, offered: frozenset[str]
    ) -> KeptRun | None:
        best: _Ready | None = None
        own: list[tuple[_Ready, _Entry]] = []
        for task in tasks:
            heap = self._ready[task].get(tenant)
            if heap is None:
                continue
            while heap and not heap[0][2].claimable(owner, offered):
                entry = heappop(heap)
                if entry[2].phase is Phase.READY:
                    own.append((heap, entry))
            if heap and (best is None or heap[0][:2] < best[0][:2]):
                best = heap
        found = None if best is None else heappop(best)[2]
        for heap, entry in own:
            heappush(heap, entry)
        for task in tasks:
            if not self._ready[task].get(tenant, True):
                del self._ready[task][tenant]
        return found
