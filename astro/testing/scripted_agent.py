"""ScriptedAgent: an agent that performs tasks by a script, in an engine or without one.

A script is a list of answers: values, exceptions, functions of the arguments. They are given in
order, one for each call, and values are held to the task's result type when the script is
written. `After` lets an answer take its time; `Always` repeats the last one.
"""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import timedelta
from functools import partial
from typing import Any, Final

import attrs
import msgspec
from anyio.lowlevel import checkpoint
from attrs.validators import ge, instance_of

from astro.core.clock import Clock, SystemClock
from astro.core.context import Context
from astro.core.errors import AstroError, InvalidArgumentsError, UnknownTaskError
from astro.core.protocols import Call
from astro.core.signature import Bound
from astro.core.task import Task, check_name

__all__ = ["After", "Always", "Script", "ScriptedAgent", "ScriptedCall", "UnscriptedError"]

_DURATION: Final[Any] = [instance_of(timedelta), ge(timedelta(0))]


class UnscriptedError(AstroError, AssertionError):
    """Raised by a double that is asked for something its script has no answer for."""


@attrs.frozen
class After:
    """An answer that takes its time, on the double's clock."""

    duration: timedelta = attrs.field(validator=_DURATION)
    answer: Any


@attrs.frozen
class Always:
    """The last answer of a script: to this call and to all that follow."""

    answer: Any


class Script:
    """Answers in order, one for each call.

    Args:
        who: The double and what it is asked for, for messages.
        answers: `After` and `Always` may stand around each.
        check: Returns an answer as it is kept, or raises if it is none.

    Raises:
        InvalidArgumentsError: An answer is none, or `Always` is not the last.
    """

    def __init__(self, who: str, answers: object, check: Callable[[Any], Any]) -> None:
        if not isinstance(answers, (list, tuple)):
            raise InvalidArgumentsError(
                f"The script of {who} is no list.", remedy="Write a list of answers, in order."
            )
        self._who = who
        self._answers = [
            self._checked(answer, number, check) for number, answer in enumerate(answers, start=1)
        ]
        if any(isinstance(answer, Always) for answer in self._answers[:-1]):
            raise InvalidArgumentsError(
                f"The script of {who} goes on after Always.",
                remedy="Let Always be its last answer.",
            )
        self._given = 0

    @property
    def left(self) -> int:
        """How many answers nobody has had yet; `Always` counts as none."""
        rest = self._answers[self._given :]
        return sum(not isinstance(answer, Always) for answer in rest)

    async def next(self, clock: Clock) -> Any:
        """Return the next answer, once it has taken its time.

        Raises:
            UnscriptedError: There is none.
        """
        if self._given == len(self._answers):
            raise UnscriptedError(
                f"The script of {self._who} is exhausted: call {self._given + 1} has no answer.",
                remedy="Add an answer, or end the script with Always(answer).",
            )
        answer = self._answers[self._given]  # taken before anything waits: calls overlap
        if isinstance(answer, Always):
            answer = answer.answer
        else:
            self._given += 1
        await checkpoint()
        if isinstance(answer, After):
            await clock.sleep(answer.duration)
            answer = answer.answer
        return answer

    def _checked(self, answer: Any, number: int, check: Callable[[Any], Any]) -> Any:
        if isinstance(answer, Always) and not isinstance(answer.answer, Always):
            return Always(self._checked(answer.answer, number, check))
        if isinstance(answer, After) and not isinstance(answer.answer, (After, Always)):
            return After(answer.duration, self._checked(answer.answer, number, check))
        try:
            return check(_no_stranger(answer))
        except AstroError as error:
            raise InvalidArgumentsError(
                f"Answer {number} of the script of {self._who} is wrong: {error.problem}",
                remedy=error.remedy,
            ) from error


def _no_stranger(answer: Any) -> Any:
    """Return an answer that is none of the things people write by mistake."""
    if isinstance(answer, (After, Always)):
        raise InvalidArgumentsError(
            f"{answer!r:.60} stands inside another one.",
            remedy="Write Always(After(duration, answer)).",
        )
    kind = answer if isinstance(answer, type) else type(answer)
    if issubclass(kind, BaseException) and (kind is answer or not issubclass(kind, Exception)):
        raise InvalidArgumentsError(
            f"{answer!r:.60} is no exception that can be raised as a failure.",
            remedy="Write an instance of an Exception, as OSError('down').",
        )
    return answer


