"""The handle: one run, from outside, whoever owns it.

Waiting for a run and owning it are two things: cancelling who waits never cancels the run.
"""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncIterator, Generator, Sequence
from typing import TYPE_CHECKING, Any, Generic, TypeVar

import anyio

from astro import drawing
from astro.core.codec import Codec
from astro.core.errors import (
    InvalidArgumentsError,
    RunCancelledError,
    RunFailedError,
    WaitingForAncestorError,
)
from astro.core.policy import Budget
from astro.core.protocols import RunSummary
from astro.core.records import (
    Entry,
    FinishedRecord,
    Record,
    State,
    as_bytes,
    decode_entries,
    decode_entry,
)
from astro.decisions.compare import Difference, diff, explain
from astro.engine import posting
from astro.engine.admission import admit_budget, admit_seq
from astro.engine.attempt import performing
from astro.engine.forking import forked

if TYPE_CHECKING:
    from astro.engine.local import LocalEngine

__all__ = ["RecordStream", "RunHandle", "Watch"]

R_co = TypeVar("R_co", covariant=True)

_PATIENCE = 0.5  # seconds between looks at a run that another engine may own
_PAGE = 1_000
_DRAWN = 2_000  # records of a run that are kept to draw it in a notebook


class Watch:
    """Tells those who wait for a run that something was committed here.

    Attributes:
        ended: Set with the run's last record.
        first: The first entry of a run that was created here.
        records: Those that were committed here, as long as they are not too many to be drawn.
    """

    __slots__ = ("__weakref__", "_changed", "ended", "finished", "first", "records")

    def __init__(self) -> None:
        self.ended = anyio.Event()
        self.finished: FinishedRecord | None = None
        self.first: Entry | None = None
        self.records: list[Record] = []
        self._changed: anyio.Event | None = None

    def seen(self) -> list[Record]:
        """Return the whole journal, if all of it was written here and is small."""
        known = self.first is not None and bool(self.records) and self.records[0].seq == 2
        if self.first is None or not known or len(self.records) >= _DRAWN:
            return []
        last = self.records[-1].seq
        return [decode_entry(self.first), *self.records] if last == len(self.records) + 1 else []

    def changed(self) -> anyio.Event:
        """Return an event that the next commit sets."""
        if self._changed is None:
            self._changed = anyio.Event()
        return self._changed

    def notify(self, records: Sequence[Record]) -> None:
        """Take note of what was committed, and wake who waits."""
        if self.first is not None and len(self.records) < _DRAWN:
            self.records.extend(records)
        last = records[-1]
        finished = last if isinstance(last, FinishedRecord) else None
        if self._changed is not None:
            self._changed.set()
            self._changed = None
        if finished is not None:
            self.finished = finished
            self.ended.set()


class RecordStream:
    """Records of one run, in order; an iterator that may be left at any point.

    A class and no generator: a generator that is left early would have to be closed by hand.
    """

    def __init__(
        self, engine: LocalEngine, run: RunHandle[Any], watch: Watch, *, after: int, follow: bool
    ) -> None:
        self._engine = engine
        self._run = run
        self._watch = watch
        self._after = after
        self._follow = follow
        self._page: deque[Record] = deque()
        self._ended = False

    def __aiter__(self) -> RecordStream:
        return self

    async def __anext__(self) -> Record:
        while not self._page:
            if self._ended:
                raise StopAsyncIteration
            changed = self._watch.changed()
            if not await self._load() and not self._ended:
                with anyio.move_on_after(_PATIENCE):
                    await changed.wait()
                self._engine.require_alive()
        return self._page.popleft()

    async def _load(self) -> bool:
        """Read the next page; return whether it has anything."""
        run = self._run
        entries = await self._engine.store.read(run.tenant, run.id, after=self._after, limit=_PAGE)
        records = decode_entries(entries)
        self._page.extend(records)
        if records:
            self._after = records[-1].seq
        last = bool(records) and isinstance(records[-1], FinishedRecord)
        self._ended = last or (not self._follow and len(records) < _PAGE)
        if not records and not self._ended:
            self._ended = await self._is_behind()
        return bool(records)

    async def _is_behind(self) -> bool:
        """Return whether the run has ended before the place where this reads."""
        if self._watch.finished is not None:
            return self._watch.finished.seq <= self._after
        if self._engine.drives(self._run.id):
            return False
        found = await self._run.status()
        return found.state.terminal and found.records <= self._after


