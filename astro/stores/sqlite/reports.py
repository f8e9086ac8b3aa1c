"""Reports: rows that cannot be read, each told of once and left out.

One damaged row concerns one run. Whoever reads many rows gets the others.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from typing import Any, Final, TypeVar

from astro.core.errors import JournalCorruptError

__all__ = ["Reports"]

T = TypeVar("T")

_LOGGER: Final = logging.getLogger("astro.stores.sqlite")
_MANY: Final = 10_000  # reports that are remembered


class Reports:
    """Tells of what cannot be read, as long as a store lives."""

    def __init__(self) -> None:
        self._told: set[str] = set()

    def read(self, reading: Callable[[Any], T], rows: Iterable[Any]) -> list[T]:
        """Return what can be read of some rows.

        Args:
            reading: Raises `JournalCorruptError` for a row that cannot be read.
        """
        found: list[T] = []
        for row in rows:
            try:
                found.append(reading(row))
            except JournalCorruptError as error:
                self._tell(error)
        return found

    def _tell(self, error: JournalCorruptError) -> None:
        if error.problem not in self._told:
            if len(self._told) >= _MANY:
                self._told.clear()
            self._told.add(error.problem)
            _LOGGER.error("%s", error)
