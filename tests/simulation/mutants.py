"""Mutants: functions of ASTRO with one thing changed, as copies that only a test sees."""

from __future__ import annotations

import inspect
import textwrap
from collections.abc import Callable
from datetime import datetime
from typing import Any

import anyio
import msgspec

from astro.core.protocols import Commit, Lease
from astro.core.records import State
from astro.testing.faulty_store import FaultyStore

__all__ = ["ForgetsItsState", "NeverReleases", "TwoTransactions", "mutated"]


def mutated(function: Callable[..., Any], old: str, new: str) -> Any:
    """Return a copy of a function in whose source a text is replaced, which must be there once."""
    source = textwrap.dedent(inspect.getsource(function))
    assert source.count(old) == 1, f"{function.__qualname__} has changed: mend the mutant"
    code = compile(
        "from __future__ import annotations\n" + source.replace(old, new), "mutant", "exec"
    )
    made: dict[str, Any] = {}
    exec(code, function.__globals__, made)
    return made[function.__name__]


class TwoTransactions(FaultyStore):
    """Commits the results first, and in a second transaction what follows from them."""

    async def commit(self, lease: Lease, commit: Commit, /) -> Lease:
        send = self.__getattr__("commit")
        if len(commit.entries) < 2:
            return await send(lease, commit)
        first = Commit(entries=commit.entries[:-1], state=State.RUNNING, wake_at=commit.wake_at)
        lease = await send(lease, first)
        await anyio.sleep(0.1)
        return await send(lease, msgspec.structs.replace(commit, entries=commit.entries[-1:]))


class ForgetsItsState(FaultyStore):
    """Lets a run that is being undone go on as if it were not."""

    async def commit(self, lease: Lease, commit: Commit, /) -> Lease:
        if commit.state is State.UNDOING and lease.seq % 2:
            commit = msgspec.structs.replace(commit, state=State.RUNNING)
        return await self.__getattr__("commit")(lease, commit)


class NeverReleases(FaultyStore):
    """Keeps every lease until it has run out."""

    async def release(self, lease: Lease, /, *, wake_at: datetime | None = None) -> None: ...
