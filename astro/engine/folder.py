"""The work folder of a box, as the results of its commands tell of it.

It is the fold of what commands have changed, whether they ran or were remembered, and of what was
written since. Nothing here runs or waits.
"""

from __future__ import annotations

from collections.abc import Collection

import msgspec

from astro.core.sandbox import BoxStatus, Changes, Rejected

__all__ = ["BoxFile", "BoxResult", "Folder", "Kept"]


class Kept(msgspec.Struct, frozen=True, omit_defaults=True):
    """Bytes, in the journal or beside it."""

    data: bytes = b""
    blob: str = ""


class BoxFile(msgspec.Struct, frozen=True, omit_defaults=True):
    """A file of a snapshot."""

    path: str
    blob: str
    executable: bool = False


class BoxResult(msgspec.Struct, frozen=True, omit_defaults=True):
    """How a command ended, and what has changed in the work folder.

    Attributes:
        after: Identity of the command before it, on whose folder it has worked.
        given: What was loaded, and is as it was.
        lost: Whether it has ended its box; the folder is as it was before.
    """

    exit_code: int | None
    status: BoxStatus
    stdout: Kept
    stderr: Kept
    stdout_truncated: bool = False
    stderr_truncated: bool = False
    duration: float = 0.0
    cpu: float = 0.0
    artifacts: tuple[tuple[str, Kept], ...] = ()
    rejected: tuple[Rejected, ...] = ()
    files: tuple[BoxFile, ...] = ()
    links: dict[str, str] = {}
    folders: tuple[str, ...] = ()
    gone: tuple[str, ...] = ()
    whole: bool = True
    after: str = ""
    given: tuple[str, ...] = ()
    lost: bool = False


class Folder:
    """What is known of a work folder: what commands have left in it, and what was written since.

    Attributes:
        whole: Whether all of it is known.
        written: What was put in since the last command.
    """

    def __init__(self) -> None:
        self.files: dict[str, BoxFile] = {}
        self.links: dict[str, str] = {}
        self.folders: dict[str, None] = {}
        self.whole = True
        self.written = Changes()
        self._commands: dict[str, None] = {}  # whose changes it holds, in order
        self._loaded: set[str] = set()  # of what was put in, what is kept elsewhere as well
        self._given: set[str] = set()  # of what is there, what was loaded and is as it was
        self._gone: dict[str, None] = {}

    @property
    def newest(self) -> str:
        """Identity of the command whose changes it took last."""
        return next(reversed(self._commands), "")

    def holds(self, command: str) -> bool:
        """Return whether it has taken the changes of a command."""
        return command in self._commands

    def put(self, changes: Changes, *, loaded: bool) -> None:
        """Take note of what was put in.

        Args:
            loaded: Whether it is kept elsewhere, so that `changed` need not tell of it.
        """
        self.written = _over(self.written, changes)
        paths = _paths(changes)
        self._loaded = self._loaded | paths if loaded else self._loaded - paths

    def compare(self, changes: Changes) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """Return what is gone after a command, and what is as it was loaded."""
        if not changes.whole:
            return (), ()
        put, here = self.written, _paths(changes)
        gone = _paths(put) - here - {*self.files, *self.links, *self.folders}
        given = (path for path in sorted(self._loaded & here) if _same(path, put, changes))
        return tuple(dict.fromkeys((*changes.gone, *sorted(gone)))), tuple(given)

    def take(self, command: str, ran: BoxResult) -> None:
        """Take note of what a command has changed."""
        self._commands[command] = None
        if ran.lost:
            return
        self.whole = ran.whole
        if not ran.whole:
            return
        here = {*(one.path for one in ran.files), *ran.links, *ran.folders}
        told = here.union(ran.gone)
        self.written = _without(self.written, told)
        self._loaded -= told
        for path in told:
            for known in (self.files, self.links, self.folders, self._gone):
                known.pop(path, None)
        self.files |= {one.path: one for one in ran.files}
        self.links |= ran.links
        self.folders |= dict.fromkeys(ran.folders)
        self._given = (self._given - told).union(ran.given)
        self._gone |= dict.fromkeys(path for path in ran.gone if path not in here)

    def changed(self) -> tuple[list[BoxFile], Changes]:
        """Return what commands and writes have made of what was loaded.

        Returns:
            Files that commands have changed; and all the rest.
        """
        news = _without(self.written, self._loaded)
        there = _paths(self.written)
        hidden = self._given | there
        rest = Changes(
            links={path: to for path, to in self.links.items() if path not in hidden},
            folders=tuple(path for path in self.folders if path not in hidden),
            gone=tuple(path for path in self._gone if path not in there),
        )
        return [one for path, one in self.files.items() if path not in hidden], _over(rest, news)

    def over(self, files: dict[str, tuple[bytes, bool]]) -> Changes:
        """Return all that is there, given the content of what is known."""
        below = Changes(files=files, links=dict(self.links), folders=tuple(self.folders))
        return _over(below, self.written)


def _paths(changes: Changes) -> set[str]:
    return {*changes.files, *changes.links, *changes.folders}


def _same(path: str, one: Changes, other: Changes) -> bool:
    if path in other.files:
        return one.files.get(path) == other.files[path]
    if path in other.links:
        return one.links.get(path) == other.links[path]
    return path in one.folders


def _over(below: Changes, above: Changes) -> Changes:
    """Return what is there when one thing was written over another."""
    hidden = {*above.files, *above.links}
    return Changes(
        files={p: file for p, file in below.files.items() if p not in hidden} | dict(above.files),
        links={p: to for p, to in below.links.items() if p not in hidden} | dict(above.links),
        folders=tuple(dict.fromkeys((*below.folders, *above.folders))),
        gone=below.gone,
    )


def _without(changes: Changes, paths: Collection[str]) -> Changes:
    return Changes(
        files={path: file for path, file in changes.files.items() if path not in paths},
        links={path: to for path, to in changes.links.items() if path not in paths},
        folders=tuple(path for path in changes.folders if path not in paths),
        gone=changes.gone,
    )
