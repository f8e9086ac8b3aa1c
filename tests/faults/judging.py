"""Judging: whether a file that a crash left holds all that was relied on, and nothing half."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable
from pathlib import Path

import attrs

from astro.core.errors import JournalCorruptError
from astro.core.records import Entry, verify
from tests.faults.committing import ENTRIES

__all__ = ["Verdict", "judge"]


@attrs.frozen
class Verdict:
    """What is wrong with a file.

    Attributes:
        damage: What contradicts itself.
        lost: What had been acknowledged and is not there.
    """

    damage: tuple[str, ...] = ()
    lost: tuple[str, ...] = ()


def judge(path: Path, relied: Iterable[str]) -> Verdict:
    """Open a file with SQLite alone, and look at everything in it."""
    db = sqlite3.connect(path, isolation_level=None)
    try:
        db.execute("pragma synchronous = off")
        damage = [row[0] for row in db.execute("pragma integrity_check") if row[0] != "ok"]
        if not db.execute("pragma user_version").fetchone()[0]:
            return Verdict(tuple(damage), tuple(relied))
        heads = _heads(db, damage)
        blobs = {row[0] for row in db.execute("select hash from blobs")}
        posted = {
            tuple(row)
            for row in db.execute("select r.id, once from inbox i join runs r on r.number = i.run")
        }
    except (sqlite3.Error, UnicodeError) as error:
        return Verdict((f"{type(error).__name__}: {error}",))
    finally:
        db.close()
    lost = []
    for word in relied:
        kind, first, *more = word.split(" ", 2)
        if kind == "blob":
            there = first in blobs
        elif kind == "post":
            there = (first, more[0]) in posted
        elif kind == "create":
            there = first in heads
        else:
            seq, head = more[0].split()
            there = heads.get(first, {}).get(int(seq)) == head
        if not there:
            lost.append(word)
    return Verdict(tuple(damage), tuple(lost))


def _heads(db: sqlite3.Connection, damage: list[str]) -> dict[str, dict[int, str]]:
    """Return the hash of each entry of each run, having verified them."""
    heads: dict[str, dict[int, str]] = {}
    rows = db.execute("select number, tenant, id, seq, head from runs").fetchall()
    for number, tenant, run, seq, head in rows:
        entries = [
            Entry(*row)
            for row in db.execute(
                "select place & 268435455, body, hash, token from entries "
                "where place > ? and place < ? order by place",
                (number << 28, (number + 1) << 28),
            )
        ]
        try:
            verify(entries, tenant=tenant, run=run)
        except JournalCorruptError as error:
            damage.append(error.problem)
        heads[run] = {entry.seq: entry.hash for entry in entries}
        if not entries or (entries[-1].seq, entries[-1].hash) != (seq, head):
            damage.append(f"run {run} ends elsewhere than it says")
        if (seq - 1) % ENTRIES:
            damage.append(f"run {run} holds a part of a commit")
    orphans = db.execute(
        "select count(*) from entries where place >> 28 not in (select number from runs)"
    ).fetchone()[0]
    if orphans:
        damage.append(f"{orphans} entries belong to no run")
    return heads
