"""How the machines run: long enough to find what is planted, the same way every time."""

from __future__ import annotations

from collections import Counter
from typing import Any, ClassVar

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis.stateful import RuleBasedStateMachine, invariant, run_state_machine_as_test

__all__ = ["MANY", "CountedMachine", "found_by"]

MANY = settings(
    max_examples=300,
    stateful_step_count=30,
    deadline=None,
    derandomize=True,
    print_blob=True,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
)
# As long as it takes: how soon a fault is met depends on the constants of whatever is imported.
_PLANTED = settings(
    MANY,
    max_examples=10_000,
    print_blob=False,
    phases=[Phase.generate],
    report_multiple_bugs=False,
)


class CountedMachine(RuleBasedStateMachine):
    """A machine that counts what it has gone through."""

    gone_through: ClassVar[Counter[str]] = Counter()
    _begun = False

    @invariant()
    def count(self) -> None:
        self.gone_through["steps" if self._begun else "sequences"] += 1
        self._begun = True


def found_by(machine: type[Any]) -> str:
    """Return what a machine says of what was planted in it; it has to say something."""
    with pytest.raises(AssertionError) as caught:
        run_state_machine_as_test(machine, settings=_PLANTED)
    return str(caught.value)
