"""Waiting: the verbs in which an attempt waits for time, a person, other calls or other runs.

While it waits, an attempt holds no slot; a run whose every attempt waits here costs a row and,
once it is evicted, nothing else.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator, Sequence
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

import anyio
import msgspec

from astro.core.codec import codec_of, json_schema, to_json
from astro.core.errors import (
    InvalidArgumentsError,
    RunCancelledError,
    RunFailedError,
    TaskTimeoutError,
)
from astro.core.policy import RunOptions
from astro.core.records import (
    UNSET,
    AnsweredRecord,
    AskedRecord,
    ChildStartedRecord,
    FailedRecord,
    Raw,
    SleptRecord,
    SpentRecord,
    State,
    as_bytes,
    as_json,
)
from astro.core.signature import Bound
from astro.core.task import Task
from astro.decisions.budget import require_within
from astro.engine.creation import new_run
from astro.engine.failures import failure_of, rebuilt
from astro.engine.identity import derive

if TYPE_CHECKING:
    from astro.engine.attempt import Attempt
    from astro.engine.journal import Journal
    from astro.engine.request import CallPolicy

__all__ = ["LiveChild", "ask_person", "fan_out", "sleep", "spend", "start_child"]


class _Fan(msgspec.Struct):
    """Many calls of one task, as `map` asks for them.

    Attributes:
        results: In the order of the items.
        todo: Places of those that the journal does not answer.
    """

    task: Task[..., Any]
    bounds: Sequence[Bound]
    identities: Sequence[str]
    place: str
    policy: CallPolicy
    results: list[Any]
    todo: list[int]


async def fan_out(
    attempt: Attempt,
    task: Task[..., Any],
    bounds: Sequence[Bound],
    identities: Sequence[str],
    place: str,
    policy: CallPolicy,
    limit: int,
) -> list[Any]:
    """Ask for many calls of one task, a few at a time; return the results in order.

    The first failure cancels the calls in flight, which are then abandoned, and is raised.
    """
    fan = _Fan(task, bounds, identities, place, policy, [None] * len(bounds), [])
    await _recall(attempt, fan)
    workers = min(limit, len(fan.todo))
    attempt.run.journal.crowd += workers
    try:
        if workers == 1:
            await _work(attempt, fan, iter(fan.todo))
        elif workers:
            await _work_off(attempt, fan, workers)
    finally:
        attempt.run.journal.crowd -= workers
    return fan.results


async def _recall(attempt: Attempt, fan: _Fan) -> None:
    """Answer from the journal what it knows, before anything is dispatched."""
    for identity in fan.identities:
        attempt.run.divergence.asked(attempt.call, identity)
    for index, identity in enumerate(fan.identities):
        memory = attempt.run.state.calls.get(identity)
        if memory is None or memory.state is not State.DONE or memory.abandoned:
            if memory is not None and memory.state is State.FAILED and memory.failure is not None:
                raise rebuilt(fan.task, identity, memory.failure)
            fan.todo.append(index)
        else:
            fan.results[index] = await attempt.run.recalled(fan.task, memory)


async def _work_off(attempt: Attempt, fan: _Fan, workers: int) -> None:
    """Ask for the rest, each worker for one call after another."""
    rest = iter(fan.todo)
    errors: list[Exception] = []
    async with anyio.create_task_group() as group:

        async def work() -> None:
            try:
                await _work(attempt, fan, rest)
            except Exception as error:
                errors.append(error)
                group.cancel_scope.cancel()

        for _ in range(workers):
            group.start_soon(work)
    if errors:
        raise errors[0]


async def _work(attempt: Attempt, fan: _Fan, rest: Iterator[int]) -> None:
    for index in rest:
        fan.results[index] = await attempt.run.ask(
            attempt, fan.task, fan.bounds[index], fan.identities[index], fan.place, fan.policy
        )


async def sleep(attempt: Attempt, identity: str, duration: timedelta | datetime) -> None:
    """Wait for a duration or until a moment; only the first attempt's reckoning counts."""
    run = attempt.run
    memory = run.state.calls.get(identity)
    if memory is not None and memory.abandoned:
        await run.rest.hang(attempt)
    if memory is None or memory.moment is None:
        until = _moment_of(duration, run.parts.clock.now())
        run.journal.append(SleptRecord, call=identity, parent=attempt.call, until=until)
    async with run.rest.resting(attempt, State.SLEEPING, identity):
        await run.journal.flush()
        await run.rest.wait_for(identity)


def _moment_of(given: timedelta | datetime, now: datetime) -> datetime:
    """Return the end of a sleep.

    Raises:
        InvalidArgumentsError: There is no such moment.
    """
    if not isinstance(given, datetime):
        return _after(given, now, what="sleep", types="a timedelta or a datetime")
    if given.utcoffset() is None:
        raise InvalidArgumentsError(
            "The moment to sleep until has no time zone.", remedy="Use datetime.now(UTC)."
        )
    return given


def _after(given: object, now: datetime, *, what: str, types: str) -> datetime:
    """Return the moment a duration from now.

    Raises:
        InvalidArgumentsError: It is no duration, or ends when there are no dates any more.
    """
    if not isinstance(given, timedelta):
        raise InvalidArgumentsError(
            f"The {what} {given!r:.60} is not {types}.",
            remedy=f"Write timedelta(seconds={given})."
            if isinstance(given, int | float)
            else "Write timedelta(hours=1), for example.",
        )
    try:
        return now + given
    except OverflowError as error:
        raise InvalidArgumentsError(
            f"The {what} of {given} ends at no date of the calendar.",
            remedy="Choose a shorter one.",
        ) from error


