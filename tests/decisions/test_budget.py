"""Budgets: what is left, and whether it is enough for one more attempt."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from astro import Budget, BudgetExceededError
from astro.decisions.budget import require
from astro.decisions.replay import RunState

USED = st.builds(
    RunState,
    used_calls=st.integers(0, 99),
    used_tokens=st.integers(0, 99),
    used_money=st.floats(0, 99),
)


@given(USED)
def test_a_budget_that_says_nothing_is_never_used_up(state: RunState) -> None:
    require(Budget(), state)


@given(USED, st.integers(100, 200))
def test_a_larger_budget_is_not_used_up(state: RunState, cap: int) -> None:
    require(Budget(calls=cap, tokens=cap, money=float(cap)), state)


@pytest.mark.parametrize("what", ["calls", "tokens", "money"])
@given(USED, st.integers(0, 99))
def test_what_is_used_up_is_named(what: str, state: RunState, more: int) -> None:
    used: Any = getattr(state, f"used_{what}")
    cap = used - min(used, more)
    with pytest.raises(BudgetExceededError, match=what):
        require(Budget(**{what: cap}), state)
