"""Engines on real stores, as the tests of the engine have them."""

from __future__ import annotations

from tests.engine.conftest import anyio_backend, engine_of, store_of, where

__all__ = ["anyio_backend", "engine_of", "store_of", "where"]
