"""Random work for simulations: trees of calls whose result is known beforehand."""

from __future__ import annotations

import random
from datetime import timedelta
from typing import Any

import anyio

from astro import Context, Retry, State, task
from astro.core.codec import to_json
from astro.testing.simulation import Job

__all__ = ["PARTS", "jobs", "trees"]


@task
async def leaf(ctx: Context, number: int) -> int:
    await anyio.sleep(number % 3 * 0.3)
    return number


@task(retry=Retry(attempts=4, first=timedelta(seconds=2)))
async def flaky(ctx: Context, number: int) -> int:
    if ctx.attempt <= number % 3:
        raise OSError("busy")
    return number


@task
async def broken(ctx: Context, number: int) -> int:
    raise ValueError(f"{number} cannot be done")


@task
async def tree(ctx: Context, plan: dict[str, Any]) -> int:
    """Do what a plan says, and add up what comes of it."""
    total = 0
    for kind, what in plan["steps"]:
        total += await _step(ctx, kind, what)
    return total


async def _step(ctx: Context, kind: str, what: Any) -> int:
    match kind:
        case "leaf":
            return await ctx.call(leaf, what)
        case "flaky":
            return await ctx.call(flaky, what)
        case "broken":
            try:
                return await ctx.call(broken, what)
            except Exception:
                return -1
        case "map":
            return sum(await ctx.map(flaky, what, limit=3))
        case "sleep":
            await ctx.sleep(timedelta(seconds=what))
            return 0
        case "ask":
            return int(await ctx.ask(f"{what}?", bool, timeout=timedelta(seconds=9), default=True))
        case "tree":
            return await ctx.call(tree, what)
        case "start":
            return await (await ctx.start(tree, what))
        case "race":
            with anyio.move_on_after(0.5):
                await ctx.call(leaf, what)
            return 0
        case _:
            raise AssertionError(kind)


def expected(plan: dict[str, Any]) -> int:
    """Return what comes of a plan."""
    return sum(_worth(kind, what) for kind, what in plan["steps"])


def _worth(kind: str, what: Any) -> int:
    match kind:
        case "leaf" | "flaky":
            return int(what)
        case "broken":
            return -1
        case "map":
            return sum(what)
        case "ask":
            return 1
        case "tree" | "start":
            return expected(what)
        case _:
            return 0


def a_plan(chance: random.Random, depth: int = 0) -> dict[str, Any]:
    """Return a random plan."""
    kinds = ["leaf", "flaky", "broken", "map", "sleep", "ask", "race"]
    kinds += ["tree", "start"] if depth < 2 else []
    steps: list[tuple[str, Any]] = []
    for _ in range(chance.randint(1, 4)):
        kind = chance.choice(kinds)
        what: Any = chance.randint(0, 9)
        if kind == "map":
            what = [chance.randint(0, 9) for _ in range(chance.randint(0, 5))]
        elif kind == "sleep":
            what = chance.choice((1, 5, 40))
        elif kind in ("tree", "start"):
            what = a_plan(chance, depth + 1)
        steps.append((kind, what))
    return {"steps": steps}


def jobs(chance: random.Random) -> list[Job]:
    """Return some random trees."""
    return trees(chance, chance.randint(1, 4))


def trees(chance: random.Random, count: int) -> list[Job]:
    """Return random trees, with what comes of each."""
    plans = [a_plan(chance) for _ in range(count)]
    done = frozenset({State.DONE})
    return [
        Job(task=tree, args=(plan,), expected=to_json(expected(plan)), states=done)
        for plan in plans
    ]


PARTS = (leaf, flaky, broken, tree)
