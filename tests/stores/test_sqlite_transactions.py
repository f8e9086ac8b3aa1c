"""Transactions alone: what is one, what is rolled back, and which connection goes on."""
# ruff: noqa: ASYNC240  (a test may block its own event loop)

from __future__ import annotations

import fcntl
import gc
import logging
import os
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from astro.core.errors import CodecError, SchemaTooNewError, StoreUnavailableError
from astro.stores.sqlite.operations import Operation
from astro.stores.sqlite.transactions import Transactions
from tests.stores.making import ManualClock
from tests.stores.writing import (
    BROKEN,
    COUNT,
    FAIL,
    FIRST,
    GLANCE,
    LOOK,
    NOTE,
    SAY,
    SECOND,
    TIME,
    disk_error,
    notes,
    operation,
    outcomes,
    transactions,
)

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "runs.db"


async def done(made: Transactions, *group: Operation) -> list[Any]:
    await made.perform([*group])
    return await outcomes([*group])


# --- What is a transaction -----------------------------------------------------------------------


async def test_only_what_is_one_statement_needs_no_transaction_around_it(path: Path) -> None:
    async with transactions(path) as made:
        assert await done(made, operation(LOOK)) == [True]
        assert await done(made, operation(GLANCE)) == [False]
        assert await done(made, operation(GLANCE), operation(GLANCE)) == [True, True]
        assert await done(made, operation(NOTE, "a"), operation(GLANCE)) == ["a", True]
        assert await done(made, operation(COUNT, row=(1,)), operation(COUNT, row=(2,))) == [
            None,
            None,
        ]
        assert await done(made, operation(GLANCE)) == [False]


async def test_who_is_to_blame_is_found_among_many(path: Path) -> None:
    async with transactions(path) as made:
        group = [operation(NOTE, str(number)) for number in range(7)]
        group[4] = operation(FAIL, KeyError("four"))
        group[6] = operation(FAIL, KeyError("six"))
        found = await done(made, *group)
        assert [str(one) for one in found] == ["0", "1", "2", "3", "'four'", "5", "'six'"]
        assert notes(path) == ["0", "1", "2", "3", "5"]


async def test_rows_about_the_same_thing_are_not_in_one_statement(path: Path) -> None:
    async with transactions(path) as made:
        group = [operation(FIRST, thing=thing, row=(1,)) for thing in "aabab"]
        # The statements are a, ab, ab; of each, the first is accepted.
        found = await done(made, *group)
        assert [one is None for one in found] == [True, True, False, True, False]


async def test_who_breaks_a_statement_gets_to_know_why(path: Path) -> None:
    async with transactions(path) as made:
        group = [operation(BROKEN, thing="b", row=(1,)), operation(BROKEN, row=(1,))]
        known, unknown = await done(made, *group)
        assert str(known) == "'b is to blame'"
        assert isinstance(unknown, CodecError)
        assert "no such table: nowhere" in unknown.problem


async def test_what_is_done_is_done_at_the_time_of_the_clock(path: Path) -> None:
    async with transactions(path) as made:
        now = round(ManualClock().now().timestamp() * 1_000_000)
        assert await done(made, operation(TIME), operation(TIME)) == [now, now]


async def test_a_refusal_of_sqlite_names_the_file(path: Path) -> None:
    async with transactions(path) as made:
        (error,) = await done(made, operation(SAY, "select * from nowhere"))
        assert isinstance(error, CodecError)
        assert error.problem == f"The store {path} refused: no such table: nowhere."


async def test_a_file_that_has_another_name_for_a_moment_is_still_the_file(path: Path) -> None:
    moved = path.with_name("moved.db")
    async with transactions(path) as made:
        path.rename(moved)
        assert await done(made, operation(NOTE, "a")) == ["a"]
        moved.rename(path)
        assert await done(made, operation(NOTE, "b")) == ["b"]
        assert notes(path) == ["a", "b"]


async def test_a_file_in_whose_place_is_another_takes_nothing_more(path: Path) -> None:
    async with transactions(path) as made:
        path.rename(path.with_name("moved.db"))
        path.touch()
        with pytest.raises(StoreUnavailableError, match="deleted or replaced"):
            await done(made, operation(NOTE, "a"))


async def test_a_table_that_a_newer_astro_has_moved_is_called_so(path: Path) -> None:
    async with transactions(path) as made:
        with closing(sqlite3.connect(path, isolation_level=None)) as db:
            db.execute("pragma user_version = 99")
        with pytest.raises(SchemaTooNewError) as caught:
            await made.perform([operation(SAY, "select * from nowhere")])
        assert str(path) in caught.value.problem
        assert "its schema is 99" in caught.value.problem
        # Another mistake is none of the newer one's.
        (error,) = await done(made, operation(SAY, "select nonsense"))
        assert isinstance(error, CodecError)


# --- Connections ---------------------------------------------------------------------------------


async def test_a_connection_that_has_gone_bad_is_replaced(path: Path) -> None:
    async with transactions(path) as made:
        assert made.is_open
        await made.perform([operation(NOTE, "before")])
        with pytest.raises(sqlite3.OperationalError):
            await made.perform([operation(NOTE, "lost"), operation(FAIL, disk_error())])
        assert not made.is_open
        assert await done(made, operation(NOTE, "after")) == ["after"]
        assert made.is_open
        assert notes(path) == ["before", "after"]


