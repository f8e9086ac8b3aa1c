"""The matrix finds what it is for: each kind of carelessness that cancelling brings to light."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from astro.testing.cancelling import CancelMatrixError, cancel_matrix
from tests.cancelling import careless
from tests.cancelling.scenarios import PARTS, chain

MIDDLE = range(10, 90)  # steps between opening an engine and closing it


def found(caller: Any, *args: Any, **options: Any) -> str:
    """Return what a matrix says about a caller that is not safe to cancel."""
    with pytest.raises(CancelMatrixError) as caught:
        cancel_matrix(caller, *args, parts=PARTS, ways=["once"], **options)
    return str(caught.value)


def test_a_semaphore_without_finally_is_found() -> None:
    told = found(careless.keeps_its_place, again=True, stores=careless.Crowded, at=MIDDLE)
    assert "a caller that comes after does not end; it waits in keeps_its_place" in told
    assert "careless.py:" in told


def test_the_same_with_finally_is_not() -> None:
    report = cancel_matrix(
        careless.gives_its_place_back,
        parts=PARTS,
        again=True,
        stores=careless.Crowded,
        ways=["once"],
        at=MIDDLE,
    )
    assert report.cancelled == len(MIDDLE)


def test_slots_of_an_engine_that_are_not_given_back_are_found() -> None:
    assert "slots of a closed engine are taken" in found(careless.leaks_slots, at=MIDDLE)


def test_a_transaction_in_two_awaits_is_found() -> None:
    told = found(chain, 1, stores=careless.TwoAwaits, at=MIDDLE)
    assert "a fresh engine does not end run" in told or "transaction within" in told


def test_a_key_and_its_run_in_two_transactions_are_found() -> None:
    told = found(chain, 1, stores=careless.HalfKeyed, at=MIDDLE)
    assert "there are 2 runs of chain with key trial and not 1" in told


def test_a_result_and_its_state_in_two_transactions_are_found() -> None:
    told = found(careless.keeps_books, again=True, stores=careless.Books)
    assert "when it asked again it returned [16, 16] and has not returned [16]" in told


def test_a_swallowed_cancellation_that_leaves_a_task_behind_is_found() -> None:
    told = found(careless.abandons_its_work, at=MIDDLE)
    assert "the caller was cancelled, and yet it returned 0" in told
    assert "a task is left behind" in told
    assert "_linger" in told


@pytest.mark.parametrize(
    ("caller", "stores"),
    [(careless.keeps_its_place, careless.Crowded), (careless.keeps_books, careless.Books)],
)
def test_without_a_cancellation_nobody_sees_it(caller: Any, stores: Callable[..., Any]) -> None:
    report = cancel_matrix(caller, parts=PARTS, again=True, stores=stores, at=[])
    assert report.cancellations == 0
    assert report.deterministic
