"""The state table: how calls and runs may move, as one value.

States belong to calls; a run's state is derived from what its calls do.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from astro.core.records import State

__all__ = ["TRANSITIONS", "allowed", "derived"]

_END: Final = frozenset({State.DONE, State.FAILED, State.CANCELLED})
_LIVE: Final = frozenset(
    {
        State.READY,
        State.RUNNING,
        State.ASKED,
        State.SLEEPING,
        State.PAUSED,
        State.PARKED,
        State.UNDOING,
    }
)

TRANSITIONS: Final[Mapping[State, frozenset[State]]] = {
    State.READY: _LIVE | _END,
    State.RUNNING: _LIVE | _END,
    State.ASKED: _LIVE | _END,
    State.SLEEPING: _LIVE | _END,
    State.PAUSED: _LIVE | _END,
    State.PARKED: _LIVE | _END,
    # What is being undone never succeeds any more.
    State.UNDOING: frozenset(
        {State.UNDOING, State.ASKED, State.SLEEPING, State.PARKED, State.FAILED, State.CANCELLED}
    ),
    State.DONE: frozenset(),
    State.FAILED: frozenset(),
    State.CANCELLED: frozenset(),
}


def allowed(before: State, after: State) -> bool:
    """Return whether a run in one state may be in the other next."""
    return after in TRANSITIONS[before]


def derived(*, running: int, asked: int, sleeping: int, paused: bool) -> State:
    """Return the state of a run that has not ended.

    Args:
        running: Attempts that are not waiting.
        asked: Attempts that wait for a person.
        sleeping: Attempts that wait for time.
    """
    if running:
        return State.RUNNING
    if asked:
        return State.ASKED
    if sleeping:
        return State.SLEEPING
    return State.PAUSED if paused else State.RUNNING
