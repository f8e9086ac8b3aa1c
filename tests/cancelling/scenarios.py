"""Scenarios: what callers do with runs, in a few lines each, and the tasks that they run."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from contextlib import suppress
from datetime import timedelta
from typing import Any

import anyio
import attrs

from astro import (
    Budget,
    Context,
    PermanentError,
    Retry,
    State,
    task,
)
from astro.testing.callers import Stage
from astro.testing.cancelling import CancelReport, cancel_matrix

__all__ = ["CALLERS", "PARTS", "WORKFLOWS", "Scenario"]


@attrs.frozen
class Scenario:
    """What a caller does, and what a matrix has to know about it.

    Attributes:
        fails: Whether it does, when nobody cancels it.
        again: Whether it may be done once more, as its runs have keys.
    """

    caller: Any
    args: tuple[Any, ...] = ()
    answers: Mapping[str, object] = attrs.field(factory=dict, kw_only=True)
    states: frozenset[State] = attrs.field(default=frozenset(), kw_only=True)
    fails: bool = attrs.field(default=False, kw_only=True)
    again: bool = attrs.field(default=True, kw_only=True)
    tenants: tuple[str, ...] = attrs.field(default=("default",), kw_only=True)

    def cancel(self, **options: Any) -> CancelReport:
        """Cancel the caller everywhere."""
        return cancel_matrix(
            self.caller,
            *self.args,
            parts=PARTS,
            answers=self.answers,
            states=self.states,
            fails=self.fails,
            again=self.again,
            tenants=self.tenants,
            **options,
        )


QUICK = Retry(attempts=4, first=timedelta(milliseconds=20), jitter=0)


# --- Tasks -------------------------------------------------------------------------------------


@task
async def double(ctx: Context, number: int) -> int:
    await anyio.sleep(0.001)
    return 2 * number


@task
async def chain(ctx: Context, number: int) -> int:
    for _ in range(4):
        number = await ctx.call(double, number)
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


@task
async def patient(ctx: Context) -> str:
    await ctx.sleep(timedelta(seconds=3))
    return "rested"


@task(retry=QUICK)
async def flaky(ctx: Context, number: int) -> int:
    if ctx.attempt < 3:
        raise OSError("busy")
    return number


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
    await ctx.call(flaky, 1)
    await ctx.call(book, "train")
    await ctx.call(book, "room")
    await ctx.call(refuse)


@task
async def children(ctx: Context) -> list[int]:
    one = await ctx.start(chain, 1)
    two = await ctx.start(fan_out, 3)
    return [await one, await two]


@task(budget=Budget(money=2.0, tokens=20))
async def think(ctx: Context, cost: float) -> float:
    await ctx.spend(money=cost, tokens=3)
    return cost


@task
async def thoughts(ctx: Context) -> float:
    return sum(await ctx.map(think, [0.5, 1.0, 1.5], limit=2))


PARTS = (
    double, chain, fan_out, question, patient, flaky,
    book, refuse, journey, children, think, thoughts,
)  # fmt: skip

WORKFLOWS: dict[str, Scenario] = {
    "a chain of calls": Scenario(chain, (1,)),
    "a map with a limit": Scenario(fan_out, (7,)),
    "a question, its answer and a time-out": Scenario(question, answers={"Sure?": True}),
    "retries and undos": Scenario(journey, fails=True),
    "child runs": Scenario(children),
    "budgets": Scenario(thoughts),
}


# --- What callers do ---------------------------------------------------------------------------


async def opens_and_closes(stage: Stage) -> list[bool]:
    """Open engines that have nothing to do, one in the other and one after the other."""
    found = []
    async with stage.engine() as one:
        async with stage.engine() as two:
            found += [one.idle, two.idle]
        await one.drain()
    async with stage.engine() as three:
        found.append(three.idle)
    return found


async def hands_over(stage: Stage) -> Any:
    """Drain an engine whose run another one finishes."""
    async with stage.engine() as one, stage.engine() as two:
        run = await one.options(key="handed").start(chain, 1)
        await one.drain()
        return await (await two.get(run.id))


async def races_for_a_key(stage: Stage) -> list[int]:
    """Start the same run three times at once."""
    results: list[int] = []
    async with stage.engine() as engine:

        async def ask() -> None:
            results.append(await engine.options(key="one").run(chain, 1))

        async with anyio.create_task_group() as group:
            for _ in range(3):
                group.start_soon(ask)
    return results


async def reads_records(stage: Stage) -> list[str]:
    """Follow the journal of a run, and answer the question that it asks."""
    kinds: list[str] = []
    async with stage.engine() as engine:
        run = await engine.options(key="read").start(question)
        async for record in run.records():
            kinds.append(record.kind)
            if record.kind == "asked" and "asked" not in kinds[:-1]:
                await run.answer(True)
        return [*kinds[:1], *kinds[-1:], str(await run)]


async def pauses_and_resumes(stage: Stage) -> Any:
    """Stop a run for a while, and look at it."""
    async with stage.engine() as engine:
        run = await engine.options(key="paused").start(chain, 3)
        await run.pause()
        await anyio.sleep(1)
        await run.resume()
        result = await run
        return result, (await run.status()).state


async def cancels(stage: Stage) -> bool:
    """Cancel a run that waits."""
    async with stage.engine() as engine:
        run = await engine.options(key="cancelled").start(patient)
        await anyio.sleep(1)
        return (await run.cancel("enough")).state.terminal


async def forks(stage: Stage) -> list[int]:
    """Begin a run anew from its fourth record."""
    async with stage.engine() as engine:
        run = await engine.options(key="forked").start(chain, 1)
        first = await run
        fork = await run.fork(at=4)
        return [first, await fork]


async def waits_for_a_while(stage: Stage) -> Any:
    """Wait for a run no longer than a moment, natively and with a scope, then to the end."""
    async with stage.engine() as engine:
        run = await engine.options(key="slow").start(patient)
        with anyio.move_on_after(0.5):
            await run
        with suppress(TimeoutError):
            async with asyncio.timeout(0.5):
                await run
        return await run


async def leaves_early(stage: Stage) -> str:
    """Start runs and leave them to whoever comes next."""
    async with stage.engine() as engine:
        for number in range(3):
            await engine.options(key=f"left {number}").start(chain, number)
        await engine.options(key="asleep").start(patient)
    return "left"


async def keeps_accounts(stage: Stage) -> float:
    """Give a tenant a budget, and let its runs use it."""
    async with stage.engine() as engine:
        guests = engine.tenant("guests")
        await guests.allow(Budget(calls=100, money=50.0))
        return await guests.options(key="thoughts").run(thoughts)


CALLERS: dict[str, Scenario] = {
    "engines that open and close": Scenario(opens_and_closes),
    "an engine that hands over": Scenario(hands_over),
    "a race for a key": Scenario(races_for_a_key),
    "records, and an answer": Scenario(reads_records, answers={"Sure?": True}),
    "pause and resume": Scenario(pauses_and_resumes),
    "a run that is cancelled": Scenario(cancels, states=frozenset({State.DONE, State.CANCELLED})),
    "a fork": Scenario(forks, again=False),
    "limits to waiting": Scenario(waits_for_a_while),
    "leaving early": Scenario(leaves_early),
    "a tenant with a budget": Scenario(keeps_accounts, tenants=("default", "guests")),
}
