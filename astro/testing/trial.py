"""Trials: a workflow on one empty store, by engines of which all but the last die on their way."""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from itertools import count
from pathlib import Path
from typing import Any

import attrs
import msgspec

from astro.core.protocols import Sandbox
from astro.core.records import Record
from astro.core.task import Task
from astro.stores.sqlite import SqliteStore
from astro.testing.clock import VirtualClock
from astro.testing.dying_store import DyingStore
from astro.testing.lives import journals_of, live
from astro.testing.outcomes import Outcome, outcome_of
from astro.testing.quiet import quiet
from astro.testing.victim import Errand, Return, require_address, send_out

__all__ = ["Done", "Point", "Trial"]


@attrs.frozen
class Point:
    """Where an engine dies.

    Attributes:
        commit: The number of the commit, from 1.
        applied: Whether that commit is still applied.
    """

    commit: int
    applied: bool

    def __str__(self) -> str:
        return f"killed {'after' if self.applied else 'before'} commit {self.commit}"


@attrs.frozen(kw_only=True)
class Done:
    """What a trial gave.

    Attributes:
        records: The journals of all runs, by id.
        commits: Those of the last engine.
        crashes: How many engines did die: whoever has nothing more to commit lives on.
    """

    outcome: Outcome
    records: Mapping[str, Sequence[Record]]
    commits: int
    crashes: int


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
        sandbox: Sandbox | None = None,
    ) -> None:
        self._task = task
        self._args = args
        self._kwargs = kwargs
        self._parts = [task, *(part for part in parts if part is not task)]
        self._answers = answers
        self._stores = stores
        self._sandbox = sandbox
        self._hashing = count(1)  # no two processes hash alike, and each does so every time

    async def run(self, *crashes: Point) -> Done:
        """Run the task in this process, by engines that die at some points and one that lives."""
        clock = VirtualClock()
        store = self._stores(clock)
        dying = [DyingStore(store, at=one.commit, applied=one.applied) for one in crashes]
        return await self._lived([*dying, DyingStore(store)], store, clock)

    async def run_killed(self, *crashes: Point) -> Done:
        """Run the task in processes that kill themselves, and one that lives."""
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "runs.db"
            plan: list[Point | None] = [*crashes, None]
            told = [await self._send(crash, path, number) for number, crash in enumerate(plan)]
            journals = await journals_of(SqliteStore(path, synchronous="NORMAL"))
        last = told[-1]
        assert last is not None  # who is not told when to die comes back
        return Done(
            outcome=outcome_of(journals, last.run),
            records=journals,
            commits=last.commits,
            crashes=told.count(None),
        )

    async def _lived(self, lives: Sequence[DyingStore], store: Any, clock: VirtualClock) -> Done:
        root = ""
        with quiet("astro"):
            for number, one in enumerate(lives):
                root = await live(
                    self._parts,
                    self._task,
                    self._args,
                    self._kwargs,
                    store=one,
                    clock=clock,
                    answers=self._answers,
                    number=number,
                    sandbox=self._sandbox,
                )
        journals = await journals_of(store)
        outcome = outcome_of(journals, root)
        crashes = sum(one.died.is_set() for one in lives)
        return Done(outcome=outcome, records=journals, commits=lives[-1].commits, crashes=crashes)

    async def _send(self, crash: Point | None, path: Path, number: int) -> Return | None:
        errand = Errand(
            parts=tuple(map(require_address, self._parts)),
            args=msgspec.Raw(self._task.signature.bind(self._args, dict(self._kwargs)).raw),
            answers=dict(self._answers),
            store=str(path),
            number=number,
            at=None if crash is None else crash.commit,
            applied=crash is not None and crash.applied,
            path=tuple(sys.path),
        )
        return await send_out(errand, hashing=next(self._hashing))
