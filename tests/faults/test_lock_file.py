"""The lock file cannot be written: whoever uses the store is told, and the lock is given back."""

from __future__ import annotations

import subprocess
import sys
import textwrap
from pathlib import Path

from tests.faults.tracing import ROOT

PREAMBLE = """
import asyncio, fcntl, os, resource, subprocess, sys
from datetime import timedelta
from pathlib import Path
from astro.core.errors import StoreError
from astro.stores.sqlite import SqliteStore
from tests.stores.making import TENANT, new_run

path = Path(sys.argv[1])
lock = path.with_name(path.name + ".lock")
NOTHING = (0, resource.RLIM_INFINITY)  # as on a full disk, no file may grow
OTHER = '''
import asyncio, sys
from astro.stores.sqlite import SqliteStore
async def main():
    async with SqliteStore(sys.argv[1]):
        pass
asyncio.run(main())
'''

def another_process_opens_it():
    subprocess.run([sys.executable, "-c", OTHER, str(path)], check=True)
"""


def run(script: str, path: Path) -> str:
    done = subprocess.run(
        [sys.executable, "-c", PREAMBLE + textwrap.dedent(script), str(path)],
        capture_output=True,
        text=True,
        cwd=ROOT,
        timeout=30,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_opening_a_store_whose_lock_file_cannot_be_written_raises_a_typed_error(
    tmp_path: Path,
) -> None:
    script = """
    async def main():
        resource.setrlimit(resource.RLIMIT_FSIZE, NOTHING)
        try:
            async with SqliteStore(path):
                pass
        except Exception as error:
            print(isinstance(error, StoreError), end="")
    asyncio.run(main())
    """
    assert run(script, tmp_path / "runs.db") == "True"


WRITING = """
async def main():
    async with SqliteStore(path) as store:
        another_process_opens_it()
        resource.setrlimit(resource.RLIMIT_FSIZE, NOTHING)
        try:
            await store.create(TENANT, new_run())
        except Exception as error:
            typed = isinstance(error, StoreError)
        descriptor = os.open(lock, os.O_RDWR)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            free = False
        else:
            free = True
        os.close(descriptor)
        resource.setrlimit(resource.RLIMIT_FSIZE, (-1, -1))
        await store.create(TENANT, new_run())
    print(typed if ASKED == "typed" else free)
asyncio.run(main())
"""


def test_a_commit_whose_lock_cannot_be_written_raises_a_typed_error(tmp_path: Path) -> None:
    assert run("ASKED = 'typed'\n" + WRITING, tmp_path / "runs.db") == "True"


def test_a_commit_whose_lock_cannot_be_written_gives_the_lock_back(tmp_path: Path) -> None:
    assert run("ASKED = 'free'\n" + WRITING, tmp_path / "runs.db") == "True"
