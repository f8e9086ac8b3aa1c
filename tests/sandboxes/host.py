"""A process that has boxes and is killed: says when they are open, then waits for its end."""

from __future__ import annotations

import sys
from datetime import timedelta

import anyio

from astro import DockerSandbox, SandboxSpec
from astro.sandboxes.docker.sandbox import _owner

__all__ = ["main"]


async def main(busy: bool) -> None:
    """Keep a box open, and one ready, until somebody ends this process."""
    async with DockerSandbox(pool=1) as sandbox, sandbox.open(SandboxSpec()) as box:
        await box.python("print(1)", timeout=timedelta(seconds=20))
        print(_owner(), flush=True)
        if busy:
            await box.python("while True: pass", timeout=timedelta(minutes=10))
        await anyio.sleep_forever()


if __name__ == "__main__":
    anyio.run(main, "busy" in sys.argv)
