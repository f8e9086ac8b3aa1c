"""Fields: single values of a definition, from what people write to what is kept, and back."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from datetime import timedelta
from typing import Any, Final

from astro.core.errors import InvalidArgumentsError, nearest
from astro.core.policy import LONGEST, Budget, OnFailure, Priority, Retry
from astro.core.references import Fixed, expression

__all__ = [
    "as_budget",
    "as_count",
    "as_duration",
    "as_fixed",
    "as_names",
    "as_on_failure",
    "as_priority",
    "as_retry",
    "as_text",
    "spell_budget",
    "spell_duration",
    "spell_retry",
]

_UNITS: Final = {"ms": 0.001, "s": 1, "m": 60, "h": 3_600, "d": 86_400}
_AMOUNT: Final = re.compile(r"\s*(\d{1,12}(?:\.\d{1,6})?)\s*(ms|s|m|h|d)")
_RETRY: Final = ("attempts", "factor", "first", "fresh", "jitter", "max")
_BUDGET: Final = ("calls", "money", "time", "tokens")


def _refused(problem: str, remedy: str) -> InvalidArgumentsError:
    return InvalidArgumentsError(problem, remedy=remedy)


def as_text(value: object) -> str:
    """Return text.

    Raises:
        InvalidArgumentsError: It is something else; so do the others here.
    """
    if not isinstance(value, str):
        raise _refused(f"{value!r:.60} is no text.", "Quote it.")
    return value


def as_names(value: object) -> list[str]:
    """Return a list of names."""
    if not isinstance(value, list) or not all(isinstance(one, str) for one in value):
        raise _refused(f"{value!r:.60} is no list of names.", "Write [first, second].")
    return value


def as_count(value: object) -> int:
    """Return a number from 1."""
    if type(value) is not int or value < 1:
        raise _refused(f"{value!r:.60} is no positive whole number.", "Write 1 or more.")
    return value


def as_duration(value: object) -> timedelta:
    """Return a positive duration, of seconds as a number or of text like `1h30m`."""
    seconds = math.nan
    if isinstance(value, int | float) and not isinstance(value, bool):
        seconds = value
    elif isinstance(value, str):
        found = _AMOUNT.findall(value)
        if not _AMOUNT.sub("", value).strip():
            seconds = sum(float(amount) * _UNITS[unit] for amount, unit in found)
    if not 0 < seconds <= LONGEST.total_seconds():
        cap = " of at most a thousand years" if seconds > 0 else ""
        raise _refused(
            f"{value!r:.60} is no duration{cap}.", "Write seconds, or 30s, 5m, 1h30m, 2d."
        )
    return timedelta(seconds=seconds)


def spell_duration(duration: timedelta) -> int | float:
    """Return seconds, a whole number where they are one."""
    seconds = duration.total_seconds()
    return int(seconds) if seconds.is_integer() else seconds


def as_fixed(value: object) -> Fixed:
    """Return a value without references."""
    found = expression(value)
    if not isinstance(found, Fixed):
        raise _refused("A default refers to nothing.", "Write a value; {{{{ is two braces.")
    return found


def as_on_failure(value: object) -> OnFailure:
    """Return what a failure means."""
    if value not in tuple(OnFailure):
        raise _refused(
            f"{value!r:.60} is none of fail, skip and default.", "Write one of these three."
        )
    return OnFailure(str(value))


def as_priority(value: object) -> int:
    """Return a priority, given as a word or a number."""
    words = {one.name.lower(): one for one in Priority}
    if isinstance(value, str) and value.lower() in words:
        return int(words[value.lower()])
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    hint = nearest(value, words) if isinstance(value, str) else ""
    raise _refused(f"{value!r:.60} is no priority.{hint}", f"Use {', '.join(words)} or a number.")


def as_retry(value: object) -> Retry:
    """Return a retry policy, given as a number of attempts or as its fields."""
    form: object = {"attempts": value} if type(value) is int else value
    given = _mapping(form, _RETRY, "retry policy")
    durations = {key: given[key] for key in ("first", "max") if key in given}
    try:
        for key, one in durations.items():
            given[key] = timedelta(0) if one == 0 else as_duration(one)
        return Retry(**given)
    except InvalidArgumentsError:
        raise
    except (TypeError, ValueError) as error:
        raise _refused(
            f"It is no retry policy: {_first_words(error)}.",
            f"Write a number of attempts, or a mapping with {', '.join(_RETRY)}.",
        ) from error


def spell_retry(retry: Retry) -> dict[str, Any]:
    """Return the fields of a retry policy."""
    return {
        "attempts": retry.attempts,
        "factor": float(retry.factor),
        "first": spell_duration(retry.first),
        "fresh": retry.fresh,
        "jitter": float(retry.jitter),
        "max": spell_duration(retry.max),
    }


def as_budget(value: object) -> Budget:
    """Return a budget, given as an amount of money or as its fields."""
    is_money = isinstance(value, int | float) and not isinstance(value, bool)
    given = _mapping({"money": value} if is_money else value, _BUDGET, "budget")
    if given.get("time") is not None:
        given["time"] = as_duration(given["time"])
    try:
        return Budget(**given)
    except (TypeError, ValueError) as error:
        raise _refused(
            f"It is no budget: {_first_words(error)}.",
            f"Write an amount of money, or a mapping with {', '.join(_BUDGET)}.",
        ) from error


def spell_budget(budget: Budget) -> dict[str, Any]:
    """Return the fields of a budget that are limits."""
    fields = {key: getattr(budget, key) for key in _BUDGET}
    if budget.money is not None:
        fields["money"] = float(budget.money)
    if budget.time is not None:
        fields["time"] = spell_duration(budget.time)
    return {key: value for key, value in fields.items() if value is not None}


def _mapping(value: object, known: tuple[str, ...], what: str) -> dict[str, Any]:
    if not isinstance(value, Mapping):
        raise _refused(f"{value!r:.60} is no {what}.", f"Its keys are {', '.join(known)}.")
    for key in value:
        if key not in known:
            hint = nearest(str(key), known)
            raise _refused(f"{key!r} is no part of a {what}.{hint}", f"Use {', '.join(known)}.")
    return dict(value)


def _first_words(error: Exception) -> str:
    """Return the sentence of an error of attrs, which carries more than that."""
    return str(error.args[0]) if error.args else type(error).__name__
