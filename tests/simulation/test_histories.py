"""Random work while engines crash, stores fail and clocks are set: nothing is lost or wrong."""

from __future__ import annotations

import os
import random

import pytest

from astro import Context, task
from astro.core.records import State
from astro.testing.invariants import INVARIANTS
from astro.testing.simulation import Job, SimulationError, simulate
from tests.simulation.scenarios import PARTS, jobs, leaf

MANY = int(os.environ.get("ASTRO_SEEDS", "200"))
FOUND_SOMETHING = (40, 80, 335, 391)  # a clock set back, suspects in a circle, a lost wake-up


@pytest.mark.parametrize("first", range(0, MANY, 50))
def test_random_histories_end_as_they_should(first: int) -> None:
    report = simulate(*PARTS, jobs=jobs, seeds=range(first, first + 50))
    assert report.seeds == 50
    assert report.checks.keys() == INVARIANTS.keys()
    assert report.crashes > 0 < report.faults


@pytest.mark.parametrize("seed", FOUND_SOMETHING)
def test_what_went_wrong_once_does_not_go_wrong_again(seed: int) -> None:
    simulate(*PARTS, jobs=jobs, seeds=[seed])


def test_the_same_seed_is_the_same_history() -> None:
    one = simulate(*PARTS, jobs=jobs, seeds=[7])
    assert simulate(*PARTS, jobs=jobs, seeds=[7]) == one


def test_a_wrong_result_is_reported_with_its_seed() -> None:
    def wrong(chance: random.Random) -> list[Job]:
        return [Job(task=leaf, args=(1,), expected=b"2")]

    with pytest.raises(SimulationError, match=r"seeds=\[3\]") as caught:
        simulate(leaf, jobs=wrong, seeds=[3])
    assert "gave b'1' and not b'2'" in str(caught.value)


def test_a_run_that_never_ends_is_reported() -> None:
    @task
    async def waits(ctx: Context) -> bool:
        return await ctx.ask("Anybody?", bool)

    def stuck(chance: random.Random) -> list[Job]:
        return [Job(task=waits, states=frozenset({State.DONE}))]

    with pytest.raises(SimulationError, match="did not end"):
        simulate(waits, jobs=stuck, seeds=[1], mishaps=0)
