"""Undo: what was committed and is taken back when it turns out to have been in vain."""

from __future__ import annotations

import pytest

from astro.core.context import Context
from astro.core.errors import CallFailedError, RunCancelledError, RunFailedError
from astro.core.protocols import Store
from astro.core.task import Task, task
from astro.testing.conformance.engine.opening import EngineSuite, reached

__all__ = ["UndoTests"]


def _booking() -> tuple[Task[[str], str], list[str]]:
    """Return a task that can be undone, and what was done and undone."""
    log: list[str] = []

    async def give_back(ctx: Context, result: str | None, what: str) -> None:
        log.append(f"-{what} {result}")

    @task(name="conformance.book", undo=give_back)
    async def book(ctx: Context, what: str) -> str:
        log.append(f"+{what}")
        return f"no. {len(log)}"

    return book, log


class UndoTests(EngineSuite):
    """What an engine promises of undo."""

    async def test_rule_34_a_failed_run_undoes_its_calls_in_reverse(self, store: Store) -> None:
        book, log = _booking()

        @task(name="conformance.root")
        async def root(ctx: Context) -> None:
            await ctx.call(book, "flight")
            await ctx.call(book, "room")
            raise ValueError("no car")

        async with self.opened(root, book, store=store) as engine:
            with pytest.raises(RunFailedError, match="no car"):
                await engine.run(root)
        assert log == ["+flight", "+room", "-room no. 2", "-flight no. 1"]

    async def test_rule_34_a_cancelled_run_undoes_its_calls(self, store: Store) -> None:
        book, log = _booking()

        @task(name="conformance.root")
        async def root(ctx: Context) -> None:
            await ctx.call(book, "flight")
            await ctx.ask("Pay?", bool)

        async with self.opened(root, book, store=store) as engine:
            run = await engine.start(root)
            await reached(run, "asked")
            await run.cancel("too dear")
            with pytest.raises(RunCancelledError):
                await run
        assert log == ["+flight", "-flight no. 1"]

    async def test_rule_34_a_failed_call_undoes_what_it_asked_for_and_nothing_else(
        self, store: Store
    ) -> None:
        book, log = _booking()

        @task(name="conformance.trip")
        async def trip(ctx: Context) -> None:
            await ctx.call(book, "flight")
            raise ValueError("no car")

        @task(name="conformance.root")
        async def root(ctx: Context) -> str:
            await ctx.call(book, "day off")
            try:
                await ctx.call(trip)
            except CallFailedError:
                return "stay at home"
            return "travel"

        async with self.opened(root, trip, book, store=store) as engine:
            assert await engine.run(root) == "stay at home"
        assert log == ["+day off", "+flight", "-flight no. 2"]

    async def test_a_run_that_succeeds_undoes_nothing(self, store: Store) -> None:
        book, log = _booking()

        @task(name="conformance.root")
        async def root(ctx: Context) -> str:
            return await ctx.call(book, "flight")

        async with self.opened(root, book, store=store) as engine:
            assert await engine.run(root) == "no. 1"
        assert log == ["+flight"]
