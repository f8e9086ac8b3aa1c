"""The crash matrix: passes what survives, and says of the rest what is wrong with it."""

from __future__ import annotations

import itertools
import os
import random
import sqlite3
import threading
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from datetime import timedelta
from pathlib import Path
from typing import Any

import aiosqlite
import anyio
import anyio.to_thread
import pytest

from astro import Context, InvalidArgumentsError, MemoryStore, SqliteStore, task
from astro.testing import (
    CrashMatrixError,
    VirtualClock,
    crash_matrix,
    note_effect,
    run_deterministically,
)
from astro.testing.dying_store import DyingStore
from astro.testing.lives import live
from astro.testing.quiet import quiet

pytestmark = pytest.mark.anyio


@pytest.fixture(params=["asyncio", "trio"])
def anyio_backend(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@task
async def draft(ctx: Context, topic: str) -> str:
    return f"About {topic}."


@task
async def shorten(ctx: Context, text: str) -> str:
    return text[:5]


@task
async def article(ctx: Context, topic: str) -> str:
    text = await ctx.call(draft, topic)
    return await ctx.call(shorten, text)


async def test_a_workflow_of_calls_survives_every_crash() -> None:
    report = await crash_matrix(article, "fusion")
    assert report.deterministic
    assert report.crashes == 2 * report.commits
    assert len(report.calls) == 3


@task(retry=3)
async def flaky(ctx: Context, n: int) -> int:
    if ctx.attempt < 3:
        raise OSError("busy")
    return n


@task
async def everything(ctx: Context) -> list[Any]:
    numbers = await ctx.map(flaky, range(3))
    await ctx.sleep(timedelta(days=3))
    late = await ctx.ask("Anybody there?", bool, timeout=timedelta(days=2), default=False)
    sure = await ctx.ask("Sure?", bool)
    child = await ctx.start(article, "children")
    ctx.emit("told", {"sure": sure})
    return [numbers, late, sure, await child, str(ctx.uuid()), ctx.now().year]


async def test_sleeps_retries_questions_and_children_survive_every_crash() -> None:
    report = await crash_matrix(everything, parts=[article, flaky], answers={"Sure?": True})
    assert report.deterministic
    assert report.commits > 15


@task
async def napping(ctx: Context, topic: str) -> str:
    await anyio.sleep(60)
    return await ctx.call(draft, topic)


def test_what_sleeps_by_itself_sleeps_in_virtual_time_as_well() -> None:
    async def main() -> int:
        return (await crash_matrix(napping, "fusion", parts=[draft])).crashes

    done = run_deterministically(main, seed=None, resolution=timedelta(seconds=1))
    assert done.value >= 4
    assert done.elapsed >= 60 * done.value


async def test_two_crashes_in_a_row_are_survived() -> None:
    report = await crash_matrix(article, "fusion", twice=10)
    assert report.pairs == 10
    assert report.crashes == 2 * report.commits + 20


async def test_no_more_pairs_of_crashes_are_counted_than_there_are() -> None:
    report = await crash_matrix(draft, "fusion", twice=1_000)
    assert report.commits == 1
    # Who goes on has the same commit before it, unless it was applied.
    assert report.pairs == 2
    assert report.crashes == 2 + 2 * report.pairs


async def test_a_sqlite_store_is_crashed_as_well(tmp_path: Path, anyio_backend: str) -> None:
    if anyio_backend == "trio":
        pytest.skip("SqliteStore runs on asyncio")
    numbers = itertools.count()

    def stores(clock: Any) -> SqliteStore:
        return SqliteStore(tmp_path / f"{next(numbers)}.db", clock=clock, synchronous="NORMAL")

    report = await crash_matrix(article, "fusion", stores=stores)
    assert report.crashes == 2 * report.commits


@task
async def gambles(ctx: Context) -> str:
    return await ctx.call(draft, str(random.random()))


async def test_what_changes_from_one_run_to_the_next_must_not_reach_a_call() -> None:
    with pytest.raises(CrashMatrixError, match="no longer asked for draft") as caught:
        await crash_matrix(gambles)
    assert "ctx.random" in str(caught.value)


@task
async def draws(ctx: Context) -> str:
    return await ctx.call(draft, str(await ctx.step(draw)))


async def draw() -> float:
    return random.random()


async def test_chance_in_a_step_is_no_mistake() -> None:
    report = await crash_matrix(draws)
    assert not report.deterministic


def counting() -> Callable[[], int]:
    numbers = itertools.count()
    return lambda: next(numbers)


count = counting()


@task
async def counts(ctx: Context) -> int:
    before = count()
    await ctx.call(draft, "x")
    return before


async def test_a_result_that_depends_on_more_than_calls_is_seen() -> None:
    report = await crash_matrix(counts)
    assert not report.deterministic


@pytest.fixture
def outbox(tmp_path: Path) -> Path:
    return tmp_path / "outbox"


async def test_a_file_that_is_written_outside_a_step_is_found(outbox: Path) -> None:
    @task
    async def careless(ctx: Context, topic: str) -> str:
        text = await ctx.call(draft, topic)
        outbox.write_text(text)  # noqa: ASYNC240
        return await ctx.call(shorten, text)

    with pytest.raises(CrashMatrixError, match="careless did open") as caught:
        await crash_matrix(careless, "fusion")
    assert f"{Path(__file__).name}:" in str(caught.value)
    assert "went on to 'shorten'" in str(caught.value)
    assert "ctx.step" in str(caught.value)


def append(path: Path) -> None:
    with path.open("a") as file:
        file.write("x")


async def by_a_thread(path: Path) -> None:
    await anyio.to_thread.run_sync(append, path)


async def by_a_pool(path: Path) -> None:
    with ThreadPoolExecutor() as pool:
        pool.submit(append, path).result()


async def by_a_thread_of_its_own(path: Path) -> None:
    thread = threading.Thread(target=append, args=(path,))
    thread.start()
    thread.join()


async def by_touching(path: Path) -> None:
    os.utime(path.parent)


async def by_a_database(path: Path) -> None:
    with closing(sqlite3.connect(path)) as database:
        database.execute("CREATE TABLE IF NOT EXISTS mail (text)")


async def by_a_database_in_a_thread(path: Path) -> None:
    async with aiosqlite.connect(path) as database:
        await database.execute("CREATE TABLE IF NOT EXISTS mail (text)")


@pytest.mark.parametrize(
    "effect",
    [
        by_a_thread,
        by_a_pool,
        by_a_thread_of_its_own,
        by_touching,
        by_a_database,
        by_a_database_in_a_thread,
    ],
)
async def test_whoever_does_it_it_is_found(
    effect: Callable[[Path], Awaitable[None]], outbox: Path, anyio_backend: str
) -> None:
    if anyio_backend == "trio" and effect is by_a_database_in_a_thread:
        pytest.skip("aiosqlite runs on asyncio")

    @task
    async def careless(ctx: Context) -> str:
        await effect(outbox)
        return await ctx.call(draft, "x")

    with pytest.raises(CrashMatrixError, match=r"careless did .*went on to 'draft'"):
        await crash_matrix(careless)


async def test_what_changes_nothing_outside_is_no_effect(outbox: Path) -> None:
    with closing(sqlite3.connect(outbox)) as database:
        database.execute("CREATE TABLE mail (text)")

    @task
    async def looks(ctx: Context) -> str:
        with closing(sqlite3.connect(outbox)) as database:
            count = database.execute("SELECT count(*) FROM mail").fetchone()[0]
        with closing(sqlite3.connect(":memory:")) as scratch:
            scratch.execute("CREATE TABLE words (text)")
        return await ctx.call(draft, f"{count}")

    assert (await crash_matrix(looks)).deterministic


async def test_the_same_in_a_step_is_no_mistake(outbox: Path) -> None:
    async def publish(path: str, text: str) -> None:
        await anyio.Path(path).write_text(text)

    @task
    async def careful(ctx: Context, topic: str) -> str:
        text = await ctx.call(draft, topic)
        await ctx.step(publish, str(outbox), text)
        return await ctx.call(shorten, text)

    assert (await crash_matrix(careful, "fusion")).deterministic


async def test_an_effect_that_a_double_reports_is_found() -> None:
    @task
    async def mails(ctx: Context) -> str:
        note_effect("mail to Ada")
        return await ctx.call(draft, "x")

    with pytest.raises(CrashMatrixError, match="mails did mail to Ada"):
        await crash_matrix(mails)


async def test_a_run_that_waits_for_somebody_is_reported() -> None:
    @task
    async def asks(ctx: Context) -> bool:
        return await ctx.ask("Publish?", bool)

    with pytest.raises(CrashMatrixError, match=r"asks 'Publish\?': pass answers"):
        await crash_matrix(asks)


async def test_an_engine_that_dies_before_it_is_asked_for_a_run_has_crashed_like_others() -> None:
    clock = VirtualClock()
    store = DyingStore(MemoryStore(clock=clock))
    store.died.set()
    options: dict[str, Any] = {"clock": clock, "answers": {}, "number": 0}
    with anyio.fail_after(10), quiet("astro"):
        assert await live([draft], draft, ("x",), {}, store=store, **options) == ""


@task(needs_agent=True)
async def reviewed(ctx: Context, text: str) -> str: ...


async def test_a_run_that_waits_for_an_agent_is_reported() -> None:
    @task
    async def root(ctx: Context) -> str:
        return await ctx.call(reviewed, await ctx.call(draft, "x"))

    with pytest.raises(CrashMatrixError, match=r"waits for agent 'reviewed': pass parts"):
        await crash_matrix(root)


async def test_a_workflow_that_fails_fails_the_same_way_after_a_crash() -> None:
    @task
    async def breaks(ctx: Context) -> None:
        raise ValueError("broken")

    @task
    async def root(ctx: Context) -> None:
        await ctx.call(draft, "x")
        try:
            await ctx.call(breaks)
        finally:
            await ctx.call(shorten, "a long text")

    report = await crash_matrix(root, fails=True)
    assert report.deterministic
    with pytest.raises(CrashMatrixError, match=r"fails without a crash, with .* broken"):
        await crash_matrix(root)


async def test_a_workflow_that_should_fail_has_to() -> None:
    assert (await crash_matrix(article, "fusion", fails=None)).deterministic
    with pytest.raises(CrashMatrixError, match="it does not fail"):
        await crash_matrix(article, "fusion", fails=True)


async def test_processes_that_are_killed_are_survived(anyio_backend: str) -> None:
    if anyio_backend == "trio":
        pytest.skip("SqliteStore runs on asyncio")
    report = await crash_matrix(article, "fusion", processes=True)
    assert report.crashes == 2 * report.commits


logged_in: dict[str, str] = {}


async def log_in() -> None:
    logged_in["token"] = "abc"


@task
async def forgets(ctx: Context) -> str:
    await ctx.step(log_in)
    text = await ctx.call(draft, "x")
    return await ctx.call(shorten, logged_in["token"] + text)


async def test_what_a_step_leaves_in_memory_is_missed_by_another_process(
    anyio_backend: str,
) -> None:
    if anyio_backend == "trio":
        pytest.skip("SqliteStore runs on asyncio")
    assert (await crash_matrix(forgets)).deterministic, "here it is still there"
    with pytest.raises(CrashMatrixError, match="KeyError: 'token'"):
        await crash_matrix(forgets, processes=True)


@task
async def picks(ctx: Context) -> str:
    first, *_ = {"tea", "cocoa", "juice", "milk", "water"}
    text = await ctx.call(draft, first)
    return await ctx.call(shorten, text)


async def test_the_order_of_a_set_must_not_reach_a_call(anyio_backend: str) -> None:
    if anyio_backend == "trio":
        pytest.skip("SqliteStore runs on asyncio")
    assert (await crash_matrix(picks)).deterministic, "one process has one order"
    with pytest.raises(CrashMatrixError, match="no longer asked for draft"):
        await crash_matrix(picks, processes=True)


async def test_what_another_process_cannot_import_is_refused(anyio_backend: str) -> None:
    @task
    async def inside(ctx: Context) -> None: ...

    with pytest.raises(InvalidArgumentsError, match="cannot import 'inside'"):
        await crash_matrix(inside, processes=True)
