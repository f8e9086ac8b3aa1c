"""Larger scenarios are killed at each of their commits, once and twice, and end all the same."""

from __future__ import annotations

import itertools
import os
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from astro import Budget, MemoryStore, SqliteStore
from astro.core.ledger import Usage
from astro.testing import CrashReport, VirtualClock, crash_matrix
from astro.testing.trial import Point, Trial
from tests.crashing.scenarios import SCENARIOS, nested, short
from tests.telling import Tell

pytestmark = [pytest.mark.anyio, pytest.mark.slow]

TWICE = 20
MANY = 400  # points at which scenarios are killed, at least
TENANT = "default"


async def crashed(name: str, **options: Any) -> CrashReport:
    """Kill a scenario everywhere."""
    one = SCENARIOS[name]
    options |= {"parts": one.parts, "answers": one.answers, "fails": one.fails, **one.kwargs}
    return await crash_matrix(one.task, *one.args, **options)


async def test_every_scenario_survives_every_crash(tell: Tell) -> None:
    single = double = 0
    for name, scenario in SCENARIOS.items():
        report = await crashed(name, twice=TWICE)
        assert report.deterministic, name
        assert report.commits >= scenario.commits, name
        assert report.pairs == TWICE
        assert report.crashes == 2 * report.commits + 2 * TWICE
        single += 2 * report.commits
        double += report.pairs
        tell(name, commits=report.commits, calls=len(report.calls), crashes=report.crashes)
    tell("crashes in memory", points=single, of_which_wrong=0, followed_by_another=double)
    assert single >= MANY
    assert double >= 100


@pytest.fixture
def room() -> Iterator[Path]:
    """A folder in memory, where there is one: many files are written and dropped."""
    memory = Path("/dev/shm")
    where = memory if os.access(memory, os.W_OK) else None
    with tempfile.TemporaryDirectory(dir=where, prefix="astro-crashing-") as folder:
        yield Path(folder)


def files(room: Path) -> Callable[[VirtualClock], SqliteStore]:
    """Return what makes an empty store in a file."""
    numbers = itertools.count()
    return lambda clock: SqliteStore(
        room / f"{next(numbers)}.db", clock=clock, synchronous="NORMAL"
    )


@pytest.mark.parametrize("name", ["a workflow", "undo"])
async def test_a_file_survives_every_crash(name: str, room: Path, tell: Tell) -> None:
    report = await crashed(name, stores=files(room), twice=5)
    assert report.deterministic
    tell(f"{name}, in a file", commits=report.commits, crashes=report.crashes)


async def test_processes_that_are_killed_are_survived(tell: Tell) -> None:
    report = await crash_matrix(short, 1, processes=True, twice=1)
    assert report.crashes == 2 * report.commits + 2
    tell("killed processes", commits=report.commits, kills=report.crashes)


class Budgeted(MemoryStore):
    """Has a budget for its tenant from the beginning."""

    allowed = False

    async def __aenter__(self) -> Any:
        await super().__aenter__()
        if not self.allowed:
            self.allowed = True
            await self.allow(TENANT, Budget(money=1_000.0, tokens=10_000))
        return self


async def test_nothing_stays_reserved_and_nobody_goes_uncharged_after_any_crash(
    tell: Tell,
) -> None:
    """What is charged is what was spent, or more: a dead owner's calls are charged in full."""
    stores: list[Budgeted] = []

    def make(clock: VirtualClock) -> Budgeted:
        stores.append(Budgeted(clock=clock))
        return stores[-1]

    report = await crashed("money", stores=make, twice=TWICE)
    spent = 2 * (0.1 + 0.2 + 0.3 + 0.4 + 0.5 + 0.6 + 0.7)
    used: list[float] = []
    for store in stores:
        async with store:
            account = await store.account(TENANT)
        assert account is not None
        assert account.reserved == Usage()
        used.append(account.used.money)
    assert used[0] == pytest.approx(spent)
    assert min(used) >= spent - 1e-9
    assert max(used) > spent + 1
    tell("money after crashes", crashes=report.crashes, spent=spent, charged_at_most=max(used))


async def test_runs_that_wait_for_each_other_survive_two_crashes() -> None:
    trial = Trial(nested, (3,), {}, parts=[], answers={}, stores=lambda c: MemoryStore(clock=c))
    done = await trial.run(Point(17, applied=False), Point(35, applied=False))
    assert done.outcome.state == "done"
