"""The writer alone: groups, waiting, a disk that does not answer, and the end."""

from __future__ import annotations

import asyncio
import fcntl
import os
import sqlite3
from contextlib import closing
from datetime import timedelta
from pathlib import Path

import anyio
import pytest

from astro.core.errors import StoreBusyError, StoreClosedError, StoreUnavailableError
from astro.stores.sqlite.operations import Alone
from tests.stores.writing import (
    COUNT,
    FAIL,
    HOLD,
    LOOK,
    NOTE,
    SAY,
    desk,
    disk_error,
    hold,
    notes,
    outcomes,
)

pytestmark = pytest.mark.anyio

BRIEF = timedelta(seconds=0.05)
MIB = 1024 * 1024


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "runs.db"


# --- Groups --------------------------------------------------------------------------------------


async def test_what_waits_is_done_in_order_and_in_one_transaction(path: Path) -> None:
    async with desk(path) as at:
        asked = [at.submit(NOTE, "a"), at.submit(LOOK), at.submit(NOTE, "b")]
        at.start()
        assert await outcomes(asked) == ["a", True, "b"]
        assert notes(path) == ["a", "b"]


async def test_what_arrives_while_a_group_is_written_is_in_the_next_one(path: Path) -> None:
    async with desk(path) as at:
        reached, go_on = hold()
        at.start()
        first = at.submit(HOLD, (reached, go_on))
        await reached.wait()
        later = [at.submit(NOTE, "later"), at.submit(NOTE, "last")]
        await asyncio.sleep(0.01)
        assert not any(one.done for one in later)
        go_on.set()
        assert await outcomes([first, *later]) == ["held", "later", "last"]


async def test_one_who_is_to_blame_leaves_the_others_alone(path: Path) -> None:
    async with desk(path) as at:
        asked = [at.submit(NOTE, "a"), at.submit(FAIL, KeyError("no")), at.submit(NOTE, "b")]
        at.start()
        a, error, b = await outcomes(asked)
        assert (a, b) == ("a", "b")
        assert isinstance(error, KeyError)
        assert notes(path) == ["a", "b"]


async def test_a_fault_of_the_disk_is_everybodys_and_nothing_is_kept(path: Path) -> None:
    async with desk(path) as at:
        at.start()
        assert await at.submit(NOTE, "before").truth() == "before"
        asked = [at.submit(NOTE, "a"), at.submit(FAIL, OSError("no disk")), at.submit(NOTE, "b")]
        found = await outcomes(asked)
        assert [str(one) for one in found] == ["no disk"] * 3
        assert await at.submit(NOTE, "after").truth() == "after"
        assert notes(path) == ["before", "after"]


async def test_a_group_ends_where_its_rows_are_large_enough(path: Path) -> None:
    async with desk(path) as at:
        wide = ("x" * 3 * MIB,)
        asked = [at.submit(COUNT, row=wide) for _ in range(3)]
        heavy = [at.submit(SAY, "select 1", weight=5 * MIB) for _ in range(3)]
        at.start()
        assert await outcomes(asked) == [None] * 3
        assert await outcomes(heavy) == [[(1,)]] * 3


async def test_a_full_group_does_not_wait_for_more(path: Path) -> None:
    async with desk(path) as at:
        asked = [at.submit(NOTE, text, weight=5 * MIB) for text in "ab"]
        asked.append(at.submit(FAIL, OSError("no disk")))
        at.start()
        a, b, error = await outcomes(asked)
        assert (a, b, str(error)) == ("a", "b", "no disk")


async def test_a_fault_of_the_disk_names_the_file(path: Path) -> None:
    async with desk(path) as at:
        at.start()
        with pytest.raises(StoreUnavailableError) as caught:
            await at.submit(FAIL, disk_error()).truth()
        assert caught.value.problem == f"The store {path} refused: disk I/O error."


@pytest.mark.parametrize(("synchronous", "number"), [("NORMAL", 1), ("FULL", 2)])
async def test_what_is_acknowledged_is_synced_as_it_was_asked_to(
    path: Path, synchronous: str, number: int
) -> None:
    async with desk(path, synchronous=synchronous) as at:
        at.start()
        assert await at.submit(SAY, "pragma synchronous").truth() == [(number,)]


