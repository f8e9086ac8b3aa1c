"""The first page of the manual, as users write it."""

from __future__ import annotations

import anyio

from astro import Context, LocalEngine, SqliteStore, task


@task
async def greet(ctx: Context, name: str) -> str:
    return f"Good morning, {name}."


@task
async def welcome(ctx: Context, names: list[str]) -> list[str]:
    return await ctx.map(greet, names)


async def main() -> None:
    async with LocalEngine(greet, welcome, store=SqliteStore("runs.db")) as engine:
        print(await engine.run(welcome, ["Ada", "Grace"]))


if __name__ == "__main__":
    anyio.run(main)
