"""Recording: the journals of this release, written into a folder of its own.

    python -m tests.replays.record 0.1

It copies `parts.py` and `flow.yaml` there, and writes a file of JSON lines per history and one
SQLite file with all of them. Ids, time and chance are fixed: the same code writes the same lines.
"""

from __future__ import annotations

import base64
import shutil
import sys
from datetime import timedelta
from pathlib import Path
from typing import Any

from astro import MemoryStore, SqliteStore
from astro.core.records import SucceededRecord, decode_entry
from tests.replays import parts
from tests.replays.journals import Take, end_of, fold_of, message_of, write_takes
from tests.replays.playing import NOW, TENANT, THEN, go_on, in_virtual_time, play, states_of

__all__ = ["HERE", "record", "record_lines"]

HERE = Path(__file__).parent
_EVERYTHING = 1_000_000


def record(folder: Path) -> int:
    """Write the journals of all histories into a folder; return how many takes there are."""
    count = record_lines(folder, (*parts.HISTORIES,))
    _write_database(folder / "runs.sqlite", (*parts.HISTORIES,))
    return count


def record_lines(folder: Path, histories: tuple[str, ...]) -> int:
    """Write a file of JSON lines per history; return how many takes there are."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in ("parts.py", "flow.yaml"):
        shutil.copyfile(HERE / name, folder / name)
    count = 0
    for place, name in enumerate(histories):
        takes = [_taken(name, None, 100 * place)]
        commits = _commits(name, 100 * place)
        until = sorted({max(1, commits * part // 4) for part in (1, 2, 3)} | {commits - 1})
        takes += [_taken(name, at, 100 * place + at) for at in until if 0 < at < commits]
        write_takes(folder / f"{name}.jsonl", takes)
        count += len(takes)
    return count


def _commits(name: str, number: int) -> int:
    return in_virtual_time(
        lambda clock: play(parts, [name], MemoryStore(clock=clock), clock, number=number),
        at=THEN,
        threads=False,
    )


def _taken(name: str, until: int | None, number: int) -> Take:
    """Return how a history goes, and how what is left of it ends."""
    store: Any = None

    async def first(clock: Any) -> Take:
        nonlocal store
        store = MemoryStore(clock=clock)
        await play(parts, [name], store, clock, number=number, until=until)
        async with store:
            return await _kept(store, name, until)

    async def then(clock: Any) -> dict[str, tuple[str, str]]:
        again = MemoryStore(clock=clock)
        async with again:
            await take.load(again, TENANT, clock.now())
        await go_on(parts, again, clock, number=number + 50)
        async with again:
            states = await states_of(again)
        return {run: end_of(states[run]) for run in take.folds}

    take = in_virtual_time(first, at=THEN, threads=False)
    take.ends = in_virtual_time(then, at=NOW, threads=False)
    return take


async def _kept(store: Any, name: str, until: int | None) -> Take:
    """Return everything that a store holds."""
    states = await states_of(store)
    entries = {run: list(await store.read(TENANT, run, limit=_EVERYTHING)) for run in states}
    blobs = {}
    for records in entries.values():
        for one in map(decode_entry, records):
            if isinstance(one, SucceededRecord) and one.blob is not None:
                content = await store.fetch(TENANT, one.blob)
                blobs[one.blob] = base64.b64encode(content).decode()
    # Only an owner sees messages.
    tasks = frozenset(state.created.task for state in states.values() if state.created)
    await store.claim("archive", offers=tasks, limit=1_000, duration=timedelta(minutes=1))
    return Take(
        history=name,
        until=until,
        folds={run: fold_of(state) for run, state in states.items()},
        ends={},
        entries=entries,
        unread=[message_of(posted) for posted in await store.inbox("archive")],
        blobs=blobs,
    )


def _write_database(path: Path, histories: tuple[str, ...]) -> None:
    """Let all histories happen on one file, to their end, and again until an engine dies."""
    for file in path.parent.glob(f"{path.name}*"):
        file.unlink()
    commits = 0

    async def first(clock: Any) -> int:
        store = SqliteStore(path, clock=clock, synchronous="NORMAL")
        return await play(parts, histories, store, clock, number=10_000)

    async def second(clock: Any) -> int:
        store = SqliteStore(path, clock=clock, synchronous="NORMAL")
        return await play(parts, histories, store, clock, number=10_001, until=commits // 2)

    commits = in_virtual_time(first, at=THEN, threads=True)
    in_virtual_time(second, at=THEN + timedelta(days=1), threads=True)
    for file in path.parent.glob(f"{path.name}?*"):
        file.unlink()  # the lock


if __name__ == "__main__":
    told = record(HERE / sys.argv[1])
    sys.stdout.write(f"{told} takes were recorded in tests/replays/{sys.argv[1]}\n")
