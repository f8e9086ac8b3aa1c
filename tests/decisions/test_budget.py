"""Budgets: what is left, and whether it is enough for one more attempt."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from astro import Budget, BudgetExceededError
from astro.decisions.budget import require_room, require_within
from astro.decisions.spending import Scope

USED = st.builds(
    Scope,
    used_calls=st.integers(0, 99),
    used_tokens=st.integers(0, 99),
    used_money=st.floats(0, 99),
)


@given(USED)
def test_a_budget_that_says_nothing_is_never_used_up(scope: Scope) -> None:
    require_room([scope], Budget())


@given(USED, st.integers(100, 200))
def test_a_larger_budget_is_not_used_up(scope: Scope, cap: int) -> None:
    require_room([scope], Budget(calls=cap, tokens=cap, money=float(cap)))


@pytest.mark.parametrize("what", ["calls", "tokens", "money"])
@given(USED, st.integers(0, 99))
def test_what_is_used_up_is_named(what: str, scope: Scope, more: int) -> None:
    used: Any = getattr(scope, f"used_{what}")
    cap = used - min(used, more)
    with pytest.raises(BudgetExceededError, match=what):
        require_room([scope], Budget(**{what: cap}))


@given(USED)
def test_exactly_what_was_allowed_is_within_the_budget(scope: Scope) -> None:
    require_within([scope], Budget(tokens=scope.used_tokens, money=scope.used_money))


@pytest.mark.parametrize("what", ["tokens", "money"])
@given(USED, st.integers(1, 99))
def test_more_than_was_allowed_is_not(what: str, scope: Scope, less: int) -> None:
    used: Any = getattr(scope, f"used_{what}")
    with pytest.raises(BudgetExceededError, match=what):
        require_within(
            [Scope(used_money=used + less, used_tokens=used + less)], Budget(**{what: used})
        )


def test_the_innermost_scope_that_is_used_up_is_named() -> None:
    inner = Scope(call="think:1", budget=Budget(money=1.0), used_money=1.0)
    with pytest.raises(BudgetExceededError, match="call think:1's budget of 1 money is used up"):
        require_room([inner, Scope()], Budget(money=9.0))


def test_what_is_wanted_must_be_left() -> None:
    require_room([Scope(used_money=1.0)], Budget(money=3.0), Budget(money=2.0))
    with pytest.raises(BudgetExceededError, match=r"has no 2\.5 left"):
        require_room([Scope(used_money=1.0)], Budget(money=3.0), Budget(money=2.5))