# --- The lock ------------------------------------------------------------------------------------


async def test_a_lock_that_cannot_be_had_fails_the_group_and_not_the_writer(path: Path) -> None:
    async with desk(path, lock_timeout=BRIEF) as at:
        at.start()
        descriptor = os.open(path.with_name("runs.db.lock"), os.O_RDWR)
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        with pytest.raises(StoreBusyError):
            await at.submit(NOTE, "a").truth()
        os.close(descriptor)
        assert await at.submit(NOTE, "b").truth() == "b"


async def test_the_lock_is_held_while_a_group_is_written_and_not_longer(path: Path) -> None:
    def is_free() -> bool:
        descriptor = os.open(path.with_name("runs.db.lock"), os.O_RDWR)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        finally:
            os.close(descriptor)
        return True

    async with desk(path) as at:
        at.start()
        reached, go_on = hold()
        asked = at.submit(HOLD, (reached, go_on))
        await reached.wait()
        assert not is_free()
        go_on.set()
        await asked.truth()
        with anyio.fail_after(5):
            while not is_free():
                await asyncio.sleep(0)


# --- The WAL -------------------------------------------------------------------------------------


def is_written_back(path: Path, text: str) -> bool:
    return text.encode() in path.read_bytes()


async def test_after_a_burst_the_wal_is_written_back(path: Path) -> None:
    async with desk(path) as at:
        at.start()
        await at.submit(NOTE, "a rather unusual text").truth()
        assert not is_written_back(path, "a rather unusual text")
        with anyio.fail_after(10):
            while not is_written_back(path, "a rather unusual text"):
                await asyncio.sleep(0.02)
        assert await at.submit(NOTE, "another one").truth() == "another one"
        with anyio.fail_after(10):
            while not is_written_back(path, "another one"):
                await asyncio.sleep(0.02)


async def test_in_the_midst_of_work_the_wal_is_written_back_when_it_is_large(path: Path) -> None:
    async with desk(path) as at:
        asked = [at.submit(NOTE, "a rather unusual text")]
        asked.append(at.submit(SAY, "select 1", weight=4 * MIB))
        at.start()
        await outcomes(asked)
        assert not is_written_back(path, "a rather unusual text")
        await at.submit(SAY, "select 1", weight=5 * MIB).truth()
        # What is acknowledged is acknowledged before the WAL is written back.
        await at.submit(SAY, "select 1").truth()
        assert is_written_back(path, "a rather unusual text")


@pytest.mark.parametrize(
    ("verb", "value", "counts"), [(SAY, "select 1", False), (LOOK, None, True)]
)
async def test_only_what_writes_makes_the_wal_large(
    path: Path, verb: Alone, value: str | None, *, counts: bool
) -> None:
    async with desk(path) as at:
        asked = [at.submit(NOTE, "a rather unusual text")]
        asked += [at.submit(verb, value) for _ in range(1_500)]
        at.start()
        await outcomes(asked)
        await at.submit(SAY, "select 1").truth()
        assert is_written_back(path, "a rather unusual text") == counts


async def test_closing_empties_the_wal_for_those_who_go_on(path: Path) -> None:
    async with desk(path) as at:
        at.start()
        await at.submit(NOTE, "a").truth()
        wal = path.with_name("runs.db-wal")
        with closing(sqlite3.connect(path)) as other:
            other.execute("select count(*) from notes").fetchall()
            at.writer.stop()
            assert at.running is not None
            await at.running
            assert wal.stat().st_size > 0
            await at.writer.close()
            assert wal.stat().st_size == 0


# --- A disk that does not answer -----------------------------------------------------------------


async def test_a_disk_that_does_not_answer_fails_what_waits_and_what_comes(path: Path) -> None:
    async with desk(path, patience=BRIEF) as at:
        at.start()
        await at.submit(SAY, "select 1").truth()
        reached, go_on = hold()
        stuck = at.submit(HOLD, (reached, go_on))
        await reached.wait()
        behind = at.submit(NOTE, "behind")
        for one in (stuck, behind):
            with anyio.fail_after(10), pytest.raises(StoreUnavailableError) as caught:
                await one.truth()
            assert caught.value.problem == (
                f"The disk under {path} has not answered for 0.05 seconds; the outcome is unknown."
            )
            assert caught.value.remedy.startswith("Look at the disk; committing the same again")
        with pytest.raises(StoreUnavailableError):
            at.submit(NOTE, "at once")
        go_on.set()
        with anyio.fail_after(10):
            while True:
                try:
                    assert await at.submit(NOTE, "again").truth() == "again"
                    break
                except StoreUnavailableError:
                    await asyncio.sleep(0.01)
        assert notes(path) == ["again"]


