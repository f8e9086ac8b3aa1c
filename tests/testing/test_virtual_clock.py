"""The virtual clock: time passes when a test says so, and a clock that jumps lets none pass."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import anyio
import anyio.lowlevel
import pytest

from astro.core.clock import Clock
from astro.testing.clock import VirtualClock, VirtualIds
from astro.testing.loop import LoopClock, run_deterministically

pytestmark = pytest.mark.anyio

SECOND = timedelta(seconds=1)
DAY = timedelta(days=1)


async def settle() -> None:
    """Let every task go on until it waits."""
    for _ in range(10):
        await anyio.lowlevel.checkpoint()


async def test_time_stands_still_until_it_is_advanced() -> None:
    clock = VirtualClock()
    before = clock.now(), clock.monotonic()
    await settle()
    assert (clock.now(), clock.monotonic()) == before


async def test_advancing_moves_both_readings() -> None:
    clock = VirtualClock(datetime(2026, 1, 1, tzinfo=UTC))
    clock.advance(3 * DAY)
    assert clock.now() == datetime(2026, 1, 4, tzinfo=UTC)
    assert clock.monotonic() == 3 * 86_400


async def test_a_moment_without_a_time_zone_is_refused() -> None:
    with pytest.raises(ValueError, match="no time zone"):
        VirtualClock(datetime(2026, 1, 1))


async def test_time_does_not_go_back() -> None:
    with pytest.raises(ValueError, match=r"use jump\(\)"):
        VirtualClock().advance(-SECOND)


async def test_a_sleeper_wakes_when_its_time_has_come() -> None:
    clock, woken = VirtualClock(), anyio.Event()

    async def sleeper() -> None:
        await clock.sleep(3 * SECOND)
        woken.set()

    async with anyio.create_task_group() as group:
        group.start_soon(sleeper)
        await settle()
        clock.advance(2 * SECOND)
        await settle()
        assert not woken.is_set()
        clock.advance(SECOND)
        await woken.wait()


async def test_sleepers_wake_in_the_order_of_their_moments() -> None:
    clock = VirtualClock()
    order: list[int] = []

    async def sleeper(seconds: int) -> None:
        await clock.sleep(seconds * SECOND)
        order.append(seconds)

    async with anyio.create_task_group() as group:
        for seconds in (3, 1, 2):
            group.start_soon(sleeper, seconds)
            await settle()
        for _ in range(3):
            clock.advance(SECOND)
            await settle()
    assert order == [1, 2, 3]


@pytest.mark.parametrize("duration", [timedelta(0), -DAY])
async def test_a_sleep_of_nothing_ends_by_itself(duration: timedelta) -> None:
    await VirtualClock().sleep(duration)


async def test_a_cancelled_sleeper_is_in_nobodys_way() -> None:
    clock, woken = VirtualClock(), anyio.Event()

    async def sleeper() -> None:
        await clock.sleep(SECOND)
        woken.set()

    with anyio.CancelScope() as scope:
        scope.cancel()
        await clock.sleep(SECOND)
    async with anyio.create_task_group() as group:
        group.start_soon(sleeper)
        await settle()
        clock.advance(SECOND)
    assert woken.is_set()


@pytest.mark.parametrize("jump", [DAY, -DAY])
async def test_a_jump_changes_what_the_clock_shows_and_nothing_else(jump: timedelta) -> None:
    clock = VirtualClock()
    shown, passed = clock.now(), clock.monotonic()
    clock.jump(jump)
    assert clock.now() == shown + jump
    assert clock.monotonic() == passed


async def test_a_jump_wakes_nobody_early_and_nobody_late() -> None:
    clock, woken = VirtualClock(), anyio.Event()

    async def sleeper() -> None:
        await clock.sleep(SECOND)
        woken.set()

    async with anyio.create_task_group() as group:
        group.start_soon(sleeper)
        await settle()
        clock.jump(DAY)
        await settle()
        assert not woken.is_set()
        clock.jump(-2 * DAY)
        clock.advance(SECOND)
        await woken.wait()


async def test_the_clock_tells_how_long_the_next_sleeper_has_left() -> None:
    clock = VirtualClock()
    assert clock.next_due() is None
    async with anyio.create_task_group() as group:
        group.start_soon(clock.sleep, 3 * SECOND)
        await settle()
        clock.advance(SECOND)
        assert clock.next_due() == 2 * SECOND
        clock.advance(2 * SECOND)


async def test_ids_repeat_themselves_and_are_sorted() -> None:
    first, second = VirtualIds(7), VirtualIds(7)
    made = [first.new() for _ in range(100)]
    assert made == [second.new() for _ in range(100)]
    assert made == sorted(set(made))
    assert {len(id) for id in made} == {32}


async def test_ids_of_different_seeds_differ() -> None:
    assert VirtualIds(1).new() != VirtualIds(2).new()


@pytest.mark.parametrize("seed", [None, 1])
def test_the_clock_of_the_loop_shows_its_time(seed: int | None) -> None:
    clock: Clock = LoopClock(datetime(2026, 1, 1, tzinfo=UTC))

    async def main() -> tuple[datetime, float]:
        await clock.sleep(timedelta(days=3))
        await clock.sleep(-timedelta(days=3))
        return clock.now(), clock.monotonic()

    value = run_deterministically(main, seed=seed).value
    assert value == (datetime(2026, 1, 4, tzinfo=UTC), 3 * 86_400.0)


def test_the_clock_of_the_loop_jumps_without_time_passing() -> None:
    async def main() -> tuple[timedelta, float]:
        clock = LoopClock()
        before = clock.now()
        clock.jump(-timedelta(days=1))
        return clock.now() - before, clock.monotonic()

    assert run_deterministically(main, seed=None).value == (-timedelta(days=1), 0.0)


def test_the_clock_of_the_loop_refuses_a_moment_without_a_time_zone() -> None:
    with pytest.raises(ValueError, match="no time zone"):
        LoopClock(datetime(2026, 1, 1))
