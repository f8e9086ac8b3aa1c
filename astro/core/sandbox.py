"""Sandbox values: what a box is made of, what it is asked to do, and how that ended.

A failure of the program that runs in a box is a result; a failure of the sandbox is an error.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from enum import Enum
from pathlib import PurePosixPath
from typing import Final, Literal, TypeAlias

import msgspec

__all__ = [
    "Artifact",
    "BoxLimits",
    "BoxStatus",
    "Changes",
    "Chunk",
    "Collected",
    "Completed",
    "FileInfo",
    "Listener",
    "Rejected",
    "SandboxReport",
    "SandboxSpec",
    "inside",
]

_KIB: Final = 1024
_MIB: Final = 1024 * _KIB


class BoxLimits(msgspec.Struct, frozen=True, kw_only=True):
    """What a box may use. Sizes are in bytes.

    Attributes:
        memory: Of all its processes together, its files included; there is no swap.
        cpus: How many processors' worth of time.
        pids: Processes and threads.
        disk: In the work folder.
        inodes: Files and folders in the work folder.
        file: Of one file.
        open_files: By one process.
        output: Of standard output that is kept, and as much of standard error.
        flood: Of output that is read at all; a program that writes more is ended.
        artifacts: Of what one run gives back, all together.
        artifact_count: Files that one run gives back.
        snapshot: Of the work folder, to be restored after a crash.
    """

    memory: int = 256 * _MIB
    cpus: float = 1.0
    pids: int = 64
    disk: int = 64 * _MIB
    inodes: int = 8192
    file: int = 32 * _MIB
    open_files: int = 256
    output: int = 1 * _MIB
    flood: int = 8 * _MIB
    artifacts: int = 8 * _MIB
    artifact_count: int = 64
    snapshot: int = 32 * _MIB

    def __post_init__(self) -> None:
        for name in self.__struct_fields__:
            value = getattr(self, name)
            if not (isinstance(value, int | float) and 0 < value < 2**53):
                raise ValueError(f"The limit {name} is {value!r}, and not a positive number.")
        if self.memory < 16 * _MIB:
            raise ValueError("A box needs 16 MiB of memory at least.")
        if self.pids < 8:
            raise ValueError("A box needs 8 processes at least.")


class SandboxSpec(msgspec.Struct, frozen=True, kw_only=True):
    """What a box is made of.

    Attributes:
        image: Name of the image; empty takes the sandbox's default.
        limits: What it may use; None takes the sandbox's default.
        network: A box has none.
        price: Money that a second of processor time costs; counts against budgets.
    """

    image: str = ""
    limits: BoxLimits | None = None
    network: Literal["none"] = "none"
    price: float = 0.0

    def __post_init__(self) -> None:
        if not (isinstance(self.price, int | float) and 0 <= self.price < 2**53):
            raise ValueError(f"The price {self.price!r} is no amount of money.")


class BoxStatus(Enum):
    """How a command ended."""

    OK = "ok"
    ERROR = "error"
    TIMED_OUT = "timed_out"
    OOM_KILLED = "oom_killed"
    OUTPUT_LIMIT = "output_limit"
    CANCELLED = "cancelled"


class Artifact(msgspec.Struct, frozen=True):
    """A regular file of a box: its path in the work folder, and its content."""

    path: str
    content: bytes


class Rejected(msgspec.Struct, frozen=True):
    """What a box holds and does not give back, and why."""

    path: str
    reason: str


class Completed(msgspec.Struct, frozen=True, kw_only=True):
    """How a command in a box ended.

    Attributes:
        exit_code: None if it was ended; 128 and more for a signal.
        status: Decided outside the box.
        duration: Seconds, measured outside the box.
        cpu: Seconds of processor time, as the box tells.
        artifacts: The files that were asked for.
        rejected: What was asked for, and is no regular file or too much.
    """

    exit_code: int | None
    stdout: bytes
    stderr: bytes
    status: BoxStatus = BoxStatus.OK
    stdout_truncated: bool = False
    stderr_truncated: bool = False
    duration: float = 0.0
    cpu: float = 0.0
    artifacts: tuple[Artifact, ...] = ()
    rejected: tuple[Rejected, ...] = ()

    @property
    def ok(self) -> bool:
        """Whether it ended by itself, with exit code 0."""
        return self.status is BoxStatus.OK

    @property
    def text(self) -> str:
        """Standard output as text; what is no UTF-8 is replaced."""
        return self.stdout.decode(errors="replace")

    @property
    def error_text(self) -> str:
        """Standard error as text; what is no UTF-8 is replaced."""
        return self.stderr.decode(errors="replace")


class Chunk(msgspec.Struct, frozen=True):
    """Output as it comes."""

    stream: Literal["stdout", "stderr"]
    data: bytes


Listener: TypeAlias = Callable[[Chunk], None]
"""Hears of output as it comes; must not block."""


class FileInfo(msgspec.Struct, frozen=True):
    """A regular file in a work folder."""

    path: str
    size: int


class Collected(msgspec.Struct, frozen=True, kw_only=True):
    """Files of a work folder, and what was asked for and not given."""

    artifacts: tuple[Artifact, ...] = ()
    rejected: tuple[Rejected, ...] = ()


class Changes(msgspec.Struct, frozen=True, kw_only=True):
    """What has changed in a work folder since it was looked at before.

    Attributes:
        files: Content by path, with whether it is executable.
        links: Targets of symbolic links, by path.
        folders: Empty folders that are new.
        gone: Paths that are there no longer, or are something else now.
        whole: Whether this is everything; false when the folder exceeds its cap.
    """

    files: Mapping[str, tuple[bytes, bool]] = {}
    links: Mapping[str, str] = {}
    folders: tuple[str, ...] = ()
    gone: tuple[str, ...] = ()
    whole: bool = True


class SandboxReport(msgspec.Struct, frozen=True, kw_only=True):
    """What a sandbox is, as its check found it.

    Attributes:
        isolation: As "container", "gvisor" or "microvm".
        image: Id of the default image.
        unenforced: Names of limits that it does not enforce.
    """

    isolation: str
    image: str
    unenforced: tuple[str, ...] = ()


def inside(path: PurePosixPath | str) -> str:
    """Return a path as it is in the work folder.

    Raises:
        ValueError: It leads out of it.
    """
    pure = PurePosixPath(path)
    if pure.is_absolute() or ".." in pure.parts or not pure.parts or "\0" in str(path):
        raise ValueError(f"{str(path)!r:.200} is no path in the work folder.")
    try:
        str(pure).encode()
    except UnicodeEncodeError as error:
        raise ValueError(f"{str(path)!r:.200} is no text that UTF-8 can hold.") from error
    return str(pure)
