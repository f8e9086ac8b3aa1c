"""Routing: what decides between candidates that are equal in everything else."""

from __future__ import annotations

from typing import Any

import pytest

from astro.core.protocols import Candidate
from astro.decisions.routing import LeastLoadRouter


def chosen(**candidates: dict[str, Any]) -> str:
    made = [Candidate(name=name, **fields) for name, fields in candidates.items()]
    return LeastLoadRouter().choose("greet", made).name


def test_of_equals_the_first_name_is_chosen() -> None:
    assert chosen(grace={}, ada={}) == "ada"


def test_cost_decides_between_the_equally_loaded() -> None:
    assert chosen(ada={"load": 1, "cost": 2.0}, grace={"load": 1, "cost": 1.0}) == "grace"


@pytest.mark.parametrize(("load", "winner"), [(1, "open"), (499, "open"), (501, "half")])
def test_without_a_limit_a_thousand_at_once_are_as_much_as_a_full_limit(
    load: int, winner: str
) -> None:
    assert chosen(open={"load": load}, half={"load": 1, "limit": 2}) == winner


def test_exactly_as_busy_as_one_with_a_limit_is_a_tie_for_the_cost() -> None:
    assert chosen(open={"load": 500, "cost": 2.0}, half={"load": 1, "limit": 2}) == "half"
    assert chosen(open={"load": 500}, half={"load": 1, "limit": 2, "cost": 2.0}) == "open"
