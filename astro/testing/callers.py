"""Callers: one that acts on an empty store, is cancelled at a chosen step, and what is left then.

First the caller must end, and leave nothing behind: no task, no open store, no slot, no lease. Then
a fresh engine brings everything that was accepted to its end, and the caller may ask once more.
"""

from __future__ import annotations

import asyncio
import gc
import random
from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from contextlib import nullcontext, suppress
from datetime import timedelta
from itertools import count
from typing import Any

import anyio
import attrs

from astro.core.errors import AstroError, StoreClosedError
from astro.core.protocols import RunQuery, RunSummary
from astro.core.records import Entry, OwnedRecord, Record, State, decode_entries, verify
from astro.decisions.replay import replay
from astro.engine import posting
from astro.engine.local import LocalEngine
from astro.testing.clock import VirtualIds
from astro.testing.loop import LoopClock
from astro.testing.stalls import standing
from astro.testing.surroundings import Surroundings
from astro.testing.watched_store import WatchedStore

__all__ = ["CallerLife", "Cancellation", "Life", "Plot", "Stage"]

_PAGE = 5_000
_LOOK = 0.01  # seconds between looks at what is unfinished
_TURNS, _SLOW = 100, 2.0  # turns of the loop, and seconds if there are threads, to end in


class Stage:
    """Where a caller acts: a store, its clock, and engines that are alike each time.

    Attributes:
        store: Empty when the first caller comes.
        clock: Tells the time of the event loop.
        engines: Those that were made here.
    """

    def __init__(
        self, store: Any, clock: LoopClock, parts: Sequence[Any], *, lease: timedelta, first: int
    ) -> None:
        self.store = store
        self.clock = clock
        self.engines: list[LocalEngine] = []
        self._parts = parts
        self._lease = lease
        self._numbers = count(first)

    def engine(self, **options: Any) -> LocalEngine:
        """Return an engine on the store, to be opened; the options are those of LocalEngine."""
        number = next(self._numbers)
        said: dict[str, Any] = {
            "store": self.store,
            "clock": self.clock,
            "ids": VirtualIds(number),
            "chance": random.Random(number),
            "lease_for": self._lease,
            "grace": timedelta(seconds=1),
            "name": f"engine-{number}",
        }
        engine = LocalEngine(*self._parts, **{**said, **options})
        self.engines.append(engine)
        return engine


@attrs.frozen
class Cancellation:
    """When a caller is cancelled, and how.

    Attributes:
        way: `once` and `twice` are `asyncio.Task.cancel()`, the second time two steps later, in
            the midst of cleaning up; `scope` is the scope of anyio around the caller.
        step: From 1.
    """

    way: str
    step: int

    def __str__(self) -> str:
        told = {"once": "cancelled", "twice": "cancelled twice", "scope": "cancelled by a scope"}
        return f"{told[self.way]} at step {self.step}"

    @property
    def steps(self) -> frozenset[int]:
        return frozenset({self.step, self.step + 2} if self.way == "twice" else {self.step})


@attrs.frozen(kw_only=True)
class Plot:
    """What is done again and again, cancelled here and there.

    Attributes:
        act: What the caller does.
        answers: To questions of runs, by question.
        helped: Whether they are answered while the caller acts, and not only after its end.
        stores: Makes an empty store that tells the time of a clock.
        watched: Whether the invariants are checked after every commit.
        again: Whether the caller does it all once more in the end.
        threads: Whether this happens in real time.
    """

    act: Callable[[Stage], Awaitable[Any]]
    parts: Sequence[Any]
    answers: Mapping[str, object]
    helped: bool
    stores: Callable[[LoopClock], Any]
    watched: bool
    again: bool
    threads: bool
    tenants: Sequence[str]
    lease: timedelta


@attrs.define(kw_only=True)
class Life:
    """What became of a caller.

    Attributes:
        steps: At which it could have been cancelled.
        hits: How often it was cancelled.
        place: Where it was when that came first.
        ended: `cancelled`, or what it returned or raised; empty if it did not end.
        told: The same of a caller that came after it; None if there was none.
        elapsed: Seconds until the end of it all.
        resumed: Runs that a fresh engine brought to their end.
        begun: Runs that there were before it asked again.
        runs: The journals that there are in the end, by id.
        problems: What is wrong whatever happened elsewhere.
    """

    steps: int = 0
    hits: int = 0
    place: str = ""
    ended: str = ""
    told: str | None = None
    elapsed: float = 0.0
    resumed: int = 0
    begun: int = 0
    runs: dict[str, list[Record]] = attrs.field(factory=dict)
    problems: list[str] = attrs.field(factory=list)


