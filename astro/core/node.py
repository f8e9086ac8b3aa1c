"""Nodes: the parts of a workflow, each of which asks for one task.

Frozen values, checked at birth. What only the whole workflow can tell (does the name exist, is
there a cycle) is checked where the whole is: in `workflow`.
"""

from __future__ import annotations

import keyword
from collections.abc import Iterable, Iterator, Mapping
from datetime import timedelta
from typing import Any

import attrs
import msgspec
from attrs.validators import instance_of, optional

from astro.core.codec import to_json
from astro.core.errors import InvalidArgumentsError
from astro.core.kinds import kind_of, spell_kind
from astro.core.policy import LONGEST, URGENCY, OnFailure, Retry
from astro.core.references import (
    ITEM,
    Composed,
    Condition,
    Expression,
    Fixed,
    Reference,
    condition,
    expression,
    references,
)
from astro.core.task import Task, check_name

__all__ = ["Input", "Node", "list_of"]


def _refused(problem: str, remedy: str) -> InvalidArgumentsError:
    return InvalidArgumentsError(problem, remedy=remedy)


# --- Converters: from what people write to what is kept ----------------------------------------


def _fixed(value: object) -> Fixed | msgspec.UnsetType:
    """Return a default as it is kept; None is a default like any other."""
    return value if isinstance(value, Fixed | msgspec.UnsetType) else Fixed(to_json(value))


def _task_name(task: str | Task[..., Any]) -> str:
    return check_name(task.name if isinstance(task, Task) else task, what="task")


def _named(values: object) -> tuple[tuple[str, Expression], ...]:
    """Return expressions by name, in the order of the names."""
    pairs = values.items() if isinstance(values, Mapping) else values
    if isinstance(pairs, str) or not isinstance(pairs, Iterable):
        raise _refused(f"{values!r:.60} gives no values by name.", "Pass a dict.")
    found: dict[str, Expression] = {}
    for pair in pairs:
        if not isinstance(pair, tuple) or len(pair) != 2:
            raise _refused(f"{pair!r:.60} gives no values by name.", "Pass a dict.")
        name = _parameter(pair[0])
        if name in found:
            raise _refused(f"{name!r:.60} is given twice.", "Pass a dict.")
        found[name] = expression(pair[1])
    return tuple((name, found[name]) for name in sorted(found))


def _parameter(name: object) -> str:
    if not isinstance(name, str):
        raise _refused(f"{name!r:.60} is no name of a parameter.", "Names are text.")
    return name


def _names(nodes: object) -> tuple[str, ...]:
    """Return names of nodes, each once, in the order given."""
    if isinstance(nodes, str | Node) or not isinstance(nodes, Iterable):
        raise _refused(f"{nodes!r:.60} is no list of nodes.", "Write it as a list.")
    names = [node.name if isinstance(node, Node) else node for node in nodes]
    for name in names:
        if not isinstance(name, str):
            raise _refused(f"{name!r:.60} is no name of a node.", "Names are text.")
    return tuple(dict.fromkeys(names))


def _when(value: object) -> Condition | None:
    if isinstance(value, bool):
        # `ref == 3` is such a value, and would switch the node off in silence.
        raise _refused("A condition is no bool.", "Write reference.equals(3), not reference == 3.")
    return None if value is None else condition(value)


def _words(value: object) -> Expression | None:
    return None if value is None else expression(value)


def list_of(value: object) -> Expression | None:
    """Return what `for_each` goes over.

    Raises:
        InvalidArgumentsError: It can be no list.
    """
    found = None if value is None else expression(value)
    is_list = isinstance(found, Composed) and found.keys is None
    is_list = is_list or (isinstance(found, Fixed) and found.raw.startswith(b"["))
    if found is not None and not is_list and not isinstance(found, Reference):
        raise _refused("for_each goes over a list or a reference to one.", "Write {{ name }}.")
    return found


def _seconds(value: object) -> Any:
    """Return a number as so many seconds, if there are so many."""
    if not isinstance(value, int | float) or isinstance(value, bool):
        return value
    try:
        return timedelta(seconds=value)
    except (OverflowError, ValueError):
        return value  # refused where the field is known


def _retry(value: object) -> Any:
    return Retry(attempts=value) if type(value) is int else value


def _positive(_: object, attribute: Any, value: timedelta | None) -> None:
    if value is None:
        return
    name, remedy = attribute.name, "Leave it out for no limit."
    if not isinstance(value, timedelta):
        raise _refused(f"The {name} is not positive seconds: {value!r:.60}.", remedy)
    if value <= timedelta(0):
        raise _refused(f"The {name} is not positive.", remedy)
    if value > LONGEST:
        raise _refused(f"The {name} is longer than a thousand years.", remedy)


def _as_data(_: object, __: Any, retry: Retry | None) -> None:
    if retry is not None and retry.on != Retry().on:
        raise _refused(
            "A node's retry names no error classes, because a workflow is data.",
            "Give `on` to the task: @task(retry=Retry(on=...)).",
        )


# --- Values ----------------------------------------------------------------------------------


def _input_name(name: str) -> str:
    if not isinstance(name, str) or not name.isidentifier() or keyword.iskeyword(name):
        raise _refused(
            f"{name!r:.60} is no name for an input.", "Use a name that a Python parameter can have."
        )
    return check_name(name, what="workflow's input")


