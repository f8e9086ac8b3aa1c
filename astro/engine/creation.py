"""Creation: the first record of a run, and the value that a store keeps it by."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from astro.core.policy import RunOptions
from astro.core.protocols import NewRun
from astro.core.records import GENESIS, CreatedRecord, Raw, encode_record
from astro.core.signature import Bound
from astro.core.task import Task
from astro.engine.identity import derive
from astro.engine.parts import Parts

__all__ = ["new_run"]


def new_run(
    parts: Parts,
    said: RunOptions,
    task: Task[..., Any],
    bound: Bound,
    *,
    id: str,
    parent: tuple[str, str] | None = None,
) -> NewRun:
    """Return a run of a task, ready to be created.

    Args:
        parent: Run and call that start it, if any; its key is unique among their children.
    """
    now = parts.clock.now()
    until = now + said.deadline if isinstance(said.deadline, timedelta) else said.deadline
    created = CreatedRecord(
        seq=1,
        at=now,
        task=task.name,
        args=Raw(bound.raw),
        seed=f"{parts.chance.getrandbits(128):032x}",
        tenant=said.tenant,
        key=said.key,
        priority=int(said.priority),
        deadline=until,
        budget=said.budget,
        strict=said.strict,
        parent=parent,
        workflow=task.version if task.shape is not None else None,
    )
    return NewRun(
        id=id,
        task=task.name,
        entry=encode_record(created, tenant=said.tenant, run=id, token=0, head=GENESIS),
        fingerprint=derive(task.name, bound.raw, size=16).hex(),
        key=said.key,
        namespace="" if parent is None else parent[0],
        priority=int(said.priority),
        deadline=until,
        parent=None if parent is None else parent[0],
        created_at=now,
    )