class CallerLife:
    """The life of one caller, from an empty store to the end of all that it began."""

    def __init__(self, plot: Plot, point: Cancellation | None, *, limit: float) -> None:
        self._plot = plot
        self._point = point
        self._limit = limit  # seconds that the caller may take, and then a fresh engine
        self._clock = LoopClock()
        store = plot.stores(self._clock)
        self._watched = WatchedStore(store) if plot.watched else None
        self._store: Any = self._watched or store
        self._task: asyncio.Task[Any] | None = None
        self._scope: anyio.CancelScope | None = None
        self.life = Life()

    def on_step(self, _: int = 0) -> None:
        """Count a step of the caller, and cancel it if it is time."""
        task, point, life = self._task, self._point, self.life
        if task is None or task.done():
            return
        life.steps += 1
        if point is not None and life.steps in point.steps:
            life.hits += 1
            life.place = life.place or _place(task)
            (self._scope or task).cancel()

    async def live(self) -> Life:
        """Live through it; return what became of it."""
        asyncio.get_running_loop().set_exception_handler(self._note)
        self._surroundings = Surroundings()  # with what the loop has
        began = anyio.current_time()
        await self._perform(stage := self._stage(1))
        await self._look_around(stage)
        if self.life.ended:
            await self._finish(101)
            if self._plot.again:
                await self._ask_again()
            await self._take_stock()
        self.life.elapsed = anyio.current_time() - began
        return self.life

    def _stage(self, first: int) -> Stage:
        parts, lease = self._plot.parts, self._plot.lease
        return Stage(self._store, self._clock, parts, lease=lease, first=first)

    def _wrong(self, *problems: str) -> None:
        self.life.problems += problems

    def _note(self, loop: asyncio.AbstractEventLoop, context: Mapping[str, Any]) -> None:
        error = context.get("exception")
        self._wrong(f"nobody handled: {context['message']}{f': {error!r}' if error else ''}")

    # --- The caller --------------------------------------------------------------------------

    async def _perform(self, stage: Stage) -> None:
        """Let the caller act until it has ended."""
        if self._point is not None and self._point.way == "scope":
            self._scope = anyio.CancelScope()
        work: Any = self._act(stage)
        if self._plot.threads:
            work = _Stepped(work, self.on_step)
        self._task = task = asyncio.create_task(work, name="caller")
        await self._wait_for(task)
        if not task.done():
            self._wrong(f"the caller does not end; it waits in {_place(task)}")
        self.life.ended = _ending(task)
        if self.life.hits and task.done():
            self._judge(task)

    async def _wait_for(self, task: asyncio.Task[Any]) -> None:
        """Return when a caller has ended, or has had long enough."""
        helper = asyncio.ensure_future(self._help_on()) if self._plot.helped else None
        await asyncio.wait({task}, timeout=self._limit)
        if helper is not None:
            await _end(helper)

    async def _act(self, stage: Stage) -> Any:
        with self._scope or nullcontext():
            return await self._plot.act(stage)

    def _judge(self, task: asyncio.Task[Any]) -> None:
        """Note if a caller that was cancelled has ended otherwise."""
        if self._scope is None:
            if not task.cancelled():
                self._wrong(f"the caller was cancelled, and yet it {self.life.ended}")
        elif task.cancelled():
            self._wrong("the cancellation of a scope escaped from it")
        elif self._scope.cancelled_caught:
            self.life.ended = "cancelled"

    # --- What it leaves behind ---------------------------------------------------------------

    async def _look_around(self, stage: Stage) -> None:
        """Note what the caller has left behind, and remove it."""
        left = await self._left()
        self._wrong(*(f"a task is left behind: {told}" for told in standing(left)))
        await _end(*left)
        with suppress(StoreClosedError):
            await self._store.tenants()
            self._wrong("the store is left open")
        for engine in stage.engines:
            if engine.parts.slots.used:
                self._wrong(f"{engine.parts.slots.used} slots of a closed engine are taken")
        self._task = None  # its end refers to everything that it knew
        gc.collect(1)  # what nobody can reach any more, a failed task above all, reports itself
        self._wrong(*self._surroundings.others())

    async def _left(self) -> list[asyncio.Task[Any]]:
        """Return the tasks that go on without the caller."""
        mine = {task for task in (asyncio.current_task(), self._task) if task is not None}
        for turn in range(_TURNS):
            await asyncio.sleep(_SLOW / _TURNS if self._plot.threads else 0)
            left = asyncio.all_tasks() - mine
            threads = self._surroundings.threads()
            if not left and not threads and turn:
                break
        self._wrong(*(f"a thread is left behind: {name}" for name in threads))
        return sorted(left, key=lambda task: task.get_name())

    # --- What comes of it --------------------------------------------------------------------

    async def _finish(self, number: int) -> None:
        """Let a fresh engine bring everything that was accepted to its end."""
        try:
            async with self._stage(number).engine():
                self.life.resumed += len(await self._found(unfinished=True))
                with anyio.move_on_after(self._limit):
                    while await self._found(unfinished=True):
                        await self._help()
                        await anyio.sleep(_LOOK)
                for one in await self._found(unfinished=True):
                    self._wrong(f"a fresh engine does not end run {one.id}, which is {one.state}")
        except Exception as error:
            self._wrong(f"a fresh engine fails: {type(error).__name__}: {error}")

    async def _help_on(self) -> None:
        while True:
            await self._help()
            await anyio.sleep(_LOOK)

    async def _help(self) -> None:
        """Answer the questions that have a known answer, and let go on what is paused."""
        store, known = self._store, self._plot.answers
        with suppress(AstroError):  # a run has ended meanwhile, or a question has its answer
            for one in await self._found(unfinished=True):
                if one.state is State.PAUSED:
                    await posting.resume(store, one.tenant, one.id)
                state = replay(await posting.read_all(store, one.tenant, one.id))
                for asked in posting.open_questions(state):
                    if asked.question in known:
                        said = (store, one.tenant, one.id, known[asked.question])
                        await posting.answer(*said, call=asked.call)

    async def _ask_again(self) -> None:
        """Let the caller do it all once more, undisturbed."""
        async with self._store:
            self.life.begun = len(await self._found())
        # Where nothing was accepted it all begins anew, with the same ids.
        act, stage = self._plot.act, self._stage(201 if self.life.begun else 1)
        task = asyncio.ensure_future(act(stage))
        await self._wait_for(task)
        self.life.told = _ending(task)
        if not task.done():
            self._wrong(f"a caller that comes after does not end; it waits in {_place(task)}")
            await _end(task)
        async with self._store:
            unfinished = await self._found(unfinished=True)
        if unfinished:
            await self._finish(301)

    async def _found(self, *, unfinished: bool = False) -> list[RunSummary]:
        query = RunQuery(unfinished=unfinished, limit=_PAGE)
        pages = [await self._store.runs(name, query) for name in self._plot.tenants]
        return [one for page in pages for one in page.items]

    # --- What is kept ------------------------------------------------------------------------

    async def _take_stock(self) -> None:
        """Check all that is kept."""
        async with self._store:
            for one in await self._found():
                await self._inspect(one.tenant, one.id)
        if self._watched is not None:
            self._wrong(*self._watched.wrong)

    async def _inspect(self, tenant: str, run: str) -> None:
        entries: list[Entry] = []
        while page := await self._store.read(tenant, run, after=len(entries), limit=_PAGE):
            entries += page
        try:
            verify(entries, tenant=tenant, run=run)
        except AstroError as error:
            self._wrong(f"the journal of {run} does not verify: {error.problem}")
            return
        self.life.runs[run] = records = decode_entries(entries)
        if any(isinstance(record, OwnedRecord) and record.lost for record in records):
            self._wrong(f"run {run} was not released")


async def _end(*tasks: asyncio.Task[Any]) -> None:
    for task in tasks:
        task.cancel()
    if tasks:
        await asyncio.wait(tasks, timeout=_SLOW)


def _place(task: asyncio.Task[Any]) -> str:
    return standing([task])[0].partition(": ")[2]


def _ending(task: asyncio.Task[Any]) -> str:
    if not task.done():
        return ""
    if task.cancelled():
        return "cancelled"
    error = task.exception()
    if error is not None:
        return f"raised {type(error).__name__}: {error}"
    return f"returned {task.result()!r}"


class _Stepped(Coroutine[Any, Any, Any]):
    """A coroutine that tells each time that it has begun to wait."""

    def __init__(self, work: Coroutine[Any, Any, Any], told: Callable[[], None]) -> None:
        self._work = work
        self._told = told

    def __getattr__(self, name: str) -> Any:
        return getattr(self._work, name)  # its frames are looked at

    def __await__(self) -> Any:
        return self._work.__await__()

    def send(self, value: Any) -> Any:
        awaited = self._work.send(value)
        self._told()
        return awaited

    def throw(self, *error: Any) -> Any:
        awaited = self._work.throw(*error)
        self._told()
        return awaited

    def close(self) -> None:
        self._work.close()
