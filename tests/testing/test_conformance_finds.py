"""The suites find faults: each broken part fails the tests that are meant for it."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from tests.testing.broken_agents import BrokenAgent
from tests.testing.broken_engines import BrokenEngine
from tests.testing.broken_stores import BrokenStore

ROOT = Path(__file__).parents[2]
Failed = Mapping[str, set[str]]


def broken(kind: type[Any]) -> dict[str, type[Any]]:
    """Return the classes of a kind that say what finds them, by name."""
    found: dict[str, type[Any]] = {}
    for one in kind.__subclasses__():
        if hasattr(one, "found_by"):
            found[one.__name__] = one
        found |= broken(one)
    return found


KINDS = {
    "broken_stores": broken(BrokenStore),
    "broken_engines": broken(BrokenEngine),
    "broken_agents": broken(BrokenAgent),
}
SOUND = {
    "SoundStore": "broken_stores",
    "SoundEngine": "broken_engines",
    "SoundAgent": "broken_agents",
}
CASES = [(module, name) for module, found in KINDS.items() for name in found]


def failures(module: str, folder: Path) -> Failed:
    """Run the suite with all broken parts of a module; return what failed, by class.

    Of agents every test is run; of the others those that are meant to find something, and all of
    those for the sound one.
    """
    found: dict[str, set[str]] = {name: set() for name in KINDS[module]}
    file = folder / "test_broken.py"
    lines = [
        f"from tests.testing.{module} import {', '.join(found)}",
        *(f"class Test{name}({name}): pass" for name in found),
    ]
    file.write_text("\n".join(lines))
    every = {test for kind in KINDS[module].values() for test in kind.found_by}
    meant = [
        f"{file.name}::Test{name}::{test}"
        for name, kind in KINDS[module].items()
        for test in (every if name in SOUND else kind.found_by)
    ]
    tests = [file.name] if module == "broken_agents" else meant
    ran = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-rf", "-p", "no:cacheprovider", "--tb=no", *tests],
        cwd=folder,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert ran.returncode == 1, ran.stdout + ran.stderr
    failed = re.findall(r"^FAILED \S*::Test(\w+)::(\w+)", ran.stdout, re.MULTILINE)
    for name, test in failed:
        found[name].add(test)
    return found


@pytest.fixture(scope="module")
def failing(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Failed]:
    """Return what tells the failures of a module, from one run of the suite."""
    return cache(lambda module: failures(module, tmp_path_factory.mktemp(module)))


@pytest.mark.slow
@pytest.mark.parametrize(("module", "name"), CASES)
def test_a_broken_part_is_found_by_the_tests_meant_for_it(
    failing: Callable[[str], Failed], module: str, name: str
) -> None:
    assert set(KINDS[module][name].found_by) <= failing(module)[name]


@pytest.mark.slow
@pytest.mark.parametrize("name", SOUND)
def test_a_sound_part_passes_where_the_broken_ones_fail(
    failing: Callable[[str], Failed], name: str
) -> None:
    assert failing(SOUND[name])[name] == set()


@pytest.mark.slow
def test_every_test_of_agents_finds_something(failing: Callable[[str], Failed]) -> None:
    tests = {name for name in dir(BrokenAgent) if name.startswith("test_")}
    found = set().union(*failing("broken_agents").values())
    assert tests - found == {"test_promises_are_on_record"}
