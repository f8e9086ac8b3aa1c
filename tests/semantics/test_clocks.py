"""Rule 24: engines count in their store's time, and setting a clock fires nothing early."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import anyio
import pytest

from astro import Context, LocalEngine, SystemClock, task
from astro.core.clock import Clock
from astro.core.records import CreatedRecord, State
from astro.engine.clock import EngineClock
from tests.engine.conftest import QUICK, anyio_backend, store_of, where

__all__ = ["anyio_backend", "store_of", "where"]

pytestmark = pytest.mark.anyio

HOUR = timedelta(hours=1)
NEAR = timedelta(seconds=30)


class SetClock(SystemClock):
    """The system's clock, with somebody at its hands."""

    def __init__(self, ahead: timedelta = timedelta(0)) -> None:
        self.ahead = ahead

    def now(self) -> datetime:
        return super().now() + self.ahead


@task
async def nap(ctx: Context, seconds: float) -> str:
    await ctx.sleep(timedelta(seconds=seconds))
    return "rested"


@task
async def wonder(ctx: Context) -> str:
    return await ctx.ask("Ready?", str, timeout=HOUR, default="nobody there")


@pytest.mark.parametrize("ahead", [HOUR, -HOUR], ids=["ahead", "behind"])
async def test_rule_24_an_engine_counts_in_the_time_of_its_store(
    store_of: Callable[[], Any], ahead: timedelta
) -> None:
    async with LocalEngine(nap, store=store_of(), clock=SetClock(ahead), **QUICK) as engine:
        run = await engine.start(nap, 0)
        await run
        records = [record async for record in run]
    assert all(abs(record.at - datetime.now(UTC)) < NEAR for record in records)
    assert isinstance(records[0], CreatedRecord)


async def test_rule_24_a_clock_that_is_set_forward_fires_nothing_early(
    store_of: Callable[[], Any],
) -> None:
    clock = SetClock()
    async with LocalEngine(nap, wonder, store=store_of(), clock=clock, **QUICK) as engine:
        sleeper = await engine.start(nap, 3600)
        asker = await engine.options(deadline=2 * HOUR).start(wonder)
        await _reached(sleeper, State.SLEEPING)
        await _reached(asker, State.ASKED)
        clock.ahead = timedelta(days=1)
        await anyio.sleep(0.2)
        assert (await sleeper.status()).state is State.SLEEPING
        assert (await asker.status()).state is State.ASKED


async def test_rule_24_a_clock_that_is_set_forward_costs_no_lease(
    store_of: Callable[[], Any],
) -> None:
    begun, go, tokens = anyio.Event(), anyio.Event(), []

    @task
    async def slow(ctx: Context) -> None:
        tokens.append(ctx.token)
        begun.set()
        await go.wait()

    clock = SetClock()
    async with LocalEngine(slow, store=store_of(), clock=clock, **QUICK) as engine:
        run = await engine.start(slow)
        await begun.wait()
        clock.ahead = timedelta(days=1)
        await anyio.sleep(0.2)
        go.set()
        await run
    assert tokens == [1]


async def test_rule_24_a_wait_is_never_longer_than_it_was_meant_to_be(
    store_of: Callable[[], Any],
) -> None:
    """The next engine's clock, and its store's, may be behind those of the one before."""
    async with LocalEngine(nap, store=store_of(), clock=SetClock(), **QUICK) as engine:
        run = await engine.start(nap, 0.3)
        await _reached(run, State.SLEEPING)
    late = _Behind()
    async with LocalEngine(nap, store=store_of(), clock=late, **QUICK) as engine:
        late.behind = HOUR
        with anyio.fail_after(2):
            assert await (await engine.get(run.id)) == "rested"


class _Behind(SystemClock):
    """Goes back once the engine has asked its store what time it is."""

    behind = timedelta(0)

    def now(self) -> datetime:
        return super().now() - self.behind


async def test_rule_24_the_time_of_an_engine_does_not_go_back() -> None:
    clock = SetClock()
    seen: list[datetime] = []
    counted: Clock = EngineClock(clock)
    for ahead in (HOUR, -HOUR, timedelta(0), 2 * HOUR):
        clock.ahead = ahead
        seen.append(counted.now())
    assert seen == sorted(seen)


async def _reached(run: Any, state: State) -> None:
    with anyio.fail_after(5):
        while (await run.status()).state is not state:
            await anyio.sleep(0.01)
