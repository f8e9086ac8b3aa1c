"""Rest: which attempts of a run are at work, and what the others wait for.

From these counts follow the run's state, when it may be evicted, and when it has to be claimed
again.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import datetime
from typing import TYPE_CHECKING

import anyio

from astro.core.records import AbandonedRecord, Record, State
from astro.decisions.states import derived
from astro.engine.attempt import Attempt
from astro.engine.timers import seconds_until

if TYPE_CHECKING:
    from astro.engine.owned import OwnedRun

__all__ = ["Rest"]


class Rest:
    """The work and the waits of one run.

    Attributes:
        working: Attempts that have their slots.
        queued: Attempts that wait for a slot.
        idle_since: When the last attempt came to rest, if none is at work.
        gated: Attempts that may not begin at the moment.
        boxes: Boxes that are open.
        ends: When the run, and attempts of it, are given up; by what.
    """

    def __init__(self, run: OwnedRun) -> None:
        self._run = run
        self.working = 0
        self.queued = 0
        self.idle_since: datetime | None = run.parts.clock.now()
        self.gated = 0
        self.boxes = 0
        self.ends: dict[str, datetime] = {}
        self._resting = {State.ASKED: 0, State.SLEEPING: 0}
        self._asking: set[str] = set()  # what those wait for who wait for somebody else
        self._moments: dict[str, datetime | None] = {}
        self._events: dict[str, anyio.Event] = {}
        self._woken: set[str] = set()  # what has happened to those who have not noticed yet

    @property
    def at_work(self) -> bool:
        """Whether an attempt runs or waits only for its turn."""
        return bool(self.working or self.queued)

    def next_moment(self) -> datetime | None:
        """Return when something of this run is due; None if only a message can move it."""
        run = self._run
        held = run.state.paused or bool(run.state.needs)
        if (
            self.working
            or self._woken
            or (not held and (self.queued or self.gated or not self._moments))
        ):
            return run.parts.clock.now()
        moments = [*self._moments.values(), *self.ends.values()]
        return min((moment for moment in moments if moment is not None), default=None)

    def condition(self, *, paused: bool) -> State:
        """Return the state that follows from what the attempts do."""
        answered = sum(map(self._is_answered, self._asking)) if self._asking else 0
        return derived(
            running=self.working + self.queued + answered,
            asked=self._resting[State.ASKED] - answered,
            sleeping=self._resting[State.SLEEPING],
            paused=paused,
        )

    def _is_answered(self, identity: str) -> bool:
        """Return whether who waits for this is about to go on."""
        call = self._run.state.calls.get(identity)
        return call is not None and call.asked is not None and call.state is not State.ASKED

    def saw(self, records: Sequence[Record]) -> None:
        """Wake who waits for what was just committed."""
        if self._events:
            for record in records:
                name = getattr(record, "call", None) or getattr(record, "run", None)
                event = self._events.pop(name, None) if name else None
                if event is not None and name:
                    event.set()
                    self._woken.add(name)

    def went_to_work(self) -> None:
        """Count an attempt that has its slots."""
        self.working += 1
        self.idle_since = None

    def came_to_rest(self) -> None:
        """Count an attempt that gave its slots up."""
        self.working -= 1
        if self.working == 0:
            self.idle_since = self._run.parts.clock.now()

    def counts(self, state: State | None, by: int) -> None:
        """Count the attempts that wait for a person or for time."""
        if state is not None:
            self._resting[state] += by

    @asynccontextmanager
    async def resting(self, attempt: Attempt, state: State, identity: str) -> AsyncIterator[None]:
        """Count an attempt as waiting; what is cancelled in here by its task is abandoned."""
        over = attempt.wait(state)
        known = self._run.state.calls.get(identity)
        self._moments[identity] = None if known is None else known.moment
        if state is State.ASKED:
            self._asking.add(identity)
        try:
            yield
        except BaseException as error:
            over()
            attempt.seize()
            if not isinstance(error, Exception) and not self._run.closing:
                parent = attempt.call if known is None else ""
                self._run.journal.append(AbandonedRecord, call=identity, parent=parent)
            raise
        finally:
            self._moments.pop(identity, None)
            self._asking.discard(identity)
        over()
        await attempt.go_on()

    async def hang(self, attempt: Attempt) -> None:
        """Wait for the cancellation that a replayed call met before."""
        over = attempt.wait()
        try:
            await anyio.sleep_forever()
        finally:
            over()
            attempt.seize()

    async def wait_for(self, identity: str) -> None:
        """Return at the moment that a sleep or a failed attempt has set."""
        self._moments[identity] = self._run.state.calls[identity].moment
        try:
            event = anyio.Event()
            self._set_timer(identity, event)
            await event.wait()
        finally:
            self._moments.pop(identity, None)

    def _set_timer(self, identity: str, event: anyio.Event) -> None:
        call = self._run.state.calls[identity]
        parts = self._run.parts
        parts.timers.after(seconds_until(call.moment, parts.clock.now(), since=call.set_at), event)

    async def answered(self, identity: str) -> None:
        """Return when a question has its answer, or its deadline has passed."""
        call = self._run.state.calls[identity]

        def asked() -> bool:
            return call.state is State.ASKED

        if asked():
            event = self._events.setdefault(identity, anyio.Event())
            if call.moment is not None:
                self._set_timer(identity, event)
            await self._wait(identity, event)
            if asked():
                # An answer that was accepted beats a time-out that is not committed.
                await self._run.pull()
        if not asked():
            # It may have come while others' records were on their way, when nobody waited yet.
            await self._run.journal.flush()

    async def child_finished(self, run: str) -> None:
        """Return when a child run has ended."""
        while run not in self._run.state.finished_runs:
            await self._wait(run, self._events.setdefault(run, anyio.Event()))

    async def _wait(self, name: str, event: anyio.Event) -> None:
        try:
            await event.wait()
        finally:
            self._woken.discard(name)
