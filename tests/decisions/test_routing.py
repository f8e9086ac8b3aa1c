"""Routing: who performs a call, and why."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from astro import Router
from astro.core.protocols import Candidate
from astro.decisions.routing import LeastLoadRouter

ROUTER: Router = LeastLoadRouter()
CANDIDATES = st.lists(
    st.builds(
        Candidate,
        name=st.sampled_from(["", "ada", "grace", "alan", "edsger"]),
        cost=st.floats(0, 10),
        load=st.integers(0, 9),
        limit=st.none() | st.integers(1, 9),
        failed=st.integers(0, 3),
    ),
    min_size=1,
    max_size=5,
    unique_by=lambda one: one.name,
)


@given(CANDIDATES, st.randoms())
def test_the_choice_does_not_depend_on_the_order_of_candidates(
    candidates: list[Candidate], chance: st.DataObject
) -> None:
    before = ROUTER.choose("greet", candidates)
    chance.shuffle(candidates)  # type: ignore[attr-defined]  # hypothesis gives a Random
    assert ROUTER.choose("greet", candidates).name == before.name


@given(CANDIDATES)
def test_the_choice_is_a_candidate_that_has_failed_the_call_least(
    candidates: list[Candidate],
) -> None:
    choice = ROUTER.choose("greet", candidates)
    (chosen,) = (one for one in candidates if one.name == choice.name)
    assert chosen.failed == min(one.failed for one in candidates)
    assert choice.reason


@given(CANDIDATES)
def test_the_body_performs_only_what_no_equal_agent_can(candidates: list[Candidate]) -> None:
    choice = ROUTER.choose("greet", candidates)
    least = min(one.failed for one in candidates)
    agents = [one for one in candidates if one.name and one.failed == least]
    assert (choice.name == "") == (not agents)


@pytest.mark.parametrize(
    ("candidates", "name", "reason"),
    [
        ([("a", {})], "a", "the only candidate"),
        ([("a", {"load": 2}), ("b", {"load": 1})], "b", "least loaded of 2 (1 at work, cost 1)"),
        (
            [("a", {"cost": 2}), ("b", {"cost": 0.5})],
            "b",
            "least loaded of 2 (0 at work, cost 0.5)",
        ),
        (
            [("a", {"load": 2, "limit": 9}), ("b", {"load": 1, "limit": 2})],
            "a",
            "least loaded of 2",
        ),
        ([("a", {"failed": 1}), ("b", {"load": 9})], "b", "next of 2 after a failure"),
        ([("a", {"failed": 1}), ("", {})], "", "no agent is left; the task's own body"),
    ],
)
def test_the_reason_says_what_decided(
    candidates: list[tuple[str, dict[str, int]]], name: str, reason: str
) -> None:
    made = [Candidate(name=one, **fields) for one, fields in candidates]
    choice = ROUTER.choose("greet", made)
    assert choice.name == name
    assert choice.reason.startswith(reason)
