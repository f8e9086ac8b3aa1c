"""Leaks: code that is done has left nothing behind.

    with find_leaks():
        anyio.run(main)

Seen are asyncio's tasks, exceptions that nobody retrieved, threads, file descriptors, child
processes, containers of boxes, and whatever the probes of others look at. `leftovers` says how.
"""

from __future__ import annotations

import gc
import threading
from collections.abc import Collection, Hashable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Self

import anyio
import anyio.to_thread
import attrs

from astro.testing.garbage import only_new_garbage
from astro.testing.leftovers import Children, Containers, Descriptors, Loops, Probe, Threads
from astro.testing.unheard import Unheard

__all__ = ["Leak", "LeakFinder", "LeaksError", "Probe", "find_leaks"]

_LOOKS = 100  # until what is about to end counts as left
_PAUSE = 0.01  # seconds between them
_EXCEPTION = "exception"
_SHOWN = 20


@attrs.frozen
class Leak:
    """One thing that was left behind.

    Attributes:
        kind: What it is: `"task"`, `"thread"`, `"file descriptor"`, `"child process"`,
            `"container"`, `"exception"`, or the kind of a probe.
        what: Which one it is.
    """

    kind: str
    what: str

    def __str__(self) -> str:
        return f"{self.kind}: {self.what}"


class LeaksError(AssertionError):
    """Raised when something was left behind.

    Attributes:
        leaks: What it was.
    """

    def __init__(self, leaks: Sequence[Leak]) -> None:
        self.leaks = tuple(leaks)
        listed = "".join(f"\n  - {leak}" for leak in self.leaks[:_SHOWN])
        more = len(self.leaks) - _SHOWN
        rest = f"\n  and {more} more" if more > 0 else ""
        super().__init__(f"left behind:{listed}{rest}")


def find_leaks(*probes: Probe, allow: Collection[str] = ()) -> LeakFinder:
    """Return a context manager that raises if its block leaves anything behind.

    Put it around what runs the event loop. Within a running loop use `async with`, which lets
    the tasks end that are about to.

    Args:
        probes: What to look at beside what is seen anyhow.
        allow: Kinds that may be left behind.

    Raises:
        LeaksError: Something was left behind; not raised over an error of the block.
    """
    return LeakFinder(probes, allow=allow)


class LeakFinder:
    """Compares what there is after a block with what there was before it.

    Attributes:
        leaks: What was left behind, once the block has ended.
    """

    def __init__(self, probes: Sequence[Probe] = (), *, allow: Collection[str] = ()) -> None:
        self.leaks: Sequence[Leak] = ()
        self._loops = Loops()
        self._unheard = Unheard()
        self._containers = Containers()
        own: tuple[Probe, ...] = (
            self._loops,
            Threads(self._loops),
            Descriptors(self._containers),
            Children(),
            self._containers,
        )
        self._probes = own + tuple(probes)
        self._allow = frozenset(allow)
        self._before: set[tuple[str, Hashable]] = set()
        self._following = ExitStack()

    def __enter__(self) -> Self:
        self._following.enter_context(only_new_garbage())
        for noted in (self._loops, self._unheard, self._containers):
            self._following.enter_context(noted.followed())
        self._before = set(self._present())
        return self

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        try:
            # What an error was raised through is alive as long as the error is.
            for pause in self._looks() if error is None else ():
                threading.Event().wait(pause)
                self._containers.ask()
        finally:
            self._following.close()
        self._judge()

    async def __aenter__(self) -> Self:
        return self.__enter__()

    async def __aexit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        try:
            for pause in self._looks() if error is None else ():
                await anyio.sleep(pause)
                if self._containers.due:
                    await anyio.to_thread.run_sync(self._containers.ask)
        finally:
            self._following.close()
        self._judge()

    @contextmanager
    def belonging_to_others(self) -> Iterator[None]:
        """Let what comes up meanwhile stay: it is not the block's."""
        before = set(self._present())
        try:
            yield
        finally:
            self._before |= self._present().keys() - before
            self._containers.spare()

    def _judge(self) -> None:
        if self.leaks:
            raise LeaksError(self.leaks)

    def _looks(self) -> Iterator[float]:
        """Look again and again, until nothing is left behind or nobody ends any more.

        Yields:
            How many seconds to wait before the next look.
        """
        self._collect()
        yield 0.0
        for _ in range(_LOOKS):
            self.leaks = self._found()
            if all(leak.kind == _EXCEPTION for leak in self.leaks):
                return  # nothing was left behind, or nothing that could still go away
            yield _PAUSE
        self._collect()
        self.leaks = self._found()

    def _found(self) -> tuple[Leak, ...]:
        found = [
            Leak(kind, what)
            for (kind, key), what in self._present().items()
            if (kind, key) not in self._before
        ]
        found += [
            Leak(*complaint) for complaint in self._loops.complaints + self._unheard.complaints
        ]
        return tuple(leak for leak in found if leak.kind not in self._allow)

    def _present(self) -> dict[tuple[str, Hashable], str]:
        return {
            (probe.kind, key): what for probe in self._probes for key, what in probe.look().items()
        }

    def _collect(self) -> None:
        """Let go of what nobody holds, and note what is complained of on the way."""
        with self._unheard.collecting():
            gc.collect()
