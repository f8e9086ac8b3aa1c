"""The door of contexts: what a body may ask of `ctx`.

Whatever a verb refuses, the body that caught the error goes on, its journal can be read again,
and the engine takes other work.
"""

from __future__ import annotations

import functools
import inspect
import math
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

import anyio
import pytest

from astro import (
    Budget,
    CodecError,
    Context,
    InvalidArgumentsError,
    LocalEngine,
    MemoryStore,
    Node,
    Retry,
    TaskTimeoutError,
    Workflow,
    task,
)
from astro.engine.posting import read_all
from tests.bad_input.cases import LOOP, Case, Odd, deep, each, refused

pytestmark = pytest.mark.anyio

WRONG = InvalidArgumentsError
DAY = timedelta(days=1)


@task
async def greet(ctx: Context, name: str = "x") -> str:
    return f"hello {name}"


async def plain(name: str) -> str:
    return name


def blocking(name: str) -> str:
    return name


async def star(*names: str) -> None: ...


async def untyped(name: Missing) -> None: ...  # noqa: F821


class Instance:
    """Called like a function, and has no name."""

    __hash__ = None  # as some callables are

    async def __call__(self, name: str) -> str:
        return name


def closure() -> Any:
    secret = "a"

    async def inner() -> str:
        return secret

    return inner


async def settled(ctx: Context, verb: Callable[[Any], Any]) -> Any:
    """Do what a case says, and wait for it if it can be waited for."""
    found = verb(ctx)
    return await found if inspect.isawaitable(found) else found


async def performed(verb: Callable[[Any], Any]) -> list[Any]:
    """Return what a verb gave to a body, or the error it raised there.

    Everything else has to go on: the body, the journal, the engine.
    """
    given: list[Any] = []

    @task(name="body")
    async def body(ctx: Context) -> str:
        try:
            given.append(await settled(ctx, verb))
        except Exception as error:
            given.append(error)
        return await ctx.call(greet, "after")

    store = MemoryStore()
    with anyio.fail_after(30):
        async with LocalEngine(greet, body, store=store, grace=timedelta(0)) as engine:
            run = await engine.start(body)
            assert await run == "hello after"
            assert await engine.run(greet, "other") == "hello other"
            assert await read_all(store, run.tenant, run.id)
            assert (await store.check()).problems == ()
    return given


async def refuses(case: Case) -> None:
    given = await performed(case.what)
    with refused(case):
        if isinstance(given[0], Exception):
            raise given[0]


# --- Calls ---------------------------------------------------------------------------------------


CALLS = [
    Case("text-for-a-task", lambda c: c.call("greet"), WRONG, "'greet' is no task"),
    Case("function-for-a-task", lambda c: c.call(plain, "a"), WRONG, "plain"),
    Case("wrong-type", lambda c: c.call(greet, 5), WRONG, "Expected `str`, got `int`"),
    Case("one-too-many", lambda c: c.call(greet, "a", "b"), WRONG, "takes 1 positional arguments"),
    Case("unknown-name", lambda c: c.call(greet, nmae="a"), WRONG, "has no parameter 'nmae'"),
    Case("nan", lambda c: c.call(greet, math.nan), WRONG, "nan is not a JSON number"),
    Case("unawaited-result", lambda c: c.call(greet, c.now), WRONG, "is not supported"),
    Case("map-of-a-number", lambda c: c.map(greet, 5), TypeError, "'int' object is not iterable"),
    Case("map-of-one-wrong", lambda c: c.map(greet, ["a", 5]), WRONG, "Expected `str`, got `int`"),
    Case(
        "map-of-what-raises",
        lambda c: c.map(greet, (str(1 / n) for n in (1, 0))),
        ZeroDivisionError,
        "division by zero",
    ),
    Case("map-a-function", lambda c: c.map(plain, ["a"]), WRONG, "plain"),
    Case("map-limit-text", lambda c: c.map(greet, ["a"], limit="x"), WRONG, "limit"),
    Case("map-limit-half", lambda c: c.map(greet, ["a", "b"], limit=1.5), WRONG, "limit"),
    Case("map-limit-zero", lambda c: c.map(greet, ["a"], limit=0), WRONG, "limit"),
    Case(
        "starmap-of-texts", lambda c: c.starmap(greet, ["ab"]), WRONG, "1 positional arguments, 2"
    ),
    Case("starmap-of-numbers", lambda c: c.starmap(greet, [1]), TypeError, "is not iterable"),
    Case("start-a-function", lambda c: c.start(plain, "a"), WRONG, "plain"),
    Case("start-wrong-type", lambda c: c.start(greet, 5), WRONG, "Expected `str`, got `int`"),
    Case("call-a-workflow", lambda c: c.call(Workflow("w", [Node("a", "greet")])), WRONG, "w"),
]


