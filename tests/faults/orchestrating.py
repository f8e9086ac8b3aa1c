"""A process that runs workflows to their end; run as `python -m tests.faults.orchestrating`.

It prints what happens, a line each: an item begins, an item's result has reached its caller, a run
was accepted, a run's result, a refusal by its type. Where a store refuses, it tries again, as an
application would, but no more often than its first argument says. The others name stores; it works
on one after the other.
"""

from __future__ import annotations

import sys
from datetime import timedelta

import anyio

from astro import Context, LocalEngine, SqliteStore, StoreError, task
from tests.faults.committing import say

ITEMS, AT_ONCE, KEYS = 12, 6, ("one", "two")
RESULT = sum(item * item for item in range(ITEMS))
_PAUSE = 0.02  # seconds


@task
async def square(ctx: Context, of: str, item: int) -> int:
    say("begin", of, item)
    return item * item


@task
async def root(ctx: Context, of: str) -> int:
    pairs = [(of, item) for item in range(AT_ONCE)]
    total = sum(await ctx.starmap(square, pairs, limit=3))
    for item in range(AT_ONCE):
        say("kept", of, item)
    for item in range(AT_ONCE, ITEMS):
        total += await ctx.call(square, of, item)
        say("kept", of, item)
    return total


async def perform(path: str) -> None:
    """Perform both runs on a store; the keys make it harmless to do so again."""
    store = SqliteStore(path)
    short = timedelta(seconds=0.5)
    async with LocalEngine(square, root, store=store, lease_for=short, grace=short) as engine:
        runs = {}
        for key in KEYS:
            runs[key] = run = await engine.options(key=key).start(root, key)
            say("accepted", key, run.id)
        for key, run in runs.items():
            while not (await run.status()).state.terminal:
                # An engine waits for its store; an application may want to know.
                engine.require_healthy()
                await anyio.sleep(_PAUSE)
            say("result", key, await run)
        for problem in (await store.check()).problems:
            say("problem", problem)
        say("checked")


async def main(*args: str) -> None:
    for path in args[1:]:
        say("store", path)
        for _ in range(int(args[0])):
            try:
                await perform(path)
                break
            except StoreError as error:
                say("refused", type(error).__name__, error)
            await anyio.sleep(_PAUSE)


if __name__ == "__main__":
    anyio.run(main, *sys.argv[1:])
