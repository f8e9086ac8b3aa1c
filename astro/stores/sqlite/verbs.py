"""The verbs of a store, as operations that its writer performs."""

from __future__ import annotations

from typing import Any, Final

import aiosqlite
import attrs
import msgspec

from astro.core.errors import (
    AlreadyAnsweredError,
    BudgetExceededError,
    KeyConflictError,
    LeaseLostError,
    RunFinishedError,
    RunNotFoundError,
)
from astro.core.ledger import require_room
from astro.core.protocols import NewRun
from astro.stores.sqlite import statements as sql
from astro.stores.sqlite.operations import Alone, Batched, Operation
from astro.stores.sqlite.rows import account_of, lease_of

__all__ = [
    "ALLOW",
    "CLAIM",
    "COMMIT",
    "CREATE",
    "EXPIRE",
    "POST",
    "PUT",
    "RELEASE",
    "RENEW",
    "RESERVE",
    "VERSION",
    "Claiming",
]


async def _first(
    db: aiosqlite.Connection, statement: str, parameters: Any
) -> tuple[object, ...] | None:
    rows = await db.execute_fetchall(statement, parameters)
    return next(iter(rows), None)  # type: ignore[return-value]  # rows are tuples


# --- Runs ------------------------------------------------------------------------------------


async def _explain_create(db: aiosqlite.Connection, operation: Operation) -> object:
    """Return the id of the run that exists already, or what is wrong about it."""
    tenant, run = operation.value
    found = await _find(db, tenant, run)
    if found is None:
        return RunNotFoundError(run.id)  # not reached: nothing else refuses a new run
    if found[0] != run.fingerprint:
        return KeyConflictError(run.key or run.id, found[1])
    return found[1]


async def _find(db: aiosqlite.Connection, tenant: str, run: NewRun) -> tuple[str, str] | None:
    found = await _first(
        db,
        sql.FIND,
        {"tenant": tenant, "namespace": run.namespace, "key": run.key, "id": run.id},
    )
    return None if found is None else (str(found[0]), str(found[1]))


CREATE: Final = Batched("create", sql.CREATE, _explain_create)
"""Gives None for a run that was created, or the id of the run that was meant."""


# --- Commits ---------------------------------------------------------------------------------


async def _explain_commit(db: aiosqlite.Connection, operation: Operation) -> object:
    """Return None if the commit is in the journal already, or say that its lease is lost."""
    lease, commit = operation.value
    head = await _first(db, sql.HEAD, (lease.tenant, lease.run))
    if head == (commit.entries[-1].hash,):
        return None
    return LeaseLostError(lease.owner, lease.run)


async def _blame_commit(db: aiosqlite.Connection, operation: Operation) -> Exception | None:
    lease, commit = operation.value
    for run in commit.create:
        found = await _find(db, lease.tenant, run)
        if found is not None and found != (run.fingerprint, run.id):
            return KeyConflictError(run.key or run.id, found[1])
    return None


COMMIT: Final = Batched(
    "commit",
    sql.COMMIT,
    _explain_commit,
    apart=True,
    single=sql.COMMIT_ONE,
    blame=_blame_commit,
)


# --- Messages --------------------------------------------------------------------------------


async def _explain_post(db: aiosqlite.Connection, operation: Operation) -> object:
    tenant, run = operation.thing
    standing = await _first(db, sql.STANDING, (tenant, run))
    if standing is None:
        return RunNotFoundError(run)
    if standing[0] == 3:
        return RunFinishedError(run, str(standing[1]))
    return AlreadyAnsweredError(
        f"Run {run} takes no answer any more: it has one, or its time is over.",
        remedy=f"Look at the run: astro show {run}",
    )


POST: Final = Batched("post", sql.POST, _explain_post)


# --- Leases ----------------------------------------------------------------------------------


async def _explain_release(db: aiosqlite.Connection, operation: Operation) -> object:
    return None


RELEASE: Final = Batched("release", sql.RELEASE, _explain_release)


