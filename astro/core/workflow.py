"""Workflows: a graph of tasks, kept as data.

Nodes name tasks; references to other nodes' results make the edges. A workflow can be built in
Python, read from a file, made by a planner, stored and sent: all of them are the same value,
with the same digest, and all mistakes are found when it is made.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping
from functools import cached_property
from hashlib import blake2b
from typing import Any, TypeVar

import attrs
import msgspec
from attrs.validators import instance_of, optional

from astro.core.binding import problems_with
from astro.core.codec import to_json
from astro.core.definition import Draft, output_of, read_draft, write_definition
from astro.core.errors import InvalidArgumentsError, WorkflowError
from astro.core.node import Input, Node
from astro.core.policy import URGENCY, Budget
from astro.core.references import Condition, Expression, Reference
from astro.core.structure import (
    Edges,
    edges_of,
    problems_of,
    settled,
    settled_output,
    spell_problem,
)
from astro.core.task import Task, check_name

__all__ = ["Condition", "Input", "Node", "Reference", "Workflow"]

T = TypeVar("T")


def _inputs(inputs: object) -> tuple[Input, ...]:
    if isinstance(inputs, Mapping):
        return tuple(Input(name, kind) for name, kind in inputs.items())
    return _all_of(Input, inputs, what="inputs", remedy="Write inputs={'topic': str}.")


def _all_of(kind: type[T], values: object, *, what: str, remedy: str) -> tuple[T, ...]:
    """Return what a list has, if all of it is of one kind.

    Raises:
        InvalidArgumentsError: It is no list, or has something else.
    """
    if isinstance(values, str) or not isinstance(values, Iterable):
        raise InvalidArgumentsError(f"{values!r:.60} is no list of {what}.", remedy=remedy)
    found: list[T] = []
    for value in values:
        if not isinstance(value, kind):
            raise InvalidArgumentsError(
                f"{value!r:.60} is none of a list of {what}.", remedy=remedy
            )
        found.append(value)
    return tuple(found)


@attrs.frozen(slots=False, init=False, repr=False)
class Workflow:
    """A graph of tasks.

    `Workflow("article", [research, draft], inputs={"topic": str})`.

    Attributes:
        nodes: In the order given; which may run when follows from what they refer to.
        inputs: What it is given at its start: types by name, or a list of `Input`.
        output: What it gives: an expression, a node, or a list of nodes, which gives their
            results by name. If absent, it is the results of all nodes on which none depends: of
            a single one just its result.
        priority: Of its calls; None takes the caller's.
        budget: Of one run of it, where the caller says nothing.

    Raises:
        WorkflowError: It is not well formed; carries all problems.
    """

    name: str
    nodes: tuple[Node, ...]
    inputs: tuple[Input, ...]
    output: Expression | None
    description: str = attrs.field(validator=instance_of(str))
    priority: int | None = attrs.field(validator=optional(URGENCY))
    budget: Budget | None = attrs.field(validator=optional(instance_of(Budget)))

    def __init__(
        self,
        name: str,
        nodes: Iterable[Node],
        *,
        inputs: Iterable[Input] | Mapping[str, Any] = (),
        output: object = None,
        description: str = "",
        priority: int | None = None,
        budget: Budget | None = None,
    ) -> None:
        check_name(name, what="workflow")
        nodes = _all_of(Node, nodes, what="nodes", remedy="Write Node('a', task), and list them.")
        given = _inputs(inputs)
        known = {node.name for node in nodes} | {one.name for one in given}
        nodes = tuple(settled(node, known) for node in nodes)
        found = settled_output(output_of(output), known)
        problems = problems_of(nodes, given, found)
        if problems:
            raise WorkflowError(name, [spell_problem(problem) for problem in problems])
        self.__attrs_init__(name, nodes, given, found, description, priority, budget)

    def __repr__(self) -> str:
        return f"<Workflow {self.name}: {len(self.nodes)} nodes, {self.digest[:8]}>"

    # --- The graph ---------------------------------------------------------------------------

    @cached_property
    def by_name(self) -> Mapping[str, Node]:
        """The nodes by name."""
        return {node.name: node for node in self.nodes}

    @cached_property
    def edges(self) -> Mapping[str, Edges]:
        """What comes before each node."""
        return edges_of(self.nodes)

    @cached_property
    def ends(self) -> tuple[str, ...]:
        """Nodes on which none depends."""
        inner = {name for edges in self.edges.values() for name in edges.all}
        return tuple(node.name for node in self.nodes if node.name not in inner)

    # --- As data -----------------------------------------------------------------------------

    def to_data(self) -> dict[str, Any]:
        """Return the workflow as plain data: the form that files have."""
        fields = attrs.fields(Workflow)
        given = {field.name: getattr(self, field.name) for field in fields}
        given |= {"nodes": list(self.nodes), "inputs": list(self.inputs)}
        return write_definition(Draft(**given))

    def to_json(self) -> bytes:
        """Return the workflow as canonical JSON: equal workflows give equal bytes."""
        return to_json(self.to_data())

    @classmethod
    def from_data(cls, form: object) -> Workflow:
        """Return the workflow of plain data.

        Raises:
            WorkflowError: It is not well formed; carries all problems.
        """
        name = form.get("name", "") if isinstance(form, Mapping) else ""
        draft = read_draft(name, form)
        if draft.problems:
            raise WorkflowError(str(name), [spell_problem(problem) for problem in draft.problems])
        return cls(**draft.attributes())

    @classmethod
    def from_json(cls, raw: bytes | str) -> Workflow:
        """Return the workflow of some JSON; the inverse of `to_json`.

        Raises:
            WorkflowError: It is not JSON or not well formed; carries all problems.
        """
        if not isinstance(raw, str | bytes | bytearray):
            raise WorkflowError("", [f"it is not JSON: {raw!r:.60} is no text"])
        try:
            form = msgspec.json.decode(raw)
            doubled = _doubled(raw)
        except (msgspec.MsgspecError, RecursionError, ValueError) as error:
            raise WorkflowError("", [f"it is not JSON: {error}"]) from error
        if doubled:
            raise WorkflowError("", [f"the key {key!r:.60} is given twice" for key in doubled])
        return cls.from_data(form)

    @cached_property
    def digest(self) -> str:
        """A hash of the content, 32 hexadecimal digits."""
        return blake2b(self.to_json(), digest_size=16).hexdigest()

    # --- Against tasks -----------------------------------------------------------------------

    def check(self, tasks: Mapping[str, Task[..., Any]]) -> list[str]:
        """Return everything in which the workflow does not fit the tasks it names."""
        return [spell_problem(problem) for problem in problems_with(self, tasks)]


def _doubled(raw: str | bytes | bytearray) -> list[str]:
    """Return the keys that an object of some JSON has twice; msgspec would keep the last."""
    found: dict[str, None] = {}

    def note(pairs: list[tuple[str, Any]]) -> None:
        if len(pairs) > 1:
            times = Counter(key for key, _ in pairs)
            found.update((key, None) for key, count in times.items() if count > 1)

    json.loads(raw, object_pairs_hook=note)
    return list(found)
