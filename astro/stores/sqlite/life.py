"""Signs of life: which owners of leases are still there, without waiting for their leases.

Each owner holds a lock on a byte of the lock file, chosen by its name, for as long as its store is
open. The kernel releases it when the process dies, however it dies. An owner whose byte nobody
holds is gone for good, as no two owners have the same name, and its runs may be taken over at
once. Where the system has no such locks (open file description locks, Linux), leases run out.
"""

from __future__ import annotations

import os
import struct
from hashlib import blake2b
from pathlib import Path
from typing import Final

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]  # "no such module" is a value here

__all__ = ["SignsOfLife"]

_SET: Final[int | None] = getattr(fcntl, "F_OFD_SETLK", None)
_GET: Final[int | None] = getattr(fcntl, "F_OFD_GETLK", None)
_FLOCK: Final = "hhqqi"  # struct flock: type, whence, start, length, pid
_BEYOND: Final = 1 << 20  # bytes before the first that stands for an owner


class SignsOfLife:
    """The bytes of a lock file that stand for owners.

    Attributes:
        mine: The owners that show their signs of life here.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._fd = -1
        self.mine: set[str] = set()

    def show(self, owner: str) -> None:
        """Let an owner be alive until `close`."""
        if owner in self.mine:
            return
        self.mine.add(owner)
        if _SET is None:
            return
        try:
            if self._fd < 0:
                self._fd = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)
            fcntl.fcntl(self._fd, _SET, _lock(owner, fcntl.F_WRLCK))
        except OSError:
            return  # two names share a byte, or the file system has no locks: leases run out

    def gone(self, owner: str) -> bool:
        """Return whether an owner is certainly not there any more."""
        if _GET is None or self._fd < 0 or owner in self.mine:
            return False
        try:
            found = fcntl.fcntl(self._fd, _GET, _lock(owner, fcntl.F_WRLCK))
        except OSError:
            return False
        return bool(struct.unpack(_FLOCK, found)[0] == fcntl.F_UNLCK)

    def close(self) -> None:
        """Show nothing any more."""
        self.mine.clear()
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1


def _lock(owner: str, kind: int) -> bytes:
    place = int.from_bytes(blake2b(owner.encode(), digest_size=5).digest(), "big")
    return struct.pack(_FLOCK, kind, os.SEEK_SET, _BEYOND + place, 1, 0)
