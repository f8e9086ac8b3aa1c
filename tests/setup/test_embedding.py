"""Engines inside other programs: the examples, and the pages that explain them."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import anyio
import pytest

from astro.core.errors import SettingsError
from tests.setup.pages import ROOT, block, blocks, run_block

COMMAND = "run: pip install starlette httpx2"


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
def service(tmp_path: Path) -> Any:
    """Return what opens the ASGI example on the store of this test."""
    pytest.importorskip("httpx2", reason=COMMAND)
    testclient = pytest.importorskip("starlette.testclient", reason=COMMAND)
    from examples.embed_asgi import make_app

    return lambda: testclient.TestClient(make_app(tmp_path / "articles.db"))


def until_done(client: Any, run: str) -> dict[str, Any]:
    """Return the state of a run once it has ended."""
    while (said := client.get(f"/articles/{run}").json())["state"] != "done":
        anyio.run(anyio.sleep, 0.02)
    return dict(said)


def test_a_service_starts_runs_and_tells_their_results(service: Any) -> None:
    with service() as client:
        started = client.post("/articles", json={"topic": "fusion"})
        assert started.status_code == 202
        said = until_done(client, started.json()["run"])
    assert said["result"] == "What fusion is\nWhy fusion matters"


def test_the_same_key_is_the_same_run_after_a_restart_too(service: Any) -> None:
    key = {"Idempotency-Key": "a1"}
    with service() as client:
        first = client.post("/articles", json={"topic": "fusion"}, headers=key).json()
    with service() as client:
        again = client.post("/articles", json={"topic": "fusion"}, headers=key).json()
        other = client.post("/articles", json={"topic": "fission"}, headers=key)
        assert until_done(client, first["run"])["state"] == "done"
    assert (again, other.status_code) == (first, 409)


def test_a_service_refuses_what_is_wrong(service: Any) -> None:
    with service() as client:
        assert client.post("/articles", json={"topik": "fusion"}).status_code == 422
        assert client.post("/articles", content=b"no json").status_code == 422
        assert client.get("/articles/nothing").status_code == 404


def test_a_plain_program_goes_on_where_it_was(tmp_path: Path) -> None:
    outputs = [run_module("examples.embed_plain", str(tmp_path / "report.db")) for _ in range(2)]
    assert [text.splitlines()[-1] for text in outputs] == ["{'Bergen': 6.0, 'Oslo': 4.0}"] * 2


def run_module(name: str, *arguments: str) -> str:
    done = subprocess.run(
        [sys.executable, "-W", "error", "-m", name, *arguments],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    return done.stdout


# --- Pages -------------------------------------------------------------------------------------


def python_in(tmp_path: Path, program: str, **environ: str) -> str:
    """Run a program in a folder and return what it prints."""
    (tmp_path / "program.py").write_text(program)
    done = subprocess.run(
        [sys.executable, "-W", "error", "program.py"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT), **environ},
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    return done.stdout + done.stderr


@pytest.mark.parametrize("number", range(3))
def test_the_programs_of_the_page_on_embedding_run(tmp_path: Path, number: int) -> None:
    program = blocks("how-to/embedding.md", "python")[number]
    assert "Good morning, Ada." in python_in(tmp_path, program)


def test_the_page_on_settings_composes_its_engine(tmp_path: Path) -> None:
    page = "how-to/settings.md"
    (tmp_path / "house.py").write_text(block(page, "python", "class Reviewer"))
    (tmp_path / "astro.yaml").write_text(block(page, "yaml", "REVIEW_KEY"))
    program = block(page, "python", "open_engine")
    assert python_in(tmp_path, program, REVIEW_KEY="s3cret") == "ornate: text\n"


def test_the_mistakes_that_the_page_on_settings_shows_are_those_made(tmp_path: Path) -> None:
    page = "how-to/settings.md"
    (tmp_path / "astro.yaml").write_text(block(page, "yaml", "stroe"))
    names = run_block("from astro.setup.settings import read_settings", page)
    with pytest.raises(SettingsError) as caught:
        names["read_settings"](tmp_path / "astro.yaml", environ={})
    shown = block(page, "text", "stroe").replace("astro.yaml", str(tmp_path / "astro.yaml"))
    assert str(caught.value).split() == shown.split()


@pytest.mark.parametrize("number", range(2))
def test_the_programs_of_the_page_on_logging_run(tmp_path: Path, number: int) -> None:
    program = blocks("how-to/logging.md", "python")[number]
    assert '"task": "greet"' in python_in(tmp_path, program)
