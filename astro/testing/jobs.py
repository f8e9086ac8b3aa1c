"""Jobs: what is to be done in a simulation, and what is known of it beforehand."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import attrs

from astro.core.policy import Budget
from astro.core.protocols import Composition
from astro.core.records import State
from astro.core.task import Task

__all__ = ["Job"]


@attrs.frozen(kw_only=True)
class Job:
    """A run to be started.

    Attributes:
        task: A task or a workflow.
        expected: JSON of the result; None accepts any.
        states: In which the run may end. One that the simulation cancels may always end so.
        answers: Gives the answer to a question of a run of this job, or of its children; None
            lets questions wait for their deadlines.
        lasting: Whether the run need not end.
    """

    task: Task[..., Any] | Composition
    args: tuple[Any, ...] = ()
    kwargs: dict[str, Any] = attrs.field(factory=dict)
    expected: bytes | None = None
    states: frozenset[State] = frozenset({State.DONE})
    tenant: str = "default"
    budget: Budget | None = None
    answers: Callable[[str], object] | None = None
    lasting: bool = False
