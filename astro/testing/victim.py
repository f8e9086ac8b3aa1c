"""A process that runs a workflow to its end, or kills itself, without warning, at a chosen commit.

`python -m astro.testing.victim` reads what to do from its standard input, as JSON. Nothing that an
earlier one had in memory is there any more, and what has no order of its own has another one.
"""

from __future__ import annotations

import os
import signal
import sys
from datetime import timedelta
from importlib import import_module
from pathlib import Path
from typing import Any

import anyio
import msgspec

from astro.core.errors import AstroError, InvalidArgumentsError
from astro.stores.sqlite import SqliteStore
from astro.testing.addresses import address_of
from astro.testing.clock import VirtualClock
from astro.testing.dying_store import DyingStore
from astro.testing.lives import live
from astro.testing.quiet import quiet

__all__ = ["Errand", "Return", "require_address", "send_out"]

_LONG = timedelta(days=365)  # until the next one comes: each has a clock of its own


class Errand(msgspec.Struct, frozen=True, kw_only=True):
    """What the process is to do.

    Attributes:
        parts: Where the parts of the engine are, `(module, name)`; the first is the task.
        args: Arguments of the task, as canonical JSON of an object.
        number: How many came before it.
        at: The commit at which it kills itself; None lives.
        applied: Whether that commit is still applied.
        path: Where the process finds modules.
    """

    parts: tuple[tuple[str, str], ...]
    args: msgspec.Raw
    answers: dict[str, Any]
    store: str
    number: int
    at: int | None
    applied: bool
    path: tuple[str, ...]


class Return(msgspec.Struct, frozen=True):
    """What a process that has lived tells of its life.

    Attributes:
        run: Id of the run.
        commits: How many there were.
    """

    run: str
    commits: int


def require_address(part: Any) -> tuple[str, str]:
    """Return the module and the name by which another process finds a part.

    Raises:
        InvalidArgumentsError: There is none.
    """
    address = address_of(part)
    if address is None:
        raise InvalidArgumentsError(
            f"Another process cannot import {getattr(part, 'name', part)!r}.",
            remedy="Define it at the top of a module, or leave out processes=True.",
        )
    return address


async def send_out(errand: Errand, *, hashing: int) -> Return | None:
    """Let a process do an errand; return what it tells, or None if it has killed itself.

    Args:
        hashing: Seed of Python's hashes, upon which the order of a set depends.

    Raises:
        AstroError: It ended in another way; says what it wrote last.
    """
    done = await anyio.run_process(
        [sys.executable, "-m", "astro.testing.victim"],
        input=msgspec.json.encode(errand),
        env={**os.environ, "PYTHONHASHSEED": str(hashing)},
        check=False,
    )
    if done.returncode == -signal.SIGKILL and errand.at is not None:
        return None
    if done.returncode:
        raise AstroError(
            f"The process ended with {done.returncode}: {done.stderr.decode()[-1_000:]}",
            remedy="Make sure that the tasks can be imported by another process.",
        )
    told = await anyio.Path(_letter(errand)).read_bytes()
    return msgspec.json.decode(told, type=Return)


async def _do(errand: Errand) -> None:
    task, *parts = [getattr(import_module(module), name) for module, name in errand.parts]
    clock = VirtualClock(VirtualClock().now() + errand.number * _LONG)
    store = DyingStore(
        SqliteStore(errand.store, clock=clock, synchronous="NORMAL"),
        at=errand.at,
        applied=errand.applied,
        die=_kill,
    )
    bound = task.signature.load(bytes(errand.args))
    with quiet("astro"):
        run = await live(
            [task, *parts],
            task,
            bound.args,
            bound.kwargs,
            store=store,
            clock=clock,
            answers=errand.answers,
            number=errand.number,
        )
    told = msgspec.json.encode(Return(run, store.commits))
    await anyio.Path(_letter(errand)).write_bytes(told)


def _letter(errand: Errand) -> Path:
    """Return where the process leaves what it tells: whatever it prints is its tasks'."""
    return Path(f"{errand.store}.{errand.number}.json")


def _kill() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


if __name__ == "__main__":
    said = msgspec.json.decode(sys.stdin.buffer.read(), type=Errand)
    sys.path[:] = said.path
    anyio.run(_do, said)
