"""Tasks that have changed since the runs of these tests began."""

from __future__ import annotations

from astro import Context, task


@task
async def publish(ctx: Context, title: int) -> int:
    return title


@task
async def double(ctx: Context, number: int) -> str:
    return str(number)


@task
async def doubled_then_asked(ctx: Context) -> str:
    return ""
