"""Isolation: what a box cannot see, cannot change and cannot use up."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from astro.core.errors import SandboxError
from astro.core.protocols import Box, Sandbox
from astro.testing.conformance.sandbox.opening import SandboxSuite

__all__ = ["IsolationTests"]


class IsolationTests(SandboxSuite):
    """Each needs a promise, but for the one that output is bounded."""

    async def test_files_of_the_host_cannot_be_read(self, box: Box, tmp_path: Path) -> None:
        self.promised("isolates")
        secret = tmp_path / "secret"
        secret.write_bytes(b"a secret of the host")
        for path in (secret, f"/proc/1/root{secret}", f"/proc/self/cwd/..{secret}"):
            done = await self.run(box, "get", path)
            assert done.exit_code != 0
            assert b"secret of the host" not in done.stdout

    async def test_the_environment_of_the_host_is_absent(self, secret: str, box: Box) -> None:
        self.promised("isolates")
        done = await self.run(box, "environment")
        assert done.exit_code == 0
        assert secret.encode() not in done.stdout

    async def test_a_command_is_nobody_and_cannot_become_anybody(self, box: Box) -> None:
        self.promised("isolates")
        found = await self.told(box, "identity")
        assert found.pop("user") != 0
        assert found == {"capabilities": 0, "gains": False}

    async def test_the_files_of_the_image_cannot_be_changed(self, box: Box) -> None:
        self.promised("isolates")
        assert await self.told(box, "roots") == []

    async def test_a_box_has_no_network(self, box: Box) -> None:
        self.promised("network")
        found = await self.told(box, "network")
        assert found == {"interfaces": [], "routes": [], "sockets": []}

    @pytest.mark.parametrize(
        ("program", "promise", "said"),
        [
            ("fork", "limits_processes", b"refused\n"),
            ("fill", "limits_disk", b"refused\n"),
            ("hog", "limits_memory", b""),
        ],
    )
    async def test_a_limit_stops_what_goes_beyond(
        self, sandbox: Sandbox, program: str, promise: str, said: bytes
    ) -> None:
        self.promised(promise)
        limit = getattr(self, promise)
        async with sandbox.open(self.spec) as box:
            done = await self._bounded(box, program, limit)
            assert done is None or done.stdout == said
        await self._works(sandbox)

    async def test_output_without_end_is_bounded(self, sandbox: Sandbox) -> None:
        async with sandbox.open(self.spec) as box:
            done = await self._bounded(box, "endless", timeout=self.moment)
            assert done is None or len(done.stdout) <= self.output
        await self._works(sandbox)

    async def _bounded(self, box: Box, program: str, *words: object, **more: Any) -> Any:
        """Return how a program ended; None if it was given up, or the box was lost with it."""
        try:
            return await self.run(box, program, *words, **more)
        except SandboxError:
            return None

    async def _works(self, sandbox: Sandbox) -> None:
        """Return if the sandbox goes on after what happened in one of its boxes."""
        await sandbox.check()
        async with sandbox.open(self.spec) as box:
            assert (await self.run(box, "ignore")).stdout == b"done\n"
