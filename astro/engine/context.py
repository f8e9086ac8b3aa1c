"""The context of a live attempt: the verbs of `core.context.Context`, made durable.

Each verb takes its identity when it is evaluated, not when it is awaited. Waiting verbs are in
`waiting`; calls are in `execution`.
"""

from __future__ import annotations

import logging
import random
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Sequence
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar
from uuid import UUID

import msgspec

from astro.core.codec import clean_text, codec_of, to_json
from astro.core.context import ChildRun, MapsOver
from astro.core.errors import CodecError, InvalidArgumentsError
from astro.core.policy import Budget, Retry
from astro.core.records import EmittedRecord, NotedRecord, Raw
from astro.core.signature import Bound
from astro.core.task import Task, require_task, step_task
from astro.decisions.forgetting import generation
from astro.engine import waiting
from astro.engine.identity import derive
from astro.engine.request import require_options
from astro.engine.sandboxing import BoxView

if TYPE_CHECKING:
    from astro.engine.attempt import Attempt
    from astro.engine.request import CallPolicy

__all__ = ["LiveContext"]

P = ParamSpec("P")
R = TypeVar("R")
T = TypeVar("T")
_MISSING: Any = object()
_LOGGER = logging.getLogger("astro.task")


class LiveContext:
    """What a task sees of the engine that performs it."""

    __slots__ = ("_attempt", "_place", "_policy")

    def __init__(self, attempt: Attempt, *, place: str, policy: CallPolicy) -> None:
        self._attempt = attempt
        self._place = place
        self._policy = policy

    # --- Who and when ------------------------------------------------------------------------

    @property
    def run_id(self) -> str:
        return self._attempt.run.id

    @property
    def tenant(self) -> str:
        return self._attempt.run.tenant

    @property
    def key(self) -> str:
        run, call = self._attempt.run, self._attempt.call
        # What was undone and is done again is another effect.
        again = generation(run.state, call) if run.state.has_undone else 0
        return f"{run.id}/{call}~{again}" if again else f"{run.id}/{call}"

    @property
    def attempt(self) -> int:
        return self._attempt.number

    @property
    def token(self) -> int:
        return self._attempt.run.journal.lease.token

    @property
    def deadline(self) -> datetime | None:
        return self._attempt.deadline

    @property
    def log(self) -> logging.LoggerAdapter[logging.Logger]:
        fields = {
            "run": self.run_id,
            "task": self._attempt.task,
            "call": self._attempt.call,
            "attempt": self.attempt,
            "tenant": self.tenant,
            "trace_id": self.run_id,
        }
        return logging.LoggerAdapter(_LOGGER, fields)

    @property
    def sandbox(self) -> BoxView:
        return BoxView(self._attempt, self._place, self._policy)

    # --- Calls -------------------------------------------------------------------------------

    def call(
        self, task: Task[P, R], /, *args: P.args, **kwargs: P.kwargs
    ) -> Coroutine[Any, Any, R]:
        run = self._attempt.run
        run.require_open()
        try:
            signature = task.signature
        except AttributeError:
            require_task(task)
            raise
        bound = signature.bind(args, kwargs)
        return self._ask(
            task, bound, self._attempt.ordinals.take(self._place, task.name, bound.raw)
        )

    def step(
        self, fn: Callable[P, Awaitable[R]], /, *args: P.args, **kwargs: P.kwargs
    ) -> Coroutine[Any, Any, R]:
        self._attempt.run.require_open()
        task = self._step_of(fn)
        bound = task.signature.bind(args, kwargs)
        return self._ask(
            task, bound, self._attempt.ordinals.take(self._place, task.name, bound.raw)
        )

    def _step_of(self, fn: Any) -> Task[..., Any]:
        """Return the task that a function is as a step."""
        if self._policy.name is not None:
            return step_task(fn, self._policy.name)
        steps = self._attempt.run.steps
        try:
            task = steps.get(fn)
        except TypeError:  # not every callable can be looked up
            return step_task(fn, None)
        if task is None:
            task = steps[fn] = step_task(fn, None)
        return task

    def _ask(self, task: Task[..., Any], bound: Bound, identity: str) -> Coroutine[Any, Any, Any]:
        run = self._attempt.run
        if task.aliases and identity not in run.state.calls:
            identity = self._renamed(task, bound, identity)
        return run.ask(self._attempt, task, bound, identity, self._place, self._policy)

    def _renamed(self, task: Task[..., Any], bound: Bound, identity: str) -> str:
        """Return the identity under which an earlier name of the task is remembered, if any."""
        for alias in task.aliases:
            old = self._attempt.ordinals.alias(self._place, alias, bound.raw, identity)
            if old in self._attempt.run.state.calls:
                return old
        return identity

    async def map(
        self, task: MapsOver[T, R], items: Iterable[T], /, *, limit: int = 100
    ) -> list[R]:
        return await self.starmap(task, ((item,) for item in items), limit=limit)  # type: ignore[arg-type]  # every task is one

    async def starmap(
        self, task: Task[..., R], items: Iterable[Sequence[Any]], /, *, limit: int = 100
    ) -> list[R]:
        self._attempt.run.require_open()
        signature = require_task(task).signature
        if type(limit) is not int or limit < 1:
            raise InvalidArgumentsError(
                f"The limit {limit!r:.60} is no number of calls at a time.",
                remedy="Pass a whole number from 1, or leave it out.",
            )
        bounds = [signature.bind(tuple(item), {}) for item in items]
        place = f"{self._place}[]"
        raws = [bound.raw for bound in bounds]
        identities = self._attempt.ordinals.take_all(place, task.name, raws)
        return await waiting.fan_out(
            self._attempt, task, bounds, identities, place, self._policy, limit
        )

    async def start(self, task: Task[P, R], /, *args: P.args, **kwargs: P.kwargs) -> ChildRun[R]:
        self._attempt.run.require_open()
        bound = require_task(task).signature.bind(args, kwargs)
        identity = self._attempt.ordinals.take(f"{self._place}+", task.name, bound.raw)
        return await waiting.start_child(self._attempt, task, bound, identity, self._policy)

    # --- Time and people ---------------------------------------------------------------------

    def sleep(self, duration: timedelta | datetime, /) -> Coroutine[Any, Any, None]:
        return waiting.sleep(self._attempt, self._named("sleep", duration), duration)

    def ask(
        self,
        question: str,
        kind: Any,
        /,
        *,
        timeout: timedelta | None = None,
        default: Any = _MISSING,
    ) -> Coroutine[Any, Any, Any]:
        clean_text(question, what="question", cap=100_000)
        given = None if default is _MISSING else (default,)
        identity = self._named("ask", question)
        return waiting.ask_person(self._attempt, identity, question, kind, timeout, given)

    def now(self, name: str = "", /) -> datetime:
        run = self._attempt.run
        identity = self._named("now", name)
        known = run.state.calls.get(identity)
        if known is not None and known.moment is not None:
            return known.moment
        moment = run.parts.clock.now()
        run.journal.append(NotedRecord, call=identity, parent=self._attempt.call, moment=moment)
        return moment

    def emit(self, name: str, value: object = None, /) -> None:
        run = self._attempt.run
        run.require_open()
        raw, _ = codec_of(Any).settle(value)
        clean_text(name, what="name of an event")
        identity = self._attempt.ordinals.take(self._place, "emit", to_json(name) + raw)
        if identity not in run.state.calls:
            run.journal.append(
                EmittedRecord, call=identity, parent=self._attempt.call, name=name, value=Raw(raw)
            )

    def spend(self, *, money: float = 0.0, tokens: int = 0) -> Awaitable[None]:
        identity = self._named("spend", [money, tokens])
        return waiting.spend(self._attempt, identity, money, tokens)

    def _named(self, verb: str, what: object) -> str:
        """Return the identity of a verb: by the view's name if it has one, else by its words."""
        self._attempt.run.require_open()
        return self._attempt.ordinals.take(self._place, verb, to_json(self._policy.name or what))

    # --- Chance ------------------------------------------------------------------------------

    def uuid(self, name: str = "", /) -> UUID:
        return UUID(bytes=self._derived("uuid", name, 16), version=4)

    def random(self, name: str = "", /) -> random.Random:
        return random.Random(int.from_bytes(self._derived("random", name, 32), "big"))

    def _derived(self, what: str, name: str, size: int) -> bytes:
        attempt = self._attempt
        clean_text(name, what="name for chance")
        return derive(what, attempt.run.created.seed, attempt.call, self._place, name, size=size)

    # --- Views -------------------------------------------------------------------------------

    def branch(self, name: str, /) -> LiveContext:
        if clean_text(name, what="name of a branch") == "":
            raise CodecError(
                "An empty text is no name of a branch.", remedy="Name it: ctx.branch('left')."
            )
        place = f"{self._place}/{name}" if self._place else name
        return LiveContext(self._attempt, place=place, policy=self._policy)

    def options(
        self,
        *,
        name: str | None = None,
        retry: Retry | None = None,
        timeout: timedelta | None = None,
        deadline: timedelta | None = None,
        priority: int | None = None,
        detached: bool | None = None,
        budget: Budget | None = None,
    ) -> LiveContext:
        said: dict[str, Any] = {
            "name": name,
            "retry": retry,
            "timeout": timeout,
            "deadline": deadline,
            "priority": priority,
            "detached": detached,
            "budget": budget,
        }
        said = {key: value for key, value in said.items() if value is not None}
        require_options(said)
        policy = msgspec.structs.replace(self._policy, **said)
        return LiveContext(self._attempt, place=self._place, policy=policy)
