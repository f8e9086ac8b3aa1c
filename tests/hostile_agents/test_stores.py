"""Stores that are taken away, replaced, locked or silent under an engine: nothing is lost.

What a store itself says in such a case is the matter of `tests/stores/test_sqlite_file.py`.
"""

from __future__ import annotations

import fcntl
import os
import random
import sqlite3
import subprocess
import sys
import textwrap
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, closing, nullcontext
from datetime import timedelta
from pathlib import Path
from typing import Any

import anyio
import pytest

from astro import (
    Context,
    LocalEngine,
    MemoryStore,
    SqliteStore,
    StoreUnavailableError,
    task,
)
from astro.core.errors import StoreBusyError
from astro.testing import Fault, FaultyStore, LoopClock, VirtualIds, run_deterministically
from astro.testing.quiet import quiet
from astro.testing.watched_store import WatchedStore
from tests.engine.conftest import QUICK
from tests.stores.making import TENANT, new_run

pytestmark = pytest.mark.anyio
FILES = ("", "-wal", "-shm")


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "runs.db"


class Work:
    """Counts how often it is done, and waits in the middle."""

    def __init__(self) -> None:
        self.done: list[int] = []
        self.reached = anyio.Event()
        self.gate = anyio.Event()

        @task
        async def step(ctx: Context, number: int) -> int:
            self.done.append(number)
            return number

        @task
        async def root(ctx: Context) -> int:
            total = await ctx.call(step, 1)
            self.reached.set()
            await self.gate.wait()
            return total + await ctx.call(step, 2) + await ctx.call(step, 3)

        self.step, self.root = step, root

    @property
    def parts(self) -> tuple[Any, ...]:
        return (self.step, self.root)


def move(path: Path, target: Path) -> None:
    for end in FILES:
        if path.with_name(path.name + end).exists():
            path.with_name(path.name + end).rename(target.with_name(target.name + end))


async def refused(engine: LocalEngine, what: Any, kind: type[Exception], match: str) -> None:
    """Return when the engine refuses new work with the reason."""
    while True:
        try:
            await engine.start(what, 9)
        except kind as error:
            if match in str(error):
                return
        await anyio.sleep(0.02)


async def accepted(engine: LocalEngine, what: Any, number: int) -> int:
    """Return the result of a run as soon as the engine takes runs again."""
    while True:
        try:
            return int(await engine.run(what, number))
        except StoreUnavailableError:
            await anyio.sleep(0.02)


async def test_what_is_kept_while_a_file_is_elsewhere_is_there_when_it_is_back(
    path: Path,
) -> None:
    work = Work()
    away = path.with_name("away.db")
    with anyio.fail_after(20), quiet("astro"):
        async with LocalEngine(*work.parts, store=SqliteStore(path), **QUICK) as engine:
            run = await engine.start(work.root)
            await work.reached.wait()
            await anyio.to_thread.run_sync(move, path, away)
            work.gate.set()
            other = await engine.start(work.step, 9)
            assert (await run, await other) == (6, 9)
            await anyio.to_thread.run_sync(move, away, path)
            assert await accepted(engine, work.step, 4) == 4
        async with LocalEngine(*work.parts, store=SqliteStore(path), **QUICK) as engine:
            assert await (await engine.get(run.id)) == 6
            assert await (await engine.get(other.id)) == 9
    assert sorted(work.done) == [1, 2, 3, 4, 9]


@pytest.mark.parametrize("replaced", [False, True], ids=["deleted", "replaced"])
async def test_an_engine_whose_file_is(path: Path, replaced: bool) -> None:
    """The engine says so, writes nothing into the other file, and closes in time."""
    work = Work()
    other = path.with_name("other.db")
    async with SqliteStore(other) as store:
        await store.create(TENANT, new_run(1))
    content = await anyio.Path(other).read_bytes()
    with anyio.fail_after(10), quiet("astro"):
        async with LocalEngine(*work.parts, store=SqliteStore(path), **QUICK) as engine:
            await engine.start(work.root)
            await work.reached.wait()
            for end in FILES:
                path.with_name(path.name + end).unlink(missing_ok=True)
            if replaced:
                await anyio.to_thread.run_sync(move, other, path)
            work.gate.set()
            await refused(engine, work.step, StoreUnavailableError, "deleted or replaced")
    assert work.done.count(1) == 1
    assert await anyio.Path(path if replaced else other).read_bytes() == content


async def test_another_file_in_the_place_of_one_that_was_set_aside_is_noticed(path: Path) -> None:
    work = Work()
    async with SqliteStore(path.with_name("other.db")) as store:
        await store.create(TENANT, new_run(1))
    with quiet("astro"):
        async with LocalEngine(*work.parts, store=SqliteStore(path), **QUICK) as engine:
            assert await engine.run(work.step, 1) == 1
            await anyio.to_thread.run_sync(move, path, path.with_name("aside.db"))
            await anyio.to_thread.run_sync(move, path.with_name("other.db"), path)
            with pytest.raises(StoreUnavailableError, match="deleted or replaced"):
                await engine.run(work.step, 2)


@asynccontextmanager
async def lock_held(path: Path) -> AsyncIterator[None]:
    """Hold the lock by which processes take turns."""
    descriptor = os.open(path.with_name(path.name + ".lock"), os.O_RDWR)
    try:
        await _until(lambda: fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB))
        yield
    finally:
        os.close(descriptor)


