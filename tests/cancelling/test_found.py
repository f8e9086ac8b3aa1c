"""What once did not hold, each at the steps where it showed."""

from __future__ import annotations

import pytest

from tests.cancelling.scenarios import CALLERS, WORKFLOWS


@pytest.mark.parametrize("way", ["once", "scope"])
def test_cancelled_while_it_opens_an_engine_leaves_nothing_behind(way: str) -> None:
    CALLERS["engines that open and close"].cancel(at=range(1, 6), ways=[way])


def test_cancelled_while_an_engine_closes_its_runs_are_released() -> None:
    CALLERS["leaving early"].cancel(at=range(20, 50), ways=["once"])


def test_cancelled_again_while_an_engine_closes_it_still_closes() -> None:
    WORKFLOWS["retries and undos"].cancel(at=range(85, 125), ways=["twice"])


def test_a_run_that_ends_while_its_engine_closes_is_released_or_ended() -> None:
    WORKFLOWS["a chain of calls"].cancel(at=range(100, 115), ways=["once", "scope"])


def test_a_run_that_is_cancelled_while_its_engine_closes_is_released_or_ended() -> None:
    CALLERS["a run that is cancelled"].cancel(at=range(50, 60), ways=["once"])
