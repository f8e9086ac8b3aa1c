"""DockerSandbox: boxes in hardened containers, some of them begun before they are asked for."""

from __future__ import annotations

import threading
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from datetime import timedelta
from typing import Any, Final, Generic, TypeVar

import anyio
import anyio.to_thread

from astro.core.clock import Clock, SystemClock
from astro.core.errors import SandboxError
from astro.core.sandbox import BoxLimits, SandboxReport, SandboxSpec
from astro.sandboxes.docker.box import DockerBox
from astro.sandboxes.docker.daemon import (
    LABEL,
    OWNER,
    PATIENCE,
    SANDBOX,
    Container,
    Daemon,
    NoImageError,
)
from astro.sandboxes.docker.leftovers import Leftovers, owner
from astro.sandboxes.docker.pool import Pool
from astro.sandboxes.docker.preflight import require_controls

__all__ = ["DEFAULT_IMAGE", "DockerSandbox"]

T = TypeVar("T")
DEFAULT_IMAGE: Final = "astro-sandbox"
"""Name of the image that `astro sandbox build` and the project's script make."""

_LOOK: Final = 0.05  # seconds between looks at what is under way


class DockerSandbox:
    """Makes boxes of containers: no network, no privileges, limits on everything.

    One container serves one box. Whatever is missing of Docker's controls is an error; there is
    no way to run anything outside of a container.

    Args:
        image: Name or id of an image that is here; it needs `python3`. Never pulled. All boxes
            of one sandbox have the same, also when the name comes to mean another one.
        limits: Of boxes that say none of their own.
        runtime: Of Docker, as "runsc" for gVisor; None takes Docker's default.
        pool: Containers kept ready, of the default image and limits.
        idle: After how long without use none are kept ready any more.
        boxes: How many may be open at the same moment; others wait.
        url: Where Docker listens; None takes DOCKER_HOST or the usual socket.
        patience: How long Docker may take to answer.
    """

    def __init__(
        self,
        image: str = DEFAULT_IMAGE,
        *,
        limits: BoxLimits | None = None,
        runtime: str | None = None,
        pool: int = 2,
        idle: timedelta = timedelta(minutes=5),
        boxes: int = 16,
        url: str | None = None,
        patience: timedelta = PATIENCE,
        clock: Clock | None = None,
    ) -> None:
        self._image = image
        self._limits = limits or BoxLimits()
        self._runtime = runtime
        self._size = pool
        self._idle = idle
        self._boxes = boxes
        self._patience = patience.total_seconds()
        self._clock = clock or SystemClock()
        self._daemon = Daemon(url, runtime=runtime, patience=patience)
        self._turns = anyio.CapacityLimiter(boxes)
        self._threads = anyio.CapacityLimiter(2 * boxes + 4)
        self._ids: dict[str, str] = {}
        self._name = str(id(self))
        self._users = 0
        self._door = threading.Lock()  # of who comes and who goes
        self._forgotten = 0
        self._counting = threading.Lock()
        self._pool = self._new_pool()
        self._leftovers = Leftovers(
            self._daemon.boxes,
            self._daemon.remove,
            sandbox=self._name,
            knows=lambda id_: self._pool.knows(id_),
        )

    async def __aenter__(self) -> DockerSandbox:
        """Check Docker, remove what dead processes have left, and begin to keep boxes ready.

        Raises:
            SandboxUnavailableError: Docker, one of its controls or the image is missing.
        """
        await self._in_thread(self._enter, lambda _: self._in_background(self._leave))
        return self

    async def __aexit__(self, *error: object) -> None:
        """Remove all containers; boxes that are still open are lost."""
        leaving = self._in_background(self._leave)  # however often this task is cancelled
        with anyio.CancelScope(shield=True):
            await anyio.to_thread.run_sync(leaving.join, abandon_on_cancel=True)

    async def check(self) -> SandboxReport:
        """Return what this sandbox is, after one box was opened and looked at.

        Raises:
            SandboxUnavailableError: Docker, one of its controls or the image is missing.
        """
        return await self._in_thread(self._check_alone)

    @asynccontextmanager
    async def open(self, spec: SandboxSpec, /) -> AsyncIterator[DockerBox]:
        """Open a box; its container ends with the block, on every path.

        Raises:
            SandboxUnavailableError: It cannot be opened.
            SandboxError: The sandbox is not open.
        """
        if self._users == 0:
            raise SandboxError(
                "The sandbox is not open.", remedy="Use it inside 'async with sandbox:'."
            )
        pool, turn = self._pool, object()  # another task may close it than the one that opens it
        await self._turns.acquire_on_behalf_of(turn)
        try:
            container = await self._container(spec, pool)
            box = DockerBox(
                container,
                clock=self._clock,
                drop=pool.drop,
                died=self._daemon.ran_out_of_memory,
            )
            try:
                yield box
            finally:
                box.close()
        finally:
            self._turns.release_on_behalf_of(turn)

    async def _container(self, spec: SandboxSpec, pool: Pool) -> Container:
        image, limits = spec.image or self._image, spec.limits or self._limits
        if (image, limits) == (self._image, self._limits):
            ready = pool.take()
            if ready is not None:
                return ready
        return await self._in_thread(
            lambda: pool.order(lambda: self._begin(image, limits)), pool.drop
        )

    async def _in_thread(
        self, work: Callable[[], T], undo: Callable[[T], object] | None = None
    ) -> T:
        """Do what blocks in a thread.

        Who is cancelled does not wait for it. What comes of it then is undone.
        """
        while self._forgotten >= self._boxes:  # noqa: ASYNC110  # threads cannot wake a task that may be of any loop
            await anyio.sleep(_LOOK)
        task = _Task(work, undo)
        try:
            return await anyio.to_thread.run_sync(
                task.perform, limiter=self._threads, abandon_on_cancel=True
            )
        except BaseException:
            self._forget(task)
            raise

    def _forget(self, task: _Task[Any]) -> None:
        with self._counting:
            self._forgotten += 1

        def over() -> None:
            with self._counting:
                self._forgotten -= 1

        task.forget(over)

    def _in_background(self, work: Callable[[], None]) -> threading.Thread:
        thread = threading.Thread(target=work, name="astro-sandbox", daemon=True)
        thread.start()
        return thread

    # --- In threads --------------------------------------------------------------------------

    def _enter(self) -> None:
        with self._door:
            if self._users == 0:
                self._ids.clear()
                try:
                    self._check()
                    self._leftovers.sweep()
                except BaseException:
                    self._daemon.close()
                    raise
                self._pool = self._new_pool()
                self._pool.open()
            self._users += 1

    def _leave(self) -> None:
        with self._door:
            self._users -= 1
            if self._users == 0:
                if self._pool.close(self._patience):
                    self._leftovers.purge()
                self._daemon.close()

    def _check_alone(self) -> SandboxReport:
        try:
            return self._check()
        finally:
            if self._users == 0:
                self._daemon.close()

    def _check(self) -> SandboxReport:
        unenforced = require_controls(self._daemon.info(), self._runtime)
        self._ids.pop(self._image, None)
        container = self._begin(self._image, self._limits)
        container.wire.close()
        self._daemon.remove(container.id)
        return SandboxReport(
            isolation="gvisor" if self._runtime == "runsc" else self._runtime or "container",
            image=self._ids[self._image],
            unenforced=unenforced,
        )

    def _begin(self, image: str, limits: BoxLimits) -> Container:
        """Begin a container of an image, which is the same one as long as that is here."""
        known = self._ids.get(image)
        if known is not None:
            with suppress(NoImageError):
                return self._begin_of(known, limits)
        self._ids[image] = known = self._daemon.image(image)
        return self._begin_of(known, limits)

    def _begin_of(self, id_: str, limits: BoxLimits) -> Container:
        # A fork of this process is another owner.
        labels = {LABEL: "1", OWNER: owner(), SANDBOX: self._name}
        return self._daemon.begin(id_, limits, labels, self._clock.monotonic())

    def _new_pool(self) -> Pool:
        return Pool(
            lambda: self._begin(self._image, self._limits),
            self._daemon.remove,
            lambda: self._leftovers.sweep(),
            self._clock.monotonic,
            size=self._size,
            idle=self._idle,
        )


class _Task(Generic[T]):
    """What a thread does for somebody who may stop waiting for it.

    Args:
        undo: Undoes it, if nobody waits for it any more; must not block.
    """

    def __init__(self, work: Callable[[], T], undo: Callable[[T], object] | None) -> None:
        self._work = work
        self._undo = undo
        self._lock = threading.Lock()
        self._begun = False
        self._over: Callable[[], None] | None = None
        self._found: list[T] = []
        self._ended = False

    def perform(self) -> T:
        """Do it, in a thread."""
        with self._lock:
            self._begun = self._over is None
        if not self._begun:
            raise SandboxError("Nobody waits for it.", remedy="")
        try:
            found = self._work()
            self._found.append(found)
            return found
        finally:
            with self._lock:
                self._ended = True
                if self._over is not None:
                    self._finish(self._over)

    def forget(self, over: Callable[[], None]) -> None:
        """Stop waiting for it.

        Args:
            over: Called once nothing is under way any more.
        """
        with self._lock:
            self._over = over
            if self._ended or not self._begun:
                self._finish(over)

    def _finish(self, over: Callable[[], None]) -> None:
        if self._undo is not None:
            for found in self._found:
                self._undo(found)
        over()
