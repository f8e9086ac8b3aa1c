"""Turns: who of those waiting goes next. Pure: it orders, it does not wait.

Tenants take turns (deficit round robin with equal quanta, as every attempt costs one slot).
Within a tenant the higher priority goes first, and waiting counts: after `age` a waiter ranks
one step higher. As all who wait age at the same rate, the order of two waiters never changes
while they wait, so a heap needs no re-ranking.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable
from datetime import datetime, timedelta
from itertools import count
from typing import Generic, TypeVar

__all__ = ["Turns"]

T = TypeVar("T")
_STEP = 10.0  # one step of `Priority`


class Turns(Generic[T]):
    """A queue of waiters by tenant, by what they need, and by rank."""

    def __init__(self, age: timedelta) -> None:
        self._age = age.total_seconds()
        self._groups: dict[tuple[str, tuple[str, ...]], list[tuple[float, int, T]]] = {}
        self._tenants: dict[str, int] = {}  # when each tenant had its last turn
        self._numbers = count(1)
        self._size = 0

    def __len__(self) -> int:
        return self._size

    def push(
        self, item: T, *, tenant: str, needs: tuple[str, ...], priority: int, since: datetime
    ) -> None:
        """Add a waiter.

        Args:
            needs: Names of the limits it counts against.
        """
        rank = since.timestamp() / self._age - priority / _STEP
        heap = self._groups.setdefault((tenant, needs), [])
        heapq.heappush(heap, (rank, next(self._numbers), item))
        # Who comes new, or again, waits behind those who wait already; else a stream of new
        # tenants would go before the old ones for ever.
        self._tenants.setdefault(tenant, next(self._numbers))
        self._size += 1

    def pop(self, fits: Callable[[tuple[str, ...]], bool], gone: Callable[[T], bool]) -> T | None:
        """Remove and return the waiter whose turn it is, or None if nobody fits.

        Args:
            fits: Whether limits of these names have room.
            gone: Whether a waiter no longer waits; such ones are dropped.
        """
        best: tuple[int, float, int, tuple[str, tuple[str, ...]]] | None = None
        for group in [*self._groups]:
            heap = self._groups[group]
            while heap and gone(heap[0][2]):
                heapq.heappop(heap)
                self._size -= 1
            if not heap:
                self._leave(group, served=False)
            elif fits(group[1]):
                key = (self._tenants[group[0]], heap[0][0], heap[0][1], group)
                best = key if best is None or key < best else best
        if best is None:
            return None
        group = best[3]
        _, _, item = heapq.heappop(self._groups[group])
        self._size -= 1
        if self._groups[group]:
            self._tenants[group[0]] = next(self._numbers)
        else:
            self._leave(group, served=True)
        return item

    def _leave(self, group: tuple[str, tuple[str, ...]], *, served: bool) -> None:
        """Forget a group without waiters, and its tenant if it has no other."""
        del self._groups[group]
        tenant = group[0]
        if any(other == tenant for other, _ in self._groups):
            if served:
                self._tenants[tenant] = next(self._numbers)
        else:
            del self._tenants[tenant]
