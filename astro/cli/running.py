"""Running: the one command that opens an engine.

The run belongs to the store, not to this process: interrupted, it can be continued, and the
command that does so is printed. A run that waits for a person ends the command, not itself.
"""

from __future__ import annotations

import json
import signal
from collections.abc import Iterable
from contextlib import ExitStack
from datetime import timedelta
from shlex import join
from typing import Any, Final

import anyio
import attrs
import click
import msgspec

from astro.cli.display import Display, open_display
from astro.cli.fitting import fit, others_told
from astro.cli.opening import LARGEST, Place, find_run, place_options, read_place, tasks_option
from astro.cli.outcome import Code, code_of, error_data, note, write, write_json
from astro.cli.targets import Target, arguments_of, load_target
from astro.cli.wording import question_data, question_lines
from astro.core.codec import to_json
from astro.core.errors import (
    InvalidArgumentsError,
    RunCancelledError,
    RunFailedError,
    WorkflowError,
)
from astro.core.fields import as_duration
from astro.core.protocols import RunSummary
from astro.core.records import AskedRecord, State
from astro.core.task import Task
from astro.core.workflow import Workflow
from astro.decisions.replay import replay
from astro.engine.local import LocalEngine
from astro.engine.posting import open_questions, read_all
from astro.engine.run import RunHandle
from astro.observers.log import configure_logging
from astro.setup.assembly import gather, offered
from astro.setup.plugins import load_module
from astro.setup.settings import Settings

__all__ = ["run"]

_LOOK: Final = 0.1  # seconds between looks at a run that may be waiting
_QUIET: Final = 6  # looks without a change after which it is
_NO_TASK: Final = "there is no task "  # as the check of a workflow says it
_NAME_TASKS: Final = (
    "Name the module of the tasks with --tasks MODULE, or under `tasks:` in astro.yaml."
)
_SIGNALS: Final = (signal.SIGINT, signal.SIGTERM)


@attrs.frozen(kw_only=True)
class _Order:
    """What the command was asked for."""

    target: str
    inputs: tuple[tuple[str, str], ...]
    key: str | None
    priority: int | None
    deadline: timedelta | None
    modules: tuple[str, ...]
    continued: str | None
    wait: bool | None
    as_json: bool
    plain: bool
    quiet: bool
    place: Place

    def resuming(self, run: str) -> str:
        """Return the command that goes on with a run."""
        modules = [part for name in self.modules for part in ("--tasks", name)]
        return join(
            ["astro", "run", self.target, "--continue", run, *modules, *self.place.options()]
        )


def _pairs(ctx: click.Context, option: click.Parameter, said: Iterable[str]) -> Any:
    pairs = []
    for text in said:
        name, equals, value = text.partition("=")
        if not equals or not name:
            raise click.BadParameter(f"{text!r} is not of the form name=value")
        pairs.append((name, value))
    return tuple(pairs)


def _duration(ctx: click.Context, option: click.Parameter, said: str | None) -> Any:
    try:
        return None if said is None else as_duration(f"{said}s" if said.isdecimal() else said)
    except InvalidArgumentsError as error:
        raise click.BadParameter(str(error)) from error


@click.command()
@click.argument("target", metavar="FILE[:WORKFLOW]|MODULE:TASK")
@click.option(
    "-i",
    "--input",
    "inputs",
    multiple=True,
    callback=_pairs,
    metavar="NAME=VALUE",
    help="An argument: JSON if it is some and fits, else text.",
)
@click.option("--key", help="A name of your choice: the same key is always the same run.")
@click.option("--continue", "continued", metavar="RUN", help="Go on with a run instead.")
@tasks_option
@click.option(
    "--priority", type=click.IntRange(-LARGEST, LARGEST), help="Higher comes first; 20 if left out."
)
@click.option("--deadline", callback=_duration, help="When to give up, for example 30m.")
@click.option(
    "--wait/--no-wait",
    default=None,
    help="Whether to wait for people; if left out, only where time decides too.",
)
@click.option("--plain", is_flag=True, help="Print plain lines, also on a terminal.")
@click.option("-q", "--quiet", is_flag=True, help="Print the result only.")
@place_options
def run(settings: str | None, store: str | None, tenant: str, **options: Any) -> int:
    """Run a workflow or a task, and show how it goes."""
    place = Place(settings=settings, store=store, tenant=tenant)
    return anyio.run(_run, _Order(place=place, **options))


async def _run(order: _Order) -> int:
    settings = read_place(order.place)
    target = load_target(order.target, inputs=[name for name, _ in order.inputs])
    engine, flows = _assembled(settings, target, order)
    with ExitStack() as stack:
        if settings.logging is None:
            stack.enter_context(others_told(quiet=order.quiet))
        else:
            configure_logging(level=settings.logging.level, format=settings.logging.format)
        return await _driven(engine, flows, target, order)


async def _driven(engine: LocalEngine, flows: frozenset[str], target: Target, order: _Order) -> int:
    """Open the engine, and drive the run until it ends, waits, or is interrupted."""
    async with engine:
        task = engine.parts.tasks[target.name]
        handle = await _started(engine, task, order)
        driven = _Driven(engine, handle, order)
        with open_display(
            title=task.name, plain=order.plain, quiet=order.quiet, flows=flows
        ) as display:
            await driven.follow(display)
        if not driven.interrupted:
            return await driven.outcome()
    return driven.told_interrupted()


