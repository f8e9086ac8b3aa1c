"""The door of messages: what outsiders may ask of a run, over nothing but a store."""

from __future__ import annotations

import math
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any, Literal, TypedDict

import anyio
import attrs
import pytest

from astro import (
    AlreadyAnsweredError,
    CodecError,
    Context,
    InvalidArgumentsError,
    LocalEngine,
    MemoryStore,
    RunFinishedError,
    RunNotFoundError,
    task,
)
from astro.core.messages import ResumeMessage, decode_message
from astro.decisions.replay import replay
from astro.engine import posting
from tests.bad_input.cases import LOOP, Case, Odd, deep, each, refused

pytestmark = pytest.mark.anyio

WRONG = InvalidArgumentsError
TENANT = "default"


@attrs.frozen
class Grade:
    mark: int
    words: str = ""


class Choice(TypedDict):
    which: Literal["a", "b"]


KINDS: dict[str, Any] = {
    "bool": bool,
    "int": int,
    "float": float,
    "text": str,
    "list": list[int],
    "map": dict[str, int],
    "pair": tuple[int, str],
    "literal": Literal["yes", "no"],
    "union": int | None,
    "class": Grade,
    "typed": Choice,
    "days": timedelta,
    "any": Any,
}


@task
async def asks(ctx: Context, kind: str) -> str:
    await ctx.ask("Which?", KINDS[kind])
    return "answered"


@task
async def asks_two(ctx: Context) -> str:
    async with anyio.create_task_group() as group:
        group.start_soon(ctx.branch("a").ask, "A?", bool)
        group.start_soon(ctx.branch("b").ask, "B?", bool)
    return "answered"


class Post:
    """A store with an engine on it, and runs that wait for answers."""

    def __init__(self, engine: LocalEngine, store: MemoryStore) -> None:
        self.engine = engine
        self.store = store

    async def asked(self, started: Any, questions: int = 1) -> str:
        run = await self.engine.start(*started)
        while len(await self.open(run.id)) < questions:  # the engine's turn
            await anyio.lowlevel.checkpoint()
        return run.id

    async def open(self, run: str) -> list[str]:
        records = await posting.read_all(self.store, TENANT, run)
        return [asked.call for asked in posting.open_questions(replay(records))]


@pytest.fixture
async def post() -> AsyncIterator[Post]:
    store = MemoryStore()
    with anyio.fail_after(30):
        async with LocalEngine(asks, asks_two, store=store, grace=timedelta(0)) as engine:
            yield Post(engine, store)


# --- Answers -------------------------------------------------------------------------------------

ANSWERS = [
    Case("text-for-bool", ("bool", "true"), WRONG, "$: expected boolean, got 'true'"),
    Case("number-for-bool", ("bool", 1), WRONG, "$: expected boolean, got 1"),
    Case("bool-for-int", ("int", True), WRONG, "$: expected integer, got True"),
    Case("half-for-int", ("int", 1.5), WRONG, "$: expected integer, got 1.5"),
    Case("text-for-float", ("float", "1.5"), WRONG, "$: expected number, got '1.5'"),
    Case("int-beyond-floats", ("float", 10**400), WRONG, "$: expected number"),
    Case("number-for-text", ("text", 5), WRONG, "$: expected string, got 5"),
    Case("nothing-for-text", ("text", None), WRONG, "$: expected string, got None"),
    Case("wrong-item", ("list", [1, "2"]), WRONG, "$[1]: expected integer, got '2'"),
    Case("object-for-list", ("list", {}), WRONG, "$: expected array, got {}"),
    Case("wrong-value", ("map", {"a": "b"}), WRONG, "$.a: expected integer, got 'b'"),
    Case("pair-of-three", ("pair", [1, "a", 2]), WRONG, "$: "),
    Case("none-of-a-literal", ("literal", "maybe"), WRONG, "'maybe'"),
    Case("none-of-a-union", ("union", "x"), WRONG, "$: "),
    Case("missing-field", ("class", {"words": "x"}), WRONG, "$: 'mark' is missing"),
    Case("wrong-field", ("class", {"mark": "x"}), WRONG, "$.mark: expected integer, got 'x'"),
    Case("none-of-a-literal-inside", ("typed", {"which": "c"}), WRONG, "$.which: "),
    Case("no-duration", ("days", "tomorrow"), WRONG, "'tomorrow' is no duration"),
    Case("nan", ("any", math.nan), CodecError, "nan is not a JSON number"),
    Case("surrogate", ("any", "\ud800"), CodecError, "surrogates not allowed"),
    Case("object", ("any", object()), CodecError, "object is not supported"),
    Case("loop", ("any", LOOP), CodecError, "contains itself"),
    Case("deep", ("any", deep(101)), CodecError, "nested deeper than 100 levels"),
    Case("large", ("any", "x" * 17_000_000), CodecError, "the cap is 16,777,216"),
]


@each(ANSWERS)
async def test_an_answer_that_does_not_fit_leaves_the_question_open(post: Post, case: Case) -> None:
    kind, value = case.what
    run = await post.asked((asks, kind))
    before = await post.open(run)
    with refused(case):
        await posting.answer(post.store, TENANT, run, value)
    assert await post.open(run) == before


FITTING = [
    Odd("minus-zero", ("float", -0.0), "answered"),
    Odd("int-for-float", ("float", 3), "answered"),
    Odd("nothing-of-a-union", ("union", None), "answered"),
    Odd("empty-list", ("list", []), "answered"),
    Odd("tuple-for-list", ("list", (1, 2)), "answered"),
    Odd("python-words", ("any", {"__class__": "os.system", "lc": 1}), "answered"),
    Odd("nested-100", ("any", deep(100)), "answered"),
    Odd("nul", ("text", "\0"), "answered"),
]


