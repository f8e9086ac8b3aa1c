"""What the commands of these tests run."""

from __future__ import annotations

from contextlib import suppress
from datetime import timedelta

import anyio

from astro import (
    BaseAgent,
    CallFailedError,
    Context,
    PermanentError,
    Retry,
    Workflow,
    performs,
    task,
)
from astro.core.workflow import Node


@task
async def greet(ctx: Context, name: str, times: int = 1) -> str:
    return " ".join([f"Good morning, {name}."] * times)


@task
async def broken(ctx: Context) -> str:
    raise PermanentError("nothing helps")


@task
async def publish(ctx: Context, title: str) -> str:
    ctx.emit("drafted", title)
    return "published" if await ctx.ask(f"Publish {title}?", bool) else "kept"


@task
async def choose(ctx: Context) -> str:
    return await ctx.ask("Which?", str)


@task
async def patient(ctx: Context) -> str:
    quick = timedelta(milliseconds=1500)
    return await ctx.ask("Now?", str, timeout=quick, default="in time")


@task
async def count(ctx: Context, to: int) -> dict[str, list[int]]:
    numbers = await ctx.map(double, range(to))
    return {"numbers": numbers}


@task
async def double(ctx: Context, number: int) -> int:
    return 2 * number


@task
async def slow(ctx: Context, parts: int) -> int:
    for number in range(parts):
        await ctx.call(double, number)
        await anyio.sleep(0.05)
    return parts


@task
async def doubled_then_asked(ctx: Context) -> str:
    await ctx.call(double, 2)
    return await ctx.ask("Which?", str)


@task(retry=Retry(attempts=2, first=timedelta(milliseconds=1)))
async def flaky(ctx: Context) -> str:
    if ctx.attempt == 1:
        raise OSError("down")
    return "up"


@task
async def varied(ctx: Context) -> str:
    with suppress(CallFailedError):
        await ctx.call(broken)
    with anyio.move_on_after(0.01):
        await ctx.call(slow, 100)
    await ctx.sleep(timedelta(milliseconds=1))
    await (await ctx.start(greet, "Ada"))
    return await ctx.call(flaky) + await ctx.call(review, "text")


@task(needs_agent=True)
async def review(ctx: Context, text: str) -> str:
    raise NotImplementedError


class Reviewer(BaseAgent):
    """Reviews."""

    @performs(review)
    async def review(self, ctx: Context, text: str) -> str:
        return f"fine: {text}"


flow = Workflow("flow", [Node("hello", "greet", inputs={"name": "Ada"})])
nothing = 7
reviewer = Reviewer()
