"""Mends the small project beside this file, in boxes, and shows how.

python -m examples.mending
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path
from typing import Any

import anyio

from astro import (
    DockerSandbox,
    LocalEngine,
    MemoryStore,
    RunFailedError,
    SandboxUnavailableError,
)
from astro.agents.checking import TestingAgent
from astro.agents.git import GitAgent
from astro.agents.in_box import ShellAgent, shell
from astro.agents.workspace import Workspace
from examples.mending.team import attempt, mend

PROJECT = Path(__file__).parent / "project"
PATH = "intervals.py"


async def work(folder: Path) -> dict[str, Any]:
    """Mend a copy of the project in a folder; return what was done."""
    project = {one.name: one.read_text() for one in sorted(PROJECT.glob("*.py"))}
    workspace = Workspace(folder)
    team = (ShellAgent(workspace), GitAgent(workspace), TestingAgent(workspace))
    sandbox = DockerSandbox(pool=4)
    await sandbox.check()
    async with LocalEngine(*team, attempt, mend, store=MemoryStore(), sandbox=sandbox) as engine:
        commit = "git -c user.name=demo -c user.email=demo@localhost commit -q -m Begin"
        await engine.run(shell, f"git init -q && git add . && {commit}", project)
        run = await engine.start(mend, project, PATH)
        async for record in run:
            show(record)
        found: dict[str, Any] = await run
        return found


def show(record: Any) -> None:
    """Print what the team says of its work."""
    if record.kind != "emitted":
        return
    first, second = (int(n) for n in bytes(record.value).decode().strip("[]").split(","))
    if record.name == "tests":
        print(f"  tests: {first} pass, {second} fail")
    else:
        print(
            f"  tried {first} changes, each in a box of its own; the best lets {second} tests pass"
        )


def main() -> int:
    """Mend, and tell."""
    with tempfile.TemporaryDirectory() as folder:
        print("A small project with failing tests is mended in boxes, and committed.")
        try:
            found = anyio.run(work, Path(folder))
        except (SandboxUnavailableError, RunFailedError) as error:
            print(error.problem, error.remedy, sep="\n", file=sys.stderr)
            return 1
    print("\n" + found["diff"] + "\n" + found["commit"].strip())
    print("Mended." if found["mended"] else "Not mended.")
    return 0 if found["mended"] else 1


if __name__ == "__main__":
    sys.exit(main())
