"""A process that writes a store's file without syncing; run as `python -m tests.faults.careless`.

No store offers this. It is here so that what looks for damage is seen to find some.
"""

from __future__ import annotations

import sqlite3
import sys

from astro.core.protocols import Lease
from astro.core.records import Entry
from astro.stores.sqlite.schema import script
from tests.faults.committing import ENTRIES, MANY, say
from tests.stores.making import TENANT, new_run, progress, run_id

RUN = """
insert into runs (
    number, tenant, id, task, fingerprint, namespace, priority, family, created_at, updated_at,
    state, phase, seq, head
) values (1, ?, ?, 'greet', '', '', 0, 1, 0, 0, 'running', 1, 1, ?)
"""


def keep(db: sqlite3.Connection, entry: Entry) -> None:
    row = ((1 << 28) + entry.seq, entry.token, entry.hash, entry.body)
    db.execute("insert into entries (place, token, hash, body) values (?, ?, ?, ?)", row)


def main(path: str, turns: int) -> None:
    db = sqlite3.connect(path, isolation_level=None)
    db.execute("pragma journal_mode = wal")
    db.execute("pragma synchronous = off")
    db.execute("pragma wal_autocheckpoint = 25")
    db.executescript(script(0))
    first = new_run(1).entry
    db.execute("begin immediate")
    db.execute(RUN, (TENANT, run_id(1), first.hash))
    keep(db, first)
    db.execute("commit")
    lease = Lease(
        tenant=TENANT,
        run=run_id(1),
        task="greet",
        owner="careless",
        token=1,
        seq=1,
        head=first.hash,
        priority=0,
    )
    for _ in range(turns):
        made = progress(lease, entries=ENTRIES, result=MANY)
        last = made.entries[-1]
        db.execute("begin immediate")
        for entry in made.entries:
            keep(db, entry)
        db.execute("update runs set seq = ?, head = ?", (last.seq, last.hash))
        db.execute("commit")
        say("commit", lease.run, last.seq, last.hash)
        lease = Lease(
            tenant=TENANT,
            run=lease.run,
            task=lease.task,
            owner=lease.owner,
            token=lease.token,
            seq=last.seq,
            head=last.hash,
            priority=0,
        )
    db.close()


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
