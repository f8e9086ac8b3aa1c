"""The door of engines: what one is built of, and what its verbs are given.

After whatever was refused, the engine lists the same runs as before and takes other work.
"""

from __future__ import annotations

import math
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import anyio
import pytest

from astro import (
    AlreadyAnsweredError,
    BaseAgent,
    Budget,
    BudgetExceededError,
    CallNotFoundError,
    CodecError,
    Context,
    EngineClosedError,
    InvalidArgumentsError,
    KeyConflictError,
    LocalEngine,
    MemoryStore,
    Node,
    RunFailedError,
    RunFinishedError,
    RunNotFoundError,
    SqliteStore,
    State,
    TaskTimeoutError,
    UnknownTaskError,
    Workflow,
    WorkflowError,
    agent,
    performs,
    task,
)
from tests.bad_input.cases import LOOP, Case, Odd, deep, each, refused

pytestmark = pytest.mark.anyio

WRONG = InvalidArgumentsError
DAY = timedelta(days=1)


@task
async def greet(ctx: Context, name: str = "x") -> str:
    return f"hello {name}"


@task
async def relay(ctx: Context) -> str:
    return await ctx.call(greet)


@task(name="greet")
async def other_greet(ctx: Context, name: str) -> str:
    return name


@task(name="welcome", aliases=("greet",))
async def renamed(ctx: Context, name: str) -> str:
    return name


@task(needs_agent=True)
async def review(ctx: Context, text: str) -> str:
    raise NotImplementedError


@task
async def asks(ctx: Context) -> bool:
    return await ctx.ask("Go on?", bool)


@task
async def star(ctx: Context, *names: str) -> None: ...


@agent(greet)
async def polite(ctx: Context, name: str = "x") -> str:
    return f"dear {name}"


async def plain(name: str) -> str:
    return name


class Reviewer(BaseAgent):
    """Performs one task."""

    @performs(greet)
    async def greet(self, ctx: Context, name: str = "x") -> str:
        return name


class Shapeless:
    """Has a name, and nothing else of an agent."""

    name = "shapeless"


# --- Parts ---------------------------------------------------------------------------------------

PARTS = [
    Case("function", [plain], WRONG, "is neither a task nor a workflow nor an agent"),
    Case("text", ["greet"], WRONG, "'greet' is neither a task nor a workflow nor an agent"),
    Case("none", [None], WRONG, "None is neither a task nor a workflow nor an agent"),
    Case("list-of-tasks", [[greet]], WRONG, "is neither a task nor a workflow nor an agent"),
    Case("agent-class", [Reviewer], WRONG, "give instances, not classes"),
    Case("object-with-a-name", [Shapeless()], WRONG, "is neither a task nor"),
    Case("store", [MemoryStore()], WRONG, "is neither a task nor a workflow nor an agent"),
    Case("two-tasks-of-a-name", [greet, other_greet], WRONG, "Two tasks are called 'greet'"),
    Case("alias-is-taken", [greet, renamed], WRONG, "Two tasks are called 'greet'"),
    Case(
        "two-agents-of-a-name", [Reviewer(), Reviewer()], WRONG, "Two agents are called 'Reviewer'"
    ),
    Case(
        "workflow-named-like-a-task",
        [greet, Workflow("greet", [Node("a", "greet")])],
        WRONG,
        "Two tasks are called 'greet'",
    ),
    Case(
        "two-workflows-of-a-name",
        [greet, Workflow("w", [Node("a", "greet")]), Workflow("w", [Node("b", "greet")])],
        WRONG,
        "Two tasks are called 'w'",
    ),
    Case(
        "workflows-of-each-other",
        [Workflow("v", [Node("a", "w")]), Workflow("w", [Node("a", "v")])],
        WorkflowError,
        "there is no task 'w'",
    ),
    Case("nobody-performs", [review], UnknownTaskError, "No part of this engine offers the task"),
    Case("star-args", [star], WRONG, "star takes *names"),
    Case("agent-beside-another-task", [other_greet, polite], WRONG, "Two tasks are called 'greet'"),
]


