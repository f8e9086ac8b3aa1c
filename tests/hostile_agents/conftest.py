"""What tests of hostile agents share: engines on real stores, and the figures told at the end."""

from __future__ import annotations

from tests.engine.conftest import anyio_backend, engine_of, store_of, where
from tests.exhaustion.telling import pytest_terminal_summary, tell

__all__ = ["anyio_backend", "engine_of", "pytest_terminal_summary", "store_of", "tell", "where"]