@pytest.mark.parametrize(("synchronous", "number"), [("NORMAL", 1), ("FULL", 2)])
async def test_every_connection_syncs_as_it_was_asked_to(
    path: Path, synchronous: str, number: int
) -> None:
    async with transactions(path, synchronous=synchronous) as made:
        assert await done(made, operation(SAY, "pragma synchronous")) == [[(number,)]]
        with pytest.raises(sqlite3.OperationalError):
            await made.perform([operation(FAIL, disk_error())])
        assert await done(made, operation(SAY, "pragma synchronous")) == [[(number,)]]


@pytest.mark.skipif(not hasattr(os, "O_PATH"), reason="Linux has such descriptors")
async def test_what_watches_the_file_does_not_open_it(path: Path) -> None:
    def opened() -> list[int]:
        """Return how the descriptors of the file were opened."""
        found = []
        for name in os.listdir("/proc/self/fd"):
            try:
                if os.readlink(f"/proc/self/fd/{name}") == str(path):
                    found.append(fcntl.fcntl(int(name), fcntl.F_GETFL))
            except OSError:
                continue
        return found

    # Closing a descriptor of another kind would drop the locks that SQLite has on the file.
    async with transactions(path):
        flags = opened()
    assert [bool(flag & os.O_PATH) for flag in flags].count(True) == 1
    assert len(flags) == 2
    assert opened() == []


async def test_a_sound_connection_goes_on_after_a_mistake(path: Path) -> None:
    async with transactions(path) as made:
        await done(made, operation(SAY, "create temp table mine (text text)"))
        await done(made, operation(SAY, "select nonsense"))
        await done(made, operation(NOTE, "a"), operation(FAIL, KeyError("no")))
        assert await done(made, operation(SAY, "select count(*) from mine")) == [[(0,)]]


async def test_a_transaction_that_somebody_left_open_is_rolled_back(path: Path) -> None:
    async with transactions(path) as made:
        await done(made, operation(NOTE, "kept"))
        await done(made, operation(SAY, "begin immediate"))
        await done(made, operation(SAY, "insert into notes values ('lost')"))
        await made.finish()
        assert await done(made, operation(GLANCE)) == [False]
        assert notes(path) == ["kept"]


async def test_finishing_what_was_never_opened_is_no_mistake(path: Path) -> None:
    made = Transactions(path, synchronous="NORMAL", busy=SECOND, clock=ManualClock())
    await made.finish()
    await made.checkpoint("passive")
    await made.close()
    assert not made.is_open
    os.fstat(1)  # nobody else's was closed


async def test_closing_gives_back_what_was_open_and_may_be_done_twice(path: Path) -> None:
    async def open_and_close() -> None:
        async with transactions(path) as made:
            await made.close()
            assert not made.is_open

    await open_and_close()
    gc.collect()
    before = os.listdir("/proc/self/fd")
    for _ in range(3):
        await open_and_close()
    gc.collect()
    assert len(os.listdir("/proc/self/fd")) == len(before)
    os.fstat(1)  # nobody else's was closed


async def test_a_file_that_was_deleted_is_written_to_no_more(path: Path) -> None:
    async with transactions(path) as made:
        path.unlink()
        with pytest.raises(StoreUnavailableError) as caught:
            await made.perform([operation(NOTE, "a")])
        assert str(path) in caught.value.problem
        assert "put the file back" in caught.value.remedy


# --- Writing the WAL back ------------------------------------------------------------------------


async def test_a_checkpoint_writes_the_wal_back(path: Path) -> None:
    async with transactions(path) as made:
        await made.perform([operation(NOTE, "a rather unusual text")])
        assert b"a rather unusual text" not in path.read_bytes()
        await made.checkpoint("passive")
        assert b"a rather unusual text" in path.read_bytes()


async def test_a_checkpoint_that_fails_is_told_and_harms_nobody(
    path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with transactions(path) as made:
        await done(made, operation(SAY, "begin immediate"))
        with caplog.at_level(logging.WARNING, logger="astro.stores.sqlite"):
            await made.checkpoint("passive")
        (record,) = caplog.records
        told = f"The WAL of {path} could not be written back: database table is locked"
        assert record.getMessage() == told
        await made.finish()


@pytest.mark.parametrize("reads", [True, False])
async def test_a_wal_that_a_reader_keeps_large_is_warned_of(
    path: Path, caplog: pytest.LogCaptureFixture, *, reads: bool
) -> None:
    async with transactions(path) as made:
        large = "insert into notes select hex(zeroblob(500000)) from json_each('{}')"
        await done(made, operation(NOTE, "small"))
        await done(made, operation(SAY, large.format([0] * 12)))  # about 3,000 pages
        with closing(sqlite3.connect(path, isolation_level=None)) as reader:
            if reads:
                reader.execute("begin")
                reader.execute("select count(*) from notes").fetchall()
            with caplog.at_level(logging.WARNING, logger="astro.stores.sqlite"):
                await done(made, operation(NOTE, "a little more"))
                await made.checkpoint("passive")
                assert not caplog.records
                await done(made, operation(SAY, large.format([0] * 72)))
                await made.checkpoint("passive")
            told = [record.getMessage() for record in caplog.records]
        if not reads:
            assert told == []
            return
        (text,) = told
        words = text.split()
        assert text.startswith(f"The WAL of {path} has ")
        assert text.endswith(" pages that a long read keeps from being written back")
        assert 17_000 < int(words[5]) < 19_000
