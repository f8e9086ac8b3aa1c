"""Docker for tests: what it needs, what it has, and an engine that may be stopped."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Hashable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import docker
import docker.errors
import pytest

from astro.core.errors import SandboxUnavailableError
from astro.sandboxes.docker.daemon import LABEL, OWNER, Daemon, NoImageError
from astro.sandboxes.docker.leftovers import owner as name
from astro.sandboxes.docker.sandbox import DEFAULT_IMAGE

__all__ = ["Boxes", "Engine", "mine", "needs_docker", "needs_own_engine"]

_NO_NETWORK = ["--bridge=none", "--iptables=false", "--ip6tables=false"]
_SLOW = 60.0  # seconds that an engine may take to begin or end


def needs_docker() -> None:
    """Skip the test where there is no Docker with the image; on the machine of CI, fail."""
    daemon = Daemon()  # Docker's own client leaves a socket open where nobody listens
    try:
        daemon.image(DEFAULT_IMAGE)
        return
    except NoImageError:
        reason = "the image of boxes is missing; run: scripts/build-sandbox-image"
    except SandboxUnavailableError:
        reason = (
            "Docker does not answer; on Debian and Ubuntu, run: scripts/install-system-packages, "
            "then dockerd & and scripts/build-sandbox-image"
        )
    finally:
        daemon.close()
    if os.environ.get("CI") == "true":
        pytest.fail(reason)
    pytest.skip(reason)


def needs_own_engine() -> None:
    """Skip the test where no second engine can be started."""
    needs_docker()
    if shutil.which("dockerd") is None:
        pytest.skip(
            "dockerd is missing; on Debian and Ubuntu, run: scripts/install-system-packages"
        )
    if os.geteuid():
        pytest.skip("an engine that may be stopped takes root; run: sudo make test")


def mine(owner: str | None = None, *, url: str | None = None) -> list[Any]:
    """Return the containers of a process, this one unless another is named."""
    client = _client(url)
    try:
        label = f"{OWNER}={name() if owner is None else owner}"
        listed = client.api.containers(all=True, filters={"label": [LABEL, label]})
        return [one for one in listed if one["State"] != "dead" or _exists(client, one["Id"])]
    finally:
        client.close()


def _exists(client: Any, id_: str) -> bool:
    """Return whether a container is one, and not only listed.

    A Docker that crashes and starts again may for ever list what it has removed meanwhile.
    """
    try:
        client.api.inspect_container(id_)
    except docker.errors.NotFound:
        return False
    return True


def _client(url: str | None) -> Any:
    return docker.from_env() if url is None else docker.DockerClient(url)


class Boxes:
    """Looks for containers of this process: a probe of `astro.testing.find_leaks`.

    Args:
        url: Of Docker; None takes the usual one.
    """

    kind = "container"

    def __init__(self, url: str | None = None) -> None:
        self._url = url

    def look(self) -> Mapping[Hashable, str]:
        """Return the containers there are now."""
        return {one["Id"]: f"{one['Id'][:12]} {one['Status']}" for one in mine(url=self._url)}


class Engine:
    """A Docker engine of the test's own, beside the one that is here.

    Attributes:
        url: Where it listens.
    """

    def __init__(self) -> None:
        self._folder = Path(tempfile.mkdtemp(prefix="astro-docker-"))  # a socket's name is short
        self.url = f"unix://{self._folder}/docker.sock"
        self._process: subprocess.Popen[bytes] | None = None
        runtimes = {}
        if gvisor := shutil.which("runsc"):
            arguments = ["--platform=ptrace", "--network=none", "--ignore-cgroups"]
            runtimes["runsc"] = {"path": gvisor, "runtimeArgs": arguments}
        (self._folder / "daemon.json").write_text(json.dumps({"runtimes": runtimes}))

    def start(self) -> None:
        """Start it, unless it runs, and return once it answers."""
        if self._process is None:
            folder = self._folder
            with (folder / "log").open("ab") as log:
                self._process = subprocess.Popen(
                    [
                        *("dockerd", "--config-file", folder / "daemon.json", "-H", self.url),
                        *("--data-root", folder / "data", "--exec-root", folder / "exec"),
                        *("--pidfile", folder / "pid", *_NO_NETWORK),
                        *("--containerd-namespace", "astro-test"),
                        *("--containerd-plugins-namespace", "astro-test-plugins"),
                    ],
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    start_new_session=True,
                )
        self._until_it_answers()

    def stop(self) -> None:
        """Stop it as an operator does."""
        self._end(signal.SIGTERM)

    def kill(self) -> None:
        """Let it crash; what it has started stays."""
        self._end(signal.SIGKILL)
        # Its containerd died with it. Where nobody reaps that, its number seems to be in use.
        for left in ("pid", "exec/containerd/containerd.pid"):
            (self._folder / left).unlink(missing_ok=True)

    def freeze(self) -> None:
        """Let it hang: it takes connections, and answers none."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """Let it go on, if it hangs."""
        if self._process is not None:
            self._process.send_signal(signal.SIGCONT)

    def load(self) -> None:
        """Give it the image of boxes."""
        here, there = docker.from_env(), docker.DockerClient(self.url, timeout=_SLOW)
        try:
            image = here.images.get(DEFAULT_IMAGE)
            there.images.load(b"".join(image.save(named=True)))
        finally:
            here.close()
            there.close()

    def remove(self) -> None:
        """Stop it, and remove all that it has written."""
        if self._process is None:
            self.start()  # what it left behind when it crashed has to be ended
        self.stop()
        for line in reversed(Path("/proc/mounts").read_text().splitlines()):
            if line.split()[1].startswith(f"{self._folder}/"):  # each crash leaves one
                subprocess.run(["umount", "-l", line.split()[1]], check=False)
        shutil.rmtree(self._folder, ignore_errors=True)

    def _end(self, number: signal.Signals) -> None:
        if self._process is not None:
            self._process.send_signal(number)
            self._process.wait(_SLOW)
            self._process = None

    def _until_it_answers(self) -> None:
        until = time.monotonic() + _SLOW
        while True:
            with suppress(docker.errors.DockerException, OSError):
                with socket.socket(socket.AF_UNIX) as end:  # the client would leave one open
                    end.connect(self.url.removeprefix("unix://"))
                docker.DockerClient(self.url, version="auto", timeout=_SLOW).close()
                return
            if time.monotonic() > until or (self._process and self._process.poll() is not None):
                pytest.fail(f"dockerd does not start: {(self._folder / 'log').read_text()[-2000:]}")
            time.sleep(0.05)