@each(PARTS)
def test_what_is_no_part_builds_no_engine(case: Case) -> None:
    with refused(case):
        LocalEngine(*case.what, store=MemoryStore())


def test_the_same_part_may_be_given_twice() -> None:
    assert LocalEngine(greet, greet, polite, polite, store=MemoryStore())


# --- Arguments of the constructor ----------------------------------------------------------------

ARGUMENTS = [
    Case("unknown", {"stroe": None}, TypeError, "unexpected keyword argument 'stroe'"),
    Case("store-none", {"store": None}, WRONG, "store"),
    Case("store-class", {"store": MemoryStore}, WRONG, "store"),
    Case("store-path", {"store": "runs.db"}, WRONG, "store"),
    Case("limits-number", {"limits": 5}, WRONG, "limits"),
    Case("budget-number", {"budget": 5}, WRONG, "budget"),
    Case("lease-zero", {"lease_for": timedelta(0)}, WRONG, "lease_for"),
    Case("lease-negative", {"lease_for": -DAY}, WRONG, "lease_for"),
    Case("lease-seconds", {"lease_for": 15}, WRONG, "lease_for"),
    Case("lease-for-ever", {"lease_for": timedelta.max}, WRONG, "lease"),
    Case("grace-seconds", {"grace": 5}, WRONG, "grace"),
    Case("grace-negative", {"grace": -DAY}, WRONG, "grace"),
    Case("idle-seconds", {"idle_for": 5}, WRONG, "idle_for"),
    Case("blob-size-text", {"blob_size": "1k"}, WRONG, "blob_size"),
    Case("blob-size-negative", {"blob_size": -1}, WRONG, "blob_size"),
    Case("name-nul", {"name": "a\0"}, WRONG, "name"),
    Case("name-surrogate", {"name": "\ud800"}, WRONG, "name"),
    Case("name-of-a-million", {"name": "x" * 1_000_000}, WRONG, "name"),
    Case("observers-number", {"observers": 5}, WRONG, "observers"),
    Case("observers-of-numbers", {"observers": [5]}, WRONG, "observer"),
    Case("clock-number", {"clock": 5}, WRONG, "clock"),
    Case("ids-number", {"ids": 5}, WRONG, "ids"),
    Case("chance-number", {"chance": 5}, WRONG, "chance"),
    Case("router-number", {"router": 5}, WRONG, "router"),
]


@each(ARGUMENTS)
def test_an_argument_of_the_wrong_kind_builds_no_engine(case: Case) -> None:
    with refused(case):
        LocalEngine(greet, **({"store": MemoryStore()} | case.what))


# --- Options of runs -----------------------------------------------------------------------------

OPTIONS = [
    Case("unknown", {"prioritty": 1}, TypeError, "unexpected keyword argument 'prioritty'"),
    Case("key-number", {"key": 5}, CodecError, "5 is no key"),
    Case("key-nul", {"key": "a\0"}, CodecError, "is no key"),
    Case("key-surrogate", {"key": "\ud800"}, CodecError, "is no key"),
    Case("key-one-too-long", {"key": "x" * 1_001}, CodecError, "at most 1,000 characters"),
    Case("key-empty", {"key": ""}, WRONG, "key"),
    Case("tenant-number", {"tenant": 5}, CodecError, "5 is no tenant"),
    Case("tenant-nul", {"tenant": "a\0b"}, CodecError, "is no tenant"),
    Case("tenant-of-a-million", {"tenant": "x" * 1_000_000}, CodecError, "at most 1,000 char"),
    Case("tenant-empty", {"tenant": ""}, WRONG, "tenant"),
    Case("priority-word", {"priority": "high"}, WRONG, "priority"),
    Case("priority-half", {"priority": 1.9}, WRONG, "priority"),
    Case("priority-nan", {"priority": math.nan}, WRONG, "priority"),
    Case("priority-beyond-64-bits", {"priority": 2**63}, WRONG, "priority"),
    Case("budget-number", {"budget": 5}, WRONG, "budget"),
    Case("budget-mapping", {"budget": {"money": 1}}, WRONG, "budget"),
    Case("deadline-naive", {"deadline": datetime(2030, 1, 1)}, WRONG, "time zone"),
    Case("deadline-seconds", {"deadline": 60}, WRONG, "deadline"),
    Case("deadline-text", {"deadline": "5m"}, WRONG, "deadline"),
    Case("deadline-for-ever", {"deadline": timedelta.max}, WRONG, "deadline"),
    Case("strict-word", {"strict": "yes"}, WRONG, "strict"),
]


