"""Refusing: what the verbs of a live context do not take, for doubles of it to refuse as well.

A test that passes with what an engine refuses is worse than none.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from astro.core.codec import clean_text, codec_of, json_schema, to_json
from astro.core.errors import CodecError, InvalidArgumentsError
from astro.core.records import SpentRecord

__all__ = [
    "moment_after",
    "require_branch",
    "require_limit",
    "require_question",
    "require_spendable",
]

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def moment_after(given: object, now: datetime, *, verb: str) -> datetime:
    """Return the moment that a duration or a moment means.

    Raises:
        InvalidArgumentsError: It is neither, or there is no such moment.
    """
    if isinstance(given, datetime) and verb == "sleep":
        if given.utcoffset() is None:
            raise InvalidArgumentsError(
                "The moment to sleep until has no time zone.", remedy="Use datetime.now(UTC)."
            )
        return given
    if not isinstance(given, timedelta):
        types = "a timedelta or a datetime" if verb == "sleep" else "a timedelta"
        raise InvalidArgumentsError(
            f"The {verb} {given!r:.60} is not {types}.",
            remedy="Write timedelta(hours=1), for example.",
        )
    try:
        return now + given
    except OverflowError as error:
        raise InvalidArgumentsError(
            f"The {verb} of {given} ends at no date of the calendar.",
            remedy="Choose a shorter one.",
        ) from error


def require_limit(limit: object) -> None:
    """Return if so many calls can be in flight at the same moment.

    Raises:
        InvalidArgumentsError: It is no number from 1.
    """
    if type(limit) is not int or limit < 1:
        raise InvalidArgumentsError(
            f"The limit {limit!r:.60} is no number of calls at a time.",
            remedy="Pass a whole number from 1, or leave it out.",
        )


def require_question(kind: object) -> None:
    """Return if people can be asked for a value of a type.

    Raises:
        CodecError: It has no JSON, or no schema that whoever answers could see.
    """
    codec_of(kind)
    json_schema(kind)


def require_spendable(money: float, tokens: int) -> None:
    """Return if the amounts can be counted.

    Raises:
        CodecError: One is negative, infinite, or no number.
    """
    to_json([money, tokens])
    SpentRecord(seq=1, at=_EPOCH, call="spend", money=money, tokens=tokens)


def require_branch(name: str) -> None:
    """Return if a branch can have a name.

    Raises:
        CodecError: It is empty, or no text that can be kept.
    """
    if clean_text(name, what="name of a branch") == "":
        raise CodecError(
            "An empty text is no name of a branch.", remedy="Name it: ctx.branch('left')."
        )
