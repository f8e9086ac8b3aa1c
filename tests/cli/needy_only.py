"""A module that offers nothing but a task without an agent."""

from __future__ import annotations

from tests.cli.needy import judge

__all__ = ["judge"]