@each(OPTIONS)
def test_options_that_mean_nothing_are_refused_before_a_run_is_kept(case: Case) -> None:
    engine = LocalEngine(greet, store=MemoryStore())
    with refused(case):
        engine.options(**case.what)


GOOD_OPTIONS = [
    Odd("key-of-1000", {"key": "x" * 1_000}, "hello x"),
    Odd("key-of-sql", {"key": "'; drop table runs; --"}, "hello x"),
    Odd("key-of-a-path", {"key": "../../etc/passwd"}, "hello x"),
    Odd("tenant-of-a-path", {"tenant": "../other"}, "hello x"),
    Odd("tenant-right-to-left", {"tenant": "\u202eacme"}, "hello x"),
    Odd("most-urgent", {"priority": 2**31}, "hello x"),
    Odd("least-urgent", {"priority": -(2**31)}, "hello x"),
    Odd("deadline-at-the-end-of-time", {"deadline": datetime.max.replace(tzinfo=UTC)}, "hello x"),
]


@each(GOOD_OPTIONS)
async def test_options_that_only_look_odd_hold(tmp_path: Path, case: Odd) -> None:
    store = SqliteStore(tmp_path / "runs.db", synchronous="NORMAL")
    async with LocalEngine(greet, store=store) as engine:
        view = engine.options(**case.what)
        assert await view.run(greet) == case.gives
        (found,) = (await view.runs(key=case.what.get("key"))).items
        assert found.tenant == case.what.get("tenant", "default")


PAST = {"deadline": datetime(2020, 1, 1, tzinfo=UTC)}
HOPELESS = [
    Case("deadline-past", (PAST, relay), TaskTimeoutError, "The run's deadline has passed"),
    Case("deadline-negative", ({"deadline": -DAY}, relay), TaskTimeoutError, "has passed"),
    Case(
        "deadline-past-of-a-body-that-asks-for-nothing",
        (PAST, greet),
        TaskTimeoutError,
        "The run's deadline has passed",
    ),
    Case("no-calls", ({"budget": Budget(calls=0)}, greet), BudgetExceededError, "0 calls is used"),
]


@each(HOPELESS)
async def test_a_run_without_time_or_money_fails_and_says_so(case: Case) -> None:
    options, late = case.what
    async with LocalEngine(greet, relay, store=MemoryStore()) as engine:
        with pytest.raises(RunFailedError) as caught:
            await engine.options(**options).run(late)
        assert caught.value.failure.type.endswith(case.error.__name__)
        assert case.match in caught.value.failure.message
        assert await engine.run(greet) == "hello x"


# --- Verbs ---------------------------------------------------------------------------------------


class House:
    """An open engine with a run that is done, and one that waits for an answer."""

    def __init__(self, engine: LocalEngine) -> None:
        self.engine: Any = engine
        self.done: Any
        self.asked: Any

    async def furnish(self) -> None:
        self.done = await self.engine.start(greet, "Ada")
        await self.done
        self.asked = await self.engine.start(asks)
        async for record in self.asked:
            if record.kind == "asked":
                break

    async def listed(self) -> list[tuple[str, str, int]]:
        page = await self.engine.runs()
        return [(run.id, run.task, run.records) for run in page.items]


@asynccontextmanager
async def opened(store: Any) -> AsyncIterator[House]:
    with anyio.fail_after(30):
        async with LocalEngine(greet, asks, store=store, grace=timedelta(0)) as engine:
            house = House(engine)
            await house.furnish()
            yield house


