"""Lives: an engine that drives one run until it has ended, or until the engine is dead.

Time is virtual, and passes whenever nothing is at work; questions are answered from a table.
"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from contextlib import suppress
from datetime import timedelta
from typing import Any

import anyio

from astro.core.errors import AstroError, StoreError
from astro.core.protocols import RunQuery, Sandbox
from astro.core.records import Record, State
from astro.core.task import Task
from astro.decisions.replay import replay
from astro.engine import posting
from astro.engine.local import LocalEngine
from astro.testing.clock import VirtualClock, VirtualIds
from astro.testing.dying_store import DyingStore

__all__ = ["journals_of", "live"]

_TENANT = "default"
_KEY = "trial"
_FOR_EVER = timedelta(days=10_000)  # a lease; who dies leaves it to the store to notice
_LOOK = 0.002  # seconds between looks whether nothing is at work
_PATIENCE = 500  # looks without progress, until a run is stuck; bodies may sleep for a second


async def live(
    parts: Sequence[Any],
    task: Task[..., Any],
    args: tuple[Any, ...],
    kwargs: Mapping[str, Any],
    *,
    store: DyingStore,
    clock: VirtualClock,
    answers: Mapping[str, object],
    number: int,
    sandbox: Sandbox | None = None,
) -> str:
    """Start a run, or go on with it; return its id, which an engine may die too early to tell.

    Args:
        number: Of the engine; each has ids of its own, the same ones every time.
    """
    engine = LocalEngine(
        *parts,
        store=store,
        sandbox=sandbox,
        clock=clock,
        ids=VirtualIds(number),
        chance=random.Random(0),
        lease_for=_FOR_EVER,
        idle_for=_FOR_EVER,
        grace=timedelta(0),
    )
    try:
        async with engine:
            run = await engine.options(key=_KEY).start(task, *args, **kwargs)
            pace = _Pace(engine, clock, answers)
            while not await _over(run, store.died) and await pace.go_on():
                pass
            return run.id
    except StoreError:
        # An engine that goes on with a run may die of it before it is asked to.
        if not store.died.is_set():
            raise
        return ""


async def journals_of(store: Any) -> dict[str, Sequence[Record]]:
    """Return the records of all runs of a store, oldest run first."""
    async with store:
        found = (await store.runs(_TENANT, RunQuery(limit=10_000))).items
        return {one.id: await posting.read_all(store, _TENANT, one.id) for one in reversed(found)}


async def _over(run: Any, died: anyio.Event) -> bool:
    """Wait a moment for the end of a run, or of its engine; return whether it has come."""
    with anyio.move_on_after(_LOOK):
        async with anyio.create_task_group() as group:

            async def ended() -> None:
                with suppress(AstroError):
                    await run
                group.cancel_scope.cancel()

            async def dead() -> None:
                await died.wait()
                group.cancel_scope.cancel()

            group.start_soon(ended)
            group.start_soon(dead)
        return True
    return died.is_set()


class _Pace:
    """Lets time pass, and questions be answered, whenever nothing is at work."""

    def __init__(
        self, engine: LocalEngine, clock: VirtualClock, answers: Mapping[str, object]
    ) -> None:
        self._engine = engine
        self._clock = clock
        self._answers = answers
        self._was_idle = False
        self._still = 0
        self._seen = 0

    async def go_on(self) -> bool:
        """Return whether there is hope that the run ends."""
        try:
            return await self._go_on()
        except StoreError:
            return True  # the engine has died meanwhile

    async def _go_on(self) -> bool:
        if not self._engine.idle or await self._unclaimed():
            self._was_idle, self._still = False, 0
            return True
        if not self._was_idle:
            self._was_idle = True
            return True
        journals = await journals_of(self._engine.store)
        seen = sum(map(len, journals.values()))
        self._still = 0 if seen != self._seen else self._still + 1
        self._seen = seen
        if not await self._answer(journals):
            due = self._engine.parts.timers.due()
            self._clock.advance(timedelta(seconds=0.1 if due is None else max(due, 0.001)))
        return self._still < _PATIENCE

    async def _unclaimed(self) -> bool:
        """Return whether a run is about to be claimed; nobody claims one that is parked."""
        unfinished = (await self._engine.runs(unfinished=True, limit=10_000)).items
        left = [one.id for one in unfinished if one.state is not State.PARKED]
        return not all(map(self._engine.drives, left))

    async def _answer(self, journals: Mapping[str, Sequence[Record]]) -> bool:
        """Answer one question that has a known answer; return whether there was one."""
        for run, records in journals.items():
            state = replay(records)
            for asked in posting.open_questions(state):
                if asked.question in self._answers and state.finished is None:
                    value = self._answers[asked.question]
                    with suppress(AstroError):  # it may have been answered, and not yet read
                        await posting.answer(
                            self._engine.store, _TENANT, run, value, call=asked.call
                        )
                        return True
        return False
