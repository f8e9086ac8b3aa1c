"""Loading workflows from files, ours and those of the audited platform.

A file has one workflow, or several under `workflows:` or as its top-level names. All mistakes of
a file are reported at once, each with its line and its path. Nothing of a file is evaluated.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path as FilePath
from typing import Any, Final

from astro.core.definition import Draft, read_draft
from astro.core.errors import SettingsError, WorkflowError, nearest
from astro.core.workflow import Input, Workflow
from astro.setup.composing import Document, Path
from astro.setup.yaml import read_document

__all__ = ["load_workflows", "workflows_of"]

_BESIDE: Final = ("description", "version", "workflows")
"""Keys that may stand beside `workflows:`."""


def load_workflows(
    path: str | FilePath, *, inputs: Iterable[str] | Mapping[str, Any] = ()
) -> list[Workflow]:
    """Return the workflows of a file of YAML, TOML or JSON, in its order.

    Args:
        inputs: Names (or types by name) of inputs that workflows without an `inputs` section may
            refer to; the audited platform's files have no such section.

    Raises:
        WorkflowError: The file cannot be read or has mistakes; carries all of them.
        MissingExtraError: The file is YAML and the extra `yaml` is not installed.
    """
    try:
        document = read_document(path)
    except SettingsError as error:
        raise WorkflowError(str(path), error.problems) from error
    return workflows_of(document, inputs=inputs)


def workflows_of(
    document: Document, *, inputs: Iterable[str] | Mapping[str, Any] = ()
) -> list[Workflow]:
    """Return the workflows of a document that has been read.

    Raises:
        WorkflowError: It has mistakes; carries all of them.
    """
    kinds = inputs if isinstance(inputs, Mapping) else dict.fromkeys(inputs, Any)
    free = [Input(name, kind) for name, kind in kinds.items()]
    found: list[tuple[int, str]] = []
    drafts: list[Draft] = []

    def refuse(path: Path, text: str) -> None:
        found.append((document.line(path), document.problem(path, text)))

    for path, name, form in _forms(document.data, refuse):
        draft = read_draft(name, form, free_inputs=free)
        drafts.append(draft)
        for inner, text in draft.problems:
            refuse((*path, *inner), text)
    if found:
        problems = [text for _, text in sorted(found, key=lambda one: one[0])]
        raise WorkflowError(document.source, problems)
    return [Workflow(**draft.attributes()) for draft in drafts]


def _forms(data: Any, refuse: Any) -> Iterator[tuple[Path, str, Any]]:
    """Yield where each workflow stands, its name and its form."""
    if not isinstance(data, Mapping) or not data:
        refuse((), "a file of workflows is a mapping: `workflows:`, or workflows by name")
        return
    if "workflows" in data:
        for key in data:
            if key not in _BESIDE:
                hint = nearest(key, _BESIDE)
                refuse((key,), f"{key!r} is unknown here.{hint}")
        yield from _several(("workflows",), data["workflows"], refuse)
    elif isinstance(data.get("nodes", data.get("tasks")), list | Mapping) and "name" in data:
        yield (), data["name"], data
    else:
        yield from _several((), data, refuse)


def _several(path: Path, forms: Any, refuse: Any) -> Iterator[tuple[Path, str, Any]]:
    if not isinstance(forms, Mapping) or not forms:
        refuse(path, "it is no mapping of names to workflows")
        return
    for name, form in forms.items():
        if isinstance(form, Mapping) and form.get("name", name) != name:
            refuse((*path, name, "name"), f"the key says that its name is {name!r}")
        yield (*path, name), name, form