@pytest.fixture
async def house() -> AsyncIterator[House]:
    async with opened(MemoryStore()) as house:
        yield house


@pytest.fixture(params=["memory", "sqlite"])
async def either(request: Any, tmp_path: Path) -> AsyncIterator[House]:
    """A house on each kind of store, for what stores decide."""
    kept = SqliteStore(tmp_path / "a.db", synchronous="NORMAL")
    async with opened(kept if request.param == "sqlite" else MemoryStore()) as house:
        yield house


STARTS = [
    Case("function", lambda h: h.engine.run(plain, "x"), WRONG, "plain"),
    Case("text", lambda h: h.engine.run("greet"), WRONG, "'greet'"),
    Case("none", lambda h: h.engine.start(None), WRONG, "None"),
    Case(
        "unknown", lambda h: h.engine.run(review, "x"), UnknownTaskError, "offers the task 'review'"
    ),
    Case(
        "workflow-that-it-has-not",
        lambda h: h.engine.run(Workflow("flow", [Node("a", "greet")])),
        UnknownTaskError,
        "offers the task 'flow'",
    ),
    Case(
        "one-too-many", lambda h: h.engine.run(greet, "a", "b"), WRONG, "1 positional arguments, 2"
    ),
    Case("wrong-type", lambda h: h.engine.run(greet, 5), WRONG, "Expected `str`, got `int`"),
    Case("unknown-name", lambda h: h.engine.run(greet, nmae=1), WRONG, "has no parameter 'nmae'"),
    Case("options-by-name", lambda h: h.engine.run(greet, key="a"), WRONG, "no parameter 'key'"),
    Case("surrogate", lambda h: h.engine.run(greet, "\ud800"), WRONG, "surrogates not allowed"),
    Case("large", lambda h: h.engine.run(greet, "x" * 17_000_000), WRONG, "the cap is"),
    Case("deep", lambda h: h.engine.run(greet, deep(100_000)), WRONG, "nested deeper than 100"),
    Case("loop", lambda h: h.engine.start(greet, LOOP), WRONG, "contains itself"),
    Case("twice-open", lambda h: h.engine.__aenter__(), EngineClosedError, "already open"),
]


@each(STARTS)
async def test_what_cannot_run_is_not_started(house: House, case: Case) -> None:
    await _refused(house, case)


async def _refused(house: House, case: Case) -> None:
    before = await house.listed()
    with refused(case):
        await case.what(house)
    assert await house.listed() == before
    assert await house.engine.run(greet, "Bob") == "hello Bob"


