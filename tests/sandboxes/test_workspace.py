"""Workspaces: no name, link, race or size leads out of one, and what others do there stays."""

from __future__ import annotations

import ctypes
import os
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import anyio
import pytest

from astro import Context, DockerSandbox, Limits, LocalEngine, MemoryStore, SandboxError, task
from astro.agents.in_box import ShellAgent, shell
from astro.agents.workspace import Workspace
from astro.core.sandbox import Changes

pytestmark = pytest.mark.anyio


def files(**said: str) -> Changes:
    return Changes(files={name: (text.encode(), False) for name, text in said.items()})


# --- Ways out ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "target",
    ["/etc", "//etc", "///etc", "..", "../x", "./..", "a/../..", "a/../b", "a/./../..", "../../x"],
)
async def test_a_link_that_leads_out_or_may_is_not_taken(
    folder: Path, workspace: Workspace, target: str
) -> None:
    rejected = await workspace.apply(Changes(links={"link": target}))
    assert [one.path for one in rejected] == ["link"]
    assert list(folder.iterdir()) == []


async def test_links_that_lead_out_together_are_not_taken(
    folder: Path, workspace: Workspace
) -> None:
    links = {"p/q/up": "../..", "out": "p/q/up/..", "p/near": "q/up/../.."}
    rejected = await workspace.apply(Changes(folders=("p", "p/q"), links=links))
    assert {one.path for one in rejected} == {"out", "p/near"}
    assert (folder / "p/q/up").resolve() == folder


@pytest.mark.parametrize("target", ["a", "./a", "d/a", "..", "../a", "../../a"])
async def test_a_link_that_stays_inside_is_taken(
    folder: Path, workspace: Workspace, target: str
) -> None:
    assert await workspace.apply(Changes(links={"x/y/link": target})) == ()
    assert os.readlink(folder / "x/y/link") == target


@contextmanager
def swapping(one: Path, other: Path) -> Iterator[None]:
    """Swap two names all the time."""
    over = threading.Event()
    names = os.fsencode(one), os.fsencode(other)
    libc = ctypes.CDLL(None)

    def swap() -> None:
        while not over.is_set():
            libc.renameat2(-100, names[0], -100, names[1], 2)  # AT_FDCWD, RENAME_EXCHANGE

    thread = threading.Thread(target=swap)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


async def test_a_folder_that_is_swapped_for_a_link_leads_nowhere(
    folder: Path, workspace: Workspace, tmp_path: Path
) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "secret").write_text("secret")
    (folder / "way").mkdir()
    (folder / "link").symlink_to(outside)
    found: set[bytes] = set()
    with swapping(folder / "way", folder / "link"):
        for number in range(150):
            try:
                await workspace.apply(files(**{f"way/{number}": "x", "way/secret": "x"}))
                read = await workspace.read()
            except SandboxError:
                continue  # it was swapped while it was being looked at
            found |= {content for content, _ in read.files.values()}
    assert found <= {b"x"}
    assert [one.name for one in outside.iterdir()] == ["secret"]
    assert (outside / "secret").read_text() == "secret"


async def test_a_file_with_several_names_is_changed_in_the_folder_only(
    folder: Path, workspace: Workspace, tmp_path: Path
) -> None:
    (tmp_path / "other").write_text("mine")
    os.link(tmp_path / "other", folder / "name")
    assert await workspace.apply(files(name="changed")) == ()
    assert (tmp_path / "other").read_text() == "mine"
    assert (folder / "name").read_text() == "changed"


async def test_pipes_and_sockets_neither_go_in_nor_hold_anybody_up(
    folder: Path, workspace: Workspace
) -> None:
    os.mkfifo(folder / "pipe")
    (folder / "a").write_text("1")
    with socket.socket(socket.AF_UNIX) as end:
        end.bind(str(folder / "socket"))
        with anyio.fail_after(10):
            assert await workspace.read() == files(a="1")
            assert await workspace.write(files(b="2")) == ()
            assert await workspace.apply(files(pipe="3")) == ()
    assert sorted(one.name for one in folder.iterdir()) == ["b", "pipe", "socket"]
    assert (folder / "pipe").read_text() == "3"


# --- Kinds -------------------------------------------------------------------------------------


@pytest.mark.parametrize("exact", [True, False])
async def test_what_becomes_something_else_is_taken(
    folder: Path, workspace: Workspace, exact: bool
) -> None:
    before = Changes(
        files={"f1": (b"1", False), "f2": (b"2", False), "d1/x": (b"3", False)},
        links={"l1": "f1", "l2": "f1"},
        folders=("d1", "d2", "d3"),
    )
    after = Changes(
        files={"d1": (b"file", True), "f1/x": (b"in it", False), "l1": (b"file", False)},
        links={"f2": "d1", "d2": "f1"},
        folders=("f1", "l2"),
        gone=("d1/x", "d1", "d2", "d3", "f1", "f2", "l1", "l2"),
    )
    assert await workspace.write(before) == ()
    rejected = await (workspace.write(after) if exact else workspace.apply(after))
    assert rejected == ()
    found = await workspace.read()
    assert (found.files, found.links, set(found.folders)) == (
        after.files,
        after.links,
        {"f1", "l2"},
    )


async def test_what_others_make_in_the_meantime_stays(folder: Path, workspace: Workspace) -> None:
    for name in ("untouched", "changed", "gone"):
        (folder / name).write_text("before")
    (folder / "theirs").write_text("theirs")
    (folder / "untouched").write_text("theirs too")
    changes = Changes(files={"changed": (b"after", False)}, gone=("gone",))
    assert await workspace.apply(changes) == ()
    assert {one.name: one.read_text() for one in folder.iterdir()} == {
        "untouched": "theirs too",
        "changed": "after",
        "theirs": "theirs",
    }