async def ask_person(
    attempt: Attempt,
    identity: str,
    question: str,
    kind: Any,
    timeout: timedelta | None,
    default: tuple[Any] | None,
) -> Any:
    """Ask, wait for the answer in the inbox or for the deadline, and return what counts."""
    run = attempt.run
    codec = codec_of(kind)
    memory = run.state.calls.get(identity)
    if memory is None or memory.state is State.READY:
        end = None
        if timeout is not None:
            end = _after(timeout, run.parts.clock.now(), what="timeout", types="a timedelta")
        run.journal.append(
            AskedRecord,
            call=identity,
            parent=attempt.call,
            question=question,
            schema=Raw(to_json(json_schema(kind))),
            deadline=end,
            default=as_json(None if default is None else codec.settle(default[0])[0]),
        )
        memory = run.state.calls[identity]
    if memory.abandoned:
        await run.rest.hang(attempt)
    if memory.state is State.ASKED:
        async with run.rest.resting(attempt, State.ASKED, identity):
            await run.journal.flush()
            await run.rest.answered(identity)
            if memory.state is State.ASKED:
                await _time_ran_out(attempt, identity, question)
    if memory.state is State.FAILED:
        raise _unanswered(question)
    return codec.decode(memory.result or b"null")


def _unanswered(question: str) -> TaskTimeoutError:
    return TaskTimeoutError(
        f"Nobody answered {question!r:.200} in time.", remedy="Give ask() a default."
    )


async def _time_ran_out(attempt: Attempt, identity: str, question: str) -> None:
    run = attempt.run
    asked = run.state.calls[identity].asked
    if asked is not None and asked.default is not UNSET:
        run.journal.append(
            AnsweredRecord,
            call=identity,
            answer=Raw(as_bytes(asked.default) or b"null"),
            by="default",
        )
    else:
        failure = failure_of(_unanswered(question), attempts=1, retryable=False)
        run.journal.append(FailedRecord, call=identity, attempt=1, failure=failure)
    await run.journal.flush()


class _Kept:
    """What a verb returns that has recorded something: awaiting it waits until that is kept."""

    def __init__(self, journal: Journal) -> None:
        self._journal = journal

    def __await__(self) -> Generator[Any, None, None]:
        return self._journal.flush().__await__()


def spend(attempt: Attempt, identity: str, money: float, tokens: int) -> _Kept:
    """Record what was used, then say so if it was too much."""
    run = attempt.run
    memory = run.state.calls.get(identity)
    if memory is None or memory.state is not State.DONE:
        run.journal.append(
            SpentRecord, call=identity, parent=attempt.call, money=money, tokens=tokens
        )
    require_within(run.state.spending.outwards(run.state.scope(attempt.call)), run.budget)
    return _Kept(run.journal)


class LiveChild:
    """A run that was started from inside another one."""

    def __init__(self, attempt: Attempt, task: Task[..., Any], call: str, run: str) -> None:
        self._attempt = attempt
        self._task = task
        self._call = call
        self.id = run

    def __await__(self) -> Generator[Any, None, Any]:
        return self._wait().__await__()

    async def _wait(self) -> Any:
        run = self._attempt.run
        run.require_open()
        wait = self._attempt.ordinals.take("", "wait", to_json(self.id))
        given_up = run.state.calls.get(wait)
        if given_up is not None and given_up.abandoned:
            await run.rest.hang(self._attempt)
        if self.id not in run.state.finished_runs:
            async with run.rest.resting(self._attempt, State.ASKED, wait):
                await run.rest.child_finished(self.id)
        end = run.state.finished_runs[self.id]
        if end.state is State.CANCELLED:
            raise RunCancelledError(self.id, "its parent saw it cancelled")
        if end.failure is not None:
            raise RunFailedError(self.id, end.failure)
        raw = as_bytes(end.result)
        if end.blob is not None:
            raw = await run.reach(run.parts.store.fetch(run.tenant, end.blob))
        return self._task.signature.returns.decode(raw or b"null")


async def start_child(
    attempt: Attempt, task: Task[..., Any], bound: Bound, identity: str, policy: CallPolicy
) -> LiveChild:
    """Create a run with this run's next commit; return once it is kept."""
    run = attempt.run
    memory = run.state.calls.get(identity)
    if memory is not None and memory.run is not None:
        return LiveChild(attempt, task, identity, memory.run)
    child = derive("child", run.id, identity, size=16).hex()
    said = RunOptions(
        tenant=run.tenant,
        key=identity,
        priority=policy.priority or attempt.priority,
        deadline=attempt.deadline,
        budget=policy.budget,
    )
    origin = (run.id, identity)
    run.journal.create(new_run(run.parts, said, task, bound, id=child, parent=origin))
    run.journal.append(
        ChildStartedRecord,
        call=identity,
        parent=attempt.call,
        run=child,
        task=task.name,
        detached=bool(policy.detached),
    )
    await run.journal.flush()
    return LiveChild(attempt, task, identity, child)
