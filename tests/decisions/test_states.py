"""The state table: how calls and runs may move."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from astro import State
from astro.decisions.states import TRANSITIONS, allowed, derived

LIVE = [state for state in State if not state.terminal]
ENDED = [state for state in State if state.terminal]
COUNTS = st.integers(0, 3)


def test_the_table_speaks_of_every_state() -> None:
    assert TRANSITIONS.keys() == set(State)


@pytest.mark.parametrize("after", State)
@pytest.mark.parametrize("before", ENDED)
def test_a_terminal_state_never_changes(before: State, after: State) -> None:
    assert not allowed(before, after)


@pytest.mark.parametrize("after", LIVE)
@pytest.mark.parametrize("before", [state for state in LIVE if state is not State.UNDOING])
def test_live_states_may_follow_each_other(before: State, after: State) -> None:
    assert allowed(before, after)


@pytest.mark.parametrize("before", LIVE)
def test_whatever_lives_may_fail_or_be_cancelled(before: State) -> None:
    assert allowed(before, State.FAILED)
    assert allowed(before, State.CANCELLED)


@pytest.mark.parametrize("before", [State.UNDOING])
def test_what_is_being_undone_does_not_succeed(before: State) -> None:
    assert not allowed(before, State.DONE)


@pytest.mark.parametrize("after", [State.READY, State.RUNNING, State.PAUSED])
def test_what_is_being_undone_does_not_go_on(after: State) -> None:
    assert not allowed(State.UNDOING, after)


@given(COUNTS, COUNTS, COUNTS, st.booleans())
def test_the_most_active_attempt_gives_a_run_its_state(
    running: int, asked: int, sleeping: int, paused: bool
) -> None:
    order = [
        (State.RUNNING, running > 0),
        (State.ASKED, asked > 0),
        (State.SLEEPING, sleeping > 0),
        (State.PAUSED, paused),
        (State.RUNNING, True),
    ]
    first = next(state for state, holds in order if holds)
    assert derived(running=running, asked=asked, sleeping=sleeping, paused=paused) is first
