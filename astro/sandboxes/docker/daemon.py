"""The daemon: the few things that are asked of Docker. Everything here blocks, in threads.

The `docker` package is loaded on first use. Each answer has a limit of time; whatever goes wrong
is a typed error that says what to do, and never a reason to run something elsewhere.
"""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import datetime, timedelta
from functools import cached_property
from typing import Any, Final
from urllib.parse import unquote

from astro.core.errors import BoxLostError, SandboxError, SandboxUnavailableError
from astro.core.sandbox import BoxLimits
from astro.sandboxes.docker.hardening import arguments, flaws
from astro.sandboxes.docker.wire import Wire, WireClosedError

__all__ = ["BEGUN", "LABEL", "OWNER", "Container", "Daemon"]

LABEL: Final = "astro.box"
"""Label of every container made here."""

OWNER: Final = "astro.owner"
"""Label that names the process a container belongs to."""

BEGUN: Final = timedelta(seconds=30)
"""How long a container may take to begin, and Docker to answer."""

_FRAME: Final = 4 * 1024 * 1024  # what a frame may be larger than the largest file


class Container:
    """A container that has begun: its supervisor answers.

    Attributes:
        since: When it was made, by the clock of the sandbox, in seconds.
    """

    def __init__(self, id_: str, wire: Wire, limits: BoxLimits, since: float) -> None:
        self.id = id_
        self.wire = wire
        self.limits = limits
        self.since = since


class Daemon:
    """A Docker engine.

    Args:
        url: Where it listens; None takes DOCKER_HOST or the usual socket.
    """

    def __init__(self, url: str | None = None, *, runtime: str | None = None) -> None:
        self._url = url
        self._runtime = runtime

    @cached_property
    def _client(self) -> Any:
        import docker
        from docker.utils import kwargs_from_env, parse_host

        named = {} if self._url is not None else kwargs_from_env()
        url = parse_host(self._url or named.pop("base_url", None), tls=bool(named.get("tls")))
        _knock(url)
        seconds = int(BEGUN.total_seconds())
        return docker.APIClient(base_url=url, version="auto", timeout=seconds, **named)

    def close(self) -> None:
        """Close the connections that are kept to be used again."""
        client = self.__dict__.pop("_client", None)
        if client is not None:
            client.close()

    @contextmanager
    def asking(self) -> Iterator[Any]:
        """Give the client; say of every failure what it means.

        Raises:
            SandboxUnavailableError: Docker cannot be reached, or refuses.
        """
        import docker.errors

        try:
            yield self._client
        except docker.errors.ImageNotFound as error:
            raise SandboxUnavailableError(
                f"Docker has no such image: {error.explanation or error}.",
                remedy="Build it: astro sandbox build. Images are never pulled by themselves.",
            ) from error
        except docker.errors.APIError as error:
            raise SandboxUnavailableError(
                f"Docker refuses: {error.explanation or error}.",
                remedy="See what it lacks: astro sandbox check",
            ) from error
        except (docker.errors.DockerException, OSError) as error:  # those of requests are OSErrors
            raise SandboxUnavailableError(
                f"Docker cannot be reached: {error}.",
                remedy="Start Docker, and see whether it serves: astro sandbox check",
            ) from error

    def info(self) -> dict[str, Any]:
        """Return what Docker says of itself."""
        with self.asking() as client:
            found: dict[str, Any] = client.info()
            return found

    def image(self, name: str) -> str:
        """Return the id of an image that is here."""
        with self.asking() as client:
            return str(client.inspect_image(name)["Id"])

    def begin(self, image: str, limits: BoxLimits, labels: dict[str, str], now: float) -> Container:
        """Make a container and return once its supervisor answers and its isolation holds.

        Raises:
            SandboxUnavailableError: It does not begin, or lacks some of its isolation.
        """
        made, host = arguments(image=image, limits=limits, labels=labels, runtime=self._runtime)
        with self.asking() as client:
            config = client.create_host_config(**host)
            id_ = str(client.create_container(**made, host_config=config)["Id"])
        try:
            with self.asking() as client:
                wire = self._attach(client, id_, limits)
                client.start(id_)
            self._greet(wire)
        except BaseException:
            self.remove(id_)
            raise
        return Container(id_, wire, limits, now)

    def _attach(self, client: Any, id_: str, limits: BoxLimits) -> Wire:
        """Take hold of a container's streams, before it begins, or its first words are lost."""
        wanted = {"stdin": 1, "stdout": 1, "stderr": 1, "stream": 1}
        held = client.attach_socket(id_, params=wanted)
        end = getattr(held, "_sock", held)
        if not hasattr(end, "recv") or hasattr(end, "cipher"):
            raise SandboxUnavailableError(
                "Boxes need a Docker that is reached over a Unix socket or plain TCP.",
                remedy="Forward its socket, for instance with ssh -L.",
            )
        response = getattr(held, "_response", None)
        keep = [one for one in (held, response) if one is not None]
        return Wire(end, keep, cap=limits.file + _FRAME)

    def _greet(self, wire: Wire) -> None:
        try:
            kind, payload = wire.receive_blocking(BEGUN.total_seconds())
        except WireClosedError as error:
            told = wire.frames.told.decode(errors="replace").strip()
            raise SandboxUnavailableError(
                f"A box did not begin: {told or error}.",
                remedy="Its image needs python3; see: astro sandbox check",
            ) from error
        facts = json.loads(payload) if kind == b"Y" else {}
        lacking = flaws(facts, gvisor=self._runtime == "runsc")
        if lacking:
            wire.close()
            raise SandboxUnavailableError(
                f"A box is not isolated: {'; '.join(lacking)}.",
                remedy="Look into the configuration of Docker and of its runtime.",
            )

    def remove(self, id_: str) -> None:
        """Remove a container, whatever it does; one that is gone already is fine."""
        with suppress(SandboxError), self.asking() as client:
            import docker.errors

            with suppress(docker.errors.NotFound):
                client.remove_container(id_, force=True)

    def ran_out_of_memory(self, id_: str, since: datetime, until: datetime) -> bool:
        """Return whether the kernel killed something in a container for want of memory.

        Raises:
            BoxLostError: Docker cannot be asked.
        """
        try:
            with self.asking() as client:
                told = client.events(
                    since=f"{since.timestamp():.9f}",
                    until=f"{until.timestamp():.9f}",
                    decode=True,
                    filters={"event": "oom", "container": id_},
                )
                return any(True for _ in told)
        except SandboxUnavailableError as error:
            raise BoxLostError(
                f"The box is gone, and Docker does not say why: {error.problem}",
                remedy=error.remedy,
            ) from error

    def boxes(self) -> dict[str, str]:
        """Return the owners of all containers made by ASTRO, by id."""
        with self.asking() as client:
            found = client.containers(all=True, filters={"label": LABEL})
            return {one["Id"]: one["Labels"].get(OWNER, "") for one in found}


def _knock(url: str) -> None:
    """Return if somebody listens at a Unix socket; the client would leave one open in vain.

    Raises:
        OSError: Nobody does.
    """
    if url.startswith("http+unix://"):
        with socket.socket(socket.AF_UNIX) as end:
            end.connect(unquote(url.removeprefix("http+unix://")))
