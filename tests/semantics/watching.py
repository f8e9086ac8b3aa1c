"""What the tests of the rules wait for: something that was committed, never a time."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import anyio

from astro import Run, RunSummary


async def until(run: Run[Any], kind: str) -> Any:
    """Return the run's first record of a kind, once it is kept."""
    async for record in run.records():
        if record.kind == kind:
            return record
    raise AssertionError(f"the run ended without a record {kind!r}")


async def until_status(run: Run[Any], fits: Callable[[RunSummary], bool]) -> RunSummary:
    """Return what the store says of the run, once it fits."""
    with anyio.fail_after(5):
        while not fits(found := await run.status()):
            await anyio.sleep(0.005)
    return found


async def kinds_of(run: Run[Any]) -> list[str]:
    """Return the kinds of the run's records so far."""
    return [record.kind async for record in run.records(follow=False)]
