"""The ledger: what a tenant's runs may use together, kept by the store beside their journals.

A reservation is a row of its own, committed before the attempt that it is for; what was used
replaces it in the commit that records the attempt's end. So what is used and reserved never
exceeds the budget by more than what those in flight overspend.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Protocol, cast, runtime_checkable

import msgspec

from astro.core.errors import BudgetExceededError
from astro.core.policy import Budget

if TYPE_CHECKING:
    from astro.core.protocols import Lease

__all__ = ["Account", "Ledger", "Usage", "ledger_of", "require_room"]

_ROUNDING = 1 + 1e-9  # ten times a tenth is more than one


class Usage(msgspec.Struct, frozen=True, kw_only=True):
    """An amount of what budgets limit.

    Attributes:
        money: In the currency the application counts in.
        calls: Attempts.
    """

    money: float = 0.0
    tokens: int = 0
    calls: int = 0

    def plus(self, other: Usage) -> Usage:
        """Return both together."""
        return Usage(
            money=self.money + other.money,
            tokens=self.tokens + other.tokens,
            calls=self.calls + other.calls,
        )

    def minus(self, other: Usage) -> Usage:
        """Return what is left without the other."""
        return Usage(
            money=self.money - other.money,
            tokens=self.tokens - other.tokens,
            calls=self.calls - other.calls,
        )


class Account(msgspec.Struct, frozen=True, kw_only=True):
    """A tenant's budget, and what has become of it since it was given.

    Attributes:
        used: What committed attempts have used.
        reserved: What attempts in flight may still use.
    """

    budget: Budget
    used: Usage
    reserved: Usage


@runtime_checkable
class Ledger(Protocol):
    """Keeps the budgets of tenants; an optional part of a store."""

    async def allow(self, tenant: str, budget: Budget | None, /) -> None:
        """Let a tenant use a budget from now on, or anything; what it used before is forgotten."""
        ...

    async def account(self, tenant: str, /) -> Account | None:
        """Return a tenant's budget and what became of it, or None if it has none."""
        ...

    async def budgets(self) -> Mapping[str, Budget]:
        """Return the budgets of all tenants that have one."""
        ...

    async def reserve(self, lease: Lease, name: str, amount: Usage, /) -> None:
        """Put something of a tenant's budget aside, until a commit of the run leaves it out.

        Raises:
            BudgetExceededError: There is not so much left.
            LeaseLostError: A newer token exists.
        """
        ...


def ledger_of(store: object) -> Ledger | None:
    """Return a store as a ledger, if it is one; what wraps a store may pass its verbs on."""
    verbs = ("allow", "account", "budgets", "reserve")
    return cast("Ledger", store) if all(hasattr(store, verb) for verb in verbs) else None


def require_room(tenant: str, account: Account, amount: Usage) -> None:
    """Return if an amount can be reserved.

    Raises:
        BudgetExceededError: It cannot; says what is lacking.
    """
    held = account.used.plus(account.reserved)
    budget = account.budget
    for what, cap, has, more in (
        ("calls", budget.calls, held.calls, amount.calls),
        ("tokens", budget.tokens, held.tokens, amount.tokens),
        ("money", budget.money, held.money, amount.money),
    ):
        enough = cap is None or (has + more <= cap * _ROUNDING and has < cap)
        # What is used of money and tokens may not be known beforehand; what a call is, is known.
        if not enough and (more or what != "calls"):
            raise BudgetExceededError(
                f"Tenant {tenant!r} has a budget of {cap:g} {what}, of which {has:g} are used or "
                f"reserved.",
                remedy="Allow the tenant more: engine.tenant(...).allow(Budget(...)).",
            )
