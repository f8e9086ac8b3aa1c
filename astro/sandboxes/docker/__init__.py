"""Boxes in Docker containers.

`sandbox` is the door; `daemon` asks Docker for what `hardening` says, `pool` keeps some ready,
`box` talks over the `wire` to the `supervisor`, which is sent into the container.
"""

from astro.sandboxes.docker.sandbox import DockerSandbox

__all__ = ["DockerSandbox"]
