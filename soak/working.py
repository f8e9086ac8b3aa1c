"""A process that works until it is killed; run as `python -m soak.working FILE LOG FIRST RUNS`.

It starts some runs, and performs those and whatever else it finds on the file. A line goes to its
output for each run that was accepted, and one to the log for each body that begins: when, the key
of the call and the number of the attempt.
"""

from __future__ import annotations

import os
import random
import sys
import time
from datetime import timedelta
from typing import Any

import anyio

from astro import CallFailedError, Context, LocalEngine, PermanentError, Retry, SqliteStore, task
from soak.telling import say

__all__ = ["LEASE", "PARTS", "engine_on", "expected", "log_to", "plan_of", "work"]

LEASE = timedelta(seconds=2)
_log = -1


def log_to(path: str) -> None:
    global _log
    _log = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)


def note(ctx: Context, what: str = "do") -> None:
    # One write to a file opened for appending is never torn by another process.
    os.write(_log, f"{time.time():.6f} {what} {ctx.key} {ctx.attempt}\n".encode())


@task
async def leaf(ctx: Context, number: int) -> int:
    note(ctx)
    await anyio.sleep(number % 5 * 0.001)
    return number


@task(retry=Retry(attempts=3, first=timedelta(milliseconds=20)))
async def flaky(ctx: Context, number: int) -> int:
    note(ctx)
    if ctx.attempt <= number % 2:
        raise OSError("busy")
    return number


@task
async def large(ctx: Context, number: int) -> str:
    note(ctx)
    return str(number % 10) * 70_000


async def unbook(ctx: Context, result: int | None, number: int) -> None:
    note(ctx, "undo")


@task(undo=unbook)
async def book(ctx: Context, number: int) -> int:
    note(ctx)
    return number


@task
async def trip(ctx: Context, number: int) -> int:
    for place in range(3):
        await ctx.call(book, number + place)
    raise PermanentError("nobody wants to go there")


@task
async def work(ctx: Context, plan: list[tuple[str, int]]) -> int:
    """Do what a plan says, and add up what comes of it."""
    total = 0
    for kind, number in plan:
        total += await _step(ctx, kind, number)
    return total


async def _step(ctx: Context, kind: str, number: int) -> int:
    match kind:
        case "leaf":
            return await ctx.call(leaf, number)
        case "map":
            return sum(await ctx.map(leaf, range(number, number + 8), limit=4))
        case "flaky":
            return await ctx.call(flaky, number)
        case "large":
            return len(await ctx.call(large, number))
        case "sleep":
            await ctx.sleep(timedelta(milliseconds=30))
            return 0
        case "child":
            return await (await ctx.start(work, [("map", number), ("leaf", number)]))
        case "trip":
            try:
                return await ctx.call(trip, number)
            except CallFailedError:
                return 1_000_000
        case _:
            raise AssertionError(kind)


def plan_of(number: int) -> list[tuple[str, int]]:
    """Return what a run does, by its number."""
    chance = random.Random(number)
    kinds = ("leaf", "map", "flaky", "large", "sleep", "child", "trip")
    return [(chance.choice(kinds), 10 * place + number % 10) for place in range(12)]


def expected(plan: list[tuple[str, int]]) -> int:
    worth = {"large": 70_000, "sleep": 0, "trip": 1_000_000}
    total = 0
    for kind, number in plan:
        mapped = sum(range(number, number + 8))
        own = {"map": mapped, "child": mapped + number}
        total += worth.get(kind, own.get(kind, number))
    return total


PARTS = (leaf, flaky, large, book, trip, work)


def engine_on(path: str, **options: Any) -> LocalEngine:
    store = SqliteStore(path, synchronous="NORMAL")
    return LocalEngine(*PARTS, store=store, lease_for=LEASE, **options)


async def main(path: str, log: str, first: int, runs: int) -> None:
    log_to(log)
    async with engine_on(path) as engine:
        say("open")
        for number in range(first, first + runs):
            run = await engine.options(key=f"run {number}").start(work, plan_of(number))
            say(f"accepted {number} {run.id}")
        await anyio.sleep_forever()


if __name__ == "__main__":
    anyio.run(main, sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4]))
