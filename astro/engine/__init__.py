"""The engine: what makes it happen.

Two rooms load when they are first needed: the one that interprets workflows, and the one for
programs without an event loop.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from astro.engine.sync import SyncPortal
    from astro.engine.workflows import workflow_task

__all__ = ["SyncPortal", "workflow_task"]

_HOME = {"SyncPortal": "sync", "workflow_task": "workflows"}


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = globals()[name] = getattr(import_module(f"{__name__}.{_HOME[name]}"), name)
    return value
