"""Scenarios: small runs that together use every verb of a store, with what comes of them."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import attrs

from astro import Budget, Context, PermanentError, Retry, State, task
from astro.core.task import Task

__all__ = ["LASTING", "PARTS", "QUICK", "TENANT_BUDGET", "Scenario"]

SHORT = Retry(attempts=4, first=timedelta(milliseconds=5))
TENANT_BUDGET = Budget(calls=100, money=50.0, tokens=1_000)


@attrs.frozen(kw_only=True)
class Scenario:
    """A run, and what comes of it.

    Attributes:
        calls: How many calls of tasks and steps have a result in the end.
        answer: To the question that it asks, if it does.
        budget: Of the tenant.
        parted: Whether the engine that began the run leaves while it waits for the answer.
        rival: Whether another engine, for which nothing goes wrong, is on the same store.
    """

    name: str
    task: Task[..., Any]
    args: tuple[Any, ...] = ()
    expected: object = None
    calls: int
    state: State = State.DONE
    answer: object = None
    budget: Budget | None = None
    parted: bool = False
    rival: bool = False


@task
async def double(ctx: Context, number: int) -> int:
    return 2 * number


@task
async def chain(ctx: Context, number: int) -> int:
    for _ in range(3):
        number = await ctx.call(double, number)
    return number


@task
async def slow_chain(ctx: Context, number: int) -> int:
    for _ in range(3):
        number = await ctx.call(double, number)
        await ctx.sleep(timedelta(seconds=7))
    return number


@task
async def fan_out(ctx: Context, count: int) -> int:
    return sum(await ctx.map(double, range(count), limit=3))


@task
async def question(ctx: Context) -> list[Any]:
    before = await ctx.call(double, 1)
    await ctx.sleep(timedelta(milliseconds=30))
    sure = await ctx.ask("Sure?", bool)
    late = await ctx.ask("Else?", bool, timeout=timedelta(milliseconds=20), default=False)
    return [before, sure, late, await ctx.call(double, 2)]


@task(retry=SHORT)
async def flaky(ctx: Context, number: int) -> int:
    if ctx.attempt < 3:
        raise OSError("busy")
    return number


@task
async def retries(ctx: Context) -> list[int]:
    return [await ctx.call(flaky, 1), await ctx.call(flaky, 2)]


@task
async def children(ctx: Context) -> list[int]:
    one = await ctx.start(chain, 1)
    two = await ctx.start(fan_out, 3)
    return [await one, await two]


async def take_back(ctx: Context, booked: str | None, what: str) -> None:
    await ctx.call(double, len(what))


@task(undo=take_back)
async def book(ctx: Context, what: str) -> str:
    return f"booked {what}"


@task
async def refuse(ctx: Context) -> None:
    raise PermanentError("sold out")


@task
async def journey(ctx: Context) -> None:
    await ctx.call(book, "train")
    await ctx.call(book, "room")
    await ctx.call(refuse)


@task(budget=Budget(money=2.0, tokens=20))
async def think(ctx: Context, cost: float) -> float:
    await ctx.spend(money=cost, tokens=3)
    return cost


@task
async def thoughts(ctx: Context) -> float:
    return sum(await ctx.map(think, [0.5, 1.0, 1.5], limit=2))


@task(cache=timedelta(hours=1))
async def write_much(ctx: Context, letter: str) -> str:
    return letter * 40


@task
async def large(ctx: Context) -> str:
    many = [await ctx.call(write_much, letter) for letter in "ab"]
    return "".join(many)


_ABOUT_LARGE = "a" * 40 + "b" * 40

QUICK = (
    Scenario(name="chain", task=chain, args=(1,), expected=8, calls=3),
    Scenario(name="fan-out", task=fan_out, args=(6,), expected=30, calls=6),
    Scenario(
        name="ask and answer", task=question, expected=[2, True, False, 4], calls=2, answer=True
    ),
    Scenario(
        name="ask, part and answer",
        task=question,
        expected=[2, True, False, 4],
        calls=2,
        answer=True,
        parted=True,
    ),
    Scenario(name="retry", task=retries, expected=[1, 2], calls=2),
    Scenario(name="child runs", task=children, expected=[8, 6], calls=6),
    Scenario(name="undo", task=journey, calls=6, state=State.FAILED),
    Scenario(name="budgets", task=thoughts, expected=3.0, calls=3, budget=TENANT_BUDGET),
    Scenario(name="large results", task=large, expected=_ABOUT_LARGE, calls=2),
)
"""Over in a moment."""

LASTING = (
    Scenario(name="renewals", task=slow_chain, args=(1,), expected=8, calls=3),
    Scenario(name="a rival", task=slow_chain, args=(1,), expected=8, calls=3, rival=True),
)
"""Longer than a lease."""

PARTS = (
    double, chain, slow_chain, fan_out, question, flaky, retries, children,
    book, refuse, journey, think, thoughts, write_much, large,
)  # fmt: skip
