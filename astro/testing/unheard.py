"""Unheard: what Python prints because nobody is there to hear it.

Event loops complain too; see `leftovers.Loops`.
"""

from __future__ import annotations

import sys
import threading
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from astro.testing.replacing import replaced

__all__ = ["Unheard"]

_SHOW = "_showwarnmsg"  # of `warnings`: what Python calls for each that is no error
_SHOWN_BY = "_showwarnmsg_impl"  # of `warnings`: replaced by who catches them


class Unheard:
    """Notes what Python only prints: errors of finalizers and threads, and what nobody awaits.

    Attributes:
        complaints: Each of them so far: the kind, and which one it is.
    """

    def __init__(self) -> None:
        self.complaints: list[tuple[str, str]] = []

    @contextmanager
    def followed(self) -> Iterator[None]:
        """Note what is complained of meanwhile, in any thread; others hear it as ever."""
        finalized, ended = sys.unraisablehook, threading.excepthook
        show: Callable[[Any], object] = getattr(warnings, _SHOW)
        shown_by = vars(warnings).get(_SHOWN_BY)

        def shows(warning: Any) -> None:
            # Not to a test that asks for it, as with pytest.warns().
            if vars(warnings).get(_SHOWN_BY) == shown_by and _is_of_leak(warning):
                self._note(str(warning.message))
            show(warning)

        with (
            replaced(sys, "unraisablehook", self._after(finalized, self._note_unraisable)),
            replaced(threading, "excepthook", self._after(ended, self._note_of_thread)),
            replaced(warnings, _SHOW, shows),
        ):
            yield

    @contextmanager
    def collecting(self) -> Iterator[None]:
        """Note errors of finalizers, and let nobody else hear them."""
        with replaced(sys, "unraisablehook", self._note_unraisable):
            yield

    @staticmethod
    def _after(tell: Callable[[Any], object], note: Callable[[Any], None]) -> Callable[[Any], None]:
        def hear(told: Any) -> None:
            note(told)
            tell(told)

        return hear

    def _note(self, what: str) -> None:
        self.complaints.append(("exception", what))

    def _note_unraisable(self, told: Any) -> None:
        error = told.exc_value or told.exc_type
        self._note(f"{error!r}, ignored in {told.object!r}")

    def _note_of_thread(self, told: Any) -> None:
        if told.exc_type is not SystemExit:
            name = told.thread.name if told.thread is not None else "a thread"
            self._note(f"{told.exc_value or told.exc_type!r}, in {name}")


def _is_of_leak(warning: Any) -> bool:
    unawaited = issubclass(warning.category, RuntimeWarning) and "never awaited" in str(
        warning.message
    )
    return unawaited or issubclass(warning.category, ResourceWarning)
