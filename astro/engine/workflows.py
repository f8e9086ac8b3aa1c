"""Workflows, run: a graph of tasks becomes a task that asks for them.

The body uses nothing but the public `Context`, so a workflow is as durable as any task: each
node has its own branch, starts as soon as everything before it has ended, and is remembered by
its name. The definition and each expanded `for_each` list are committed before anything that
follows from them, so that an edited file changes new runs only.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import anyio
import attrs
import msgspec
from anyio.abc import TaskGroup

from astro.core.binding import bind, output_kind, result_kind
from astro.core.codec import Codec, codec_of, to_json
from astro.core.context import Context
from astro.core.errors import (
    AmbiguousCallError,
    AstroError,
    EngineClosedError,
    InvalidArgumentsError,
    StoreError,
    WorkflowError,
)
from astro.core.node import Node
from astro.core.references import ITEM, Expression, Fixed
from astro.core.resolving import ABSENT, Values, holds, plain, resolve
from astro.core.signature import Signature, signature_of
from astro.core.task import Task
from astro.core.workflow import Workflow
from astro.decisions.ready import Ending, Progress, Readiness

__all__ = ["workflow_task"]

_NOT_THE_NODE: Final = (AmbiguousCallError, EngineClosedError, StoreError)
"""Failures that are nobody's but the engine's; no node's policy passes over them."""


def workflow_task(workflow: Workflow, tasks: Mapping[str, Task[..., Any]]) -> Task[..., Any]:
    """Return the task that a workflow is.

    Args:
        tasks: What its nodes may ask for, by name.

    Raises:
        WorkflowError: It does not fit the tasks; carries all problems.
    """
    problems = workflow.check(tasks)
    if problems:
        raise WorkflowError(workflow.name, problems)
    current = _Plan.of(workflow, tasks)
    written = to_json({"digest": workflow.digest, "workflow": msgspec.Raw(workflow.to_json())})

    definition = _keeps(msgspec.Raw(written), "definition")

    async def body(ctx: Context, /, **given: Any) -> Any:
        kept = await ctx.call(definition)
        plan = current
        if kept["digest"] != workflow.digest:  # this run began before the file was edited
            plan = _Plan.of(Workflow.from_data(kept["workflow"]), tasks)
        return await _Interpreter(ctx, plan, given).run()

    body.__name__ = body.__qualname__ = workflow.name
    body.__doc__ = workflow.description
    return Task(
        fn=body,
        name=workflow.name,
        priority=workflow.priority,
        version=workflow.digest,
        shape=_signature(workflow, tasks),
    )


async def _any() -> Any:
    """Has the signature of what is kept."""


_KEPT: Final = signature_of(_any, skip=0)


def _keeps(value: Any, name: str) -> Task[..., Any]:
    """Return a step whose result is a value, so that a resumed run has the same one."""

    async def value_of() -> Any:
        return value

    return Task(fn=value_of, name=name, skip=0, shape=_KEPT)


def _signature(flow: Workflow, tasks: Mapping[str, Task[..., Any]]) -> Signature:
    """Return the signature whose parameters are the workflow's inputs."""
    kinds = {one.name: one.type for one in flow.inputs}
    defaults = {
        one.name: codec_of(one.type).decode(one.default.raw)
        for one in flow.inputs
        if isinstance(one.default, Fixed)
    }
    # What has a default may be left out, and is not there then.
    fields: list[Any] = [
        (name, kind, msgspec.UNSET) if name in defaults else (name, kind)
        for name, kind in kinds.items()
    ]
    shape = msgspec.defstruct("Arguments", fields, kw_only=True, forbid_unknown_fields=True)
    return Signature(
        function=flow.name,
        names=tuple(kinds),
        defaults=defaults,
        positional=0,
        keyword_only=frozenset(),
        kinds=kinds,
        arguments=Codec(shape),
        returns=codec_of(output_kind(flow, tasks)),
    )


