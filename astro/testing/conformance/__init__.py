"""Conformance: what every part of a kind promises, as tests that its author inherits.

    from astro.testing.conformance import StoreConformance

    class TestMyStore(StoreConformance):
        durable = True

        def make(self, clock, path):
            return MyStore(path / "runs.db", clock=clock)

One class with one factory, in a test file of the author's own. What only some parts promise is
an attribute of the class. The suites need pytest and nothing else: no configuration, no fixtures.
Each name loads when it is first used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from astro.core.errors import MissingExtraError

try:
    import pytest
except ImportError as missing:
    raise MissingExtraError("astro.testing.conformance", extra="testing") from missing

if TYPE_CHECKING:
    from astro.testing.conformance.agent import AgentConformance, Example
    from astro.testing.conformance.engine import EngineConformance
    from astro.testing.conformance.executor import BODIES, ExecutorConformance
    from astro.testing.conformance.probes import PROBES
    from astro.testing.conformance.sandbox import SandboxConformance
    from astro.testing.conformance.store import StoreConformance

__all__ = [
    "BODIES",
    "PROBES",
    "AgentConformance",
    "EngineConformance",
    "Example",
    "ExecutorConformance",
    "SandboxConformance",
    "StoreConformance",
]

_HOMES = {
    "agent": ("AgentConformance", "Example"),
    "engine": ("EngineConformance",),
    "executor": ("BODIES", "ExecutorConformance"),
    "probes": ("PROBES",),
    "sandbox": ("SandboxConformance",),
    "store": ("StoreConformance",),
    "suite": (),
}
_HOME = {name: home for home, names in _HOMES.items() for name in names}

# A failed `assert` of a suite shows its values as one in the author's own file does. The package
# itself has none, and pytest warns of a module that is loaded already.
pytest.register_assert_rewrite(*(f"{__name__}.{home}" for home in _HOMES))


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module = import_module(f"{__name__}.{_HOME[name]}")
    value = globals()[name] = getattr(module, name)
    return value
