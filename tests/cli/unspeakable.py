"""A task whose parameters have no names to be kept by."""

from __future__ import annotations

from astro import Context, task


@task
async def unspeakable(ctx: Context, *things: str) -> None: ...
