"""A sandbox of real containers, opened once for all tests of a module that share it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest

from astro import BoxLimits, DockerSandbox, SandboxSpec
from tests.sandboxes.docker_here import needs_docker

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
async def box(sandbox: DockerSandbox) -> AsyncIterator[Any]:
    async with sandbox.open(SandboxSpec()) as box:
        yield box
