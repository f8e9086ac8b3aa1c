"""Files of any sandbox: each box has a work folder of its own, and no path leads out of it."""

from __future__ import annotations

from contextlib import AsyncExitStack, suppress
from pathlib import PurePosixPath
from typing import Final

import anyio
import pytest

from astro.core.errors import AstroError, SandboxError
from astro.core.protocols import Box, Sandbox
from astro.testing.conformance.probes import PROBES
from astro.testing.conformance.sandbox.opening import SandboxSuite
from astro.testing.conformance.suite import difference

__all__ = ["FileTests"]

_EVERY_BYTE: Final = bytes(range(256))
_OUTSIDE: Final = ("../outside", "inside/../../outside", "/outside", "/etc/hostname", "..", ".")


class FileTests(SandboxSuite):
    """Writing, reading and looking; one box and several."""

    async def test_what_is_written_can_be_read(self, box: Box) -> None:
        files = {
            PurePosixPath("every byte"): _EVERY_BYTE * 1_000,
            PurePosixPath("empty"): b"",
            PurePosixPath("a/b/c/deep.txt"): b"deep",
            PurePosixPath("a/é'\".txt"): b"odd",
            PurePosixPath("-rf"): b"a word",
        }
        await box.write(dict.fromkeys(files, b"replaced"))
        await box.write(files)
        for path, content in files.items():
            assert difference(await box.read(path), content) == ""

    async def test_commands_and_verbs_see_the_same_files(self, box: Box) -> None:
        await box.write({PurePosixPath("folder/given"): _EVERY_BYTE})
        assert (await self.run(box, "get", "folder/given")).stdout == _EVERY_BYTE
        await self.run(box, "put", "made/by/command", stdin=_EVERY_BYTE)
        assert await box.read(PurePosixPath("made/by/command")) == _EVERY_BYTE
        assert await self.told(box, "list") == ["folder/given", "made/by/command"]

    async def test_files_that_patterns_name_come_back(self, box: Box) -> None:
        await box.write({PurePosixPath("made/a.txt"): b"a", PurePosixPath("made/b.md"): b"b"})
        command = ("python3", "-c", PROBES["put"], "made/c.txt")
        with anyio.fail_after(self.patience.total_seconds()):
            done = await box.run(command, collect=["made/*.txt"], stdin=b"c", timeout=self.patience)
            later = await box.collect(["made/b.*", "nothing/*"])
        found = {one.path: one.content for one in done.artifacts}
        assert found == {"made/a.txt": b"a", "made/c.txt": b"c"}
        assert [(one.path, one.content) for one in later.artifacts] == [("made/b.md", b"b")]

    async def test_files_are_listed_with_their_sizes(self, box: Box) -> None:
        assert list(await box.files()) == []
        await box.write({PurePosixPath("a/b"): b"12", PurePosixPath("c"): b""})
        assert {one.path: one.size for one in await box.files()} == {"a/b": 2, "c": 0}

    async def test_what_has_changed_makes_another_box_the_same(self, sandbox: Sandbox) -> None:
        async with sandbox.open(self.spec) as box:
            await box.write({PurePosixPath("given"): b"1", PurePosixPath("gone"): b"2"})
            await self.run(box, "put", "made/by/command", stdin=_EVERY_BYTE)
            changes = await box.changes()
        assert changes.whole
        async with sandbox.open(self.spec) as box:
            await box.restore(changes)
            assert await self.told(box, "list") == ["given", "gone", "made/by/command"]
            assert await box.read(PurePosixPath("made/by/command")) == _EVERY_BYTE

    async def test_a_change_is_told_once(self, box: Box) -> None:
        await box.write({PurePosixPath("kept"): b"1", PurePosixPath("gone"): b"2"})
        assert set((await box.changes()).files) == {"kept", "gone"}
        await self.run(box, "remove", "gone")
        await self.run(box, "put", "kept", stdin=b"3")
        changes = await box.changes()
        assert {path: said for path, (said, _) in changes.files.items()} == {"kept": b"3"}
        assert changes.gone == ("gone",)
        changes = await box.changes()
        assert (dict(changes.files), changes.gone) == ({}, ())

    async def test_a_file_that_is_not_there_cannot_be_read(self, box: Box) -> None:
        await box.write({PurePosixPath("folder/file"): b""})
        for path in ("file", "folder"):
            with pytest.raises(SandboxError):
                await box.read(PurePosixPath(path))

    @pytest.mark.parametrize("path", _OUTSIDE)
    async def test_paths_out_of_the_work_folder_are_refused(self, box: Box, path: str) -> None:
        with pytest.raises(AstroError):
            await box.write({PurePosixPath("inside/file"): b"", PurePosixPath(path): b"out"})
        with pytest.raises(AstroError):
            await box.read(PurePosixPath(path))

    async def test_links_lead_nobody_out_of_the_work_folder(self, box: Box) -> None:
        self.promised("links")
        for target, name in (("/etc/passwd", "users"), ("/tmp", "away")):
            assert (await self.run(box, "link", target, name)).exit_code == 0
        with pytest.raises(AstroError):
            await box.read(PurePosixPath("users"))
        with suppress(AstroError):  # refused, or kept inside
            await box.write({PurePosixPath("away/astro-probe"): b"out"})
        assert (await self.run(box, "get", "/tmp/astro-probe")).exit_code != 0

    async def test_boxes_do_not_see_each_others_files(self, sandbox: Sandbox) -> None:
        async with sandbox.open(self.spec) as one, sandbox.open(self.spec) as other:
            await one.write({PurePosixPath("mine"): b"secret"})
            with pytest.raises(SandboxError):
                await other.read(PurePosixPath("mine"))
            assert await self.told(other, "list") == []

    async def test_a_box_begins_empty_after_another(self, sandbox: Sandbox) -> None:
        async with sandbox.open(self.spec) as box:
            await box.write({PurePosixPath("mine"): b"secret"})
        async with sandbox.open(self.spec) as box:
            assert await self.told(box, "list") == []

    async def test_four_boxes_work_at_the_same_time(self, sandbox: Sandbox) -> None:
        found: dict[int, bytes] = {}

        async def work(number: int, box: Box) -> None:
            await self.run(box, "put", "file", stdin=b"%d" % number)
            found[number] = await box.read(PurePosixPath("file"))

        async with AsyncExitStack() as stack:
            boxes = [await stack.enter_async_context(sandbox.open(self.spec)) for _ in range(4)]
            async with anyio.create_task_group() as group:
                for number, box in enumerate(boxes):
                    group.start_soon(work, number, box)
        assert found == {number: b"%d" % number for number in range(4)}
