"""Budgets: what is left, and whether it is enough for one more attempt."""

from __future__ import annotations

from astro.core.errors import BudgetExceededError
from astro.core.policy import Budget
from astro.decisions.replay import RunState

__all__ = ["require"]


def require(budget: Budget, state: RunState) -> None:
    """Return if the run may dispatch one more attempt.

    Raises:
        BudgetExceededError: Something is used up; says what, and how much of it.
    """
    for what, used, cap in (
        ("calls", state.used_calls, budget.calls),
        ("tokens", state.used_tokens, budget.tokens),
        ("money", state.used_money, budget.money),
    ):
        if cap is not None and used >= cap:
            raise BudgetExceededError(
                f"The run's budget of {cap:g} {what} is used up ({used:g}).",
                remedy="Fork the run with a larger budget, or ask for less.",
            )
