"""ScriptedModel: replies in order, whole and in chunks, and what goes wrong with models."""

from __future__ import annotations

from contextlib import aclosing
from datetime import timedelta
from typing import Any

import anyio
import pytest

from astro import Context, InvalidArgumentsError, LocalEngine, MemoryStore, Retry, task
from astro.testing.clock import VirtualClock
from astro.testing.loop import LoopClock, run_deterministically
from astro.testing.scripted_agent import After, Always, UnscriptedError
from astro.testing.scripted_model import (
    FaultyReply,
    ModelChunk,
    ModelReply,
    ModelRequest,
    RateLimitedError,
    ScriptedModel,
)

pytestmark = pytest.mark.anyio

ASKED = [{"role": "user", "content": "Rain?"}]
TOOLS = [{"name": "weather", "parameters": {"type": "object"}}]
CALL = {"id": "1", "name": "weather", "arguments": {"city": "Bonn"}}
SAID = ModelReply(chunks=["It ", "rains."], usage={"input": 4, "output": 2})


async def streamed(model: ScriptedModel) -> list[ModelChunk]:
    return [chunk async for chunk in model.stream(ASKED)]


# --- Replies -----------------------------------------------------------------------------------


async def test_replies_come_in_order() -> None:
    model = ScriptedModel(["Yes.", SAID])
    replies = [await model.respond(ASKED) for _ in range(2)]
    assert [reply.text for reply in replies] == ["Yes.", "It rains."]
    assert replies[1] == SAID
    assert [reply.stop for reply in replies] == ["end", "end"]
    assert model.left == 0


async def test_a_reply_with_tool_calls_stops_for_them() -> None:
    model = ScriptedModel([ModelReply(tool_calls=[CALL]), ModelReply(stop="length")])
    reply = await model.respond(ASKED, tools=TOOLS)
    assert (reply.text, reply.tool_calls, reply.stop) == ("", (CALL,), "tool_calls")
    assert (await model.respond(ASKED)).stop == "length"


async def test_a_stream_ends_with_usage_and_the_reason_it_stopped() -> None:
    reply = ModelReply(chunks=["It ", "rains."], tool_calls=[CALL], usage={"output": 2})
    assert await streamed(ScriptedModel([reply])) == [
        ModelChunk(number=0, text="It "),
        ModelChunk(number=1, text="rains."),
        ModelChunk(number=2, tool_call=CALL),
        ModelChunk(number=3, usage={"output": 2}, stop="tool_calls"),
    ]


async def test_a_function_sees_what_was_asked() -> None:
    async def reply(messages: Any, tools: Any) -> ModelReply:
        return ModelReply(chunks=[messages[-1]["content"]], tool_calls=[{"name": tools[0]["name"]}])

    model = ScriptedModel([lambda messages, tools: f"{len(messages)} {len(tools)}", reply])
    assert (await model.respond(ASKED)).text == "1 0"
    said = await model.respond(ASKED, tools=TOOLS)
    assert (said.text, said.tool_calls) == ("Rain?", ({"name": "weather"},))


async def test_requests_are_kept_as_they_were() -> None:
    model, messages = ScriptedModel([Always("Yes.")]), [{"role": "user", "content": "Rain?"}]
    await model.respond(messages, tools=TOOLS)
    messages[0]["content"] = "changed"
    messages.append({"role": "user", "content": "And now?"})
    async for _ in model.stream(messages):
        pass
    assert model.requests[0] == ModelRequest(messages=ASKED, tools=TOOLS)
    assert len(model.requests[1].messages) == 2
    assert (model.requests[1].tools, model.requests[1].streamed) == ([], True)


# --- What goes wrong ---------------------------------------------------------------------------


async def test_errors_are_raised_whole_and_streamed() -> None:
    model = ScriptedModel([RateLimitedError(retry_after=timedelta(seconds=2)), OSError("down")])
    with pytest.raises(RateLimitedError, match="2 seconds") as caught:
        await model.respond(ASKED)
    assert (caught.value.status, caught.value.retry_after) == (429, timedelta(seconds=2))
    with pytest.raises(OSError, match="down"):
        await streamed(model)


def test_an_engine_waits_as_long_as_a_busy_model_asks_for() -> None:
    @task(retry=Retry(attempts=2, first=timedelta(0)))
    async def ask(ctx: Context) -> str:
        return (await model.respond(ASKED)).text

    model = ScriptedModel([RateLimitedError(retry_after=timedelta(minutes=7)), "Yes."])

    async def main() -> tuple[str, timedelta]:
        clock = LoopClock()
        async with LocalEngine(ask, store=MemoryStore(clock=clock), clock=clock) as engine:
            begun = clock.now()
            return await engine.run(ask), clock.now() - begun

    answer, waited = run_deterministically(main, seed=1).value
    assert answer == "Yes."
    assert timedelta(minutes=7) <= waited < timedelta(minutes=8)


