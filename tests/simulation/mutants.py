"""Mutants: functions of ASTRO with one thing changed, as copies that only a test sees."""

from __future__ import annotations

import inspect
import textwrap
from collections.abc import Callable
from typing import Any

import anyio
import msgspec

from astro.core.protocols import Commit, Lease
from astro.core.records import State
from astro.testing.faulty_store import FaultyStore

__all__ = ["TwoTransactions", "mutated"]


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
