"""Which parts go into an engine when some tasks have no agent."""

from __future__ import annotations

import pytest

from astro import InvalidArgumentsError, Workflow
from astro.cli.fitting import fit
from astro.core.workflow import Node
from tests.cli import judges, needy

OUTER = Workflow("outer", [Node("inner", "flow")])


def test_parts_with_their_agents_stay_as_they_are() -> None:
    parts = (needy.judge, needy.alone, needy.flow, judges.somebody)
    fitted = fit(parts, "judge")
    assert (fitted.parts, fitted.lines()) == (parts, [])


def test_a_task_without_an_agent_stays_outside_with_all_that_is_made_of_it() -> None:
    fitted = fit([needy.judge, needy.alone, OUTER, needy.flow], "alone")
    assert fitted.parts == (needy.alone,)
    assert (fitted.tasks, fitted.flows) == (("judge",), ("flow", "outer"))


def test_a_workflow_that_asks_for_it_through_another_cannot_run() -> None:
    with pytest.raises(InvalidArgumentsError, match="performs 'judge', which outer asks for"):
        fit([needy.judge, OUTER, needy.flow], "outer")
