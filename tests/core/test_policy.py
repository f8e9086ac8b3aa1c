"""Policies are valid from birth."""

from __future__ import annotations

import math
from datetime import timedelta
from typing import Any

import pytest

from astro import Budget, Limits, Retry

BAD: list[tuple[type[Any], dict[str, Any]]] = [
    (Retry, {"attempts": 0}),
    (Retry, {"attempts": -1}),
    (Retry, {"attempts": 1.5}),
    (Retry, {"attempts": "3"}),
    (Retry, {"first": timedelta(-1)}),
    (Retry, {"first": 1}),
    (Retry, {"max": timedelta(-1)}),
    (Retry, {"factor": 0.5}),
    (Retry, {"factor": math.nan}),
    (Retry, {"factor": math.inf}),
    (Retry, {"factor": "2"}),
    (Retry, {"jitter": -0.1}),
    (Retry, {"jitter": 1.1}),
    (Retry, {"jitter": math.nan}),
    (Retry, {"on": ValueError}),
    (Retry, {"on": (int,)}),
    (Retry, {"on": ("ValueError",)}),
    (Retry, {"on": (KeyboardInterrupt,)}),
    (Budget, {"money": -1.0}),
    (Budget, {"money": math.nan}),
    (Budget, {"money": math.inf}),
    (Budget, {"money": "1"}),
    (Budget, {"tokens": -1}),
    (Budget, {"tokens": 1.5}),
    (Budget, {"calls": -1}),
    (Budget, {"calls": "9"}),
    (Budget, {"time": timedelta(-1)}),
    (Budget, {"time": 60}),
    (Limits, {"attempts": 0}),
    (Limits, {"runs": 0}),
    (Limits, {"pending": 0}),
    (Limits, {"pending": math.nan}),
    (Limits, {"tasks": {"greet": 0}}),
    (Limits, {"tasks": {5: 1}}),
    (Limits, {"tasks": ["greet"]}),
    (Limits, {"age": timedelta(0)}),
    (Limits, {"age": 1}),
]


@pytest.mark.parametrize(("kind", "fields"), BAD, ids=repr)
def test_a_policy_that_makes_no_sense_cannot_be_made(
    kind: type[Any], fields: dict[str, Any]
) -> None:
    with pytest.raises((ValueError, TypeError), match=next(iter(fields))):
        kind(**fields)


@pytest.mark.parametrize("kind", [Retry, Budget, Limits])
def test_a_policy_that_says_nothing_is_valid(kind: type[Any]) -> None:
    assert kind() == kind()


def test_a_budget_of_nothing_is_a_budget() -> None:
    assert Budget(money=0.0, tokens=0, calls=0, time=timedelta(0)) != Budget()
