"""Checking: what can be said of files and modules without running anything."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Final

import anyio
import attrs
import click

from astro.cli.opening import (
    Place,
    inputs_option,
    open_store,
    place_options,
    read_place,
    tasks_option,
)
from astro.cli.outcome import Code, note, write, write_json
from astro.cli.targets import file_of, load_target
from astro.core.errors import (
    AstroError,
    SettingsError,
    StoreUnavailableError,
    WorkflowError,
    nearest,
)
from astro.core.protocols import RunQuery, RunSummary, Store
from astro.core.records import CreatedRecord, Record, State
from astro.core.task import Task
from astro.core.workflow import Workflow
from astro.decisions.replay import replay
from astro.drawing import graph_of_workflow, to_mermaid, to_svg
from astro.engine.posting import read_all
from astro.setup.assembly import gather, offered
from astro.setup.composing import Document
from astro.setup.plugins import load, load_module
from astro.setup.settings import FILES, Settings
from astro.setup.workflows import workflows_of
from astro.setup.yaml import read_document

__all__ = ["check", "graph"]

_ONLY_SETTINGS: Final = frozenset(
    {"agents", "executor", "grace", "lease_for", "limits", "logging", "sandbox", "store"}
)
_PAGE: Final = 500
_PARTS: Final = re.compile(r"^[^:]*(agents|tasks)", re.IGNORECASE)  # where a problem is


@click.command()
@click.argument("target", metavar="FILE[:WORKFLOW]|MODULE:WORKFLOW")
@inputs_option
@click.option("--format", "form", type=click.Choice(["svg", "mermaid"]), default="mermaid")
@click.option("-o", "--output", type=click.Path(dir_okay=False, path_type=Path))
@click.option("--json", "as_json", is_flag=True, help="Write JSON.")
def graph(
    target: str, inputs: tuple[str, ...], form: str, output: Path | None, as_json: bool
) -> int:
    """Draw a workflow as SVG or Mermaid."""
    found = load_target(target, inputs=inputs)
    flows = [one for one in found.parts if isinstance(one, Workflow) and one.name == found.name]
    if not flows:
        raise click.UsageError(f"{target} is a task; only workflows have a graph of their own.")
    drawn = graph_of_workflow(flows[0])
    text = to_svg(drawn) if form == "svg" else to_mermaid(drawn)
    if output is not None:
        _write_file(output, text)
        text = str(output)
    if as_json:
        write_json({"workflow": found.name, "format": form, "file" if output else "text": text})
    else:
        write([text])
    return Code.OK


def _write_file(path: Path, text: str) -> None:
    try:
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        why = error.strerror or type(error).__name__
        raise click.BadParameter(
            f"{str(path)!r} cannot be written: {why}", param_hint="--output"
        ) from error


# --- Check -------------------------------------------------------------------------------------


@attrs.define
class _Findings:
    """What was found.

    Attributes:
        notes: What could not be checked, and why.
        partial: Whether tasks or agents are not known because they could not be made.
    """

    problems: list[str] = attrs.field(factory=list)
    notes: list[str] = attrs.field(factory=list)
    partial: bool = False

    def add(self, error: AstroError, where: str = "") -> None:
        if isinstance(error, SettingsError | WorkflowError):
            self.problems.extend(f"{where}{problem}" for problem in error.problems)
        else:
            self.problems.append(f"{where}{error.problem}".strip())


@click.command()
@click.argument("target", metavar="FILE|MODULE")
@inputs_option
@tasks_option
@place_options
def check(as_json: bool, **options: Any) -> int:
    """Report every problem of a file or module.

    A file has workflows or settings; a module has tasks and agents. The tasks are compared with
    the unfinished runs of the store, if there is one.
    """
    findings = _Findings()
    anyio.run(partial(_check, findings, **options))
    if as_json:
        write_json({"problems": findings.problems, "notes": findings.notes})
    else:
        write(findings.problems or ["No problems."])
        note(*findings.notes)
    return Code.FAILED if findings.problems else Code.OK


async def _check(
    findings: _Findings,
    *,
    target: str,
    inputs: Sequence[str],
    modules: Sequence[str],
    **options: Any,
) -> None:
    place = Place(**options)
    found = file_of(target)
    path = found[0] if found is not None else Path()
    document = read_document(path) if found is not None else None
    if document is not None and _is_settings(document, path):
        place = attrs.evolve(place, settings=str(path))
    settings = read_place(place)
    parts = [*_parts_of_settings(settings, findings), *_parts_of_modules(modules, findings)]
    flows: list[Workflow] = []
    last: list[str] = []
    if document is None:
        parts += _parts_of_modules([target], findings)
    elif not _is_settings(document, path):
        try:
            flows = workflows_of(document, inputs=inputs)
        except WorkflowError as error:
            findings.add(error)
            last = ["Tasks are checked once these are mended."] if parts else []
        if not parts:
            findings.notes.append("Tasks were not checked: name their modules with --tasks.")
    if findings.partial:
        findings.notes.append("What is missing is told once all tasks and agents can be loaded.")
    known = _check_parts(parts, flows, findings)
    if parts:
        await _check_runs(place, known, findings)
    findings.notes += last


def _is_settings(document: Document, path: Path) -> bool:
    data = document.data if isinstance(document.data, Mapping) else {}
    says = bool(_ONLY_SETTINGS & data.keys()) or isinstance(data.get("workflows"), list)
    return path.name in FILES or says


def _parts_of_settings(settings: Settings, findings: _Findings) -> list[Any]:
    report = settings.report.copy()
    assembly = gather(settings, report)
    try:
        report.settle()
    except SettingsError as error:
        findings.add(error)
        findings.partial = any(map(_PARTS.search, error.problems))
    return list(assembly.parts)


def _parts_of_modules(names: Iterable[str], findings: _Findings) -> list[Any]:
    parts: list[Any] = []
    for name in names:
        try:
            found = offered(load(name) if ":" in name else load_module(name))
        except SettingsError as error:
            findings.add(error)
            findings.partial = True
            continue
        if not found:
            findings.problems.append(f"{name} has no task, workflow or agent")
        parts += found
    return list({id(part): part for part in parts}.values())


def _check_parts(
    parts: Sequence[Any], flows: Sequence[Workflow], findings: _Findings
) -> dict[str, Task[..., Any]]:
    """Report what is wrong with parts beside each other; return the tasks by name."""
    tasks: dict[str, Task[..., Any]] = {}
    performed: set[str] = set()
    for task in _tasks(parts):
        for name in (task.name, *task.aliases):
            if tasks.setdefault(name, task) is not task:
                findings.problems.append(f"Two tasks are called {name!r}")
        try:
            _ = task.signature
        except AstroError as error:
            findings.add(error, f"{task.name}: ")
    for part in parts:
        performed |= set() if isinstance(part, Task | Workflow) else part.performs
    for task in {task.name: task for task in tasks.values()}.values():
        if task.needs_agent and task.name not in performed and not findings.partial:
            hint = nearest(task.name, performed)
            findings.problems.append(f"No agent performs the task {task.name!r}.{hint}")
    own = [part for part in parts if isinstance(part, Workflow)]
    _check_flows([*own, *flows] if tasks else own, tasks, findings)
    return tasks


def _tasks(parts: Iterable[Any]) -> Iterator[Task[..., Any]]:
    for part in parts:
        if isinstance(part, Task):
            yield part
        elif not isinstance(part, Workflow):
            yield from getattr(part, "offers", ())


def _check_flows(
    flows: Sequence[Workflow], tasks: Mapping[str, Task[..., Any]], findings: _Findings
) -> None:
    """Report what does not fit; workflows may use each other, whose types are not known here."""
    names = {flow.name for flow in flows}
    for flow in flows:
        for problem in flow.check(tasks):
            missing = findings.partial and "there is no task " in problem
            if not missing and not any(f"{name!r}" in problem for name in names - tasks.keys()):
                findings.problems.append(f"{flow.name}: {problem}")


# --- Unfinished runs ---------------------------------------------------------------------------


async def _check_runs(
    place: Place, tasks: Mapping[str, Task[..., Any]], findings: _Findings
) -> None:
    """Compare tasks with the unfinished runs of the store."""
    try:
        async with open_store(place) as store:
            async for run in _unfinished(store, place.tenant):
                records = await read_all(store, run.tenant, run.id)
                if run.task in tasks or not findings.partial:
                    findings.problems.extend(_misfits(run, records, tasks))
    except SettingsError:
        findings.notes.append("Unfinished runs were not compared: the settings have problems.")
    except StoreUnavailableError as error:
        findings.notes.append(f"Unfinished runs were not compared: {error.problem}")


async def _unfinished(store: Store, tenant: str) -> AsyncIterator[RunSummary]:
    after = None
    while True:
        page = await store.runs(tenant, RunQuery(unfinished=True, limit=_PAGE, after=after))
        for run in page.items:
            yield run
        after = page.next
        if after is None:
            return


def _misfits(
    run: RunSummary, records: Sequence[Record], tasks: Mapping[str, Task[..., Any]]
) -> Iterator[str]:
    """Yield in what a run and the tasks of today do not fit each other."""
    created = records[0]
    task = tasks.get(run.task)
    if task is None:
        hint = nearest(run.task, tasks)
        yield f"Run {run.id} needs the task {run.task!r}, which is not among these.{hint}"
    elif isinstance(created, CreatedRecord):
        try:
            task.signature.load(created.args)
        except AstroError as error:
            yield f"Run {run.id}: the arguments of {run.task} no longer fit. {error.problem}"
    for call in replay(records).calls.values():
        known = tasks.get(call.task)
        if known is not None and call.state is State.DONE and call.result is not None:
            try:
                known.signature.returns.decode(call.result)
            except AstroError as error:
                yield f"Run {run.id}: the result of {call.id} no longer fits. {error.problem}"
