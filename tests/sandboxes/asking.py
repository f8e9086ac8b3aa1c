"""Asking: agents are asked for things, one after the other, in one run."""

from __future__ import annotations

from typing import Any

from astro import Context, DockerSandbox, LocalEngine, MemoryStore, task

__all__ = ["asked"]


async def asked(sandbox: DockerSandbox, agent: Any, *calls: tuple[Any, ...]) -> list[Any]:
    """Return what an agent gives when it is asked for some things in one run."""
    found: list[Any] = []

    @task
    async def root(ctx: Context) -> None:
        for what, *args in calls:
            found.append(await ctx.call(what, *args))

    async with LocalEngine(root, agent, store=MemoryStore(), sandbox=sandbox) as engine:
        await engine.run(root)
    return found
