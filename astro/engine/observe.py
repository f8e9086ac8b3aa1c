"""Observing: committed records on their way to those who watch, who never delay a run.

Each observer has a queue of its own and a task that empties it. A slow observer's queue is
bounded: it misses the oldest records, and can read them from the store.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Sequence

import anyio

from astro.core.protocols import Observer
from astro.core.records import Record

__all__ = ["Observers"]

_LOGGER = logging.getLogger("astro.observe")
_QUEUE = 10_000  # batches an observer may lag behind


class Observers:
    """Delivers records to observers, each in its own time."""

    def __init__(self, observers: Sequence[Observer]) -> None:
        self._lanes = [_Lane(observer) for observer in observers]

    def __bool__(self) -> bool:
        return bool(self._lanes)

    def publish(self, tenant: str, run: str, records: Sequence[Record]) -> None:
        """Hand records on; returns at once."""
        for lane in self._lanes:
            lane.put(tenant, run, records)

    async def run(self) -> None:
        """Deliver until cancelled."""
        async with anyio.create_task_group() as group:
            for lane in self._lanes:
                group.start_soon(lane.run)

    async def drain(self) -> None:
        """Deliver what is queued."""
        for lane in self._lanes:
            await lane.empty()


class _Lane:
    def __init__(self, observer: Observer) -> None:
        self._observer = observer
        self._queue: deque[tuple[str, str, Sequence[Record]]] = deque()
        self._filled = anyio.Event()
        self._delivering = anyio.Lock()
        self.missed = 0

    def put(self, tenant: str, run: str, records: Sequence[Record]) -> None:
        if len(self._queue) >= _QUEUE:
            self._queue.popleft()
            self.missed += 1
        self._queue.append((tenant, run, records))
        self._filled.set()

    async def run(self) -> None:
        while True:
            await self._filled.wait()
            self._filled = anyio.Event()
            await self.empty()

    async def empty(self) -> None:
        async with self._delivering:
            while self._queue:
                tenant, run, records = self._queue.popleft()
                try:
                    await self._observer.observe(tenant, run, records)
                except Exception:
                    # An observer's fault is its own: the run and the other observers go on.
                    _LOGGER.exception("An observer failed", extra={"run": run})
            if self.missed:
                _LOGGER.warning("A slow observer missed %d batches", self.missed)
                self.missed = 0
