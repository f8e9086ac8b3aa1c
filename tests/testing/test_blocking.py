"""Blocking: what ASTRO does on an event loop asks no disk for anything."""

from __future__ import annotations

import linecache
import time
from pathlib import Path

import pytest

from astro import Context, LocalEngine, MemoryStore, RunFailedError, SqliteStore, task

pytest.importorskip("blockbuster")

import blockbuster

from astro.testing.blocking import forbid_blocking

pytestmark = [pytest.mark.anyio, pytest.mark.astro_blocking(False)]


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@task
async def fails(ctx: Context) -> None:
    raise ValueError("no")


@task
async def sleeps(ctx: Context) -> None:
    time.sleep(0.001)  # noqa: ASYNC251  # that is the point


async def test_to_note_a_failure_reads_no_source() -> None:
    linecache.cache.pop(__file__, None)
    async with LocalEngine(fails, store=MemoryStore()) as engine:
        run = await engine.start(fails)
        with pytest.raises(RunFailedError):
            await run
        (failed,) = [record async for record in run if hasattr(record, "failure")]
    assert failed.failure.where.startswith(Path(__file__).name)
    assert __file__ not in linecache.cache


async def test_an_engine_on_a_file_blocks_nowhere(tmp_path: Path) -> None:
    with forbid_blocking():
        async with LocalEngine(fails, store=SqliteStore(tmp_path / "runs.db")) as engine:
            with pytest.raises(RunFailedError):
                await engine.run(fails)


async def test_what_blocks_is_named() -> None:
    async with LocalEngine(sleeps, store=MemoryStore()) as engine:
        with (
            forbid_blocking(),
            pytest.raises(RunFailedError, match=r"Blocking call to time\.sleep"),
        ):
            await engine.run(sleeps)


async def test_afterwards_everything_may_block_again() -> None:
    sleep = time.sleep
    with forbid_blocking(), pytest.raises(blockbuster.BlockingError):
        time.sleep(0)  # noqa: ASYNC251  # that is the point
    assert time.sleep is sleep
