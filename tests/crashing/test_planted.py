"""Mistakes that a crash would reveal are planted, and the matrix finds them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pytest

from astro import BaseAgent, Context, MemoryStore, PermanentError, performs, task
from astro.core.messages import Message
from astro.core.protocols import Commit, Lease, NewRun
from astro.testing import CrashMatrixError, VirtualClock, crash_matrix, note_effect
from tests.crashing.scenarios import leaf, nested, review, short

pytestmark = pytest.mark.anyio


# --- A store whose commits are two transactions --------------------------------------------------


class TwoTransactions:
    """Keeps the entries of a commit at once, and what goes with them when it is next asked.

    A process that dies in between leaves the one without the other.
    """

    def __init__(self, clock: VirtualClock) -> None:
        self._store = MemoryStore(clock=clock)
        self._rest: list[tuple[str, tuple[NewRun, ...], tuple[tuple[str, Message], ...]]] = []

    async def __aenter__(self) -> TwoTransactions:
        self._rest.clear()  # nobody is left who knows of it
        await self._store.__aenter__()
        return self

    async def __aexit__(self, *error: object) -> None:
        await self._store.__aexit__(*error)

    def __getattr__(self, name: str) -> Any:
        verb = getattr(self._store, name)

        async def perform(*args: Any, **kwargs: Any) -> Any:
            await self._finish()
            return await verb(*args, **kwargs)

        return perform

    async def commit(self, lease: Lease, commit: Commit, /) -> Lease:
        await self._finish()
        self._rest.append((lease.tenant, commit.create, commit.outgoing))
        alone = msgspec.structs.replace(commit, create=(), outgoing=())
        return await self._store.commit(lease, alone)

    async def _finish(self) -> None:
        while self._rest:
            tenant, runs, messages = self._rest.pop()
            for run in runs:
                await self._store.create(tenant, run)
            for target, message in messages:
                await self._store.post(tenant, target, message)


async def test_a_commit_that_is_two_transactions_is_found() -> None:
    with pytest.raises(CrashMatrixError, match="the run does not end"):
        await crash_matrix(nested, 1, stores=TwoTransactions)


async def test_without_what_goes_with_entries_two_transactions_are_as_good_as_one() -> None:
    assert (await crash_matrix(short, 1, stores=TwoTransactions)).deterministic


# --- Effects outside steps -----------------------------------------------------------------------


async def test_an_effect_of_an_agent_outside_a_step_is_found(tmp_path: Path) -> None:
    outbox = tmp_path / "outbox"

    class Careless(BaseAgent):
        """Writes down what it has not been asked to."""

        @performs(review)
        async def review(self, ctx: Context, text: str) -> str:
            outbox.write_text(text)
            return str(await ctx.call(leaf, len(text)))

    @task
    async def root(ctx: Context) -> str:
        return await ctx.call(review, "a text")

    with pytest.raises(CrashMatrixError, match="review did open"):
        await crash_matrix(root, parts=[Careless()])


async def test_an_effect_of_an_undo_outside_a_step_is_found() -> None:
    async def give_back(ctx: Context, booked: str | None) -> None:
        note_effect("money back")
        await ctx.call(leaf, 1)

    @task(undo=give_back)
    async def book(ctx: Context) -> str:
        return "booked"

    @task
    async def root(ctx: Context) -> None:
        await ctx.call(book)
        raise PermanentError("sold out")

    with pytest.raises(CrashMatrixError, match="money back"):
        await crash_matrix(root, parts=[book])


async def test_an_effect_in_a_run_that_was_started_is_found() -> None:
    @task
    async def child(ctx: Context) -> int:
        note_effect("mail to Ada")
        return await ctx.call(leaf, 1)

    @task
    async def root(ctx: Context) -> int:
        return await (await ctx.start(child))

    with pytest.raises(CrashMatrixError, match="child did mail to Ada"):
        await crash_matrix(root, parts=[child])
