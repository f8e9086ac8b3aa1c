"""The pool: containers that have begun before anybody asked, and those that are to be removed.

A container serves one box and is then thrown away. Making and removing takes Docker a tenth of a
second and more, so that both happen in threads of the pool's own, beside the event loop and
whoever waits for a box.
"""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Callable
from datetime import timedelta

from astro.core.errors import SandboxError
from astro.sandboxes.docker.daemon import Container

__all__ = ["Pool"]

_LOGGER = logging.getLogger("astro.sandboxes.docker")
_WORKERS = 2  # what two processors have to do with making containers
_LOOK = 1.0  # seconds between looks at what is idle
_PAUSE = 5.0  # seconds without another try after Docker has refused


class Pool:
    """Keeps some containers ready.

    Args:
        make: Makes one; blocks.
        remove: Removes one by its id; blocks.
        now: Seconds that never go back.
        size: How many are kept.
        idle: After how long without use none are kept any more.
    """

    def __init__(
        self,
        make: Callable[[], Container],
        remove: Callable[[str], None],
        now: Callable[[], float],
        *,
        size: int,
        idle: timedelta,
    ) -> None:
        self._make = make
        self._remove = remove
        self._now = now
        self._size = size
        self._idle = idle.total_seconds()
        self._ready: deque[Container] = deque()
        self._gone: deque[Container] = deque()
        self._making = 0
        self._used = now()
        self._rests_until = 0.0
        self._closed = False
        self._changed = threading.Condition()
        self._threads: list[threading.Thread] = []

    def open(self) -> None:
        """Begin to keep containers ready."""
        self._used = self._now()
        self._closed = False
        for number in range(_WORKERS):
            thread = threading.Thread(target=self._work, name=f"astro-pool-{number}", daemon=True)
            self._threads.append(thread)
            thread.start()

    def close(self) -> None:
        """Remove every container, and return when they are gone; blocks."""
        with self._changed:
            self._closed = True
            self._gone += self._ready
            self._ready.clear()
            self._changed.notify_all()
        for thread in self._threads:
            thread.join()
        self._threads.clear()

    def take(self) -> Container | None:
        """Return a container that is ready, or None."""
        with self._changed:
            self._used = self._now()
            found = self._ready.popleft() if self._ready else None
            self._changed.notify()
        return found

    def drop(self, container: Container) -> None:
        """End a container; it is removed soon."""
        container.wire.close()
        with self._changed:
            self._gone.append(container)
            self._changed.notify()

    @property
    def stock(self) -> int:
        """How many containers are ready."""
        return len(self._ready)

    def _lacks(self) -> bool:
        now = self._now()
        kept = len(self._ready) + self._making
        recent = now - self._used < self._idle
        return not self._closed and recent and kept < self._size and now >= self._rests_until

    def _work(self) -> None:
        while True:
            with self._changed:
                while not (self._gone or self._closed or self._lacks()):
                    self._changed.wait(_LOOK)
                    if self._ready and self._now() - self._used >= self._idle:
                        self._gone += self._ready
                        self._ready.clear()
                container = self._gone.popleft() if self._gone else None
                if container is None:
                    if self._closed:
                        return
                    self._making += 1
            if container is not None:
                container.wire.close()
                self._remove(container.id)
            else:
                self._refill()

    def _refill(self) -> None:
        made: Container | None = None
        try:
            made = self._make()
        except SandboxError as error:
            # Who asks for a box is told; here it is enough not to insist.
            _LOGGER.warning("No container is kept ready: %s", error)
        with self._changed:
            self._making -= 1
            if made is None:
                self._rests_until = self._now() + _PAUSE
            elif self._closed:
                self._gone.append(made)
            else:
                self._ready.append(made)
