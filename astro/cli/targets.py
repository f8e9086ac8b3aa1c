"""Targets: what `FILE.yaml`, `FILE.yaml:workflow`, `module` and `module:task` mean."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

import attrs
import msgspec

from astro.core.codec import codec_of
from astro.core.errors import CodecError, InvalidArgumentsError, nearest
from astro.core.task import Task
from astro.core.workflow import Workflow
from astro.setup.assembly import offered
from astro.setup.plugins import load, load_module
from astro.setup.workflows import load_workflows

__all__ = ["FILE_KINDS", "Target", "arguments_of", "file_of", "load_target"]

FILE_KINDS: Final = (".yaml", ".yml", ".toml", ".json")
"""Suffixes of files of workflows and settings."""


@attrs.frozen(kw_only=True)
class Target:
    """What a command was asked to run, and what came with it.

    Attributes:
        name: Of the task or workflow.
        parts: Everything its file or module offers.
    """

    name: str
    parts: tuple[Any, ...]


def file_of(text: str) -> tuple[Path, str] | None:
    """Return the file and the name inside it, if a target is one of a file."""
    for place, name in ((text, ""), (text.rpartition(":")[0], text.rpartition(":")[2])):
        if Path(place).suffix.lower() in FILE_KINDS:
            return Path(place), name
    return None


def load_target(text: str, *, inputs: Iterable[str] = ()) -> Target:
    """Return what a target means.

    Args:
        inputs: Names that workflows without declared inputs may refer to.

    Raises:
        WorkflowError: The file has mistakes; carries all of them.
        SettingsError: The module or the task cannot be found.
        InvalidArgumentsError: It is not clear which workflow is meant, or it is none.
    """
    found = file_of(text)
    if found is not None:
        path, name = found
        flows = load_workflows(path, inputs=inputs)
        return Target(name=_chosen(flows, name, text), parts=tuple(flows))
    module, colon, name = text.partition(":")
    if not colon:
        known = [
            one.name for one in offered(load_module(module)) if isinstance(one, Task | Workflow)
        ]
        raise InvalidArgumentsError(
            f"{text} is a module; which task of it? It has {', '.join(known) or 'none'}.",
            remedy=f"Write {text}:{known[0] if known else 'task'}",
        )
    thing = load(text)
    if not isinstance(thing, Task | Workflow):
        raise InvalidArgumentsError(
            f"{text} is neither a task nor a workflow.", remedy="Decorate the function with @task."
        )
    return Target(name=thing.name, parts=(*offered(load_module(module)), thing))


def _chosen(flows: Sequence[Workflow], name: str, text: str) -> str:
    names = [flow.name for flow in flows]
    if name in names or (not name and len(names) == 1):
        return name or names[0]
    file = text.removesuffix(f":{name}") if name else text
    problem = (
        f"{file} has no workflow {name!r}.{nearest(name, names)}"
        if name
        else (f"{file} has {len(names)} workflows: {', '.join(names)}.")
    )
    raise InvalidArgumentsError(problem, remedy=f"Write {file}:{names[0]}")


def arguments_of(task: Task[..., Any], inputs: Iterable[tuple[str, str]]) -> dict[str, Any]:
    """Return arguments by name: JSON where it is some that fits the parameter, else text.

    Raises:
        InvalidArgumentsError: One does not fit or is missing; the nearest name is told.
    """
    kinds = task.signature.kinds
    found = {}
    for name, text in inputs:
        if name not in kinds:
            raise InvalidArgumentsError(
                f"{task.name} has no input {name!r}.{nearest(name, kinds)}",
                remedy=f"It has {', '.join(kinds) or 'none'}.",
            )
        found[name] = _argument(kinds[name], text, name)
    missing = [name for name in task.signature.required if name not in found]
    if missing:
        raise InvalidArgumentsError(
            f"{task.name} needs {', '.join(map(repr, missing))}.",
            remedy=f"Pass {' '.join(f'-i {name}=...' for name in missing)}",
        )
    return found


def _argument(kind: Any, text: str, name: str) -> Any:
    readings: list[Any] = []
    # The shell passes on bytes that are no text, and brackets without end.
    with suppress(msgspec.MsgspecError, RecursionError, UnicodeError):
        readings.append(msgspec.json.decode(text))
    for value in (*readings, text):
        try:
            return codec_of(kind).settle(value)[1]
        except CodecError as error:
            wrong = error
    wanted = kind.__name__ if isinstance(kind, type) else kind
    raise InvalidArgumentsError(
        f"The input {name!r} does not fit: {wrong.problem.rstrip('.')}.",
        remedy=f"Pass -i {name}=VALUE, as JSON of the type {wanted}.",
    )
