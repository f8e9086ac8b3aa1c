"""Stalls: the errors of a simulation that cannot go on, and where its tasks stand."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from pathlib import Path
from types import FrameType
from typing import Any

__all__ = ["DeadlockError", "StepLimitError", "ThreadsError", "standing"]

_SHOWN = 20  # tasks; a simulation may have thousands
_MACHINERY = ("/anyio/", "/asyncio/")  # where nobody looks for the reason of a stall


class DeadlockError(AssertionError):
    """Raised when nothing is ready, no timer runs, and the main function has not returned.

    Attributes:
        waiting: One text for each task: its name, and where it waits.
    """

    def __init__(self, waiting: Sequence[str]) -> None:
        self.waiting = tuple(waiting)
        super().__init__(f"nothing can happen any more; these tasks wait:{_listed(waiting)}")


class StepLimitError(AssertionError):
    """Raised when a simulation takes more steps than it may: something is busy without end.

    Time stands still while anything is ready, so a loop that waits for time to pass by giving way
    to others never ends. It has to sleep.

    Attributes:
        waiting: One text for each task: its name, and where it waits.
        busy: What ran last, most frequent first.
    """

    def __init__(
        self, steps: int, seconds: float, *, busy: Sequence[str], waiting: Sequence[str]
    ) -> None:
        self.busy = tuple(busy)
        self.waiting = tuple(waiting)
        super().__init__(
            f"the simulation has not ended after {steps} steps and {seconds:.6f} virtual seconds; "
            "mend what is busy without end, or pass a higher limit: steps=..."
            f"\nmost frequent at the end:{_listed(busy)}\ntasks:{_listed(waiting)}"
        )


class ThreadsError(AssertionError):
    """Raised when a simulation uses a thread, whose timing no seed decides."""

    def __init__(self, what: str) -> None:
        super().__init__(
            f"{what}: threads are not deterministic. Use a part without threads, such as "
            "MemoryStore, or give up the same trace for the same seed: threads=True."
        )


def standing(tasks: Iterable[asyncio.Task[Any]]) -> list[str]:
    """Return the name of each task, and where it waits for what."""
    return [f"{task.get_name()}: {_place(task)}" for task in tasks]


def _listed(lines: Sequence[str]) -> str:
    more = len(lines) - _SHOWN
    rest = f"\n  and {more} more" if more > 0 else ""
    return "".join(f"\n  - {line}" for line in lines[:_SHOWN]) + rest


def _place(task: asyncio.Task[Any]) -> str:
    frames = _frames(task.get_coro())
    if not frames:
        return "not in Python code"
    own = [frame for frame in frames if not _is_machinery(frame)]
    told = _told((own or frames)[-1])
    if own and frames[-1] is not own[-1]:
        told += f", in {frames[-1].f_code.co_qualname}"
    return told


def _frames(awaited: Any) -> list[FrameType]:
    """Return the frames of a suspended coroutine, innermost last."""
    found = []
    while awaited is not None:
        for kind, inner in (("cr", "cr_await"), ("gi", "gi_yieldfrom"), ("ag", "ag_await")):
            frame = getattr(awaited, f"{kind}_frame", None)
            if frame is not None:
                found.append(frame)
                awaited = getattr(awaited, inner)
                break
        else:
            return found
    return found


def _is_machinery(frame: FrameType) -> bool:
    path = Path(frame.f_code.co_filename).as_posix()
    return any(part in path for part in _MACHINERY)


def _told(frame: FrameType) -> str:
    code = frame.f_code
    return f"{code.co_qualname} ({code.co_filename}:{frame.f_lineno})"
