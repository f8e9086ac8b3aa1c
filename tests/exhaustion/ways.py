"""The ways in which a call of a store goes wrong."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import timedelta
from types import MappingProxyType

from astro.core.errors import (
    JournalCorruptError,
    StoreBusyError,
    StoreFullError,
    StoreUnavailableError,
)
from astro.testing import Fault

__all__ = ["WAYS"]

WAYS: Mapping[str, Callable[[timedelta], Fault]] = MappingProxyType(
    {
        "busy": lambda long: Fault(error=StoreBusyError),
        "full": lambda long: Fault(error=StoreFullError),
        "I/O error": lambda long: Fault(error=StoreUnavailableError),
        "misread": lambda long: Fault(error=JournalCorruptError),
        "time-out": lambda long: Fault(error=StoreUnavailableError, delay=long),
        "late success": lambda long: Fault(error=StoreUnavailableError, late=True),
        "late time-out": lambda long: Fault(error=StoreBusyError, late=True, delay=long),
        "slow": lambda long: Fault(error=None, delay=long / 10),
        "slower than a lease": lambda long: Fault(error=None, delay=long),
    }
)
"""By name; each takes a time that is longer than a lease."""
