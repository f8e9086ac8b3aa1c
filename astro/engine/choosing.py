"""Choosing: who performs a call, and which limits that counts against."""

from __future__ import annotations

from typing import TYPE_CHECKING

from astro.core.protocols import Choice

if TYPE_CHECKING:
    from astro.engine.owned import OwnedRun
    from astro.engine.request import Request

__all__ = ["choose", "limits_of"]

_BODY = Choice(name="", reason="")


async def choose(run: OwnedRun, request: Request, failed: dict[str, int]) -> Choice:
    """Return who performs a call; without anybody the run parks until there is somebody.

    Args:
        failed: Attempts at this call that each candidate has failed.
    """
    in_place = request.undoes or request.task.skip == 0  # undos and steps are not routed
    performers = () if in_place else run.parts.performers.get(request.task.name, ())
    if not performers:
        while request.task.needs_agent and not in_place:
            await run.park({"agent": request.task.name})  # another engine may have one
        return _BODY
    if len(performers) == 1 and request.task.needs_agent:
        return Choice(name=performers[0].agent.name, reason="the only agent")
    candidates = run.parts.candidates(request.task, failed)
    return run.parts.router.choose(request.task.name, candidates)


def limits_of(run: OwnedRun, request: Request, performer: str) -> tuple[str, ...]:
    """Return the limits that an attempt counts against."""
    return run.parts.slots.needs(f"task:{request.task.name}", f"agent:{performer}")
