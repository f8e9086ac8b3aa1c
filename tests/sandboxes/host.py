"""A process that has boxes and is killed: says when it is at it, then goes on until its end."""

from __future__ import annotations

import sys
from datetime import timedelta

import anyio

from astro import DockerSandbox, SandboxSpec
from astro.sandboxes.docker.leftovers import owner

__all__ = ["main"]

SPEC = SandboxSpec()


async def idle() -> None:
    """Keep a box open, and one ready."""
    async with DockerSandbox(pool=1) as sandbox, sandbox.open(SPEC) as box:
        await box.python("print(1)", timeout=timedelta(seconds=20))
        print(owner(), flush=True)
        await anyio.sleep_forever()


async def busy() -> None:
    """Run a command that does not end."""
    async with DockerSandbox(pool=1) as sandbox, sandbox.open(SPEC) as box:
        await box.python("print(1)", timeout=timedelta(seconds=20))
        print(owner(), flush=True)
        await box.python("while True: pass", timeout=timedelta(minutes=10))


async def opening() -> None:
    """Open one box after the other."""
    async with DockerSandbox(pool=0) as sandbox:
        print(owner(), flush=True)
        while True:
            async with sandbox.open(SPEC):
                pass


async def refilling() -> None:
    """Have many containers made ahead, and use them up."""
    async with DockerSandbox(pool=8) as sandbox:
        print(owner(), flush=True)
        while True:
            async with sandbox.open(SPEC):
                await anyio.sleep(0.1)


async def main(what: str) -> None:
    """Do what a test asks for, until somebody ends this process."""
    await {"idle": idle, "busy": busy, "opening": opening, "refilling": refilling}[what]()


if __name__ == "__main__":
    anyio.run(main, sys.argv[1])
