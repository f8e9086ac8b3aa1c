"""EngineConformance: what every engine promises, as tests that its author inherits.

    class TestMyEngine(EngineConformance):
        def make(self, *parts, store):
            return MyEngine(*parts, store=store)

The tests use the verbs of `Engine` and `Run` and nothing else. What only some engines promise is
an attribute of the class: a promise that is not made skips its tests, and says so.
"""

from __future__ import annotations

from typing import ClassVar

from astro.testing.conformance.engine.calls import CallTests
from astro.testing.conformance.engine.handles import HandleTests
from astro.testing.conformance.engine.leaving import LeavingTests
from astro.testing.conformance.engine.options import OptionTests
from astro.testing.conformance.engine.people import PeopleTests
from astro.testing.conformance.engine.results import ResultTests
from astro.testing.conformance.engine.undoing import UndoTests

__all__ = ["EngineConformance"]


class EngineConformance(
    ResultTests, CallTests, UndoTests, PeopleTests, HandleTests, OptionTests, LeavingTests
):
    """What every engine promises; inherit it and say how yours is made.

    Attributes:
        shared: Whether several engines may be open on one store at the same time.
        trio: Whether the engine works on trio too.
        patience: What any test may take.
        moment: A time limit that is meant to pass.
    """

    __test__: ClassVar[object] = False
