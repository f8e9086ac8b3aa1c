"""Binding: what each parameter of a node's task is given, and whether it fits.

Inputs name parameters. What a node of the audited format offers (an instruction, a payload, the
results of its dependencies) goes to the parameters that are called like it, as the signature of
the task tells; so this needs the tasks, where the structure does not.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final, Optional, get_args, get_origin

from astro.core.codec import codec_of
from astro.core.errors import AstroError, CodecError, nearest
from astro.core.kinds import fits, inside
from astro.core.node import Node
from astro.core.policy import OnFailure
from astro.core.references import (
    ITEM,
    Composed,
    Expression,
    Fixed,
    Part,
    Reference,
    Text,
    expression,
)
from astro.core.signature import Signature
from astro.core.structure import Problem
from astro.core.task import Task

if TYPE_CHECKING:
    from astro.core.workflow import Workflow

__all__ = ["bind", "output_kind", "problems_with", "result_kind"]

_ALL_RESULTS: Final = ("dependencies", "context")
"""Parameters that receive the results of all dependencies by name."""


def bind(node: Node, signature: Signature) -> dict[str, Expression]:
    """Return what each parameter is given.

    An input wins over the instruction, that over a key of the payload, that over the result of
    a dependency, that over the whole payload or all results.
    """
    bound = dict(node.inputs)
    offered = dict(node.payload)
    if node.instruction is not None:
        offered["instruction"] = node.instruction
    results = {_parameter(name): Reference(name) for name in node.dependencies}
    for name in signature.names:
        if name in bound:
            continue
        if name in offered:
            bound[name] = offered[name]
        elif name in results:
            bound[name] = results[name]
        elif name == "payload" and offered:
            bound[name] = expression(dict(node.payload))
        elif name in _ALL_RESULTS and node.dependencies and _takes_objects(signature, name):
            bound[name] = expression({one: Reference(one) for one in node.dependencies})
    return bound


def _parameter(name: str) -> str:
    """Return the parameter that is called like a node: `fetch-data` is `fetch_data`."""
    return re.sub(r"\W", "_", name)


def _takes_objects(signature: Signature, name: str) -> bool:
    return fits(dict, signature.kinds[name]) is not False


def result_kind(node: Node, signature: Signature) -> Any:
    """Return the type of a node's result."""
    kind = signature.returns.kind
    return kind if node.for_each is None else list[kind]  # type: ignore[valid-type]  # made here


def problems_with(flow: Workflow, tasks: Mapping[str, Task[..., Any]]) -> list[Problem]:
    """Return everything in which a workflow does not fit the tasks it names."""
    return list(_Check(flow, tasks).problems())


def output_kind(flow: Workflow, tasks: Mapping[str, Task[..., Any]]) -> Any:
    """Return the type of a workflow's result, as far as it is known."""
    output = flow.output
    if output is None:
        if len(flow.ends) != 1:
            return dict[str, Any]
        output = Reference(flow.ends[0])
    if not isinstance(output, Reference):
        return Any
    try:
        kind = _Check(flow, tasks).kind_of(output)
    except LookupError:
        return Any
    skips = any(n.when is not None or n.on_failure is OnFailure.SKIP for n in flow.nodes)
    return Optional[kind] if skips and kind is not Any else kind  # noqa: UP045  # a value


