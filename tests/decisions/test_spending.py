"""Spending: who is charged for what, when budgets lie inside each other."""

from __future__ import annotations

from typing import Any

import pytest

from astro import Budget, BudgetExceededError
from astro.core.records import (
    AbandonedRecord,
    AttemptFailedRecord,
    FailedRecord,
    OwnedRecord,
    ReservedRecord,
    SpentRecord,
)
from astro.decisions.budget import require_room, require_within
from astro.decisions.spending import Scope, Spending
from tests.decisions.test_replay import FAILURE, LATER, Story, in_root

FIVE = Budget(money=5.0, tokens=50)
TWO = Budget(money=2.0, tokens=20)


def parent_of(call: str) -> str:
    """Return the caller of a call, by names that grow: `abc` was asked for by `ab`."""
    return call[:-1]


def nested(outer: Budget = FIVE, inner: Budget = TWO) -> Spending:
    """Return scopes in which `a` has a budget, and `ab` one inside it."""
    spending = Spending()
    spending.open("a", spending.run, name="a#1", budget=outer)
    spending.open("ab", spending.opened["a"], name="ab#1", budget=inner)
    return spending


def held(spending: Spending) -> tuple[float, int]:
    return spending.run.held_money, spending.run.held_tokens


# --- Which scope ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("call", "scope"), [("a", "a"), ("ax", "a"), ("ab", "ab"), ("abxy", "ab"), ("x", ""), ("", "")]
)
def test_a_call_is_part_of_the_innermost_scope_around_it(call: str, scope: str) -> None:
    assert nested().around(call, parent_of).call == scope


def test_scopes_are_told_from_the_innermost_outwards() -> None:
    spending = nested()
    assert [one.call for one in spending.outwards(spending.opened["ab"])] == ["ab", "a", ""]
    assert [one.call for one in spending.outwards(spending.run)] == [""]


# --- What is held --------------------------------------------------------------------------------


def test_a_scope_holds_its_whole_budget_above_it() -> None:
    assert held(nested()) == (5.0, 50)


def test_a_budget_that_says_nothing_of_something_holds_none_of_it() -> None:
    assert held(nested(Budget(tokens=7), Budget())) == (0.0, 7)
    assert held(nested(Budget(money=7.0), Budget())) == (7.0, 0)


def test_a_scope_that_overspends_holds_what_it_used() -> None:
    spending = nested()
    spending.opened["ab"].used_money, spending.opened["ab"].used_tokens = 6.0, 60
    assert held(spending) == (6.0, 60)


def test_a_call_that_ends_is_charged_for_what_it_used() -> None:
    spending = nested()
    spending.opened["ab"].used_money, spending.opened["ab"].used_tokens = 1.5, 3
    spending.close("a")
    assert held(spending) == (1.5, 3)
    assert not spending.opened
    assert not spending.run.below


def test_a_dead_owners_calls_are_charged_in_full() -> None:
    spending = nested()
    spending.opened["ab"].used_money = 1.5
    spending.close_all()
    assert (spending.run.used_money, spending.run.used_tokens) == (5.0, 50)
    assert not spending.opened


def test_in_full_means_the_scopes_inside_as_well() -> None:
    spending = nested(Budget(calls=9), TWO)
    spending.close_all()
    assert (spending.run.used_money, spending.run.used_tokens) == (2.0, 20)


def test_a_budget_that_is_reserved_anew_was_used_up_before() -> None:
    spending = nested(FIVE, Budget())
    spending.open("a", spending.run, name="a#2", budget=TWO)
    assert spending.names() == ["a#2"]
    assert held(spending) == (7.0, 70)


def test_closing_what_has_no_budget_changes_nothing() -> None:
    spending = nested()
    spending.close("x")
    assert spending.names() == ["a#1"]


# --- In a journal --------------------------------------------------------------------------------


def reserved() -> Story:
    """Return a story in which `a` has a budget and `b`, inside it, has none."""
    story = in_root().started("a", "root")
    story(ReservedRecord, call="a", attempt=1, budget=FIVE)
    return story.started("b", "a")