async def test_a_stream_that_breaks_off_has_no_last_chunk() -> None:
    model = ScriptedModel([FaultyReply(reply=SAID, cut_after=1)])
    assert await streamed(model) == [ModelChunk(number=0, text="It ")]


async def test_a_stream_can_break_off_with_an_error() -> None:
    model = ScriptedModel([FaultyReply(reply=SAID, cut_after=2, error=ConnectionError("reset"))])
    seen = []

    async def read() -> None:
        async for chunk in model.stream(ASKED):
            seen.append(chunk.text)

    with pytest.raises(ConnectionError, match="reset"):
        await read()
    assert seen == ["It ", "rains."]


@pytest.mark.parametrize("error", [None, ConnectionError("the reply broke off")])
async def test_a_reply_that_breaks_off_has_not_arrived(error: Exception | None) -> None:
    model = ScriptedModel([FaultyReply(reply=SAID, cut_after=2, error=error)])
    with pytest.raises(ConnectionError, match="broke off"):
        await model.respond(ASKED)


async def test_a_chunk_that_comes_twice_has_its_number_twice() -> None:
    model = ScriptedModel([FaultyReply(reply=SAID, twice=[0, 2, 2])])
    assert [chunk.number for chunk in await streamed(model)] == [0, 0, 1, 2, 2, 2]


async def test_a_reply_takes_its_time_on_the_clock() -> None:
    clock, hour = VirtualClock(), timedelta(hours=1)
    model = ScriptedModel([After(hour, "Yes."), After(hour, SAID)], clock=clock)
    with anyio.move_on_after(0.01) as scope:
        await model.respond(ASKED)
    assert scope.cancelled_caught
    texts: list[str] = []

    async def read() -> None:
        texts.extend([chunk.text for chunk in await streamed(model)])

    async with anyio.create_task_group() as group:
        group.start_soon(read)
        with anyio.fail_after(5):
            while clock.next_due() is None:
                await anyio.lowlevel.checkpoint()
        clock.advance(hour)
    assert texts == ["It ", "rains.", ""]


async def test_a_stream_that_is_left_early_is_closed() -> None:
    model = ScriptedModel([Always(SAID)])
    async with aclosing(model.stream(ASKED)) as stream:
        async for _ in stream:
            assert model.streaming == 1
            break
    assert model.streaming == 0


async def test_an_exhausted_script_says_so() -> None:
    model = ScriptedModel(["Yes."], name="small")
    await model.respond(ASKED)
    with pytest.raises(UnscriptedError, match="model 'small' is exhausted: call 2 has no answer"):
        await model.respond(ASKED)
    with pytest.raises(UnscriptedError):
        await streamed(model)
    assert len(model.requests) == 3


# --- Wrong scripts -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("script", "words"),
    [
        ([3], "Answer 1 of the script of the model 'scripted' is wrong: 3 is no reply"),
        (["Yes.", None], "Answer 2 .* None is no reply"),
        ([{"role": "assistant"}], "is no reply"),
        ([ModelReply(tool_calls=[{"id": object()}])], "cannot be kept as JSON"),
        ([After(timedelta(1), 3)], "3 is no reply"),
        ([OSError], "no exception that can be raised"),
        ("Yes.", "is no list"),
    ],
)
async def test_a_wrong_script_is_found_when_it_is_written(script: Any, words: str) -> None:
    with pytest.raises(InvalidArgumentsError, match=words):
        ScriptedModel(script)


@pytest.mark.parametrize("said", [3, OSError("down"), lambda messages, tools: "Yes."])
async def test_a_functions_wrong_reply_is_refused(said: Any) -> None:
    model = ScriptedModel([lambda messages, tools: said])
    with pytest.raises(InvalidArgumentsError, match=r"'scripted' returned|is no reply"):
        await model.respond(ASKED)


@pytest.mark.parametrize(
    "make",
    [
        lambda: ModelReply(chunks=[1]),
        lambda: FaultyReply(reply="Yes."),
        lambda: FaultyReply(reply=SAID, cut_after=-1),
        lambda: FaultyReply(reply=SAID, twice=["0"]),
        lambda: FaultyReply(reply=SAID, error="429"),
    ],
)
async def test_a_wrong_reply_is_found_when_it_is_written(make: Any) -> None:
    with pytest.raises((TypeError, ValueError)):
        make()


async def test_messages_that_are_no_json_are_refused_when_they_are_sent() -> None:
    with pytest.raises(ValueError, match="cannot be kept as JSON"):
        await ScriptedModel(["Yes."]).respond([{"content": object()}])
