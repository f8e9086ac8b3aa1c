"""The engine: what makes it happen.

Workflows are interpreted by a room that loads with the first workflow an engine is given.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from astro.engine.workflows import workflow_task

__all__ = ["workflow_task"]


def __getattr__(name: str) -> Any:
    if name != "workflow_task":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = globals()[name] = getattr(import_module("astro.engine.workflows"), name)
    return value
