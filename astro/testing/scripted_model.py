"""ScriptedModel: a language model that says what a script says, well or badly.

It has no network, no key and no chance in it. A script is a list of replies, one for each
request: text, tool calls, errors such as "429, try again in 2 seconds", and streams that break
off or deliver a chunk twice. What was asked is kept, as it was at the moment of asking.
"""

from __future__ import annotations

import inspect
from collections.abc import AsyncGenerator, Mapping, Sequence
from datetime import timedelta
from typing import Any, Final

import attrs
import msgspec
from anyio.lowlevel import checkpoint
from attrs.validators import deep_iterable, ge, instance_of, optional

from astro.core.clock import Clock, SystemClock
from astro.core.codec import to_json
from astro.core.errors import AgentError, InvalidArgumentsError
from astro.testing.scripted_agent import Script

__all__ = [
    "FaultyReply",
    "ModelChunk",
    "ModelReply",
    "ModelRequest",
    "RateLimitedError",
    "ScriptedModel",
]

_COUNT: Final[Any] = [instance_of(int), ge(0)]
_TEXTS: Final[Any] = deep_iterable(instance_of(str))
_NUMBERS: Final[Any] = deep_iterable(_COUNT)


def _in_order(values: Any) -> tuple[Any, ...]:
    return (values,) if isinstance(values, str) else tuple(values)


class RateLimitedError(AgentError):
    """Raised as a model service does that answers "429 Too Many Requests".

    Attributes:
        retry_after: How long it asks to wait; retries honour it.
    """

    status: Final = 429

    def __init__(self, *, retry_after: timedelta | None = None) -> None:
        self.retry_after = retry_after
        wait = "" if retry_after is None else f" for {retry_after.total_seconds():g} seconds"
        super().__init__("The model takes no more requests (429).", remedy=f"Wait{wait}.")


@attrs.frozen(kw_only=True)
class ModelReply:
    """What a model says to one request.

    Attributes:
        chunks: The text, in the parts in which it is streamed.
        tool_calls: Plain JSON objects, as `{"id": "1", "name": "search", "arguments": {...}}`.
        usage: Numbers of tokens, as `{"input": 12, "output": 3}`.
        stop: Why it ended.
    """

    chunks: Sequence[str] = attrs.field(default=(), converter=_in_order, validator=_TEXTS)
    tool_calls: Sequence[Mapping[str, Any]] = attrs.field(default=(), converter=_in_order)
    usage: Mapping[str, int] = attrs.field(factory=dict)
    stop: str = attrs.field(validator=instance_of(str))

    @stop.default
    def _why(self) -> str:
        return "tool_calls" if self.tool_calls else "end"

    @property
    def text(self) -> str:
        return "".join(self.chunks)


@attrs.frozen(kw_only=True)
class ModelChunk:
    """A part of a streamed reply.

    Attributes:
        number: Counts from 0; a chunk that comes twice has the same number twice.
        stop: With the last chunk only: a stream without it has broken off.
    """

    number: int
    text: str = ""
    tool_call: Mapping[str, Any] | None = None
    usage: Mapping[str, int] = attrs.field(factory=dict)
    stop: str | None = None


@attrs.frozen(kw_only=True)
class FaultyReply:
    """A reply that does not arrive as it was sent.

    Attributes:
        cut_after: How many chunks arrive before the stream breaks off; None is all of them.
        error: What breaking off raises; None ends the stream as if it were complete.
        twice: Numbers of the chunks that come twice.
    """

    reply: ModelReply = attrs.field(validator=instance_of(ModelReply))
    cut_after: int | None = attrs.field(default=None, validator=optional(_COUNT))
    error: Exception | None = attrs.field(default=None, validator=optional(instance_of(Exception)))
    twice: Sequence[int] = attrs.field(default=(), converter=_in_order, validator=_NUMBERS)


@attrs.frozen(kw_only=True)
class ModelRequest:
    """What a model was asked, as it was at that moment."""

    messages: Sequence[Mapping[str, Any]]
    tools: Sequence[Mapping[str, Any]] = ()
    streamed: bool = False


