"""Runs another module of this folder once strace watches it; `python -m tests.faults.attaching`.

Watched from its start, a process would spend most of its time on importing.
"""

from __future__ import annotations

import ctypes
import sys
import time
from importlib import import_module
from pathlib import Path

import anyio

_PR_SET_PTRACER, _ANY = 0x59616D61, ctypes.c_ulong(-1)


def main(module: str, *args: str) -> None:
    imported = import_module(f"tests.faults.{module}")
    # Some systems let only a process's parent watch it; others do not know the wish.
    ctypes.CDLL(None).prctl(_PR_SET_PTRACER, _ANY, 0, 0, 0)
    print("ready", flush=True)
    patience = time.monotonic() + 10
    while "TracerPid:\t0\n" in Path("/proc/self/status").read_text():
        if time.monotonic() > patience:
            sys.exit("strace does not watch this process")
        time.sleep(0.001)
    time.sleep(0.005)
    anyio.run(imported.main, *args)


if __name__ == "__main__":
    main(*sys.argv[1:])