@each(CALLS)
async def test_a_call_that_makes_no_sense_is_refused_before_it_is_recorded(case: Case) -> None:
    await refuses(case)


# --- Steps ---------------------------------------------------------------------------------------

HIDDEN = "has no identity of its own: it is a lambda or a closure"
STEPS = [
    Case("lambda", lambda c: c.step(lambda: plain("a")), WRONG, f"<lambda> {HIDDEN}"),
    Case("closure", lambda c: c.step(closure()), WRONG, f"inner {HIDDEN}"),
    Case("partial", lambda c: c.step(functools.partial(plain, "a")), WRONG, HIDDEN),
    Case("task", lambda c: c.step(greet, "a"), WRONG, "no async function but a task"),
    Case("none", lambda c: c.step(None), WRONG, "None is no async function"),
    Case("number", lambda c: c.step(5), WRONG, "5 is no async function"),
    Case("instance", lambda c: c.step(Instance(), "a"), WRONG, HIDDEN),
    Case("blocking", lambda c: c.step(blocking, "a"), WRONG, "no async function"),
    Case("star-args", lambda c: c.step(star, "a"), WRONG, "star takes *names"),
    Case("builtin", lambda c: c.step(print, "a"), WRONG, "print is no async function"),
    Case("annotation", lambda c: c.step(untyped, "a"), WRONG, "'Missing' is not defined"),
    Case("wrong-type", lambda c: c.step(plain, 5), WRONG, "Expected `str`, got `int`"),
    Case("missing", lambda c: c.step(plain), WRONG, "missing required field `name`"),
    Case("name-number", lambda c: c.options(name=5).step(plain, "a"), WRONG, "name"),
    Case("name-surrogate", lambda c: c.options(name="\ud800").step(plain, "a"), CodecError, "name"),
    Case(
        "name-of-a-million",
        lambda c: c.options(name="x" * 1_000_000).step(plain, "a"),
        CodecError,
        "name",
    ),
    Case("name-nul", lambda c: c.options(name="a\0b").step(plain, "a"), CodecError, "name"),
]


@each(STEPS)
async def test_a_step_that_could_not_be_found_again_is_refused(case: Case) -> None:
    await refuses(case)


# --- Time ----------------------------------------------------------------------------------------

TIMES = [
    Case("sleep-naive", lambda c: c.sleep(datetime(2030, 1, 1)), WRONG, "has no time zone"),
    Case("sleep-nan", lambda c: c.sleep(math.nan), CodecError, "nan is not a JSON number"),
    Case("sleep-seconds", lambda c: c.sleep(5), WRONG, "timedelta"),
    Case("sleep-text", lambda c: c.sleep("5s"), WRONG, "timedelta"),
    Case("sleep-none", lambda c: c.sleep(None), WRONG, "timedelta"),
    Case("sleep-a-day", lambda c: c.sleep(date(2030, 1, 1)), WRONG, "datetime"),
    Case("sleep-for-ever", lambda c: c.sleep(timedelta.max), WRONG, "sleep"),
    Case("now-object", lambda c: c.now(object()), CodecError, "object is not supported"),
    Case("now-surrogate", lambda c: c.now("\ud800"), CodecError, "surrogates not allowed"),
    Case("uuid-number", lambda c: c.uuid(5), CodecError, "name"),
    Case("uuid-surrogate", lambda c: c.uuid("\ud800"), CodecError, "name"),
    Case("random-none", lambda c: c.random(None), CodecError, "name"),
]


@each(TIMES)
async def test_a_time_or_a_name_of_chance_that_is_none_is_refused(case: Case) -> None:
    await refuses(case)


# --- People --------------------------------------------------------------------------------------

