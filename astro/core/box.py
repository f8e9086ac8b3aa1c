"""The box as a task sees it: `ctx.sandbox`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from datetime import timedelta
from pathlib import PurePosixPath
from typing import Protocol

from anyio import Lock

from astro.core.sandbox import Changes, Completed, FileInfo, Listener

__all__ = ["TaskBox"]


class TaskBox(Protocol):
    """One isolated place with files and commands, for one attempt of a task.

    What has run is remembered with what it changed in the work folder, and does not run again
    after a crash. Processes end with the command that began them. The box opens when something
    has to run in it, and closes with the attempt.
    """

    async def run(
        self,
        command: Sequence[str],
        /,
        *,
        stdin: bytes = b"",
        env: Mapping[str, str] | None = None,
        collect: Iterable[str] = (),
        timeout: timedelta = ...,
        listen: Listener | None = None,
    ) -> Completed:
        """Run a command in the work folder; no shell reads its words.

        Args:
            collect: Patterns of files that the result is to carry, as `report/*.json`.
            timeout: After which it is ended, with all that it has started; 30 seconds.
            listen: Hears of output as it comes; not of a remembered command.

        Raises:
            SandboxUnavailableError: No box can be opened. Nothing runs instead.
            BoxLostError: The box is gone, for no fault of the command.
        """
        ...

    async def python(
        self,
        code: str,
        /,
        *,
        stdin: bytes = b"",
        env: Mapping[str, str] | None = None,
        collect: Iterable[str] = (),
        timeout: timedelta = ...,
        listen: Listener | None = None,
    ) -> Completed:
        """Run Python code as a program of its own; see `run`."""
        ...

    async def write(self, files: Mapping[str | PurePosixPath, bytes | str], /) -> None:
        """Put files into the work folder; a text is written as UTF-8.

        Raises:
            InvalidArgumentsError: A path leads out of it.
            SandboxError: They do not fit.
        """
        ...

    async def read(self, path: str | PurePosixPath, /) -> bytes:
        """Return the content of a regular file of the work folder.

        Raises:
            SandboxError: There is no such file.
        """
        ...

    async def files(self) -> Sequence[FileInfo]:
        """Return the regular files of the work folder."""
        ...

    async def load(self, changes: Changes, /) -> None:
        """Put files, links and folders that are kept elsewhere into the work folder."""
        ...

    async def snapshot(self) -> Changes:
        """Return everything that is in the work folder.

        Raises:
            SandboxError: It is too large to be kept.
        """
        ...

    async def changes(self) -> Changes:
        """Return what commands and `write` have made of what was loaded, in every life the same.

        Raises:
            SandboxError: The work folder is too large to be kept.
        """
        ...

    def holding(self, lock: Lock) -> AbstractAsyncContextManager[None]:
        """Hold a lock that other tasks use as well; while this one waits for it, others work."""
        ...