class RunHandle(Generic[R_co]):
    """A handle on one run: awaitable, async-iterable, and the place to talk to it."""

    def __init__(
        self,
        engine: LocalEngine,
        *,
        tenant: str,
        id: str,
        result: Codec[R_co],
        watch: Watch,
        task: str = "",
        fresh: bool = False,
    ) -> None:
        self._engine = engine
        self._fresh = fresh  # created here: what happens next is news before it is history
        self._result = result
        self._watch = watch
        self._loaded: list[Record] = []
        self.tenant = tenant
        self.id = id
        self.task = task

    def __repr__(self) -> str:
        state = self._watch.finished.state if self._watch.finished else "…"
        return f"<Run {self.id} {self.task} {state}>"

    def __await__(self) -> Generator[Any, None, R_co]:
        return self._wait().__await__()

    async def _wait(self) -> R_co:
        if self.id in performing.get():
            raise WaitingForAncestorError(
                f"Run {self.id} waits for this very task.",
                remedy="Start the run without waiting for it.",
            )
        end = await self._finished()
        if end.state is State.CANCELLED:
            raise RunCancelledError(self.id, end.reason)
        if end.failure is not None:
            raise RunFailedError(self.id, end.failure)
        raw = as_bytes(end.result)
        if end.blob is not None:
            raw = await self._engine.store.fetch(self.tenant, end.blob)
        return self._result.decode(raw or b"null")

    async def _finished(self) -> FinishedRecord:
        """Return the last record of the run, once it exists."""
        while self._watch.finished is None:
            owned_here = self._fresh or self._engine.drives(self.id)
            if not owned_here and (end := await self._look()) is not None:
                return end
            self._fresh = False
            with anyio.move_on_after(_PATIENCE):
                await self._watch.ended.wait()
            self._engine.require_alive()
        return self._watch.finished

    async def _look(self) -> FinishedRecord | None:
        """Ask the store whether the run has ended."""
        found = await self.status()
        if not found.state.terminal:
            return None
        last = await self._engine.store.read(self.tenant, self.id, after=found.records - 1, limit=1)
        record = decode_entries(last)[0]
        assert isinstance(record, FinishedRecord)  # the last record of every ended run
        self._watch.finished = record
        return record

    def __aiter__(self) -> AsyncIterator[Record]:
        return self.records()

    def records(self, *, after: int = 0, follow: bool = True) -> RecordStream:
        """Iterate over the records after a sequence number.

        Args:
            follow: Whether to wait for further ones until the run has ended.

        Raises:
            InvalidArgumentsError: `after` is no sequence number.
        """
        admit_seq(after, use="to begin after")
        return RecordStream(self._engine, self, self._watch, after=after, follow=follow)

    async def status(self) -> RunSummary:
        """Return what the store knows of the run."""
        return await posting.summary(self._engine.store, self.tenant, self.id)

    async def cancel(self, reason: str = "") -> RunSummary:
        """End the run, undo what has to be undone, and return the final state."""
        await posting.cancel(self._engine.store, self.tenant, self.id, reason)
        await self._finished()
        return await self.status()

    async def pause(self) -> None:
        """Stop dispatching; attempts in flight finish."""
        await posting.pause(self._engine.store, self.tenant, self.id)

    async def resume(self) -> None:
        """Go on, also after whatever a parked run waited for."""
        await posting.resume(self._engine.store, self.tenant, self.id)

    async def answer(self, value: object, *, call: str | None = None, by: str = "") -> None:
        """Answer a question of the run; see `posting.answer`."""
        await posting.answer(self._engine.store, self.tenant, self.id, value, call=call, by=by)

    async def fork(self, *, at: int | None = None, budget: Budget | None = None) -> RunHandle[R_co]:
        """Start a run that remembers what this one had committed.

        Calls that were in flight at that point happen again, with new keys.

        Args:
            at: Sequence number of the last record that counts; None means all.
            budget: Of the new run, instead of this one's; what it remembers counts against it.

        Raises:
            InvalidArgumentsError: The run has no such record, or the budget is none.
        """
        if at is not None:
            admit_seq(at, use="to fork at")
        admit_budget(budget)
        records = await self._records()
        run = forked(
            records,
            source=self.id,
            at=len(records) if at is None else at,
            id=self._engine.new_id(),
            now=self._engine.now(),
            budget=budget,
        )
        await self._engine.store.create(self.tenant, run)
        return RunHandle(
            self._engine,
            tenant=self.tenant,
            id=run.id,
            result=self._result,
            watch=self._engine.watch(run.id),
            task=run.task,
        )

    async def diff(self, other: RunHandle[Any], /) -> list[Difference]:
        """Return the calls in which two runs differ.

        Raises:
            InvalidArgumentsError: The other one is no handle of a run.
        """
        if not isinstance(other, RunHandle):
            raise InvalidArgumentsError(
                f"{other!r:.60} is no handle of a run.",
                remedy="Pass what engine.start(...) gave, or engine.get(id).",
            )
        return diff(await self._records(), await other._records())

    async def explain(self, call: str) -> str:
        """Return what happened to a call, and why."""
        return explain(await self._records(), call)

    async def to_svg(self) -> str:
        """Draw the run as it is now."""
        return drawing.to_svg(drawing.graph_of_run(await self._records()))

    async def to_mermaid(self) -> str:
        """Write the run as a Mermaid flowchart."""
        return drawing.to_mermaid(drawing.graph_of_run(await self._records()))

    async def _records(self) -> list[Record]:
        self._loaded = await posting.read_all(self._engine.store, self.tenant, self.id)
        return self._loaded

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> dict[str, str]:
        """Show the run in a notebook: text, and a picture of what is known of it here."""
        bundle = {"text/plain": repr(self)}
        records = self._watch.seen() or self._loaded
        if records:
            bundle["image/svg+xml"] = drawing.to_svg(drawing.graph_of_run(records))
        return bundle
