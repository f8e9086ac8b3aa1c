"""Execution: one call, from being asked for to its committed result.

Answers from the journal what is known, chooses who performs the rest, tries as often as the
policy says, and commits. Bodies run in place, in the task that asked: cancelling the asking code
cancels the call, and nothing outlives its parent.
"""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Any

import anyio

from astro.core.errors import (
    AstroError,
    RunSuspended,
    TaskTimeoutError,
)
from astro.core.protocols import Call, Remembered
from astro.core.records import (
    AbandonedRecord,
    AttemptFailedRecord,
    FailedRecord,
    Failure,
    Raw,
    State,
    SucceededRecord,
    as_json,
)
from astro.core.task import Task
from astro.decisions.replay import CallState
from astro.decisions.retrying import worth_retrying
from astro.engine.attempt import Attempt, calling
from astro.engine.choosing import choose, limits_of
from astro.engine.context import LiveContext
from astro.engine.dispatching import dispatch, record_start
from astro.engine.failures import failure_of, rebuilt
from astro.engine.identity import derive
from astro.engine.request import CallPolicy, Request
from astro.engine.supervisor import current_task, require_cancelled
from astro.engine.timers import seconds_until

if TYPE_CHECKING:
    from astro.engine.owned import OwnedRun

__all__ = ["ask", "perform", "recalled"]


async def ask(parent: Attempt, request: Request) -> Any:
    """Return the result of a call, from the journal if it has one.

    Raises:
        CallFailedError: All attempts failed; or a class that the task declares in `raises`.
        RunSuspended: The engine has given the run up.
    """
    run = parent.run
    run.require_open()
    memory = run.state.calls.get(request.id)
    run.divergence.asked(request.parent, request.id)
    if memory is not None:
        if memory.abandoned:
            # It stays pending until it is cancelled again, and is never dispatched.
            await run.rest.hang(parent)
        if memory.state is State.DONE:
            return await recalled(run, request.task, memory)
        if memory.state is State.FAILED and memory.failure is not None:
            raise rebuilt(request.task, request.id, memory.failure)
    over = parent.wait()
    try:
        if memory is None and run.divergence.suspects(request):
            await run.divergence.hold(request)
        value = await perform(run, request, parent)
    except BaseException as error:
        over()
        parent.seize()
        if not isinstance(error, Exception) and not run.closing:
            # One that never began is known by nothing but this record.
            above = "" if request.id in run.state.calls else request.parent
            run.journal.append(AbandonedRecord, call=request.id, parent=above)
        raise
    over()
    await parent.go_on()
    return value


async def recalled(run: OwnedRun, task: Task[..., Any], memory: CallState) -> Any:
    """Return the result of a finished call."""
    raw = memory.result
    if raw is None and memory.blob is not None:
        raw = await run.reach(run.parts.store.fetch(run.tenant, memory.blob))
    return task.signature.returns.decode(raw or b"null")


async def perform(run: OwnedRun, request: Request, parent: Attempt | None) -> Any:
    """Try a call until it succeeds or is given up; commit either; return the result."""
    if request.task.cache is not None:
        cached = await _cached(run, request)
        if cached is not None:
            return cached[0]
    failed = _failed_before(run, request)
    cut = run.state.undoing.get(request.id) if request.parent else None
    while True:
        if cut is not None and cut.failure is not None:
            outcome: Any = cut.failure  # it had failed, and was being undone when it was cut off
        else:
            outcome = await _attempt(run, request, parent, failed)
        if isinstance(outcome, _Again):
            continue
        if isinstance(outcome, Failure):
            if not request.parent:
                run.failure = outcome
                raise rebuilt(request.task, request.id, outcome)
            await run.undo(request.id, failure=outcome)
            number = run.state.calls[request.id].attempt
            run.journal.append(FailedRecord, call=request.id, attempt=number, failure=outcome)
            await run.journal.flush()
            raise rebuilt(request.task, request.id, outcome)
        return outcome[0]


def _failed_before(run: OwnedRun, request: Request) -> dict[str, int]:
    """Return how often each agent has failed a call that goes on."""
    memory = run.state.calls.get(request.id)
    if memory is None or memory.failed is None or memory.state.terminal:
        return {}
    return dict(memory.failed)


