"""The pool: containers that have begun before anybody asked, and those that are to be removed.

A container serves one box and is then thrown away. Making and removing takes Docker a tenth of a
second and more, so that both happen in threads of the pool's own, beside the event loop and
whoever waits for a box. Whatever Docker does meanwhile, these threads go on.
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
_LEAD = 0.05  # seconds for which a box that was just opened has the processors for itself
_PAUSE = 5.0  # seconds without another try after Docker has refused
_SWEEP = 30.0  # seconds between looks for what somebody has left


class Pool:
    """Keeps some containers ready, and knows those that are in use. Opened once.

    Args:
        make: Makes one; blocks.
        remove: Removes one by its id; blocks.
        sweep: Removes what somebody has left; blocks.
        now: Seconds that never go back.
        size: How many are kept.
        idle: After how long without use none are kept any more.
    """

    def __init__(
        self,
        make: Callable[[], Container],
        remove: Callable[[str], None],
        sweep: Callable[[], None],
        now: Callable[[], float],
        *,
        size: int,
        idle: timedelta,
    ) -> None:
        self._make = make
        self._remove = remove
        self._sweep = sweep
        self._now = now
        self._size = size
        self._idle = idle.total_seconds()
        self._ready: deque[Container] = deque()
        self._used_by: set[str] = set()
        self._gone: deque[str] = deque()
        self._making = 0
        self._used = self._swept = now()
        self._taken = -_LEAD
        self._rests_until = 0.0
        self._closed = False
        self._changed = threading.Condition()
        self._threads: list[threading.Thread] = []

    def open(self) -> None:
        """Begin to keep containers ready."""
        for number in range(_WORKERS):
            thread = threading.Thread(target=self._work, name=f"astro-pool-{number}", daemon=True)
            self._threads.append(thread)
            thread.start()

    def close(self, patience: float) -> bool:
        """Remove every container, those in use too; return whether they are gone; blocks.

        Args:
            patience: Seconds after which the rest is left to end by itself.
        """
        until = self._now() + patience
        with self._changed:
            self._closed = True
            for container in self._ready:
                self._bury(container)
            self._ready.clear()
            # Their sockets are in the hands of an event loop, and are not closed from here.
            self._gone += self._used_by
            self._changed.notify_all()
        for thread in self._threads:
            thread.join(max(until - self._now(), 0.0))
        with self._changed:
            self._changed.wait_for(lambda: not self._making, max(until - self._now(), 0.0))
            done = not (self._gone or self._making or any(one.is_alive() for one in self._threads))
            self._gone.clear()
        if not done:
            _LOGGER.warning("Docker does not answer; containers are left to end by themselves.")
        return done

    def take(self) -> Container | None:
        """Return a container that is ready, or None."""
        with self._changed:
            self._used = self._now()
            self._changed.notify()
            while self._ready:
                found = self._ready.popleft()
                if found.is_new():
                    self._taken = self._used
                    self._used_by.add(found.id)
                    return found
                self._bury(found)
        return None

    def order(self, make: Callable[[], Container]) -> Container:
        """Have a container made at once; blocks.

        Raises:
            SandboxError: It cannot be made, or the pool was closed meanwhile.
        """
        with self._changed:
            self._making += 1
        made: Container | None = None
        try:
            made = make()
        finally:
            with self._changed:
                self._making -= 1
                closed = self._closed
                if made is not None and not closed:
                    self._used_by.add(made.id)
                self._changed.notify_all()
        if closed:
            made.wire.close()
            self._remove(made.id)
            raise SandboxError(
                "The sandbox was closed.", remedy="Use it inside 'async with sandbox:'."
            )
        return made

    def drop(self, container: Container) -> None:
        """End a container; it is removed soon."""
        with self._changed:
            self._used_by.discard(container.id)
            self._bury(container)
            self._changed.notify()

    def knows(self, id_: str) -> bool:
        """Return whether a container is ready, in use, or about to be removed."""
        with self._changed:
            ready = any(one.id == id_ for one in self._ready)
            return ready or id_ in self._used_by or id_ in self._gone

    @property
    def stock(self) -> int:
        """How many containers are ready."""
        return len(self._ready)

    # --- In threads --------------------------------------------------------------------------

    def _work(self) -> None:
        while (task := self._next()) is not None:
            try:
                task()
            except Exception:
                # Nobody would notice that a thread is missing.
                _LOGGER.exception("A container could not be made or removed.")

    def _next(self) -> Callable[[], None] | None:
        """Return what is to be done next, once there is something; None at the end."""
        with self._changed:
            while True:
                if self._gone:
                    id_ = self._gone.popleft()
                    return lambda: self._remove(id_)
                if self._closed:
                    return None
                self._look()
                if self._lacks():
                    self._making += 1
                    return self._refill
                if self._now() - self._swept >= _SWEEP:
                    self._swept = self._now()
                    return self._tidy
                if not self._gone:
                    self._changed.wait(_LEAD if self._leads() else _LOOK)

    def _look(self) -> None:
        """Let go of what has ended, and of everything when nobody has asked for long."""
        idle = self._now() - self._used >= self._idle
        for container in list(self._ready):
            if idle or not container.is_new():
                self._ready.remove(container)
                self._bury(container)

    def _lacks(self) -> bool:
        now = self._now()
        kept = len(self._ready) + self._making
        recent = now - self._used < self._idle
        rests = now < self._rests_until or self._leads()
        return recent and kept < self._size and not rests

    def _leads(self) -> bool:
        """Return whether somebody was just given a container, and there are more for others."""
        return bool(self._ready) and self._now() - self._taken < _LEAD

    def _bury(self, container: Container) -> None:
        container.wire.close()
        self._gone.append(container.id)

    def _refill(self) -> None:
        made: Container | None = None
        try:
            made = self._make()
        except SandboxError as error:
            # Who asks for a box is told; here it is enough not to insist.
            if not self._rests_until:
                _LOGGER.warning("No container is kept ready: %s", error)
        finally:
            with self._changed:
                self._making -= 1
                self._rests_until = self._now() + _PAUSE if made is None else 0.0
                if made is not None and self._closed:
                    self._bury(made)
                elif made is not None:
                    self._ready.append(made)
                self._changed.notify_all()

    def _tidy(self) -> None:
        try:
            self._sweep()
        except SandboxError:
            _LOGGER.debug("Docker does not tell which containers there are.", exc_info=True)
