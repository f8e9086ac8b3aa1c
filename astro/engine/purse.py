"""The purse: what one run takes from its own budgets and from that of its tenant.

What an attempt may use is put aside before it begins, in the run's journal and, if the tenant has
a budget, in the store's ledger. What it did use follows from the journal, and reaches the ledger
with the very commit that says so.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from astro.core.errors import RunSuspended, StoreError
from astro.core.ledger import Ledger, Usage
from astro.core.policy import Budget
from astro.core.records import ReservedRecord
from astro.decisions.budget import require_room

if TYPE_CHECKING:
    from astro.engine.owned import OwnedRun
    from astro.engine.request import Request

__all__ = ["Purse"]


class Purse:
    """The budgets of one run, while this engine owns it."""

    def __init__(self, run: OwnedRun) -> None:
        self._run = run
        self._pending: set[str] = set()  # reserved in the ledger, not yet in the journal
        self._told: tuple[str, ...] | None = None  # the first commit ends what a dead owner held
        self._reported = self._used()
        self._limited = run.budget != Budget()

    def _used(self) -> Usage:
        spent = self._run.state.spending.run
        return Usage(money=spent.used_money, tokens=spent.used_tokens, calls=spent.used_calls)

    def movement(self) -> tuple[Usage | None, tuple[str, ...] | None]:
        """Return what the next commit tells the tenant's ledger, if anything."""
        if self._run.tenant not in self._run.parts.budgets:
            return None, None
        used = self._used()
        names = (*self._run.state.spending.names(), *self._pending)
        if used == self._reported and names == self._told:
            return None, None
        more, self._reported, self._told = used.minus(self._reported), used, names
        return more, names

    def require(self, request: Request, *, resumed: bool) -> Budget | None:
        """Return what is to be put aside for an attempt, if its call has a budget.

        An attempt that goes on has been allowed before.

        Raises:
            BudgetExceededError: A budget around the call does not allow it.
        """
        state = self._run.state
        if not (self._limited or request.budget or state.spending.opened):
            return None
        budget = request.budget if request.id not in state.spending.opened else None
        if resumed and budget is None:
            return None
        around = state.spending.outwards(state.scope(request.parent))
        require_room(around, self._run.budget, budget)
        return budget

    def put_aside(self, request: Request, number: int, budget: Budget) -> None:
        """Record what an attempt may use."""
        self._run.journal.append(ReservedRecord, call=request.id, attempt=number, budget=budget)

    async def reserve(self, request: Request, number: int, *, resumed: bool) -> str:
        """Put aside what an attempt may use of the tenant's budget.

        Returns:
            The name of the reservation; it holds until `recorded` is called with it.

        Raises:
            BudgetExceededError: The tenant has not so much left.
            RunSuspended: Another engine owns the run, or the store fails.
        """
        run = self._run
        ledger = run.parts.ledger
        if ledger is None or run.tenant not in run.parts.budgets:
            return ""
        # What is inside a call with a budget of its own is reserved with it.
        spending = run.state.spending
        outermost = run.state.scope(request.parent) is spending.run
        mine = request.budget if outermost and request.id not in spending.opened else None
        name = f"{request.id}#{number}"
        if self._told is None:
            await run.journal.flush()  # what a dead owner held is charged before anything is added
        # The call itself counts as used once it began; the money is held until it ends.
        if not resumed:
            await self._reserve(ledger, f"{name}+", Usage(calls=1))
        if mine is not None and (mine.money or mine.tokens):
            amount = Usage(money=mine.money or 0.0, tokens=mine.tokens or 0)
            try:
                await self._reserve(ledger, name, amount)
            except BaseException:
                self._pending.discard(f"{name}+")
                raise
        return name

    async def _reserve(self, ledger: Ledger, name: str, amount: Usage) -> None:
        self._pending.add(name)
        try:
            await ledger.reserve(self._run.journal.lease, name, amount)
        except BaseException as error:
            self._pending.discard(name)
            if isinstance(error, StoreError):
                self._run.journal.fail(error)
                raise RunSuspended from error
            raise

    def recorded(self, name: str) -> None:
        """Let the journal speak for an attempt from now on."""
        self._pending -= {name, f"{name}+"}
