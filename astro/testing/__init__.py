"""Testing: what users test their tasks, workflows and parts with, as ASTRO tests itself.

Each name loads when it is first used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from astro.testing.blocking import forbid_blocking
    from astro.testing.callers import Stage
    from astro.testing.cancelling import CancelMatrixError, CancelReport, cancel_matrix
    from astro.testing.clock import VirtualClock, VirtualIds
    from astro.testing.crashing import CrashMatrixError, CrashReport, crash_matrix
    from astro.testing.effects import note_effect, watch_effects
    from astro.testing.ends import END_INVARIANTS, OUTSIDE_INVARIANTS
    from astro.testing.fake_context import FakeContext
    from astro.testing.fake_sandbox import FakeSandbox
    from astro.testing.faulty_store import Fault, FaultyStore, chance_of_faults, fail_nth
    from astro.testing.inline_sqlite import InlineSqliteStore
    from astro.testing.invariants import INVARIANTS
    from astro.testing.jobs import Job
    from astro.testing.leaks import Leak, LeaksError, Probe, find_leaks
    from astro.testing.loop import LoopClock, Simulated, run_deterministically
    from astro.testing.mishaps import MISHAPS
    from astro.testing.network import NetworkForbiddenError, forbid_network
    from astro.testing.scripted_agent import After, Always, ScriptedAgent, UnscriptedError
    from astro.testing.scripted_model import (
        FaultyReply,
        ModelReply,
        RateLimitedError,
        ScriptedModel,
    )
    from astro.testing.simulation import SimulationError, SimulationReport, simulate
    from astro.testing.stalls import DeadlockError, StepLimitError, ThreadsError
    from astro.testing.watchdog import LoopWatch, watch_loop
    from astro.testing.watched_store import ANSWER_INVARIANTS

__all__ = [
    "ANSWER_INVARIANTS",
    "END_INVARIANTS",
    "INVARIANTS",
    "MISHAPS",
    "OUTSIDE_INVARIANTS",
    "After",
    "Always",
    "CancelMatrixError",
    "CancelReport",
    "CrashMatrixError",
    "CrashReport",
    "DeadlockError",
    "FakeContext",
    "FakeSandbox",
    "Fault",
    "FaultyReply",
    "FaultyStore",
    "InlineSqliteStore",
    "Job",
    "Leak",
    "LeaksError",
    "LoopClock",
    "LoopWatch",
    "ModelReply",
    "NetworkForbiddenError",
    "Probe",
    "RateLimitedError",
    "ScriptedAgent",
    "ScriptedModel",
    "Simulated",
    "SimulationError",
    "SimulationReport",
    "Stage",
    "StepLimitError",
    "ThreadsError",
    "UnscriptedError",
    "VirtualClock",
    "VirtualIds",
    "cancel_matrix",
    "chance_of_faults",
    "crash_matrix",
    "fail_nth",
    "find_leaks",
    "forbid_blocking",
    "forbid_network",
    "note_effect",
    "run_deterministically",
    "simulate",
    "watch_effects",
    "watch_loop",
]

_HOMES = {
    "blocking": ("forbid_blocking",),
    "callers": ("Stage",),
    "cancelling": ("CancelMatrixError", "CancelReport", "cancel_matrix"),
    "clock": ("VirtualClock", "VirtualIds"),
    "crashing": ("CrashMatrixError", "CrashReport", "crash_matrix"),
    "effects": ("note_effect", "watch_effects"),
    "ends": ("END_INVARIANTS", "OUTSIDE_INVARIANTS"),
    "fake_context": ("FakeContext",),
    "fake_sandbox": ("FakeSandbox",),
    "faulty_store": ("Fault", "FaultyStore", "chance_of_faults", "fail_nth"),
    "inline_sqlite": ("InlineSqliteStore",),
    "invariants": ("INVARIANTS",),
    "jobs": ("Job",),
    "leaks": ("Leak", "LeaksError", "Probe", "find_leaks"),
    "loop": ("LoopClock", "Simulated", "run_deterministically"),
    "mishaps": ("MISHAPS",),
    "network": ("NetworkForbiddenError", "forbid_network"),
    "scripted_agent": ("After", "Always", "ScriptedAgent", "UnscriptedError"),
    "scripted_model": ("FaultyReply", "ModelReply", "RateLimitedError", "ScriptedModel"),
    "simulation": ("SimulationError", "SimulationReport", "simulate"),
    "stalls": ("DeadlockError", "StepLimitError", "ThreadsError"),
    "watchdog": ("LoopWatch", "watch_loop"),
    "watched_store": ("ANSWER_INVARIANTS",),
}
_HOME = {name: home for home, names in _HOMES.items() for name in names}


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module = import_module(f"{__name__}.{_HOME[name]}")
    value = globals()[name] = getattr(module, name)
    return value