ASKS = [
    Case("question-number", lambda c: c.ask(5, bool), CodecError, "5 is no question"),
    Case("question-nul", lambda c: c.ask("a\0", bool), CodecError, "'a\\x00' is no question"),
    Case("question-surrogate", lambda c: c.ask("\ud800", bool), CodecError, "is no question"),
    Case("question-long", lambda c: c.ask("x" * 100_001, bool), CodecError, "at most 100,000"),
    Case("type-complex", lambda c: c.ask("?", complex), CodecError, "complex"),
    Case("type-class", lambda c: c.ask("?", Instance), CodecError, "has no JSON Schema"),
    Case("type-value", lambda c: c.ask("?", 5), CodecError, "The type 5 cannot be kept as JSON"),
    Case("type-function", lambda c: c.ask("?", plain), CodecError, "cannot be kept as JSON"),
    Case("type-text", lambda c: c.ask("?", "bool"), CodecError, "The type 'bool' cannot be kept"),
    Case("type-exception", lambda c: c.ask("?", ValueError), CodecError, "has no JSON Schema"),
    Case("default-misfit", lambda c: c.ask("?", bool, default="x"), CodecError, "type bool"),
    Case("default-nan", lambda c: c.ask("?", float, default=math.nan), CodecError, "nan is not"),
    Case("timeout-seconds", lambda c: c.ask("?", bool, timeout=5), WRONG, "timeout"),
    Case("timeout-for-ever", lambda c: c.ask("?", bool, timeout=timedelta.max), WRONG, "timeout"),
    Case("timeout-past", lambda c: c.ask("?", bool, timeout=-DAY), TaskTimeoutError, "Nobody answ"),
]


@each(ASKS)
async def test_a_question_that_nobody_can_answer_is_not_asked(case: Case) -> None:
    await refuses(case)


# --- Events, money and views ---------------------------------------------------------------------

EVENTS = [
    Case("name-number", lambda c: c.emit(5), CodecError, "5 is no name of an event"),
    Case("name-bytes", lambda c: c.emit(b"n"), CodecError, "b'n' is no name of an event"),
    Case("name-nul", lambda c: c.emit("a\0"), CodecError, "is no name of an event"),
    Case("name-surrogate", lambda c: c.emit("\ud800"), CodecError, "is no name of an event"),
    Case("name-long", lambda c: c.emit("x" * 1_001), CodecError, "at most 1,000 characters"),
    Case("value-nan", lambda c: c.emit("n", [math.nan]), CodecError, "nan is not a JSON number"),
    Case("value-object", lambda c: c.emit("n", object()), CodecError, "object is not supported"),
    Case("value-deep", lambda c: c.emit("n", deep(101)), CodecError, "deeper than 100 levels"),
    Case("value-loop", lambda c: c.emit("n", LOOP), CodecError, "contains itself"),
    Case("value-large", lambda c: c.emit("n", "x" * 17_000_000), CodecError, "the cap is"),
]


@each(EVENTS)
async def test_an_event_that_cannot_be_kept_is_not_told(case: Case) -> None:
    await refuses(case)


MONEY = [
    Case("nan", lambda c: c.spend(money=math.nan), CodecError, "nan is not a JSON number"),
    Case("inf", lambda c: c.spend(money=math.inf), CodecError, "inf is not a JSON number"),
    Case("negative", lambda c: c.spend(money=-0.01), CodecError, "cannot be spent"),
    Case("tokens-beyond-64-bits", lambda c: c.spend(tokens=2**63), CodecError, "cannot be spent"),
    Case("tokens-negative", lambda c: c.spend(tokens=-1), CodecError, "cannot be spent"),
    Case("tokens-of-5001-digits", lambda c: c.spend(tokens=10**5000), CodecError, "4300 digits"),
    Case("tokens-half", lambda c: c.spend(tokens=1.5), CodecError, "cannot be spent"),
    Case("money-true", lambda c: c.spend(money=True), CodecError, "cannot be spent"),
    Case("tokens-true", lambda c: c.spend(tokens=True), CodecError, "cannot be spent"),
    Case("text", lambda c: c.spend(money="5"), CodecError, "cannot be spent"),
    Case("none", lambda c: c.spend(money=None), CodecError, "cannot be spent"),
    Case("decimal", lambda c: c.spend(money=Decimal("1.5")), CodecError, "cannot be spent"),
    Case("int-beyond-floats", lambda c: c.spend(money=10**400), CodecError, "cannot be spent"),
]


@each(MONEY)
async def test_what_cannot_be_counted_is_not_spent(case: Case) -> None:
    await refuses(case)


