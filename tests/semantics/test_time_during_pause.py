"""Rule 32: deadlines run on during a pause."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import anyio
import pytest

from astro import Context, RunFailedError, task
from tests.engine.conftest import anyio_backend, engine_of, store_of, where

__all__ = ["anyio_backend", "engine_of", "store_of", "where"]

pytestmark = pytest.mark.anyio

SOON = timedelta(milliseconds=100)


@task
async def work(ctx: Context) -> str:
    return "done"


@task
async def root(ctx: Context) -> str:
    if await ctx.ask("Go on?", bool, timeout=SOON, default=False):
        return "answered"
    return await ctx.call(work)


async def test_rule_32_a_question_times_out_during_a_pause(engine_of: Callable[..., Any]) -> None:
    async with engine_of(work, root) as engine:
        run = await engine.start(root)
        await run.pause()
        await anyio.sleep(2 * SOON.total_seconds())
        await run.resume()
        with anyio.fail_after(5):
            assert await run == "done"


@pytest.mark.parametrize("idle_for", [timedelta(seconds=60), timedelta(milliseconds=10)])
async def test_rule_32_a_paused_run_fails_at_its_deadline(
    engine_of: Callable[..., Any], idle_for: timedelta
) -> None:
    @task
    async def asks(ctx: Context) -> bool:
        return await ctx.ask("Go on?", bool)

    async with engine_of(asks, idle_for=idle_for) as engine:
        run = await engine.options(deadline=3 * SOON).start(asks)
        await run.pause()
        with anyio.fail_after(5), pytest.raises(RunFailedError, match="deadline"):
            await run