LOOKS = [
    Case("get-empty", lambda h: h.engine.get(""), RunNotFoundError, "There is no run ''"),
    Case("get-none", lambda h: h.engine.get(None), RunNotFoundError, "There is no run None"),
    Case("get-nul", lambda h: h.engine.get("a\0b"), RunNotFoundError, "There is no run 'a\\x00b'"),
    Case("get-surrogate", lambda h: h.engine.get("\ud800"), RunNotFoundError, "There is no run"),
    Case("get-sql", lambda h: h.engine.get("' or 1=1 --"), RunNotFoundError, "or 1=1"),
    Case("get-pattern", lambda h: h.engine.get("%"), RunNotFoundError, "There is no run '%'"),
    Case("get-path", lambda h: h.engine.get("../x"), RunNotFoundError, "There is no run '../x'"),
    Case("get-half", lambda h: h.engine.get(h.done.id[:12]), RunNotFoundError, "There is no run"),
    Case("get-capitals", lambda h: h.engine.get("A" * 32), RunNotFoundError, "There is no run"),
    Case(
        "get-of-another-tenant",
        lambda h: h.engine.tenant("globex").get(h.done.id),
        RunNotFoundError,
        "There is no run",
    ),
    Case(
        "get-of-a-million",
        lambda h: h.engine.get("x" * 1_000_000),
        RunNotFoundError,
        "There is no run",
    ),
    Case("get-list", lambda h: h.engine.get(["a"]), RunNotFoundError, "There is no run ['a']"),
    Case("runs-after-words", lambda h: h.engine.runs(after="x"), CodecError, "where a page begins"),
    Case(
        "runs-after-minus", lambda h: h.engine.runs(after="-1"), CodecError, "where a page begins"
    ),
    Case(
        "runs-after-digits", lambda h: h.engine.runs(after="١"), CodecError, "where a page begins"
    ),
    Case("runs-after-far", lambda h: h.engine.runs(after="9" * 19), CodecError, "a page begins"),
    Case("runs-after-number", lambda h: h.engine.runs(after=5), CodecError, "where a page begins"),
    Case("runs-limit-text", lambda h: h.engine.runs(limit="x"), WRONG, "limit"),
    Case("runs-limit-nan", lambda h: h.engine.runs(limit=math.nan), WRONG, "limit"),
    Case("runs-limit-beyond-64-bits", lambda h: h.engine.runs(limit=2**63), WRONG, "limit"),
    Case("runs-of-a-state-as-text", lambda h: h.engine.runs(states="done"), WRONG, "states"),
    Case(
        "runs-of-no-state",
        lambda h: h.engine.runs(states=frozenset({"nonsense"})),
        WRONG,
        "'nonsense'",
    ),
    Case(
        "explain-nothing", lambda h: h.done.explain("x"), CallNotFoundError, "'x' is not one call"
    ),
    Case("diff-number", lambda h: h.done.diff(5), WRONG, "5"),
    Case("diff-id", lambda h: h.done.diff(h.asked.id), WRONG, "id"),
    Case(
        "records-after-text",
        lambda h: h.done.records(after="x", follow=False).__anext__(),
        WRONG,
        "after",
    ),
]


@each(LOOKS)
async def test_what_is_not_there_is_not_found(either: House, case: Case) -> None:
    await _refused(either, case)


async def _ids(found: Any) -> int:
    return len((await found).items)


FOUND = [
    Odd("limit-zero", lambda h: _ids(h.engine.runs(limit=0)), 0),
    Odd("limit-negative", lambda h: _ids(h.engine.runs(limit=-1)), 0),
    Odd("limit-huge", lambda h: _ids(h.engine.runs(limit=10**9)), 2),
    Odd("after-the-last", lambda h: _ids(h.engine.runs(after="1")), 0),
    Odd("after-far", lambda h: _ids(h.engine.runs(after="9" * 18)), 2),
    Odd("of-no-states", lambda h: _ids(h.engine.runs(states=frozenset())), 0),
    Odd("of-a-state", lambda h: _ids(h.engine.runs(states=frozenset({State.DONE}))), 1),
    Odd("task-of-sql", lambda h: _ids(h.engine.runs(task="' or 1=1 --")), 0),
    Odd("task-nul", lambda h: _ids(h.engine.runs(task="greet\0")), 0),
    Odd("key-of-a-pattern", lambda h: _ids(h.engine.runs(key="%")), 0),
    Odd("tenant-of-nobody", lambda h: _ids(h.engine.tenant("nobody").runs()), 0),
    Odd("tenant-in-capitals", lambda h: _ids(h.engine.tenant("DEFAULT").runs()), 0),
]


@each(FOUND)
async def test_a_question_that_only_looks_odd_has_its_answer(either: House, case: Odd) -> None:
    assert await case.what(either) == case.gives