class _Step(msgspec.Struct, frozen=True):
    """A node, with the task it asks for and what that is given."""

    node: Node
    task: Task[..., Any]
    given: Mapping[str, Expression]

    def view(self, ctx: Context) -> Context:
        """Return the context whose calls have the policy of the node."""
        node, retry = self.node, self.node.retry
        if retry is not None:
            # Which errors are worth another attempt is known to the task.
            retry = attrs.evolve(retry, on=self.task.retry.on)
        said = (retry, node.timeout, node.deadline, node.priority)
        if said == (None, None, None, None):
            return ctx
        return ctx.options(
            retry=retry, timeout=node.timeout, deadline=node.deadline, priority=node.priority
        )

    def arguments(self, values: Values) -> dict[str, Any]:
        """Return the values of the parameters."""
        return {name: resolve(value, values) for name, value in self.given.items()}


class _Plan(msgspec.Struct, frozen=True):
    """A workflow whose nodes know their tasks."""

    flow: Workflow
    steps: Mapping[str, _Step]

    @classmethod
    def of(cls, flow: Workflow, tasks: Mapping[str, Task[..., Any]]) -> _Plan:
        steps: dict[str, _Step] = {}
        for node in flow.nodes:
            if node.task in tasks:
                task = tasks[node.task]
                steps[node.name] = _Step(node, task, bind(node, task.signature))
            else:
                steps[node.name] = _Step(node, _absent(node.task), {})
        return cls(flow, steps)


def _absent(name: str) -> Task[..., Any]:
    """Return a task that an older definition names and nobody offers: the run waits for it."""

    async def body(ctx: Context) -> Any:
        raise NotImplementedError

    return Task(fn=body, name=name, needs_agent=True)


class _Interpreter:
    """One run of a workflow; also what its names stand for."""

    def __init__(self, ctx: Context, plan: _Plan, given: Mapping[str, Any]) -> None:
        self._ctx = ctx
        self._plan = plan
        self._readiness = Readiness(plan.flow)
        self._values: dict[str, Any] = {
            one.name: codec_of(one.type).decode(one.default.raw)
            for one in plan.flow.inputs
            if isinstance(one.default, Fixed)
        }
        self._values.update(given)
        self._data: dict[str, Any] = {}
        self._error: Exception | None = None
        self._group: TaskGroup

    async def run(self) -> Any:
        async with anyio.create_task_group() as self._group:
            for node in self._readiness.first():
                self._group.start_soon(self._follow, node)
        if self._error is not None:
            raise self._error
        return self._output()

    # --- What names stand for ----------------------------------------------------------------

    def whole(self, name: str, /) -> Any:
        return self._values.get(name)

    def data(self, name: str, /) -> Any:
        if name not in self._data:
            known = name in self._values
            self._data[name] = plain(self._values[name]) if known else ABSENT
        return self._data[name]

    def _output(self) -> Any:
        flow = self._plan.flow
        if flow.output is not None:
            try:
                return resolve(flow.output, self)
            except InvalidArgumentsError as error:
                raise WorkflowError(flow.name, [f"output: {error.problem}"]) from error
        if len(flow.ends) == 1:
            return self._values.get(flow.ends[0])
        return {name: self._values[name] for name in flow.ends if name in self._values}

    # --- Nodes -------------------------------------------------------------------------------

    async def _follow(self, node: Node | None) -> None:
        """Run a node, then one of those that it made ready, and so on."""
        try:
            while node is not None and self._error is None:
                node = await self._run(self._plan.steps[node.name])
        except Exception as error:
            self._error = self._error or error
            self._group.cancel_scope.cancel()

    async def _run(self, step: _Step) -> Node | None:
        """Run a node to its end; start all but the first of those that it makes ready."""
        failure: Exception | None = None
        try:
            ending = await self._perform(step)
        except Exception as error:
            if isinstance(error, _NOT_THE_NODE) and not isinstance(error, step.task.raises):
                raise
            error.add_note(f"In node {step.node.name!r} of workflow {self._plan.flow.name!r}.")
            ending, failure = Ending.FAILED, error
        advance = self._readiness.ended(step.node.name, ending)
        if advance.failed and failure is not None:
            raise failure
        for progress in advance.settled:
            self._settle(progress)
        for other in advance.ready[1:]:
            self._group.start_soon(self._follow, other)
        return advance.ready[0] if advance.ready else None

    def _settle(self, progress: Progress) -> None:
        """Keep the default of a node that has no result of its own, and tell observers."""
        if progress.ending is Ending.SUCCEEDED:
            return
        if progress.gives:
            step = self._plan.steps[progress.node]
            default = step.node.default
            assert isinstance(default, Fixed)
            kind = result_kind(step.node, step.task.signature)
            self._values[progress.node] = codec_of(kind).decode(default.raw)
        told = {"node": progress.node, "because": progress.ending.value}
        view = self._ctx.branch(progress.node)
        view.emit("defaulted" if progress.gives else "skipped", told)

    async def _perform(self, step: _Step) -> Ending:
        """Ask for the task of a node, unless its condition does not hold."""
        node = step.node
        ctx = self._ctx.branch(node.name)
        try:
            if node.when is not None and not holds(node.when, self):
                return Ending.UNMET
            if node.for_each is None:
                call = step.view(ctx).call(step.task, **step.arguments(self))
        except InvalidArgumentsError as error:
            raise self._misfit(node, error) from error
        if node.for_each is None:
            self._values[node.name] = await call
        else:
            self._values[node.name] = await self._for_each(ctx, step, node.for_each)
        return Ending.SUCCEEDED

    def _misfit(self, node: Node, error: AstroError) -> WorkflowError:
        return WorkflowError(self._plan.flow.name, [f"nodes.{node.name}: {error.problem}"])

    async def _for_each(self, ctx: Context, step: _Step, over: Expression) -> list[Any]:
        node = step.node
        try:
            found = plain(resolve(over, self))
        except InvalidArgumentsError as error:
            raise self._misfit(node, error) from error
        if not isinstance(found, list):
            problem = f"nodes.{node.name}.for_each: it is no list: {found!r:.60}"
            raise WorkflowError(self._plan.flow.name, [problem])
        items = await ctx.call(_keeps(found, "for_each"))
        try:
            rows = [step.arguments(_AtItem(self, item)) for item in items]
            return await _each(step.view(ctx), step.task, rows, node.at_once)
        except InvalidArgumentsError as error:
            raise self._misfit(node, error) from error


