"""Fitting: which of the parts that a command names go into its engine, and what stays outside."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Final

import attrs

from astro.cli.outcome import note
from astro.core.errors import InvalidArgumentsError
from astro.core.task import Task
from astro.core.workflow import Workflow

__all__ = ["Fitted", "fit", "others_told"]

_ENGINE: Final = logging.getLogger("astro.engine")
_UNPERFORMED: Final = "No part performs %r"  # as the engine logs it
_REMEDY: Final = (
    "Name an agent that performs it: under `agents:` in astro.yaml, or in the module "
    "or another one, with --tasks MODULE."
)


@attrs.frozen(kw_only=True)
class Fitted:
    """Parts that an engine takes, and what was left out for want of an agent.

    Attributes:
        tasks: Names of tasks that no agent performs.
        flows: Names of workflows that ask for them.
    """

    parts: tuple[Any, ...]
    tasks: tuple[str, ...] = ()
    flows: tuple[str, ...] = ()

    def lines(self) -> list[str]:
        """Return what to tell people of it."""
        if not self.tasks:
            return []
        them = "it" if len(self.tasks) == 1 else "them"
        told = [
            f"No agent performs {_listed(self.tasks)}; runs that ask for {them} will wait. "
            "Name the agent in astro.yaml or in the module."
        ]
        if self.flows:
            told.append(f"Workflows that ask for {them} are left out: {_listed(self.flows)}.")
        return told


def fit(parts: Sequence[Any], target: str) -> Fitted:
    """Return the parts without tasks that only agents perform where none does.

    One such task must not keep the others of its module from running. A workflow that asks for
    it cannot be checked against it, so that stays out too.

    Args:
        target: Name of the task that is to run.

    Raises:
        InvalidArgumentsError: The target itself is left out.
    """
    agents = [part for part in parts if not isinstance(part, Task | Workflow)]
    performed = {name for agent in agents for name in getattr(agent, "performs", ())}
    alone = [one for one in parts if isinstance(one, Task) and one.needs_agent]
    alone = [one for one in alone if one.name not in performed]
    names = {name: one.name for one in alone for name in (one.name, *one.aliases)}
    if target in names:
        raise InvalidArgumentsError(f"No agent performs {names[target]!r}.", remedy=_REMEDY)
    flows = _asking([part for part in parts if isinstance(part, Workflow)], names)
    if target in flows:
        raise InvalidArgumentsError(
            f"No agent performs {flows[target]!r}, which {target} asks for.", remedy=_REMEDY
        )
    out = {id(one) for one in alone}
    kept = [one for one in parts if id(one) not in out]
    return Fitted(
        parts=tuple(one for one in kept if not isinstance(one, Workflow) or one.name not in flows),
        tasks=tuple(sorted({one.name for one in alone})),
        flows=tuple(sorted(flows)),
    )


def _asking(flows: Sequence[Workflow], names: dict[str, str]) -> dict[str, str]:
    """Return the workflows that ask for one of these tasks, also through others, and for which."""
    found: dict[str, str] = {}
    grown = True
    while grown:
        known = names | found
        more = {
            flow.name: known[node.task]
            for flow in flows
            for node in flow.nodes
            if node.task in known and flow.name not in found
        }
        found |= more
        grown = bool(more)
    return found


def _listed(names: Sequence[str]) -> str:
    return ", ".join(map(repr, names))


# --- Other runs of the store -------------------------------------------------------------------


@contextmanager
def others_told(*, quiet: bool) -> Iterator[None]:
    """Tell, once per task, of unfinished runs that an engine leaves alone, instead of logging it.

    Args:
        quiet: Whether to say nothing at all.
    """
    seen: set[str] = set()

    def told(record: logging.LogRecord) -> bool:
        if record.msg != _UNPERFORMED or not isinstance(record.args, tuple):
            return True
        task = str(record.args[0])
        if task not in seen and not quiet:
            run = getattr(record, "run", "")
            note(f"Run {run} ({task}) is left alone: nothing here performs it.")
        seen.add(task)
        return False

    _ENGINE.addFilter(told)
    try:
        yield
    finally:
        _ENGINE.removeFilter(told)
