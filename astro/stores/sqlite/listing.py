"""Listing: which runs a query asks for."""

from __future__ import annotations

import json
from functools import partial
from typing import Any, Final

from astro.core.protocols import Page, RunQuery, RunSummary
from astro.core.records import State
from astro.stores.admission import admit_number, admit_page, findable
from astro.stores.sqlite import statements as sql
from astro.stores.sqlite.readers import Readers
from astro.stores.sqlite.reports import Reports
from astro.stores.sqlite.rows import summary_of

__all__ = ["list_runs"]

_TROUBLED = frozenset({State.FAILED, State.CANCELLED})
_MOST: Final = 2**31  # rows that anybody can mean


async def list_runs(
    readers: Readers, reports: Reports, tenant: str, query: RunQuery, now: int
) -> Page[RunSummary]:
    """Return a page of runs, newest first, without those whose rows are damaged.

    Raises:
        JournalCorruptError: One run was asked for, and its row is damaged.
    """
    admit_number("limit", query.limit)
    conditions, parameters = _asked(tenant, query)
    if not findable(tenant, query.task, query.key, query.parent):
        return Page(items=())
    limit = min(max(query.limit, 0), _MOST)
    rows = await readers.fetch(sql.listing(conditions), (*parameters, limit + 1))
    summary = partial(summary_of, tenant, now=now)
    if query.ids is not None and len(query.ids) == 1:
        items = [summary(row) for row in rows[:limit]]
    else:
        items = reports.read(summary, rows[:limit])
    more = 0 < limit < len(rows)
    return Page(items=tuple(items), next=str(rows[limit - 1][0]) if more else None)


def _asked(tenant: str, query: RunQuery) -> tuple[list[str], list[Any]]:
    conditions, parameters = ["tenant = ?"], [tenant]

    def also(condition: str, *values: Any) -> None:
        conditions.append(condition)
        parameters.extend(values)

    before = admit_page(query.after)
    if before is not None:
        also("number < ?", before)
    if query.ids is not None:
        # JSON functions would cut a name off at NUL, so that it is another run's.
        known = json.dumps(sorted(filter(findable, query.ids)))
        also("id in (select value from json_each(?))", known)
    if query.states is not None:
        also("state in (select value from json_each(?))", json.dumps(sorted(query.states)))
        # Partial indices are used only when their condition is spelled out.
        if query.states <= _TROUBLED:
            also("state in ('failed', 'cancelled')")
        elif not any(state.terminal for state in query.states):
            also("phase < 3")
    if query.task is not None:
        also("task = ?", query.task)
    if query.key is not None:
        also(
            "id in (select run from keys where tenant = ? and namespace = '' and key = ?)",
            tenant,
            query.key,
        )
    if query.parent is not None:
        also("parent = ?", query.parent)
    if query.unfinished:
        also("phase < 3")
    return conditions, parameters
