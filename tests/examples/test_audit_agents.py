"""The agents, performing in an engine: desks that break, reports that appear, earlier audits."""

from __future__ import annotations

import os
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from astro import LocalEngine, MemoryStore
from astro.core.records import AskedRecord
from examples.audit.agents import Analyst, Desks, team
from examples.audit.desk import Desk, DeskLostError, open_desk
from examples.audit.values import Audit, Source
from examples.audit.workflow import Order, analyse, audit

pytestmark = [pytest.mark.anyio, pytest.mark.slow]


@pytest.fixture
def source(tmp_path: Path) -> Source:
    (tmp_path / "one.py").write_text("def f(a=[]): pass\n")
    return Source(root=str(tmp_path), path="one.py")


def breaking(times: int) -> Desks:
    """Return what opens desks of which the first ones are dead."""
    left = iter(range(times))

    @asynccontextmanager
    async def opened() -> AsyncIterator[Desk]:
        async with open_desk() as desk:
            if next(left, None) is not None:
                os.kill(desk.pid, signal.SIGKILL)
            yield desk

    return opened


async def test_a_desk_reads_one_file_after_the_other(source: Source) -> None:
    async with open_desk() as desk:
        first = await desk.read(source)
        second = await desk.read(Source(root=source.root, path="gone.py"))
    assert first.findings[0].text == "a=[]"
    assert second.problem.startswith("not readable")


async def test_a_dead_desk_says_so_and_is_not_usable(source: Source) -> None:
    async with open_desk() as desk:
        os.kill(desk.pid, signal.SIGKILL)
        with pytest.raises(DeskLostError):
            await desk.read(source)
        assert not desk.usable


@pytest.mark.parametrize(("broken", "problem"), [(1, False), (2, True)])
async def test_a_file_is_given_a_second_desk_and_then_given_up(
    source: Source, broken: int, problem: bool
) -> None:
    analyst = Analyst(name="ada", desks=breaking(broken))
    async with LocalEngine(analyse, analyst, store=MemoryStore()) as engine:
        facts = await engine.run(analyse, source)
        after = await engine.run(analyse, source)
    assert bool(facts.problem) is problem
    assert not after.problem


@pytest.fixture
def root(tmp_path: Path) -> Path:
    root = tmp_path / "tree"
    (root / "inner").mkdir(parents=True)
    (root / "one.py").write_text("def f(a=[]): pass\n")
    (root / "inner/two.py").write_text("def g(a): return a\n")
    (root / "broken.py").write_text("def (")
    return root


def engine_of(folder: Path, previous: Audit | None = None) -> LocalEngine:
    """Return an engine whose historian remembers one audit, or none."""

    async def recall(root: str) -> Audit | None:
        return previous

    parts = team(analysts=2, folder=folder, recall=recall)
    return LocalEngine(audit, *parts, store=MemoryStore())


def order_of(root: Path, *, patience: float = 0.01) -> Order:
    return Order(root=str(root), title="a tree", patience=patience)


async def test_an_audit_reads_every_file_and_writes_what_it_found(
    root: Path, tmp_path: Path
) -> None:
    async with engine_of(tmp_path / "out") as engine:
        result = await engine.run(audit, order_of(root))
    assert [each.path for each in result.summary.files] == ["broken.py", "inner/two.py", "one.py"]
    assert [each.path for each in result.summary.problems] == ["broken.py"]
    assert result.summary.whole.findings == 1
    assert result.comparison is None
    assert {each.name for each in (tmp_path / "out").iterdir()} == {"report.md", "report.html"}


async def test_an_audit_compares_with_the_one_before(root: Path, tmp_path: Path) -> None:
    async with engine_of(tmp_path / "out") as engine:
        first = await engine.run(audit, order_of(root))
    (root / "inner/two.py").write_text("def g(a={}): return a\n")
    async with engine_of(tmp_path / "out", first) as engine:
        second = await engine.run(audit, order_of(root))
    assert second.comparison is not None
    assert [each.path for each in second.comparison.worse] == ["inner/two.py"]
    assert "findings 0 → 1" in (tmp_path / "out/report.md").read_text(encoding="utf-8")


async def test_whoever_says_no_gets_no_page(root: Path, tmp_path: Path) -> None:
    async with engine_of(tmp_path / "out") as engine:
        run = await engine.start(audit, order_of(root, patience=60))
        async for record in run:
            if isinstance(record, AskedRecord):
                await run.answer(False, by="a test")
        result = await run
    assert result.reports == ("report.md",)


async def test_an_empty_folder_has_a_report(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    async with engine_of(tmp_path / "out") as engine:
        result = await engine.run(audit, order_of(tmp_path / "empty"))
    assert result.summary.whole.files == 0
    assert (tmp_path / "out/report.html").exists()
