"""The catalog: what the parts given to an engine offer, checked when it is built."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, cast

import msgspec

from astro import engine
from astro.core.errors import InvalidArgumentsError, UnknownTaskError
from astro.core.policy import Limits
from astro.core.protocols import Agent, Composition
from astro.core.task import Task
from astro.engine.admission import admit_performer
from astro.engine.parts import Performer

__all__ = ["Catalog", "catalog_of"]

_MANY = 10**9


class Catalog(msgspec.Struct, frozen=True, kw_only=True):
    """What an engine offers.

    Attributes:
        tasks: By name and by alias.
        performers: Agents by the name of the task they perform, in the order they were given.
        agents: All agents.
    """

    tasks: Mapping[str, Task[..., Any]]
    performers: Mapping[str, tuple[Performer, ...]]
    agents: tuple[Agent, ...]

    def caps(self, limits: Limits) -> dict[str, int]:
        """Return the limits of slots by name."""
        caps = {f"agent:{agent.name}": _MANY for agent in self.agents}
        for found in self.performers.values():
            caps.update({one.slot: one.limit for one in found if one.limit is not None})
        caps.update({f"task:{t.name}": t.limit for t in self.tasks.values() if t.limit is not None})
        caps.update({f"task:{name}": limit for name, limit in limits.tasks.items()})
        return caps


def catalog_of(parts: Sequence[Task[..., Any] | Composition | Agent]) -> Catalog:
    """Return what parts offer.

    Raises:
        InvalidArgumentsError: Something is no part, or two parts have the same name.
        UnknownTaskError: A task needs an agent and none performs it.
        WorkflowError: A workflow does not fit the tasks.
        CodecError: Values of a parameter or result cannot be kept.
    """
    tasks: dict[str, Task[..., Any]] = {}
    agents: dict[str, Agent] = {}
    flows: list[Composition] = []
    for part in parts:
        if isinstance(part, Task):
            _offer(tasks, part)
        elif isinstance(part, Composition) and not isinstance(part, type):
            _add(flows, part)
        elif isinstance(part, type) or not isinstance(part, Agent):
            raise InvalidArgumentsError(
                f"{part!r:.200} is neither a task nor a workflow nor an agent.",
                remedy="Decorate functions with @task or @agent; give instances, not classes.",
            )
        elif agents.setdefault(part.name, part) is not part:
            raise InvalidArgumentsError(
                f"Two agents are called {part.name!r}.", remedy="Give each a name: Agent(name=...)."
            )
    for agent in agents.values():
        for task in getattr(agent, "offers", ()):
            _offer(tasks, task)
    performers = _performers(agents.values())
    for task in [*tasks.values()]:
        _ = task.signature  # an annotation that cannot be kept is an error here, not in a run
        if task.needs_agent and task.name not in performers:
            raise UnknownTaskError(task.name, performers)
    for flow in _in_order(flows):
        _offer(tasks, engine.workflow_task(cast(Any, flow), tasks))
    return Catalog(tasks=tasks, performers=performers, agents=tuple(agents.values()))


def _offer(tasks: dict[str, Task[..., Any]], task: Task[..., Any]) -> None:
    for name in (task.name, *task.aliases):
        if tasks.setdefault(name, task) is not task:
            raise InvalidArgumentsError(
                f"Two tasks are called {name!r}.", remedy="Rename one: @task(name=...)."
            )


def _add(flows: list[Composition], flow: Composition) -> None:
    """Add a workflow to others; the same one may be given twice."""
    if any(other.name == flow.name and other != flow for other in flows):
        raise InvalidArgumentsError(
            f"Two tasks are called {flow.name!r}.", remedy="Rename one of the workflows."
        )
    if flow not in flows:
        flows.append(flow)


def _performers(agents: Any) -> dict[str, tuple[Performer, ...]]:
    found: dict[str, tuple[Performer, ...]] = {}
    for agent in agents:
        cost, limit = admit_performer(agent)
        performer = Performer(agent=agent, cost=cost, limit=limit)
        for name in sorted(agent.performs):
            found[name] = (*found.get(name, ()), performer)
    return found


def _in_order(flows: list[Composition]) -> list[Composition]:
    """Return workflows so that those used as nodes of others come first."""
    names = {flow.name for flow in flows}
    placed: dict[str, Composition] = {}
    rest = list(flows)
    while rest:
        free = [f for f in rest if not (_used(f) & names - placed.keys())]
        if not free:
            free = rest  # they use each other: the check of the first one names what is unknown
        for flow in free:
            placed[flow.name] = flow
        rest = [flow for flow in rest if flow not in free]
    return list(placed.values())


def _used(flow: Composition) -> set[str]:
    return {node.task for node in flow.nodes}
