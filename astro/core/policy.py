"""Policies: how often, how long, how urgent, how much; all of them data.

A policy never acts. `decisions` reads it, the engine acts on what was decided.
"""

from __future__ import annotations

import math
import sys
from datetime import datetime, timedelta
from enum import IntEnum, StrEnum
from typing import Any, Final

import attrs
from attrs.validators import and_, deep_mapping, ge, gt, instance_of, le, lt, optional

from astro.core.errors import InvalidArgumentsError

__all__ = [
    "EXPENSE",
    "LASTING",
    "LONGEST",
    "POSITIVE",
    "URGENCY",
    "Budget",
    "Effect",
    "Limits",
    "OnFailure",
    "Priority",
    "Retry",
    "RunOptions",
    "exception_classes",
    "misuse",
]

LONGEST: Final = timedelta(days=365_000)
"""A thousand years: every moment so far from now is still a date."""

_ZERO = timedelta(0)


def exception_classes(owner: object, attribute: Any, value: object) -> None:
    """Validate that an attribute is a tuple of exception classes.

    Raises:
        TypeError: It is something else.
    """
    if not isinstance(value, tuple) or not all(
        isinstance(one, type) and issubclass(one, Exception) for one in value
    ):
        raise TypeError(f"{attribute.name!r} must be a tuple of exception classes: {value!r}")


def _no_bool(owner: object, attribute: Any, value: object) -> None:
    """Validate that a number is none of the two that are answers."""
    if isinstance(value, bool):
        raise TypeError(f"{attribute.name!r} must be a number, not {value!r}")


def _moment(owner: object, attribute: Any, value: object) -> None:
    """Validate that a moment is the same one everywhere."""
    if isinstance(value, datetime) and value.utcoffset() is None:
        raise ValueError(f"{attribute.name!r} must have a time zone, as datetime.now(UTC) has")
    if isinstance(value, timedelta) and abs(value) > LONGEST:
        raise ValueError(f"{attribute.name!r} must be at most a thousand years: {value}")


# attrs types validators as untyped callables.
_NUMBER: Any = and_(instance_of((int, float)), _no_bool)
_AMOUNT: Any = and_(_NUMBER, ge(0.0), le(sys.float_info.max))
_WHOLE: Any = and_(instance_of(int), _no_bool)
_COUNT: Any = and_(_WHOLE, ge(0), lt(2**63))
_DURATION: Any = and_(instance_of(timedelta), ge(_ZERO))

EXPENSE: Final[Any] = and_(_NUMBER, gt(0.0), lt(math.inf))
"""Validates costs, which are compared with each other."""

POSITIVE: Final[Any] = and_(_WHOLE, ge(1))
"""Validates numbers of things, from 1."""

URGENCY: Final[Any] = and_(_WHOLE, ge(-(2**63)), lt(2**63))
"""Validates priorities: what every store can keep."""

LASTING: Final[Any] = and_(instance_of(timedelta), gt(_ZERO), le(LONGEST))
"""Validates durations after which something ends."""


def misuse(whose: str, error: Exception, *, remedy: str) -> InvalidArgumentsError:
    """Return the error for an option that a validator has refused; says which, and why."""
    reason = str(error.args[0] if error.args else error).removesuffix(".")
    short = reason if len(reason) <= _LONG else f"{reason[:_LONG]}…"
    return InvalidArgumentsError(f"An option of {whose} is wrong: {short}.", remedy=remedy)


_LONG: Final = 400  # characters of a reason: attrs repeats what it was given


class Priority(IntEnum):
    """How urgent a run or a call is; any other integer between them is fine too."""

    LOW = 10
    MEDIUM = 20
    HIGH = 30
    CRITICAL = 40


class Effect(StrEnum):
    """What a task does to the world outside the store.

    `READ` may be asked again by a new attempt of its caller; `WRITE` is committed with its
    result; of the others the start is committed before the body runs.
    """

    READ = "read"
    WRITE = "write"
    IRREVERSIBLE = "irreversible"
    SPEND = "spend"
    EXECUTE = "execute"


