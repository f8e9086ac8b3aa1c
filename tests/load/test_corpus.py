"""What fuzzing has fed the doors with, tried again: it is kept or refused, and nothing else.

The soak adds what it finds to the corpus; see `soak/targets.py` for what each door may do.
"""

from __future__ import annotations

import signal
from collections.abc import Iterator
from pathlib import Path
from types import FrameType
from typing import Any

import pytest

from soak.targets import TARGETS

CORPUS = Path(__file__).parents[2] / "soak" / "corpus"
INPUTS = sorted(path for path in CORPUS.glob("*/*") if path.is_file())
LONGEST = 5.0  # seconds of processor time
OPEN: dict[str, str] = {}
"""Findings that are not mended yet, and what goes wrong."""


def case(path: Path) -> Any:
    marks = [pytest.mark.xfail(reason=OPEN[path.name])] if path.name in OPEN else []
    return pytest.param(path, id=f"{path.parent.name}/{path.name}", marks=marks)


@pytest.fixture
def impatient() -> Iterator[None]:
    """Raise in what takes more processor time than any input may."""

    def give_up(number: int, frame: FrameType | None) -> None:
        raise TimeoutError("it does not end")

    before = signal.signal(signal.SIGVTALRM, give_up)
    signal.setitimer(signal.ITIMER_VIRTUAL, LONGEST)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_VIRTUAL, 0)
        signal.signal(signal.SIGVTALRM, before)


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize("path", [*map(case, INPUTS)])
def test_a_door_keeps_or_refuses_what_it_is_fed_with(path: Path) -> None:
    TARGETS[path.parent.name](path.read_bytes())


def test_there_is_a_corpus_for_each_door() -> None:
    assert {path.parent.name for path in INPUTS} == set(TARGETS)
