"""Opening: connections, the pragmas that make them safe, and the schema.

Whoever calls this holds the file lock: opening recovers what a crash left in the WAL.
"""

from __future__ import annotations

import errno
import os
import sqlite3
from collections.abc import Sequence
from contextlib import suppress
from datetime import timedelta
from os import PathLike
from pathlib import Path
from typing import Any, Final

import aiosqlite

from astro.core.errors import StoreUnavailableError
from astro.stores.sqlite.refusals import newer_schema, refusal
from astro.stores.sqlite.schema import APPLICATION, VERSION, script

__all__ = [
    "admit_path",
    "close_quietly",
    "create_file",
    "named",
    "open_reader",
    "open_writer",
    "schema_of",
]

_OLDEST: Final = (3, 38, 0)
_TOLD: Final = 200  # characters of a path that an error repeats
_READER_BUSY: Final = timedelta(seconds=5)  # readers wait only for the recovery of a crash

_SAFE: Final = ("trusted_schema = off", "cell_size_check = on", "temp_store = memory")
_WRITER: Final = (
    *_SAFE,
    "wal_autocheckpoint = 0",
    "journal_size_limit = 67108864",
    # On macOS, without these, "synced" means "given to the disk's own cache".
    "fullfsync = on",
    "checkpoint_fullfsync = on",
)
_READER: Final = (*_SAFE, "query_only = on")


def admit_path(path: Path) -> None:
    """Refuse what cannot be opened as a store.

    Raises:
        StoreUnavailableError: It cannot be; names the remedy.
    """
    if sqlite3.sqlite_version_info < _OLDEST:
        raise StoreUnavailableError(
            f"SQLite {sqlite3.sqlite_version} is too old; 3.38 is the oldest that will do.",
            remedy="Use a Python that brings a newer SQLite.",
        )
    if not _is_folder(path.parent):
        raise StoreUnavailableError(
            f"There is no folder {path.parent} for the store {path.name}.",
            remedy=f"Create it: mkdir -p {path.parent}",
        )
    if _is_folder(path):
        raise StoreUnavailableError(
            f"{path} is a folder.", remedy="Name a file in it, as in runs.db."
        )


def named(path: str | PathLike[str]) -> Path:
    """Return the file that a path names.

    Raises:
        StoreUnavailableError: It does not name one.
        TypeError: It is no path.
    """
    name = str(path)
    if name in ("", ":memory:") or name.startswith("file:"):
        raise StoreUnavailableError(
            f"{name!r} does not name a file.",
            remedy="Name a file, or use MemoryStore for what need not outlive the process.",
        )
    try:
        os.fsencode(name)
    except UnicodeEncodeError:
        name = "\0"  # no system can have it either
    if "\0" in name:
        raise StoreUnavailableError(
            f"{str(path)[-_TOLD:]!r} does not name a file: no name has NUL or lone surrogates.",
            remedy="Name a file, as in runs.db.",
        )
    return Path(path).absolute()


def _is_folder(path: Path) -> bool:
    """Tell whether a path is a folder, without opening it if it is a database."""
    try:
        os.close(os.open(path, os.O_RDONLY | os.O_DIRECTORY))
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError as error:
        if error.errno in (errno.ENAMETOOLONG, errno.ELOOP):
            raise StoreUnavailableError(
                f"The store {str(path)[-_TOLD:]!r} cannot be opened: {error.strerror}.",
                remedy="Give it another name, as runs.db.",
            ) from error
        return True  # one that may not be listed
    return True


def create_file(path: Path) -> None:
    """Create the file, for this user only, if there is none.

    Raises:
        StoreUnavailableError: It cannot be created.
    """
    try:
        # Only ever with O_EXCL: closing a database that somebody has open drops SQLite's locks.
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600))
    except FileExistsError:
        pass
    except OSError as error:
        raise StoreUnavailableError(
            f"The store {path} cannot be created: {error.strerror}.",
            remedy="Check the permissions of the folder.",
        ) from error


async def open_writer(path: Path, *, synchronous: str, busy: timedelta) -> aiosqlite.Connection:
    """Open the connection that writes, and bring the schema up to date.

    Args:
        busy: How long to wait for programs that do not know the file lock.

    Raises:
        StoreError: The file cannot be opened, is damaged, or is of a newer ASTRO.
    """
    db = await _connect(path, "rw", busy)
    try:
        await _set(db, (*_WRITER, f"synchronous = {synchronous}"))
        await _admit_file(db, path)
        mode = await _ask(db, "pragma journal_mode = wal")
        if mode != "wal":
            raise StoreUnavailableError(
                f"The file system of {path} does not support SQLite's WAL mode.",
                remedy="Keep the store on a local disk, not on a network file system.",
            )
        version = await schema_of(db)
        if version < VERSION:
            await db.executescript(script(version))
    except BaseException as error:
        await close_quietly(db)
        if isinstance(error, sqlite3.Error):
            raise refusal(error, path) from error
        raise
    return db


async def open_reader(path: Path) -> aiosqlite.Connection:
    """Open a connection that only reads.

    Raises:
        StoreError: The file cannot be opened.
    """
    db = await _connect(path, "ro", _READER_BUSY)
    try:
        await _set(db, _READER)
    except BaseException as error:
        await close_quietly(db)
        if isinstance(error, sqlite3.Error):
            raise refusal(error, path) from error
        raise
    return db


async def schema_of(db: aiosqlite.Connection) -> int:
    """Return the number of a file's schema."""
    return int(await _ask(db, "pragma user_version"))


async def close_quietly(db: aiosqlite.Connection) -> None:
    """Close a connection; its thread ends even if the file makes trouble."""
    with suppress(sqlite3.Error, ValueError):
        await db.close()


async def _connect(path: Path, mode: str, busy: timedelta) -> aiosqlite.Connection:
    try:
        return await aiosqlite.connect(
            f"{path.as_uri()}?mode={mode}",
            uri=True,
            isolation_level=None,
            timeout=busy.total_seconds(),
        )
    except sqlite3.Error as error:
        raise refusal(error, path) from error


async def _admit_file(db: aiosqlite.Connection, path: Path) -> None:
    """Refuse a file of a newer ASTRO, or of another application, before anything changes it."""
    version = await schema_of(db)
    if version > VERSION:
        raise newer_schema(path, version)
    tables = await _ask(db, "select count(*) from sqlite_schema")
    if tables and await _ask(db, "pragma application_id") != APPLICATION:
        raise StoreUnavailableError(
            f"{path} is a database of another application.",
            remedy="Give the store a file of its own.",
        )


async def _set(db: aiosqlite.Connection, pragmas: Sequence[str]) -> None:
    for pragma in pragmas:
        await db.execute_fetchall(f"pragma {pragma}")


async def _ask(db: aiosqlite.Connection, statement: str) -> Any:
    return next(iter(await db.execute_fetchall(statement)))[0]