async def test_a_file_that_is_as_it_was_is_left_alone(folder: Path, workspace: Workspace) -> None:
    (folder / "a").write_text("1")
    before = (folder / "a").stat()
    await workspace.apply(files(a="1"))
    assert (folder / "a").stat().st_ino == before.st_ino


# --- Names -------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["ä" * 127, "字" * 85, "a\nb", "-rf", "…", ".astro-new", " ", "A"])
async def test_any_name_that_a_box_can_tell_is_taken(
    folder: Path, workspace: Workspace, name: str
) -> None:
    assert await workspace.apply(Changes(files={name: (b"1", False)})) == ()
    assert [one.name for one in folder.iterdir()] == [name]
    assert (await workspace.read()).files == {name: (b"1", False)}


async def test_no_file_is_lost_to_one_that_is_being_written(
    folder: Path, workspace: Workspace
) -> None:
    said = Changes(files={".a.astro-new": (b"other", False), "a": (b"1", False)})
    assert await workspace.apply(said) == ()
    assert {one.name: one.read_text() for one in folder.iterdir()} == {
        ".a.astro-new": "other",
        "a": "1",
    }
    [one] = await workspace.apply(files(**{".astro-new-7-7": "x"}))
    assert one.path == ".astro-new-7-7"


async def test_a_name_that_is_no_text_is_named(folder: Path, workspace: Workspace) -> None:
    Path(os.fsdecode(os.fsencode(folder) + b"/\xff")).write_text("x")
    with pytest.raises(SandboxError, match=r"\\\\?udcff.*UTF-8"):
        await workspace.read()


async def test_folders_that_lie_too_deep_do_not_come_out_of_a_box(
    folder: Path, workspace: Workspace
) -> None:
    deep = "/".join("a" * 2000)
    [one] = await workspace.apply(Changes(folders=(deep,)))
    assert "deeper" in one.reason
    assert list(folder.iterdir()) == []
    here = os.open(folder, os.O_RDONLY)
    for _ in range(120):
        os.mkdir("a", dir_fd=here)
        below = os.open("a", os.O_RDONLY, dir_fd=here)
        os.close(here)
        here = below
    os.close(here)
    with pytest.raises(SandboxError, match="deeper than"):
        await workspace.read()


# --- Sizes -------------------------------------------------------------------------------------


async def test_a_hole_of_a_terabyte_is_too_much(folder: Path, workspace: Workspace) -> None:
    (folder / "hole").touch()
    os.truncate(folder / "hole", 2**40)
    with pytest.raises(SandboxError, match="more than"):
        await workspace.read()


async def test_the_quota_counts_what_is_there_already(folder: Path) -> None:
    small = Workspace(folder, size=10, files=3)
    (folder / "theirs").write_bytes(b"x" * 6)
    with pytest.raises(SandboxError, match="more than 10 bytes"):
        await small.apply(files(mine="x" * 5))
    assert await small.apply(files(theirs="x" * 10)) == ()
    assert await small.apply(Changes(files={"a": (b"x" * 10, False)}, gone=("theirs",))) == ()
    with pytest.raises(SandboxError, match="more than 3 files"):
        await small.apply(files(b="", c="", d=""))


async def test_what_cannot_be_read_is_an_error_of_the_workspace(
    folder: Path, workspace: Workspace
) -> None:
    (folder / "a").symlink_to("a")
    (folder / "loop").mkdir()
    gone = Workspace(folder / "a")
    with pytest.raises(SandboxError, match="cannot be opened"):
        await gone.read()
    with pytest.raises(SandboxError, match="cannot be opened"):
        await gone.apply(files(x="1"))


# --- With agents -------------------------------------------------------------------------------


async def test_what_does_not_come_out_of_a_box_is_told(
    sandbox: DockerSandbox, workspace: Workspace, folder: Path
) -> None:
    async with LocalEngine(ShellAgent(workspace), store=MemoryStore(), sandbox=sandbox) as engine:
        done = await engine.run(shell, "ln -s //etc/passwd out; echo 1 > in")
    assert list(done.rejected) == ["out"]
    assert [one.name for one in folder.iterdir()] == ["in"]


async def test_as_many_as_like_may_wait_for_a_workspace(
    sandbox: DockerSandbox, workspace: Workspace, folder: Path
) -> None:
    @task
    async def work(ctx: Context) -> None:
        await ctx.map(shell, [f"echo {n} >> all" for n in range(4)])

    parts: dict[str, Any] = {"store": MemoryStore(), "sandbox": sandbox}
    engine = LocalEngine(work, ShellAgent(workspace), limits=Limits(attempts=1), **parts)
    async with engine:
        with anyio.fail_after(60):
            await engine.run(work)
    assert sorted((folder / "all").read_text().split()) == ["0", "1", "2", "3"]


async def test_a_file_that_somebody_makes_while_a_command_runs_stays(
    sandbox: DockerSandbox, folder: Path
) -> None:
    class Shared(Workspace):
        async def read(self) -> Changes:
            found = await super().read()
            (self.root / "mine").write_text("3")
            return found

    (folder / "old").write_text("1")
    agent = ShellAgent(Shared(folder))
    async with LocalEngine(agent, store=MemoryStore(), sandbox=sandbox) as engine:
        await engine.run(shell, "rm old; echo 2 > made")
    assert {one.name: one.read_text() for one in folder.iterdir()} == {"made": "2\n", "mine": "3"}