class _AtItem(msgspec.Struct, frozen=True):
    """The names of a workflow, with an item at hand."""

    around: Values
    item: Any

    def whole(self, name: str, /) -> Any:
        return self.item if name == ITEM else self.around.whole(name)

    def data(self, name: str, /) -> Any:
        return self.item if name == ITEM else self.around.data(name)


async def _each(
    ctx: Context, task: Task[..., Any], rows: Sequence[Mapping[str, Any]], limit: int
) -> list[Any]:
    """Ask for a task once per row of arguments, a few at a time; results in order."""
    shape = task.signature
    if not shape.keyword_only:
        return await ctx.starmap(task, [_by_place(shape, row) for row in rows], limit=limit)
    # `starmap` passes by place. The calls take their identities here, in the order of the rows.
    calls = [ctx.call(task, **row) for row in rows]
    results: list[Any] = [None] * len(calls)
    failures: list[Exception] = []
    rest = iter(enumerate(calls))

    async def work() -> None:
        try:
            for index, call in rest:
                results[index] = await call
        except Exception as error:
            failures.append(error)
            group.cancel_scope.cancel()

    try:
        async with anyio.create_task_group() as group:
            for _ in range(min(limit, len(calls))):
                group.start_soon(work)
    finally:
        for call in calls:
            call.close()  # those that were never awaited
    if failures:
        raise failures[0]
    return results


def _by_place(shape: Signature, row: Mapping[str, Any]) -> list[Any]:
    """Return arguments in the order of the parameters, up to the last one that is given."""
    last = max((index for index, name in enumerate(shape.names) if name in row), default=-1)
    return [row[n] if n in row else shape.defaults[n] for n in shape.names[: last + 1]]
