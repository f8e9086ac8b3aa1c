"""Admission: what an engine may be built of, and what its verbs may be given.

Whatever means nothing is refused at the door, where the caller still stands, with the remedy.
Parts of other makers are admitted by shape: they have the verbs of their protocol.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import timedelta
from typing import Any, Final

from astro.core.codec import clean_text
from astro.core.errors import CodecError, InvalidArgumentsError
from astro.core.policy import LONGEST, Budget, Limits
from astro.core.protocols import RunQuery
from astro.core.records import State

__all__ = [
    "admit_amounts",
    "admit_budget",
    "admit_parts",
    "admit_performer",
    "admit_query",
    "admit_seq",
    "admit_times",
]

_STORE: Final = (
    "create", "claim", "renew", "release", "commit", "post", "inbox", "read", "runs", "tenants",
    "recall", "wait", "put", "fetch",
)  # fmt: skip
_LONGEST_NAME: Final = 200  # characters of the name of an engine
_ZERO: Final = timedelta(0)


def _refused(problem: str, remedy: str) -> InvalidArgumentsError:
    return InvalidArgumentsError(problem, remedy=remedy)


# --- Engines -----------------------------------------------------------------------------------


def admit_parts(
    store: object,
    sandbox: object,
    router: object,
    retrying: object,
    clock: object,
    ids: object,
    chance: object,
    observers: object,
) -> None:
    """Return if these can be parts of an engine; None stands for what was left out.

    Raises:
        InvalidArgumentsError: One is of the wrong kind; so do the others here.
    """
    _admit_part("store", store, _STORE)
    for what, part, verbs in (
        ("sandbox", sandbox, ("check", "open")),
        ("router", router, ("choose",)),
        ("retrying", retrying, ("delay",)),
        ("clock", clock, ("now", "monotonic", "sleep")),
        ("ids", ids, ("new",)),
        ("chance", chance, ("getrandbits", "random")),
    ):
        if part is not None:
            _admit_part(what, part, verbs)
    if isinstance(observers, str) or not isinstance(observers, Iterable):
        raise _refused(f"observers={observers!r:.60} is no list.", "Pass a list of observers.")
    for observer in observers:
        _admit_part("observer", observer, ("observe",))


def admit_amounts(budget: object, limits: object, blob_size: object, name: object) -> None:
    """Return if these limit and name an engine; None stands for what was left out."""
    admit_budget(budget)
    if limits is not None and not isinstance(limits, Limits):
        raise _refused(f"limits={limits!r:.60} are no limits.", "Pass Limits(attempts=...).")
    if type(blob_size) is not int or blob_size < 0:
        raise _refused(f"blob_size={blob_size!r:.60} is no number of bytes.", "Pass an int.")
    if name is not None:
        try:
            clean_text(name, what="name of an engine", cap=_LONGEST_NAME)
        except CodecError as error:
            raise _refused(error.problem, error.remedy) from error


def admit_times(**times: object) -> None:
    """Return if these are durations that an engine can count with; a lease is never zero."""
    for what, value in times.items():
        if not isinstance(value, timedelta):
            raise _refused(f"{what}={value!r:.60} is no duration.", "Write timedelta(seconds=...).")
        if value < _ZERO or (value == _ZERO and what == "lease_for"):
            raise _refused(f"{what}={value} is too short.", "Pass a longer time.")
        if value > LONGEST:
            raise _refused(f"{what}={value} is too long.", "Pass at most a thousand years.")


def _admit_part(argument: str, part: object, verbs: Sequence[str]) -> None:
    missing = [verb for verb in verbs if not callable(getattr(part, verb, None))]
    if missing or isinstance(part, type):
        what = "is a class" if isinstance(part, type) else f"has no {', '.join(missing[:3])}"
        raise _refused(
            f"{part!r:.60} is no {argument}: it {what}.",
            f"Pass an instance that does what the protocol of a {argument} says; see "
            "astro.core.protocols.",
        )


# --- Single values -----------------------------------------------------------------------------


def admit_budget(budget: object) -> None:
    """Return if a value is a budget or None."""
    if budget is not None and not isinstance(budget, Budget):
        raise _refused(f"budget={budget!r:.60} is none.", "Write Budget(money=5), for example.")


def admit_performer(agent: Any) -> tuple[float, int | None]:
    """Return the cost and the limit of an agent."""
    cost, limit = getattr(agent, "cost", 1.0), getattr(agent, "limit", None)
    number = isinstance(cost, int | float) and not isinstance(cost, bool)
    if not number or not 0 < cost < float("inf"):
        raise _refused(
            f"The agent {agent.name!r} has a cost of {cost!r:.60}.",
            "Give it a finite number above 0.",
        )
    if limit is not None and (type(limit) is not int or limit < 1):
        raise _refused(
            f"The agent {agent.name!r} has a limit of {limit!r:.60}.",
            "Give it a whole number from 1, or None for no limit.",
        )
    return float(cost), limit


def admit_seq(seq: object, *, use: str) -> None:
    """Return if a value can be the number of a record."""
    if type(seq) is not int:
        raise _refused(f"{seq!r:.60} is no record {use}.", "Pass the `seq` of a record.")


# --- Questions ---------------------------------------------------------------------------------


def admit_query(
    *, limit: object, after: object, unfinished: object, task: object, key: object, states: object
) -> RunQuery:
    """Return which runs are meant.

    Raises:
        InvalidArgumentsError: An argument is of the wrong kind.
        CodecError: There is no such place in the list of runs.
    """
    if type(limit) is not int or not -(2**63) <= limit < 2**63:
        raise _refused(f"limit={limit!r:.60} is no number of runs.", "Pass a whole number.")
    if after is not None and not isinstance(after, str):
        raise CodecError(f"{after!r:.60} is not where a page begins.", remedy="Pass `Page.next`.")
    if not isinstance(unfinished, bool):
        raise _refused(f"unfinished={unfinished!r:.60} is no answer.", "Pass True or False.")
    for argument, text in (("task", task), ("key", key)):
        if text is not None and not isinstance(text, str):
            raise _refused(f"{argument}={text!r:.60} is no text.", "Pass a name.")
    return RunQuery(
        limit=limit,
        after=after,
        unfinished=unfinished,
        task=task,  # type: ignore[arg-type]  # checked by the loop
        key=key,  # type: ignore[arg-type]  # checked by the loop
        states=None if states is None else _states(states),
    )


def _states(given: object) -> frozenset[State]:
    known = f"Pass a set of states: {', '.join(State)}."
    if isinstance(given, str) or not isinstance(given, Iterable):
        raise _refused(f"states={given!r:.60} is no set of states.", known)
    found: set[State] = set()
    for one in given:
        try:
            found.add(State(one))
        except ValueError as error:
            raise _refused(f"{one!r:.60} is no state.", known) from error
    return frozenset(found)
