"""Journals written by hand, and graphs made by number, for tests of pictures."""

from __future__ import annotations

import random
from datetime import UTC, datetime, timedelta
from typing import Any

from astro import Record, State
from astro.core.records import (
    AskedRecord,
    CreatedRecord,
    EmittedRecord,
    FailedRecord,
    Failure,
    FinishedRecord,
    Raw,
    SleptRecord,
    StartedRecord,
    SucceededRecord,
)
from astro.core.workflow import Workflow
from astro.drawing import Edge, Graph, GraphNode, Link

BEGIN = datetime(2030, 1, 1, tzinfo=UTC)
TICK = timedelta(milliseconds=100)


class Journal:
    """The records of a run, one after another, a tenth of a second apart."""

    def __init__(self, task: str = "article", **more: Any) -> None:
        self.records: list[Record] = []
        self.now = BEGIN
        self.root = task
        self.add(CreatedRecord, task=task, args=Raw(b"{}"), seed="0", tenant="acme", **more)
        self.add(StartedRecord, call=task, task=task)

    def add(self, kind: Any, **fields: Any) -> None:
        self.now += TICK
        self.records.append(kind(seq=len(self.records) + 1, at=self.now, **fields))

    def call(self, task: str, parent: str = "", **fields: Any) -> str:
        """Begin a call and return its identity."""
        call = fields.pop("call", f"{task}:{len(self.records)}.0")
        self.add(StartedRecord, call=call, task=task, parent=parent or self.root, **fields)
        return str(call)

    def done(self, *calls: str) -> None:
        for call in calls:
            self.add(SucceededRecord, call=call, result=Raw(b"1"))

    def failed(self, call: str, message: str = "boom") -> None:
        failure = Failure(type="builtins.ValueError", message=message)
        self.add(FailedRecord, call=call, attempt=1, failure=failure)

    def step(self, task: str, parent: str = "", **fields: Any) -> str:
        """Begin and end a call."""
        call = self.call(task, parent, **fields)
        self.done(call)
        return call

    def sleep(self, duration: timedelta, call: str = "sleep:1") -> None:
        self.add(SleptRecord, call=call, parent=self.root, until=self.now + TICK + duration)

    def ask(self, question: str, call: str = "ask:1") -> None:
        schema = Raw(b"{}")
        self.add(AskedRecord, call=call, parent=self.root, question=question, schema=schema)

    def emit(self, name: str, value: bytes) -> None:
        raw = Raw(value)
        self.add(EmittedRecord, call=f"emit:{name}", parent=self.root, name=name, value=raw)

    def define(self, workflow: Workflow) -> None:
        """Keep the definition of the workflow that the run is of."""
        raw = b'{"digest":"0","workflow":' + workflow.to_json() + b"}"
        call = self.call("definition")
        self.add(SucceededRecord, call=call, result=Raw(raw))

    def finish(self, state: State = State.DONE, **fields: Any) -> None:
        self.add(FinishedRecord, state=state, **fields)


def graph(count: int, pairs: Any, **more: Any) -> Graph:
    """Return a graph of numbered nodes."""
    nodes = [GraphNode(id=str(number), label=f"node {number}") for number in range(count)]
    edges = [Edge(str(a), str(b), Link.GIVES) for a, b in pairs]
    return Graph(title="numbers", nodes=nodes, edges=edges, **more)


def random_pairs(count: int, edges: int, *, seed: int = 1) -> list[tuple[int, int]]:
    """Return edges of a graph without cycles, the same ones every time."""
    chance = random.Random(seed)
    found: set[tuple[int, int]] = set()
    while len(found) < edges:
        first, second = sorted(chance.sample(range(count), 2))
        if second - first <= max(8, count // 6):
            found.add((first, second))
    return sorted(found)


def labels(drawn: Graph) -> dict[str, str]:
    """Return the caption of each box by its label."""
    return {node.label: node.caption for node in drawn.nodes if not node.is_point}


def lines(drawn: Graph) -> set[tuple[str, str, str]]:
    """Return the edges by the labels of their ends."""
    label = {node.id: node.label for node in drawn.nodes}
    return {(label[edge.source], edge.link.name, label[edge.target]) for edge in drawn.edges}
