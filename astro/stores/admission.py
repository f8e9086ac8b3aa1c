"""Admission: what every store refuses before it does anything.

A bad record is refused to the one who brings it, so that it can never refuse the commits of
others that travel in the same group. What one kind of store cannot keep, none takes. Also here is
what stores must agree on about blobs: their names, and which entries refer to them.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta
from hashlib import blake2b
from typing import Any, Final

import msgspec

from astro.core.errors import CodecError
from astro.core.ledger import Usage
from astro.core.messages import Message, decode_message, encode_message
from astro.core.policy import LONGEST, Budget
from astro.core.protocols import Commit, Lease, NewRun
from astro.core.records import Entry, State

__all__ = [
    "MAX_ENTRIES",
    "MAX_ENTRY",
    "admit_budget",
    "admit_commit",
    "admit_duration",
    "admit_message",
    "admit_moment",
    "admit_names",
    "admit_number",
    "admit_page",
    "admit_run",
    "admit_usage",
    "blob_name",
    "blobs_named",
    "findable",
    "following",
    "require_durations",
]

MAX_ENTRIES: Final = 2**28 - 1
"""Entries that one run may have."""

MAX_ENTRY: Final = 64 * 1024 * 1024
"""Characters that the body of one entry may have."""

_HASH: Final = 32  # characters of an entry's hash
_ID: Final = re.compile(r"[0-9a-f]{32}")
_NUMBERS: Final = range(-(2**63), 2**63)  # what SQLite keeps in a cell

# Record fields that hold the name of a blob; the encoder writes no spaces.
_BLOB: Final = re.compile(r'"(?:blob|workflow)":"([0-9a-f]{64})"')


def admit_names(*names: str | None) -> None:
    """Refuse names that a store cannot keep as they are.

    Raises:
        CodecError: A name is no text, contains NUL (which SQLite's JSON functions would cut off,
            so that it names somebody else's run) or is not valid Unicode.
    """
    for name in names:
        if name is None:
            continue
        if not isinstance(name, str):
            raise _refused(f"{name!r:.60} is no name")
        if "\0" in name:
            raise _refused(f"the name {name[:40]!r} contains NUL")
        if not name.isascii():
            _admit_text(name)


def findable(*names: str | None) -> bool:
    """Tell whether there can be anything by these names: only `admit_names` lets one in."""
    try:
        admit_names(*names)
    except CodecError:
        return False
    return True


def admit_commit(lease: Lease, commit: Commit) -> None:
    """Refuse a commit that no store can keep.

    Raises:
        CodecError: Its entries do not follow the lease, have another token than it, or are too
            large or no valid Unicode; it creates one run twice; or what it says beside its
            entries is of the wrong kind.
    """
    if not commit.entries:
        raise _refused("it has no entries")
    admit_names(lease.tenant, lease.run)
    _admit_entries(commit.entries, after=lease.seq)
    for entry in commit.entries:
        if entry.token != lease.token:
            raise _refused(f"entry {entry.seq} was not encoded for token {lease.token}")
    _admit_state(commit.state)
    admit_moment("wake_at", commit.wake_at)
    if commit.needs:
        _admit_needs(commit.needs)
    if commit.used is not None:
        admit_usage(commit.used)
    if commit.reserved:
        admit_names(*commit.reserved)
    if commit.create:
        _admit_children(lease.tenant, commit.create)
    for target, message in commit.outgoing:
        admit_names(target)
        admit_message(message)
    for result in commit.remember:
        admit_names(result.key)
        admit_moment("until", result.until)
        _decoded(result.result)


def admit_run(tenant: str, run: NewRun) -> None:
    """Refuse a new run that no store can keep.

    Raises:
        CodecError: Its names, its entries or what else it says cannot be kept.
    """
    admit_names(
        tenant, run.id, run.task, run.fingerprint, run.key, run.namespace, run.parent, run.source
    )
    if not _ID.fullmatch(run.id):
        raise _refused(f"the id {run.id!r:.60} is not 32 hexadecimal digits")
    _admit_state(run.state)
    admit_number("priority", run.priority)
    admit_moment("wake_at", run.wake_at)
    admit_moment("deadline", run.deadline)
    admit_moment("created_at", run.created_at)
    _admit_entries((run.entry, *run.entries), after=0)


def admit_message(message: Message) -> None:
    """Refuse a message that no store can keep, or that nobody could read again.

    Raises:
        CodecError: It is none, or a part of it is of the wrong kind.
    """
    if not isinstance(message, Message):
        raise _refused(f"{message!r:.60} is no message")
    admit_names(message.once)
    admit_moment("not_after", message.not_after)
    try:
        raw = encode_message(message)
    except UnicodeEncodeError as error:
        raise _no_unicode(error) from error
    except TypeError as error:
        raise _refused(f"the message has no JSON: {error}") from error
    try:
        decode_message(_decoded(raw))
    except (msgspec.MsgspecError, RecursionError) as error:
        raise _refused(f"the message could not be read again: {error}") from error


def admit_moment(what: str, moment: datetime | None) -> None:
    """Refuse a moment that is not the same one everywhere.

    Raises:
        CodecError: It is none, has no time zone, or is out of reach of UTC.
    """
    if moment is None:
        return
    if not isinstance(moment, datetime):
        raise _refused(f"{what} is {moment!r:.60}, which is no moment")
    if moment.tzinfo is UTC:
        return
    if moment.utcoffset() is None:
        raise _refused(f"{what} has no time zone, as datetime.now(UTC) has")
    try:
        moment.astimezone(UTC)
    except OverflowError as error:
        raise _refused(f"{what} is out of reach: {error}") from error


def admit_duration(what: str, duration: timedelta) -> None:
    """Refuse a duration that leads out of the calendar.

    Raises:
        CodecError: It is none, or longer than a thousand years.
    """
    if not isinstance(duration, timedelta):
        raise _refused(f"{what} is {duration!r:.60}, which is no timedelta")
    if abs(duration) > LONGEST:
        raise _refused(f"{what} is more than a thousand years: {duration}")


def require_durations(**said: timedelta) -> None:
    """Return if arguments of a constructor are durations from no time to a thousand years.

    Raises:
        TypeError: One is no duration.
        ValueError: One is negative or too long.
    """
    for what, duration in said.items():
        if not isinstance(duration, timedelta):
            raise TypeError(f"{what} is a timedelta, not {duration!r:.60}")
        if not timedelta() <= duration <= LONGEST:
            raise ValueError(f"{what} is from no time to a thousand years, not {duration}")


def admit_number(what: str, number: int) -> None:
    """Refuse what is no whole number of 64 bits.

    Raises:
        CodecError: It is none.
    """
    if not isinstance(number, int) or isinstance(number, bool) or number not in _NUMBERS:
        raise _refused(f"{what} is {number!r:.60}, which is no whole number of 64 bits")


def admit_usage(amount: Usage) -> None:
    """Refuse an amount that nobody can use.

    Raises:
        CodecError: It is none, negative, or no number.
    """
    if not isinstance(amount, Usage):
        raise _refused(f"{amount!r:.60} is no usage")
    admit_number("tokens", amount.tokens)
    admit_number("calls", amount.calls)
    money: Any = amount.money
    if not isinstance(money, (int, float)) or isinstance(money, bool) or not _is_finite(money):
        raise _refused(f"money is {money!r:.60}, which is no amount")
    if money < 0 or amount.tokens < 0 or amount.calls < 0:
        raise _refused("it would use a negative amount")


def admit_budget(budget: Budget | None) -> None:
    """Refuse what is no budget.

    Raises:
        CodecError: It is none.
    """
    if budget is not None and not isinstance(budget, Budget):
        raise _refused(f"{budget!r:.60} is no budget")


def admit_page(after: str | None) -> int | None:
    """Return where a page begins, as a number.

    Raises:
        CodecError: It was not a `Page.next`.
    """
    if after is None:
        return None
    text = isinstance(after, str)
    if not (text and after.isascii() and after.isdigit() and len(after) < 19):
        raise _refused(f"{after!r:.60} is not where a page begins")
    return int(after)


def following(lease: Lease, commit: Commit) -> Lease:
    """Return the lease that follows a commit."""
    last = commit.entries[-1]
    return Lease(
        tenant=lease.tenant,
        run=lease.run,
        task=lease.task,
        owner=lease.owner,
        token=lease.token,
        seq=last.seq,
        head=last.hash,
        priority=lease.priority,
    )


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


def _admit_state(state: State) -> None:
    if not isinstance(state, State):
        raise _refused(f"{state!r:.60} is no state")


def _admit_needs(needs: Mapping[str, str]) -> None:
    if not isinstance(needs, Mapping):
        raise _refused(f"needs is {needs!r:.60}, which is no mapping")
    for text in (*needs, *needs.values()):
        if not isinstance(text, str):
            raise _refused(f"needs has {text!r:.60}, which is no text")
        _admit_text(text)


def _admit_text(text: str) -> None:
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise _no_unicode(error) from error


def _decoded(raw: bytes) -> str:
    """Return bytes of JSON as the text that is kept."""
    try:
        return raw.decode()
    except UnicodeDecodeError as error:
        raise _no_unicode(error) from error


def _is_finite(money: float) -> bool:
    try:
        return math.isfinite(money)
    except OverflowError:  # an integer beyond all floats
        return False


def _no_unicode(error: UnicodeError) -> CodecError:
    reason = getattr(error, "reason", error)
    return _refused(f"it contains text that is not valid Unicode: {reason}")


def _refused(reason: str) -> CodecError:
    return CodecError(
        f"The store cannot keep this: {reason}.",
        remedy="Mend what was given; nothing has been written.",
    )
