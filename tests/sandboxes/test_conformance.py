"""DockerSandbox keeps what every sandbox promises."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any, ClassVar

import docker
import pytest

from astro import BoxLimits, DockerSandbox
from astro.core.sandbox import Chunk
from astro.testing.conformance.sandbox import SandboxConformance
from tests.sandboxes.docker_here import mine, needs_docker


class TestDockerSandbox(SandboxConformance):
    streams: ClassVar[bool] = True
    counts: ClassVar[bool] = True

    @pytest.fixture(autouse=True)
    def _docker(self) -> None:
        needs_docker()

    def make(self) -> DockerSandbox:
        return DockerSandbox(pool=0)

    async def listen(
        self, box: Any, command: tuple[str, ...], hear: Callable[[bytes], None], timeout: timedelta
    ) -> None:
        def heard(chunk: Chunk) -> None:
            hear(chunk.data)

        await box.run(command, timeout=timeout, listen=heard)

    async def count(self, sandbox: Any) -> int:
        return len(mine())


def _runtimes() -> Iterator[str]:
    client = docker.from_env()
    try:
        yield from client.info().get("Runtimes", {})
    finally:
        client.close()


class TestGvisor(TestDockerSandbox):
    limits_memory: ClassVar[int] = 0  # not enforced with --ignore-cgroups
    limits_processes: ClassVar[int] = 0

    @pytest.fixture(autouse=True)
    def _runsc(self, _docker: None) -> None:
        if "runsc" not in _runtimes():
            pytest.skip("gVisor is missing: install runsc and name it in Docker's daemon.json")

    def make(self) -> DockerSandbox:
        return DockerSandbox(pool=0, runtime="runsc", limits=BoxLimits())
