"""Environments: which peers there are, their pinned versions, and how one is asked to perform."""

import json
import os
import subprocess
from dataclasses import dataclass
from pathlib import Path

from benchmarks.measuring import Sample, Shape
from benchmarks.peers.answering import Setting

__all__ = ["PEERS", "ROOT", "Peer", "perform"]

ROOT = Path(__file__).parents[2]
"""The folder that holds the package `benchmarks`."""


@dataclass(frozen=True, kw_only=True)
class Peer:
    """Another library, in a virtual environment below `benchmarks/.peers/`.

    Attributes:
        name: What its environment and its script (`on_<name>.py`) are called.
        requirements: The pinned versions that `install` puts there.
    """

    name: str
    requirements: tuple[str, ...]

    @property
    def environment(self) -> Path:
        """Folder of the virtual environment."""
        return ROOT / "benchmarks" / ".peers" / self.name

    @property
    def python(self) -> Path:
        """Interpreter of the environment."""
        windows = os.name == "nt"
        return self.environment / ("Scripts/python.exe" if windows else "bin/python")

    @property
    def complete(self) -> Path:
        """File that tells that the installation was finished."""
        return self.environment / "complete"


PEERS = (
    Peer(
        name="langgraph",
        requirements=(
            "langgraph==1.2.22",
            "langgraph-checkpoint-sqlite==3.1.2",
            "aiosqlite==0.22.1",
        ),
    ),
    Peer(name="dbos", requirements=("dbos==3.4.0",)),
    Peer(name="burr", requirements=("apache-burr[tracking]==0.43.0", "aiosqlite==0.22.1")),
)


def perform(peer: Peer, shape: Shape, items: int, setting: Setting, scratch: Path) -> Sample:
    """Perform one shape on the peer, in a process of its own.

    Raises:
        RuntimeError: The peer failed; its last words are in the message.
    """
    script = f"benchmarks.peers.on_{peer.name}"
    options = ["--setting", setting, "--scratch", str(scratch)]
    command = [str(peer.python), "-m", script, shape, str(items), *options]
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    if ended.returncode != 0:
        raise RuntimeError(f"{peer.name} failed at {shape}: {ended.stderr[-2000:]}")
    answer = json.loads(ended.stdout.splitlines()[-1])
    return Sample(items=answer["items"], wall=answer["wall"], cpu=answer["cpu"])
