"""Commands of any sandbox: what goes in, what comes out, and how long it may take."""

from __future__ import annotations

from contextlib import suppress
from pathlib import PurePosixPath
from typing import Final

import anyio
import pytest

from astro.core.errors import SandboxError
from astro.core.protocols import Box
from astro.core.sandbox import BoxStatus
from astro.testing.conformance.probes import PROBES
from astro.testing.conformance.sandbox.opening import SandboxSuite
from astro.testing.conformance.suite import difference

__all__ = ["CommandTests"]

_MIB: Final = 1024 * 1024
_EVERY_BYTE: Final = bytes(range(256))


class CommandTests(SandboxSuite):
    """Running commands."""

    async def test_exit_code_and_both_outputs_come_back_byte_by_byte(self, box: Box) -> None:
        done = await self.run(box, "say")
        assert (done.exit_code, done.status) == (3, BoxStatus.ERROR)
        assert done.stdout == _EVERY_BYTE
        assert done.stderr == _EVERY_BYTE[::-1]

    async def test_python_code_runs_as_a_program_of_its_own(self, box: Box) -> None:
        with anyio.fail_after(self.patience.total_seconds()):
            code = PROBES["say"]
            done = await box.python(code, timeout=self.patience)
            copied = await box.python(PROBES["copy"], stdin=b"in", timeout=self.patience)
        assert (done.exit_code, done.stdout, done.stderr[:1]) == (3, _EVERY_BYTE, b"\xff")
        assert (copied.status, copied.stdout) == (BoxStatus.OK, b"in")

    async def test_a_command_has_the_variables_it_is_given(self, box: Box) -> None:
        command = ("python3", "-c", PROBES["variable"])
        with anyio.fail_after(self.patience.total_seconds()):
            given = {"ASTRO_GIVEN": "two words"}
            done = await box.run(command, env=given, timeout=self.patience)
            after = await box.run(command, timeout=self.patience)
        assert (done.stdout, after.stdout) == (b"two words", b"none")

    async def test_a_command_reads_its_standard_input(self, box: Box) -> None:
        said = _EVERY_BYTE * 1_000
        assert difference((await self.run(box, "copy", stdin=said)).stdout, said) == ""
        assert (await self.run(box, "copy")).stdout == b""

    async def test_standard_input_that_nobody_reads_harms_nobody(self, box: Box) -> None:
        done = await self.run(box, "ignore", stdin=b"x" * 4 * _MIB)
        assert (done.exit_code, done.stdout) == (0, b"done\n")

    async def test_words_of_a_command_are_not_read_by_a_shell(self, box: Box) -> None:
        words = ["two words", "$HOME", "*", "", "'", '"', ";", "-c", "é\n"]
        assert await self.told(box, "words", *words) == words

    async def test_a_command_that_does_not_exist_has_exit_code_127(self, box: Box) -> None:
        with anyio.fail_after(self.patience.total_seconds()):
            done = await box.run(("astro-no-such-command",), timeout=self.patience)
        assert done.exit_code == 127

    async def test_large_output_is_kept_up_to_its_cap(self, box: Box) -> None:
        size = self.output // 2 // 4096 * 4096
        done = await self.run(box, "pour", size)
        assert (len(done.stdout), len(done.stderr)) == (size, size)
        assert (done.stdout_truncated, done.stderr_truncated) == (False, False)
        done = await self.run(box, "pour", self.output * 2)
        assert size < len(done.stdout) <= self.output
        assert size < len(done.stderr) <= self.output
        assert (done.stdout_truncated, done.stderr_truncated) == (True, True)

    async def test_output_can_be_had_while_the_command_runs(self, box: Box) -> None:
        self.promised("streams")
        parts: list[bytes] = []
        with anyio.fail_after(self.patience.total_seconds()), anyio.CancelScope() as scope:

            def hear(part: bytes) -> None:
                parts.append(part)
                scope.cancel()

            command = ("python3", "-c", PROBES["drip"])
            await self.listen(box, command, hear, 2 * self.patience)
        assert b"".join(parts).startswith(b"first")

    # --- Time --------------------------------------------------------------------------------

    @pytest.mark.parametrize("program", ["wait", "stubborn"])
    async def test_a_command_that_takes_too_long_is_given_up(self, box: Box, program: str) -> None:
        await self.give_up(box, program)

    async def test_a_command_that_was_given_up_is_dead_with_all_it_began(self, box: Box) -> None:
        await self.give_up(box, "beat")
        # The box may be lost with the command; if it is not, nothing moves in it any more.
        with suppress(SandboxError):
            before = await box.read(PurePosixPath("beats"))
            await self.run(box, "pause")
            assert len(await box.read(PurePosixPath("beats"))) == len(before)