@each(FITTING)
async def test_an_answer_that_only_looks_odd_is_taken(post: Post, case: Odd) -> None:
    kind, value = case.what
    run = await post.asked((asks, kind))
    await posting.answer(post.store, TENANT, run, value)
    assert await (await post.engine.get(run)) == case.gives


# --- Which question ------------------------------------------------------------------------------

QUESTIONS = [
    Case("unsaid", {}, WRONG, "It is not clear which question is meant: ask:"),
    Case("unknown", {"call": "nope"}, WRONG, "It is not clear which question is meant"),
    Case("empty", {"call": ""}, WRONG, "It is not clear which question is meant"),
    Case("half", {"call": "ask:"}, WRONG, "It is not clear which question is meant"),
    Case("sql", {"call": "' or 1=1 --"}, WRONG, "It is not clear which question is meant"),
    Case("number", {"call": 5}, WRONG, "It is not clear which question is meant"),
    Case(
        "list",
        {"call": ["ask"]},
        WRONG,
        "It is not clear which question is meant",
    ),
    Case(
        "no-question",
        {"call": "asks_two"},
        AlreadyAnsweredError,
        "asks_two is not an open question",
    ),
    Case("by-number", {"by": 5}, CodecError, "5 is no name of a person"),
    Case("by-nul", {"by": "a\0"}, CodecError, "is no name of a person"),
    Case("by-long", {"by": "x" * 1_001}, CodecError, "at most 1,000 characters"),
]


@each(QUESTIONS)
async def test_an_answer_names_its_question(post: Post, case: Case) -> None:
    run = await post.asked((asks_two,), questions=2)
    before = await post.open(run)
    with refused(case):
        await posting.answer(post.store, TENANT, run, True, **case.what)
    assert await post.open(run) == before
    for call in before:
        await posting.answer(post.store, TENANT, run, True, call=call)
    assert await (await post.engine.get(run)) == "answered"


# --- Other messages ------------------------------------------------------------------------------

VERBS = [
    Case("cancel-number", lambda p, r: posting.cancel(p.store, TENANT, r, 5), CodecError, "reason"),
    Case("cancel-nul", lambda p, r: posting.cancel(p.store, TENANT, r, "\0"), CodecError, "reason"),
    Case("pause-number", lambda p, r: posting.pause(p.store, TENANT, r, 5), CodecError, "person"),
    Case(
        "pause-long",
        lambda p, r: posting.pause(p.store, TENANT, r, "x" * 1_001),
        CodecError,
        "1,000",
    ),
    Case(
        "resume-number",
        lambda p, r: posting.resume(p.store, TENANT, r, 5),
        CodecError,
        "person",
    ),
    Case(
        "resume-long",
        lambda p, r: posting.resume(p.store, TENANT, r, "x" * 1_001),
        CodecError,
        "person",
    ),
    Case(
        "resume-surrogate",
        lambda p, r: posting.resume(p.store, TENANT, r, "\ud800"),
        CodecError,
        "person",
    ),
    Case(
        "unknown-run", lambda p, r: posting.pause(p.store, TENANT, "x"), RunNotFoundError, "no run"
    ),
    Case("other-tenant", lambda p, r: posting.cancel(p.store, "b", r), RunNotFoundError, "no run"),
    Case(
        "answer-nobody",
        lambda p, r: posting.answer(p.store, TENANT, "x", 1),
        RunNotFoundError,
        "'x'",
    ),
    Case(
        "resume-nobody", lambda p, r: posting.resume(p.store, TENANT, "x"), RunNotFoundError, "'x'"
    ),
    Case(
        "summary-of-nul",
        lambda p, r: posting.summary(p.store, TENANT, "\0"),
        RunNotFoundError,
        "no",
    ),
    Case("read-nobody", lambda p, r: posting.read_all(p.store, "b", r), RunNotFoundError, "no run"),
]


@each(VERBS)
async def test_a_message_that_means_nothing_is_not_posted(post: Post, case: Case) -> None:
    run = await post.asked((asks, "bool"))
    with refused(case):
        await case.what(post, run)
    await posting.answer(post.store, TENANT, run, True)
    assert await (await post.engine.get(run)) == "answered"


AFTERWARDS = [
    Case(
        "answer", lambda p, r: posting.answer(p.store, TENANT, r, True), RunFinishedError, "ended"
    ),
    Case("pause", lambda p, r: posting.pause(p.store, TENANT, r), RunFinishedError, "(done)"),
    Case("resume", lambda p, r: posting.resume(p.store, TENANT, r), RunFinishedError, "(done)"),
]


@each(AFTERWARDS)
async def test_a_run_that_has_ended_is_told_nothing(post: Post, case: Case) -> None:
    run = await post.asked((asks, "bool"))
    await posting.answer(post.store, TENANT, run, True)
    assert await (await post.engine.get(run)) == "answered"
    with refused(case):
        await case.what(post, run)
    await posting.cancel(post.store, TENANT, run)  # what was wanted has happened


# --- Messages as bytes ---------------------------------------------------------------------------

BYTES = [
    Odd("unknown-field", b'{"kind":"resume","by":"a","colour":"red"}', ResumeMessage(by="a")),
    Odd("python-words", b'{"kind":"resume","__class__":"os.system"}', ResumeMessage()),
    Odd("spaces", b' { "kind" : "resume" } ', ResumeMessage()),
]


@each(BYTES)
def test_a_message_that_only_looks_odd_is_read(case: Odd) -> None:
    assert decode_message(case.what) == case.gives