def test_what_is_spent_far_inside_a_scope_is_spent_in_it() -> None:
    story = reserved().started("c", "b")(SpentRecord, call="s", parent="c", money=1.0, tokens=2)
    scope = story.state.spending.opened["a"]
    assert (scope.used_money, scope.used_tokens) == (1.0, 2)
    assert story.state.spending.run.used_money == 0.0


def test_what_nobody_known_spends_is_the_runs() -> None:
    story = reserved()(SpentRecord, call="s", parent="unknown", money=1.0)
    assert story.state.spending.run.used_money == 1.0
    assert story.state.spending.opened["a"].used_money == 0.0


def test_an_attempt_counts_in_every_scope_around_it() -> None:
    state = reserved().started("c", "root").state
    assert state.spending.opened["a"].used_calls == 1  # b
    assert state.spending.run.used_calls == 4  # root, a, b and c


@pytest.mark.parametrize(
    ("kind", "fields"),
    [
        (AttemptFailedRecord, {"attempt": 1, "failure": FAILURE, "retry_at": LATER}),
        (FailedRecord, {"attempt": 1, "failure": FAILURE}),
        (AbandonedRecord, {}),
    ],
)
def test_whatever_ends_an_attempt_gives_back_what_it_did_not_use(
    kind: Any, fields: dict[str, Any]
) -> None:
    story = reserved()(SpentRecord, call="s", parent="a", money=1.0)
    assert story.state.spending.run.held_money == 5.0
    story(kind, call="a", **fields)
    assert story.state.spending.run.held_money == 1.0


@pytest.mark.parametrize(("lost", "charged"), [(True, 5.0), (False, 0.0)])
def test_only_an_owner_that_was_lost_leaves_its_reservations_to_be_paid(
    lost: bool, charged: float
) -> None:
    story = reserved()(OwnedRecord, owner="heir", token=2, lost=lost)
    assert story.state.spending.run.used_money == charged


def test_another_attempt_of_a_task_spends_again() -> None:
    story = in_root()(SpentRecord, call="s", parent="root", money=1.0).started("root", attempt=2)
    assert story.state.calls["s"].state.value == "ready"


# --- Whether it is enough ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("scope", "told"),
    [
        (Scope(used_calls=3), r"^The run's budget of 3 calls is used up \(3 used or reserved\)\."),
        (Scope(used_tokens=4), r"^The run's budget of 4 tokens is used up \(4 used or reserved\)"),
        (Scope(used_money=5), r"^The run's budget of 5 money is used up \(5 used or reserved\)\."),
    ],
)
def test_a_budget_that_is_used_up_is_named_with_its_size(scope: Scope, told: str) -> None:
    with pytest.raises(BudgetExceededError, match=told) as caught:
        require_room([scope], Budget(calls=3, tokens=4, money=5.0))
    assert caught.value.remedy.startswith("Fork the run with a larger budget")


@pytest.mark.parametrize(
    ("scope", "told"),
    [
        (Scope(used_tokens=5), r"^The run's budget of 4 tokens is used up \(5 used or reserved\)"),
        (Scope(used_money=6), r"^The run's budget of 5 money is used up \(6 used or reserved\)\."),
    ],
)
def test_a_budget_that_was_exceeded_is_named_with_its_size(scope: Scope, told: str) -> None:
    with pytest.raises(BudgetExceededError, match=told):
        require_within([scope], Budget(tokens=4, money=5.0))


def test_anything_that_is_left_is_enough_for_who_wants_nothing() -> None:
    require_room([Scope(used_money=2.999)], Budget(money=3.0))
    require_room([Scope(used_tokens=2)], Budget(tokens=3))
    require_room([Scope(used_calls=2)], Budget(calls=3))


def test_sums_of_tenths_do_not_exceed_a_budget() -> None:
    tenths = sum([0.1] * 3)  # more than 0.3
    assert tenths > 0.3
    require_within([Scope(used_money=tenths)], Budget(money=0.3))
    require_room([Scope(used_money=0.1 + 0.1)], Budget(money=0.3), Budget(money=0.1))
