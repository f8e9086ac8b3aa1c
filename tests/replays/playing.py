"""Playing: histories on a store, in virtual time, by an engine that may die at one of its commits.

The same seed gives the same journals, byte by byte, on a store in memory. A store that uses
threads gives the same results.
"""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable, Iterable
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar

import anyio

from astro import AstroError, LocalEngine
from astro.core.protocols import RunQuery
from astro.decisions.replay import RunState, replay
from astro.engine.posting import open_questions, read_all
from astro.testing.clock import VirtualIds
from astro.testing.dying_store import DyingStore
from astro.testing.loop import LoopClock, run_deterministically
from astro.testing.quiet import quiet

__all__ = ["NOW", "THEN", "go_on", "in_virtual_time", "play", "states_of"]

T = TypeVar("T")
THEN = datetime(2030, 1, 1, tzinfo=UTC)
NOW = datetime(2031, 1, 1, tzinfo=UTC)  # when the journals of a release are continued
TENANT = "default"
LONG = timedelta(minutes=30)
LOOK = 1.0  # seconds of virtual time


def in_virtual_time(main: Callable[[LoopClock], Awaitable[T]], *, at: datetime, threads: bool) -> T:
    """Run an async function, whose clock shows a moment when it begins."""

    async def on_the_clock() -> T:
        return await main(LoopClock(at))

    with quiet("astro"):
        return run_deterministically(
            on_the_clock,
            seed=None,
            steps=5_000_000,
            resolution=timedelta(seconds=1),
            threads=threads,
        ).value


def _engine(parts: Any, store: Any, clock: LoopClock, number: int) -> LocalEngine:
    return LocalEngine(
        *parts.PARTS,
        store=store,
        clock=clock,
        ids=VirtualIds(number),
        chance=random.Random(number),
        idle_for=timedelta(days=1),
        grace=timedelta(0),
        blob_size=1_000,
        name="engine",
    )


async def play(
    parts: Any,
    names: Iterable[str],
    store: Any,
    clock: LoopClock,
    *,
    number: int,
    until: int | None = None,
) -> int:
    """Play histories, all at once; return how many commits that took.

    Args:
        parts: The module with what is played.
        number: What the ids are made of.
        until: The engine is dead after so many commits; None lets it live.
    """
    dying = DyingStore(store, at=until, applied=True)
    async with _engine(parts, dying, clock, number) as engine:
        with suppress(AstroError):
            handles = {}
            for name in names:
                task, args, options = parts.HISTORIES[name]
                key = name if until is None else f"{name} until {until}"
                handles[name] = await engine.options(key=key, **options).start(task, *args)
            await _to_the_end(parts, engine, dying)
            for name in parts.FORKED.keys() & handles.keys():
                await handles[name].fork(at=parts.FORKED[name])
            await _to_the_end(parts, engine, dying)
    return dying.commits


async def go_on(parts: Any, store: Any, clock: LoopClock, *, number: int) -> None:
    """Bring all unfinished runs of a store to their end."""
    async with _engine(parts, store, clock, number) as engine:
        await _to_the_end(parts, engine, DyingStore(store), resume=True)


async def _to_the_end(
    parts: Any, engine: LocalEngine, dying: DyingStore, *, resume: bool = False
) -> None:
    """Return when no run is left, or the engine is dead; answer whatever is asked.

    Args:
        resume: Whether whoever paused a run may be gone.
    """
    asked: set[tuple[str, int]] = set()
    with anyio.move_on_after(LONG.total_seconds()) as scope:
        async with anyio.create_task_group() as group:
            while not dying.died.is_set():
                with suppress(AstroError):
                    left = (await engine.runs(unfinished=True, limit=1_000)).items
                    if not left:
                        break
                    for one in left:
                        state = replay(await read_all(engine.store, one.tenant, one.id))
                        if resume and state.paused:
                            await (await engine.get(one.id)).resume()
                        for question in open_questions(state):
                            if (one.id, question.seq) not in asked:
                                asked.add((one.id, question.seq))
                                handle = await engine.get(one.id)
                                group.start_soon(_reply, parts, handle, question.question)
                await anyio.sleep(LOOK)
            group.cancel_scope.cancel()
    if scope.cancelled_caught:
        left = (await engine.runs(unfinished=True)).items
        told = ", ".join(f"{one.task} ({one.state}) {one.key or one.id}" for one in left)
        raise AssertionError(f"did not end within {LONG}: {told}")


async def _reply(parts: Any, run: Any, question: str) -> None:
    with suppress(AstroError):  # the engine may be dead, or the run over
        await parts.reply(run, question)


async def states_of(store: Any) -> dict[str, RunState]:
    """Return what is known of each run of a store that is open, oldest run first."""
    found = (await store.runs(TENANT, RunQuery(limit=1_000))).items
    return {one.id: replay(await read_all(store, TENANT, one.id)) for one in reversed(found)}
