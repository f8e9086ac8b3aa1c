"""What tests of faults share: a place in memory, and strace."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.faults.tracing import needs_strace


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
def soak() -> int:
    """How many times the usual amount is asked for: `ASTRO_SOAK=100` before a release."""
    return int(os.environ.get("ASTRO_SOAK", "1"))


@pytest.fixture
def room() -> Iterator[Path]:
    """A folder in memory, where there is one: thousands of files are written and dropped."""
    memory = Path("/dev/shm")
    where = memory if os.access(memory, os.W_OK) else None
    with tempfile.TemporaryDirectory(dir=where, prefix="astro-faults-") as folder:
        yield Path(folder)


@pytest.fixture
def strace() -> None:
    """Skip where strace is missing."""
    needs_strace()
