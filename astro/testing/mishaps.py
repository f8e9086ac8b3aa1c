"""Mishaps: what happens to engines, to the clock and to runs in a simulated world, by name.

Each takes the world, and leaves it so that all that was accepted can still end.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from datetime import timedelta
from types import MappingProxyType
from typing import TYPE_CHECKING

import anyio

from astro.core.errors import AstroError, RunFinishedError, RunNotFoundError
from astro.core.messages import ResumeMessage
from astro.core.protocols import RunQuery
from astro.engine import posting
from astro.testing.faulty_store import Fault

if TYPE_CHECKING:
    from astro.testing.world import Slot, Submitted, World

__all__ = ["MISHAPS", "Mishap"]

Mishap = Callable[["World"], Awaitable[object]]


def _engine(world: World) -> Slot | None:
    slots = [slot for slot in world.slots if slot.engine is not None]
    return world.chance.choice(slots) if slots else None


def _leaving(world: World) -> Slot | None:
    slot = _engine(world)
    if slot is not None and slot.engine is not None:
        world.excused.add(slot.engine.name)  # its store may fail when it gives its runs back
    return slot


def _run(world: World) -> Submitted | None:
    return world.chance.choice(world.submitted) if world.submitted else None


# --- Engines and time ------------------------------------------------------------------------


async def _crash(world: World) -> None:
    """End an engine without a word to its store; another one comes."""
    slot = _leaving(world)
    if slot is not None:
        world.happened["crash"] += 1
        slot.store.cut_off()
        slot.leave.set()
        world.open_engine()


async def _depart(world: World) -> None:
    """Let an engine leave in peace; another one comes."""
    slot = _leaving(world)
    if slot is not None:
        world.happened["departure"] += 1
        slot.leave.set()
        world.open_engine()


async def _stall(world: World) -> None:
    """Let an engine get no answer, maybe for longer than its leases last."""
    slot = _engine(world)
    if slot is not None:
        world.happened["stall"] += 1
        before = slot.store.plan
        slow = Fault(error=None, delay=world.lease * world.chance.choice((0.8, 1.5, 3.0)))
        slot.store.plan = lambda verb, number: slow
        await anyio.sleep(world.chance.random() * 3)
        slot.store.plan = before


async def _set_clock(world: World) -> None:
    """Set the clock that all go by, forward or back."""
    world.happened["setting of the clock"] += 1
    jump = timedelta(seconds=world.chance.choice((-600, -60, 1, 60, 3600)))
    world.behind = max(world.behind - jump, timedelta(0))
    world.clock.jump(jump)


# --- Runs ------------------------------------------------------------------------------------


async def _cancel_run(world: World) -> None:
    """Ask for the end of a run, which may be too late."""
    run, slot = _run(world), _engine(world)
    if run is not None and slot is not None:
        world.happened["cancelled run"] += 1
        run.cancelled = True
        with suppress(AstroError):
            await posting.cancel(slot.store, run.job.tenant, run.id, "simulated")


async def _cancel_waiter(world: World) -> None:
    """Cancel somebody who waits for a run; the run has nothing to do with that."""
    waiters = [scope for run in world.submitted for scope in run.waiters]
    if waiters:
        world.happened["cancelled waiter"] += 1
        world.chance.choice(waiters).cancel()


async def _pause_run(world: World) -> None:
    """Pause a run, and let it go on some time later."""
    run, slot = _run(world), _engine(world)
    if run is not None and slot is not None:
        world.happened["pause"] += 1
        with suppress(AstroError):
            await posting.pause(slot.store, run.job.tenant, run.id)
        world.later(_resume, world, run)


async def _resume(world: World, run: Submitted) -> None:
    await anyio.sleep(world.chance.random() * 5)
    while not world.over:
        slot = _engine(world)
        if slot is not None:
            try:
                await posting.resume(slot.store, run.job.tenant, run.id)
                return
            except RunFinishedError:
                return
            except AstroError:
                pass
        await anyio.sleep(1)


async def _fork(world: World) -> None:
    """Start a run that remembers what another one had committed up to some point."""
    run, slot = _run(world), _engine(world)
    if run is None or slot is None or slot.engine is None:
        return
    world.happened["fork"] += 1
    with suppress(AstroError):
        handle = await slot.engine.tenant(run.job.tenant).get(run.id)
        records = (await handle.status()).records
        forked = await handle.fork(at=world.chance.randint(1, records))
        world.note(run.job, forked.id)


async def _pry(world: World) -> None:
    """Let a tenant ask for a run of another one; the store gives it nothing."""
    run = _run(world)
    others = sorted({job.tenant for job in world.jobs} | {"nobody"})
    if run is None:
        return
    world.happened["prying"] += 1
    tenant = world.chance.choice([other for other in others if other != run.job.tenant])
    store = world.watched
    for verb in (
        lambda: store.read(tenant, run.id),
        lambda: store.post(tenant, run.id, ResumeMessage(by=tenant)),
        lambda: store.runs(tenant, RunQuery(ids=frozenset({run.id}))),
        lambda: store.runs(tenant, RunQuery()),
    ):
        with suppress(RunNotFoundError, RunFinishedError):
            await verb()


MISHAPS: Mapping[str, Mishap] = MappingProxyType(
    {
        "cancel run": _cancel_run,
        "cancel waiter": _cancel_waiter,
        "crash": _crash,
        "depart": _depart,
        "fork": _fork,
        "pause": _pause_run,
        "pry": _pry,
        "set clock": _set_clock,
        "stall": _stall,
    }
)
"""All of them, by name."""
