"""Naming: calls as those who watch know them.

A call of a workflow has the name of its node, any other one that of its task. Where a name comes
again, the calls are numbered. What a workflow asks for on its own account has no name.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection

import msgspec

from astro.core.records import EmittedRecord, Record, StartedRecord

__all__ = ["CallNames"]


class CallNames:
    """The names of the calls of one run, learnt from its records in order.

    Args:
        flows: Names of tasks that are workflows.
    """

    def __init__(self, flows: Collection[str] = ()) -> None:
        self._flows = frozenset(flows)
        self._tasks: dict[str, str] = {}
        self._names: dict[str, str] = {}
        self._count: Counter[str] = Counter()

    def of(self, record: Record) -> str | None:
        """Return the name of what a record is about, empty for the run, None for a hidden step."""
        if isinstance(record, StartedRecord) and record.call not in self._tasks:
            self._learn(record)
        call = str(getattr(record, "call", ""))
        if call in self._tasks:
            return self._names.get(call)
        if isinstance(record, EmittedRecord) and self._is_flow(record.parent):
            return self._told(record)
        return str(getattr(record, "task", "") or call.partition(":")[0])

    def _is_flow(self, call: str) -> bool:
        return self._tasks.get(call) in self._flows

    def _learn(self, record: StartedRecord) -> None:
        self._tasks[record.call] = record.task
        of_flow = self._is_flow(record.parent)
        if of_flow and _is_step(record):
            return
        several = record.place.endswith("[]")
        place = record.place.removesuffix("[]")
        if not of_flow:
            name = f"{place}/{record.task}" if place else record.task
        else:
            name = self._inside(record.parent, place)
        self._count[name] += 1
        number = self._count[name]
        self._names[record.call] = f"{name} #{number}" if several or number > 1 else name

    def _inside(self, flow: str, node: str) -> str:
        """Return the name of a node, after that of its workflow unless this is the whole run."""
        whole = flow == next(iter(self._tasks))
        return node if whole else f"{self._names.get(flow, flow)}/{node}"

    def _told(self, record: EmittedRecord) -> str:
        """Return the node that a workflow tells something of."""
        return self._inside(record.parent, msgspec.json.decode(record.value)["node"])


def _is_step(record: StartedRecord) -> bool:
    """Return whether a workflow asked on its own account: nodes always have a place."""
    return record.task == "for_each" or (record.task == "definition" and not record.place)
