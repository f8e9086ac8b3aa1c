"""Answers: what a box says, taken for what it is worth. Pure.

Whoever speaks for a box may be the program in it. What has another form than it should, is more
than was asked for or names what was not asked for is no answer: the box is lost.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from fnmatch import fnmatchcase
from typing import Annotated, Final, TypeVar

import msgspec

from astro.core.errors import InvalidArgumentsError
from astro.core.sandbox import (
    Artifact,
    BoxStatus,
    Changes,
    Collected,
    Completed,
    FileInfo,
    Rejected,
    inside,
)
from astro.sandboxes.docker.output import Output
from astro.sandboxes.docker.wire import WireClosedError

__all__ = [
    "NAMES",
    "Done",
    "End",
    "Found",
    "Head",
    "changes_of",
    "claims_of",
    "collected_of",
    "completed",
    "environment_of",
    "listing_of",
]

NAMES: Final = 8 * 1024 * 1024
"""Bytes that the names of the files of one answer may take."""

_NAME: Final = 64 * 1024  # bytes that one of them may take
_PATH: Final = 4096  # characters of a path; no kernel knows longer ones
_REASON: Final = 200  # characters
_PERIOD: Final = 0.2  # seconds in which a box may use the processor time of later ones

_Count = Annotated[int, msgspec.Meta(ge=0, le=2**53)]
_Seconds = Annotated[float, msgspec.Meta(ge=0, le=1e9)]
_Path = Annotated[str, msgspec.Meta(min_length=1, max_length=_PATH)]

T = TypeVar("T")


class End(msgspec.Struct, frozen=True):
    """A command has ended.

    Attributes:
        n: Number of the request that this answers.
        code: How it ended, as a shell counts.
        cpu: Seconds of processor time.
        oom: How many processes the kernel has ended for want of memory.
    """

    n: int
    code: Annotated[int, msgspec.Meta(ge=0, le=255)]
    cpu: _Seconds = 0.0
    oom: _Count = 0


class Done(msgspec.Struct, frozen=True):
    """A request is done, and its files were given before.

    Attributes:
        n: Number of the request that this answers.
        whole: Whether that was everything.
        rejected: What is not given, and why.
        wrong: What could not be written, and why.
    """

    n: int
    whole: bool = True
    rejected: tuple[tuple[str, str], ...] = ()
    wrong: tuple[tuple[str, str], ...] = ()


class Head(msgspec.Struct, frozen=True):
    """What stands before the content of a file, or instead of it."""

    path: _Path
    size: _Count = 0
    link: _Path | None = None
    folder: bool = False
    executable: bool = False
    gone: bool = False


class Found:
    """The files of an answer, as they come.

    Args:
        most: Bytes of content that were asked for, all together.
        count: Files, links, folders and names of what is gone, all together.
    """

    def __init__(self, most: int, count: int) -> None:
        self._left = most
        self._names = NAMES
        self._count = count
        self._given: set[str] = set()
        self._gone: set[str] = set()
        self.files: list[tuple[Head, bytes]] = []

    def take(self, payload: bytes) -> None:
        """Take one of them.

        Raises:
            WireClosedError: It is none, or more than was asked for.
        """
        size = payload.find(b"\n", 0, _NAME)
        head = claims_of(payload[: max(size, 0)], Head)
        self._count -= 1
        self._names -= size
        self._left -= len(payload) - size - 1
        if min(self._count, self._names, self._left) < 0:
            raise WireClosedError("it gives more than it was asked for")
        if not _is_name(head.path) or "\0" in (head.link or ""):
            raise WireClosedError("it gives what can be no file")
        # What is gone may be given as well: something else is there now.
        told = self._gone if head.gone else self._given
        if head.path in told:
            raise WireClosedError("it gives a file twice")
        told.add(head.path)
        self.files.append((head, payload[size + 1 :]))


def _is_name(path: str) -> bool:
    try:
        return inside(path) == path and bool(path.encode())
    except ValueError:  # one of them: it has no bytes
        return False


def claims_of(payload: bytes, form: type[T]) -> T:
    """Return what a box says, if it has the form that it should have.

    Raises:
        WireClosedError: It has not.
    """
    try:
        return msgspec.json.decode(payload, type=form)
    except (msgspec.MsgspecError, ValueError, RecursionError) as error:
        raise WireClosedError("it talks nonsense") from error


def listing_of(found: Found) -> list[FileInfo]:
    return [FileInfo(head.path, head.size) for head, _ in found.files]


def collected_of(
    found: Found, done: Done, paths: Sequence[str], patterns: Sequence[str]
) -> Collected:
    """Return the files that were asked for.

    Raises:
        WireClosedError: One of them was not.
    """
    for head, _ in found.files:
        wanted = head.path in paths or any(fnmatchcase(head.path, one) for one in patterns)
        if not wanted or head.gone or head.folder or head.link is not None:
            raise WireClosedError("it gives what it was not asked for")
    return Collected(
        artifacts=tuple(Artifact(head.path, content) for head, content in found.files),
        rejected=tuple(Rejected(path[:_PATH], why[:_REASON]) for path, why in done.rejected),
    )


def changes_of(found: Found, done: Done) -> Changes:
    """Return what has changed in a work folder, or only that it cannot be told."""
    if not done.whole:
        return Changes(whole=False)
    files: dict[str, tuple[bytes, bool]] = {}
    links: dict[str, str] = {}
    folders: list[str] = []
    gone: list[str] = []
    for head, content in found.files:
        if head.gone:
            gone.append(head.path)
        elif head.link is not None:
            links[head.path] = head.link
        elif head.folder:
            folders.append(head.path)
        else:
            files[head.path] = (content, head.executable)
    return Changes(files=files, links=links, folders=tuple(folders), gone=tuple(gone))


def environment_of(env: Mapping[str, str] | None) -> dict[str, str]:
    said = dict(env or {})
    for name, value in said.items():
        if "=" in name or "\0" in name or "\0" in value or not name:
            raise InvalidArgumentsError(
                f"{name!r:.60} is no variable of an environment.", remedy="Name it otherwise."
            )
    return said


def completed(
    ended: BoxStatus | None,
    told: End | None,
    output: Output,
    took: float,
    cpus: float,
) -> Completed:
    """Return how a command ended: what was decided here goes before what the box says.

    Args:
        ended: Why it was ended, if it was.
        told: What the box says of its end; None if it says nothing.
        cpus: Processors' worth of time that the box may use.
    """
    code = told.code if told is not None and ended is None else None
    if ended is None:
        starved = told is not None and told.oom > 0
        ended = BoxStatus.OOM_KILLED if starved else BoxStatus.OK if code == 0 else BoxStatus.ERROR
    cpu = told.cpu if told is not None else 0.0
    return Completed(
        exit_code=code,
        stdout=bytes(output.stdout),
        stderr=bytes(output.stderr),
        status=ended,
        stdout_truncated=output.cut["stdout"],
        stderr_truncated=output.cut["stderr"],
        duration=took,
        cpu=min(cpu, (took + _PERIOD) * cpus),
    )
