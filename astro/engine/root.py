"""The root call of a run, performed within the run's deadline."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Any

import anyio
import anyio.lowlevel

from astro.core.errors import CodecError, TaskTimeoutError
from astro.core.records import as_bytes
from astro.core.signature import Bound
from astro.core.task import Task
from astro.engine import execution
from astro.engine.attempt import performing
from astro.engine.failures import failure_of
from astro.engine.request import CallPolicy, Request
from astro.engine.timers import seconds_until

if TYPE_CHECKING:
    from astro.engine.owned import OwnedRun

__all__ = ["perform_root"]

_POISON = 5  # leases in a row that were not released


async def perform_root(run: OwnedRun) -> None:
    """Perform the root call, unless the run is on its way to its end already."""
    if run.lease.failures >= _POISON and not run.state.needs:
        await run.park({"attention": f"it ended {run.lease.failures} engines in a row"})
    if run.state.cancel is not None:
        return
    cut = run.state.undoing.get(run.root)
    if cut is not None:
        run.failure = cut.failure  # it had failed, and was being undone when it was cut off
        return
    task = run.parts.tasks[run.root]
    bound = await _arguments(run, task)
    request = Request(task, bound, run.root, "", "", CallPolicy())
    performing.set(run.lineage())
    end = _end_of(run)
    if end is None:
        await _perform(run, request)
        return
    run.rest.ends[run.root] = end
    left = seconds_until(end, run.parts.clock.now(), since=run.created.at)
    with anyio.move_on_after(left) as scope:
        # A body that awaits nothing would not notice that it is too late to begin.
        await anyio.lowlevel.checkpoint_if_cancelled()
        await _perform(run, request)
    if scope.cancelled_caught:
        late = TaskTimeoutError(
            "The run's deadline has passed.",
            remedy="Give it a later deadline, or a budget of more time.",
        )
        run.failure = failure_of(late, attempts=1, retryable=False)
        run.closing = True


async def _arguments(run: OwnedRun, task: Task[..., Any]) -> Bound:
    """Return the arguments; park the run as long as they do not fit its task."""
    while True:
        try:
            return task.signature.load(as_bytes(run.created.args) or b"{}")
        except CodecError:
            await run.park({"arguments": run.root})


async def _perform(run: OwnedRun, request: Request) -> None:
    try:
        await execution.perform(run, request, None)
    except Exception as error:
        run.failure = run.failure or failure_of(error, attempts=1, retryable=False)


def _end_of(run: OwnedRun) -> datetime | None:
    """Return when the run has to have ended, by its deadline or its budget of time."""
    moments = [run.deadline]
    if run.budget.time is not None:
        moments.append(run.created.at + run.budget.time)
    return min((moment for moment in moments if moment is not None), default=None)
