"""A task that only agents perform, and no agent."""

from __future__ import annotations

from astro import Context, task


@task(needs_agent=True)
async def judge(ctx: Context, text: str) -> str:
    raise NotImplementedError
