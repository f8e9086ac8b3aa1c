"""The inventory: which files of a tree are worth an analysis.

Folders that hold no source of the tree's own are left out: caches, environments, installed
packages, tests. Links to folders are not followed, so that no loop can be entered. What cannot
be read is named, never raised.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from examples.audit.values import Inventory, Skipped

__all__ = ["SKIPPED_FOLDERS", "take_stock"]

SKIPPED_FOLDERS: Final = frozenset(
    {
        "__pycache__",
        "build",
        "dist",
        "dist-packages",
        "idle_test",
        "node_modules",
        "site-packages",
        "test",
        "tests",
        "venv",
    }
)
"""Names of folders that are left out; so is every folder whose name begins with a dot."""


def take_stock(root: Path, *, skipping: frozenset[str] = SKIPPED_FOLDERS) -> Inventory:
    """Return the Python files below a folder, or the one file that the root is."""
    if root.is_file():
        return Inventory(files=(root.name,))
    files: list[str] = []
    skipped: list[Skipped] = []
    for path, problem in _found(root, skipping):
        name = path.relative_to(root).as_posix()
        if problem or not _spelled(name):
            # A name that is no text has no JSON form and could not be asked for.
            shown = name.encode(errors="backslashreplace").decode()
            skipped.append(Skipped(path=shown, reason=problem or "the name is no text"))
        else:
            files.append(name)
    return Inventory(
        files=tuple(sorted(files)), skipped=tuple(sorted(skipped, key=lambda each: each.path))
    )


def _found(root: Path, skipping: frozenset[str]) -> Iterator[tuple[Path, str]]:
    """Yield each file with an empty text, and each unreadable folder or link with the reason."""
    waiting = [root]
    while waiting:
        folder = waiting.pop()
        try:
            with os.scandir(folder) as listed:
                entries = list(listed)
        except OSError as error:
            yield folder, error.strerror or type(error).__name__
            continue
        for entry in entries:
            if entry.is_dir(follow_symlinks=False):
                if entry.name not in skipping and not entry.name.startswith("."):
                    waiting.append(Path(entry.path))
            elif entry.name.endswith(".py"):
                problem = _unfit(entry)
                if problem is not None:
                    yield Path(entry.path), problem


def _unfit(entry: os.DirEntry[str]) -> str | None:
    """Return why a `.py` entry cannot be read; empty when it can, None when it is no file."""
    try:
        if entry.is_file():
            return ""
        return "a broken link" if not os.path.exists(entry.path) else None
    except OSError as error:  # a link that leads to itself
        return error.strerror or type(error).__name__


def _spelled(name: str) -> bool:
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True
