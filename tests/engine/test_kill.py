"""A process that is killed without warning, and another that goes on with its runs."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import time
from collections import Counter
from pathlib import Path

import pytest

PROGRAM = """
import sys
from datetime import timedelta
import anyio
from astro import Context, LocalEngine, SqliteStore, task

LOG = open(sys.argv[2], "a", buffering=1)

@task
async def work(ctx: Context, item: int) -> int:
    await anyio.sleep(0.002)
    LOG.write(f"{item} {ctx.key}\\n")
    return item

@task
async def root(ctx: Context) -> int:
    total = sum(await ctx.map(work, range(150), limit=5))
    for item in range(150, 200):
        total += await ctx.call(work, item)
    return total

async def main() -> None:
    store = SqliteStore(sys.argv[1], synchronous="NORMAL")
    async with LocalEngine(work, root, store=store, lease_for=timedelta(seconds=0.5)) as engine:
        print("open", flush=True)
        print(await engine.options(key="one").run(root), flush=True)

anyio.run(main)
"""


def start(folder: Path) -> subprocess.Popen[str]:
    program = folder / "program.py"
    program.write_text(textwrap.dedent(PROGRAM))
    command = [sys.executable, str(program), str(folder / "runs.db"), str(folder / "log")]
    here = Path(__file__).parents[2]
    environment = os.environ | {"PYTHONPATH": str(here)}
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment)


@pytest.mark.slow
@pytest.mark.parametrize("moments", [(0.02,), (0.15,), (0.05, 0.1, 0.2)])
def test_rule_12_a_killed_process_loses_nothing_and_repeats_only_what_was_in_flight(
    tmp_path: Path, moments: tuple[float, ...]
) -> None:
    for moment in moments:
        victim = start(tmp_path)
        assert victim.stdout is not None
        assert victim.stdout.readline() == "open\n"
        time.sleep(moment)
        victim.send_signal(signal.SIGKILL)
        victim.wait()
        victim.stdout.close()
    heir = start(tmp_path)
    output, _ = heir.communicate(timeout=60)
    assert output.split() == ["open", str(sum(range(200)))]
    lines = (tmp_path / "log").read_text().split("\n")[:-1]
    items = Counter(line.split()[0] for line in lines)
    assert len(items) == 200
    assert len(set(lines)) == 200, "a call kept its key on every attempt"
    repeated = sum(count - 1 for count in items.values())
    assert repeated <= 5 * len(moments)


@pytest.mark.slow
def test_a_second_process_takes_over_within_a_lease_while_it_is_running(tmp_path: Path) -> None:
    victim = start(tmp_path)
    assert victim.stdout is not None
    assert victim.stdout.readline() == "open\n"
    heir = start(tmp_path)
    assert heir.stdout is not None
    assert heir.stdout.readline() == "open\n"
    time.sleep(0.1)
    victim.send_signal(signal.SIGKILL)
    victim.wait()
    victim.stdout.close()
    output, _ = heir.communicate(timeout=60)
    assert output.strip() == str(sum(range(200)))
