"""Posting: what outsiders may ask of a run, over nothing but a store.

Handles, the command line and servers all post through here, whoever owns the run.
"""

from __future__ import annotations

from typing import Any

import msgspec

from astro.core.codec import clean_text, to_json
from astro.core.errors import (
    AlreadyAnsweredError,
    InvalidArgumentsError,
    RunFinishedError,
    RunNotFoundError,
)
from astro.core.messages import (
    AnswerMessage,
    ApproveMessage,
    CancelMessage,
    PauseMessage,
    ResumeMessage,
)
from astro.core.protocols import RunQuery, RunSummary, Store
from astro.core.records import (
    GENESIS,
    AskedRecord,
    DivergedRecord,
    Raw,
    Record,
    State,
    decode_entries,
    verify,
)
from astro.core.schema import misfit
from astro.decisions.replay import RunState, replay
from astro.engine.journal import require_length

__all__ = ["answer", "cancel", "open_questions", "pause", "read_all", "resume", "summary"]

_PAGE = 5_000


async def summary(store: Store, tenant: str, run: str) -> RunSummary:
    """Return what a store knows of a run.

    Raises:
        RunNotFoundError: The tenant has no such run.
    """
    page = await store.runs(tenant, RunQuery(ids=frozenset({run}), limit=1))
    if not page.items:
        raise RunNotFoundError(run)
    return page.items[0]


async def read_all(store: Store, tenant: str, run: str) -> list[Record]:
    """Return all records of a run, after checking that they are what was committed.

    Raises:
        RunNotFoundError: The tenant has no such run.
        JournalCorruptError: The journal is damaged.
    """
    found = await summary(store, tenant, run)
    records: list[Record] = []
    head = GENESIS
    while True:
        before = len(records)
        page = await store.read(tenant, run, after=before, limit=_PAGE)
        records.extend(decode_entries(page))
        verify(page, tenant=tenant, run=run, after=before, head=head)
        if len(page) < _PAGE:
            break
        head = page[-1].hash
    # It may have moved on since, and be longer; it is never shorter.
    require_length(run, len(records), found.records)
    return records


def open_questions(state: RunState) -> list[AskedRecord]:
    """Return the questions that wait for an answer."""
    return [
        call.asked
        for call in state.calls.values()
        if call.state is State.ASKED and call.asked is not None and not call.abandoned
    ]


async def answer(
    store: Store, tenant: str, run: str, value: object, *, call: str | None = None, by: str = ""
) -> None:
    """Answer a question of a run.

    Args:
        call: Identity of the question; may be left out when there is just one.

    Raises:
        InvalidArgumentsError: The answer does not fit the question, or it is not clear which
            question is meant.
        AlreadyAnsweredError: It has its answer, or its deadline has passed.
    """
    clean_text(by, what="name of a person")
    state = replay(await read_all(store, tenant, run))
    if state.finished is not None:
        raise RunFinishedError(run, state.finished.state.value)
    asked = _which(state, call)
    raw = to_json(value)
    wrong = misfit(msgspec.json.decode(raw), msgspec.json.decode(asked.schema))
    if wrong:
        raise InvalidArgumentsError(
            f"The answer to {asked.question!r} does not fit: {wrong}.",
            remedy="Answer with a value of the type that was asked for.",
        )
    message = AnswerMessage(
        call=asked.call,
        answer=Raw(raw),
        by=by,
        asked=asked.seq,
        once=f"{asked.call}@{asked.seq}",
        not_after=asked.deadline,
    )
    await store.post(tenant, run, message)


def _which(state: RunState, call: str | None) -> AskedRecord:
    waiting = {asked.call: asked for asked in open_questions(state)}
    call = call if call is None or isinstance(call, str) else ""  # which names none
    if call is not None and call in state.calls and call not in waiting:
        raise AlreadyAnsweredError(
            f"{call} is not an open question.",
            remedy="It may have its answer already; see the run's records, or its status.",
        )
    if call is None and len(waiting) == 1:
        return next(iter(waiting.values()))
    if call is not None and call in waiting:
        return waiting[call]
    over = any(one.asked and not one.abandoned for one in state.calls.values())
    if call is None and over and not waiting:
        raise AlreadyAnsweredError(
            "No question of the run is open any more.",
            remedy="They may have their answers already; see the run's records, or its status.",
        )
    listed = "; ".join(f"{asked.call}: {asked.question!r}" for asked in waiting.values())
    raise InvalidArgumentsError(
        f"It is not clear which question is meant: {listed or 'none is open'}.",
        remedy="Name the call of an open question.",
    )


async def cancel(store: Store, tenant: str, run: str, reason: str = "") -> None:
    """Ask for the end of a run; asking again, or after its end, changes nothing."""
    clean_text(reason, what="reason")
    try:
        await store.post(tenant, run, CancelMessage(reason=reason))
    except RunFinishedError:
        return


async def pause(store: Store, tenant: str, run: str, by: str = "") -> None:
    """Stop dispatching; attempts in flight finish."""
    clean_text(by, what="name of a person")
    await store.post(tenant, run, PauseMessage(by=by))


async def resume(store: Store, tenant: str, run: str, by: str = "") -> None:
    """Go on after a pause, or after whatever a parked run waited for; accepts divergence."""
    clean_text(by, what="name of a person")
    found = await summary(store, tenant, run)
    message: Any = ResumeMessage(by=by)
    if found.state is State.PARKED:
        records = await read_all(store, tenant, run)
        diverged = [one for one in records if isinstance(one, DivergedRecord)]
        if diverged:
            message = ApproveMessage(accepted=diverged[-1].missing, by=by)
    await store.post(tenant, run, message)