async def test_a_writer_that_has_nothing_to_do_is_not_stuck(path: Path) -> None:
    async with desk(path, patience=BRIEF) as at:
        at.start()
        await asyncio.sleep(1.2)  # a look at the disk goes by
        assert await at.submit(NOTE, "a").truth() == "a"


async def test_a_disk_that_answers_late_is_waited_for(path: Path) -> None:
    async with desk(path) as at:
        at.start()
        await at.submit(SAY, "select 1").truth()
        reached, go_on = hold()
        slow = at.submit(HOLD, (reached, go_on))
        await reached.wait()
        asyncio.get_running_loop().call_later(2.2, go_on.set)  # two looks at the disk go by
        assert await slow.truth() == "held"


# --- The end -------------------------------------------------------------------------------------


async def test_stopping_lets_everything_be_done_that_was_asked_for(path: Path) -> None:
    async with desk(path) as at:
        asked = [at.submit(NOTE, text) for text in "abc"]
        at.start()
        at.writer.stop()
        assert at.running is not None
        await at.running
        assert [one.done for one in asked] == [True] * 3
        assert notes(path) == ["a", "b", "c"]


async def test_stopping_wakes_a_writer_that_has_nothing_to_do(path: Path) -> None:
    async with desk(path) as at:
        at.start()
        await at.submit(NOTE, "a").truth()
        await asyncio.sleep(0.01)
        at.writer.stop()
        assert at.running is not None
        with anyio.fail_after(5):
            await at.running


@pytest.mark.parametrize("ends", ["stop", "close"])
async def test_after_the_end_nothing_is_taken(path: Path, ends: str) -> None:
    async with desk(path) as at:
        if ends == "stop":
            at.writer.stop()
        else:
            await at.writer.close()
        with pytest.raises(StoreClosedError) as caught:
            at.submit(NOTE, "late")
        assert caught.value.problem == "The store is not open here."
        assert caught.value.remedy.startswith("Use it inside 'async with store:'")


async def test_closing_tells_those_who_wait_in_vain(path: Path) -> None:
    async with desk(path) as at:
        waiting = at.submit(NOTE, "never")
        await at.writer.close()
        with pytest.raises(StoreClosedError):
            await waiting.truth()


async def test_closing_without_the_lock_writes_nothing_back(path: Path) -> None:
    async with desk(path, lock_timeout=BRIEF) as at:
        at.start()
        await at.submit(NOTE, "a rather unusual text").truth()
        with closing(sqlite3.connect(path)) as other:
            other.execute("select count(*) from notes").fetchall()
            descriptor = os.open(path.with_name("runs.db.lock"), os.O_RDWR)
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            at.writer.stop()
            assert at.running is not None
            await at.running
            await at.writer.close()
            assert not is_written_back(path, "a rather unusual text")
            os.close(descriptor)
    assert notes(path) == ["a rather unusual text"]


async def test_the_end_of_the_loop_rolls_back_and_tells_who_waits(path: Path) -> None:
    async with desk(path) as at:
        at.start()
        await at.submit(NOTE, "kept").truth()
        reached, go_on = hold()
        asked = [at.submit(NOTE, "lost"), at.submit(HOLD, (reached, go_on))]
        await reached.wait()
        assert at.running is not None
        at.running.cancel()
        found = await outcomes(asked)
        assert [type(one) for one in found] == [StoreClosedError] * 2
        with pytest.raises(asyncio.CancelledError):
            await at.running
        # No transaction is left open that would keep others out, nor is the lock.
        with closing(sqlite3.connect(path, timeout=0, isolation_level=None)) as other:
            other.execute("begin immediate")
            other.execute("rollback")
        await at.lock.acquire()
        at.lock.release()
        assert notes(path) == ["kept"]
