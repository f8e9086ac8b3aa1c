"""Random work for simulations, whose result is known beforehand."""

from __future__ import annotations

import random
from datetime import timedelta
from typing import Any

import anyio

from astro import Budget, Context, Retry, State, agent, task
from astro.core.codec import to_json
from astro.testing.jobs import Job
from tests.simulation.graphs import GRAPH_PARTS, GRAPHS

__all__ = ["ATTEMPTS", "BUDGETS", "PARTS", "jobs", "purchases", "trees"]

DONE = frozenset({State.DONE})
TENANTS = ("default", "acme")
BUDGETS = {"acme": Budget(money=1000.0, calls=1000), "poor": Budget(money=7.0)}
ATTEMPTS = {"flaky": 4, "broken": 1, "leaf": 1, "reviewed": 5, "buy": 2, "make": 1}


@task
async def leaf(ctx: Context, number: int) -> int:
    await anyio.sleep(number % 3 * 0.3)
    return number


@task(retry=Retry(attempts=4, first=timedelta(seconds=2)))
async def flaky(ctx: Context, number: int) -> int:
    if ctx.attempt <= number % 3:
        raise OSError("busy")
    return number


@task(retry=Retry(attempts=3, on=(OSError,)))
async def broken(ctx: Context, number: int) -> int:
    raise ValueError(f"{number} cannot be done")


@task(cache=timedelta(hours=1))
async def page(ctx: Context, number: int) -> str:
    return f"{number}" * 400


@task(needs_agent=True, retry=Retry(attempts=5, first=timedelta(seconds=1)))
async def reviewed(ctx: Context, number: int) -> int: ...


@agent(reviewed, cost=0.5)
async def moody(ctx: Context, number: int) -> int:
    if number % 2:
        raise RuntimeError("not today")
    return number


@agent(reviewed)
async def steady(ctx: Context, number: int) -> int:
    if ctx.attempt == 1 and number > 6:
        raise RuntimeError("even the steady give up now and then")
    return number


@task(budget=Budget(money=3.0), retry=Retry(attempts=2, on=(OSError,)))
async def buy(ctx: Context, price: int) -> int:
    await anyio.sleep(0.2)
    ctx.spend(money=float(price))
    return price


@task
async def shop(ctx: Context, prices: list[int]) -> int:
    return sum(await ctx.map(buy, prices, limit=2))


async def unmake(ctx: Context, result: int | None, number: int) -> None:
    await anyio.sleep(number % 2 * 0.5)


@task(undo=unmake)
async def make(ctx: Context, number: int) -> int:
    return number


@task
async def venture(ctx: Context, numbers: list[int]) -> int:
    """Make some things, in vain."""
    for number in numbers:
        await ctx.call(make, number)
    return await ctx.call(broken, 0)


@task
async def hermit(ctx: Context) -> int:
    """Sleep for longer than anybody waits."""
    await ctx.sleep(timedelta(days=300))
    return 0


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
        case "question":
            return await ctx.ask(f"What is {what}?", int)
        case "page":
            return len(await ctx.call(page, what))
        case "review":
            return await ctx.call(reviewed, what)
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


def answers(question: str) -> object:
    """Answer the questions of trees."""
    number = question.removeprefix("What is ").removesuffix("?")
    return int(number) if question.startswith("What") else True


def expected(plan: dict[str, Any]) -> int:
    """Return what comes of a plan."""
    return sum(_worth(kind, what) for kind, what in plan["steps"])


def _worth(kind: str, what: Any) -> int:
    match kind:
        case "leaf" | "flaky" | "question" | "review":
            return int(what)
        case "broken":
            return -1
        case "map":
            return sum(what)
        case "ask":
            return 1
        case "page":
            return 400
        case "tree" | "start":
            return expected(what)
        case _:
            return 0


_ALONE = ["leaf", "flaky", "broken", "map", "sleep", "ask", "race"]
_TOGETHER = [*_ALONE, "question", "page", "review"]


def a_plan(chance: random.Random, kinds: list[str], depth: int = 0) -> dict[str, Any]:
    """Return a random plan."""
    steps: list[tuple[str, Any]] = []
    for _ in range(chance.randint(1, 4)):
        kind = chance.choice([*kinds, *(["tree", "start"] if depth < 2 else [])])
        what: Any = chance.randint(0, 9)
        if kind == "map":
            what = [chance.randint(0, 9) for _ in range(chance.randint(0, 5))]
        elif kind == "sleep":
            what = chance.choice((1, 5, 20))
        elif kind in ("tree", "start"):
            what = a_plan(chance, kinds, depth + 1)
        steps.append((kind, what))
    return {"steps": steps}


def trees(chance: random.Random, count: int) -> list[Job]:
    """Return random trees that need nobody else, with what comes of each."""
    return [_tree(a_plan(chance, _ALONE)) for _ in range(count)]


def jobs(chance: random.Random) -> list[Job]:
    """Return some random work."""
    makers = chance.choices((_talk, _graph, _shopping, _venture, _rest), (6, 4, 3, 1, 1), k=3)
    return [make(chance) for make in makers[: chance.randint(1, 3)]]


def purchases(chance: random.Random) -> list[Job]:
    """Return work that is all about money."""
    return [_shopping(chance) for _ in range(4)]


def _tree(plan: dict[str, Any], tenant: str = "default") -> Job:
    return Job(
        task=tree,
        args=(plan,),
        expected=to_json(expected(plan)),
        states=DONE,
        tenant=tenant,
        answers=answers,
    )


def _talk(chance: random.Random) -> Job:
    return _tree(a_plan(chance, _TOGETHER), chance.choice(TENANTS))


def _graph(chance: random.Random) -> Job:
    flow, gives = chance.choice(GRAPHS)
    start = chance.randint(0, 9)
    return Job(
        task=flow,
        kwargs={"start": start},
        expected=to_json(gives(start)),
        tenant=chance.choice(TENANTS),
    )


def _shopping(chance: random.Random) -> Job:
    """Return a job that may run out of money, as others of its tenant spend too."""
    prices = [chance.randint(1, 3) for _ in range(chance.randint(1, 5))]
    return Job(
        task=shop,
        args=(prices,),
        expected=to_json(sum(prices)),
        states=frozenset({State.DONE, State.FAILED}),
        tenant=chance.choice((*TENANTS, "poor")),
        budget=Budget(money=3.0 * chance.randint(1, 6)),
    )


def _venture(chance: random.Random) -> Job:
    numbers = [chance.randint(0, 9) for _ in range(chance.randint(1, 4))]
    return Job(task=venture, args=(numbers,), states=frozenset({State.FAILED}))


def _rest(chance: random.Random) -> Job:
    return Job(task=hermit, lasting=True, tenant=chance.choice(TENANTS))


PARTS = (
    *(leaf, flaky, broken, page, reviewed, moody, steady),
    *(buy, shop, make, venture, hermit, tree),
    *GRAPH_PARTS,
)
