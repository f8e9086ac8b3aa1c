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
    number: int = await ctx.call(shout, "a")  # E: arg-type  # pyright: ignore
    numbers: list[int] = await ctx.map(shout, ["a"])  # E: arg-type  # pyright: ignore
    print(number, numbers)


@task
async def fans(ctx: Context) -> None:
    await ctx.map(pair, [1])  # E: arg-type  # pyright: ignore[reportArgumentType]
    await ctx.map(shout, [1])  # E: misc  # pyright: ignore[reportArgumentType]
    await ctx.map(plain, ["a"])  # E: arg-type  # pyright: ignore[reportArgumentType]


@task
async def steps(ctx: Context) -> None:
    await ctx.step(plain, 1)  # E: arg-type  # pyright: ignore[reportArgumentType]
    await ctx.step(plain)  # E: call-arg  # pyright: ignore[reportCallIssue]


@task
async def others(ctx: Context) -> None:
    await ctx.start(shout, 1)  # E: arg-type  # pyright: ignore[reportArgumentType]
    await ctx.ask("How many?", 5)  # E: call-overload  # pyright: ignore
    await ctx.sleep(3)  # E: arg-type  # pyright: ignore[reportArgumentType]
    ctx.options(retry=3)  # E: arg-type  # pyright: ignore[reportArgumentType]
    text: str = await ctx.ask("Publish?", bool)  # E: arg-type  # pyright: ignore
    number: int = await ctx.ask("Maybe?", int | None)  # E: arg-type  # pyright: ignore
    child = await ctx.start(shout, "a")
    wrong: int = await child  # E: assignment  # pyright: ignore[reportAssignmentType]
    print(text, number, wrong)


@task  # E: arg-type  # pyright: ignore[reportArgumentType]
async def takes_no_context() -> None: ...


@task  # E: arg-type  # pyright: ignore
def is_not_async(ctx: Context) -> None: ...


@task(retries=3)  # E: call-overload, untyped-decorator  # pyright: ignore
async def has_a_misspelled_option(ctx: Context) -> None: ...


@task(retry="3")  # E: call-overload, untyped-decorator  # pyright: ignore
async def has_a_wrong_option(ctx: Context) -> None: ...


@agent(shout)  # E: arg-type  # pyright: ignore[reportArgumentType]
async def gives_another_result(ctx: Context, text: str, marks: int = 1) -> int:
    return marks


@agent(shout)  # E: arg-type  # pyright: ignore[reportArgumentType]
async def takes_other_arguments(ctx: Context, text: bytes, marks: int = 1) -> str:
    return str(text)


class Wrong(BaseAgent):
    """Performs tasks it does not fit."""

    @performs(shout)  # E: arg-type  # pyright: ignore[reportArgumentType]
    async def number(self, ctx: Context, text: str, marks: int = 1) -> int:
        return marks

    @performs(pair)  # E: arg-type  # pyright: ignore[reportArgumentType]
    async def lacks_a_parameter(self, ctx: Context, left: int) -> str:
        return str(left)


async def engines() -> None:
    async with LocalEngine(shout, store=MemoryStore()) as engine:
        await engine.run(shout, "a", key="k")  # E: call-arg  # pyright: ignore[reportCallIssue]
        await engine.run(shout, mark=1)  # E: call-overload  # pyright: ignore[reportCallIssue]
        await engine.run(plain, "a")  # E: call-overload  # pyright: ignore
        await engine.start(pair, 1)  # E: call-overload  # pyright: ignore[reportCallIssue]
        await engine.options(keys="k").run(shout, "a")  # E: call-arg  # pyright: ignore
        number: int = await engine.run(shout, "a")  # E: call-overload  # pyright: ignore
        run = await engine.start(shout, "a")
        other: int = await run  # E: assignment  # pyright: ignore[reportAssignmentType]
        print(number, other)


def parts() -> None:
    LocalEngine(plain, store=MemoryStore())  # E: arg-type  # pyright: ignore
    LocalEngine(shout)  # E: call-arg  # pyright: ignore[reportCallIssue]
    LocalEngine(shout, store="runs.db")  # E: arg-type  # pyright: ignore[reportArgumentType]
