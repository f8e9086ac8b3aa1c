"""The workflow: what an audit asks for, in which order. Who does it is in `agents`.

Every call below is answered from the journal when the code runs again after a crash, so that the
code reads as if nothing could happen to it.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Final

import attrs

from astro import Context, NeedsAgentError, Retry, task
from examples.audit.summary import summarise
from examples.audit.values import Audit, Comparison, FileFacts, Inventory, Source, TreeSummary
from examples.audit.wording import counted

__all__ = ["Order", "analyse", "audit", "compare_with_previous", "list_files", "write_reports"]

_AT_ONCE: Final = 16  # files that are under analysis at the same moment


@attrs.frozen(kw_only=True)
class Order:
    """What is audited.

    Attributes:
        root: The folder, or the one file.
        title: What people call it.
        patience: Seconds to wait for somebody's answer.
    """

    root: str
    title: str
    patience: float = 1.0


@task(needs_agent=True)
async def list_files(ctx: Context, root: str) -> Inventory:
    """Find the files that are worth an analysis."""
    raise NeedsAgentError("list_files")


@task(needs_agent=True, retry=Retry(attempts=2, first=timedelta(milliseconds=50)))
async def analyse(ctx: Context, source: Source) -> FileFacts:
    """Learn all there is to know of one file."""
    raise NeedsAgentError("analyse")


@task(needs_agent=True)
async def compare_with_previous(ctx: Context, root: str, summary: TreeSummary) -> Comparison | None:
    """Say what has changed since the previous audit of a tree, if there was one."""
    raise NeedsAgentError("compare_with_previous")


@task(needs_agent=True)
async def write_reports(
    ctx: Context, summary: TreeSummary, comparison: Comparison | None, page: bool
) -> tuple[str, ...]:
    """Write the reports and return the names of their files."""
    raise NeedsAgentError("write_reports")


@task
async def audit(ctx: Context, order: Order) -> Audit:
    """Audit a tree of Python files."""
    inventory = await ctx.call(list_files, order.root)
    ctx.emit("files", len(inventory.files))
    sources = [Source(root=order.root, path=path) for path in inventory.files]
    facts = await ctx.map(analyse, sources, limit=_AT_ONCE)
    summary = summarise(
        facts,
        title=order.title,
        at=ctx.now("audited").isoformat(timespec="seconds"),
        skipped=inventory.skipped,
    )
    comparison = await ctx.call(compare_with_previous, order.root, summary)
    page = await ctx.ask(
        f"{counted(summary.whole.findings, 'finding')} in {counted(summary.whole.files, 'file')}. "
        "Write the page with pictures, too?",
        bool,
        timeout=timedelta(seconds=order.patience),
        default=True,
    )
    reports = await ctx.call(write_reports, summary, comparison, page)
    return Audit(summary=summary, comparison=comparison, reports=reports)
