"""Testing: what users test their tasks, workflows and parts with, as ASTRO tests itself.

Each name loads when it is first used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from astro.testing.clock import VirtualClock, VirtualIds
    from astro.testing.crashing import CrashMatrixError, CrashReport, crash_matrix
    from astro.testing.effects import note_effect, watch_effects
    from astro.testing.fake_context import FakeContext

__all__ = [
    "CrashMatrixError",
    "CrashReport",
    "FakeContext",
    "VirtualClock",
    "VirtualIds",
    "crash_matrix",
    "note_effect",
    "watch_effects",
]

_HOMES = {
    "clock": ("VirtualClock", "VirtualIds"),
    "crashing": ("CrashMatrixError", "CrashReport", "crash_matrix"),
    "effects": ("note_effect", "watch_effects"),
    "fake_context": ("FakeContext",),
}
_HOME = {name: home for home, names in _HOMES.items() for name in names}


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module = import_module(f"{__name__}.{_HOME[name]}")
    value = globals()[name] = getattr(module, name)
    return value
