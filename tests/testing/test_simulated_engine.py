"""An engine in a simulation: days pass in milliseconds, and a seed decides every byte."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Coroutine
from datetime import timedelta
from typing import Any

import anyio
import pytest

from astro import Context, LocalEngine, MemoryStore, RunCancelledError, task
from astro.core.policy import Retry
from astro.testing.clock import VirtualIds
from astro.testing.loop import LoopClock, Simulated, run_deterministically

DAYS = timedelta(days=3)
HOUR = timedelta(hours=1)
Journals = list[list[bytes]]


@task(retry=Retry(attempts=4, first=timedelta(seconds=30)))
async def flaky(ctx: Context, number: int) -> int:
    if ctx.attempt < 3:
        raise OSError("busy")
    await anyio.sleep(number)
    return number * number


@task
async def article(ctx: Context) -> list[int]:
    await ctx.sleep(DAYS)
    numbers = await ctx.map(flaky, range(5))
    published = await ctx.ask("Publish?", bool, timeout=DAYS, default=True)
    ctx.emit("published", f"{ctx.now()} {ctx.uuid()}")
    return [*numbers, int(published)]


@task
async def report(ctx: Context, first: int) -> list[int]:
    return await ctx.map(flaky, range(first, first + 6))


def engine_on(store: MemoryStore, clock: LoopClock, number: int, **options: Any) -> LocalEngine:
    return LocalEngine(
        article,
        flaky,
        report,
        store=store,
        clock=clock,
        ids=VirtualIds(number),
        chance=random.Random(number),
        name=f"engine-{number}",
        **options,
    )


async def journals(engine: LocalEngine) -> Journals:
    """Return every byte that is kept of each run, newest run first."""
    found = (await engine.runs(limit=1_000)).items
    return [
        [
            f"{entry.seq} {entry.token} {entry.hash} {entry.body}".encode()
            for entry in await engine.store.read("default", one.id, limit=1_000)
        ]
        for one in found
    ]


async def one_article() -> tuple[list[int], Journals]:
    clock = LoopClock()
    async with engine_on(MemoryStore(clock=clock), clock, 1, lease_for=10 * DAYS) as engine:
        return await engine.run(article), await journals(engine)


async def two_engines() -> Journals:
    """Share six runs between two engines, of which one leaves, and cancel one of them."""
    clock = LoopClock()
    store = MemoryStore(clock=clock)
    async with engine_on(store, clock, 1) as stays:
        async with engine_on(store, clock, 2) as leaves:
            runs = [await (stays, leaves)[n % 2].start(report, 20 + n) for n in range(6)]
            await anyio.sleep(7)
            await runs[0].cancel()
        for run in runs[1:]:
            await (await stays.get(run.id))
        with pytest.raises(RunCancelledError):
            await (await stays.get(runs[0].id))
        return await journals(stays)


Scenario = Callable[[], Coroutine[Any, Any, Any]]
scenarios = pytest.mark.parametrize("scenario", [one_article, two_engines])


def simulate(scenario: Scenario, seed: int | None) -> Simulated[Any]:
    # Engines look for news several times a second; in six days that adds up.
    resolution = HOUR if scenario is one_article else timedelta(0)
    return run_deterministically(scenario, seed=seed, resolution=resolution)


@pytest.mark.parametrize("seed", [None, 0, 1])
def test_two_waits_of_three_days_take_less_than_half_a_second(seed: int | None) -> None:
    simulate(one_article, seed)  # what loads on first use has nothing to do with it
    began = time.perf_counter()
    done = simulate(one_article, seed)
    assert time.perf_counter() - began < 0.5
    assert done.value[0] == [0, 1, 4, 9, 16, 1]
    assert timedelta(seconds=done.elapsed) >= 2 * DAYS


@scenarios
@pytest.mark.parametrize("seed", range(5))
def test_the_same_seed_gives_the_same_trace_and_the_same_journals(
    scenario: Scenario, seed: int
) -> None:
    first = simulate(scenario, seed)
    others_in_memory = [bytearray(n) for n in range(2_000)]
    del others_in_memory[::2]
    assert simulate(scenario, seed) == first
    assert first.value


def test_without_a_seed_one_engine_does_the_same_as_well() -> None:
    assert simulate(one_article, None) == simulate(one_article, None)


@scenarios
def test_different_seeds_give_different_traces(scenario: Scenario) -> None:
    assert len({simulate(scenario, seed).trace for seed in range(5)}) == 5


def test_different_seeds_give_the_same_result() -> None:
    assert {tuple(simulate(one_article, seed).value[0]) for seed in range(10)} == {
        (0, 1, 4, 9, 16, 1)
    }
