"""Listing: which runs a query asks for."""

from __future__ import annotations

import json
from typing import Any

from astro.core.protocols import Page, RunQuery, RunSummary
from astro.core.records import State
from astro.stores.admission import admit_page
from astro.stores.sqlite import statements as sql
from astro.stores.sqlite.readers import Readers
from astro.stores.sqlite.rows import summary_of

__all__ = ["list_runs"]

_TROUBLED = frozenset({State.FAILED, State.CANCELLED})


async def list_runs(readers: Readers, tenant: str, query: RunQuery, now: int) -> Page[RunSummary]:
    """Return a page of runs, newest first."""
    conditions, parameters = _asked(tenant, query)
    limit = max(query.limit, 0)
    rows = await readers.fetch(sql.listing(conditions), (*parameters, limit + 1))
    items = tuple(summary_of(tenant, row, now) for row in rows[:limit])
    more = len(rows) > limit and bool(items)
    return Page(items=items, next=str(rows[limit - 1][0]) if more else None)


def _asked(tenant: str, query: RunQuery) -> tuple[list[str], list[Any]]:
    conditions, parameters = ["tenant = ?"], [tenant]

    def also(condition: str, *values: Any) -> None:
        conditions.append(condition)
        parameters.extend(values)

    before = admit_page(query.after)
    if before is not None:
        also("number < ?", before)
    if query.ids is not None:
        also("id in (select value from json_each(?))", json.dumps(sorted(query.ids)))
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
