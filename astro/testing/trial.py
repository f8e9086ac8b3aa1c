"""Trials: a workflow on one store, by engines that live until a chosen commit.

Time is virtual: it passes when nothing is at work.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from datetime import timedelta
from typing import Any

import anyio
import attrs

from astro.core.errors import AstroError
from astro.core.protocols import RunQuery
from astro.core.records import Record, State
from astro.core.task import Task
from astro.decisions.replay import replay
from astro.engine import posting
from astro.engine.local import LocalEngine
from astro.testing.clock import VirtualClock, VirtualIds
from astro.testing.dying_store import DyingStore
from astro.testing.outcomes import Outcome, outcome_of
from astro.testing.quiet import quiet

__all__ = ["Done", "Trial"]

_TENANT = "default"
_KEY = "trial"
_FOR_EVER = timedelta(days=10_000)  # a lease; who dies leaves it to the store to notice
_LOOK = 0.002  # seconds between looks whether nothing is at work
_PATIENCE = 30  # looks without any progress, until a run counts as stuck


@attrs.frozen(kw_only=True)
class Done:
    """What a trial gave.

    Attributes:
        records: The journals of all runs, by id.
        commits: Commits until the end, or until the last crash.
    """

    outcome: Outcome
    records: Mapping[str, Sequence[Record]]
    commits: int


class Trial:
    """A task with its arguments, to be run again and again on empty stores."""

    def __init__(
        self,
        task: Task[..., Any],
        args: tuple[Any, ...],
        kwargs: Mapping[str, Any],
        *,
        parts: Sequence[Any],
        answers: Mapping[str, object],
        stores: Callable[[VirtualClock], Any],
    ) -> None:
        self._task = task
        self._args = args
        self._kwargs = kwargs
        self._parts = [task, *(part for part in parts if part is not task)]
        self._answers = answers
        self._stores = stores

    async def run(self, *, crashes: Sequence[tuple[int, bool]] = ()) -> Done:
        """Run the task on an empty store.

        Args:
            crashes: For each engine but the last, the commit at which it dies and whether that
                commit is still applied.
        """
        clock = VirtualClock()
        store = self._stores(clock)
        lives = [DyingStore(store, at=at, applied=applied) for at, applied in crashes]
        last = DyingStore(store)
        with quiet("astro"):
            for number, life in enumerate([*lives, last]):
                root = await self._live(life, clock, number)
        journals = await _journals(store)
        return Done(outcome=outcome_of(journals, root), records=journals, commits=last.commits)

    async def _live(self, store: DyingStore, clock: VirtualClock, number: int) -> str:
        """Run one engine until the run has ended, or the engine is dead; return the run's id."""
        engine = LocalEngine(
            *self._parts,
            store=store,
            clock=clock,
            ids=VirtualIds(number),
            chance=random.Random(0),
            lease_for=_FOR_EVER,
            idle_for=_FOR_EVER,
            grace=timedelta(0),
        )
        async with engine:
            view = engine.options(key=_KEY)
            run = await view.start(self._task, *self._args, **self._kwargs)
            pace = _Pace(engine, clock, self._answers)
            while not await _over(run, store.died) and await pace.go_on(run):
                pass
            return run.id


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

    async def go_on(self, run: Any) -> bool:
        """Return whether there is hope that the run ends."""
        if not self._engine.idle or await self._unclaimed():
            self._was_idle, self._still = False, 0
            return True
        if not self._was_idle:
            self._was_idle = True
            return True
        journals = await _journals(self._engine.store)
        seen = sum(map(len, journals.values()))
        self._still = 0 if seen != self._seen else self._still + 1
        self._seen = seen
        if not await self._answer(journals):
            due = self._engine.parts.timers.due()
            self._clock.advance(timedelta(seconds=0.1 if due is None else max(due, 0.0)))
        return self._still < _PATIENCE

    async def _unclaimed(self) -> bool:
        """Return whether a run is about to be claimed."""
        unfinished = (await self._engine.runs(unfinished=True, limit=10_000)).items
        return any(not self._engine.drives(one.id) for one in unfinished)

    async def _answer(self, journals: Mapping[str, Sequence[Record]]) -> bool:
        """Answer one question that has a known answer; return whether there was one."""
        for run, records in journals.items():
            state = replay(records)
            for asked in posting.open_questions(state):
                if asked.question in self._answers and state.finished is None:
                    with suppress(AstroError):  # it may have been answered, and not yet read
                        await posting.answer(
                            self._engine.store,
                            _TENANT,
                            run,
                            self._answers[asked.question],
                            call=asked.call,
                        )
                        return True
        return False


async def _journals(store: Any) -> dict[str, Sequence[Record]]:
    """Return the records of all runs of a store, oldest first."""
    async with store:
        found = (await store.runs(_TENANT, RunQuery(limit=10_000))).items
        return {
            one.id: await posting.read_all(store, _TENANT, one.id)
            for one in reversed(found)
            if one.state is not State.READY or one.records
        }
