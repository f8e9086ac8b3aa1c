"""A task beside those of the house."""

from __future__ import annotations

from astro import Context, task


@task
async def needed(ctx: Context) -> None: ...
