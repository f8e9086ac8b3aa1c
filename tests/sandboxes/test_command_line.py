"""`astro sandbox`, and `sandbox:` in settings."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import docker
import pytest

from astro import LocalEngine
from astro.cli.outcome import Code
from astro.core.errors import SettingsError
from astro.sandboxes.docker import DockerSandbox
from astro.setup.assembly import assemble, sandbox_of
from astro.setup.settings import read_settings
from tests.cli.conftest import Astro, astro
from tests.sandboxes.docker_here import needs_docker

__all__ = ["astro"]


@pytest.fixture
def here() -> None:
    needs_docker()


@pytest.fixture
def no_docker(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOCKER_HOST", "unix:///nowhere/docker.sock")


def settings_of(folder: Path, text: str) -> Any:
    (folder / "astro.yaml").write_text(text)
    return read_settings(folder / "astro.yaml")


def test_a_sandbox_that_serves_is_reported(here: None, astro: Astro) -> None:
    done = astro("sandbox check")
    assert done.code == Code.OK
    assert done.out.startswith("A box opens and is isolated: container, image sha256:")
    found = astro("sandbox check --json").json
    assert (found["isolation"], found["unenforced"]) == ("container", [])


@pytest.mark.usefixtures("no_docker")
@pytest.mark.parametrize("command", ["check", "build", "pull alpine"])
def test_without_docker_it_says_what_to_do(astro: Astro, command: str) -> None:
    done = astro(f"sandbox {command}")
    assert done.code != Code.OK
    assert "Docker cannot be reached" in done.err
    assert "Start Docker" in done.err
    assert "Traceback" not in done.err


def test_the_port_of_a_registry_is_no_tag(here: None, astro: Astro) -> None:
    done = astro("sandbox pull localhost:1/image")  # where nobody listens
    assert done.code != Code.OK
    assert "localhost:1" in done.err
    assert "invalid" not in done.err
    assert "Traceback" not in done.err


def test_a_folder_is_no_dockerfile(astro: Astro, tmp_path: Path) -> None:
    done = astro("sandbox build --file .")
    assert done.code != Code.OK
    assert "Traceback" not in done.err


def test_an_image_is_built_from_a_file(here: None, astro: Astro, tmp_path: Path) -> None:
    (tmp_path / "Dockerfile").write_text("FROM astro-sandbox\nLABEL built=here\n")
    assert astro("sandbox build --image astro-built-here --file Dockerfile").out == (
        "Built astro-built-here.\n"
    )
    client = docker.from_env()
    try:
        assert client.images.get("astro-built-here").labels["built"] == "here"
        client.images.remove("astro-built-here")
    finally:
        client.close()


def test_an_image_that_cannot_be_built_is_told(here: None, astro: Astro, tmp_path: Path) -> None:
    (tmp_path / "Dockerfile").write_text("FROM astro-no-such-image\n")
    done = astro("sandbox build --image astro-built-here --file Dockerfile")
    assert done.code != Code.OK
    assert "The image cannot be built" in done.err


def test_settings_name_the_sandbox_and_its_limits(tmp_path: Path) -> None:
    text = """
sandbox:
  use: docker
  pool: 0
  idle: 10m
  limits: {memory: 134217728, pids: 32}
"""
    settings = settings_of(tmp_path, text)
    made: Any = sandbox_of(settings)
    assert isinstance(made, DockerSandbox)
    assert (made._limits.memory, made._limits.pids) == (134217728, 32)
    assert isinstance(assemble(settings), LocalEngine)
    assert sandbox_of(settings_of(tmp_path, "store: memory\n")) is None


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("sandbox: local\n", "local"),
        ("sandbox: {use: docker, limits: {memory: 5}}\n", "16 MiB"),
        ("sandbox: {use: docker, limits: {memroy: 5}}\n", "memory"),
        ("sandbox: {use: docker, network: bridge}\n", "network"),
        ("sandbox: {use: docker, privileged: true}\n", "privileged"),
        ("sandbox: {enabled: false}\n", "enabled"),
    ],
)
def test_settings_cannot_weaken_it(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(SettingsError, match=said):
        sandbox_of(settings_of(tmp_path, text))
