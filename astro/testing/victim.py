"""A process that runs a workflow until it kills itself, without warning, at a chosen commit.

`python -m astro.testing.victim` reads what to do from its standard input, as JSON.
"""

from __future__ import annotations

import os
import signal
import sys
from importlib import import_module
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

__all__ = ["Errand", "require_address", "send_out"]


class Errand(msgspec.Struct, frozen=True, kw_only=True):
    """What the process is to do.

    Attributes:
        parts: Where the parts of the engine are, `(module, name)`; the first is the task.
        args: Arguments of the task, as canonical JSON of an object.
        at: The commit at which it kills itself.
        applied: Whether that commit is still applied.
        path: Where the process finds modules.
    """

    parts: tuple[tuple[str, str], ...]
    args: msgspec.Raw
    answers: dict[str, Any]
    store: str
    at: int
    applied: bool
    path: tuple[str, ...]


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


async def send_out(errand: Errand) -> bool:
    """Let a process do an errand until it kills itself, or has done it; return which it was.

    Raises:
        AstroError: It ended in another way; says what it wrote last.
    """
    done = await anyio.run_process(
        [sys.executable, "-m", "astro.testing.victim"],
        input=msgspec.json.encode(errand),
        check=False,
    )
    if done.returncode not in (0, -signal.SIGKILL):
        raise AstroError(
            f"The process ended with {done.returncode}: {done.stderr.decode()[-1_000:]}",
            remedy="Make sure that the tasks can be imported by another process.",
        )
    return done.returncode != 0


async def _do(errand: Errand) -> None:
    task, *parts = [getattr(import_module(module), name) for module, name in errand.parts]
    clock = VirtualClock()
    store = SqliteStore(errand.store, clock=clock, synchronous="NORMAL")
    bound = task.signature.load(bytes(errand.args))
    with quiet("astro"):
        await live(
            [task, *parts],
            task,
            bound.args,
            bound.kwargs,
            store=DyingStore(store, at=errand.at, applied=errand.applied, die=_kill),
            clock=clock,
            answers=errand.answers,
            number=0,
        )


def _kill() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


if __name__ == "__main__":
    said = msgspec.json.decode(sys.stdin.buffer.read(), type=Errand)
    sys.path[:] = said.path
    anyio.run(_do, said)