class _Check:
    """Compares a workflow with tasks."""

    def __init__(self, flow: Workflow, tasks: Mapping[str, Task[..., Any]]) -> None:
        self._flow = flow
        self._tasks = tasks
        self._kinds: dict[str, Any] = {one.name: one.type for one in flow.inputs}
        self._broken: dict[str, str] = {}
        self._signatures: dict[str, Signature] = {}
        for name in {node.task for node in flow.nodes} & tasks.keys():
            try:
                self._signatures[name] = tasks[name].signature
            except AstroError as error:
                self._broken[name] = error.problem
        for node in flow.nodes:
            signature = self._signatures.get(node.task)
            self._kinds[node.name] = Any if signature is None else result_kind(node, signature)

    def problems(self) -> Iterator[Problem]:
        hints = 0
        for one in self._flow.inputs:
            if isinstance(one.default, Fixed):
                yield from _unfit(one.default, one.type, ("inputs", one.name, "default"))
        for node in self._flow.nodes:
            here = ("nodes", node.name)
            signature = self._signatures.get(node.task)
            if node.task in self._broken:
                yield here, f"the task {node.task!r} is not usable: {self._broken[node.task]}"
            elif signature is None:
                hints += 1
                hint = nearest(node.task, self._tasks) if hints < 20 else ""
                yield here, f"there is no task {node.task!r}.{hint}"
            else:
                yield from self._in_node(node, signature)
        if self._flow.output is not None:
            yield from self._value(self._flow.output, Any, ("output",), Any)

    def _in_node(self, node: Node, signature: Signature) -> Iterator[Problem]:
        here = ("nodes", node.name)
        item = Any
        if node.for_each is not None:
            yield from self._value(node.for_each, list, (*here, "for_each"), Any)
            item = self._item(node.for_each)
        if isinstance(node.default, Fixed):
            yield from _unfit(node.default, self._kinds[node.name], (*here, "default"))
        bound = bind(node, signature)
        fields = {name: "payload" for name, _ in node.payload} | {
            name: "inputs" for name, _ in node.inputs
        }
        for name, value in bound.items():
            path = (*here, fields.get(name, "inputs"), name)
            if name in signature.kinds:
                yield from self._value(value, signature.kinds[name], path, item)
            else:
                hint = nearest(name, signature.names)
                yield path, f"the task {node.task!r} has no parameter {name!r}.{hint}"
        for name in signature.required:
            if name not in bound:
                yield here, f"the parameter {name!r} of the task {node.task!r} is not given"
        if "payload" not in bound:
            for name, _ in node.payload:
                if name not in signature.kinds:
                    hint = nearest(name, signature.names)
                    path = (*here, "payload", name)
                    yield path, f"the task {node.task!r} has no parameter {name!r}.{hint}"

    def _item(self, over: Expression) -> Any:
        """Return the type of the items of a list, as far as it is known."""
        try:
            kind = self.kind_of(over) if isinstance(over, Reference) else Any
        except LookupError:
            return Any
        return get_args(kind)[0] if get_origin(kind) is list else Any

    def kind_of(self, reference: Reference, item: Any = Any) -> Any:
        """Return the type of a reference.

        Raises:
            LookupError: Its path leads nowhere.
        """
        kind = item if reference.name == ITEM else Any
        kind = self._kinds.get(reference.name, kind)
        for part in reference.path:
            kind = inside(kind, part)
        return kind

    def _value(
        self, value: Expression, wanted: Any, path: tuple[Part, ...], item: Any
    ) -> Iterator[Problem]:
        """Yield where a value does not fit what is wanted."""
        if isinstance(value, Fixed):
            yield from _unfit(value, wanted, path)
        elif isinstance(value, Composed):
            given: Any = list if value.keys is None else dict
            if fits(given, wanted) is False:
                yield path, f"it wants {_spelled(wanted)}, not {_spelled(given)}"
                return
            args = get_args(wanted) if get_origin(wanted) is given else (Any,)
            keys: Sequence[Part] = value.keys or range(len(value.items))
            for key, one in zip(keys, value.items, strict=True):
                yield from self._value(one, args[-1], (*path, key), item)
        else:
            yield from self._reference(value, wanted, path, item)

    def _reference(
        self, value: Reference | Text, wanted: Any, path: tuple[Part, ...], item: Any
    ) -> Iterator[Problem]:
        kinds: list[Any] = []
        for part in (value,) if isinstance(value, Reference) else value.parts:
            if isinstance(part, Reference):
                try:
                    kinds.append(self.kind_of(part, item))
                except LookupError as error:
                    yield path, str(error.args[0])
        given = str if isinstance(value, Text) else kinds[0] if kinds else Any
        if fits(given, wanted) is False:
            yield path, f"it wants {_spelled(wanted)}, not {_spelled(given)}"


def _unfit(value: Fixed, wanted: Any, path: tuple[Part, ...]) -> Iterator[Problem]:
    try:
        codec_of(wanted).decode(value.raw)
    except CodecError as error:
        yield path, error.problem


def _spelled(kind: Any) -> str:
    if isinstance(kind, type):  # list[int] is none
        return kind.__name__
    return str(kind).replace("typing.", "")
