"""Careless code, in copies that exist only here, to see that a cancel matrix finds it."""

from __future__ import annotations

import asyncio
from typing import Any

import anyio
import msgspec
from anyio.lowlevel import checkpoint

from astro import Limits, MemoryStore
from astro.core.errors import StoreBusyError
from astro.core.protocols import Commit, Lease, NewRun
from astro.engine.slots import Slots
from astro.testing.callers import Stage
from astro.testing.loop import LoopClock
from tests.cancelling.scenarios import chain, fan_out

__all__ = [
    "Books",
    "Crowded",
    "HalfKeyed",
    "TwoAwaits",
    "abandons_its_work",
    "gives_its_place_back",
    "keeps_books",
    "keeps_its_place",
    "leaks_slots",
]


# --- A semaphore without `finally` -------------------------------------------------------------


class Crowded(MemoryStore):
    """A store that its users let in one at a time."""

    def __init__(self, clock: LoopClock) -> None:
        super().__init__(clock=clock)
        self.places = anyio.Semaphore(1)


async def keeps_its_place(stage: Stage) -> int:
    """Give the place back unless something happens on the way."""
    await stage.store.places.acquire()
    async with stage.engine() as engine:
        result = await engine.options(key="one").run(chain, 1)
    stage.store.places.release()
    return result


async def gives_its_place_back(stage: Stage) -> int:
    """The same with care."""
    async with stage.store.places, stage.engine() as engine:
        return await engine.options(key="one").run(chain, 1)


class LeakySlots(Slots):
    """Slots that are taken, and kept by whoever is cancelled before hearing of it."""

    async def take(self, needs: tuple[str, ...], *, tenant: str, priority: int) -> None:
        await super().take(needs, tenant=tenant, priority=priority)
        await checkpoint()


async def leaks_slots(stage: Stage) -> int:
    """Run more than there is room for, on an engine with leaky slots."""
    limits = Limits(attempts=1)
    engine = stage.engine(limits=limits)
    msgspec.structs.force_setattr(engine.parts, "slots", LeakySlots(limits, {}, stage.clock))
    async with engine:
        return await engine.options(key="one").run(fan_out, 5)


# --- A transaction in two awaits ---------------------------------------------------------------


class TwoAwaits:
    """A store that begins and commits in two awaits, without a shield around them."""

    def __init__(self, clock: LoopClock) -> None:
        self._store = MemoryStore(clock=clock)
        self._lock = anyio.Lock()
        self._begun = False

    async def __aenter__(self) -> TwoAwaits:
        await self._store.__aenter__()
        return self

    async def __aexit__(self, *error: object) -> None:
        await self._store.__aexit__(*error)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    async def create(self, tenant: str, run: NewRun, /) -> str:
        async with self._lock:
            await self._begin()
            kept = await self._store.create(tenant, run)
            await self._commit()
        return kept

    async def commit(self, lease: Lease, commit: Commit, /) -> Lease:
        async with self._lock:
            await self._begin()
            after = await self._store.commit(lease, commit)
            await self._commit()
        return after

    async def _begin(self) -> None:
        await checkpoint()
        if self._begun:
            raise StoreBusyError("There is a transaction within a transaction.", remedy="None.")
        self._begun = True

    async def _commit(self) -> None:
        await checkpoint()
        self._begun = False


# --- Two transactions --------------------------------------------------------------------------


class HalfKeyed(MemoryStore):
    """A store that keeps a run in one transaction, and its key in another."""

    def __init__(self, clock: LoopClock) -> None:
        super().__init__(clock=clock)
        self._known: dict[str, str] = {}

    async def create(self, tenant: str, run: NewRun, /) -> str:
        key = run.key or run.id
        if key not in self._known:
            kept = await super().create(tenant, msgspec.structs.replace(run, key=None))
            await checkpoint()
            self._known[key] = kept
        return self._known[key]


class Books(MemoryStore):
    """A store that has results, and remembers of which there is one, in two transactions."""

    def __init__(self, clock: LoopClock) -> None:
        super().__init__(clock=clock)
        self.results: list[int] = []
        self._done = False

    async def keep(self, result: int) -> None:
        if not self._done:
            self.results.append(result)
            await checkpoint()
            self._done = True


async def keeps_books(stage: Stage) -> list[int]:
    """Run something, and write the result down."""
    async with stage.engine() as engine:
        await stage.store.keep(await engine.options(key="one").run(chain, 1))
    return [*stage.store.results]


# --- A cancellation that is swallowed ----------------------------------------------------------


async def abandons_its_work(stage: Stage) -> int:
    """Do the work in a task of its own, and forget about it when cancelled."""
    async with stage.engine() as engine:
        work = asyncio.ensure_future(_linger(await engine.options(key="one").start(chain, 1)))
        try:
            await asyncio.wait({work})
        except asyncio.CancelledError:
            return 0
        return work.result()


async def _linger(run: Any) -> int:
    await asyncio.sleep(5)
    result: int = await run
    return result
