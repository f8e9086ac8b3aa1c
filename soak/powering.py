"""Power: images of what a disk may hold when the power fails, ten times as many as in the tests."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from soak.telling import SoakError, amount, say

__all__ = ["soak"]

ROOT = Path(__file__).parents[1]
TIMES = 10


def soak(share: float) -> None:
    times = amount(TIMES, share)
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "tests/faults"],
        cwd=ROOT,
        env=os.environ | {"ASTRO_SOAK": str(times)},
        capture_output=True,
        text=True,
    )
    kinds = ("images", "kills", "faults ", "skipped")
    figures = [line for line in done.stdout.splitlines() if any(map(line.__contains__, kinds))]
    for line in figures:
        say(f"power: {times} times as many: {line}")
    if done.returncode:
        raise SoakError(done.stdout[-4_000:] + done.stderr[-1_000:])
