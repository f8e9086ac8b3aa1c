"""Each call of a store in a file goes wrong in each way, one at a time, until none is left.

Here time is real and threads are at work, so what the n-th call is differs from try to try; what
must hold does not.
"""

from __future__ import annotations

import os
import tempfile
from collections import Counter
from collections.abc import Iterator, Sequence
from datetime import timedelta
from pathlib import Path

import anyio
import pytest

from astro import SqliteStore
from astro.testing import Fault, LoopClock, fail_nth
from astro.testing.quiet import quiet
from tests.exhaustion.patience import Pace, Tried, try_with, wrongs
from tests.exhaustion.scenarios import QUICK, Scenario
from tests.exhaustion.ways import WAYS
from tests.telling import Tell

pytestmark = [pytest.mark.anyio, pytest.mark.slow]

PACE = Pace(
    lease=timedelta(seconds=0.9),
    again=timedelta(seconds=0.02),
    patience=timedelta(seconds=30),
)
LONG = timedelta(seconds=0.3)
TOGETHER = 20
CHOSEN = ("ask, part and answer", "budgets")


@pytest.fixture
def room() -> Iterator[Path]:
    """A folder in memory, where there is one: many files are written and dropped."""
    memory = Path("/dev/shm")
    where = memory if os.access(memory, os.W_OK) else None
    with tempfile.TemporaryDirectory(dir=where, prefix="astro-exhaustion-") as folder:
        yield Path(folder)


async def tried_with(
    room: Path, scenario: Scenario, fault: Fault, numbers: Sequence[int]
) -> dict[int, Tried]:
    """Try some numbers at the same time, each on a store of its own."""
    found: dict[int, Tried] = {}

    async def one(number: int) -> None:
        path = room / f"{scenario.name}-{number}.db"
        store = SqliteStore(path, clock=LoopClock(), synchronous="NORMAL")
        plan = fail_nth(number, fault)
        # Who leaves just before a question is asked loses its run: see test_parting.py.
        moves = number % 2 == 0 and scenario.answer is None
        found[number] = await try_with(store, scenario, plan, pace=PACE, moves=moves)

    with quiet("astro"):
        async with anyio.create_task_group() as group:
            for number in numbers:
                group.start_soon(one, number)
    return dict(sorted(found.items()))


@pytest.mark.parametrize("way", ["busy", "full", "time-out", "late success"])
async def test_a_run_survives_that_any_call_of_its_file_goes_wrong(
    way: str, room: Path, tell: Tell
) -> None:
    fault = WAYS[way](LONG)
    struck: Counter[str] = Counter()
    found: list[str] = []
    for scenario in (known for known in QUICK if known.name in CHOSEN):
        first, exhausted = 1, False
        while not exhausted:
            numbers = range(first, first + TOGETHER)
            for number, tried in (await tried_with(room, scenario, fault, numbers)).items():
                wrong = wrongs(scenario, fault, tried)
                found += [
                    f"{scenario.name}, call {number} ({tried.struck}): {one}" for one in wrong
                ]
                struck[tried.struck] += 1
                exhausted = exhausted or not tried.struck
            first += TOGETHER
    del struck[""]
    tell(f"{way}, in a file", faults=struck.total(), wrong=len(found), **struck)
    assert not found
    assert struck.total() > 30