VIEWS = [
    Case("unknown", lambda c: c.options(retries=5), TypeError, "unexpected keyword argument"),
    Case("timeout-seconds", lambda c: c.options(timeout=5).call(greet), WRONG, "timeout"),
    Case("timeout-zero", lambda c: c.options(timeout=timedelta(0)).call(greet), WRONG, "timeout"),
    Case(
        "deadline-moment",
        lambda c: c.options(deadline=datetime(2030, 1, 1)).call(greet),
        WRONG,
        "deadline",
    ),
    Case(
        "deadline-for-ever",
        lambda c: c.options(deadline=timedelta.max).call(greet),
        WRONG,
        "deadline",
    ),
    Case("retry-number", lambda c: c.options(retry=5).call(greet), WRONG, "retry"),
    Case("priority-word", lambda c: c.options(priority="high").call(greet), WRONG, "priority"),
    Case("budget-number", lambda c: c.options(budget=5).call(greet), WRONG, "budget"),
    Case("budget-of-a-child", lambda c: c.options(budget=5).start(greet), WRONG, "budget"),
    Case("detached-word", lambda c: c.options(detached="no").start(greet), WRONG, "detached"),
    Case("branch-surrogate", lambda c: c.branch("\ud800").call(greet), CodecError, "branch"),
    Case("branch-nul", lambda c: c.branch("a\0b").call(greet), CodecError, "branch"),
    Case("branch-number", lambda c: c.branch(5).call(greet), CodecError, "branch"),
    Case("branch-empty", lambda c: c.branch("").call(greet), CodecError, "branch"),
    Case("no-such-verb", lambda c: c.fetch("a"), AttributeError, "has no attribute 'fetch'"),
]


@each(VIEWS)
async def test_a_view_that_means_nothing_is_refused(case: Case) -> None:
    await refuses(case)


# --- What only looks odd -------------------------------------------------------------------------

ODD = [
    Odd("sleep-negative", lambda c: c.sleep(-DAY), None),
    Odd("sleep-until-the-past", lambda c: c.sleep(datetime(2000, 1, 1, tzinfo=UTC)), None),
    Odd("sleep-until-the-first-moment", lambda c: c.sleep(datetime.min.replace(tzinfo=UTC)), None),
    Odd("map-nothing", lambda c: c.map(greet, []), []),
    Odd("map-letters", lambda c: c.map(greet, "ab"), ["hello a", "hello b"]),
    Odd("map-keys", lambda c: c.map(greet, {"a": 1}), ["hello a"]),
    Odd("map-equal-items", lambda c: c.map(greet, ["a", "a"]), ["hello a", "hello a"]),
    Odd("named-closure", lambda c: c.options(name="inner").step(closure()), "a"),
    Odd("spend-nothing", lambda c: c.spend(), None),
    Odd("spend-much", lambda c: c.spend(money=1e308, tokens=2**63 - 1), None),
    Odd("spend-minus-zero", lambda c: c.spend(money=-0.0), None),
    Odd("emit-empty", lambda c: c.emit("", None), None),
    Odd("emit-langchain-words", lambda c: c.emit("n", {"lc": 1, "__class__": "a.B"}), None),
    Odd("ask-in-the-past", lambda c: c.ask("", bool, timeout=-DAY, default=True), True),
    Odd(
        "retry-that-overflows",
        lambda c: c.options(retry=Retry(factor=1e308)).call(greet),
        "hello x",
    ),
    Odd("text-of-nul", lambda c: c.call(greet, "\0"), "hello \0"),
    Odd("sql", lambda c: c.call(greet, "'; drop table runs; --"), "hello '; drop table runs; --"),
    Odd("branch-right-to-left", lambda c: c.branch("\u202e").call(greet), "hello x"),
    Odd(
        "budget-that-is-used-up", lambda c: c.options(budget=Budget(money=0)).call(greet), "hello x"
    ),
]


@each(ODD)
async def test_what_only_looks_odd_is_done(case: Odd) -> None:
    given = await performed(case.what)
    assert given == [case.gives]


# --- Results -------------------------------------------------------------------------------------

RESULTS = [
    Case("nan", (float, math.nan), CodecError, "nan is not a JSON number"),
    Case("wrong-type", (int, "x"), CodecError, "Expected `int`, got `str`"),
    Case("nothing", (int, None), CodecError, "Expected `int`, got `null`"),
    Case("object", (Any, object()), CodecError, "object is not supported"),
    Case("coroutine", (Any, inspect), CodecError, "module is not supported"),
    Case("surrogate", (str, "\ud800"), CodecError, "surrogates not allowed"),
    Case("deep", (Any, deep(101)), CodecError, "deeper than 100 levels"),
    Case("loop", (Any, LOOP), CodecError, "contains itself"),
    Case("large", (str, "x" * 17_000_000), CodecError, "the cap is 16,777,216"),
    Case("int-of-5001-digits", (int, 10**5000), CodecError, "4300 digits"),
]


@each(RESULTS)
async def test_a_result_that_cannot_be_kept_fails_its_call_and_nothing_else(case: Case) -> None:
    kind, value = case.what

    async def gives() -> Any:
        return value

    gives.__annotations__["return"] = kind
    (error,) = await performed(lambda c: c.options(name="gives").step(gives))
    assert error.failure.type.endswith(case.error.__name__)
    assert case.match in error.failure.message