class _Again:
    """Another attempt follows."""


_AGAIN = _Again()


async def _attempt(
    run: OwnedRun, request: Request, parent: Attempt | None, failed: dict[str, int]
) -> tuple[Any] | Failure | _Again:
    """Make one attempt; return its result, its failure for good, or that another follows."""
    memory = run.state.calls.get(request.id)
    if memory is not None and memory.state is State.SLEEPING and memory.moment is not None:
        await run.rest.wait_for(request.id)
    number, resumed = _number(memory)
    choice = await choose(run, request, failed)
    performer = choice.name
    attempt = _new_attempt(run, request, parent, number, performer)
    await _begin(run, request, attempt)
    end = _own_end(run, request, memory)  # time at the gate or in the queue is no attempt's
    if end is not None:
        attempt.deadline = min(end, attempt.deadline or end)
    failure: Exception | None = None
    try:
        await dispatch(run, request, number, choice, resumed=resumed)
        if end is None:  # limits from above are enforced above
            raw, value = await _run(run, request, attempt, performer)
        else:
            raw, value = await _within(end, run, request, attempt, performer)
    except Exception as error:
        failed[performer] = failed.get(performer, 0) + 1
        failure = error
    finally:
        if attempt.boxes is not None:
            await attempt.boxes.close()
        attempt.end()
    if failure is not None:
        return await _failed(run, request, number, failure)
    return (await _succeeded(run, request, number, raw, value),)


async def _begin(run: OwnedRun, request: Request, attempt: Attempt) -> None:
    """Return with the slots of an attempt, once nothing holds the run back."""
    while True:
        if run.held(undoing=request.exempt):
            await run.gate(undoing=request.exempt)
        await attempt.begin()
        if not run.held(undoing=request.exempt):
            return
        attempt.stand_back()


def _new_attempt(
    run: OwnedRun,
    request: Request,
    parent: Attempt | None,
    number: int,
    performer: str,
) -> Attempt:
    above = parent.deadline if parent is not None else run.deadline
    if request.exempt:
        above = None
    return Attempt(
        run,
        call=request.id,
        task=request.task.name,
        number=number,
        priority=_priority(run, request, parent),
        deadline=above,
        needs=limits_of(run, request, performer),
        exempt=request.exempt,
        spec=request.task.sandbox,
    )


def _number(memory: CallState | None) -> tuple[int, bool]:
    """Return the number of the next attempt, and whether it is one that was cut off."""
    if memory is None:
        return 1, False
    if memory.state is State.RUNNING and memory.attempt:
        return memory.attempt, True
    return memory.attempt + 1, False


def _priority(run: OwnedRun, request: Request, parent: Attempt | None) -> int:
    """Return the priority of a call: its own, but not below who waits for it."""
    own = request.policy.priority or request.task.priority
    inherited = parent.priority if parent is not None else run.priority
    return inherited if own is None else max(int(own), inherited)


def _own_end(run: OwnedRun, request: Request, memory: CallState | None) -> datetime | None:
    """Return when the attempt is given up by its own timeout or its call's deadline."""
    timeout = request.policy.timeout or request.task.timeout
    lasting = request.lasting
    if timeout is None and lasting is None:
        return None
    now = run.parts.clock.now()
    moments = [] if timeout is None else [now + timeout]
    if lasting is not None:
        begun = memory.since if memory is not None and memory.since is not None else now
        moments.append(min(begun, now) + lasting)
    return min(moments)


async def _within(
    end: datetime, run: OwnedRun, request: Request, attempt: Attempt, performer: str
) -> tuple[bytes, Any]:
    """Run the body until a moment at the latest.

    Raises:
        TaskTimeoutError: It did not finish in time.
    """
    left = seconds_until(end, run.parts.clock.now())
    run.rest.ends[request.id] = end
    try:
        with anyio.move_on_after(left) as scope:
            return await _run(run, request, attempt, performer)
    finally:
        run.rest.ends.pop(request.id, None)
    if scope.cancelled_caught:
        raise TaskTimeoutError(
            f"{request.task.name} did not finish in time.",
            remedy="Give it a longer timeout or deadline.",
        )
    raise RunSuspended  # unreachable: the scope either returned or was cancelled


