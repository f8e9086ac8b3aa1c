"""What the journals of a release were made with: tasks, workflows, and what happened from outside.

`record` copies this file into the folder of a release, and from then on the copy does not change:
the journals there are continued with the code that they were made with. Only the public names of
`astro` are used.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

import anyio

from astro import (
    Budget,
    CallFailedError,
    Context,
    PermanentError,
    Retry,
    agent,
    load_workflows,
    task,
)

performed: list[str] = []
"""What was done, in order: the key of the call, and the number of the attempt."""


def note(ctx: Context) -> None:
    performed.append(f"{ctx.key} {ctx.attempt}")


# --- Small tasks ---------------------------------------------------------------------------------


@task
async def double(ctx: Context, number: int) -> int:
    note(ctx)
    return 2 * number


@task(retry=Retry(attempts=4, first=timedelta(seconds=2), jitter=0.0))
async def flaky(ctx: Context, number: int) -> int:
    note(ctx)
    if ctx.attempt <= number:
        raise OSError("busy")
    return number


@task
async def impossible(ctx: Context, what: str) -> str:
    note(ctx)
    raise PermanentError(f"nobody can {what}")


async def unbook(ctx: Context, result: str | None, what: str) -> None:
    note(ctx)


@task(undo=unbook)
async def book(ctx: Context, what: str) -> str:
    note(ctx)
    return f"booked {what}"


@task
async def never(ctx: Context) -> str:
    await anyio.sleep_forever()
    return "never"


@task(budget=Budget(money=2.0, tokens=100))
async def think(ctx: Context, money: float) -> float:
    note(ctx)
    await ctx.spend(money=money, tokens=10)
    return money


@task
async def spend(ctx: Context, money: float) -> float:
    note(ctx)
    await ctx.spend(money=money)
    return money


@task
async def fill(ctx: Context, letter: str) -> str:
    note(ctx)
    return letter * 2_000  # more than stays in the journal


@task
async def weigh(ctx: Context, flour: str) -> int:
    note(ctx)
    return 50 * len(flour)


@task
async def knead(ctx: Context, weights: list[int]) -> int:
    note(ctx)
    return sum(weights)


@task
async def salt(ctx: Context, dough: int) -> int:
    note(ctx)
    return dough // 50


@task
async def proof(ctx: Context, dough: int) -> str:
    note(ctx)
    await ctx.sleep(timedelta(seconds=20))
    return f"a loaf of {dough} g"


@agent(double, cost=0.2)
async def ada(ctx: Context, number: int) -> int:
    note(ctx)
    return 2 * number


async def toss() -> str:
    return "heads"


# --- Histories -----------------------------------------------------------------------------------


@task
async def chain(ctx: Context, number: int) -> int:
    for _ in range(4):
        number = await ctx.call(double, number)
    return number


@task
async def maps(ctx: Context, numbers: list[int]) -> int:
    once = await ctx.map(double, numbers, limit=2)
    twice = await ctx.map(double, once)
    return sum(twice)


@task
async def retries(ctx: Context) -> list[int]:
    return [await ctx.call(flaky, number) for number in (0, 1, 3)]


@task
async def failure(ctx: Context) -> str:
    with_luck = await ctx.call(double, 1)
    return await ctx.call(impossible, f"divide {with_luck} by zero")


@task
async def catches(ctx: Context) -> str:
    try:
        await ctx.call(impossible, "swim")
    except CallFailedError as error:
        return f"{error.problem} {await ctx.call(double, 21)}"
    return "it can"


@task
async def undoes(ctx: Context) -> str:
    await ctx.call(book, "a flight")
    await ctx.call(book, "a hotel")
    return await ctx.call(impossible, "pay")


@task
async def asks(ctx: Context) -> list[Any]:
    sure = await ctx.ask("Sure?", bool)
    await ctx.call(double, 3)
    nobody = await ctx.ask("Anybody?", bool, timeout=timedelta(seconds=30), default=False)
    name = await ctx.ask("Your name?", str)
    return [sure, nobody, name]


@task
async def sleeps(ctx: Context) -> bool:
    before = ctx.now("before")
    await ctx.sleep(timedelta(seconds=45))
    await ctx.call(double, 1)
    await ctx.sleep(timedelta(seconds=15))
    return ctx.now("after") - before >= timedelta(seconds=60)


@task
async def parent(ctx: Context) -> list[Any]:
    one = await ctx.start(chain, 1)
    two = await ctx.start(sleeps)
    number = await ctx.call(double, 5)
    return [await one, await two, number]


@task
async def cancelled(ctx: Context) -> str:
    await ctx.call(book, "a table")
    await ctx.start(never)
    await ctx.ask("Cancel me?", bool)
    return "too late"


@task
async def pauses(ctx: Context) -> int:
    number = await ctx.call(double, 1)
    await ctx.ask("Pause me?", bool)
    return await ctx.call(double, number)


@task
async def pays(ctx: Context) -> float:
    total = 0.0
    for money in (0.5, 1.5, 0.25):
        total += await ctx.call(think, money)
    return total


@task
async def overspends(ctx: Context) -> float:
    total = await ctx.call(spend, 1.0) + await ctx.call(spend, 2.0)
    await ctx.spend(money=4.0)
    return total


@task
async def branches(ctx: Context) -> list[int]:
    found: dict[str, int] = {}

    async def side(name: str) -> None:
        view = ctx.branch(name)
        found[name] = await view.call(double, await view.call(double, 1))

    async with anyio.create_task_group() as group:
        group.start_soon(side, "left")
        group.start_soon(side, "right")
    return [found["left"], found["right"]]


@task
async def abandons(ctx: Context) -> int:
    with anyio.move_on_after(0.5):
        await ctx.call(never)
    return await ctx.call(double, 4)


@task
async def tells(ctx: Context) -> list[str]:
    ctx.emit("begun", {"with": "a story"})
    side = await ctx.step(toss)
    number = ctx.random("die").randint(1, 6)
    await ctx.call(double, number)
    return [side, str(ctx.uuid("name"))[:0], str(number > 0)]


@task
async def large(ctx: Context) -> int:
    texts = [await ctx.call(fill, letter) for letter in "abc"]
    return sum(map(len, texts))


@task
async def nests(ctx: Context, depth: int) -> int:
    if depth == 0:
        return await ctx.call(double, 1)
    return await ctx.call(nests, depth - 1) + await ctx.call(double, depth)


FLOWS = load_workflows(Path(__file__).with_name("flow.yaml"))
PARTS: Sequence[Any] = (
    double, flaky, impossible, book, never, think, spend, fill, weigh, knead, salt, proof, ada,
    chain, maps, retries, failure, catches, undoes, asks, sleeps, parent, cancelled, pauses, pays,
    overspends, branches, abandons, tells, large, nests, *FLOWS,
)  # fmt: skip

HISTORIES: Mapping[str, tuple[Any, tuple[Any, ...], dict[str, Any]]] = {
    "abandoned": (abandons, (), {}),
    "ask": (asks, (), {}),
    "branches": (branches, (), {}),
    "budget": (pays, (), {"budget": Budget(money=9.0, tokens=900, calls=9)}),
    "budget-used-up": (overspends, (), {"budget": Budget(money=6.0)}),
    "cancel": (cancelled, (), {}),
    "chain": (chain, (3,), {}),
    "children": (parent, (), {}),
    "failure": (failure, (), {}),
    "failure-caught": (catches, (), {}),
    "fork": (chain, (5,), {}),
    "large-results": (large, (), {}),
    "map": (maps, ([1, 2, 3, 4],), {}),
    "nested": (nests, (3,), {}),
    "pause": (pauses, (), {}),
    "retry": (retries, (), {}),
    "sleep": (sleeps, (), {}),
    "told": (tells, (), {}),
    "undo": (undoes, (), {}),
    "workflow": (FLOWS[0], (["rye", "wheat"],), {}),
}
"""What is run, with which arguments and options, by name."""

FORKED = {"fork": 6}
"""At which record a run is forked once it has ended."""


async def reply(run: Any, question: str) -> None:
    """Do what people do who are asked something."""
    match question:
        case "Sure?":
            await run.answer(True)
        case "Your name?":
            await run.answer("Ada", by="Ada")
        case "Cancel me?":
            await run.cancel("enough")
        case "Pause me?":
            await run.pause()
            await run.answer(True)
            await anyio.sleep(5)
            await run.resume()
