"""Surroundings: what a process has beside its tasks, to tell what a piece of code has added."""

from __future__ import annotations

import gc
import threading
from collections.abc import Hashable

from astro.testing.leftovers import Children, Containers, Descriptors

__all__ = ["Surroundings"]

_POOLS = ("AnyIO worker thread", "asyncio_")  # threads that are kept for others to use


class Surroundings:
    """The threads, file descriptors and child processes that there are when this is made."""

    def __init__(self) -> None:
        containers = Containers()
        containers.spare()
        self._probes = (Descriptors(containers), Children())
        self._threads = set(threading.enumerate())
        self._before = self._present().keys()

    def threads(self) -> list[str]:
        """Return the names of the threads that have come since."""
        new = {thread.name for thread in {*threading.enumerate()} - self._threads}
        return [name for name in sorted(new) if not name.startswith(_POOLS)]

    def others(self) -> list[str]:
        """Return what else has come since, and is not only waiting to be collected."""
        if self._present().keys() - self._before:
            gc.collect()
        return [told for key, told in self._present().items() if key not in self._before]

    def _present(self) -> dict[tuple[str, Hashable], str]:
        return {
            (probe.kind, key): f"a {probe.kind} is left behind: {told}"
            for probe in self._probes
            for key, told in probe.look().items()
        }