async def _run(
    run: OwnedRun, request: Request, attempt: Attempt, performer: str
) -> tuple[bytes, Any]:
    """Run the body; return the result as JSON and as the caller sees it."""
    task, bound = request.task, request.bound
    ctx = LiveContext(attempt, place="", policy=CallPolicy())
    around, me = calling.get(), current_task()
    calling.set(attempt)
    try:
        agent = run.parts.performer(task, performer) if performer else None
        if agent is not None:
            call = Call(id=request.id, task=task, args=bound.raw, attempt=attempt.number)
            value = await agent.agent.perform(ctx, call)
        elif task.skip:
            value = await task.fn(ctx, *bound.args, **bound.kwargs)
        else:
            value = await task.fn(*bound.args, **bound.kwargs)
    except (Exception, RunSuspended, KeyboardInterrupt):
        raise
    except BaseException as error:
        if isinstance(error, anyio.get_cancelled_exc_class()):
            await require_cancelled()
        elif isinstance(error, GeneratorExit) and current_task() is not me:
            raise  # the coroutine is being closed
        elif run.closed or _suspends(error):
            raise RunSuspended from error
        # SystemExit and its like end a task, never the engine.
        raise AstroError(
            f"{request.task.name} raised {type(error).__name__}: {error}.",
            remedy="Raise an Exception instead; of what you await, catch that it was cancelled.",
        ) from error
    finally:
        calling.set(around)
    return task.signature.returns.settle(value)


def _suspends(error: BaseException) -> bool:
    """Return whether an exception group carries the end of this engine's ownership."""
    return isinstance(error, BaseExceptionGroup) and error.subgroup(RunSuspended) is not None


async def _succeeded(run: OwnedRun, request: Request, number: int, raw: bytes, value: Any) -> Any:
    blob = None
    # What names blobs stays where those look for names who collect the unnamed.
    if len(raw) >= run.parts.blob_size and b'"blob":"' not in raw:
        blob = await run.reach(run.parts.store.put(run.tenant, raw))
    if request.parent:
        run.divergence.judge(request.id)
        run.journal.append(
            SucceededRecord,
            call=request.id,
            attempt=number,
            result=as_json(None if blob else raw),
            blob=blob,
        )
        if request.task.cache is not None and blob is None:
            until = run.parts.clock.now() + request.task.cache
            run.journal.remember(Remembered(key=_cache_key(request), result=raw, until=until))
        await run.journal.flush()
    else:
        run.result = (None if blob else raw, blob)
    return value


async def _failed(
    run: OwnedRun, request: Request, number: int, error: Exception
) -> Failure | _Again:
    """Record that another attempt follows, or return the failure for good."""
    memory = run.state.calls.get(request.id)
    tries = number - (memory.base if memory is not None else 0)
    retry = request.retry
    delay = run.parts.retrying.delay(retry, attempt=tries, error=error, chance=run.parts.chance)
    failure = failure_of(error, attempts=tries, retryable=worth_retrying(retry, error))
    if delay is None:
        return failure
    retry_at = run.parts.clock.now() + delay
    lasting = request.lasting
    since = memory.since if memory is not None else None
    if lasting is not None and since is not None and retry_at >= since + lasting:
        return failure
    run.journal.append(
        AttemptFailedRecord, call=request.id, attempt=number, failure=failure, retry_at=retry_at
    )
    await run.journal.flush()
    return _AGAIN


async def _cached(run: OwnedRun, request: Request) -> tuple[Any] | None:
    """Return the remembered result of an equal call, after recording that it was used."""
    if request.id in run.state.calls:
        return None
    raw = await run.reach(run.parts.store.recall(run.tenant, _cache_key(request)))
    if raw is None:
        return None
    value = request.task.signature.returns.decode(raw)
    record_start(run, request, 1, undoable=False)
    run.journal.append(SucceededRecord, call=request.id, attempt=1, result=Raw(raw), cached=True)
    await run.journal.flush()
    return (value,)


def _cache_key(request: Request) -> str:
    task = request.task
    return derive("cache", task.name, task.version, request.bound.raw, size=16).hex()
