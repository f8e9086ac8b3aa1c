"""A process that works on a store until it is killed; run as `python -m tests.stores.working`.

It prints one line for each commit that was acknowledged: the run and the sequence number.
"""

from __future__ import annotations

import sys
from datetime import timedelta

import anyio

from astro.stores.sqlite import SqliteStore
from tests.stores.making import TENANT, new_run, progress, run_id


async def main(path: str, number: int) -> None:
    async with SqliteStore(path, synchronous="NORMAL") as store:
        task = f"work {number}"
        await store.create(TENANT, new_run(number, task=task))
        claimed = await store.claim(
            task, offers=frozenset({task}), limit=1, duration=timedelta(hours=1)
        )
        (lease,) = claimed.leases
        while True:
            lease = await store.commit(lease, progress(lease, entries=3))
            print(run_id(number), lease.seq, flush=True)


if __name__ == "__main__":
    anyio.run(main, sys.argv[1], int(sys.argv[2]))
