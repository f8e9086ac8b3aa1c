"""Forgetting: what a run remembers of calls that are to be asked for again."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING

from astro.core.policy import Effect
from astro.core.records import State

if TYPE_CHECKING:
    from astro.decisions.replay import CallState, RunState

__all__ = ["forget", "generation", "take_back", "unsettle"]


def unsettle(call: CallState) -> None:
    """Let a call be asked for again."""
    call.state = State.READY
    call.base = call.attempt
    call.result = call.blob = call.failure = call.moment = None
    call.asked = call.since = None
    call.abandoned = False


def forget(state: RunState, parent: str, *, fresh: bool, at: datetime) -> None:
    """Let a new attempt of a call ask again for what its earlier attempts cannot give it.

    Committed successes are kept, except those that only read the world; failures, abandoned
    and unfinished calls are asked for again.
    """
    for child in state.children.get(parent, ()):
        call = state.calls[child]
        # A task may be called "sleep" too; only the verb has no attempts.
        slept = call.task == "sleep" and not call.attempt and call.moment is not None
        slept = slept and call.moment is not None and call.moment <= at
        kept = (call.state is State.DONE or slept) and not call.abandoned
        if kept and not fresh and call.effect != Effect.READ:
            continue
        unsettle(call)


def take_back(state: RunState, name: str) -> None:
    """Let a call whose effects were undone be asked for as if it never had been."""
    call = state.calls[name]
    state.undoable.pop(name, None)
    state.has_undone = True
    call.undone += 1
    unsettle(call)
    below = [*state.children.get(name, ())]
    while below:
        child = state.calls[below.pop()]
        unsettle(child)
        below += state.children.get(child.id, ())


def generation(state: RunState, call: str) -> int:
    """Return how often the effects of a call were undone, as its own or a caller's."""
    found = 0
    while call:
        memory = state.calls.get(call.removesuffix("/undo"))
        if memory is None:
            break
        found += memory.undone
        call = memory.parent
    return found