@attrs.frozen(kw_only=True)
class ScriptedCall:
    """A call that a scripted agent got.

    Attributes:
        args: The arguments by parameter name, as plain JSON values; defaults are left out.
        attempt: Number of the attempt; the first is 1.
        id: Identity of the call; empty where there is no engine.
    """

    task: str
    args: Mapping[str, Any]
    attempt: int = 1
    id: str = ""


class ScriptedAgent:
    """An agent that performs tasks by a script.

    Args:
        script: For each task, its answers in order: a value; an exception, which is raised; or
            a function, sync or async, of the call's arguments.
        cost: Relative cost of a call, for routing.
        limit: Calls it takes at the same moment; None is no limit.
        clock: By which `After` passes; give it the engine's.

    Attributes:
        calls: What it was asked for, in order.

    Raises:
        InvalidArgumentsError: A value does not fit the result type of its task.
    """

    def __init__(
        self,
        name: str,
        script: Mapping[Task[..., Any], Sequence[object]],
        /,
        *,
        cost: float = 1.0,
        limit: int | None = None,
        clock: Clock | None = None,
    ) -> None:
        self.name: Final = check_name(name, what="agent")
        self.cost = cost
        self.limit = limit
        self.calls: list[ScriptedCall] = []
        self._clock = clock or SystemClock()
        self._tasks = {_task(task).name: task for task in script}
        self._scripts = {
            task.name: Script(f"{name!r} for {task.name!r}", answers, partial(_kept, task))
            for task, answers in script.items()
        }

    def __repr__(self) -> str:
        return f"<ScriptedAgent {self.name}: {', '.join(sorted(self.performs))}>"

    @property
    def performs(self) -> frozenset[str]:
        return frozenset(self._tasks)

    @property
    def offers(self) -> tuple[Task[..., Any], ...]:
        """The tasks themselves, so that an engine need not be given them again."""
        return tuple(self._tasks.values())

    @property
    def left(self) -> Mapping[str, int]:
        """How many answers nobody has had yet, by task; empty when the script was used up."""
        return {name: script.left for name, script in self._scripts.items() if script.left}

    @property
    def answers(self) -> Mapping[str, Callable[..., Awaitable[Any]]]:
        """What a `FakeContext` answers with: `FakeContext(answers=agent.answers)`."""
        return {name: partial(self._in_place, task) for name, task in self._tasks.items()}

    async def perform(self, ctx: Context, call: Call, /) -> object:
        """Give the next answer of the script.

        Raises:
            UnknownTaskError: The script has nothing of this task.
            UnscriptedError: It has nothing more.
        """
        task = self._tasks.get(call.task.name)
        if task is None:
            raise UnknownTaskError(call.task.name, self._tasks)
        bound = task.signature.load(call.args)
        return await self._answered(task, bound, attempt=call.attempt, id=call.id)

    async def _in_place(self, task: Task[..., Any], /, *args: Any, **kwargs: Any) -> Any:
        return await self._answered(task, task.signature.bind(args, kwargs))

    async def _answered(self, task: Task[..., Any], bound: Bound, **more: Any) -> Any:
        args = msgspec.json.decode(bound.raw)
        self.calls.append(ScriptedCall(task=task.name, args=args, **more))
        answer = await self._scripts[task.name].next(self._clock)
        if isinstance(answer, Exception):
            raise answer.with_traceback(None)  # it may have been raised before
        if isinstance(answer, _Value):
            return task.signature.returns.decode(answer.raw)
        result = _applied(answer, task, bound)
        return await result if inspect.isawaitable(result) else result


def _task(key: Any) -> Task[..., Any]:
    if not isinstance(key, Task):
        raise InvalidArgumentsError(
            f"{key!r:.60} is no task.",
            remedy="Write the task itself, not its name.",
        )
    return key


@attrs.frozen
class _Value:
    """A value of a script as JSON: each call gets one of its own."""

    raw: bytes


def _applied(answer: Callable[..., Any], task: Task[..., Any], bound: Bound) -> Any:
    """Call a function with arguments by place as far as they have one: `len` takes no `text=`."""
    args, kwargs = list(bound.args), dict(bound.kwargs)
    signature = task.signature
    for name in signature.names[signature.positional :]:
        if name in signature.keyword_only or name not in kwargs:
            break
        args.append(kwargs.pop(name))
    return answer(*args, **kwargs)


def _kept(task: Task[..., Any], answer: Any) -> Any:
    """Return an answer to a call of a task, as it is kept.

    Raises:
        CodecError: It is a value that does not fit the result type.
    """
    if isinstance(answer, Exception) or callable(answer):
        return answer
    return _Value(task.signature.returns.settle(answer)[0])
