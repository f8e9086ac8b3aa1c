"""A workspace: a folder of the host whose files go into boxes, and come out of them.

Nothing of the host is mounted into a box: files are copied in, and what has changed is copied
out. On both ways no link is followed, so that no name leads out of the folder: each part of a
path is opened beneath the one before it, which has to be a folder and no link to one.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Final

import anyio
import anyio.to_thread

from astro.core.errors import SandboxError
from astro.core.sandbox import Changes, Rejected, inside

__all__ = ["Workspace"]

_MIB: Final = 1024 * 1024
_FOLDER: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_READ: Final = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_WRITE: Final = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


class Workspace:
    """A folder with a quota.

    Args:
        root: The folder, which exists.
        size: Bytes that it may hold, in what goes in and out.
        files: Files, links and folders that it may hold.
        hidden: Names at its top that neither go into boxes nor come out of them.

    Attributes:
        turn: Taken by whoever changes it over several steps.
    """

    def __init__(
        self,
        root: Path | str,
        *,
        size: int = 32 * _MIB,
        files: int = 8000,
        hidden: tuple[str, ...] = (".astro",),
    ) -> None:
        self.root = Path(root)
        self.turn = anyio.Lock()
        self._size = size
        self._files = files
        self._hidden = frozenset(hidden)

    async def read(self) -> Changes:
        """Return everything in the folder, for a box.

        Raises:
            SandboxError: It is more than its quota, or the folder cannot be read.
        """
        return await anyio.to_thread.run_sync(self._read)

    async def write(self, changes: Changes) -> tuple[Rejected, ...]:
        """Make the folder what a box says it is; return what was not taken.

        Links that lead out of the folder are not taken, nor is anything below them.

        Raises:
            SandboxError: It is more than its quota, or the folder cannot be written.
        """
        return await anyio.to_thread.run_sync(self._write, changes)

    # --- In a thread -------------------------------------------------------------------------

    def _read(self) -> Changes:
        files: dict[str, tuple[bytes, bool]] = {}
        links: dict[str, str] = {}
        folders: list[str] = []
        left = self._size
        with self._top() as top:
            for path, folder, name, info in _walk(top, hidden=self._hidden):
                if len(files) + len(links) + len(folders) >= self._files:
                    raise self._too_much(f"more than {self._files} files")
                if stat.S_ISDIR(info.st_mode):
                    folders.append(path)
                elif stat.S_ISLNK(info.st_mode):
                    links[path] = os.readlink(name, dir_fd=folder)
                elif stat.S_ISREG(info.st_mode):
                    left -= info.st_size
                    if left < 0:
                        raise self._too_much(f"more than {self._size:,} bytes")
                    files[path] = (_content(name, folder), bool(info.st_mode & 0o100))
        return Changes(files=files, links=links, folders=tuple(folders))

    def _write(self, changes: Changes) -> tuple[Rejected, ...]:
        self._admit(changes)
        rejected: list[Rejected] = []
        here = self._read()
        said = {*changes.files, *changes.links, *changes.folders}
        with self._top() as top:
            for path in sorted({*here.files, *here.links, *here.folders} - said, reverse=True):
                _remove(top, path)
            for path in sorted(changes.folders):
                self._take(rejected, path, partial(_folder, top, path))
            for path, (content, executable) in changes.files.items():
                if here.files.get(path) != (content, executable):
                    self._take(rejected, path, partial(_put, top, path, content, executable))
            for path, target in changes.links.items():
                if here.links.get(path) != target:
                    self._take(rejected, path, partial(_link, top, path, target))
        return tuple(rejected)

    def _admit(self, changes: Changes) -> None:
        """Refuse what does not fit, before anything is written."""
        if sum(len(content) for content, _ in changes.files.values()) > self._size:
            raise self._too_much(f"more than {self._size:,} bytes")
        if len(changes.files) + len(changes.links) + len(changes.folders) > self._files:
            raise self._too_much(f"more than {self._files} files")

    def _take(self, rejected: list[Rejected], path: str, work: Callable[[], None]) -> None:
        if PurePosixPath(path).parts[:1] and PurePosixPath(path).parts[0] in self._hidden:
            return
        try:
            inside(path)
            work()
        except (OSError, ValueError) as error:
            rejected.append(Rejected(path, getattr(error, "strerror", None) or str(error)))

    @contextmanager
    def _top(self) -> Iterator[int]:
        try:
            top = os.open(self.root, _FOLDER)
        except OSError as error:
            raise SandboxError(
                f"The workspace {self.root} cannot be opened: {error.strerror}.",
                remedy="Name a folder that exists and is no link.",
            ) from error
        try:
            yield top
        finally:
            os.close(top)

    def _too_much(self, what: str) -> SandboxError:
        return SandboxError(
            f"The workspace {self.root} holds {what}.",
            remedy="Keep less in it, or allow more: Workspace(..., size=..., files=...).",
        )


def _walk(
    folder: int, base: str = "", hidden: frozenset[str] = frozenset()
) -> Iterator[tuple[str, int, str, os.stat_result]]:
    """Yield each path below an open folder, the folder it is in, its name and its status."""
    for name in sorted(os.listdir(folder)):
        if name in hidden:
            continue
        info = os.stat(name, dir_fd=folder, follow_symlinks=False)
        yield base + name, folder, name, info
        if stat.S_ISDIR(info.st_mode):
            below = os.open(name, _FOLDER, dir_fd=folder)
            try:
                yield from _walk(below, f"{base}{name}/")
            finally:
                os.close(below)


def _content(name: str, folder: int) -> bytes:
    with os.fdopen(os.open(name, _READ, dir_fd=folder), "rb") as file:
        return file.read() if stat.S_ISREG(os.fstat(file.fileno()).st_mode) else b""


@contextmanager
def _above(top: int, path: str, *, make: bool) -> Iterator[tuple[int, str]]:
    """Open the folder a path is in, one part beneath the other; give it and the last name.

    Raises:
        OSError: A part is missing, or no folder.
    """
    *parts, name = PurePosixPath(path).parts
    here = os.dup(top)
    try:
        for part in parts:
            if make:
                with suppress(FileExistsError):
                    os.mkdir(part, 0o755, dir_fd=here)
            below = os.open(part, _FOLDER, dir_fd=here)
            os.close(here)
            here = below
        yield here, name
    finally:
        os.close(here)


def _folder(top: int, path: str) -> None:
    with _above(top, path, make=True) as (folder, name), suppress(FileExistsError):
        os.mkdir(name, 0o755, dir_fd=folder)


def _put(top: int, path: str, content: bytes, executable: bool) -> None:
    """Write a file beside its place, then move it there: whoever reads sees one or the other."""
    with _above(top, path, make=True) as (folder, name):
        beside = f".{name[:100]}.astro-new"
        with suppress(FileNotFoundError):
            os.unlink(beside, dir_fd=folder)
        end = os.open(beside, _WRITE, 0o755 if executable else 0o644, dir_fd=folder)
        try:
            with os.fdopen(end, "wb") as file:
                file.write(content)
            os.rename(beside, name, src_dir_fd=folder, dst_dir_fd=folder)
        except BaseException:
            with suppress(OSError):
                os.unlink(beside, dir_fd=folder)
            raise


def _link(top: int, path: str, target: str) -> None:
    """Make a link that stays inside.

    Raises:
        ValueError: It would lead out.
    """
    depth = len(PurePosixPath(path).parts) - 1
    for part in PurePosixPath(target).parts:
        depth += -1 if part == ".." else 1
        if depth < 0 or part == "/":
            raise ValueError("it leads out of the workspace")
    with _above(top, path, make=True) as (folder, name):
        with suppress(FileNotFoundError):
            os.unlink(name, dir_fd=folder)
        os.symlink(target, name, dir_fd=folder)


def _remove(top: int, path: str) -> None:
    with suppress(OSError), _above(top, path, make=False) as (folder, name):
        try:
            os.unlink(name, dir_fd=folder)
        except (IsADirectoryError, PermissionError):
            os.rmdir(name, dir_fd=folder)
