"""The suites in a project of somebody else's: a test file, pytest, and nothing else."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "how-to" / "conformance.md"
STORE = """
from astro.testing.conformance import StoreConformance
from astro.stores.memory import MemoryStore

class TestMine(StoreConformance):
    budgets = True

    def make(self, clock, path):
        return {store}(clock=clock)
"""
Run = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """Return what runs pytest on a test file, in a folder without any configuration."""

    def run(text: str, *options: str) -> subprocess.CompletedProcess[str]:
        (tmp_path / "test_mine.py").write_text(text)
        command = [sys.executable, "-m", "pytest", "-W", "error", "-p", "no:cacheprovider"]
        return subprocess.run(
            [*command, "-c", os.devnull, "--rootdir", str(tmp_path), *options, "test_mine.py"],
            cwd=tmp_path,
            env=os.environ | {"PYTHONPATH": str(ROOT)},
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )

    return run


def outcomes(ran: subprocess.CompletedProcess[str]) -> dict[str, int]:
    """Return how many tests there were of each outcome."""
    last = ran.stdout.strip().splitlines()[-1]
    return {word: int(number) for number, word in re.findall(r"(\d+) (\w+)", last)}


def test_a_store_is_tested_without_any_configuration(run: Run) -> None:
    ran = run(STORE.format(store="MemoryStore"))
    assert ran.returncode == 0, ran.stdout
    assert outcomes(ran).keys() == {"passed", "skipped"}
    assert outcomes(ran)["passed"] > 100


def test_a_promise_that_is_not_made_shows_in_the_report(run: Run, tmp_path: Path) -> None:
    ran = run(STORE.format(store="MemoryStore"), "-rs", "--junit-xml=report.xml")
    assert "TestMine does not promise: durable, shared, maintenance, trio" in ran.stdout
    assert "not promised: TestMine.maintenance is not set" in ran.stdout
    report = (tmp_path / "report.xml").read_text()
    assert '<property name="budgets" value="True"' in report
    assert '<property name="durable" value="False"' in report


def test_a_suite_is_no_test_where_it_is_imported(run: Run) -> None:
    options = ("--collect-only", "-q", "-o", "python_classes=Test* *Conformance")
    ran = run(STORE.format(store="MemoryStore"), *options)
    found = set(re.findall(r"^test_mine\.py::(\w+)::", ran.stdout, re.MULTILINE))
    assert found == {"TestMine"}


def test_a_class_that_is_not_named_as_a_test_is_none(run: Run) -> None:
    ran = run(STORE.format(store="MemoryStore").replace("TestMine", "Mine"), "--collect-only", "-q")
    assert "Mine" not in ran.stdout


def test_a_failure_shows_the_values_that_were_compared(run: Run) -> None:
    broken = """
class Broken(MemoryStore):
    async def tenants(self):
        return ["somebody"]
"""
    text = STORE.format(store="Broken").replace("\nclass", f"{broken}\nclass", 1)
    ran = run(text, "-k", "test_tenants_are_those_with_unfinished_runs")
    assert ran.returncode == 1
    assert re.search(r"E +AssertionError: assert \['somebody'\] == \[\]", ran.stdout), ran.stdout


def test_a_suite_runs_on_trio_only_if_that_is_promised(run: Run) -> None:
    options = ("--collect-only", "-q")
    plain = run(STORE.format(store="MemoryStore"), *options).stdout
    both = run(STORE.format(store="MemoryStore").replace("budgets", "trio"), *options).stdout
    assert plain.count("[trio") == 0
    assert both.count("[trio") == both.count("[asyncio") == plain.count("[asyncio") > 100


def test_without_pytest_the_remedy_is_named() -> None:
    program = "import sys; sys.modules['pytest'] = None; import astro.testing.conformance"
    ran = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert "MissingExtraError" in ran.stderr
    assert "pip install 'astro-orchestrator[testing]'" in ran.stderr


@pytest.mark.parametrize("suite", ["Store", "Engine", "Agent"])
def test_an_example_of_the_page_passes_as_it_stands(run: Run, suite: str) -> None:
    blocks = re.findall(r"^```python\n(.*?)^```", PAGE.read_text(), re.MULTILINE | re.DOTALL)
    (block,) = [block for block in blocks if f"import {suite}Conformance" in block]
    ran = run(block)
    assert ran.returncode == 0, ran.stdout
    assert outcomes(ran)["passed"] > 10
