"""Upkeep: what an operator does with a file, without stopping those who use it."""

from __future__ import annotations

import json
import os
import sqlite3
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import aiosqlite
import anyio.to_thread

from astro.core.errors import JournalCorruptError, StoreError
from astro.core.protocols import StoreCheck
from astro.core.records import Entry, State, verify
from astro.stores.sqlite.opening import close_quietly, open_reader
from astro.stores.sqlite.operations import Alone, Operation
from astro.stores.sqlite.readers import Readers
from astro.stores.sqlite.refusals import refusal
from astro.stores.sqlite.rows import posted_of
from astro.stores.sqlite.writer import Writer

__all__ = ["back_up", "check_store", "prune_store"]

_MANY: Final = 1_000  # entries that are verified at a time
_PART: Final = 200  # families that are removed in one transaction

# Families that have ended as a whole; the writer asks again before it removes them.
_FAMILIES: Final = """
select distinct family from runs r where phase = 3 and updated_at <= :old and not exists (
    select 1 from runs where family = r.family and (phase < 3 or updated_at > :old)
)
"""

_DOOMED: Final = """
select number from runs r where family in (select value from json_each(:families))
and not exists (
    select 1 from runs where family = r.family and (phase < 3 or updated_at > :old)
)
"""
_REMOVALS: Final = (
    """
    delete from entries where place in (
        select e.place from json_each(:doomed) d cross join entries e
            on e.place > d.value << 28 and e.place < (d.value + 1) << 28
    )
    """,
    "delete from inbox where run in (select value from json_each(:doomed))",
    "delete from blob_refs where run in (select value from json_each(:doomed))",
    """
    delete from keys where (tenant, namespace) in (
        select tenant, id from runs where number in (select value from json_each(:doomed))
    )
    """,
    """
    delete from runs where exists (select 1 from schema_1)
    and number in (select value from json_each(:doomed))
    """,
)
_SWEEPS: Final = (
    """
    delete from blobs where exists (select 1 from schema_1) and touched <= :untouched
    and not exists (select 1 from blob_refs b where b.tenant = blobs.tenant and b.hash = blobs.hash)
    """,
    "delete from results where until <= :now",
)


# Rows of runs that nobody can read.
_MISREAD: Final = """
select id, state, needs from runs where state not in (select value from json_each(?))
or needs is not null and case
    when not json_valid(needs) then 1
    when json_type(needs) <> 'object' then 1
    else exists (select 1 from json_each(needs) where type <> 'text')
end
"""
_UNREAD: Final = """
select i.number, r.tenant, r.id, i.at, i.body
from inbox i cross join runs r on r.number = i.run where i.read = 0
"""


async def _prune(db: aiosqlite.Connection, operation: Operation, now: int) -> object:
    numbers = [row[0] for row in await db.execute_fetchall(_DOOMED, operation.value)]
    doomed = {"doomed": json.dumps(numbers)}
    for statement in _REMOVALS:
        await db.execute_fetchall(statement, doomed)
    return len(numbers)


async def _sweep(db: aiosqlite.Connection, operation: Operation, now: int) -> object:
    await db.execute_fetchall(_SWEEPS[0], {"untouched": now - operation.value})
    await db.execute_fetchall(_SWEEPS[1], {"now": now})
    return None


_PRUNE: Final = Alone("prune", _prune)
_SWEEP: Final = Alone("sweep", _sweep)


async def prune_store(readers: Readers, writer: Writer, *, old: int, grace: int) -> int:
    """Remove families that ended before a moment, and blobs that nobody refers to."""
    families = [row[0] for row in await readers.fetch(_FAMILIES, {"old": old})]
    count = 0
    for first in range(0, len(families), _PART):
        part = {"families": json.dumps(families[first : first + _PART]), "old": old}
        count += await writer.submit(_PRUNE, value=part).truth()
    await writer.submit(_SWEEP, value=grace).truth()
    return count