def _assembled(
    settings: Settings, target: Target, order: _Order
) -> tuple[LocalEngine, frozenset[str]]:
    """Return the engine of the settings with what the target brings, and its workflows' names."""
    report = settings.report.copy()
    assembly = gather(settings, report)
    report.settle()
    more = [*target.parts, *(part for name in order.modules for part in offered(load_module(name)))]
    flows = {part.name: part for part in assembly.parts if isinstance(part, Workflow)}
    # The file that is run may be one of the settings' files too.
    more = [part for part in more if not _is_known(part, flows)]
    fitted = fit([*assembly.parts, *more], target.name)
    if not order.quiet:
        note(*fitted.lines())
    try:
        engine = attrs.evolve(assembly, parts=fitted.parts).engine(settings)
    except WorkflowError as error:
        if any(_NO_TASK in problem for problem in error.problems):
            error.remedy = _NAME_TASKS
        raise
    return engine, frozenset(one.name for one in fitted.parts if isinstance(one, Workflow))


def _is_known(part: Any, flows: dict[str, Workflow]) -> bool:
    same = flows.get(part.name) if isinstance(part, Workflow) else None
    return same is not None and same.digest == part.digest


async def _started(engine: LocalEngine, task: Task[..., Any], order: _Order) -> RunHandle[Any]:
    if order.continued is not None:
        found = await find_run(engine.store, order.place.tenant, order.continued)
        return await engine.tenant(order.place.tenant).get(found.id)
    view = engine.options(
        tenant=order.place.tenant,
        key=order.key,
        priority=order.priority,
        deadline=order.deadline,
    )
    return await view.start(task, **arguments_of(task, order.inputs))


class _Driven:
    """A run that this process drives, until it ends, waits, or is interrupted."""

    def __init__(self, engine: LocalEngine, handle: RunHandle[Any], order: _Order) -> None:
        self._engine = engine
        self._handle = handle
        self._order = order
        self._waiting: RunSummary | None = None
        self._questions: list[AskedRecord] = []
        self.interrupted = False

    async def follow(self, display: Display) -> None:
        """Show records until nothing more is to be shown."""
        async with anyio.create_task_group() as group:
            group.start_soon(self._obey, group.cancel_scope)
            group.start_soon(self._look, group.cancel_scope)
            async for record in self._handle.records():
                display.show(record)
            group.cancel_scope.cancel()

    async def _obey(self, scope: anyio.CancelScope) -> None:
        """Drain on Ctrl-C; a second one cancels attempts in flight."""
        await self._engine.drain_on(*_SIGNALS)
        self.interrupted = True
        scope.cancel()

    async def _look(self, scope: anyio.CancelScope) -> None:
        """Stop following a run that waits for somebody."""
        seen, quiet = None, 0
        while True:
            await anyio.sleep(_LOOK)
            found = await self._handle.status()
            quiet = quiet + 1 if (found.state, found.records) == seen else 0
            seen = (found.state, found.records)
            if quiet >= _QUIET and await self._waits(found):
                self._waiting = found
                scope.cancel()

    async def _waits(self, found: RunSummary) -> bool:
        """Return whether the command should leave a run to people."""
        if found.state not in (State.ASKED, State.PARKED, State.PAUSED) or self._order.wait:
            return False
        records = await read_all(self._engine.store, found.tenant, found.id)
        self._questions = open_questions(replay(records))
        by_time = bool(self._questions) and all(asked.deadline for asked in self._questions)
        return not (found.state is State.ASKED and by_time and self._order.wait is None)

    # --- What is told at the end ---

    async def outcome(self) -> int:
        """Write the result, or what the run waits for; return the exit code."""
        if self._waiting is not None:
            return self._told_waiting(self._waiting)
        handle, as_json = self._handle, self._order.as_json
        try:
            result = await handle
        except (RunFailedError, RunCancelledError) as error:
            return self._told_failed(error)
        plain = msgspec.json.decode(to_json(result))
        if as_json:
            write_json({"run": handle.id, "state": State.DONE.value, "result": plain})
        elif plain is not None:
            write([plain if isinstance(plain, str) else json.dumps(plain, indent=2)])
        return Code.OK

    def _told_failed(self, error: RunFailedError | RunCancelledError) -> int:
        if isinstance(error, RunFailedError):
            command = join(["astro", "show", error.run, *self._order.place.options()])
            error.remedy = f"See what happened:  {command}"
        if not self._order.as_json:
            raise error
        state = State.FAILED if isinstance(error, RunFailedError) else State.CANCELLED
        write_json({"run": self._handle.id, "state": state.value, "error": error_data(error)})
        return code_of(error)

    def _told_waiting(self, found: RunSummary) -> int:
        command = self._order.resuming(found.id)
        if self._order.as_json:
            questions = [question_data(asked) for asked in self._questions]
            write_json(
                {
                    "run": found.id,
                    "state": found.state.value,
                    "needs": dict(found.needs),
                    "questions": questions,
                    "continue": command,
                }
            )
            return Code.WAITING
        needs = ", ".join(f"{kind} {name}" for kind, name in found.needs.items())
        note(f"Run {found.id} is {found.state.value}" + (f", waits for {needs}." if needs else "."))
        for asked in self._questions:
            note(*question_lines(asked, found.id, self._order.place.options()))
        if found.state is State.PAUSED:
            note(join(["astro", "resume", found.id, *self._order.place.options()]))
        note(f"Then go on with:  {command}")
        return Code.WAITING

    def told_interrupted(self) -> int:
        """Write how to go on after an interruption."""
        command = self._order.resuming(self._handle.id)
        if self._order.as_json:
            write_json({"run": self._handle.id, "state": "interrupted", "continue": command})
        else:
            note(f"Interrupted; run {self._handle.id} is kept. Go on with:  {command}")
        return Code.INTERRUPTED
