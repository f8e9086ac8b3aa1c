"""Docker for tests: what it needs, and what it has."""

from __future__ import annotations

import os
from typing import Any

import docker
import docker.errors
import pytest

from astro.sandboxes.docker.daemon import LABEL, OWNER
from astro.sandboxes.docker.sandbox import DEFAULT_IMAGE, _owner

__all__ = ["mine", "needs_docker"]


def needs_docker() -> None:
    """Skip the test where there is no Docker with the image; on the machine of CI, fail."""
    client = None
    try:
        client = docker.from_env()
        client.images.get(DEFAULT_IMAGE)
        return
    except docker.errors.ImageNotFound:
        reason = "the image of boxes is missing; run: scripts/build-sandbox-image"
    except (docker.errors.DockerException, OSError):
        reason = (
            "Docker does not answer; on Debian and Ubuntu, run: scripts/install-system-packages, "
            "then dockerd & and scripts/build-sandbox-image"
        )
    finally:
        if client is not None:
            client.close()
    if os.environ.get("CI") == "true":
        pytest.fail(reason)
    pytest.skip(reason)


def mine(owner: str | None = None) -> list[Any]:
    """Return the containers of a process, this one unless another is named."""
    client = docker.from_env()
    try:
        label = f"{OWNER}={_owner() if owner is None else owner}"
        return list(client.api.containers(all=True, filters={"label": [LABEL, label]}))
    finally:
        client.close()
