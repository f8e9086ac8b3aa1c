"""A task that only agents perform, and no agent; what asks for it, and what does not."""

from __future__ import annotations

from astro import Context, Workflow, task
from astro.core.workflow import Node


@task(needs_agent=True)
async def judge(ctx: Context, text: str) -> str:
    raise NotImplementedError


@task
async def judged(ctx: Context, text: str) -> str:
    return await ctx.call(judge, text)


@task
async def alone(ctx: Context) -> str:
    return "done alone"


flow = Workflow("flow", [Node("only", "judge", inputs={"text": "x"})])
