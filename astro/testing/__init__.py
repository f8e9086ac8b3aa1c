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
    from astro.testing.fake_sandbox import FakeSandbox
    from astro.testing.faulty_store import Fault, FaultyStore, chance_of_faults, fail_nth
    from astro.testing.invariants import INVARIANTS
    from astro.testing.loop import LoopClock, Simulated, run_deterministically
    from astro.testing.scripted_agent import After, Always, ScriptedAgent, UnscriptedError
    from astro.testing.scripted_model import (
        FaultyReply,
        ModelReply,
        RateLimitedError,
        ScriptedModel,
    )
    from astro.testing.simulation import Job, SimulationError, SimulationReport, simulate
    from astro.testing.stalls import DeadlockError, StepLimitError, ThreadsError

__all__ = [
    "INVARIANTS",
    "After",
    "Always",
    "CrashMatrixError",
    "CrashReport",
    "DeadlockError",
    "FakeContext",
    "FakeSandbox",
    "Fault",
    "FaultyReply",
    "FaultyStore",
    "Job",
    "LoopClock",
    "ModelReply",
    "RateLimitedError",
    "ScriptedAgent",
    "ScriptedModel",
    "Simulated",
    "SimulationError",
    "SimulationReport",
    "StepLimitError",
    "ThreadsError",
    "UnscriptedError",
    "VirtualClock",
    "VirtualIds",
    "chance_of_faults",
    "crash_matrix",
    "fail_nth",
    "note_effect",
    "run_deterministically",
    "simulate",
    "watch_effects",
]

_HOMES = {
    "clock": ("VirtualClock", "VirtualIds"),
    "crashing": ("CrashMatrixError", "CrashReport", "crash_matrix"),
    "effects": ("note_effect", "watch_effects"),
    "fake_context": ("FakeContext",),
    "fake_sandbox": ("FakeSandbox",),
    "faulty_store": ("Fault", "FaultyStore", "chance_of_faults", "fail_nth"),
    "invariants": ("INVARIANTS",),
    "loop": ("LoopClock", "Simulated", "run_deterministically"),
    "scripted_agent": ("After", "Always", "ScriptedAgent", "UnscriptedError"),
    "scripted_model": ("FaultyReply", "ModelReply", "RateLimitedError", "ScriptedModel"),
    "simulation": ("Job", "SimulationError", "SimulationReport", "simulate"),
    "stalls": ("DeadlockError", "StepLimitError", "ThreadsError"),
}
_HOME = {name: home for home, names in _HOMES.items() for name in names}


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module = import_module(f"{__name__}.{_HOME[name]}")
    value = globals()[name] = getattr(module, name)
    return value
