"""Turns: nobody starves, the urgent go first, and waiting counts."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from astro import Priority
from astro.decisions.turns import Turns

BEGIN = datetime(2030, 1, 1, tzinfo=UTC)
AGE = timedelta(seconds=1)
NOBODY: tuple[str, ...] = ()

Waiter = tuple[str, int, int, int]
WAITERS = st.lists(
    st.tuples(st.sampled_from("abc"), st.integers(0, 40), st.integers(0, 20)), max_size=30
)


def queue(*waiters: tuple[str, int, int]) -> Turns[Waiter]:
    """Return waiters of a tenant, with a priority, since a second."""
    turns: Turns[Waiter] = Turns(AGE)
    for number, (tenant, priority, second) in enumerate(waiters):
        since = BEGIN + timedelta(seconds=second)
        one = (tenant, priority, second, number)
        turns.push(one, tenant=tenant, needs=NOBODY, priority=priority, since=since)
    return turns


def order(turns: Turns[Waiter]) -> list[Waiter]:
    found = []
    while (one := turns.pop(lambda needs: True, lambda item: False)) is not None:
        found.append(one)
    return found


@given(WAITERS)
def test_everybody_gets_exactly_one_turn(waiters: list[tuple[str, int, int]]) -> None:
    turns = queue(*waiters)
    assert len(turns) == len(waiters)
    assert sorted(one[3] for one in order(turns)) == list(range(len(waiters)))
    assert len(turns) == 0


@given(WAITERS)
def test_no_tenant_waits_while_another_goes_twice(waiters: list[tuple[str, int, int]]) -> None:
    left = Counter(tenant for tenant, _, _ in waiters)
    went: Counter[str] = Counter()
    for tenant, *_ in order(queue(*waiters)):
        waiting = [other for other in left if left[other] and other != tenant]
        assert all(went[tenant] <= went[other] for other in waiting)
        went[tenant] += 1
        left[tenant] -= 1


@given(WAITERS)
def test_within_a_tenant_the_urgent_and_the_old_go_first(
    waiters: list[tuple[str, int, int]],
) -> None:
    found = order(queue(*waiters))
    for tenant in "abc":
        ranks = [10 * second - urgent for name, urgent, second, _ in found if name == tenant]
        assert ranks == sorted(ranks)


def test_of_equals_the_first_come_goes_first() -> None:
    found = order(queue(("a", 20, 0), ("a", 20, 0), ("a", 20, 0)))
    assert [one[3] for one in found] == [0, 1, 2]


def test_waiting_makes_up_for_priority() -> None:
    found = order(queue(("a", Priority.HIGH, 2), ("a", Priority.LOW, 0), ("a", Priority.LOW, 3)))
    assert [one[3] for one in found] == [0, 1, 2]
    later = order(queue(("a", Priority.HIGH, 3), ("a", Priority.LOW, 0)))
    assert [one[3] for one in later] == [1, 0]


@given(st.lists(st.tuples(st.sampled_from("abc"), st.booleans()), max_size=60))
def test_no_tenant_starves_however_many_wait_for_another(steps: list[tuple[str, bool]]) -> None:
    turns = queue(*[("flood", Priority.CRITICAL, 0)] * 50, ("small", Priority.LOW, 20))
    first_three = [turns.pop(lambda needs: True, lambda item: False) for _ in range(2)]
    assert "small" in {one[0] for one in first_three if one is not None}
    for tenant, pops in steps:
        turns.push((tenant, 0, 0, -1), tenant=tenant, needs=NOBODY, priority=40, since=BEGIN)
        _ = pops and turns.pop(lambda needs: True, lambda item: False)
    turns.push(("small", 0, 0, -2), tenant="small", needs=NOBODY, priority=0, since=BEGIN)
    next_round = [turns.pop(lambda needs: True, lambda item: False) for _ in range(5)]
    assert ("small", 0, 0, -2) in next_round


def test_who_does_not_fit_is_passed_over_and_not_forgotten() -> None:
    turns: Turns[str] = Turns(AGE)
    turns.push("big", tenant="a", needs=("gpu",), priority=40, since=BEGIN)
    turns.push("small", tenant="a", needs=NOBODY, priority=10, since=BEGIN)
    assert turns.pop(lambda needs: not needs, lambda item: False) == "small"
    assert turns.pop(lambda needs: not needs, lambda item: False) is None
    assert turns.pop(lambda needs: True, lambda item: False) == "big"


def test_who_no_longer_waits_gets_no_turn() -> None:
    turns: Turns[str] = Turns(AGE)
    for name in ("gone", "here", "gone"):
        turns.push(name, tenant="a", needs=NOBODY, priority=20, since=BEGIN)
    assert turns.pop(lambda needs: True, lambda item: item == "gone") == "here"
    assert turns.pop(lambda needs: True, lambda item: item == "gone") is None
    assert len(turns) == 0
