"""A sandbox of real containers, opened once for all tests of a module that share it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest

from astro import BoxLimits, DockerSandbox, SandboxSpec
from astro.agents.workspace import Workspace
from tests.sandboxes.docker_here import Engine, needs_docker, needs_own_engine

SMALL = BoxLimits(pids=64, disk=64 * 2**20)


@pytest.fixture(scope="module")
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(scope="module")
def docker_here() -> None:
    needs_docker()


@pytest.fixture(scope="module")
async def sandbox(docker_here: None, anyio_backend: str) -> AsyncIterator[DockerSandbox]:
    async with DockerSandbox(limits=SMALL, pool=2) as sandbox:
        yield sandbox


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "project"
    folder.mkdir()
    return folder


@pytest.fixture
def workspace(folder: Path) -> Workspace:
    return Workspace(folder)


@pytest.fixture
async def box(sandbox: DockerSandbox) -> AsyncIterator[Any]:
    async with sandbox.open(SandboxSpec()) as box:
        yield box


@pytest.fixture(scope="session")
def own_engine() -> Iterator[Engine]:
    needs_own_engine()
    engine = Engine()
    try:
        engine.start()
        engine.load()
        yield engine
    finally:
        engine.remove()


@pytest.fixture
def engine(own_engine: Engine) -> Iterator[Engine]:
    """An engine that a test may stop, kill and freeze; it runs when the test begins."""
    own_engine.start()
    yield own_engine
    own_engine.thaw()
    own_engine.start()
