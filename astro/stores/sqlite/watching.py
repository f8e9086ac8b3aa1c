"""Watching: how those who wait at a store hear of news from their own process and from others."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Final

import anyio

from astro.core.errors import StoreError
from astro.stores.bell import Bell
from astro.stores.sqlite import statements as sql
from astro.stores.sqlite import verbs
from astro.stores.sqlite.rows import micros, moment
from astro.stores.sqlite.session import Session

__all__ = ["wait_for_news"]

_LAST: Final = micros(datetime.max.replace(tzinfo=UTC))  # a damaged row may say a later one
_POLL: Final = 0.05  # seconds between looks for the changes of other processes


async def wait_for_news(session: Session, bell: Bell, *, timeout: timedelta) -> None:
    """Return when the bell rings, something falls due, the file changes, or time is up."""
    if bell.news():
        await bell.wait(timeout=timeout)
        return
    after = {"after": micros(bell.since())}
    ((due,),) = await session.readers.fetch(sql.NEXT_DUE, after)
    async with anyio.create_task_group() as group:
        group.start_soon(_look, session, bell)
        await bell.wait(timeout=timeout, due=None if due is None else moment(min(due, _LAST)))
        group.cancel_scope.cancel()


async def _look(session: Session, bell: Bell) -> None:
    """Ring when another process, or another store on the same file, has changed it.

    Only the writer's connection can tell: it alone does not count what this store writes.
    """
    while True:
        try:
            operation = session.writer.submit(verbs.VERSION)
            await operation.waiter  # it only reads, so nobody needs the outcome when cancelled
            version = operation.outcome()
        except StoreError:
            bell.ring()  # whoever waits claims next, and learns what is the matter
            return
        if version != session.version:
            session.version = version
            bell.ring()
        await anyio.sleep(_POLL)
