"""Undoing: the effects of a failed call's subtree, taken back in reverse order, durably.

Each undo is a call of its own, with its own attempts, outside the run's deadline, budget and
cancellation. One that cannot be done is recorded; the others go on.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from astro.core.errors import UnknownTaskError
from astro.core.policy import Retry
from astro.core.records import Failure, State, UndoingRecord
from astro.core.signature import Bound
from astro.core.task import Task
from astro.decisions.replay import CallState, RunState
from astro.engine.execution import perform
from astro.engine.request import CallPolicy, Request

if TYPE_CHECKING:
    from astro.engine.owned import OwnedRun

__all__ = ["undo"]

_RETRY = Retry(attempts=3)


async def undo(run: OwnedRun, call: str, into: State, failure: Failure | None) -> None:
    """Undo what the calls below a call have done, the newest first; then ask about what is left."""
    pending = _pending(run.state, call)
    if not pending:
        return
    if call not in run.state.undoing:
        run.journal.append(
            UndoingRecord, call=call, calls=tuple(pending), into=into, failure=failure
        )
        await run.journal.flush()
    left: list[str] = []
    for identity in pending:
        known = run.state.calls.get(f"{identity}/undo")
        if known is not None and known.state is State.FAILED:
            left.append(identity)
            continue
        try:
            await _undo_one(run, call, run.state.calls[identity])
        except Exception:
            left.append(identity)
    if left:
        await run.park({"attention": f"could not undo {', '.join(left)}"})


def _pending(state: RunState, call: str) -> list[str]:
    """Return the calls below a call that are to be undone, in the order of undoing."""
    return [one for one in reversed(state.undoable) if _below(state, one, call)]


def _below(state: RunState, identity: str, call: str) -> bool:
    parent = state.calls[identity].parent
    while parent:
        if parent == call:
            return True
        memory = state.calls.get(parent.removesuffix("/undo"))
        parent = memory.parent if memory is not None else ""
    return False


async def _undo_one(run: OwnedRun, call: str, memory: CallState) -> None:
    """Undo one call, once this deployment has its task."""
    while memory.task not in run.parts.tasks:
        await run.park({"task": memory.task})
    request = Request(
        task=await _undo_task(run, memory),
        bound=Bound(memory.args or b"{}", (), {}),
        id=f"{memory.id}/undo",
        parent=call,
        place="undo",
        policy=CallPolicy(retry=_RETRY),
        undoes=True,
        exempt=True,
    )
    await perform(run, request, None)


async def _undo_task(run: OwnedRun, memory: CallState) -> Task[..., Any]:
    """Return the undo of a call as a task whose body has everything it needs."""
    task = run.parts.tasks[memory.task]
    if task.undo is None:
        raise UnknownTaskError(f"the undo of {task.name}", [])
    fn = task.undo
    bound = task.signature.load(memory.args or b"{}")
    known = run.state.undoable.get(memory.id)
    result = None
    if known is not None:
        raw, blob = known
        if raw is None and blob is not None:
            raw = await run.reach(run.parts.store.fetch(run.tenant, blob))
        result = task.signature.returns.decode(raw or b"null")

    # What the call left out had the task's defaults, whatever those of the undo are.
    given = {**task.signature.defaults, **bound.kwargs}
    for name in task.signature.names[: len(bound.args)]:
        given.pop(name, None)

    async def body(ctx: Any) -> None:
        await fn(ctx, result, *bound.args, **given)

    return Task(fn=body, name=task.name)
