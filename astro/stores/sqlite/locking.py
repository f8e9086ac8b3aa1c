"""The advisory lock: one writer of a file at a time, whatever the process.

SQLite before 3.51.3 can corrupt a database in WAL mode when two connections write or checkpoint
at the same moment, and nearly every Python in the field brings such a version. So whoever writes,
checkpoints, opens, migrates or closes holds `flock` on a file beside the database. The kernel
releases it when its holder dies, however it dies.
"""

from __future__ import annotations

import os
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path

import anyio
import anyio.to_thread

from astro.core.errors import StoreBusyError, StoreUnavailableError

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]  # "no such module" is a value here

__all__ = ["FileLock"]

_PAUSES = (0.0002, 0.002)  # seconds between tries: the shortest and the longest
_DIGITS = 20  # of a process id


class FileLock:
    """The lock beside a database.

    Args:
        path: The lock file; it is created if need be, and stays.
        timeout: How long to wait for another holder.
    """

    def __init__(self, path: Path, *, timeout: timedelta) -> None:
        self._path = path
        self.timeout = timeout
        self._fd = -1
        self._mine = f"{os.getpid():<{_DIGITS}}".encode()

    def open(self) -> None:
        """Open the lock file.

        Raises:
            StoreUnavailableError: The system has no such locks, or the file cannot be opened.
        """
        if fcntl is None:
            raise StoreUnavailableError(
                "This system has no advisory locks, without which SQLite files can be damaged.",
                remedy="Use MemoryStore or PostgresStore here.",
            )
        try:
            self._fd = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)
        except OSError as error:
            raise StoreUnavailableError(
                f"The lock file {self._path} cannot be opened: {error.strerror}.",
                remedy="Check the folder and its permissions.",
            ) from error

    def close(self) -> None:
        """Close the lock file."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    @asynccontextmanager
    async def held(self) -> AsyncIterator[None]:
        """Hold the lock; waits in a thread, and only if somebody else holds it.

        Raises:
            StoreBusyError: Somebody else held it for too long; names the process.
            StoreUnavailableError: The lock cannot be had at all.
        """
        await self.acquire()
        try:
            yield
        finally:
            self.release()

    async def acquire(self) -> None:
        """Take the lock; see `held`."""
        if not self._try():
            # A limiter of its own, so that an application's busy threads do not delay it.
            await anyio.to_thread.run_sync(self._wait, limiter=anyio.CapacityLimiter(1))

    def release(self) -> None:
        """Give the lock back."""
        fcntl.flock(self._fd, fcntl.LOCK_UN)

    def _try(self) -> bool:
        try:
            fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        except OSError as error:
            raise StoreUnavailableError(
                f"The file {self._path} cannot be locked: {error.strerror}.",
                remedy="Keep the store on a local disk, not on a network file system.",
            ) from error
        if not os.fstat(self._fd).st_nlink:
            # It was deleted: others lock the file that took its place.
            self.close()
            self.open()
            return False
        if os.pread(self._fd, _DIGITS, 0) != self._mine:
            os.pwrite(self._fd, self._mine, 0)
        return True

    def _wait(self) -> None:
        """Wait for the lock; runs in a thread."""
        until = time.monotonic() + self.timeout.total_seconds()
        pause, longest = _PAUSES
        while not self._try():
            if time.monotonic() >= until:
                raise StoreBusyError(
                    f"Process {self._holder()} has held the lock {self._path} for "
                    f"{self.timeout.total_seconds():g} seconds.",
                    remedy="Look at that process: it may be stopped; end it, or let it go on.",
                )
            time.sleep(pause)
            pause = min(pause * 1.5, longest)

    def _holder(self) -> str:
        written = os.pread(self._fd, _DIGITS, 0).decode("ascii", "replace").strip()
        return written or "(unknown)"
