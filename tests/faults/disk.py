"""A disk as it may be found after the power failed.

What was synced is there. Of all else, any part may be: writes arrive in any order, whole or sector
by sector, and a file may have grown without what was written into it. A folder's changes arrive in
order, as they do on file systems with a journal, but no later than when the folder is synced.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path, PurePath

import attrs

from tests.faults.tracing import (
    Act,
    Create,
    Link,
    Remove,
    Rename,
    Say,
    Sync,
    Truncate,
    Write,
)

__all__ = ["Disk", "Image"]

SECTOR = 512  # bytes that are written as a whole or not at all
_Change = Create | Remove | Rename | Link
_Pending = list[tuple[int, Write | Truncate]]


@attrs.define(eq=False)
class _File:
    """A file: what of it is safe, and what was done to it since, in order."""

    safe: bytes = b""
    pending: _Pending = attrs.field(factory=list)


@attrs.frozen
class Image:
    """What is on the disk when the power is back.

    Attributes:
        files: What each file holds.
        relied: What had been said until then, and must be true.
    """

    files: dict[str, bytes]
    relied: frozenset[str]

    def lay_out(self, folder: Path) -> None:
        """Make a folder hold this and nothing else."""
        for old in folder.iterdir():
            old.unlink()
        for name, content in self.files.items():
            (folder / name).write_bytes(content)


class Disk:
    """Takes acts one by one, and gives images of what a failure of the power would leave.

    Args:
        start: What it holds, all of it safe.
        relied: What was said before.
        heeds_syncs: Whether it does as it is told; otherwise it only says so.
    """

    def __init__(self, start: Image, *, heeds_syncs: bool = True) -> None:
        self._names = {name: _File(safe=content) for name, content in start.files.items()}
        self._safe_names = dict(self._names)
        self._changes: list[tuple[int, _Change, _File | None]] = []
        self._begun = 0
        self._relied = set(start.relied)
        self._heeds_syncs = heeds_syncs

    def do(self, act: Act) -> None:
        """Do what the process did."""
        if isinstance(act, Sync):
            if self._heeds_syncs:
                self._sync(act)
            return
        number = self._begun
        self._begun += 1
        if isinstance(act, Say):
            self._relied.update(act.words)
        elif isinstance(act, (Write, Truncate)):
            self._names[_name(act.path)].pending.append((number, act))
        else:
            made = _File() if isinstance(act, Create) else None
            if made is not None and _name(act.path) in self._names:
                return
            _change(self._names, act, made)
            self._changes.append((number, act, made))

    def _sync(self, sync: Sync) -> None:
        file = self._names.get(_name(sync.path))
        if file is not None:
            covered = [act for number, act in file.pending if number < sync.after]
            file.safe = _applied(file.safe, covered)
            file.pending = [pair for pair in file.pending if pair[0] >= sync.after]
            return
        while self._changes and self._changes[0][0] < sync.after:
            _, change, made = self._changes.pop(0)
            _change(self._safe_names, change, made)

    def fail(self, chance: random.Random) -> Image:
        """Return what may be found if the power fails now."""
        names = dict(self._safe_names)
        kept = chance.choice((0, len(self._changes), chance.randint(0, len(self._changes))))
        for _, change, made in self._changes[:kept]:
            _change(names, change, made)
        files = {name: _found(file, chance) for name, file in names.items()}
        return Image(files, frozenset(self._relied))


def _name(path: str) -> str:
    return PurePath(path).name


def _change(names: dict[str, _File], change: _Change, made: _File | None) -> None:
    name = _name(change.path)
    if isinstance(change, Create):
        assert made is not None
        names[name] = made
    elif isinstance(change, Remove):
        del names[name]
    elif isinstance(change, Rename):
        names[_name(change.to)] = names.pop(name)
    else:
        names[_name(change.to)] = names[name]


def _found(file: _File, chance: random.Random) -> bytes:
    acts = [act for _, act in file.pending]
    if not acts:
        return file.safe
    return chance.choice(_WAYS)(file.safe, acts, chance)


def _nothing(safe: bytes, acts: list[Write | Truncate], chance: random.Random) -> bytes:
    return safe


def _everything(safe: bytes, acts: list[Write | Truncate], chance: random.Random) -> bytes:
    return _applied(safe, acts)


def _first(safe: bytes, acts: list[Write | Truncate], chance: random.Random) -> bytes:
    return _applied(safe, acts[: chance.randint(0, len(acts))])


def _some(safe: bytes, acts: list[Write | Truncate], chance: random.Random) -> bytes:
    share = chance.random()
    return _applied(safe, [act for act in acts if chance.random() < share])


def _torn(safe: bytes, acts: list[Write | Truncate], chance: random.Random) -> bytes:
    share = chance.random()
    left: list[Write | Truncate] = []
    for act in acts:
        parts = _sectors(act) if isinstance(act, Write) else [act]
        left += [part for part in parts if chance.random() < share]
    return _applied(safe, left)


def _grown(safe: bytes, acts: list[Write | Truncate], chance: random.Random) -> bytes:
    """The file's size was written before its content: what was on the disk before shows."""
    size = len(_applied(safe, acts))
    if size <= len(safe):
        return _some(safe, acts, chance)
    garbage = chance.choice((b"\0", b"\xff", chance.randbytes(SECTOR)))
    rest = (garbage * (size - len(safe)))[: size - len(safe)]
    return _torn(safe + rest, acts, chance)


_WAYS: tuple[Callable[[bytes, list[Write | Truncate], random.Random], bytes], ...] = (
    _nothing,
    _everything,
    _first,
    _some,
    _torn,
    _grown,
)


def _sectors(write: Write) -> list[Write]:
    end = write.offset + len(write.content)
    cuts = [write.offset, *range((write.offset // SECTOR + 1) * SECTOR, end, SECTOR), end]
    return [
        Write(write.path, begin, write.content[begin - write.offset : stop - write.offset])
        for begin, stop in pairwise(cuts)
    ]


def _applied(safe: bytes, acts: list[Write | Truncate]) -> bytes:
    content = bytearray(safe)
    for act in acts:
        size = act.size if isinstance(act, Truncate) else act.offset + len(act.content)
        if isinstance(act, Truncate):
            del content[size:]
        content.extend(bytes(max(size - len(content), 0)))
        if isinstance(act, Write):
            content[act.offset : size] = act.content
    return bytes(content)
