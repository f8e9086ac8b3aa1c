"""A workspace: a folder of the host whose files go into boxes, and come out of them.

Nothing of the host is mounted into a box: files are copied in, and what has changed is copied
out. On both ways no link is followed, so that no name leads out of the folder: each part of a
path is opened beneath the one before it, which has to be a folder and no link to one.
"""

from __future__ import annotations

import os
import stat
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Final

import anyio
import anyio.to_thread
from msgspec.structs import replace

from astro.agents.repository import reason_to_refuse
from astro.core.errors import SandboxError
from astro.core.sandbox import Changes, Rejected, inside

__all__ = ["Workspace"]

_MIB: Final = 1024 * 1024
_FOLDER: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_READ: Final = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_WRITE: Final = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_BESIDE: Final = ".astro-new-"  # how the names of files begin that are being written
_DEPTH: Final = 100  # folders below each other
_LONG: Final = 4096  # characters of a path that are told


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
        """Return everything in the folder, for a box; but pipes, sockets and devices.

        Raises:
            SandboxError: It is more than its quota, or the folder cannot be read.
        """
        return await anyio.to_thread.run_sync(self._read)

    async def write(self, changes: Changes) -> tuple[Rejected, ...]:
        """Make the folder what a box says it is; return what was not taken.

        Links that lead out of the folder are not taken, nor is anything below them, nor what git
        would run outside.

        Raises:
            SandboxError: It is more than its quota, or the folder cannot be written.
        """
        return await anyio.to_thread.run_sync(self._write, changes)

    async def apply(self, changes: Changes) -> tuple[Rejected, ...]:
        """Change in the folder what a box has changed; return what was not taken.

        What others have made there in the meantime stays.

        Raises:
            SandboxError: It is more than its quota, or the folder cannot be written.
        """
        return await anyio.to_thread.run_sync(self._apply, changes)

    # --- In a thread -------------------------------------------------------------------------

    def _read(self) -> Changes:
        files: dict[str, tuple[bytes, bool]] = {}
        links: dict[str, str] = {}
        folders: list[str] = []
        left = self._size
        with self._top() as top:
            for path, folder, name, info in self._walk(top):
                if stat.S_ISDIR(info.st_mode):
                    folders.append(path)
                elif stat.S_ISLNK(info.st_mode):
                    links[path] = _named(os.readlink(name, dir_fd=folder))
                elif stat.S_ISREG(info.st_mode):
                    with suppress(FileNotFoundError):  # it has just been removed
                        content = _content(name, folder, left)
                        if content is None:
                            raise self._too_much(f"more than {self._size:,} bytes")
                        left -= len(content)
                        files[path] = (content, bool(info.st_mode & 0o100))
        return Changes(files=files, links=links, folders=tuple(folders))

    def _write(self, changes: Changes) -> tuple[Rejected, ...]:
        with self._top() as top:
            here = [path for path, _, _, info in self._walk(top) if _goes_in(info)]
        said = {*changes.files, *changes.links, *changes.folders}
        gone = tuple(path for path in here if path not in said)
        return self._apply(replace(changes, gone=gone))

    def _apply(self, changes: Changes) -> tuple[Rejected, ...]:
        rejected: list[Rejected] = []
        with self._top() as top:
            self._admit(top, changes)
            for path in sorted(changes.gone, reverse=True):
                self._take(rejected, path, partial(_remove, top, path))
            for path in sorted(changes.folders):
                self._take(rejected, path, partial(_folder, top, path))
            for path, (content, executable) in changes.files.items():
                self._take(rejected, path, partial(_put, top, path, content, executable), content)
            for path, target in changes.links.items():
                self._take(rejected, path, partial(_link, top, path, target), link=True)
        return tuple(rejected)

    def _admit(self, top: int, changes: Changes) -> None:
        """Refuse what does not fit, before anything is written."""
        said = {*changes.files, *changes.links, *changes.folders}
        size = sum(len(content) for content, _ in changes.files.values())
        count = len(said)
        for path, _, _, info in self._walk(top):
            if path not in said and path not in changes.gone:
                count += 1
                size += info.st_size if stat.S_ISREG(info.st_mode) else 0
        if size > self._size:
            raise self._too_much(f"more than {self._size:,} bytes")
        if count > self._files:
            raise self._too_much(f"more than {self._files} files")

    def _take(
        self,
        rejected: list[Rejected],
        path: str,
        work: Callable[[], None],
        content: bytes | None = None,
        *,
        link: bool = False,
    ) -> None:
        """Do something about a path, if a box may have a say in it."""
        try:
            parts = PurePosixPath(inside(path)).parts
            if parts[0] in self._hidden:
                return
            if len(parts) > _DEPTH:
                raise ValueError(f"it lies deeper than {_DEPTH} folders")
            if any(part.startswith(_BESIDE) for part in parts):
                raise ValueError("such names are for files that are being written")
            harm = reason_to_refuse(path, content) if link or content is not None else ""
            if harm:
                raise ValueError(harm)
            work()
        except (OSError, ValueError) as error:
            reason = getattr(error, "strerror", None) or str(error)
            told = path[:_LONG].encode("utf-8", "backslashreplace").decode()
            rejected.append(Rejected(told, reason))

    def _walk(self, top: int) -> Iterator[tuple[str, int, str, os.stat_result]]:
        """Yield each path, the folder it is in, its name and its status.

        Raises:
            SandboxError: There are too many, or too deep ones.
        """
        for count, found in enumerate(_walk(top, hidden=self._hidden)):
            if count >= self._files:
                raise self._too_much(f"more than {self._files} files")
            if found[0].count("/") >= _DEPTH:
                raise self._too_much(f"folders that lie deeper than {_DEPTH}")
            _named(found[0])
            yield found

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
        except SandboxError:
            raise
        except (OSError, ValueError) as error:
            raise SandboxError(
                f"The workspace {self.root} cannot be looked at: {error!s:.300}.",
                remedy="Let this process read all that is in it, and name it in UTF-8.",
            ) from error
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
        if name in hidden or name.startswith(_BESIDE):
            continue
        with suppress(FileNotFoundError):  # it has just been removed
            info = os.stat(name, dir_fd=folder, follow_symlinks=False)
            yield base + name, folder, name, info
            if stat.S_ISDIR(info.st_mode):
                below = os.open(name, _FOLDER, dir_fd=folder)
                try:
                    yield from _walk(below, f"{base}{name}/")
                finally:
                    os.close(below)


