"""Whoever waits for runs on a memory store may be cancelled at any step: nothing comes of it."""

from __future__ import annotations

import pytest

from tests.cancelling.conftest import TellOf
from tests.cancelling.scenarios import CALLERS, WORKFLOWS

FEW = 60  # steps at which callers are cancelled; before a release it is all of theirs
each_way = pytest.mark.parametrize("way", ["once", "twice", "scope"])


@each_way
@pytest.mark.parametrize("name", WORKFLOWS)
def test_a_workflow_is_safe_to_cancel_at_every_step(
    name: str, way: str, soak: int, tell_of: TellOf
) -> None:
    for seed in (None, *range(1, soak)):
        report = WORKFLOWS[name].cancel(ways=[way], seed=seed)
        tell_of("workflows on a memory store", report)
        assert report.deterministic
        assert report.cancellations == report.steps
        assert report.cancelled


@each_way
@pytest.mark.parametrize("name", CALLERS)
def test_what_callers_do_is_safe_to_cancel(name: str, way: str, soak: int, tell_of: TellOf) -> None:
    for seed in (None, *range(1, soak)):
        report = CALLERS[name].cancel(ways=[way], seed=seed, most=FEW if soak == 1 else None)
        tell_of("callers on a memory store", report)
        assert report.deterministic
        assert report.cancelled
