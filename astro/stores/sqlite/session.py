"""A session: everything that a store has open, from opening to closing.

It lives in a task of its own, which belongs to the store and not to whoever opened it: opening in
one task and closing in another works, no caller's cancellation reaches a connection, and when an
event loop ends without closing the store, the end of that task closes it. Connections that are
not closed would keep the interpreter from exiting, as their threads are no daemons.
"""

from __future__ import annotations

import asyncio
from datetime import timedelta
from pathlib import Path
from typing import Final

from astro.core.clock import Clock
from astro.core.errors import StoreUnavailableError
from astro.stores.sqlite import statements as sql
from astro.stores.sqlite import verbs
from astro.stores.sqlite.life import SignsOfLife
from astro.stores.sqlite.locking import FileLock
from astro.stores.sqlite.opening import admit_path, create_file
from astro.stores.sqlite.operations import settled
from astro.stores.sqlite.readers import Readers
from astro.stores.sqlite.writer import Writer

__all__ = ["Session"]

_LOOK: Final = 1.0  # seconds between looks for owners that are gone


class Session:
    """The lock, the writer and the readers of an open store.

    Attributes:
        writer: Takes what changes the store.
        readers: Take what reads it.
        version: What `pragma data_version` gave the writer last.
    """

    def __init__(
        self,
        path: Path,
        *,
        synchronous: str,
        clock: Clock,
        readers: int,
        lock_timeout: timedelta,
        patience: timedelta,
    ) -> None:
        self._path = path
        self._patience = patience
        self._clock = clock
        self._looked: float | None = None
        self._lock = FileLock(path.with_name(path.name + ".lock"), timeout=lock_timeout)
        self.writer = Writer(
            path, lock=self._lock, synchronous=synchronous, clock=clock, patience=patience
        )
        self.readers = Readers(path, count=readers)
        self._life_signs = SignsOfLife(path.with_name(path.name + ".lock"))
        self.version: object = None
        loop = asyncio.get_running_loop()
        self._opened: asyncio.Future[None] = loop.create_future()
        self._life = loop.create_task(self._live(), name=f"store {path.name}")

    async def open(self) -> None:
        """Return when the store is open.

        Raises:
            StoreError: It cannot be opened; nothing is left open.
        """
        try:
            await settled(self._opened)
        except asyncio.CancelledError:
            await self.close()
            raise
        except BaseException:
            await settled(self._life)
            raise

    async def close(self) -> None:
        """Finish what was asked for, then close everything.

        Raises:
            StoreUnavailableError: The disk does not answer.
        """
        self.writer.stop()
        waiting = asyncio.ensure_future(
            asyncio.wait({self._life}, timeout=self._patience.total_seconds())
        )
        await settled(waiting)
        if not self._life.done():
            raise StoreUnavailableError(
                f"The store {self._path} could not be closed: its disk does not answer.",
                remedy="Look at the disk; whatever was acknowledged is safe.",
            )
        self._life.result()

    async def show_life(self, owner: str) -> None:
        """Let an owner be seen to live; once in a while, end the leases of those who do not."""
        self._life_signs.show(owner)
        now = self._clock.monotonic()
        if self._looked is not None and now - self._looked < _LOOK:
            return
        self._looked = now
        for (other,) in await self.readers.fetch(sql.OWNERS, ()):
            if self._life_signs.gone(other):
                await self.writer.submit(verbs.EXPIRE, value=other).truth()

    async def _live(self) -> None:
        try:
            await self._open()
            self._opened.set_result(None)
            await self.writer.run()
        except BaseException as error:
            if self._opened.done():
                raise
            self._opened.set_exception(error)
        finally:
            await self.readers.close()
            await self.writer.close()
            self._lock.close()
            self._life_signs.close()

    async def _open(self) -> None:
        admit_path(self._path)
        self._lock.open()
        async with self._lock.held():
            create_file(self._path)
            self.version = await self.writer.open()
            await self.readers.open()
