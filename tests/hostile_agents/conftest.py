"""What tests of hostile agents share: engines on real stores."""

from __future__ import annotations

from tests.engine.conftest import anyio_backend, engine_of, store_of, where

__all__ = ["anyio_backend", "engine_of", "store_of", "where"]
