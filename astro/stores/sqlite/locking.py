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
from contextlib import asynccontextmanager, suppress
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
_ASKING = 0.05  # seconds after which one who waits asks for the lock
_YIELD = 0.005  # seconds for which one who was asked leaves it alone
_FIELD = 20  # bytes of the lock file for who holds it, and again for who asks for it
_NOBODY = b" " * _FIELD


class FileLock:
    """The lock beside a database.

    The kernel is not fair: one who writes without a pause could keep others out for long. So who
    has waited for a while writes into the lock file, and who then takes the lock pauses once.

    Args:
        path: The lock file; it is created if need be, and stays.
        timeout: How long to wait for another holder.
    """

    def __init__(self, path: Path, *, timeout: timedelta) -> None:
        self._path = path
        self.timeout = timeout
        self._fd = -1
        self._mine = self._name = _NOBODY
        self._asked = False  # whether somebody else has waited for long

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
        self._mine = f"{os.getpid():<{_FIELD}}".encode()
        self._name = f"{os.getpid()}.{self._fd}".ljust(_FIELD).encode()

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
        asked, self._asked = self._asked, False
        if asked or not self._try():
            # A limiter of its own, so that an application's busy threads do not delay it.
            await anyio.to_thread.run_sync(self._wait, asked, limiter=anyio.CapacityLimiter(1))

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
        self._sign()
        return True

    def _sign(self) -> None:
        """Write who holds the lock, and see who asks for it; the lock holds without that."""
        with suppress(OSError):  # a full disk, most likely, of which the store will tell
            written = os.pread(self._fd, 2 * _FIELD, 0)
            if written[:_FIELD] != self._mine:
                os.pwrite(self._fd, self._mine, 0)
            if written[_FIELD:] not in (b"", _NOBODY):
                os.pwrite(self._fd, _NOBODY, _FIELD)
                self._asked = written[_FIELD:] != self._name

    def _wait(self, asked: bool) -> None:
        """Wait for the lock; runs in a thread."""
        began = time.monotonic()
        pause, longest = _PAUSES
        if asked:
            time.sleep(_YIELD)
        while not self._try():
            waited = time.monotonic() - began
            if waited > _ASKING:
                with suppress(OSError):
                    os.pwrite(self._fd, self._name, _FIELD)
            if waited >= self.timeout.total_seconds():
                raise StoreBusyError(
                    f"Process {self._holder()} has held the lock {self._path} for "
                    f"{self.timeout.total_seconds():g} seconds.",
                    remedy="Look at that process: it may be stopped; end it, or let it go on.",
                )
            time.sleep(pause)
            pause = min(pause * 1.5, longest)

    def _holder(self) -> str:
        written = os.pread(self._fd, _FIELD, 0).decode("ascii", "replace").strip()
        return written or "(unknown)"
