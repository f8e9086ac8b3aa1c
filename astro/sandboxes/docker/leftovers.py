"""Leftovers: containers that nobody will ask for any more, and how they are told from others.

A container ends with its process by itself, since its supervisor is hung up on. What that does
not reach is one that was made and never begun, when its process was killed between the two. Such
a one is removed by whoever comes next. Nothing here removes what a living process uses.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path
from typing import Final

import attrs

from astro.core.errors import SandboxError

__all__ = ["Found", "Leftovers", "is_gone", "owner"]

_DEAD: Final = ("Z", "X")  # of a process that has ended, whether or not its parent has looked


@attrs.frozen(kw_only=True)
class Found:
    """A container that Docker lists.

    Attributes:
        owner: The process that has made it, as `owner` names it.
        sandbox: Which sandbox of that process.
        begun: Whether it was ever started.
    """

    id: str
    owner: str
    sandbox: str
    begun: bool


class Leftovers:
    """Finds and removes what is left.

    Args:
        found: Lists the containers made by ASTRO, by whatever process.
        remove: Removes one by its id.
        sandbox: Which sandbox of this process is looking.
        knows: Whether that sandbox knows a container, by its id.
    """

    def __init__(
        self,
        found: Callable[[], Iterable[Found]],
        remove: Callable[[str], None],
        *,
        sandbox: str,
        knows: Callable[[str], bool],
    ) -> None:
        self._found = found
        self._remove = remove
        self._sandbox = sandbox
        self._knows = knows
        self._suspects: frozenset[str] = frozenset()

    def sweep(self) -> None:
        """Remove what dead processes have left, and what was suspicious the last time already.

        A container of this sandbox that it does not know is suspicious: Docker may have made it
        after it was no longer waited for. So is one that was never started, of a process that
        nobody here can judge.

        Raises:
            SandboxUnavailableError: Docker cannot be reached.
        """
        suspects = set()
        for one in self._found():
            if is_gone(one.owner):
                self._remove(one.id)
            elif self._is_suspicious(one):
                if one.id in self._suspects:
                    self._remove(one.id)
                suspects.add(one.id)
        self._suspects = frozenset(suspects)

    def purge(self) -> None:
        """Remove all containers of this sandbox."""
        with suppress(SandboxError):
            for one in self._found():
                if self._is_mine(one):
                    self._remove(one.id)

    def _is_suspicious(self, one: Found) -> bool:
        if self._is_mine(one):
            return not self._knows(one.id)
        return not one.begun and not _sought(one.owner)[0]

    def _is_mine(self, one: Found) -> bool:
        return one.sandbox == self._sandbox and one.owner == owner()


def owner() -> str:
    """Return a name of this process that no other one has, on this machine or another.

    It is empty where the system does not tell, as on macOS; nobody judges such an owner.
    """
    pid = os.getpid()
    boot, place = _boot(), _place()
    return f"{boot}:{place}:{pid}:{_begun(pid)}" if boot and place else ""


def is_gone(name: str) -> bool:
    """Return whether a process is gone for certain.

    Only one of this machine, since it was started, and of this namespace can be looked for: in a
    container, the number of a living process of the host is nobody's, or somebody else's.
    """
    pid, begun = _sought(name)
    if not pid:
        return False
    try:
        os.kill(pid, 0)
    except (ProcessLookupError, OverflowError):
        return True
    except OSError:
        pass  # it is there, and somebody else's
    seen = _begun(pid)
    return bool(seen) and seen != begun  # unseen, it may be hidden from this user


def _sought(name: str) -> tuple[int, str]:
    """Return the number of a process and when it began; 0 if it cannot be looked for."""
    boot, _, rest = name.partition(":")
    place, _, rest = rest.partition(":")
    pid, _, begun = rest.partition(":")
    if not boot or boot != _boot() or place != _place() or not (pid.isdigit() and begun):
        return 0, ""
    return int(pid), begun


def _boot() -> str:
    with suppress(OSError):
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    return ""


def _place() -> str:
    """Return which processes this one sees; empty if /proc shows those of another namespace."""
    with suppress(OSError):
        if os.readlink("/proc/self") == str(os.getpid()):
            return os.readlink("/proc/self/ns/pid").strip("pid:[]")
    return ""


def _begun(pid: int) -> str:
    """Return when a process began, in ticks of the kernel; `dead` if it has ended; or nothing."""
    with suppress(OSError, IndexError):
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        return "dead" if fields[0] in _DEAD else fields[19]
    return ""
