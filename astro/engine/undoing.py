"""Undoing: the effects of a failed call's subtree, taken back in reverse order, durably.

Each undo is a call of its own, with its own attempts, outside the run's deadline, budget and
cancellation. One that cannot be done is recorded; the others go on.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from astro.core.errors import UnknownTaskError
from astro.core.policy import Retry
from astro.core.records import State, UndoingRecord
from astro.core.signature import Bound
from astro.core.task import Task
from astro.decisions.replay import CallState, RunState
from astro.engine.execution import perform
from astro.engine.request import CallPolicy, Request

if TYPE_CHECKING:
    from astro.engine.owned import OwnedRun

__all__ = ["undo"]

_RETRY = Retry(attempts=3)


async def undo(run: OwnedRun, call: str, into: State) -> None:
    """Undo the committed calls below a call, the newest first; then ask about what is left."""
    pending = _pending(run.state, call)
    if not pending:
        return
    if call not in run.state.undoing:
        run.journal.append(UndoingRecord, call=call, calls=tuple(pending), into=into)
        await run.journal.flush()
    left: list[str] = []
    for identity in pending:
        memory = run.state.calls[identity]
        policy = CallPolicy(retry=_RETRY)
        task = await _undo_task(run, memory)
        bound = Bound(memory.args or b"{}", (), {})
        request = Request(task, bound, f"{identity}/undo", call, "undo", policy, undoes=True)
        known = run.state.calls.get(request.id)
        if known is not None and known.state is State.FAILED:
            left.append(identity)
            continue
        try:
            await perform(run, request, None)
        except Exception:
            left.append(identity)
    if left:
        await run.park({"attention": f"could not undo {', '.join(left)}"})


def _pending(state: RunState, call: str) -> list[str]:
    """Return the calls below a call that are to be undone, in the order of undoing."""
    found: list[str] = []
    for identity in reversed(state.undoable):
        memory = state.calls[identity]
        undone = state.calls.get(f"{identity}/undo")
        finished = undone is not None and undone.state is State.DONE
        effective = memory.state in (State.DONE, State.RUNNING)
        if effective and not finished and _below(state, identity, call):
            found.append(identity)
    return found


def _below(state: RunState, identity: str, call: str) -> bool:
    parent = state.calls[identity].parent
    while parent:
        if parent == call:
            return True
        memory = state.calls.get(parent)
        parent = memory.parent if memory is not None else ""
    return False


async def _undo_task(run: OwnedRun, memory: CallState) -> Task[..., Any]:
    """Return the undo of a call as a task whose body has everything it needs."""
    try:
        task = run.parts.tasks[memory.task]
    except KeyError:
        raise UnknownTaskError(memory.task, run.parts.tasks) from None
    assert task.undo is not None  # only such calls are undoable
    fn = task.undo
    bound = task.signature.load(memory.args or b"{}")
    result = None
    if memory.state is State.DONE:
        result = await run.recalled(task, memory)

    async def body(ctx: Any) -> None:
        await fn(ctx, result, *bound.args, **bound.kwargs)

    return Task(fn=body, name=task.name)
