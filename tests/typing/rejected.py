"""What users write by mistake and checkers must reject.

Each wrong line names mypy's code after `E:`; pyright must find it wrong too, because it is told
to report comments that ignore nothing.
"""
# pyright: strict, reportUnnecessaryTypeIgnoreComment=true

from __future__ import annotations

from astro import BaseAgent, Context, LocalEngine, MemoryStore, agent, performs, task


@task
async def shout(ctx: Context, text: str, marks: int = 1) -> str:
    return text.upper() + "!" * marks


@task
async def pair(ctx: Context, left: int, right: str) -> str:
    return right * left


async def plain(text: str) -> str:
    return text


@task
async def calls(ctx: Context) -> None:
    await ctx.call(shout, 1)  # E: arg-type  # pyright: ignore[reportArgumentType]
    await ctx.call(shout)  # E: call-arg  # pyright: ignore[reportCallIssue]
    await ctx.call(shout, "a", 1, 2)  # E: call-arg  # pyright: ignore[reportCallIssue]
    await ctx.call(shout, text="a", mark=2)  # E: call-arg  # pyright: ignore[reportCallIssue]
    await ctx.call(plain, "a")  # E: arg-type  # pyright: ignore
    await shout("a")  # E: arg-type, call-arg  # pyright: ignore


@task
async def results(ctx: Context) -> None:
    number: int = await ctx.call(shout, "a")  # E: assignment  # pyright: ignore[reportAssignmentType]
    numbers: list[int] = await ctx.map(shout, ["a"])  # E: arg-type  # pyright: ignore
    print(number, numbers)


@task
async def fans(ctx: Context) -> None:
    await ctx.map(pair, [1])  # E: arg-type  # pyright: ignore[reportArgumentType]
    await ctx.map(shout, [1])  # E: list-item  # pyright: ignore[reportArgumentType]
    await ctx.map(plain, ["a"])  # E: arg-type  # pyright: ignore[reportArgumentType]


@task
async def steps(ctx: Context) -> None:
    await ctx.step(plain, 1)  # E: arg-type  # pyright: ignore[reportArgumentType]
    await ctx.step(plain)  # E: call-arg  # pyright: ignore[reportCallIssue]


@task
async def others(ctx: Context) -> None:
    await ctx.start(shout, 1)  # E: arg-type  # pyright: ignore[reportArgumentType]
    await ctx.ask("How many?", int, default="x")  # E: call-overload  # pyright: ignore
    await ctx.sleep(3)  # E: arg-type  # pyright: ignore[reportArgumentType]
    ctx.options(retry=3)  # E: arg-type  # pyright: ignore[reportArgumentType]
    text: str = await ctx.ask("Publish?", bool)  # E: assignment  # pyright: ignore
    print(text)


@task
async def no_context() -> None: ...  # pyright: ignore
