"""Refusals: what SQLite's errors mean to those who use a store, and what helps."""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import Final

from astro.core.errors import (
    CodecError,
    JournalCorruptError,
    SchemaTooNewError,
    StoreBusyError,
    StoreError,
    StoreFullError,
    StoreUnavailableError,
)
from astro.stores.sqlite.schema import VERSION

__all__ = ["concerns_one", "newer_schema", "poisons", "refusal"]

_FREE: Final = "Free some space; whatever was acknowledged is safe, and nothing else was kept."
_BACKUP: Final = "Restore the store from a backup; 'astro doctor' tells what is damaged."

# Primary result codes: https://sqlite.org/rescode.html
_KINDS: Final[dict[int, tuple[type[StoreError], str]]] = {
    sqlite3.SQLITE_FULL: (StoreFullError, _FREE),
    sqlite3.SQLITE_BUSY: (
        StoreBusyError,
        "Another program writes to the file without ASTRO's lock; end it.",
    ),
    sqlite3.SQLITE_LOCKED: (StoreBusyError, "Try again."),
    sqlite3.SQLITE_READONLY: (
        StoreUnavailableError,
        "Make the file and its folder writable for this user.",
    ),
    sqlite3.SQLITE_CANTOPEN: (
        StoreUnavailableError,
        "Check that the folder exists and that this user may write in it.",
    ),
    sqlite3.SQLITE_PERM: (StoreUnavailableError, "Check the permissions of the file."),
    sqlite3.SQLITE_IOERR: (
        StoreUnavailableError,
        "Check the disk and its limits; whatever was acknowledged is safe.",
    ),
    sqlite3.SQLITE_NOMEM: (StoreUnavailableError, "Give the process more memory."),
    sqlite3.SQLITE_PROTOCOL: (StoreBusyError, "Try again."),
    sqlite3.SQLITE_INTERRUPT: (StoreUnavailableError, "Try again."),
    sqlite3.SQLITE_CORRUPT: (JournalCorruptError, _BACKUP),
    sqlite3.SQLITE_NOTADB: (JournalCorruptError, _BACKUP),
}
_ONE: Final = frozenset(
    {
        sqlite3.SQLITE_CONSTRAINT,
        sqlite3.SQLITE_MISMATCH,
        sqlite3.SQLITE_TOOBIG,
        sqlite3.SQLITE_RANGE,
        sqlite3.SQLITE_ERROR,
    }
)
_POISON: Final = frozenset(
    {sqlite3.SQLITE_IOERR, sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_CANTOPEN}
)


def _code(error: BaseException) -> int:
    return int(getattr(error, "sqlite_errorcode", 0)) & 0xFF


def concerns_one(error: Exception) -> bool:
    """Tell whether one operation is to blame, so that others of its group can go on without it."""
    if isinstance(error, sqlite3.Error):
        return _code(error) in _ONE or not _code(error)
    return not isinstance(error, OSError)


def poisons(error: BaseException) -> bool:
    """Tell whether a connection cannot be relied on any more after an error."""
    return _code(error) in _POISON


def refusal(error: Exception, path: Path) -> Exception:
    """Return what is raised to the caller instead of an error of SQLite."""
    if not isinstance(error, (sqlite3.Error, OverflowError, UnicodeError)):
        return error
    kind, remedy = _KINDS.get(
        _code(error),
        (CodecError, "Mend what was given; nothing has been written."),
    )
    return kind(f"The store {path} refused: {error}.", remedy=remedy)


def newer_schema(path: Path, version: int) -> SchemaTooNewError:
    """Return the error for a file of a newer ASTRO."""
    return SchemaTooNewError(
        f"A newer ASTRO wrote {path}: its schema is {version}, this one knows {VERSION}.",
        remedy="Upgrade ASTRO here, or restore the backup from before the other's upgrade.",
    )
