"""How a sandbox and its boxes are opened for the tests, and that boxes close on every path."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable
from datetime import timedelta
from pathlib import PurePosixPath
from typing import Any, ClassVar, Final

import anyio
import pytest

from astro.core.errors import SandboxError, SandboxTimeoutError
from astro.core.protocols import Box, Sandbox
from astro.core.sandbox import BoxStatus, Completed, SandboxSpec
from astro.testing.conformance.probes import PROBES
from astro.testing.conformance.suite import Suite, entered

__all__ = ["OpeningTests", "SandboxSuite"]

_MIB: Final = 1024 * 1024


class SandboxSuite(Suite):
    """How a sandbox is made, and what it promises; see `SandboxConformance`."""

    promises: ClassVar[tuple[str, ...]] = (
        "trio",
        "links",
        "streams",
        "counts",
        "isolates",
        "network",
        "limits_memory",
        "limits_processes",
        "limits_disk",
    )
    spec: ClassVar[SandboxSpec] = SandboxSpec()
    patience: ClassVar[timedelta] = timedelta(seconds=30)
    moment: ClassVar[timedelta] = timedelta(seconds=1)
    output: ClassVar[int] = _MIB
    links: ClassVar[bool] = True
    streams: ClassVar[bool] = False
    counts: ClassVar[bool] = False
    isolates: ClassVar[bool] = True
    network: ClassVar[str] = "none"
    limits_memory: ClassVar[int] = 1024 * _MIB
    limits_processes: ClassVar[int] = 1_000
    limits_disk: ClassVar[int] = 256 * _MIB

    def make(self) -> Sandbox:
        """Return a sandbox; one that is an async context manager is entered."""
        raise NotImplementedError

    async def listen(
        self, box: Any, command: tuple[str, ...], heard: Callable[[bytes], None], limit: timedelta
    ) -> None:
        """Run a command and tell parts of its stdout as they come; see `streams`."""
        raise NotImplementedError

    async def count(self, sandbox: Any) -> int:
        """Return how many boxes are open, as the provider knows it; see `counts`."""
        raise NotImplementedError

    @pytest.fixture
    async def sandbox(self) -> AsyncIterator[Sandbox]:
        async with entered(self.make()) as sandbox:
            yield sandbox

    @pytest.fixture
    async def box(self, sandbox: Sandbox) -> AsyncIterator[Box]:
        async with sandbox.open(self.spec) as box:
            yield box

    @pytest.fixture
    def secret(self, monkeypatch: pytest.MonkeyPatch) -> str:
        monkeypatch.setenv("ASTRO_PROBE", "a-secret-of-the-host")
        return "a-secret-of-the-host"

    async def run(
        self,
        box: Box,
        program: str,
        *words: object,
        stdin: bytes = b"",
        timeout: timedelta | None = None,
    ) -> Completed:
        """Run a program of `PROBES` and return how it ended; never wait for ever."""
        timeout = timeout or self.patience
        command = ("python3", "-c", PROBES[program], *map(str, words))
        with anyio.fail_after((timeout + self.patience).total_seconds()):
            return await box.run(command, stdin=stdin, timeout=timeout)

    async def give_up(self, box: Box, program: str) -> None:
        """Return if a program that outlives its time-out is said to: by an error or a status."""
        try:
            done = await self.run(box, program, timeout=self.moment)
        except SandboxTimeoutError:
            return
        assert done.status is BoxStatus.TIMED_OUT

    async def told(self, box: Box, program: str, *words: object) -> Any:
        """Return the JSON that a program prints."""
        done = await self.run(box, program, *words)
        assert done.exit_code == 0, done.stderr
        return json.loads(done.stdout)

    async def require_closed(self, box: Box) -> None:
        """Return if nothing can be done with a box any more."""
        with pytest.raises(SandboxError):
            await self.run(box, "ignore")
        with pytest.raises(SandboxError):
            await box.write({PurePosixPath("late"): b""})
        with pytest.raises(SandboxError):
            await box.read(PurePosixPath("early"))


class OpeningTests(SandboxSuite):
    """Opening and closing: a box ends with its block, however that is left."""

    async def test_it_says_that_boxes_can_be_opened(self, sandbox: Sandbox) -> None:
        await sandbox.check()

    async def test_a_box_is_useless_after_its_block(self, sandbox: Sandbox) -> None:
        async with sandbox.open(self.spec) as box:
            await box.write({PurePosixPath("early"): b"kept"})
        await self.require_closed(box)

    async def test_an_exception_in_its_block_passes_and_closes_the_box(
        self, sandbox: Sandbox
    ) -> None:
        try:
            async with sandbox.open(self.spec) as box:
                await box.write({PurePosixPath("early"): b"kept"})
                raise ArithmeticError
        except ArithmeticError:
            await self.require_closed(box)
        else:
            pytest.fail("the exception is gone")

    async def test_a_cancelled_block_closes_its_box(self, sandbox: Sandbox) -> None:
        with anyio.CancelScope() as scope:
            async with sandbox.open(self.spec) as box:
                await box.write({PurePosixPath("early"): b"kept"})
                scope.cancel()
                await anyio.sleep_forever()
        assert scope.cancelled_caught
        await self.require_closed(box)

    async def test_a_cancelled_command_stops_and_its_box_closes(self, sandbox: Sandbox) -> None:
        with anyio.fail_after(self.patience.total_seconds()):
            with anyio.move_on_after(self.moment.total_seconds()) as scope:
                async with sandbox.open(self.spec) as box:
                    await box.write({PurePosixPath("early"): b"kept"})
                    await box.run(("python3", "-c", PROBES["wait"]), timeout=2 * self.patience)
        assert scope.cancelled_caught
        await self.require_closed(box)

    async def test_the_provider_has_no_box_left(self, sandbox: Sandbox) -> None:
        self.promised("counts")
        for cancelled in (False, True):
            with anyio.CancelScope() as scope:
                async with sandbox.open(self.spec):
                    assert await self.count(sandbox) == 1
                    if cancelled:
                        scope.cancel()
                        await anyio.sleep_forever()
            await self.until(lambda: self._none_left(sandbox))

    async def _none_left(self, sandbox: Sandbox) -> bool:
        return await self.count(sandbox) == 0
