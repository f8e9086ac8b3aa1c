"""The corpus as a whole: how many cases there are, and that each is told from the others."""

from __future__ import annotations

from collections import Counter
from importlib import import_module
from pathlib import Path
from typing import Any

from tests.telling import Tell

PROMISED = 400
"""Cases that the plan of tests asks for."""


def tables() -> dict[str, list[Any]]:
    """Return the tables of all rooms, by room and name."""
    found: dict[str, list[Any]] = {}
    for path in sorted({*Path(__file__).parent.glob("test_*.py")} - {Path(__file__)}):
        room = import_module(f"tests.bad_input.{path.stem}")
        for name, value in vars(room).items():
            if isinstance(value, list) and value and all(_is_case(one) for one in value):
                found[f"{path.stem}.{name}"] = value
    return found


def _is_case(value: Any) -> bool:
    return hasattr(value, "id") and hasattr(value, "what") and hasattr(value, "defect")


TABLES = tables()  # here: what is imported in a test would be among what the test leaves behind


def test_the_corpus_is_as_large_as_promised(tell: Tell) -> None:
    cases = [case for table in TABLES.values() for case in table]
    refused = sum(hasattr(case, "match") for case in cases)
    rooms = len({name.partition(".")[0] for name in TABLES})
    tell("bad input", cases=len(cases), of_which_refused=refused, rooms=rooms)
    assert len(cases) >= PROMISED


def test_most_of_the_corpus_is_refused_and_not_let_in() -> None:
    cases = [case for table in TABLES.values() for case in table]
    assert sum(hasattr(case, "match") for case in cases) >= PROMISED


def test_each_case_of_a_table_has_a_name_of_its_own() -> None:
    doubled = {
        name: [id for id, times in Counter(case.id for case in table).items() if times > 1]
        for name, table in TABLES.items()
    }
    assert {name: ids for name, ids in doubled.items() if ids} == {}


def test_every_refusal_names_the_problem() -> None:
    speechless = [
        f"{name}: {case.id}"
        for name, table in TABLES.items()
        for case in table
        if not getattr(case, "match", "an odd one")
    ]
    assert speechless == []
