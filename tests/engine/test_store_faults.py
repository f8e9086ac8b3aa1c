"""An engine whose store fails: it says so, takes nothing, and goes on when the store does."""

from __future__ import annotations

import os
import signal
import sqlite3
from datetime import timedelta
from pathlib import Path
from typing import Any

import anyio
import pytest

from astro import (
    Context,
    LocalEngine,
    MemoryStore,
    RunFailedError,
    SqliteStore,
    StoreUnavailableError,
    task,
)
from astro.core.errors import StoreFullError
from astro.core.protocols import Commit, Lease
from tests.engine.conftest import QUICK

pytestmark = pytest.mark.anyio


class FullStore(MemoryStore):
    """A store whose disk is full while `full` is set."""

    full = False

    async def commit(self, lease: Lease, commit: Commit, /) -> Lease:
        if self.full:
            raise StoreFullError("The disk is full.", remedy="Make room.")
        return await super().commit(lease, commit)


async def test_a_full_disk_stops_the_engine_from_taking_work_until_there_is_room() -> None:
    store = FullStore()
    begun: list[int] = []

    @task
    async def work(ctx: Context) -> str:
        begun.append(1)
        store.full = len(begun) == 1
        return "kept"

    @task
    async def root(ctx: Context) -> str:
        return await ctx.call(work)

    async with LocalEngine(work, root, store=store, **QUICK) as engine:
        run = await engine.start(root)
        await anyio.sleep(0.1)
        with pytest.raises(StoreUnavailableError, match="The disk is full"):
            await engine.start(root)
        store.full = False
        with anyio.fail_after(5):
            assert await run == "kept"
        assert await engine.run(root) == "kept"


async def test_a_damaged_journal_is_reported_and_the_other_runs_go_on(
    tmp_path: Path, anyio_backend: str, caplog: pytest.LogCaptureFixture
) -> None:
    if anyio_backend != "asyncio":
        return
    go = anyio.Event()

    @task
    async def root(ctx: Context, item: int) -> int:
        await go.wait()
        return item

    path = tmp_path / "runs.db"
    async with LocalEngine(
        root, store=SqliteStore(path), **(QUICK | {"grace": timedelta(0)})
    ) as engine:
        bad, good = await engine.start(root, 1), await engine.start(root, 2)
        while (await bad.status()).records < 3 or (await good.status()).records < 3:
            await anyio.sleep(0.01)
    await anyio.to_thread.run_sync(damage, path, bad.id)
    go.set()
    async with LocalEngine(root, store=SqliteStore(path), **QUICK) as engine:
        with anyio.fail_after(5):
            assert await (await engine.get(good.id)) == 2
        assert not (await (await engine.get(bad.id)).status()).state.terminal
        found = await engine.store.check()  # type: ignore[attr-defined]  # of every shipped store
    assert any(bad.id in problem for problem in found.problems)
    assert any(bad.id in record.getMessage() for record in caplog.records)


def damage(path: Path, run: str) -> None:
    """Change one letter of a record, as a bad disk does."""
    db = sqlite3.connect(path)
    changed = db.execute(
        "update entries set body = replace(body, 'owned', 'owneb') where place in ("
        "select (number << 28) + 2 from runs where id = ?)",
        (run,),
    ).rowcount
    db.commit()
    db.close()
    assert changed == 1


async def test_a_fault_of_one_run_leaves_the_engine_alive() -> None:
    class Broken:
        """A router that is wrong."""

        def choose(self, task: str, candidates: Any, /) -> Any:
            raise RuntimeError("no idea")

    @task
    async def alone(ctx: Context) -> int:
        return 1

    async with LocalEngine(alone, store=MemoryStore(), router=Broken(), **QUICK) as engine:
        assert await engine.run(alone) == 1


async def test_rule_16_a_signal_drains_where_the_application_asks_for_it(
    anyio_backend: str,
) -> None:
    begun = anyio.Event()

    @task
    async def root(ctx: Context) -> None:
        begun.set()
        await anyio.sleep(0.05)

    async with LocalEngine(root, store=MemoryStore(), **QUICK) as engine:
        async with anyio.create_task_group() as group:
            group.start_soon(engine.drain_on, signal.SIGTERM)
            run = await engine.start(root)
            await begun.wait()
            await anyio.sleep(0.02)
            os.kill(os.getpid(), signal.SIGTERM)
        assert (await run.status()).state.terminal


async def test_an_undecodable_failure_is_still_a_failure() -> None:
    class OddError(Exception):
        def __init__(self) -> None:
            super().__init__(object(), "\ud800")

    @task
    async def root(ctx: Context) -> None:
        raise OddError

    async with LocalEngine(root, store=MemoryStore(), **QUICK) as engine:
        with pytest.raises(RunFailedError, match="OddError"):
            await engine.run(root)
