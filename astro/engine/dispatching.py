"""Dispatching: the beginning of an attempt is recorded, once the budgets allow it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from astro.core.errors import BudgetExceededError
from astro.core.policy import Effect
from astro.core.protocols import Choice
from astro.core.records import StartedRecord, as_json
from astro.engine.request import Request

if TYPE_CHECKING:
    from astro.engine.owned import OwnedRun

__all__ = ["dispatch", "record_start"]

_UNGUARDED = frozenset({Effect.READ, Effect.WRITE})


async def dispatch(
    run: OwnedRun, request: Request, number: int, choice: Choice, *, resumed: bool
) -> None:
    """Record the beginning of an attempt, once the budgets allow it.

    Raises:
        BudgetExceededError: One of them does not; the attempt is recorded nevertheless, so that
            the call has a beginning to fail from.
    """
    reservation, budget, refused = "", None, None
    try:
        if not request.exempt:
            if run.parts.budgets:
                reservation = await run.purse.reserve(request, number, resumed=resumed)
            budget = run.purse.require(request, resumed=resumed)
    except BudgetExceededError as error:
        refused = error
    if number > 1 and not resumed:
        run.divergence.asked_again(request.id)
    if not resumed:
        undoable = refused is None
        record_start(run, request, number, choice.name, choice.reason, undoable=undoable)
    if budget is not None:
        run.purse.put_aside(request, number, budget)
    run.purse.recorded(reservation)
    if refused is not None:
        raise refused
    if budget is not None or (not resumed and request.task.effect not in _UNGUARDED):
        await run.journal.flush()


def record_start(
    run: OwnedRun,
    request: Request,
    number: int,
    agent: str = "",
    reason: str = "",
    *,
    undoable: bool = True,
) -> None:
    task = request.task
    run.journal.append(
        StartedRecord,
        call=request.id,
        task=task.name,
        attempt=number,
        parent=request.parent,
        args=as_json(request.bound.raw if number == 1 else None),
        agent=agent,
        reason=reason if agent else "",
        place=request.place,
        effect=task.effect.value,
        fresh=request.retry.fresh,
        undo=task.undo is not None and undoable,
    )
