"""Answering: the command line that every peer's script offers, and the JSON it prints.

`python -m benchmarks.peers.on_langgraph chain 1000 --setting NORMAL` performs one shape once,
after a warm-up, and prints one line. Only the standard library is used here.
"""

import argparse
import asyncio
import json
import tempfile
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import Literal, get_args

from benchmarks.measuring import Sample, Shape, System, measure

__all__ = ["Open", "Setting", "answer"]

Setting = Literal["NORMAL", "FULL", "shipped"]
"""How durable: write-ahead log at that synchronous level, or whatever the library ships with."""

Open = Callable[[Path, Setting], AbstractAsyncContextManager[System]]


def answer(distribution: str, open_system: Open) -> None:
    """Perform what the command line asks for and print what it cost."""
    parser = argparse.ArgumentParser(description=f"Performs one shape of work on {distribution}.")
    parser.add_argument("shape", choices=get_args(Shape))
    parser.add_argument("items", type=int)
    parser.add_argument("--setting", choices=get_args(Setting), default="NORMAL")
    parser.add_argument("--scratch", type=Path, help="folder that holds the database meanwhile")
    arguments = parser.parse_args()

    async def perform(folder: Path) -> Sample:
        async with open_system(folder, arguments.setting) as system:
            return await measure(system, arguments.shape, arguments.items)

    with tempfile.TemporaryDirectory(dir=arguments.scratch) as folder:
        sample = asyncio.run(perform(Path(folder)))
    about = {"peer": distribution, "version": version(distribution)}
    asked = {"shape": arguments.shape, "setting": arguments.setting}
    print(json.dumps(about | asked | asdict(sample)), flush=True)
