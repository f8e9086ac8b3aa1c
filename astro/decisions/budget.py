"""Budgets: what is left, and whether it is enough."""

from __future__ import annotations

from collections.abc import Iterable

from astro.core.errors import BudgetExceededError
from astro.core.policy import Budget
from astro.decisions.spending import Scope

__all__ = ["require_room", "require_within"]


def require_room(scopes: Iterable[Scope], run: Budget, want: Budget | None = None) -> None:
    """Return if one more attempt may be dispatched in a scope and in all around it.

    Args:
        scopes: From the innermost outwards.
        run: The budget of the run itself.
        want: What would be put aside for the attempt; without it, anything must be left.

    Raises:
        BudgetExceededError: Something is used up or would be; says what, and how much of it.
    """
    want = want or _NOTHING
    for scope in scopes:
        for what, cap, held, more in (
            ("calls", (scope.budget or run).calls, scope.used_calls, 0),
            ("tokens", (scope.budget or run).tokens, scope.held_tokens, want.tokens or 0),
            ("money", (scope.budget or run).money, scope.held_money, want.money or 0.0),
        ):
            if cap is None or (held < cap and held + more <= cap * _ROUNDING):
                continue
            left = f"has no {more:g} left" if held < cap else "is used up"
            raise _exceeded(scope, f"{cap:g} {what} {left} ({held:g} used or reserved)")


def require_within(scopes: Iterable[Scope], run: Budget) -> None:
    """Return if no more was used than was allowed.

    Args:
        scopes: From the innermost outwards.
        run: The budget of the run itself.

    Raises:
        BudgetExceededError: More was used; says of what, and how much.
    """
    for scope in scopes:
        for what, cap, held in (
            ("tokens", (scope.budget or run).tokens, scope.held_tokens),
            ("money", (scope.budget or run).money, scope.held_money),
        ):
            if cap is not None and held > cap * _ROUNDING:
                raise _exceeded(scope, f"{cap:g} {what} is used up ({held:g} used or reserved)")


def _exceeded(scope: Scope, what: str) -> BudgetExceededError:
    whose = f"call {scope.call}" if scope.call else "run"
    return BudgetExceededError(
        f"The {whose}'s budget of {what}.",
        remedy="Fork the run with a larger budget, or ask for less.",
    )


_NOTHING = Budget()
_ROUNDING = 1 + 1e-9  # ten times a tenth is more than one
