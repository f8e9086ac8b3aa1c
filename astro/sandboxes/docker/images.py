"""Images: built and pulled when somebody asks for it, and never by themselves."""

from __future__ import annotations

from collections.abc import Iterator
from importlib.resources import files
from io import BytesIO
from pathlib import Path

from astro.core.errors import SandboxUnavailableError
from astro.sandboxes.docker.daemon import Daemon

__all__ = ["build", "pull"]


def build(daemon: Daemon, name: str, dockerfile: Path | None = None) -> Iterator[str]:
    """Build an image, which takes a network; yield what Docker says.

    Args:
        dockerfile: What it is made of; ASTRO's own if left out.

    Raises:
        SandboxUnavailableError: Docker cannot be reached, or cannot build it.
    """
    own = files(__package__) / "Dockerfile"
    recipe = own.read_bytes() if dockerfile is None else dockerfile.read_bytes()
    with daemon.asking() as client:
        told = client.build(fileobj=BytesIO(recipe), tag=name, rm=True, decode=True)
        for line in told:
            if "error" in line:
                raise SandboxUnavailableError(
                    f"The image cannot be built: {str(line['error']).strip()}.",
                    remedy="On Debian and Ubuntu without a registry, see "
                    "scripts/build-sandbox-image of the project.",
                )
            if said := str(line.get("stream", "")).strip():
                yield said


def pull(daemon: Daemon, name: str) -> Iterator[str]:
    """Pull an image from its registry; yield what Docker says.

    Raises:
        SandboxUnavailableError: Docker cannot be reached, or the registry cannot.
    """
    with daemon.asking() as client:
        from docker.utils import parse_repository_tag

        # A colon may belong to the port of a registry, or to a digest.
        repository, tag = parse_repository_tag(name)
        for line in client.pull(repository, tag=tag or "latest", stream=True, decode=True):
            if "error" in line:
                raise SandboxUnavailableError(
                    f"The image cannot be pulled: {str(line['error']).strip()}.",
                    remedy="Look at its name, and whether its registry can be reached.",
                )
            if said := str(line.get("status", "")).strip():
                yield said
