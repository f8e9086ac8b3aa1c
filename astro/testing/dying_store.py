"""A store whose user dies: from a chosen commit on, nothing of it reaches the store beneath.

This is what a crash of the engine's process looks like to the store: the commit was applied or was
not, nobody hears of it, nothing is released.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import anyio

from astro.core.errors import StoreUnavailableError
from astro.core.protocols import Commit, Lease

__all__ = ["DyingStore"]


class DyingStore:
    """A store, as long as its user lives.

    Args:
        store: What everything goes to until then.
        at: Number of the commit at which the user dies, from 1; None lives.
        applied: Whether that commit is still applied.
        die: Ends the process; without it only this store is cut off.

    Attributes:
        commits: How many there were.
        died: Set when it has happened.
    """

    def __init__(
        self,
        store: Any,
        *,
        at: int | None = None,
        applied: bool = False,
        die: Callable[[], None] | None = None,
    ) -> None:
        self._store = store
        self._at = at
        self._applied = applied
        self._end = die
        self.commits = 0
        self.died = anyio.Event()

    async def __aenter__(self) -> DyingStore:
        await self._store.__aenter__()
        return self

    async def __aexit__(self, *error: object) -> bool | None:
        result: bool | None = await self._store.__aexit__(*error)
        return result

    def __getattr__(self, name: str) -> Any:
        verb = getattr(self._store, name)
        if not callable(verb):
            return verb

        async def perform(*args: Any, **kwargs: Any) -> Any:
            self._require_life()
            return await verb(*args, **kwargs)

        return perform

    async def commit(self, lease: Lease, commit: Commit, /) -> Lease:
        """Commit, or die before or after it."""
        self._require_life()
        self.commits += 1
        last = self.commits == self._at
        if last and not self._applied:
            self._die()
        after: Lease = await self._store.commit(lease, commit)
        if last:
            self._die()
        return after

    def _die(self) -> None:
        if self._end is not None:
            self._end()
        self.died.set()
        self._require_life()

    def _require_life(self) -> None:
        if self.died.is_set():
            raise StoreUnavailableError(
                "The process that used this store is dead.", remedy="Go on in another one."
            )
