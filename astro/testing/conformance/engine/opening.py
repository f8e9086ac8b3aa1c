"""How engines are opened for the tests, and what only some engines promise."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any, ClassVar

import anyio
import pytest

from astro.core.context import Context
from astro.core.protocols import Engine, Run, Store
from astro.core.task import task
from astro.stores.memory import MemoryStore
from astro.testing.conformance.suite import Suite

__all__ = ["EngineSuite", "Gate", "echo", "reached", "records_of"]


class EngineSuite(Suite):
    """How an engine is made, and what it promises; see `EngineConformance`."""

    promises: ClassVar[tuple[str, ...]] = ("shared", "trio")
    patience: ClassVar[timedelta] = timedelta(seconds=20)
    moment: ClassVar[timedelta] = timedelta(milliseconds=50)
    shared: ClassVar[bool] = False

    def make(self, *parts: Any, store: Store) -> AbstractAsyncContextManager[Engine]:
        """Return an engine that is not open yet.

        Args:
            parts: Tasks and agents, as they are given to `LocalEngine`.
            store: Not open; engines that are made with the same one find the same runs.
        """
        raise NotImplementedError

    def make_store(self, path: Path) -> Store:
        """Return the store of a test's engines; override it to test on another one.

        Args:
            path: An empty folder.
        """
        return MemoryStore()

    @pytest.fixture
    def store(self, tmp_path: Path) -> Store:
        return self.make_store(tmp_path)

    @asynccontextmanager
    async def opened(self, *parts: Any, store: Store) -> AsyncIterator[Engine]:
        """Open an engine and close it; a test that hangs inside fails."""
        with anyio.fail_after(self.patience.total_seconds()):
            async with self.make(*parts, store=store) as engine:
                yield engine


class Gate:
    """Called in a task, holds it until the test opens the gate; everybody passes after that."""

    def __init__(self) -> None:
        self.reached = anyio.Event()
        self._open = anyio.Event()

    async def __call__(self) -> None:
        self.reached.set()
        await self._open.wait()

    def open(self) -> None:
        """Let everybody pass."""
        self._open.set()


async def reached(run: Run[Any], kind: str, times: int = 1) -> None:
    """Return once a run has so many records of a kind; the test fails if it ends before."""
    async for record in run.records():
        times -= record.kind == kind
        if not times:
            return
    raise AssertionError(f"The run has ended without a record {kind!r}.")


async def records_of(run: Run[Any], kind: str) -> list[Any]:
    """Return the records of a kind that a run has by now."""
    return [one async for one in run.records(follow=False) if one.kind == kind]


@task(name="conformance.echo")
async def echo(ctx: Context, text: str) -> str:
    """Return what it is given; most tests need no other task."""
    return text
