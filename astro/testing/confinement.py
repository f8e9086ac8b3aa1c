"""Confinement: whether anything outside a sandbox was run while something else was at work.

Untrusted code runs in a sandbox or not at all. Python tells its audit hooks when a process is to
be started or text is to be compiled; what was told meanwhile is what has broken out.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any

__all__ = ["confined"]

_STARTS = frozenset(
    {
        "os.exec",
        "os.fork",
        "os.forkpty",
        "os.posix_spawn",
        "os.spawn",
        "os.startfile",
        "os.system",
        "pty.spawn",
        "subprocess.Popen",
    }
)


class _Hook:
    """Hears of everything, for as long as the process lives: Python takes no hook back."""

    def __init__(self) -> None:
        self.told: dict[int, list[str]] = {}  # by thread
        sys.addaudithook(self._hear)

    def _hear(self, event: str, args: tuple[Any, ...]) -> None:
        if not self.told:
            return
        text = event == "compile" and len(args) > 1 and args[1] == "<string>"
        if event not in _STARTS and not text:
            return
        told = self.told.get(threading.get_ident())
        if told is not None and not (text and _is_own()):
            told.append(f"{event} {args[:1]!r:.80}")


def _is_own() -> bool:
    """Return whether a library writes code for itself, as named tuples do."""
    asking = sys._getframe(2).f_globals.get("__name__", "").partition(".")[0]
    return asking in sys.stdlib_module_names or asking in ("attr", "msgspec")


@cache
def _hook() -> _Hook:
    return _Hook()


@contextmanager
def confined() -> Iterator[list[str]]:
    """Give a list of what this thread starts, or compiles from text, from now on."""
    hook, me = _hook(), threading.get_ident()
    told: list[str] = []
    hook.told[me] = told
    try:
        yield told
    finally:
        del hook.told[me]
