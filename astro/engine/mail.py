"""Mail: what becomes of the messages in a run's inbox.

A message is taken once: the record that says what became of it and its removal from the inbox
are one commit.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from astro.core.messages import (
    AnswerMessage,
    ApproveMessage,
    CancelMessage,
    FinishedMessage,
    PauseMessage,
    Posted,
    ResumeMessage,
)
from astro.core.records import (
    AnsweredRecord,
    CancelRequestedRecord,
    ChildFinishedRecord,
    IgnoredRecord,
    PausedRecord,
    ResumedRecord,
    State,
)

if TYPE_CHECKING:
    from astro.engine.owned import OwnedRun

__all__ = ["cancel_children", "deliver"]


def deliver(run: OwnedRun, posted: Posted) -> None:
    """Record a message and act on it; the caller flushes."""
    if posted.number in run.taken or run.closed or run.state.finished is not None:
        return
    run.taken.add(posted.number)
    run.journal.consume(posted.number)
    match posted.message:
        case AnswerMessage():
            _answer(run, posted, posted.message)
        case CancelMessage(reason=reason):
            if run.state.cancel is None:
                run.journal.append(CancelRequestedRecord, reason=reason or "on request")
            run.end_by_cancel()
        case PauseMessage(by=by):
            run.journal.append(PausedRecord, by=by)
        case ResumeMessage(by=by):
            run.journal.append(ResumedRecord, by=by)
            run.reopen()
        case ApproveMessage(accepted=accepted):
            run.divergence.accept(accepted)
            run.journal.append(ResumedRecord, by=posted.message.by)
            run.reopen()
        case FinishedMessage() as end:
            run.journal.append(
                ChildFinishedRecord,
                run=end.run,
                state=end.state,
                result=end.result,
                blob=end.blob,
                failure=end.failure,
            )


def _answer(run: OwnedRun, posted: Posted, message: AnswerMessage) -> None:
    call = run.state.calls.get(message.call)
    asked = call is not None and call.state is State.ASKED and call.asked is not None
    if call is not None and call.asked is not None and message.asked:
        asked = asked and message.asked == call.asked.seq
    in_time = call is not None and (call.moment is None or posted.at <= call.moment)
    if asked and in_time:
        run.journal.append(AnsweredRecord, call=message.call, answer=message.answer, by=message.by)
    else:
        run.journal.append(IgnoredRecord, message=f"answer to {message.call}")


def cancel_children(run: OwnedRun) -> None:
    """Send the end of a run down to the runs it has started, unless they are detached."""
    for call in run.state.calls.values():
        if call.run and not call.detached and call.run not in run.state.finished_runs:
            run.journal.send(call.run, CancelMessage(reason=f"run {run.id} ended"))
