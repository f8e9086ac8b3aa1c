"""The team that mends bugs, on the project it comes with."""

from __future__ import annotations

from pathlib import Path

import pytest

from examples.mending.__main__ import PATH, PROJECT, main, work
from examples.mending.changes import changes_of
from tests.sandboxes.docker_here import needs_docker


def test_each_change_changes_one_operator() -> None:
    found = dict(changes_of("a = b < c and d\n"))
    assert set(found) == {"a = b <= c and d\n", "a = b > c and d\n", "a = b < c or d\n"}
    assert found["a = b < c or d\n"] == "line 1: a = b < c and d  ->  a = b < c or d"


@pytest.mark.anyio
@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_the_project_is_mended_and_committed(tmp_path: Path) -> None:
    needs_docker()
    found = await work(tmp_path)
    assert found["mended"]
    assert len(found["changes"]) == 2
    mended = (tmp_path / PATH).read_text()
    assert mended != (PROJECT / PATH).read_text()
    assert "+        if merged and begin <= merged[-1][1] + 1:" in found["diff"]


def test_without_docker_it_says_what_to_do(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("DOCKER_HOST", "unix:///nowhere/docker.sock")
    assert main() == 1
    assert "Docker cannot be reached" in capsys.readouterr().err
