"""DockerSandbox: boxes in hardened containers, some of them begun before they are asked for."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path
from typing import Final, TypeVar

import anyio
import anyio.to_thread

from astro.core.clock import Clock, SystemClock
from astro.core.errors import SandboxError
from astro.core.sandbox import BoxLimits, SandboxReport, SandboxSpec
from astro.sandboxes.docker.box import DockerBox
from astro.sandboxes.docker.daemon import LABEL, OWNER, Container, Daemon
from astro.sandboxes.docker.pool import Pool
from astro.sandboxes.docker.preflight import require_controls

__all__ = ["DEFAULT_IMAGE", "DockerSandbox"]

T = TypeVar("T")
DEFAULT_IMAGE: Final = "astro-sandbox"
"""Name of the image that `astro sandbox build` and the project's script make."""


class DockerSandbox:
    """Makes boxes of containers: no network, no privileges, limits on everything.

    One container serves one box. Whatever is missing of Docker's controls is an error; there is
    no way to run anything outside of a container.

    Args:
        image: Name or id of an image that is here; it needs `python3`. Never pulled.
        limits: Of boxes that say none of their own.
        runtime: Of Docker, as "runsc" for gVisor; None takes Docker's default.
        pool: Containers kept ready, of the default image and limits.
        idle: After how long without use none are kept ready any more.
        boxes: How many may be open at the same moment; others wait.
        url: Where Docker listens; None takes DOCKER_HOST or the usual socket.
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
        clock: Clock | None = None,
    ) -> None:
        self._image = image
        self._limits = limits or BoxLimits()
        self._runtime = runtime
        self._clock = clock or SystemClock()
        self._daemon = Daemon(url, runtime=runtime)
        self._turns = anyio.CapacityLimiter(boxes)
        self._threads = anyio.CapacityLimiter(2 * boxes + 4)
        self._ids: dict[str, str] = {}
        self._labels = {LABEL: "1", OWNER: _owner()}
        self._users = 0
        self._pool = Pool(
            lambda: self._begin(self._image, self._limits),
            self._daemon.remove,
            self._clock.monotonic,
            size=pool,
            idle=idle,
        )

    async def __aenter__(self) -> DockerSandbox:
        """Check Docker, remove what dead processes have left, and begin to keep boxes ready.

        Raises:
            SandboxUnavailableError: Docker, one of its controls or the image is missing.
        """
        if self._users == 0:
            await self.check()
            await self._in_thread(self._sweep)
            self._pool.open()
        self._users += 1
        return self

    async def __aexit__(self, *error: object) -> None:
        """Remove all containers."""
        self._users -= 1
        if self._users == 0:
            with anyio.CancelScope(shield=True):
                await self._in_thread(self._pool.close)
                await self._in_thread(self._daemon.close)

    async def check(self) -> SandboxReport:
        """Return what this sandbox is, after one box was opened and looked at.

        Raises:
            SandboxUnavailableError: Docker, one of its controls or the image is missing.
        """
        try:
            return await self._in_thread(self._check)
        finally:
            if self._users == 0:
                self._daemon.close()

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
        turn = object()  # a box may be closed by another task than the one that opened it
        await self._turns.acquire_on_behalf_of(turn)
        try:
            container = await self._container(spec)
            box = DockerBox(
                container,
                clock=self._clock,
                drop=self._pool.drop,
                died=self._daemon.ran_out_of_memory,
            )
            try:
                yield box
            finally:
                box.close()
        finally:
            self._turns.release_on_behalf_of(turn)

    async def _container(self, spec: SandboxSpec) -> Container:
        image, limits = spec.image or self._image, spec.limits or self._limits
        if (image, limits) == (self._image, self._limits):
            ready = self._pool.take()
            if ready is not None:
                return ready
        made: list[Container] = []
        try:
            await self._in_thread(lambda: made.append(self._begin(image, limits)))
        except BaseException:
            for container in made:  # cancelled while it was made
                self._pool.drop(container)
            raise
        return made[0]

    async def _in_thread(self, work: Callable[[], T]) -> T:
        """Do what blocks in a thread; who is cancelled waits for it, so that nothing is left."""
        return await anyio.to_thread.run_sync(work, limiter=self._threads)

    # --- In threads --------------------------------------------------------------------------

    def _begin(self, image: str, limits: BoxLimits) -> Container:
        if image not in self._ids:
            self._ids[image] = self._daemon.image(image)
        return self._daemon.begin(self._ids[image], limits, self._labels, self._clock.monotonic())

    def _check(self) -> SandboxReport:
        unenforced = require_controls(self._daemon.info(), self._runtime)
        self._ids[self._image] = self._daemon.image(self._image)
        container = self._begin(self._image, self._limits)
        container.wire.close()
        self._daemon.remove(container.id)
        return SandboxReport(
            isolation="gvisor" if self._runtime == "runsc" else self._runtime or "container",
            image=self._ids[self._image],
            unenforced=unenforced,
        )

    def _sweep(self) -> None:
        """Remove the containers of processes of this machine that are gone."""
        for id_, owner in self._daemon.boxes().items():
            if _is_gone(owner):
                self._daemon.remove(id_)


def _owner() -> str:
    """Return a name of this process that no other one has had since the machine was started."""
    pid = os.getpid()
    return f"{_boot()}:{pid}:{_begun(pid)}"


def _is_gone(owner: str) -> bool:
    boot, _, rest = owner.partition(":")
    pid, _, begun = rest.partition(":")
    if not boot or boot != _boot() or not pid.isdigit():
        return False  # of another machine, or of before: whoever is there knows better
    return _begun(int(pid)) != begun


def _boot() -> str:
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return ""


def _begun(pid: int) -> str:
    """Return when a process began, in ticks of the kernel; empty if there is none."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19]
    except (OSError, IndexError):
        return ""
