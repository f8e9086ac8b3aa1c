"""The accounts of a memory store: what tenants may use, and what is used and reserved of it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable

from astro.core.ledger import Account, Usage, require_room
from astro.core.policy import Budget

__all__ = ["Accounts"]

_NOTHING = Usage()


class Accounts:
    """Budgets by tenant; reservations by run.

    Attributes:
        budgets: Of the tenants that have one.
    """

    def __init__(self) -> None:
        self.budgets: dict[str, Budget] = {}
        self._used: dict[str, Usage] = {}
        self._reserved: defaultdict[str, dict[int, dict[str, Usage]]] = defaultdict(dict)

    def allow(self, tenant: str, budget: Budget | None) -> None:
        """Give a tenant a budget, or none."""
        self.budgets.pop(tenant, None)
        self._used[tenant] = _NOTHING
        if budget is not None:
            self.budgets[tenant] = budget

    def account(self, tenant: str) -> Account | None:
        """Return what has become of a tenant's budget, if it has one."""
        budget = self.budgets.get(tenant)
        if budget is None:
            return None
        reserved = _NOTHING
        for amounts in self._reserved[tenant].values():
            for amount in amounts.values():
                reserved = reserved.plus(amount)
        return Account(budget=budget, used=self._used[tenant], reserved=reserved)

    def reserve(self, tenant: str, run: int, name: str, amount: Usage) -> None:
        """Put something aside for an attempt.

        Raises:
            BudgetExceededError: There is not so much left.
        """
        before = self._reserved[tenant].get(run, {}).pop(name, None)
        account = self.account(tenant)
        try:
            if account is not None:
                require_room(tenant, account, amount)
        except Exception:
            if before is not None:
                self._reserved[tenant][run][name] = before
            raise
        self._reserved[tenant].setdefault(run, {})[name] = amount

    def charge(self, tenant: str, used: Usage) -> None:
        """Count what was used."""
        if tenant in self.budgets:
            self._used[tenant] = self._used[tenant].plus(used)

    def keep(self, tenant: str, run: int, names: Iterable[str]) -> None:
        """End the reservations of a run, but for some."""
        runs = self._reserved[tenant]
        kept = {name: runs[run][name] for name in names if name in runs.get(run, {})}
        runs.pop(run, None)
        if kept:
            runs[run] = kept