class OnFailure(StrEnum):
    """What a workflow does when a node fails for good."""

    FAIL = "fail"
    SKIP = "skip"
    DEFAULT = "default"


@attrs.frozen(kw_only=True)
class Retry:
    """How often a failed call is tried again, and after what time.

    The wait before attempt n + 1 is `first * factor ** (n - 1)`, at most `max`, lengthened by
    chance by at most `jitter` of itself. An error with a `retry_after` attribute (a timedelta
    or seconds) waits at least that long.

    Attributes:
        attempts: Attempts in total; 1 means no second try.
        jitter: Share of the wait, 0 to 1.
        on: Error classes worth another attempt; an `AstroError` also has to be retryable.
        fresh: Whether a new attempt forgets what the earlier one has committed.
    """

    attempts: int = attrs.field(default=3, validator=POSITIVE)
    first: timedelta = attrs.field(default=timedelta(seconds=1), validator=_DURATION)
    factor: float = attrs.field(default=2.0, validator=[_NUMBER, ge(1.0), lt(math.inf)])
    max: timedelta = attrs.field(default=timedelta(minutes=1), validator=_DURATION)
    jitter: float = attrs.field(default=0.1, validator=[_NUMBER, ge(0.0), lt(1.0000001)])
    on: tuple[type[Exception], ...] = attrs.field(default=(Exception,), validator=exception_classes)
    fresh: bool = attrs.field(default=False, validator=instance_of(bool))


@attrs.frozen(kw_only=True)
class Budget:
    """How much a run and all it calls may use; None is no limit.

    Attributes:
        money: In the currency the application counts in.
        tokens: Tokens of language models, in and out.
        calls: Attempts that are dispatched.
        time: Wall time from the run's start.
    """

    money: float | None = attrs.field(default=None, validator=optional(_AMOUNT))
    tokens: int | None = attrs.field(default=None, validator=optional(_COUNT))
    calls: int | None = attrs.field(default=None, validator=optional(_COUNT))
    time: timedelta | None = attrs.field(
        default=None, validator=optional(and_(_DURATION, le(LONGEST)))
    )


@attrs.frozen(kw_only=True)
class Limits:
    """How much one engine takes on at once.

    Attributes:
        attempts: Attempts that run at the same moment; waiting ones do not count.
        runs: Runs the engine owns at the same moment.
        pending: Runs of one engine that were submitted and not yet finished; `start` waits
            beyond it (back-pressure). Submissions from inside a run never wait.
        tasks: Attempts at the same moment by task name.
        age: How long a waiting call waits until it counts one step of priority more.
    """

    attempts: int = attrs.field(default=1_000, validator=POSITIVE)
    runs: int = attrs.field(default=1_000, validator=POSITIVE)
    pending: int = attrs.field(default=10_000, validator=POSITIVE)
    tasks: dict[str, int] = attrs.field(
        factory=dict, validator=deep_mapping(instance_of(str), POSITIVE, instance_of(dict))
    )
    age: timedelta = attrs.field(default=timedelta(seconds=1), validator=LASTING)


@attrs.frozen(kw_only=True)
class RunOptions:
    """What a caller may say about a run, beside the arguments of its task.

    Attributes:
        key: A name of the caller's choice; the same key is always the same run.
        deadline: When the run is given up: a moment, or a duration from its start.
        strict: Whether divergence waits for a person before anything new happens.
    """

    tenant: str = attrs.field(default="default", validator=instance_of(str))
    key: str | None = attrs.field(default=None, validator=optional(instance_of(str)))
    priority: int = attrs.field(default=Priority.MEDIUM, validator=URGENCY)
    budget: Budget | None = attrs.field(default=None, validator=optional(instance_of(Budget)))
    deadline: datetime | timedelta | None = attrs.field(
        default=None, validator=optional(and_(instance_of((datetime, timedelta)), _moment))
    )
    strict: bool = attrs.field(default=False, validator=instance_of(bool))
