"""The demonstration as people start it: in a process of its own, which loses its worker."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

HERE = Path(__file__).resolve().parents[2]
MODULE = '"""Module {n}."""\n\nimport time\n\n\nasync def work(a, b=[]):\n    time.sleep({n})\n'


def demonstrate(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "examples.audit", "--patience", "0.1", *map(str, arguments)]
    return subprocess.run(command, cwd=HERE, capture_output=True, text=True, timeout=60)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    root = tmp_path / "tree"
    for n in range(200):
        folder = root / f"package{n % 5}"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"module{n}.py").write_text(MODULE.format(n=n))
    return root


def test_an_audit_survives_the_death_of_its_worker(root: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    ended = demonstrate(root, "--out", out)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert "kill -9" in ended.stdout
    recovered, calls = re.findall(r"([\d,]+) of (\d+) calls were answered", ended.stdout)[0]
    assert 80 <= int(recovered) < int(calls) == 203
    assert "400 findings in 200 files." in ended.stdout
    assert {"report.md", "report.html", "run.svg"} <= {each.name for each in out.iterdir()}
    assert "| Files | 200 |" in (out / "report.md").read_text(encoding="utf-8")


def test_the_next_audit_knows_the_one_before(root: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    demonstrate(root, "--out", out, "--no-kill")
    (root / "package0/module0.py").write_text("def fine() -> None: ...\n")
    (root / "package0/new.py").write_text("")
    ended = demonstrate(root, "--out", out, "--no-kill")
    assert "kill -9" not in ended.stdout
    assert "since the previous audit: Files: 1 better, 1 new, 199 as before." in ended.stdout


def test_a_path_that_is_not_there_is_said_in_words(tmp_path: Path) -> None:
    ended = demonstrate(tmp_path / "gone")
    assert ended.returncode == 2
    assert ended.stderr.startswith("There is nothing at")


def test_a_worker_that_cannot_work_is_said_in_words(root: Path, tmp_path: Path) -> None:
    (tmp_path / "no-database").write_text("this is no database, and never was one" * 100)
    ended = demonstrate(root, "--out", tmp_path / "out", "--store", tmp_path / "no-database")
    assert ended.returncode == 1
    assert "Traceback" not in ended.stdout
    assert "no-database" in ended.stdout


def test_what_was_interrupted_goes_on_whatever_else_is_asked_for(
    root: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    command = [sys.executable, "-m", "examples.audit", str(root), "--out", str(out), "--worker"]
    with subprocess.Popen(command, cwd=HERE, stdout=subprocess.PIPE) as worker:
        assert worker.stdout is not None
        assert any(b"package1" in line for line in worker.stdout)  # some files are read
        worker.kill()
    ended = demonstrate(root, "--out", out, "--patience", "0.2")
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert re.search(r"goes on: \d+ calls answered from the journal", ended.stdout)
    assert "400 findings in 200 files." in ended.stdout
