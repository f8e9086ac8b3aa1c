"""The worker: the process in which the engine lives, and which may die at any moment.

Nothing here knows whether it is the first worker or the one after a crash. An engine goes on with
what it finds unfinished in its store; the worker only asks which run that is.
"""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import suppress
from datetime import timedelta
from hashlib import blake2b
from pathlib import Path
from typing import Final

import anyio
import attrs

from astro import (
    AlreadyAnsweredError,
    CodecError,
    LocalEngine,
    Record,
    Run,
    RunFinishedError,
    RunSummary,
    SqliteStore,
    State,
)
from examples.audit.agents import team
from examples.audit.events import Asked, Event, Finished, Narrator, recovery, to_line
from examples.audit.values import Audit
from examples.audit.wording import tally
from examples.audit.workflow import Order, audit

__all__ = ["Job", "work"]

_LEASE: Final = timedelta(seconds=2)
_GRACE: Final = timedelta(seconds=2)
_STUCK: Final = frozenset({State.PARKED, State.PAUSED})


@attrs.frozen(kw_only=True)
class Job:
    """What a worker is told.

    Attributes:
        store: The database.
        folder: Where the reports go.
        analysts: How many processes read files.
        listens: Whether somebody may answer on standard input.
    """

    order: Order
    store: Path
    folder: Path
    analysts: int
    listens: bool = False


async def work(job: Job) -> None:
    """Carry an audit through, and tell on standard output how it goes."""

    async def recall(root: str) -> Audit | None:
        async for found in _audits(engine, root):
            if found.state is State.DONE:
                with suppress(CodecError):  # an earlier version of this program knew other facts
                    result: Audit = await (await engine.get(found.id))
                    return result
        return None

    parts = team(analysts=job.analysts, folder=job.folder, recall=recall)
    for folder in (job.folder, job.store.parent):
        await anyio.Path(folder).mkdir(parents=True, exist_ok=True)
    engine = LocalEngine(
        audit, *parts, store=SqliteStore(job.store), lease_for=_LEASE, grace=_GRACE
    )
    async with engine:
        run = await engine.get(await _run_of(engine, job.order))
        narrator = Narrator(run=run.id, owner=engine.name)
        async with anyio.create_task_group() as listening:
            async for record in run:
                for event in narrator.tell(record):
                    _say(event)
                    if isinstance(event, Asked) and job.listens:
                        listening.start_soon(_listen, run)
            listening.cancel_scope.cancel()
        picture = anyio.Path(job.folder) / "run.svg"
        await picture.write_text(await run.to_svg(), encoding="utf-8")
        records = [record async for record in run]
        _say(_finished(await run, records, folder=job.folder))


def _finished(result: Audit, records: Sequence[Record], *, folder: Path) -> Finished:
    found = recovery(records)
    return Finished(
        reports=tuple(str(folder / name) for name in (*result.reports, "run.svg")),
        changed=tally(result.comparison) if result.comparison else "",
        calls=found.calls,
        recovered=found.recovered,
        repeated=found.repeated,
    )


async def _run_of(engine: LocalEngine, order: Order) -> str:
    """Return the audit of the root that was interrupted, or a new one."""
    number = 1
    async for found in _audits(engine, order.root):
        if not found.state.terminal and found.state not in _STUCK:
            return found.id
        number += 1
    # Two workers that come here at the same moment get the same run.
    run = await engine.options(key=f"{_prefix(order.root)}{number}").start(audit, order)
    return run.id


async def _audits(engine: LocalEngine, root: str) -> AsyncIterator[RunSummary]:
    """Yield all audits of a root, the newest first."""
    after = None
    while True:
        page = await engine.runs(task=audit.name, after=after)
        for found in page.items:
            if found.key and found.key.startswith(_prefix(root)):
                yield found
        after = page.next
        if after is None:
            return


def _prefix(root: str) -> str:
    return f"audit/{blake2b(root.encode(), digest_size=6).hexdigest()}/"


async def _listen(run: Run[Audit]) -> None:
    """Take a person's answer, if one comes in time."""
    await anyio.wait_readable(sys.stdin)
    line = sys.stdin.readline()
    if not line:
        return  # nobody is there
    try:
        await run.answer(not line.strip().lower().startswith("n"), by="you")
    except (AlreadyAnsweredError, RunFinishedError):
        return  # a moment too late: the default counts


def _say(event: Event) -> None:
    sys.stdout.buffer.write(to_line(event))
    sys.stdout.buffer.flush()
