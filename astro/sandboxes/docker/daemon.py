"""The daemon: the few things that are asked of Docker. Everything here blocks, in threads.

The `docker` package is loaded on first use. Each answer has a limit of time; whatever goes wrong
is a typed error that says what to do, and never a reason to run something elsewhere.
"""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from datetime import datetime, timedelta
from http.client import HTTPException
from typing import Any, Final
from urllib.parse import unquote

from astro.core.errors import BoxLostError, SandboxError, SandboxUnavailableError
from astro.core.sandbox import BoxLimits
from astro.sandboxes.docker.hardening import arguments, flaws
from astro.sandboxes.docker.leftovers import Found
from astro.sandboxes.docker.preflight import require_reach
from astro.sandboxes.docker.wire import Wire, WireClosedError

__all__ = ["LABEL", "OWNER", "PATIENCE", "SANDBOX", "Container", "Daemon", "NoImageError"]

LABEL: Final = "astro.box"
"""Label of every container made here."""

OWNER: Final = "astro.owner"
"""Label that names the process a container belongs to."""

SANDBOX: Final = "astro.sandbox"
"""Label that names the sandbox of that process."""

PATIENCE: Final = timedelta(seconds=30)
"""How long a container may take to begin, and Docker to answer."""

_FRAME: Final = 4 * 1024 * 1024  # what a frame may be larger than the largest file


class NoImageError(SandboxUnavailableError):
    """Raised when Docker does not have an image."""


class Container:
    """A container that has begun: its supervisor answers.

    Attributes:
        since: When it was made, by the clock of the sandbox, in seconds.
    """

    def __init__(
        self, id_: str, wire: Wire, end: socket.socket, limits: BoxLimits, since: float
    ) -> None:
        self.id = id_
        self.wire = wire
        self.limits = limits
        self.since = since
        self._end = end

    def is_new(self) -> bool:
        """Return whether it still waits to be asked for something, and has said nothing unasked.

        It may have ended meanwhile: Docker was restarted, or somebody has removed it.
        """
        try:
            self._end.recv(1, socket.MSG_PEEK)
        except BlockingIOError:
            return True
        except (OSError, ValueError):
            pass
        return False


class Daemon:
    """A Docker engine.

    Args:
        url: Where it listens; None takes DOCKER_HOST or the usual socket.
        patience: How long it may take to answer.
    """

    def __init__(
        self,
        url: str | None = None,
        *,
        runtime: str | None = None,
        patience: timedelta = PATIENCE,
    ) -> None:
        self._url = url
        self._runtime = runtime
        self._seconds = patience.total_seconds()
        self._known: Any = None
        self._place = ""
        self._lock = threading.Lock()

    def _client(self) -> Any:
        with self._lock:
            known = self._known
        if known is not None:
            return known
        made = self._connect()  # may take its time, and nobody has to wait for another's attempt
        with self._lock:
            known = self._known
            if known is None:
                self._known = made
        if known is None:
            return made
        made.close()
        return known

    def _connect(self) -> Any:
        import docker
        from docker.utils import kwargs_from_env, parse_host

        named = {} if self._url is not None else kwargs_from_env()
        tls = bool(named.get("tls"))
        url = parse_host(self._url or named.pop("base_url", None), tls=tls)
        require_reach(url, tls=tls)
        _knock(url, self._seconds)
        self._place = url
        return docker.APIClient(base_url=url, version="auto", timeout=self._seconds, **named)

    def close(self) -> None:
        """Close the connections that are kept to be used again."""
        with self._lock:
            known, self._known = self._known, None
        if known is not None:
            known.close()

    @contextmanager
    def asking(self) -> Iterator[Any]:
        """Give the client; say of every failure what it means.

        Raises:
            SandboxUnavailableError: Docker cannot be reached, refuses, or does not answer in time;
                or its package is missing.
        """
        errors = _errors()
        try:
            client = self._client()
            _knock(self._place, self._seconds)
            yield client
        except errors.ImageNotFound as error:
            raise NoImageError(
                f"Docker has no such image: {error.explanation or error}.",
                remedy="Build it: astro sandbox build. Images are never pulled by themselves.",
            ) from error
        except errors.APIError as error:
            raise SandboxUnavailableError(
                f"Docker refuses: {error.explanation or error}.",
                remedy="See what it lacks: astro sandbox check",
            ) from error
        except Exception as error:
            if not (isinstance(error, errors.DockerException) or _is_of_the_way(error)):
                raise
            self.close()  # another Docker may be here soon, and speak another version
            raise _unreachable(error, self._seconds) from error

    def info(self) -> dict[str, Any]:
        """Return what Docker says of itself, with the version of its interface."""
        with self.asking() as client:
            return {**client.info(), "ApiVersion": str(client.api_version)}

    def image(self, name: str) -> str:
        """Return the id of an image that is here.

        Raises:
            NoImageError: It is not.
        """
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
            # Docker's configuration of this user may hold the passwords of proxies.
            told = client.create_container(**made, host_config=config, use_config_proxy=False)
            id_ = str(told["Id"])
        wire: Wire | None = None
        try:
            with self.asking() as client:
                end, wire = self._attach(client, id_, limits)
                client.start(id_)
            self._greet(wire)
        except BaseException:
            if wire is not None:
                wire.close()  # first, or what it says holds up its removal
            self.remove(id_)
            raise
        return Container(id_, wire, end, limits, now)

    def _attach(self, client: Any, id_: str, limits: BoxLimits) -> tuple[socket.socket, Wire]:
        """Take hold of a container's streams, before it begins, or its first words are lost."""
        wanted = {"stdin": 1, "stdout": 1, "stderr": 1, "stream": 1}
        held = client.attach_socket(id_, params=wanted)
        response = getattr(held, "_response", None)
        keep = [one for one in (held, response) if one is not None]
        end = getattr(held, "_sock", held)
        if not hasattr(end, "recv") or hasattr(end, "cipher"):
            for one in keep:
                one.close()
            require_reach("https://", tls=True)
        return end, Wire(end, keep, cap=limits.file + _FRAME)

    def _greet(self, wire: Wire) -> None:
        try:
            kind, payload = wire.receive_blocking(self._seconds)
            facts = json.loads(payload) if kind == b"Y" else {}
        except (WireClosedError, ValueError) as error:
            told = wire.frames.told.decode(errors="replace").strip()
            raise SandboxUnavailableError(
                f"A box did not begin: {told or error}.",
                remedy="Its image needs python3; see: astro sandbox check",
            ) from error
        lacking = flaws(facts if isinstance(facts, dict) else {}, gvisor=self._runtime == "runsc")
        if lacking:
            raise SandboxUnavailableError(
                f"A box is not isolated: {'; '.join(lacking)}.",
                remedy="Look into the configuration of Docker and of its runtime.",
            )

    def remove(self, id_: str) -> None:
        """Remove a container, whatever it does; one that is gone already is fine."""
        with suppress(SandboxError), self.asking() as client:
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
                return bool(list(told))  # read to its end, which closes it
        except SandboxUnavailableError as error:
            raise BoxLostError(
                f"The box is gone, and Docker does not say why: {error.problem}",
                remedy=error.remedy,
            ) from error

    def boxes(self) -> list[Found]:
        """Return all containers made by ASTRO, in whatever process."""
        with self.asking() as client:
            listed = client.containers(all=True, filters={"label": LABEL})
            told = [one for one in listed if one.get("State") != "dead" or _exists(client, one)]
        return [
            Found(
                id=one["Id"],
                owner=one["Labels"].get(OWNER, ""),
                sandbox=one["Labels"].get(SANDBOX, ""),
                begun=one.get("State") != "created",
            )
            for one in told
        ]