class ScriptedModel:
    """A language model that replies by a script.

    Args:
        script: Replies in order: a `ModelReply`, its text alone, a `FaultyReply`, an exception,
            which is raised, or a function, sync or async, of messages and tools that returns one
            of the first three. `After` lets one take its time; `Always` repeats the last.
        clock: By which `After` passes.

    Attributes:
        requests: What it was asked, in order.
        streaming: How many streams are open; none, once every one was read or closed.

    Raises:
        InvalidArgumentsError: Something in the script is no reply.
    """

    def __init__(
        self,
        script: Sequence[object],
        /,
        *,
        name: str = "scripted",
        clock: Clock | None = None,
    ) -> None:
        self.name: Final = name
        self.requests: list[ModelRequest] = []
        self.streaming = 0
        self._script = Script(f"the model {name!r}", script, _kept)
        self._clock = clock or SystemClock()

    def __repr__(self) -> str:
        return f"<ScriptedModel {self.name}: {self.left} replies left>"

    @property
    def left(self) -> int:
        """How many replies nobody has had yet."""
        return self._script.left

    async def respond(
        self,
        messages: Sequence[Mapping[str, Any]],
        /,
        *,
        tools: Sequence[Mapping[str, Any]] = (),
    ) -> ModelReply:
        """Return the next reply as a whole.

        Raises:
            ConnectionError: The reply is cut, and names no other error.
            UnscriptedError: There is none.
        """
        faulty = await self._next(messages, tools, streamed=False)
        if faulty.cut_after is not None:
            # Without a stream, what broke off has not arrived at all.
            error = faulty.error or ConnectionError("the reply broke off")
            raise error.with_traceback(None)
        return faulty.reply

    async def stream(
        self,
        messages: Sequence[Mapping[str, Any]],
        /,
        *,
        tools: Sequence[Mapping[str, Any]] = (),
    ) -> AsyncGenerator[ModelChunk, None]:
        """Yield the next reply in chunks; the last one has `stop`, unless the stream is cut.

        Raises:
            UnscriptedError: There is none.
        """
        self.streaming += 1
        try:
            faulty = await self._next(messages, tools, streamed=True)
            for chunk in _chunks(faulty.reply)[: faulty.cut_after]:
                for _ in range(1 + faulty.twice.count(chunk.number)):
                    await checkpoint()
                    yield chunk
            if faulty.cut_after is not None and faulty.error is not None:
                raise faulty.error.with_traceback(None)
        finally:
            self.streaming -= 1

    async def _next(self, messages: Any, tools: Any, *, streamed: bool) -> FaultyReply:
        asked = ModelRequest(messages=_copy(messages), tools=_copy(tools), streamed=streamed)
        self.requests.append(asked)
        answer = await self._script.next(self._clock)
        if isinstance(answer, Exception):
            raise answer.with_traceback(None)  # it may have been raised before
        if not isinstance(answer, FaultyReply):
            answer = answer(asked.messages, asked.tools)
            answer = _kept(await answer if inspect.isawaitable(answer) else answer)
        if not isinstance(answer, FaultyReply):
            raise InvalidArgumentsError(
                f"A function of the script of {self.name!r} returned {answer!r:.60}.",
                remedy="Let it return a ModelReply, a text or a FaultyReply.",
            )
        return answer


def _kept(answer: Any) -> Any:
    """Return an answer as it is kept: a `FaultyReply`, an exception or a function.

    Raises:
        InvalidArgumentsError: It is nothing of the kind.
        CodecError: A tool call is no JSON.
    """
    if isinstance(answer, str):
        answer = ModelReply(chunks=(answer,))
    if isinstance(answer, ModelReply):
        answer = FaultyReply(reply=answer)
    if isinstance(answer, FaultyReply):
        to_json(answer.reply.tool_calls)
        return answer
    if isinstance(answer, Exception) or callable(answer):
        return answer
    raise InvalidArgumentsError(
        f"{answer!r:.60} is no reply of a model.",
        remedy="Write a ModelReply, a text, a FaultyReply, an exception or a function.",
    )


def _chunks(reply: ModelReply) -> list[ModelChunk]:
    said: list[dict[str, Any]] = [{"text": text} for text in reply.chunks]
    said += [{"tool_call": call} for call in reply.tool_calls]
    said.append({"usage": reply.usage, "stop": reply.stop})
    return [ModelChunk(number=number, **one) for number, one in enumerate(said)]


def _copy(value: Any) -> Any:
    """Return messages as they are now; who asked may go on changing them."""
    return msgspec.json.decode(to_json(value))
