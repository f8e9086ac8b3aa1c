"""DockerSandbox keeps what every sandbox promises."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any, ClassVar

import pytest

from astro import DockerSandbox
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