def _exists(client: Any, listed: Mapping[str, Any]) -> bool:
    """Return whether a container is one, and not only listed.

    A Docker that has crashed may go on listing, as dead, what it removed when it began again.
    """
    try:
        client.inspect_container(listed["Id"])
    except _errors().NotFound:
        return False
    return True


def _errors() -> Any:
    """Return the errors of the `docker` package.

    Raises:
        SandboxUnavailableError: It is not installed.
    """
    try:
        import docker.errors
    except ImportError as error:
        raise SandboxUnavailableError(
            f"The package docker cannot be loaded: {error}.",
            remedy="Run: pip install 'docker>=7.1'",
        ) from error
    return docker.errors


def _is_of_the_way(error: Exception) -> bool:
    """Return whether an error means that Docker cannot be talked to, and no fault of ours.

    The errors of requests are OSErrors. Answers that break off come as any of the rest, those of
    urllib3 included, which is only there because `docker` needs it.
    """
    broken = (OSError, HTTPException, json.JSONDecodeError)
    return isinstance(error, broken) or type(error).__module__.startswith("urllib3.")


def _unreachable(error: BaseException, seconds: float) -> SandboxUnavailableError:
    causes = list(_causes(error))
    if any("timed out" in str(one).lower() for one in causes):
        return SandboxUnavailableError(
            f"Docker does not answer within {seconds:g} seconds.",
            remedy="See what keeps it, as with: docker info; then restart it.",
        )
    if any(isinstance(one, PermissionError) for one in causes):
        return SandboxUnavailableError(
            f"Docker cannot be reached by this user: {error}.",
            remedy="Add the user to the group docker, which may do all that root may; "
            "or run Docker rootless and name its socket in DOCKER_HOST.",
        )
    return SandboxUnavailableError(
        f"Docker cannot be reached: {error}.",
        remedy="Start Docker, and see whether it serves: astro sandbox check. If it listens "
        "elsewhere (docker context ls), name that place in DOCKER_HOST.",
    )


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


def _knock(url: str, seconds: float) -> None:
    """Return if somebody listens at a Unix socket; the client would leave one open in vain.

    Raises:
        OSError: Nobody does.
    """
    if url.startswith("http+unix://"):
        with socket.socket(socket.AF_UNIX) as end:
            end.settimeout(seconds)
            end.connect(unquote(url.removeprefix("http+unix://")))
