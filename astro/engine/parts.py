"""The parts of an engine: everything that its constructor was given, ready to be used."""

from __future__ import annotations

import random
from collections.abc import Mapping
from datetime import timedelta
from typing import Any

import msgspec

from astro.core.clock import Ids
from astro.core.ledger import Ledger
from astro.core.policy import Budget, Limits
from astro.core.protocols import Agent, Candidate, RetryPolicy, Router, Store
from astro.core.task import Task
from astro.engine.clock import EngineClock
from astro.engine.sandboxing import SandboxDoor
from astro.engine.slots import Slots
from astro.engine.timers import Timers

__all__ = ["Parts", "Performer"]


class Performer(msgspec.Struct, frozen=True, kw_only=True):
    """An agent, with what routing needs to know of it.

    Attributes:
        limit: Attempts it takes at the same moment; None is no limit.
    """

    agent: Agent
    cost: float = 1.0
    limit: int | None = None

    @property
    def slot(self) -> str:
        return f"agent:{self.agent.name}"


class Parts(msgspec.Struct, frozen=True, kw_only=True):
    """What the rooms of an engine share.

    Attributes:
        tasks: By name and by alias.
        ledger: The store, if it keeps the budgets of tenants.
        budgets: Of the tenants that have one, as far as this engine knows.
        performers: By task name, in the order they were given.
        blob_size: Bytes from which a result is stored beside the journal.
    """

    store: Store
    clock: EngineClock
    ids: Ids
    chance: random.Random
    router: Router
    retrying: RetryPolicy
    sandbox: SandboxDoor
    slots: Slots
    timers: Timers
    limits: Limits
    budget: Budget | None
    tasks: Mapping[str, Task[..., Any]]
    performers: Mapping[str, tuple[Performer, ...]]
    blob_size: int
    idle_for: timedelta
    ledger: Ledger | None
    budgets: dict[str, Budget] = msgspec.field(default_factory=dict)

    async def learn_budgets(self) -> None:
        """Ask the store which tenants have a budget."""
        if self.ledger is not None:
            found = await self.ledger.budgets()
            self.budgets.clear()
            self.budgets.update(found)

    @property
    def offers(self) -> frozenset[str]:
        """What runs this engine may claim: tasks, and agents that a parked run waits for."""
        agents = {f"agent:{task}" for task in self.performers}
        return frozenset({*self.tasks, *agents})

    def has(self, needs: Mapping[str, str]) -> bool:
        """Return whether a parked run may go on here, as far as parts are what it lacks."""
        return all(
            (kind != "task" or name in self.tasks) and (kind != "agent" or name in self.performers)
            for kind, name in needs.items()
        )

    def candidates(self, task: Task[..., Any], failed: Mapping[str, int]) -> list[Candidate]:
        """Return who could perform a call, with what the engine knows of each."""
        found = [
            Candidate(
                name=one.agent.name,
                cost=one.cost,
                load=self.slots.load(one.slot),
                limit=one.limit,
                failed=failed.get(one.agent.name, 0),
            )
            for one in self.performers.get(task.name, ())
        ]
        if not task.needs_agent:
            found.append(Candidate(name="", failed=failed.get("", 0)))
        return found

    def performer(self, task: Task[..., Any], name: str) -> Performer | None:
        """Return the agent of a name, or None for the task's own body."""
        return next((p for p in self.performers.get(task.name, ()) if p.agent.name == name), None)