async def back_up(path: Path, target: Path) -> None:
    """Write a consistent copy of a file that is in use, readable by this user only.

    Raises:
        StoreError: The target exists, or cannot be written.
    """
    partial = target.with_name(target.name + ".partial")
    await anyio.to_thread.run_sync(_reserve, target, partial)
    db = await open_reader(path)
    try:
        await db.execute_fetchall("pragma query_only = off")
        await db.execute_fetchall("vacuum into ?", (str(partial),))
        await anyio.to_thread.run_sync(_publish, partial, target)
    except sqlite3.Error as error:
        raise refusal(error, target) from error
    finally:
        await close_quietly(db)
        await anyio.to_thread.run_sync(lambda: partial.unlink(missing_ok=True))


def _reserve(target: Path, partial: Path) -> None:
    if os.path.lexists(target):
        raise _taken(target)
    try:
        partial.unlink(missing_ok=True)
        os.close(os.open(partial, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600))
    except OSError as error:
        raise StoreError(
            f"The backup {target} cannot be written: {error.strerror}.",
            remedy="Check the folder and its permissions.",
        ) from error


def _taken(target: Path) -> StoreError:
    return StoreError(f"{target} exists already.", remedy="Name a file that does not exist.")


def _publish(partial: Path, target: Path) -> None:
    for name, flags in ((partial, os.O_RDWR), (partial.parent, os.O_RDONLY)):
        descriptor = os.open(name, flags)
        try:
            os.fsync(descriptor)
            if name is partial:
                os.link(partial, target)
        except FileExistsError as error:  # somebody was faster
            raise _taken(target) from error
        finally:
            os.close(descriptor)


async def check_store(readers: Readers) -> StoreCheck:
    """Verify a file and the hash chain of each of its runs."""
    problems = []
    number = runs = entries = 0
    try:
        found = await readers.fetch("pragma integrity_check")
        problems += [f"SQLite: {line}" for (line,) in found if line != "ok"]
        while True:
            rows = await readers.fetch(
                "select number, tenant, id, seq, head from runs where number > ? "
                "order by number limit 200",
                (number,),
            )
            if not rows:
                break
            for row in rows:
                number = row[0]
                runs += 1
                entries += await _check_run(readers, row, problems)
        problems += await _misread(readers)
    except JournalCorruptError as error:
        problems.append(error.problem)
    return StoreCheck(runs=runs, entries=entries, problems=tuple(problems))


async def _check_run(readers: Readers, row: Sequence[Any], problems: list[str]) -> int:
    number, tenant, run, seq, head = row
    after, newest = 0, ""
    while after < seq:
        rows = await readers.fetch(
            "select place & 268435455, body, hash, token from entries "
            "where place > ? and place <= ? order by place limit ?",
            ((number << 28) + after, (number << 28) + seq, _MANY),
        )
        part = [Entry(*entry) for entry in rows]
        try:
            await anyio.to_thread.run_sync(_verify, part, tenant, run, after, newest)
        except JournalCorruptError as error:
            problems.append(error.problem)
            return after
        if not part:
            break
        after, newest = part[-1].seq, part[-1].hash
    if after != seq:
        problems.append(f"Run {run} has {after} entries instead of {seq}.")
    elif newest != head:
        problems.append(f"The head of run {run} is not the hash of its last entry.")
    return after


async def _misread(readers: Readers) -> list[str]:
    """Return what is wrong with the rows that do not belong to a chain."""
    problems = [
        f"The row of run {run} has the state {state!r:.60} and the needs {needs!r:.60}."
        for run, state, needs in await readers.fetch(_MISREAD, (json.dumps(sorted(State)),))
    ]
    for row in await readers.fetch(_UNREAD):
        try:
            posted_of(row)
        except JournalCorruptError as error:
            problems.append(error.problem)
    return problems


def _verify(part: list[Entry], tenant: str, run: str, after: int, head: str) -> None:
    verify(part, tenant=tenant, run=run, after=after, head=head)
