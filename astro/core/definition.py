"""Definitions: workflows as plain data, read strictly and written canonically.

One form for JSON and YAML, and for the audited platform's files, whose words are accepted beside
ours: `tasks` for `nodes`, `id` for `name`, `capability` for `task`. Reading goes on after a
mistake, so that one pass finds all of them, each with its path.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, Final

import attrs
import msgspec

from astro.core.errors import AstroError, nearest
from astro.core.fields import (
    as_budget,
    as_count,
    as_duration,
    as_fixed,
    as_names,
    as_on_failure,
    as_priority,
    as_retry,
    as_text,
    spell_budget,
    spell_duration,
    spell_retry,
)
from astro.core.node import Input, Node, list_of
from astro.core.policy import Budget
from astro.core.references import (
    MAX_NESTING,
    Composed,
    Expression,
    Fixed,
    Part,
    Reference,
    condition,
    expression,
    form_of,
    references,
)
from astro.core.structure import Problem, problems_of, settled, settled_output
from astro.core.task import check_name

__all__ = ["Draft", "output_of", "read_draft", "write_definition"]

_FIELDS: Final[Mapping[str, Callable[[Any], Any]]] = {
    "after": as_names,
    "at_once": as_count,
    "deadline": as_duration,
    "default": as_fixed,
    "dependencies": as_names,
    "description": as_text,
    "for_each": list_of,
    "instruction": expression,
    "on_failure": as_on_failure,
    "priority": as_priority,
    "retry": as_retry,
    "timeout": as_duration,
    "when": condition,
}
_NODE: Final = (*_FIELDS, "capability", "id", "inputs", "name", "payload", "task")
_WORKFLOW: Final = (
    "budget", "description", "inputs", "name", "nodes", "output", "priority", "tasks",
)  # fmt: skip
_INPUT: Final = ("default", "description", "name", "type")


class Draft(msgspec.Struct):
    """What was read of a workflow, and everything that is wrong with it.

    Attributes:
        places: Where each node stands in the form.
    """

    name: str
    nodes: list[Node] = msgspec.field(default_factory=list)
    inputs: list[Input] = msgspec.field(default_factory=list)
    output: Expression | None = None
    description: str = ""
    priority: int | None = None
    budget: Budget | None = None
    problems: list[Problem] = msgspec.field(default_factory=list)
    places: dict[str, tuple[Part, ...]] = msgspec.field(default_factory=dict)

    def attributes(self) -> dict[str, Any]:
        """Return the attributes of the workflow."""
        fields = ("name", "nodes", "inputs", "output", "description", "priority", "budget")
        return {field: getattr(self, field) for field in fields}


def output_of(value: object) -> Expression | None:
    """Return what a workflow gives: names of nodes stand for their results.

    Raises:
        InvalidArgumentsError: It is no expression.
    """
    if isinstance(value, str) and "{{" not in value:
        return Reference(value)
    if isinstance(value, list | tuple) and value and all(_names_a_node(one) for one in value):
        names = sorted({one if isinstance(one, str) else one.name for one in value})
        return Composed(tuple(map(Reference, names)), tuple(names))
    return None if value is None else expression(value)


def _names_a_node(value: object) -> bool:
    return isinstance(value, Node) or (isinstance(value, str) and "{{" not in value)


# --- Reading ---------------------------------------------------------------------------------


def read_draft(name: str, form: object, *, free_inputs: Iterable[Input] = ()) -> Draft:
    """Read a definition.

    Args:
        free_inputs: Inputs that a definition which declares none may use.
    """
    draft = Draft(name)
    try:
        check_name(name, what="workflow")
    except AstroError as error:
        draft.problems.append(((), _reason(error)))
    if not isinstance(form, Mapping):
        draft.problems.append(((), "a workflow is a mapping with `nodes` or `tasks`"))
        return draft
    reader = _Reader(draft, form)
    reader.read()
    known = {node.name for node in draft.nodes} | reader.broken
    if "inputs" in form:
        reader.inputs(form["inputs"])
    else:
        used = {one.name for node in draft.nodes for one in _references(node)} - known
        draft.inputs = [one for one in free_inputs if one.name in used]
    known |= {one.name for one in draft.inputs}
    draft.nodes = [settled(node, known) for node in draft.nodes]
    draft.output = settled_output(draft.output, known)
    beside = reader.broken | reader.broken_inputs
    found = problems_of(draft.nodes, draft.inputs, draft.output, beside=beside)
    draft.problems.extend((reader.place(path), text) for path, text in found)
    return draft


def _references(node: Node) -> Iterator[Reference]:
    for _, value in node.expressions():
        yield from references(value)


class _Reader:
    """Reads one definition into a draft."""

    def __init__(self, draft: Draft, form: Mapping[Any, Any]) -> None:
        self.draft = draft
        self.form = form
        self.broken: set[str] = set()
        self.broken_inputs: set[str] = set()

    def refuse(self, path: tuple[Part, ...], problem: str) -> None:
        self.draft.problems.append((path, problem))

    def place(self, path: tuple[Part, ...]) -> tuple[Part, ...]:
        """Return where the form has what the structure calls by node."""
        if len(path) > 1 and path[0] == "nodes":
            return (*self.draft.places.get(str(path[1]), path[:2]), *path[2:])
        return path

    def read(self) -> None:
        self.unknown_keys((), self.form, _WORKFLOW)
        draft = self.draft
        draft.description = self.take((), self.form, "description", as_text) or ""
        draft.priority = self.take((), self.form, "priority", as_priority)
        draft.budget = self.take((), self.form, "budget", as_budget)
        draft.output = self.take((), self.form, "output", output_of)
        given = [key for key in ("nodes", "tasks") if key in self.form]
        if len(given) != 1:
            self.refuse((), "it needs either `nodes` or `tasks`")
        for key in given:
            self.nodes(key, self.form[key])

    def take(
        self, path: tuple[Part, ...], form: Mapping[Any, Any], key: str, read: Callable[[Any], Any]
    ) -> Any:
        """Return a field, or None where it is absent or wrong."""
        if key not in form:
            return None
        if form[key] is None and key != "default":
            return None  # a key without a value in YAML
        try:
            return read(form[key])
        except AstroError as error:
            self.refuse((*path, key), _reason(error))
        return None

    def unknown_keys(
        self, path: tuple[Part, ...], form: Mapping[Any, Any], known: Iterable[str]
    ) -> None:
        for key in form:
            if key not in known:
                self.refuse((*path, key), f"{key!r} is unknown here.{nearest(str(key), known)}")

    # --- Nodes ---

    def nodes(self, key: str, forms: object) -> None:
        if isinstance(forms, Mapping):
            for name, form in forms.items():
                self.node((key, name), name, form)
        elif isinstance(forms, list):
            for index, form in enumerate(forms):
                named = [k for k in ("name", "id") if isinstance(form, Mapping) and k in form]
                if len(named) == 1:
                    self.node((key, index), form[named[0]], form)
                else:
                    self.refuse((key, index), "a node of a list needs either `name` or `id`")
        else:
            self.refuse((key,), "it is neither a list nor a mapping of nodes")

    def node(self, path: tuple[Part, ...], name: object, form: object) -> None:
        if isinstance(name, str):
            if name in self.draft.places:
                self.refuse(path, f"there is already a node {name!r}")
            else:
                self.broken.add(name)  # until it turns out to be sound
                self.draft.places[name] = path
        if not isinstance(form, Mapping):
            self.refuse(path, "a node is a mapping with `task` or `capability`")
            return
        self.unknown_keys(path, form, _NODE)
        fields = {key: self.take(path, form, key, read) for key, read in _FIELDS.items()}
        for key in ("inputs", "payload"):
            fields[key] = self.values((*path, key), form.get(key))
        tasks = [form[key] for key in ("task", "capability") if form.get(key) is not None]
        if len(tasks) != 1 or not isinstance(tasks[0], str):
            self.refuse(path, "it needs either `task` or `capability`, the name of a task")
            tasks = ["unknown"]
        given = {key: value for key, value in fields.items() if value is not None}
        try:
            node = Node(name, tasks[0], **given)  # type: ignore[arg-type]  # checked by the node
        except AstroError as error:
            self.refuse(path, _reason(error))
            return
        if self.draft.places[node.name] == path:
            self.draft.nodes.append(node)
            self.broken.discard(node.name)

    def values(self, path: tuple[Part, ...], form: object) -> dict[str, Expression]:
        """Return expressions by name; each mistake with the path of the value it is in."""
        if form is None:
            return {}
        if not isinstance(form, Mapping):
            self.refuse(path, "it is no mapping of names to values")
            return {}
        return {name: self.value((*path, name), value) for name, value in form.items()}

    def value(self, path: tuple[Part, ...], value: object, depth: int = 0) -> Expression:
        """Return an expression; null stands where there is a mistake."""
        try:
            if isinstance(value, Mapping | list) and depth < MAX_NESTING:
                pairs = value.items() if isinstance(value, Mapping) else enumerate(value)
                inner = {key: self.value((*path, key), one, depth + 1) for key, one in pairs}
                value = inner if isinstance(value, Mapping) else list(inner.values())
            return expression(value, depth=depth)
        except AstroError as error:
            self.refuse(path, _reason(error))
        return expression(None)

    # --- Inputs ---

    def inputs(self, form: object) -> None:
        if isinstance(form, Mapping):
            for name, one in form.items():
                self.input(("inputs", name), name, one)
        elif isinstance(form, list):
            for index, one in enumerate(form):
                name = one.get("name") if isinstance(one, Mapping) else one
                self.input(("inputs", index), name, one if isinstance(one, Mapping) else None)
        elif form is not None:
            self.refuse(("inputs",), "it is neither a list nor a mapping of inputs")

    def input(self, path: tuple[Part, ...], name: Any, form: object) -> None:
        form = {"type": form} if isinstance(form, str) else {} if form is None else form
        if isinstance(name, str):
            self.broken_inputs.add(name)
        if not isinstance(form, Mapping):
            self.refuse(path, "an input is a type, or a mapping with `type` and `default`")
            return
        self.unknown_keys(path, form, _INPUT)
        given = {
            "kind": self.take(path, form, "type", as_text) or "any",
            "description": self.take(path, form, "description", as_text) or "",
        }
        if "default" in form:
            given["default"] = self.take(path, form, "default", as_fixed)
        try:
            self.draft.inputs.append(Input(name, **given))
        except AstroError as error:
            self.refuse(path, _reason(error))
            return
        self.broken_inputs.discard(name)


def _reason(error: AstroError) -> str:
    return f"{error.problem} {error.remedy}".strip()


# --- Writing ---------------------------------------------------------------------------------


def write_definition(draft: Draft) -> dict[str, Any]:
    """Return a definition as plain data, without what is left at its default."""
    form: dict[str, Any] = {
        "name": draft.name,
        "nodes": [_node_form(node) for node in draft.nodes],
    }
    if draft.inputs:
        form["inputs"] = [_input_form(one) for one in draft.inputs]
    if draft.output is not None:
        form["output"] = form_of(draft.output)
    if draft.description:
        form["description"] = draft.description
    if draft.priority is not None:
        form["priority"] = int(draft.priority)
    if draft.budget is not None:
        form["budget"] = spell_budget(draft.budget)
    return form


_SPELLED: Final[Mapping[str, Callable[[Any], Any]]] = {
    "after": list,
    "deadline": spell_duration,
    "default": form_of,
    "dependencies": list,
    "for_each": form_of,
    "inputs": lambda pairs: {name: form_of(value) for name, value in pairs},
    "instruction": form_of,
    "on_failure": str,
    "payload": lambda pairs: {name: form_of(value) for name, value in pairs},
    "priority": int,
    "retry": spell_retry,
    "timeout": spell_duration,
    "when": form_of,
}


def _node_form(node: Node) -> dict[str, Any]:
    form: dict[str, Any] = {}
    for field in attrs.fields(Node):
        value = getattr(node, field.name)
        if value != field.default or field.name in ("name", "task"):
            form[field.name] = _SPELLED.get(field.name, lambda same: same)(value)
    return form


def _input_form(one: Input) -> dict[str, Any]:
    form: dict[str, Any] = {"name": one.name, "type": one.kind}
    if isinstance(one.default, Fixed):
        form["default"] = form_of(one.default)
    if one.description:
        form["description"] = one.description
    return form