BUDGETS = [
    Case("time", lambda h: h.engine.allow(Budget(time=DAY)), WRONG, "cannot limit time"),
    Case("number", lambda h: h.engine.allow(5), WRONG, "5"),
    Case("mapping", lambda h: h.engine.allow({"money": 1}), WRONG, "money"),
]
MESSAGES = [
    Case("fork-at-zero", lambda h: h.done.fork(at=0), WRONG, "no record 0 to fork at"),
    Case("fork-beyond", lambda h: h.done.fork(at=999), WRONG, "Fork at a number from 1 to"),
    Case("fork-text", lambda h: h.done.fork(at="1"), WRONG, "fork at"),
    Case("fork-half", lambda h: h.done.fork(at=1.5), WRONG, "fork at"),
    Case("fork-budget", lambda h: h.asked.fork(budget=5), WRONG, "budget"),
    Case("answer-text", lambda h: h.asked.answer("yes"), WRONG, "expected boolean, got 'yes'"),
    Case("answer-number", lambda h: h.asked.answer(1), WRONG, "expected boolean, got 1"),
    Case("answer-nothing", lambda h: h.asked.answer(None), WRONG, "expected boolean, got None"),
    Case("answer-nan", lambda h: h.asked.answer(math.nan), CodecError, "nan is not a JSON number"),
    Case("answer-object", lambda h: h.asked.answer(object()), CodecError, "is not supported"),
    Case("answer-large", lambda h: h.asked.answer("x" * 17_000_000), CodecError, "the cap is"),
    Case("answer-deep", lambda h: h.asked.answer(deep(101)), CodecError, "deeper than 100 levels"),
    Case(
        "answer-by-number", lambda h: h.asked.answer(True, by=5), CodecError, "no name of a person"
    ),
    Case("answer-by-surrogate", lambda h: h.asked.answer(True, by="\ud800"), CodecError, "person"),
    Case("answer-other-call", lambda h: h.asked.answer(True, call="x"), WRONG, "which question"),
    Case("answer-empty-call", lambda h: h.asked.answer(True, call=""), WRONG, "which question"),
    Case(
        "answer-a-call-that-is-no-question",
        lambda h: h.asked.answer(True, call="asks"),
        AlreadyAnsweredError,
        "asks is not an open question",
    ),
    Case("answer-what-is-done", lambda h: h.done.answer(True), RunFinishedError, "already ended"),
    Case("pause-what-is-done", lambda h: h.done.pause(), RunFinishedError, "already ended (done)"),
    Case(
        "resume-what-is-done", lambda h: h.done.resume(), RunFinishedError, "already ended (done)"
    ),
    Case("cancel-number", lambda h: h.asked.cancel(5), CodecError, "5 is no reason"),
    Case("cancel-long", lambda h: h.asked.cancel("x" * 1_001), CodecError, "at most 1,000"),
    Case("cancel-nul", lambda h: h.asked.cancel("\0"), CodecError, "is no reason"),
]


@each(BUDGETS, MESSAGES)
async def test_a_message_that_means_nothing_changes_nothing(house: House, case: Case) -> None:
    await _refused(house, case)
    assert (await house.asked.status()).state is State.ASKED
    await house.asked.answer(True)
    assert await house.asked is True


CONFLICTS = [
    Case(
        "other-arguments",
        lambda v: v.run(greet, "b"),
        KeyConflictError,
        "The key 'k' already names",
    ),
    Case("other-task", lambda v: v.run(asks), KeyConflictError, "another task or arguments"),
]


@each(CONFLICTS)
async def test_a_key_means_one_run_only(house: House, case: Case) -> None:
    view = house.engine.options(key="k")
    first = await view.start(greet, "a")
    assert await first == "hello a"
    with refused(case):
        await case.what(view)
    assert (await view.start(greet, "a")).id == first.id


# --- Engines that are not open -------------------------------------------------------------------

CLOSED = [
    Case("run", lambda e: e.run(greet), EngineClosedError, "The engine is not open"),
    Case("start", lambda e: e.start(greet), EngineClosedError, "The engine is not open"),
    Case(
        "run-sync-in-a-loop", lambda e: _called(e.run_sync), EngineClosedError, "await engine.run"
    ),
    Case("start-sync-in-a-loop", lambda e: _called(e.start_sync), EngineClosedError, "await"),
    Case("drain", lambda e: e.drain(), EngineClosedError, "The engine is not open"),
]


async def _called(verb: Any) -> Any:
    return verb(greet)


@each(CLOSED)
async def test_an_engine_that_is_not_open_says_so(case: Case) -> None:
    engine = LocalEngine(greet, store=MemoryStore())
    with refused(case):
        await case.what(engine)
    async with engine:
        assert await engine.run(greet) == "hello x"
    with refused(case):
        await case.what(engine)
