"""Admission: what every store refuses before it does anything.

A bad record is refused to the one who brings it, so that it can never refuse the commits of
others that travel in the same group. Also here is what stores must agree on about blobs: their
names, and which entries refer to them.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from hashlib import blake2b
from typing import Final

from astro.core.errors import CodecError
from astro.core.messages import Message
from astro.core.protocols import Commit, Lease, NewRun
from astro.core.records import Entry

__all__ = [
    "MAX_ENTRIES",
    "MAX_ENTRY",
    "admit_commit",
    "admit_message",
    "admit_names",
    "admit_page",
    "admit_run",
    "blob_name",
    "blobs_named",
]

MAX_ENTRIES: Final = 2**28 - 1
"""Entries that one run may have."""

MAX_ENTRY: Final = 64 * 1024 * 1024
"""Characters that the body of one entry may have."""

_HASH: Final = 32  # characters of an entry's hash

# Record fields that hold the name of a blob; the encoder writes no spaces.
_BLOB: Final = re.compile(r'"(?:blob|workflow)":"([0-9a-f]{64})"')


def admit_names(*names: str | None) -> None:
    """Refuse names that a store cannot keep as they are.

    Raises:
        CodecError: A name contains NUL (which SQLite's JSON functions would cut off, so that it
            names somebody else's run) or is not valid Unicode.
    """
    for name in names:
        if name is None or (name.isascii() and "\0" not in name):
            continue
        if "\0" in name:
            raise _refused(f"the name {name[:40]!r} contains NUL")
        _admit_text(name)


def admit_commit(lease: Lease, commit: Commit) -> None:
    """Refuse a commit that no store can keep.

    Raises:
        CodecError: Its entries do not follow the lease, have another token than it, or are too
            large or no valid Unicode; or it creates one run twice.
    """
    if not commit.entries:
        raise _refused("it has no entries")
    _admit_entries(commit.entries, after=lease.seq)
    for entry in commit.entries:
        if entry.token != lease.token:
            raise _refused(f"entry {entry.seq} was not encoded for token {lease.token}")
    if commit.create:
        _admit_children(lease.tenant, commit.create)
    for target, message in commit.outgoing:
        admit_names(target)
        admit_message(message)
    for result in commit.remember:
        admit_names(result.key)


def admit_run(tenant: str, run: NewRun) -> None:
    """Refuse a new run that no store can keep.

    Raises:
        CodecError: Its names or entries cannot be kept.
    """
    admit_names(
        tenant, run.id, run.task, run.fingerprint, run.key, run.namespace, run.parent, run.source
    )
    _admit_entries((run.entry, *run.entries), after=0)


def admit_message(message: Message) -> None:
    """Refuse a message that no store can keep.

    Raises:
        CodecError: Its `once` cannot be kept.
    """
    admit_names(message.once)


def admit_page(after: str | None) -> int | None:
    """Return where a page begins, as a number.

    Raises:
        CodecError: It was not a `Page.next`.
    """
    if after is None:
        return None
    if not (after.isascii() and after.isdigit() and len(after) < 19):
        raise _refused(f"{after[:40]!r} is not where a page begins")
    return int(after)


def blob_name(content: bytes) -> str:
    """Return the name of a blob: BLAKE2b, 32 bytes, hexadecimal."""
    return blake2b(content, digest_size=32).hexdigest()


def blobs_named(entries: Iterable[Entry]) -> frozenset[str]:
    """Return the names of the blobs that entries refer to.

    A text that only looks like a reference keeps a blob longer than necessary, nothing worse.
    """
    found: list[str] = []
    for entry in entries:
        # Two searches for a word cost a tenth of what the pattern costs.
        if '"blob":"' in entry.body or '"workflow":"' in entry.body:
            found += _BLOB.findall(entry.body)
    return frozenset(found)


def _admit_children(tenant: str, runs: tuple[NewRun, ...]) -> None:
    ids = {run.id for run in runs}
    keys = [(run.namespace, run.key) for run in runs if run.key is not None]
    if len(ids) < len(runs) or len(set(keys)) < len(keys):
        raise _refused("it creates one run twice")
    for run in runs:
        admit_run(tenant, run)


def _admit_entries(entries: tuple[Entry, ...], *, after: int) -> None:
    if after + len(entries) > MAX_ENTRIES:
        raise _refused(f"no run may have more than {MAX_ENTRIES:,} entries")
    for entry in entries:
        after += 1
        if entry.seq != after:
            raise _refused(f"it has entry {entry.seq} where {after} belongs")
        if len(entry.hash) != _HASH or not 0 <= entry.token < 2**63:
            raise _refused(f"entry {after} has no proper hash or token")
        if len(entry.body) > MAX_ENTRY:
            raise _refused(f"entry {after} has {len(entry.body):,} characters")
        if not entry.body.isascii():
            _admit_text(entry.body)


def _admit_text(text: str) -> None:
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise _refused(f"it contains text that is not valid Unicode: {error.reason}") from error


def _refused(reason: str) -> CodecError:
    return CodecError(
        f"The store cannot keep this: {reason}.",
        remedy="Mend what was given; nothing has been written.",
    )
