"""The agents: who lists, reads, remembers and writes."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from pathlib import Path
from typing import Self, TypeAlias

import anyio
from anyio import to_thread

from astro import Agent, BaseAgent, Context, agent, performs
from examples.audit.desk import Desk, DeskLostError, open_desk
from examples.audit.history import compare
from examples.audit.inventory import take_stock
from examples.audit.page import write_page
from examples.audit.report import write_report
from examples.audit.values import (
    Audit,
    Comparison,
    FileFacts,
    Inventory,
    Source,
    TreeSummary,
)
from examples.audit.workflow import analyse, compare_with_previous, list_files, write_reports

__all__ = ["Analyst", "Desks", "Historian", "Recall", "Reporter", "stocktaker", "team"]

Desks: TypeAlias = Callable[[], AbstractAsyncContextManager[Desk]]
"""Opens a desk."""

Recall: TypeAlias = Callable[[str], Awaitable[Audit | None]]
"""Returns the result of the newest finished audit of a root, if there is one."""


def team(*, analysts: int, folder: Path, recall: Recall) -> Sequence[Agent]:
    """Return everyone an audit needs."""
    pool = [Analyst(name=f"analyst-{number}") for number in range(1, analysts + 1)]
    return (stocktaker, *pool, Historian(recall), Reporter(folder))


@agent(list_files, cost=0.1)
async def stocktaker(ctx: Context, root: str) -> Inventory:
    """Walks through the folders."""
    return await to_thread.run_sync(take_stock, Path(root))


class Analyst(BaseAgent):
    """Reads files at a desk of its own; one that a file has broken is replaced."""

    def __init__(self, *, name: str, desks: Desks = open_desk) -> None:
        super().__init__(name=name)
        self._desks = desks
        self._stack = AsyncExitStack()
        self._desk: Desk | None = None
        self._turn = anyio.Lock()

    async def __aenter__(self) -> Self:
        self._desk = await self._stack.enter_async_context(self._desks())
        return self

    async def __aexit__(self, *error: object) -> None:
        await self._stack.aclose()

    @performs(analyse)
    async def analyse(self, ctx: Context, source: Source) -> FileFacts:
        """Read a file; what has broken a second desk is a fact of the file."""
        async with self._turn:
            if self._desk is None or not self._desk.usable:
                await self._stack.aclose()
                self._desk = await self._stack.enter_async_context(self._desks())
            try:
                return await self._desk.read(source)
            except DeskLostError as error:
                if ctx.attempt == 1:
                    raise
                return FileFacts(path=source.path, problem=str(error))


class Historian(BaseAgent):
    """Remembers earlier audits, which it is given a way to look up."""

    cost = 0.1

    def __init__(self, recall: Recall) -> None:
        super().__init__(name="historian")
        self._recall = recall

    @performs(compare_with_previous)
    async def compare(self, ctx: Context, root: str, summary: TreeSummary) -> Comparison | None:
        """Compare a tree with what it was."""
        previous = await self._recall(root)
        return None if previous is None else compare(previous.summary, summary)


class Reporter(BaseAgent):
    """Writes reports into a folder."""

    def __init__(self, folder: Path) -> None:
        super().__init__(name="reporter")
        self._folder = anyio.Path(folder)

    @performs(write_reports)
    async def write(
        self, ctx: Context, summary: TreeSummary, comparison: Comparison | None, page: bool
    ) -> tuple[str, ...]:
        """Write what was asked for; writing it twice changes nothing."""
        texts = {"report.md": write_report(summary, comparison)}
        if page:
            texts["report.html"] = write_page(summary, comparison)
        await self._folder.mkdir(parents=True, exist_ok=True)
        for name, text in texts.items():
            # Half a report is worse than yesterday's.
            draft = self._folder / f".{name}.draft"
            await draft.write_text(text, encoding="utf-8")
            await draft.replace(self._folder / name)
        return tuple(texts)
