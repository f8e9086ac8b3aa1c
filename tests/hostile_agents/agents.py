"""Agents that misbehave, each in its own way, beside one that does what it is asked to."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any

import anyio

from astro import BaseAgent, CallFailedError, Context, FunctionAgent, Retry, agent, performs, task

__all__ = [
    "Behaviour",
    "Hostile",
    "Kind",
    "as_function",
    "good",
    "hostile",
    "root",
    "work",
]

AT_ONCE = Retry(attempts=3, first=timedelta(0))
Behaviour = Callable[[Context, list[int]], Awaitable[Any]]


@task(needs_agent=True, timeout=timedelta(seconds=0.15), retry=AT_ONCE)
async def work(ctx: Context, items: list[int]) -> str: ...


@task
async def good(ctx: Context, number: int) -> int:
    return number + 1


@task
async def root(ctx: Context, items: list[int]) -> list[Any]:
    """Return what came of the work, and the items as they are after it."""
    try:
        found = await ctx.call(work, items)
    except CallFailedError as error:
        found = f"{error.failure.type.rpartition('.')[2]} after {error.failure.attempts}"
    return [found, items]


class Hostile(BaseAgent):
    """Behaves as it is told; cheaper than any other."""

    cost = 0.1

    def __init__(self, behaviour: Behaviour) -> None:
        super().__init__()
        self._behaviour = behaviour

    @performs(work)
    async def work(self, ctx: Context, items: list[int]) -> str:
        found: str = await self._behaviour(ctx, items)
        return found


def as_function(behaviour: Behaviour) -> FunctionAgent:
    """Return a function that behaves so, as an agent."""

    @agent(work, cost=0.1)
    async def hostile(ctx: Context, items: list[int]) -> str:
        found: str = await behaviour(ctx, items)
        return found

    return hostile


class Kind(BaseAgent):
    """Works."""

    @performs(work)
    async def work(self, ctx: Context, items: list[int]) -> str:
        return f"worked on {items}"


@asynccontextmanager
async def hostile(engine_of: Callable[..., Any], *parts: Any, **options: Any) -> AsyncIterator[Any]:
    """Open an engine for mischief; when it is over the engine is well, and leaves nothing."""
    options = {"lease_for": timedelta(seconds=10)} | options  # an agent may take the loop for long
    before = _tasks()
    with anyio.fail_after(20):
        async with engine_of(work, root, good, Kind(), *parts, **options) as engine:
            yield engine
            with anyio.fail_after(5):
                assert await engine.run(good, 1) == 2
                while engine.parts.slots.used:
                    await anyio.sleep(0.005)
        while _tasks() - before:
            await anyio.sleep(0.005)


def _tasks() -> set[Any]:
    try:
        return {*asyncio.all_tasks()}
    except RuntimeError:  # trio's nurseries let nothing be left
        return set()