@asynccontextmanager
async def transaction_held(path: Path) -> AsyncIterator[None]:
    """Hold a transaction that writes, as a program does that knows nothing of the lock."""
    with closing(sqlite3.connect(path, isolation_level=None, timeout=0)) as db:
        await _until(lambda: db.execute("begin immediate"))
        yield
        db.execute("rollback")


async def _until(take: Callable[[], object]) -> None:
    """Try again until it works; waiting in a thread would keep the engine from letting go."""
    while True:
        try:
            take()
        except (BlockingIOError, sqlite3.OperationalError):
            await anyio.sleep(0.001)
        else:
            return


holders = pytest.mark.parametrize("hold", [lock_held, transaction_held])


@pytest.mark.slow
@holders
async def test_who_holds_the_file_for_two_seconds_is_waited_for(
    path: Path, hold: Callable[[Path], Any]
) -> None:
    work = Work()
    with anyio.fail_after(20):
        async with LocalEngine(*work.parts, store=SqliteStore(path), **QUICK) as engine:
            run = await engine.start(work.root)
            await work.reached.wait()
            async with hold(path):
                work.gate.set()
                with anyio.move_on_after(2):
                    await run
                    pytest.fail("it wrote although somebody held the file")
            assert await run == 6
    assert work.done.count(1) == 1


@pytest.mark.slow
@holders
async def test_who_holds_the_file_for_too_long_makes_the_engine_say_so(
    path: Path, hold: Callable[[Path], Any]
) -> None:
    work = Work()
    store = SqliteStore(path, lock_timeout=timedelta(seconds=0.3))
    with anyio.fail_after(20), quiet("astro"):
        async with LocalEngine(*work.parts, store=store, **QUICK) as engine:
            run = await engine.start(work.root)
            await work.reached.wait()
            async with hold(path):
                with pytest.raises(StoreBusyError):
                    await engine.start(work.step, 9)
                work.gate.set()
                await anyio.sleep(0.5)
            assert await run == 6
            assert await accepted(engine, work.step, 4) == 4
    assert work.done.count(1) == 1


READ_ONLY = """
import os, sys, tempfile
from pathlib import Path
import anyio
from astro import Context, LocalEngine, SqliteStore, StoreUnavailableError, task

@task
async def step(ctx: Context) -> int:
    return 1

async def use(path):
    async with LocalEngine(step, store=SqliteStore(path)) as engine:
        print(await engine.run(step))

async def main(path):
    try:
        await use(path)
    except StoreUnavailableError as error:
        print(error.remedy)

folder = Path(tempfile.mkdtemp())
anyio.run(use, folder / "runs.db")
for name in folder.iterdir():
    name.chmod(0o444)
folder.chmod(0o555)
if os.geteuid() == 0:
    os.setuid(65534)
anyio.run(main, folder / "runs.db")
"""


@pytest.mark.slow
async def test_an_engine_on_a_file_that_may_only_be_read_says_what_to_do(tmp_path: Path) -> None:
    program = tmp_path / "program.py"
    program.write_text(textwrap.dedent(READ_ONLY))
    here = str(Path(__file__).parents[2])

    def run() -> subprocess.CompletedProcess[str]:
        environment = os.environ | {"PYTHONPATH": here}
        command = [sys.executable, str(program)]
        return subprocess.run(
            command, capture_output=True, text=True, env=environment, timeout=30, check=False
        )

    done = await anyio.to_thread.run_sync(run)
    assert done.stdout.startswith("1\n"), done.stderr
    assert "permission" in done.stdout, done.stderr


# --- A store that says nothing for a minute ------------------------------------------------------

MINUTE = timedelta(minutes=1)


@pytest.mark.parametrize("fails", [False, True], ids=["answers late", "fails late"])
@pytest.mark.parametrize("rival", [False, True], ids=["alone", "with a rival"])
@pytest.mark.parametrize("seed", [None, 1, 2, 3])
def test_a_store_that_hangs_for_a_minute_loses_nothing(
    seed: int | None, rival: bool, fails: bool
) -> None:
    async def main() -> tuple[list[int], list[str], list[int]]:
        work, clock = Work(), LoopClock()
        watched = WatchedStore(MemoryStore(clock=clock))
        faulty = FaultyStore(watched, None, clock=clock)
        hang = Fault(delay=MINUTE, **({} if fails else {"error": None}))

        def engine(store: Any, number: int) -> LocalEngine:
            return LocalEngine(
                *work.parts,
                store=store,
                clock=clock,
                ids=VirtualIds(number),
                chance=random.Random(number),
                grace=timedelta(seconds=1),
            )

        other = engine(watched, 2) if rival else nullcontext()
        async with watched, other, engine(faulty, 1) as victim:
            runs = [await victim.options(key=str(n)).start(work.root) for n in range(3)]
            await work.reached.wait()
            faulty.plan = lambda verb, number: hang
            work.gate.set()
            await anyio.sleep(10)
            faulty.plan = None
            found = [await _patiently(run) for run in runs]
        return found, [*watched.wrong, *watched.unfinished()], work.done

    with quiet("astro"):
        found, wrong, done = run_deterministically(main, seed=seed).value
    assert found == [6, 6, 6]
    assert not wrong
    assert {*done} == {1, 2, 3}


async def _patiently(run: Any) -> int:
    while True:
        try:
            return int(await run)
        except StoreUnavailableError:
            await anyio.sleep(1)
