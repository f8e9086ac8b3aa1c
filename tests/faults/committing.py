"""A process that commits, and says so; run as `python -m tests.faults.committing`.

It prints a line for each thing that was acknowledged: a run at a sequence number with the hash of
its newest entry, a blob, a message. Some commits are made at once, so that they share a
transaction; now and then a second store is opened on the same file, and closing it writes the WAL
back and truncates it while the first one goes on; at other times, the store does so by itself, and
begins the WAL anew.

Its life begins with a number; each life works on the runs of those before it as well.
"""

from __future__ import annotations

import sys
from datetime import timedelta
from functools import partial

import anyio
import msgspec

from astro.core.protocols import Commit, Lease
from astro.stores.sqlite import SqliteStore
from tests.stores.making import TENANT, answer, new_run, progress, run_id

ENTRIES = 3  # of each commit
OPERATIONS = 1_500  # about 12 KiB of WAL each, by the store's estimate; next to nothing in truth
FEW, MANY = '"hello"', '"' + "x" * 5_000 + '"'  # results; the longer ones take pages of their own


def say(*words: object) -> None:
    # In one write, so that the trace shows it whole.
    sys.stdout.write(" ".join(map(str, words)) + "\n")
    sys.stdout.flush()


async def commit(store: SqliteStore, leases: dict[str, Lease], run: str, result: str) -> None:
    lease = leases[run]
    made: Commit = progress(lease, entries=ENTRIES, result=result)
    leases[run] = lease = await store.commit(lease, made)
    say("commit", run, lease.seq, lease.head)


async def work(store: SqliteStore, path: str, life: int, turns: int) -> None:
    for number in range(3):
        run = await store.create(TENANT, new_run(life * 10 + number))
        say("create", run)
    claimed = await store.claim(
        f"life {life}", offers=frozenset({"greet"}), limit=100, duration=timedelta(seconds=0.001)
    )
    leases = {lease.run: lease for lease in claimed.leases}
    newest = run_id(life * 10)
    for turn in range(turns):
        result = MANY if turn % 4 == 0 else FEW
        if turn % 3 == 0:
            async with anyio.create_task_group() as group:
                for run in {newest, *[*leases][:2], *[*leases][-2:]}:
                    group.start_soon(partial(commit, store, leases, run, result))
        else:
            await commit(store, leases, newest, result)
        if turn % 6 == 1:
            say("blob", await store.put(TENANT, f"life {life}, turn {turn}".encode() * 100))
        if turn % 6 == 3:
            await store.post(TENANT, newest, answer(once=f"turn {turn}"))
            say("post", newest, f"turn {turn}")
        if turn % 8 == 7:
            async with SqliteStore(path):
                pass
        if turn % 16 == 12:
            # So many operations that the store writes its WAL back by itself, and begins it anew.
            outdated = msgspec.structs.replace(leases[newest], token=0)
            async with anyio.create_task_group() as group:
                for _ in range(OPERATIONS):
                    group.start_soon(store.release, outdated)


async def main(path: str, synchronous: str, life: int, turns: int) -> None:
    # mypy cannot tell that the word is one of the two.
    async with SqliteStore(path, synchronous=synchronous) as store:  # type: ignore[arg-type]
        await work(store, path, life, turns)


if __name__ == "__main__":
    anyio.run(main, sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4]))
