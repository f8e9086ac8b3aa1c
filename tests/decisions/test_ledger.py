"""The ledger: amounts, and whether a tenant's budget has room for one more."""

from __future__ import annotations

import pytest

from astro import Budget, BudgetExceededError, MemoryStore
from astro.core.ledger import Account, Usage, ledger_of, require_room

NOTHING = Usage()
BUDGET = Budget(money=3.0, tokens=4, calls=5)


def account(used: Usage = NOTHING, reserved: Usage = NOTHING) -> Account:
    return Account(budget=BUDGET, used=used, reserved=reserved)


def test_amounts_are_added_and_taken_away_part_by_part() -> None:
    all_of_it, some = Usage(money=5.0, tokens=70, calls=9), Usage(money=1.5, tokens=30, calls=4)
    rest = Usage(money=3.5, tokens=40, calls=5)
    assert all_of_it.minus(some) == rest
    assert rest.plus(some) == all_of_it


def test_a_store_that_keeps_budgets_is_a_ledger() -> None:
    store = MemoryStore()
    assert ledger_of(store) is store


@pytest.mark.parametrize("missing", ["allow", "account", "budgets", "reserve"])
def test_what_lacks_a_verb_is_no_ledger(missing: str) -> None:
    class Almost:
        def __getattr__(self, name: str) -> object:
            if name == missing or name not in ("allow", "account", "budgets", "reserve"):
                raise AttributeError(name)
            return None

    assert ledger_of(Almost()) is None


def test_what_answers_to_the_verbs_only_when_asked_is_a_ledger() -> None:
    class PassesOn:
        def __getattr__(self, name: str) -> object:
            return getattr(MemoryStore(), name)

    wrapped = PassesOn()
    assert ledger_of(wrapped) is wrapped


@pytest.mark.parametrize(
    ("amount", "told"),
    [
        (Usage(calls=6), "Tenant 'acme' has a budget of 5 calls, of which 0 are used or reserved."),
        (
            Usage(tokens=5),
            "Tenant 'acme' has a budget of 4 tokens, of which 0 are used or reserved.",
        ),
        (
            Usage(money=3.1),
            "Tenant 'acme' has a budget of 3 money, of which 0 are used or reserved.",
        ),
    ],
)
def test_what_is_lacking_is_said(amount: Usage, told: str) -> None:
    with pytest.raises(BudgetExceededError) as caught:
        require_room("acme", account(), amount)
    assert caught.value.problem == told
    assert caught.value.remedy.startswith("Allow the tenant more")


def test_all_of_a_budget_may_be_reserved() -> None:
    require_room("acme", account(), Usage(money=3.0, tokens=4, calls=5))


def test_used_and_reserved_count_together() -> None:
    both = account(Usage(tokens=2), Usage(tokens=1))
    require_room("acme", both, Usage(tokens=1))
    with pytest.raises(BudgetExceededError, match="of which 3 are used or reserved"):
        require_room("acme", both, Usage(tokens=2))


def test_when_the_calls_are_used_up_no_call_is_reserved() -> None:
    require_room("acme", account(Usage(calls=5)), NOTHING)
    with pytest.raises(BudgetExceededError):
        require_room("acme", account(Usage(calls=5)), Usage(calls=1))


@pytest.mark.parametrize("used", [Usage(money=3.0), Usage(tokens=4)])
def test_when_one_kind_is_used_up_nothing_is_reserved(used: Usage) -> None:
    with pytest.raises(BudgetExceededError):
        require_room("acme", account(used), NOTHING)
