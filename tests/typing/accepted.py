"""What users write and checkers must accept, with the types they must infer."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any, Literal, assert_type

import attrs

from astro import (
    BaseAgent,
    Budget,
    ChildRun,
    Context,
    Effect,
    FunctionAgent,
    LocalEngine,
    MemoryStore,
    Page,
    Priority,
    Record,
    Retry,
    RunSummary,
    Task,
    agent,
    performs,
    task,
)


@attrs.frozen
class Review:
    text: str
    marks: int


class TooLongError(Exception):
    """Raised when a text is too long."""


async def delete(ctx: Context, result: Review | None, text: str) -> None: ...


@task
async def shout(ctx: Context, text: str, marks: int = 1) -> str:
    return text.upper() + "!" * marks


@task(
    name="review",
    retry=Retry(attempts=5, first=timedelta(seconds=2), on=(OSError,)),
    timeout=30,
    deadline=timedelta(hours=1),
    priority=Priority.HIGH,
    cache=timedelta(days=1),
    undo=delete,
    version="2",
    limit=4,
    effect=Effect.SPEND,
    raises=(TooLongError,),
    needs_agent=True,
    aliases=("rate",),
)
async def review(ctx: Context, text: str) -> Review:
    raise NotImplementedError


@task(retry=3, timeout=timedelta(seconds=5), effect="read")
async def length(ctx: Context, text: str) -> int:
    return len(text)


@task
async def nothing(ctx: Context) -> None: ...


@task
async def pair(ctx: Context, left: int, right: str) -> tuple[int, str]:
    return left, right


async def plain(text: str, times: int = 1) -> list[str]:
    return [text] * times


def tasks_keep_their_types() -> None:
    assert_type(shout.name, str)
    assert_type(review.retry, Retry)
    kept: Task[[str], Review] = review
    print(kept)


@task
async def calls(ctx: Context) -> None:
    assert_type(await ctx.call(shout, "a"), str)
    assert_type(await ctx.call(shout, "a", 2), str)
    assert_type(await ctx.call(shout, text="a", marks=2), str)
    assert_type(await ctx.call(review, "a"), Review)
    assert_type(await ctx.call(pair, 1, "a"), tuple[int, str])
    await ctx.call(nothing)
    assert_type(await shout(ctx, "a"), str)


@task
async def fans(ctx: Context, texts: list[str]) -> None:
    assert_type(await ctx.map(length, texts), list[int])
    assert_type(await ctx.map(review, (text for text in texts), limit=2), list[Review])
    assert_type(await ctx.map(shout, texts), list[str])
    assert_type(await ctx.starmap(pair, [(1, "a"), (2, "b")]), list[tuple[int, str]])
    assert_type(await ctx.starmap(shout, [("a", 1)], limit=1), list[str])


@task
async def steps(ctx: Context) -> None:
    assert_type(await ctx.step(plain, "a"), list[str])
    assert_type(await ctx.step(plain, "a", times=2), list[str])
    assert_type(await ctx.options(name="once").step(plain, "a"), list[str])


@task
async def children(ctx: Context) -> None:
    child = await ctx.start(review, "a")
    assert_type(child, ChildRun[Review])
    assert_type(child.id, str)
    assert_type(await child, Review)
    assert_type(await (await ctx.options(detached=True).start(length, "a")), int)


@task
async def questions(ctx: Context) -> None:
    assert_type(await ctx.ask("Publish?", bool), bool)
    assert_type(await ctx.ask("How many?", int, timeout=timedelta(days=3), default=1), int)
    assert_type(await ctx.ask("Which?", list[str]), list[str])
    assert_type(await ctx.ask("Rate it.", Review), Review)


@task
async def questions_whose_answers_are_no_class(ctx: Context) -> str:
    assert_type(await ctx.ask("A number, if any?", int | None), int | None)
    assert_type(await ctx.ask("Text or number?", str | int, timeout=timedelta(1)), str | int)
    assert_type(await ctx.ask("One at least?", list[str] | None, default=None), list[str] | None)
    either: Literal["a", "b"] = await ctx.ask("Which?", Literal["a", "b"], default="a")
    return either


@task
async def waits(ctx: Context) -> None:
    await ctx.sleep(timedelta(seconds=1))
    await ctx.sleep(datetime(2030, 1, 1, tzinfo=UTC))
    assert_type(ctx.now(), datetime)
    assert_type(ctx.random("dice").random(), float)
    assert_type(ctx.uuid("order").hex, str)
    ctx.emit("progress", {"done": 3})
    await ctx.spend(money=0.1, tokens=100)


@task
async def views(ctx: Context) -> None:
    assert_type(ctx.branch("left"), Context)
    assert_type(ctx.options(retry=Retry(attempts=2)), Context)
    assert_type(await ctx.branch("left").call(length, "a"), int)
    assert_type(await ctx.options(timeout=timedelta(seconds=1), priority=30).call(length, "a"), int)


@agent(review, cost=0.2)
async def quick(ctx: Context, text: str) -> Review:
    return Review(text, 1)


@agent(length, name="counter", limit=3)
async def count(ctx: Context, text: str) -> int:
    return len(text)


class Reviewer(BaseAgent):
    """Reviews text with a house style."""

    @performs(review)
    async def review(self, ctx: Context, text: str) -> Review:
        return Review(text, await ctx.call(length, text))

    @performs(shout)
    async def cry(self, ctx: Context, text: str, marks: int = 1) -> str:
        return text * marks


def agents_have_types() -> None:
    assert_type(quick, FunctionAgent)
    assert_type(Reviewer(name="second").performs, frozenset[str])


async def engines() -> None:
    async with LocalEngine(shout, review, quick, Reviewer(), store=MemoryStore()) as engine:
        assert_type(engine, LocalEngine)
        assert_type(await engine.run(shout, "a", marks=2), str)
        assert_type(await engine.run(review, "a"), Review)
        run = await engine.start(review, "a")
        assert_type(run.id, str)
        assert_type(await run, Review)
        async for record in run:
            seen: Record = record
            assert_type(seen.seq, int)
        assert_type(await run.status(), RunSummary)
        assert_type(await run.cancel("enough"), RunSummary)
        await run.answer(3, by="Ada")
        assert_type(await (await run.fork(at=3)), Review)
        assert_type(await engine.runs(limit=3), Page[RunSummary])


async def engines_with_options() -> None:
    async with LocalEngine(shout, store=MemoryStore(), budget=Budget(money=1.0)) as engine:
        view = engine.options(key="fusion-42", priority=Priority.HIGH, budget=Budget(calls=3))
        assert_type(await view.run(shout, "a"), str)
        assert_type(await (await view.start(shout, "a")), str)
        assert_type(await engine.tenant("acme").options(strict=True).run(shout, "a"), str)
        found: Any = await (await engine.get("0" * 32))
        print(found)


def engines_without_a_loop() -> None:
    engine = LocalEngine(shout, store=MemoryStore())
    assert_type(engine.run_sync(shout, "a", marks=2), str)
    engine.close_sync()