@attrs.frozen
class Input:
    """A value that a workflow is given when it starts.

    Attributes:
        kind: Its type: a Python type of plain values or the words for one; kept as words.
        default: What it is when it is not given; without one it has to be.
    """

    name: str = attrs.field(converter=_input_name)
    kind: str = attrs.field(default="any", converter=spell_kind)
    default: Fixed | msgspec.UnsetType = attrs.field(
        default=msgspec.UNSET, converter=_fixed, kw_only=True
    )
    description: str = attrs.field(default="", kw_only=True, validator=instance_of(str))

    @property
    def type(self) -> Any:
        """The Python type."""
        return kind_of(self.kind)


@attrs.frozen
class Node:
    """One task of a workflow, and what it is given.

    `Node("draft", write, {"notes": research.result["notes"]}, retry=3)`. Inputs are values,
    references, text with `{{ name }}` in it, or lists and dicts of these; each reference to
    another node's result makes an edge.

    Attributes:
        task: Name of the task; a `Task` may be given.
        inputs: Expressions by parameter name, sorted by name.
        after: Nodes that come before this one without giving it anything.
        when: The node is skipped where this does not hold.
        for_each: A list; the node asks for its task once per item, which is `{{ item }}`, and
            its result is the list of results.
        at_once: Items at the same moment.
        timeout: Of one attempt.
        deadline: Of one call, all its attempts together.
        on_failure: What a failure for good means: the workflow fails, the node is skipped, or
            it gives its default.
        default: Result of the node when it is skipped, or when it fails and `on_failure` says so.
        instruction: What to do, in words; goes to the parameter `instruction`.
        payload: Expressions bound by parameter name where the task has such parameters.
        dependencies: Nodes whose results are bound by parameter name.
    """

    name: str = attrs.field()
    task: str = attrs.field(converter=_task_name)
    inputs: tuple[tuple[str, Expression], ...] = attrs.field(default=(), converter=_named)
    after: tuple[str, ...] = attrs.field(default=(), kw_only=True, converter=_names)
    when: Condition | None = attrs.field(default=None, kw_only=True, converter=_when)
    for_each: Expression | None = attrs.field(default=None, kw_only=True, converter=list_of)
    at_once: int = attrs.field(default=100, kw_only=True)
    retry: Retry | None = attrs.field(
        default=None,
        kw_only=True,
        converter=_retry,
        validator=[optional(instance_of(Retry)), _as_data],
    )
    timeout: timedelta | None = attrs.field(
        default=None, kw_only=True, converter=_seconds, validator=_positive
    )
    deadline: timedelta | None = attrs.field(
        default=None, kw_only=True, converter=_seconds, validator=_positive
    )
    priority: int | None = attrs.field(default=None, kw_only=True, validator=optional(URGENCY))
    on_failure: OnFailure = attrs.field(default=OnFailure.FAIL, kw_only=True, converter=OnFailure)
    default: Fixed | msgspec.UnsetType = attrs.field(
        default=msgspec.UNSET, kw_only=True, converter=_fixed
    )
    instruction: Expression | None = attrs.field(default=None, kw_only=True, converter=_words)
    payload: tuple[tuple[str, Expression], ...] = attrs.field(
        default=(), kw_only=True, converter=_named
    )
    dependencies: tuple[str, ...] = attrs.field(default=(), kw_only=True, converter=_names)
    description: str = attrs.field(default="", kw_only=True, validator=instance_of(str))

    @name.validator
    def _check_name(self, _: object, name: str) -> None:
        check_name(name, what="node")

    @at_once.validator
    def _check_at_once(self, _: object, at_once: int) -> None:
        if type(at_once) is not int or at_once < 1:
            raise _refused("at_once is not a positive number.", "Leave it out for 100.")

    @on_failure.validator
    def _check_default(self, _: object, __: OnFailure) -> None:
        """Both fields are set when attrs validates."""
        if self.on_failure is OnFailure.DEFAULT and not isinstance(self.default, Fixed):
            raise _refused("on_failure is 'default' and there is none.", "Give the node a default.")
        if self.on_failure is OnFailure.SKIP and isinstance(self.default, Fixed):
            raise _refused(
                "A node with a default is never skipped without a result.",
                "Use on_failure='default', or leave the default out.",
            )

    @property
    def result(self) -> Reference:
        """Stands for the node's result in the inputs of others."""
        return Reference(self.name)

    def expressions(self) -> Iterator[tuple[tuple[str, ...], Expression | Condition]]:
        """Yield where the node refers to others, with the path of the field."""
        yield from ((("inputs", name), value) for name, value in self.inputs)
        yield from ((("payload", name), value) for name, value in self.payload)
        for field in ("instruction", "when", "for_each"):
            value = getattr(self, field)
            if value is not None:
                yield (field,), value

    def needs(self) -> tuple[str, ...]:
        """Return the names whose values the node needs: other nodes and inputs."""
        found = [one.name for _, value in self.expressions() for one in references(value)]
        return tuple(n for n in dict.fromkeys((*self.dependencies, *found)) if n != ITEM)
