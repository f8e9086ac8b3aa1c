"""The three sources that tests replace: time, ids and chance."""

from __future__ import annotations

from datetime import UTC, timedelta

import anyio
import pytest

from astro import Clock, Ids, SystemClock, SystemIds
from astro.core.clock import system_random

pytestmark = pytest.mark.anyio


def test_the_system_clock_is_aware_and_in_utc() -> None:
    assert SystemClock().now().tzinfo is UTC


@pytest.mark.parametrize("duration", [timedelta(0), timedelta(-1), timedelta(microseconds=1)])
async def test_sleeping_no_time_returns_at_once(duration: timedelta) -> None:
    with anyio.fail_after(1):
        await SystemClock().sleep(duration)


def test_ids_are_in_the_layout_of_uuid_version_7() -> None:
    made = SystemIds().new()
    assert len(made) == 32
    assert made[12] == "7"
    assert made[16] in "89ab"
    assert set(made) <= set("0123456789abcdef")


def test_ids_are_distinct_and_later_ones_sort_after_earlier_ones() -> None:
    made = [SystemIds().new() for _ in range(1_000)]
    assert len(set(made)) == len(made)
    assert [one[:12] for one in made] == sorted(one[:12] for one in made)


def test_chance_differs_between_engines() -> None:
    assert system_random().random() != system_random().random()


def test_clock_and_ids_are_seams() -> None:
    clock: Clock = SystemClock()
    ids: Ids = SystemIds()
    assert callable(clock.now)
    assert callable(ids.new)
