"""Processes that are told to end, or whose agents end them: another one goes on with their runs."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

PROGRAM = """
import signal, sys
from datetime import timedelta
import anyio
from astro import BaseAgent, Context, LocalEngine, SqliteStore, performs, task

PATH, ROLE = sys.argv[1:]

@task
async def before(ctx: Context) -> int:
    print("before", flush=True)
    return 1

@task(needs_agent=True)
async def work(ctx: Context) -> int: ...

class Agent(BaseAgent):
    @performs(work)
    async def work(self, ctx: Context) -> int:
        print("begun", flush=True)
        if ROLE == "interrupts":
            raise KeyboardInterrupt
        if ROLE == "hangs":
            try:
                await anyio.sleep_forever()
            finally:
                print("cancelled", flush=True)
        return 2

@task
async def root(ctx: Context) -> int:
    return await ctx.call(before) + await ctx.call(work)

async def main():
    store = SqliteStore(PATH, synchronous="NORMAL")
    options = {"lease_for": timedelta(seconds=60), "grace": timedelta(seconds=60)}
    async with LocalEngine(before, root, Agent(), store=store, **options) as engine:
        async with anyio.create_task_group() as group:
            async def drain():
                await engine.drain_on(signal.SIGTERM)
                print("drained", flush=True)
                group.cancel_scope.cancel()
            group.start_soon(drain)
            await anyio.lowlevel.checkpoint()
            print(await engine.options(key="one").run(root), flush=True)
            group.cancel_scope.cancel()

anyio.run(main)
print("closed", flush=True)
"""


def start(folder: Path, role: str) -> subprocess.Popen[str]:
    program = folder / "program.py"
    program.write_text(PROGRAM)
    return subprocess.Popen(
        [sys.executable, str(program), str(folder / "runs.db"), role],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])},
    )


def read_until(process: subprocess.Popen[str], wanted: str) -> list[str]:
    """Return what a process says, up to a line."""
    assert process.stdout is not None
    said: list[str] = []
    while wanted not in said:
        line = process.stdout.readline()
        assert line, process.communicate()[1]
        said.append(line.strip())
    return said


def heir_says(folder: Path) -> list[str]:
    """Let another process go on; return what it says."""
    output, errors = start(folder, "works").communicate(timeout=30)
    assert not errors
    return output.split()


def test_rule_16_a_second_signal_cancels_what_the_first_one_waits_for(tmp_path: Path) -> None:
    victim = start(tmp_path, "hangs")
    assert read_until(victim, "begun") == ["before", "begun"]
    victim.send_signal(signal.SIGTERM)
    time.sleep(0.3)
    assert victim.poll() is None, "it lets the attempt finish, for a minute"
    began = time.monotonic()
    victim.send_signal(signal.SIGTERM)
    output, errors = victim.communicate(timeout=20)
    assert time.monotonic() - began < 10
    assert (output.split(), errors) == (["cancelled", "drained", "closed"], "")
    assert victim.returncode == 0
    assert heir_says(tmp_path) == ["begun", "3", "closed"]


def test_an_agent_that_interrupts_its_process_loses_nothing(tmp_path: Path) -> None:
    victim = start(tmp_path, "interrupts")
    output, errors = victim.communicate(timeout=20)
    assert victim.returncode != 0
    assert "KeyboardInterrupt" in errors
    assert output.split() == ["before", "begun"]
    assert heir_says(tmp_path) == ["begun", "3", "closed"]
