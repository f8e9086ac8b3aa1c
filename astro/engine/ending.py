"""Ending: undo what has to be undone, tell who waits, and commit the terminal record."""

from __future__ import annotations

from typing import TYPE_CHECKING

from astro.core.messages import FinishedMessage
from astro.core.records import FinishedRecord, State, as_json
from astro.engine import mail

if TYPE_CHECKING:
    from astro.engine.owned import OwnedRun

__all__ = ["end"]


async def end(run: OwnedRun) -> None:
    """End a run whose root call is over."""
    state = _end_state(run)
    if state is State.DONE:
        for call in [*run.state.undoing]:  # cut off by whoever had asked for the call
            await run.undo(call)
        run.divergence.judge(run.root)
    else:
        # Cancellation must not reach the undos, nor the terminal commit.
        run.closing = True
        mail.cancel_children(run)
        await run.undo(run.root, into=state, failure=run.failure)
    raw, blob = run.result
    result = as_json(raw)
    failure = run.failure if state is State.FAILED else None
    if run.created.parent is not None:
        message = FinishedMessage(
            run=run.id, state=state, result=result, blob=blob, failure=failure
        )
        run.journal.send(run.created.parent[0], message)
    run.journal.append(
        FinishedRecord,
        state=state,
        result=result,
        blob=blob,
        failure=failure,
        reason=run.state.cancel or "",
    )
    await run.journal.flush()


def _end_state(run: OwnedRun) -> State:
    if run.state.cancel is not None and run.result == (None, None) and not run.failure:
        return State.CANCELLED
    return State.DONE if run.failure is None else State.FAILED
