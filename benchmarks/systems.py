"""Systems: everything that performs the workloads, each behind the same call."""

import asyncio
import tempfile
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from benchmarks.baselines import open_commit_per_step, open_group_commit, open_plain
from benchmarks.measuring import Sample, Synchronous, System, measure
from benchmarks.on_astro import open_astro
from benchmarks.peers.answering import Setting
from benchmarks.peers.environments import PEERS, Peer, perform
from benchmarks.workloads import ASTRO, Workload

__all__ = ["Entrant", "entrants"]

Open = Callable[[Path, Synchronous], AbstractAsyncContextManager[System]]


@dataclass(frozen=True, kw_only=True)
class Entrant:
    """A system that takes part.

    Attributes:
        durability: What its commits survive, for a synchronous level that was asked for.
        perform: Performs a workload once, in a new folder below the one given.
    """

    name: str
    durability: Callable[[Synchronous], str]
    perform: Callable[[Workload, Path], Sample]


def entrants() -> tuple[Entrant, ...]:
    """Return ASTRO, the baselines, and the peers whose environments are installed."""
    return (
        Entrant(name=ASTRO, durability=_wal, perform=_here(open_astro)),
        Entrant(name="plain asyncio", durability=lambda _: "none", perform=_here(open_plain)),
        Entrant(name="commit per step", durability=_wal, perform=_here(open_commit_per_step)),
        Entrant(name="group commit", durability=_wal, perform=_here(open_group_commit)),
        *_peers(),
    )


def _peers() -> list[Entrant]:
    """Return the peers, DBOS twice: what it ships with is slower than what it can do."""
    ways: list[tuple[str, str, Setting | None]] = [
        ("LangGraph", "langgraph", None),
        ("DBOS", "dbos", "NORMAL"),
        ("DBOS as shipped", "dbos", "shipped"),
        ("Burr", "burr", None),
    ]
    peers = {peer.name: peer for peer in PEERS if peer.complete.exists()}
    return [
        Entrant(
            name=name,
            durability=partial(_durability, setting),
            perform=partial(_elsewhere, peers[peer], setting),
        )
        for name, peer, setting in ways
        if peer in peers
    ]


def _wal(synchronous: Synchronous) -> str:
    return f"WAL {synchronous}"


def _durability(setting: Setting | None, synchronous: Synchronous) -> str:
    return "rollback FULL" if setting == "shipped" else f"WAL {setting or synchronous}"


def _here(open_system: Open) -> Callable[[Workload, Path], Sample]:
    """Return what performs a workload in this process, in an event loop of its own."""

    async def timed(workload: Workload, folder: Path) -> Sample:
        async with open_system(folder, workload.synchronous) as system:
            return await measure(system, workload.shape, workload.items)

    def perform_here(workload: Workload, scratch: Path) -> Sample:
        with tempfile.TemporaryDirectory(dir=scratch) as folder:
            return asyncio.run(timed(workload, Path(folder)))

    return perform_here


def _elsewhere(peer: Peer, setting: Setting | None, workload: Workload, scratch: Path) -> Sample:
    wanted = setting or workload.synchronous
    return perform(peer, workload.shape, workload.items, wanted, scratch)