def _goes_in(info: os.stat_result) -> bool:
    mode = info.st_mode
    return stat.S_ISREG(mode) or stat.S_ISDIR(mode) or stat.S_ISLNK(mode)


def _named(path: str) -> str:
    """Return a path that has a text.

    Raises:
        ValueError: Its bytes are no UTF-8.
    """
    try:
        path.encode()
    except UnicodeEncodeError as error:
        raise ValueError(f"{path!r:.200} is no UTF-8") from error
    return path


def _content(name: str, folder: int, most: int) -> bytes | None:
    """Return what a regular file holds; None if it is more than it may be."""
    with os.fdopen(os.open(name, _READ, dir_fd=folder), "rb") as file:
        info = os.fstat(file.fileno())
        if info.st_size > most:
            return None
        content = file.read(most + 1) if stat.S_ISREG(info.st_mode) else b""  # it may grow
    return content if len(content) <= most else None


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
    with _above(top, path, make=True) as (folder, name):
        if not stat.S_ISDIR(_mode(folder, name)):
            with suppress(FileNotFoundError):
                os.unlink(name, dir_fd=folder)
            os.mkdir(name, 0o755, dir_fd=folder)


def _mode(folder: int, name: str) -> int:
    """Return of what kind something is; 0 if it is not there."""
    try:
        return os.stat(name, dir_fd=folder, follow_symlinks=False).st_mode
    except FileNotFoundError:
        return 0


def _put(top: int, path: str, content: bytes, executable: bool) -> None:
    """Write a file beside its place, then move it there: whoever reads sees one or the other."""
    with _above(top, path, make=True) as (folder, name):
        if _is(folder, name, content, executable):
            return
        beside = f"{_BESIDE}{os.getpid()}-{threading.get_ident()}"
        with suppress(FileNotFoundError):
            os.unlink(beside, dir_fd=folder)
        end = os.open(beside, _WRITE, 0o755 if executable else 0o644, dir_fd=folder)
        try:
            with os.fdopen(end, "wb") as file:
                file.write(content)
            if stat.S_ISDIR(_mode(folder, name)):
                os.rmdir(name, dir_fd=folder)
            os.rename(beside, name, src_dir_fd=folder, dst_dir_fd=folder)
        except BaseException:
            with suppress(OSError):
                os.unlink(beside, dir_fd=folder)
            raise


def _is(folder: int, name: str, content: bytes, executable: bool) -> bool:
    """Return whether a file is there already."""
    mode = _mode(folder, name)
    if not stat.S_ISREG(mode) or bool(mode & 0o100) != executable:
        return False
    with suppress(OSError):
        return _content(name, folder, len(content)) == content
    return False


def _link(top: int, path: str, target: str) -> None:
    """Make a link that stays inside.

    It may go up, though not out, and then down; up again is refused, as that may be another way
    up than it seems to be, if what it went down was a link.

    Raises:
        ValueError: It would lead out, or may.
    """
    depth = len(PurePosixPath(path).parts) - 1
    parts = target.split("/")
    up = next((place for place, part in enumerate(parts) if part not in ("..", ".")), len(parts))
    if target.startswith("/") or parts[:up].count("..") > depth or ".." in parts[up:]:
        raise ValueError("it leads out of the workspace, or goes down and up again")
    with _above(top, path, make=True) as (folder, name):
        if stat.S_ISDIR(_mode(folder, name)):
            os.rmdir(name, dir_fd=folder)
        with suppress(FileNotFoundError):
            os.unlink(name, dir_fd=folder)
        os.symlink(target, name, dir_fd=folder)


def _remove(top: int, path: str) -> None:
    """Remove what is there; a folder stays that holds what no box has seen."""
    with suppress(FileNotFoundError), _above(top, path, make=False) as (folder, name):
        if stat.S_ISDIR(_mode(folder, name)):
            with suppress(OSError):
                os.rmdir(name, dir_fd=folder)
        else:
            os.unlink(name, dir_fd=folder)
