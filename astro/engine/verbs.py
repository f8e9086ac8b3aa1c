"""The verbs of an engine, for the engine itself and for views of it with other options."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar, cast, overload

import attrs

from astro.core.codec import clean_text, codec_of
from astro.core.errors import InvalidArgumentsError, RunNotFoundError, UnknownTaskError
from astro.core.ledger import Account
from astro.core.policy import Budget, RunOptions, misuse
from astro.core.protocols import Composition, Page, RunSummary
from astro.core.records import State
from astro.core.task import Task, require_task
from astro.engine import posting
from astro.engine.admission import admit_budget, admit_query
from astro.engine.creation import new_run
from astro.engine.run import RunHandle

if TYPE_CHECKING:
    from astro.engine.local import LocalEngine

__all__ = ["EngineView", "Verbs"]

P = ParamSpec("P")
R = TypeVar("R")
_LONGEST_ID = 1_000  # characters; no run has a longer one


class Verbs:
    """`run`, `start`, `get`, `runs`, and views that say more about the runs they start."""

    def __init__(self, said: RunOptions) -> None:
        self._said = said

    @property
    def _engine(self) -> LocalEngine:
        return cast("LocalEngine", self)

    @overload
    async def run(self, task: Task[P, R], /, *args: P.args, **kwargs: P.kwargs) -> R: ...

    @overload
    async def run(self, task: Composition, /, *args: Any, **kwargs: Any) -> Any: ...

    async def run(self, task: Any, /, *args: Any, **kwargs: Any) -> Any:
        """Start a run and wait for its result; cancelling the wait leaves the run alone.

        Raises:
            RunFailedError: The run failed.
            RunCancelledError: Somebody cancelled the run.
        """
        return await (await self.start(task, *args, **kwargs))

    @overload
    async def start(
        self, task: Task[P, R], /, *args: P.args, **kwargs: P.kwargs
    ) -> RunHandle[R]: ...

    @overload
    async def start(self, task: Composition, /, *args: Any, **kwargs: Any) -> RunHandle[Any]: ...

    async def start(self, task: Any, /, *args: Any, **kwargs: Any) -> RunHandle[Any]:
        """Start a run and return its handle once the run is kept.

        Raises:
            InvalidArgumentsError: The arguments do not fit.
            UnknownTaskError: No part of the engine offers the task.
            KeyConflictError: The key names a run of another task or other arguments.
        """
        engine, said = self._engine, self._said
        if not isinstance(task, Task):
            said = _for_composition(task, said)
        engine.require_healthy()
        offered = engine.parts.tasks.get(task.name)
        if offered is None:
            raise UnknownTaskError(task.name, engine.parts.tasks)
        bound = offered.signature.bind(args, kwargs)
        id = engine.new_id()
        watch = engine.watch(id)
        await engine.room(id, said.tenant)
        kept = ""
        try:
            run = new_run(engine.parts, said, offered, bound, id=id)
            watch.first = run.entry
            kept = await engine.store.create(said.tenant, run)
        finally:
            if kept != id:
                engine.submitted_elsewhere(id)
        if kept != id:
            watch = engine.watch(kept)
        return RunHandle(
            engine,
            tenant=said.tenant,
            id=kept,
            result=offered.signature.returns,
            watch=watch,
            task=offered.name,
            fresh=kept == id,
        )

    async def get(self, run: str, /) -> RunHandle[Any]:
        """Return the handle of a run.

        Raises:
            RunNotFoundError: The tenant has no such run.
        """
        engine = self._engine
        if not isinstance(run, str) or len(run) > _LONGEST_ID:
            raise RunNotFoundError(run if len(repr(run)) <= _LONGEST_ID else f"{run!r:.60}…")
        found = await posting.summary(engine.store, self._said.tenant, run)
        task = engine.parts.tasks.get(found.task)
        return RunHandle(
            engine,
            tenant=found.tenant,
            id=found.id,
            result=task.signature.returns if task is not None else codec_of(Any),
            watch=engine.watch(found.id),
            task=found.task,
        )

    async def runs(
        self,
        *,
        limit: int = 50,
        after: str | None = None,
        unfinished: bool = False,
        task: str | None = None,
        key: str | None = None,
        states: frozenset[State] | None = None,
    ) -> Page[RunSummary]:
        """Return runs of the tenant, newest first.

        Raises:
            InvalidArgumentsError: An argument is of the wrong kind.
            CodecError: There is no such place in the list of runs.
        """
        query = admit_query(
            limit=limit, after=after, unfinished=unfinished, task=task, key=key, states=states
        )
        found: Page[RunSummary] = await self._engine.store.runs(self._said.tenant, query)
        return found

    async def allow(self, budget: Budget | None) -> None:
        """Let the tenant use a budget from now on, all its runs together; None lifts it.

        What was used before is forgotten. Other engines on the store heed it within a third of
        their lease.

        Raises:
            InvalidArgumentsError: It is no budget, it limits time, or the store keeps none.
        """
        engine = self._engine
        admit_budget(budget)
        if budget is not None and budget.time is not None:
            raise InvalidArgumentsError(
                "A tenant's budget cannot limit time.", remedy="Give each run a deadline instead."
            )
        await engine.ledger.allow(self._said.tenant, budget)
        await engine.parts.learn_budgets()

    async def account(self) -> Account | None:
        """Return the tenant's budget, and what is used and reserved of it."""
        return await self._engine.ledger.account(self._said.tenant)

    def options(
        self,
        *,
        key: str | None = None,
        priority: int | None = None,
        budget: Budget | None = None,
        deadline: datetime | timedelta | None = None,
        tenant: str | None = None,
        strict: bool | None = None,
    ) -> EngineView:
        """Return a view whose runs have these options; the same key is always the same run.

        Raises:
            InvalidArgumentsError: An option is none.
            CodecError: The key or the tenant cannot be kept.
        """
        said: dict[str, Any] = {
            "key": key,
            "priority": priority,
            "budget": budget,
            "deadline": deadline,
            "tenant": tenant,
            "strict": strict,
        }
        for what in ("key", "tenant"):
            if said[what] is not None and clean_text(said[what], what=what) == "":
                raise InvalidArgumentsError(
                    f"An empty text is no {what}.",
                    remedy="Leave it out; all who pass an empty one would share it.",
                )
        chosen: dict[str, Any] = {name: value for name, value in said.items() if value is not None}
        try:
            return EngineView(self._engine, attrs.evolve(self._said, **chosen))
        except (TypeError, ValueError) as error:
            raise misuse("a run", error, remedy="See the attributes of RunOptions.") from error

    def tenant(self, name: str, /) -> EngineView:
        """Return a view that sees and starts only the runs of a tenant."""
        return self.options(tenant=name)


class EngineView(Verbs):
    """An engine, seen with some options."""

    def __init__(self, engine: LocalEngine, said: RunOptions) -> None:
        super().__init__(said)
        self._origin = engine

    @property
    def _engine(self) -> LocalEngine:
        return self._origin


def _for_composition(task: object, said: RunOptions) -> RunOptions:
    """Return the options of a run of a workflow: its own budget, where the caller says nothing.

    Raises:
        InvalidArgumentsError: It is no workflow either.
    """
    if isinstance(task, type) or not isinstance(task, Composition):
        require_task(task)
    budget = getattr(task, "budget", None)
    return said if said.budget is not None or budget is None else attrs.evolve(said, budget=budget)
