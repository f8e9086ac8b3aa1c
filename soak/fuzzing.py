"""Fuzzing: bytes that nobody meant, guided by what they reach, at every door of values and files.

What makes a target fail is kept in its corpus, where an ordinary test tries it ever after. Without
atheris this part is passed over, and says so.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from soak.targets import TARGETS
from soak.telling import SoakError, amount, say

__all__ = ["CORPUS", "soak"]

ROOT = Path(__file__).parents[1]
CORPUS = Path(__file__).with_name("corpus")
SECONDS = 3_600  # for all targets together


def soak(share: float) -> None:
    python = os.environ.get("ASTRO_FUZZ_PYTHON", sys.executable)
    known = subprocess.run([python, "-c", "import atheris"], capture_output=True, cwd=ROOT)
    if known.returncode:
        say("fuzzing: passed over, because atheris is missing: set ASTRO_FUZZ_PYTHON")
        return
    seconds = amount(SECONDS // len(TARGETS), share)
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        found = [*pool.map(lambda name: _fuzzed(python, name, seconds), TARGETS)]
    wrong = [problem for problem in found if problem]
    if wrong:
        raise SoakError("\n".join(wrong))


def _fuzzed(python: str, name: str, seconds: int) -> str:
    """Fuzz one target for a while; return what was wrong, if anything."""
    kept = CORPUS / name
    kept.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="astro-fuzz-") as folder:
        command = [python, "-m", "soak.fuzz", name, folder, str(kept)]
        limits = [f"-max_total_time={seconds}", "-timeout=20", "-rss_limit_mb=2048"]
        done = subprocess.run(
            [*command, *limits, "-max_len=4096", f"-artifact_prefix={folder}/found-"],
            cwd=ROOT,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
        )
        runs = re.findall(r"^#(\d+)\s", done.stdout, re.MULTILINE)
        say(f"fuzzing: {name}: {runs[-1] if runs else 0} inputs in {seconds} s")
        artifacts = [*Path(folder).glob("found-*")]
        for artifact in artifacts:
            shutil.copyfile(artifact, kept / artifact.name)
    if done.returncode == 0:
        return ""
    told = done.stdout[-3_000:]
    return f"{name} was kept as {[artifact.name for artifact in artifacts]}:\n{told}"