@attrs.define(kw_only=True)
class Claiming:
    """What a claim asks for.

    Attributes:
        offers: JSON list of names of tasks.
        duration: Microseconds.
        last: The tenant that was served last; the claim sets it.
    """

    owner: str
    offers: str
    limit: int
    duration: int
    last: str


async def _claim(db: aiosqlite.Connection, operation: Operation, now: int) -> object:
    asked: Claiming = operation.value
    await db.execute_fetchall(sql.ADVANCE, {"now": now})
    rows = await db.execute_fetchall(
        sql.TAKE,
        {
            "owner": asked.owner,
            "offers": asked.offers,
            "limit": asked.limit,
            "until": now + asked.duration,
            "last": asked.last,
        },
    )
    # SQLite returns updated rows in no promised order.
    taken = sorted(rows, key=lambda row: (-row[6], row[8]))
    served: dict[str, int] = {}
    for row in taken:
        served[row[0]] = served.get(row[0], 0) + 1
    if served:
        rounds = max(served.values())
        last = [tenant for tenant, count in served.items() if count == rounds]
        asked.last = max(last, key=lambda tenant: (tenant <= asked.last, tenant))
    return now, tuple(lease_of(row, asked.owner) for row in taken)


CLAIM: Final = Alone("claim", _claim, bare=True)
"""Gives the time and the leases. Its two statements need no transaction: the first only notes
what time has made true already."""


async def _renew(db: aiosqlite.Connection, operation: Operation, now: int) -> object:
    owner, duration = operation.value
    rows = await db.execute_fetchall(sql.RENEW, {"owner": owner, "until": now + duration})
    return list(rows)


RENEW: Final = Alone("renew", _renew, bare=True)


async def _expire(db: aiosqlite.Connection, operation: Operation, now: int) -> object:
    await db.execute_fetchall(sql.EXPIRE, {"owner": operation.value, "now": now})
    return None


EXPIRE: Final = Alone("expire", _expire, bare=True)


# --- Budgets ---------------------------------------------------------------------------------


async def _allow(db: aiosqlite.Connection, operation: Operation, now: int) -> object:
    tenant, budget = operation.value
    caps = {} if budget is None else attrs.asdict(budget)
    await db.execute_fetchall(
        sql.DISALLOW if budget is None else sql.ALLOW, {"tenant": tenant} | caps
    )
    return None


ALLOW: Final = Alone("allow", _allow, bare=True)


async def _reserve(db: aiosqlite.Connection, operation: Operation, now: int) -> object:
    lease, name, amount = operation.value
    run = await _first(db, sql.FENCED, (lease.tenant, lease.run, lease.token))
    if run is None:
        return LeaseLostError(lease.owner, lease.run)
    where = {"tenant": lease.tenant, "run": run[0], "name": name}
    found = await _first(db, f"{sql.ACCOUNTS} where tenant = :tenant", where)
    if found is not None:
        reserved = await _first(db, sql.RESERVED, where)
        try:
            require_room(lease.tenant, account_of(found, reserved or ()), amount)
        except BudgetExceededError as error:
            return error
    row = where | msgspec.structs.asdict(amount) | {"token": lease.token}
    await db.execute_fetchall(sql.RESERVE, row | {"money": float(amount.money)})
    return None


RESERVE: Final = Alone("reserve", _reserve)


# --- Others ----------------------------------------------------------------------------------


async def _put(db: aiosqlite.Connection, operation: Operation, now: int) -> object:
    tenant, name, content = operation.value
    await db.execute_fetchall(sql.PUT, (tenant, name, now, content))
    return None


PUT: Final = Alone("put", _put, bare=True)


async def _version(db: aiosqlite.Connection, operation: Operation, now: int) -> object:
    return next(iter(await db.execute_fetchall("pragma data_version")))[0]


VERSION: Final = Alone("version", _version, bare=True)
"""Gives a number that changes when another connection has changed the file."""
