"""Spending: what the nested scopes of a run have used of their budgets, and what they hold.

The run is the outermost scope; a call with a budget of its own is one inside it. While such a
call is at work the scope above holds all that was reserved for it; when it ends, what it used. A
dead owner's calls are charged in full: nobody knows what they spent last.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import msgspec

from astro.core.policy import Budget

__all__ = ["Scope", "Spending"]


class Scope(msgspec.Struct, eq=False):
    """Part of a run with a budget of its own.

    Attributes:
        name: Call and attempt it was reserved for; empty for the run.
        budget: What may be used in it, and is reserved for it above; the run's is elsewhere.
        used_calls: Attempts that were dispatched in it.
        above: Call of the scope it is open in; empty for the run.
        below: Scopes that are open in it, by call.
    """

    name: str = ""
    call: str = ""
    above: str = ""
    budget: Budget | None = None
    used_money: float = 0.0
    used_tokens: int = 0
    used_calls: int = 0
    below: dict[str, Scope] = msgspec.field(default_factory=dict)

    @property
    def held_money(self) -> float:
        """What is used, or reserved for those who may use it."""
        return self.used_money + sum(scope.charge_money for scope in self.below.values())

    @property
    def held_tokens(self) -> int:
        """What is used, or reserved for those who may use it."""
        return self.used_tokens + sum(scope.charge_tokens for scope in self.below.values())

    @property
    def charge_money(self) -> float:
        """What the scope above has to reckon with."""
        return max(self.held_money, (self.budget and self.budget.money) or 0.0)

    @property
    def charge_tokens(self) -> int:
        """What the scope above has to reckon with."""
        return max(self.held_tokens, (self.budget and self.budget.tokens) or 0)


class Spending(msgspec.Struct, eq=False):
    """The scopes of one run.

    Attributes:
        run: The outermost scope.
        opened: The scopes inside it, by call.
    """

    run: Scope = msgspec.field(default_factory=Scope)
    opened: dict[str, Scope] = msgspec.field(default_factory=dict)

    def around(self, call: str, parent_of: Callable[[str], str]) -> Scope:
        """Return the innermost open scope that a call is part of."""
        below: set[str] = set()
        while call and self.opened:
            scope = self.opened.get(call)
            if scope is not None:
                return scope
            below.add(call)
            call = parent_of(call)
            if call in below:
                raise KeyError(call)  # a call below itself, in a damaged journal
        return self.run

    def outwards(self, scope: Scope) -> Iterator[Scope]:
        """Yield a scope and all around it; the run comes last."""
        while scope.call:
            yield scope
            scope = self.opened.get(scope.above, self.run)
        yield scope

    def open(self, call: str, above: Scope, *, name: str, budget: Budget) -> None:
        """Reserve a budget for a call, which has none yet."""
        self.close(call, in_full=True)
        scope = Scope(name=name, call=call, above=above.call, budget=budget)
        above.below[call] = self.opened[call] = scope

    def close(self, call: str, *, in_full: bool = False) -> None:
        """Charge a call that ended to the scope above it; a call without a budget has none."""
        scope = self.opened.get(call)
        if scope is None:
            return
        for inner in [*scope.below]:
            self.close(inner, in_full=in_full)
        above = self.opened.get(scope.above, self.run)
        del self.opened[call], above.below[call]
        above.used_money += scope.charge_money if in_full else scope.used_money
        above.used_tokens += scope.charge_tokens if in_full else scope.used_tokens

    def close_all(self, *, in_full: bool = True) -> None:
        """Charge all that is reserved, in full or as far as it was used."""
        for call in [*self.run.below]:
            self.close(call, in_full=in_full)

    def names(self) -> list[str]:
        """Return the outermost open scopes, which are what a tenant's budget holds for the run."""
        return [scope.name for scope in self.run.below.values()]
