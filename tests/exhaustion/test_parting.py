"""An engine is closed at any moment of a run, on a store that takes its time: another goes on."""

from __future__ import annotations

import random
from datetime import timedelta
from typing import Any

import anyio
import pytest

from astro import Context, LocalEngine, MemoryStore, task
from astro.testing import Fault, FaultyStore, LoopClock, VirtualIds, run_deterministically
from astro.testing.quiet import quiet

SLOW = Fault(error=None, delay=timedelta(milliseconds=40))


@task
async def nap(ctx: Context) -> bool:
    await ctx.sleep(timedelta(milliseconds=100))
    await anyio.sleep(0.02)
    return await ctx.ask("Rested?", bool)


@task
async def nap_twice(ctx: Context) -> int:
    await ctx.sleep(timedelta(milliseconds=100))
    await anyio.sleep(0.02)
    await ctx.sleep(timedelta(seconds=5))
    return 2


def parted(root: Any, moment: timedelta) -> Any:
    """Let an engine begin a run and leave after a time; return what another one makes of it."""

    async def main() -> Any:
        clock = LoopClock()
        store = MemoryStore(clock=clock)
        slow = FaultyStore(store, lambda verb, number: SLOW, clock=clock)

        def engine(number: int, on: Any) -> LocalEngine:
            chance = random.Random(number)
            said: dict[str, Any] = {"clock": clock, "ids": VirtualIds(number), "chance": chance}
            return LocalEngine(nap, nap_twice, store=on, grace=timedelta(0), **said)

        async with store:
            async with engine(1, slow) as leaves:
                run = await leaves.start(root)
                await anyio.sleep(moment.total_seconds())
            async with engine(2, store) as stays:
                again = await stays.get(run.id)
                with anyio.move_on_after(60):
                    if root is nap:
                        while (await again.status()).state != "asked":
                            await anyio.sleep(1)
                        await again.answer(True)
                    return await again
        return "lost"

    with quiet("astro"):
        return run_deterministically(main, seed=None, resolution=timedelta(milliseconds=1)).value


@pytest.mark.parametrize(
    ("root", "result"),
    [
        (nap, True),
        (nap_twice, 2),
    ],
    ids=["asks after a sleep", "sleeps after a sleep"],
)
def test_an_engine_may_leave_at_any_moment(root: Any, result: Any) -> None:
    moments = [timedelta(milliseconds=10 * number) for number in range(45)]
    found = {moment.microseconds // 1_000: parted(root, moment) for moment in moments}
    assert {moment: one for moment, one in found.items() if one != result} == {}
