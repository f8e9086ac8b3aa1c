"""Creation: the first record of a run, and the value that a store keeps it by."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from astro.core.policy import Budget
from astro.core.protocols import NewRun
from astro.core.records import GENESIS, CreatedRecord, Raw, encode_record
from astro.core.signature import Bound
from astro.core.task import Task
from astro.engine.identity import derive
from astro.engine.parts import Parts

__all__ = ["new_run"]


def new_run(
    *,
    parts: Parts,
    tenant: str,
    task: Task[..., Any],
    bound: Bound,
    id: str,
    priority: int,
    key: str | None = None,
    namespace: str = "",
    deadline: datetime | timedelta | None = None,
    budget: Budget | None = None,
    strict: bool = False,
    parent: tuple[str, str] | None = None,
) -> NewRun:
    """Return a run of a task, ready to be created."""
    now = parts.clock.now()
    until = now + deadline if isinstance(deadline, timedelta) else deadline
    created = CreatedRecord(
        seq=1,
        at=now,
        task=task.name,
        args=Raw(bound.raw),
        seed=f"{parts.chance.getrandbits(128):032x}",
        tenant=tenant,
        key=key,
        priority=int(priority),
        deadline=until,
        budget=budget,
        strict=strict,
        parent=parent,
        workflow=task.version if task.shape is not None else None,
    )
    return NewRun(
        id=id,
        task=task.name,
        entry=encode_record(created, tenant=tenant, run=id, token=0, head=GENESIS),
        fingerprint=derive(task.name, bound.raw, size=16).hex(),
        key=key,
        namespace=namespace,
        priority=int(priority),
        deadline=until,
        parent=None if parent is None else parent[0],
        created_at=now,
    )
