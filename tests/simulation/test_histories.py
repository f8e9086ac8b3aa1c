"""Random work while engines crash, stores fail and clocks are set: nothing is lost or wrong.

ASTRO_SEEDS sets how many histories there are; a tenth of them on files. ASTRO_SEED repeats one.
"""

from __future__ import annotations

import os
import random
import re
import subprocess
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from astro import Budget, Context, MemoryStore, task
from astro.core.codec import to_json
from astro.core.records import State
from astro.testing.ends import END_INVARIANTS, OUTSIDE_INVARIANTS
from astro.testing.inline_sqlite import InlineSqliteStore
from astro.testing.invariants import INVARIANTS
from astro.testing.jobs import Job
from astro.testing.mishaps import MISHAPS
from astro.testing.simulation import SimulationError, simulate
from astro.testing.watched_store import ANSWER_INVARIANTS
from tests.simulation.histories import Histories
from tests.simulation.scenarios import PARTS, jobs, leaf
from tests.telling import note

SEEDS = int(os.environ.get("ASTRO_SEEDS", "2000"))
SEED = int(os.environ.get("ASTRO_SEED", "7"))
FOUND_SOMETHING = (20, 29, 40, 53, 72, 80, 86, 151, 168, 248, 331, 335, 391, 18873, 20647)
CHUNK = 100
ALL = {*INVARIANTS, *ANSWER_INVARIANTS, *END_INVARIANTS, *OUTSIDE_INVARIANTS}
ON_FILES: dict[str, Any] = {"store": InlineSqliteStore}


@pytest.fixture(scope="module")
def in_memory(pytestconfig: pytest.Config) -> Iterator[Histories]:
    histories = Histories()
    yield histories
    note(pytestconfig, "simulated in memory", {"told": str(histories)})


@pytest.fixture(scope="module")
def on_files(pytestconfig: pytest.Config) -> Iterator[Histories]:
    histories = Histories()
    yield histories
    note(pytestconfig, "simulated on files", {"told": str(histories)})


@pytest.mark.usefixtures("untraced")
@pytest.mark.parametrize("first", range(0, SEEDS, CHUNK))
def test_histories_in_memory_end_as_they_should(first: int, in_memory: Histories) -> None:
    in_memory.live(range(first, min(first + CHUNK, SEEDS)))


@pytest.mark.usefixtures("untraced")
@pytest.mark.parametrize("first", range(0, SEEDS // 10, CHUNK))
def test_histories_on_files_end_as_they_should(first: int, on_files: Histories) -> None:
    on_files.live(range(first, min(first + CHUNK, SEEDS // 10)), **ON_FILES)


@pytest.mark.parametrize("seed", FOUND_SOMETHING)
def test_what_went_wrong_once_does_not_go_wrong_again(seed: int) -> None:
    Histories().live([seed])
    Histories().live([seed], **ON_FILES)


def test_one_seed_in_memory() -> None:
    Histories().live([SEED])


def test_one_seed_in_sqlite() -> None:
    Histories().live([SEED], **ON_FILES)


def test_everything_happens_and_everything_is_checked() -> None:
    histories = Histories()
    report = histories.live(range(40))
    assert len(report.mishaps) == len(MISHAPS)
    assert report.crashes > 0 < report.faults
    assert report.checks.keys() == ALL


def test_each_invariant_has_one_name_and_one_home_and_a_line_in_the_documentation() -> None:
    homes = (INVARIANTS, ANSWER_INVARIANTS, END_INVARIANTS, OUTSIDE_INVARIANTS)
    assert sum(map(len, homes)) == len(ALL)
    page = (Path(__file__).parents[2] / "docs" / "explanation" / "tested.md").read_text()
    table = page.partition("## Invariants")[2].partition("\n## ")[0]
    assert set(re.findall(r"^\| ([a-z ]+) \|", table, re.MULTILINE)) == ALL


@pytest.mark.parametrize("options", [{}, ON_FILES], ids=["memory", "files"])
def test_the_same_seed_is_the_same_history(options: dict[str, Any]) -> None:
    one = simulate(*PARTS, jobs=jobs, seeds=[3, 8], **options)
    assert simulate(*PARTS, jobs=jobs, seeds=[3, 8], **options) == one


def wrong_jobs(chance: random.Random) -> list[Job]:
    """Expect of one seed in four what does not come."""
    return [Job(task=leaf, args=(1,), expected=to_json(1 + (chance.random() < 0.25)))]


def test_a_wrong_result_is_reported_with_a_command_that_repeats_it() -> None:
    budgets = {"acme": Budget(money=2.5, time=timedelta(minutes=1))}
    with pytest.raises(SimulationError, match=r"seeds=\[\d+\]") as caught:
        simulate(leaf, jobs=wrong_jobs, kinds=["crash", "stall"], budgets=budgets, **ON_FILES)
    (wrong,) = caught.value.problems
    assert "gave b'1' and not b'2'" in wrong
    command = caught.value.command
    assert command in str(caught.value)
    assert "\n" not in command
    again = subprocess.run(command, shell=True, capture_output=True, text=True, check=False)
    assert again.returncode
    assert f"Seed {caught.value.seed} went wrong" in again.stderr
    assert wrong in again.stderr
    assert command.split(" -c ")[1] in again.stderr


def test_what_no_command_can_name_is_reported_with_its_seed() -> None:
    def wrong(chance: random.Random) -> list[Job]:
        return [Job(task=leaf, args=(1,), expected=b"2")]

    with pytest.raises(SimulationError, match=r"seeds=\[3\]") as caught:
        simulate(leaf, jobs=wrong, seeds=[3], kinds=["crash", "stall"])
    assert not caught.value.command
    assert "at the top of a module" in str(caught.value)


def test_whatever_ends_a_history_is_reported_with_its_seed() -> None:
    class Torn(MemoryStore):
        async def claim(self, owner: str, /, **options: Any) -> Any:
            raise RecursionError("torn")

    with pytest.raises(SimulationError, match=r"(?s)Seed 5.*torn") as caught:
        simulate(*PARTS, jobs=jobs, seeds=[5], store=lambda clock: Torn(clock=clock))
    assert caught.value.seed == 5


def test_a_run_that_never_ends_is_reported() -> None:
    @task
    async def waits(ctx: Context) -> bool:
        return await ctx.ask("Anybody?", bool)

    def stuck(chance: random.Random) -> list[Job]:
        return [Job(task=waits, states=frozenset({State.DONE}))]

    with pytest.raises(SimulationError, match="did not end"):
        simulate(waits, jobs=stuck, seeds=[1], mishaps=0)
