"""The door of declarations: `@task`, its options, its undo, its policies, and agents."""

from __future__ import annotations

import math
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

from astro import (
    BaseAgent,
    Budget,
    CodecError,
    Context,
    InvalidArgumentsError,
    Limits,
    Priority,
    Retry,
    Task,
    agent,
    performs,
    task,
)
from tests.bad_input.cases import Case, Odd, each, refused


async def work(ctx: Context, x: int, text: str = "a") -> int:
    return x


async def alone() -> None: ...


async def flows(ctx: Context) -> Any:
    yield 1


def blocking(ctx: Context) -> None: ...


async def adds(n: int, m: int) -> int:
    return n + m


async def joins(words: list[str]) -> str:
    return "".join(words)


class Callee:
    """Looks like an async function when it is called."""

    async def __call__(self, ctx: Context) -> None: ...


# --- What is no task -----------------------------------------------------------------------------

FUNCTIONS = [
    Case("blocking", blocking, InvalidArgumentsError, "blocking is no async function"),
    Case("lambda", lambda ctx: None, InvalidArgumentsError, "<lambda> is no async function"),
    Case("async-generator", flows, InvalidArgumentsError, "flows is no async function"),
    Case("instance", Callee(), InvalidArgumentsError, "is no async function"),
    Case("class", Callee, InvalidArgumentsError, "is no async function"),
    Case("number", 5, InvalidArgumentsError, "5 is no async function"),
    Case("text", "greet", InvalidArgumentsError, "'greet' is no async function"),
    Case("no-context", alone, InvalidArgumentsError, "alone takes no context"),
    Case("no-context-but-a-number", adds, InvalidArgumentsError, "its first parameter is 'n'"),
    Case("no-context-but-a-list", joins, InvalidArgumentsError, "joins takes no context"),
    Case("task-twice", task(work), InvalidArgumentsError, "is no async function"),
]


@each(FUNCTIONS)
def test_what_is_no_async_function_of_a_context_is_no_task(case: Case) -> None:
    with refused(case):
        task(case.what)


# --- Options -------------------------------------------------------------------------------------

OPTIONS = [
    Case("retry-none-at-all", {"retry": 0}, InvalidArgumentsError, "'attempts' must be >= 1: 0"),
    Case("retry-text", {"retry": "3"}, InvalidArgumentsError, "'retry' must be"),
    Case("retry-half", {"retry": 2.5}, InvalidArgumentsError, "'retry' must be"),
    Case("timeout-zero", {"timeout": 0}, InvalidArgumentsError, "'timeout' must be > "),
    Case("timeout-nan", {"timeout": math.nan}, InvalidArgumentsError, "NaN"),
    Case("timeout-inf", {"timeout": math.inf}, InvalidArgumentsError, "infinity"),
    Case("timeout-of-ages", {"timeout": 1e300}, InvalidArgumentsError, "An option of work is"),
    Case("timeout-text", {"timeout": "5s"}, InvalidArgumentsError, "'timeout' must be"),
    Case("timeout-moment", {"timeout": datetime(2030, 1, 1)}, InvalidArgumentsError, "'timeout'"),
    Case("deadline-number", {"deadline": 60}, InvalidArgumentsError, "'deadline' must be"),
    Case("deadline-past", {"deadline": timedelta(-1)}, InvalidArgumentsError, "'deadline' must be"),
    Case("cache-number", {"cache": 60}, InvalidArgumentsError, "'cache' must be"),
    Case("cache-zero", {"cache": timedelta(0)}, InvalidArgumentsError, "'cache' must be >"),
    Case("priority-word", {"priority": "high"}, InvalidArgumentsError, "'priority' must be"),
    Case("priority-half", {"priority": 1.5}, InvalidArgumentsError, "'priority' must be"),
    Case("limit-zero", {"limit": 0}, InvalidArgumentsError, "'limit' must be >= 1: 0"),
    Case("limit-inf", {"limit": math.inf}, InvalidArgumentsError, "'limit' must be"),
    Case("budget-number", {"budget": 5}, InvalidArgumentsError, "'budget' must be"),
    Case("budget-mapping", {"budget": {"money": 5}}, InvalidArgumentsError, "'budget' must be"),
    Case("version-number", {"version": 2}, InvalidArgumentsError, "'version' must be"),
    Case("effect-unknown", {"effect": "explode"}, InvalidArgumentsError, "'explode' is not a"),
    Case("raises-one", {"raises": ValueError}, InvalidArgumentsError, "tuple of exception"),
    Case("raises-list", {"raises": [ValueError]}, InvalidArgumentsError, "tuple of exception"),
    Case("raises-base", {"raises": (SystemExit,)}, InvalidArgumentsError, "tuple of exception"),
    Case("raises-one-made", {"raises": (ValueError(),)}, InvalidArgumentsError, "exception class"),
    Case("needs-agent-word", {"needs_agent": "no"}, InvalidArgumentsError, "'needs_agent' must"),
    Case("aliases-text", {"aliases": "old"}, InvalidArgumentsError, "'aliases' must be"),
    Case("aliases-bad-name", {"aliases": ("a\0",)}, InvalidArgumentsError, "is no name for a task"),
    Case("name-empty", {"name": ""}, InvalidArgumentsError, "'' is no name for a task"),
    Case("name-nul", {"name": "a\0b"}, InvalidArgumentsError, "'a\\x00b' is no name for a task"),
    Case("name-of-a-path", {"name": "../../a"}, InvalidArgumentsError, "is no name for a task"),
    Case("name-right-to-left", {"name": "a\u202eb"}, InvalidArgumentsError, "\\u202e"),
    Case("name-zero-width", {"name": "gre\u200bet"}, InvalidArgumentsError, "\\u200b"),
    Case("name-newline", {"name": "a\n"}, InvalidArgumentsError, "'a\\n' is no name for a task"),
    Case("name-surrogate", {"name": "a\ud800"}, InvalidArgumentsError, "is no name for a task"),
    Case("name-sql", {"name": "a'; drop table runs"}, InvalidArgumentsError, "is no name"),
    Case("name-one-too-long", {"name": "x" * 201}, InvalidArgumentsError, "x… is no name"),
    Case("name-of-a-million", {"name": "x" * 1_000_000}, InvalidArgumentsError, "x… is no name"),
    Case("unknown-near", {"timout": 5}, InvalidArgumentsError, "Did you mean 'timeout'?"),
    Case("unknown-far", {"zzz": 5}, InvalidArgumentsError, "'zzz' is no option of a task"),
    Case("unknown-inner", {"skip": 0}, InvalidArgumentsError, "'skip' is no option of a task"),
]


@each(OPTIONS)
def test_a_wrong_option_is_refused_where_the_task_is_declared(case: Case) -> None:
    with refused(case):
        task(**case.what)(work)


GOOD_OPTIONS = [
    Odd("longest-name", {"name": "x" * 200}, "x" * 200),
    Odd("name-of-another-script", {"name": "größe/маленький 名前"}, "größe/маленький 名前"),
    Odd("none-is-left-out", {"retry": None, "timeout": None, "name": None}, "work"),
    Odd("seconds-in-part", {"timeout": 0.001}, "work"),
    Odd("most-urgent", {"priority": 10**6}, "work"),
]


@each(GOOD_OPTIONS)
def test_an_option_that_only_looks_odd_is_taken(case: Odd) -> None:
    assert task(**case.what)(work).name == case.gives


# --- Undo ----------------------------------------------------------------------------------------


async def no_result(ctx: Context) -> None: ...
async def too_few(ctx: Context, result: int) -> None: ...
async def misnamed(ctx: Context, result: int, y: int, text: str) -> None: ...
async def one_more(ctx: Context, result: int, x: int, text: str, why: str) -> None: ...
async def positional(ctx: Context, result: int, x: int, text: str, /) -> None: ...
async def anything(*args: Any, **kwargs: Any) -> None: ...
async def with_default(ctx: Context, result: int, x: int, text: str, why: str = "") -> None: ...
def blocking_undo(ctx: Context, result: int, x: int, text: str) -> None: ...


UNDOS = [
    Case("text", "refund", InvalidArgumentsError, "'undo' must be callable"),
    Case("number", 5, InvalidArgumentsError, "'undo' must be callable"),
    Case("no-result", no_result, InvalidArgumentsError, "no_result cannot undo work"),
    Case("too-few", too_few, InvalidArgumentsError, "unexpected keyword argument 'x'"),
    Case("misnamed", misnamed, InvalidArgumentsError, "missing a required argument: 'y'"),
    Case("one-more", one_more, InvalidArgumentsError, "missing a required argument: 'why'"),
    Case("positional", positional, InvalidArgumentsError, "positional cannot undo work"),
    Case("class", int, InvalidArgumentsError, "no signature found for builtin type"),
    Case("blocking", blocking_undo, InvalidArgumentsError, "no async function"),
]


@each(UNDOS)
def test_what_cannot_undo_a_task_is_refused_where_it_is_declared(case: Case) -> None:
    with refused(case):
        task(undo=case.what)(work)


GOOD_UNDOS = [
    Odd("takes-anything", anything, anything),
    Odd("takes-more-with-a-default", with_default, with_default),
]


@each(GOOD_UNDOS)
def test_an_undo_that_takes_what_it_gets_is_taken(case: Odd) -> None:
    assert task(undo=case.what)(work).undo is case.gives


# --- Signatures ----------------------------------------------------------------------------------


async def star(ctx: Context, *names: str) -> None: ...
async def stars(ctx: Context, **names: str) -> None: ...
async def unknown_name(ctx: Context, x: Missing) -> None: ...  # noqa: F821
async def syntax(ctx: Context, x: "int |") -> None: ...  # noqa: F722
async def unkept(ctx: Context, x: complex) -> None: ...
async def gives_unkept(ctx: Context) -> Callable[[], int]: ...
async def both_lists(ctx: Context, x: list[int] | set[int]) -> None: ...
async def divides(ctx: Context, x: 1 / 0) -> None: ...


SIGNATURES = [
    Case("star-args", star, InvalidArgumentsError, "star takes *names"),
    Case("star-kwargs", stars, InvalidArgumentsError, "stars takes **names"),
    Case("unknown-name", unknown_name, InvalidArgumentsError, "'Missing' is not defined"),
    Case("no-annotation-at-all", syntax, InvalidArgumentsError, "annotation of syntax"),
    Case("annotation-that-raises", divides, InvalidArgumentsError, "division by zero"),
    Case("parameter-of-two-lists", both_lists, CodecError, "Parameter 'x' of both_lists"),
    Case("parameter-that-cannot-be-kept", unkept, CodecError, "Parameter 'x' of unkept"),
    Case("result-that-cannot-be-kept", gives_unkept, CodecError, "cannot be kept as JSON"),
]


@each(SIGNATURES)
def test_a_signature_that_cannot_be_kept_is_refused_when_it_is_first_read(case: Case) -> None:
    declared = task(case.what)
    with refused(case):
        _ = declared.signature


# --- Policies ------------------------------------------------------------------------------------

POLICIES = [
    Case("retry-attempts-zero", (Retry, {"attempts": 0}), ValueError, "'attempts' must be >= 1"),
    Case("retry-attempts-half", (Retry, {"attempts": 1.5}), TypeError, "'attempts' must be"),
    Case("retry-first-negative", (Retry, {"first": timedelta(-1)}), ValueError, "'first' must"),
    Case("retry-first-number", (Retry, {"first": 5}), TypeError, "'first' must be"),
    Case("retry-factor-less", (Retry, {"factor": 0.5}), ValueError, "'factor' must be >= 1.0"),
    Case("retry-factor-nan", (Retry, {"factor": math.nan}), ValueError, "'factor' must be"),
    Case("retry-factor-inf", (Retry, {"factor": math.inf}), ValueError, "'factor' must be <"),
    Case("retry-jitter-two", (Retry, {"jitter": 2.0}), ValueError, "'jitter' must be <"),
    Case("retry-jitter-nan", (Retry, {"jitter": math.nan}), ValueError, "'jitter' must be"),
    Case("retry-on-text", (Retry, {"on": ("ValueError",)}), TypeError, "tuple of exception"),
    Case("retry-unknown", (Retry, {"tries": 3}), TypeError, "unexpected keyword argument 'tries'"),
    Case("retry-fresh-word", (Retry, {"fresh": "no"}), TypeError, "'fresh' must be"),
    Case("retry-attempts-bool", (Retry, {"attempts": True}), TypeError, "'attempts' must be"),
    Case("budget-money-nan", (Budget, {"money": math.nan}), ValueError, "'money' must be"),
    Case("budget-money-inf", (Budget, {"money": math.inf}), ValueError, "'money' must be <"),
    Case("budget-money-negative", (Budget, {"money": -0.01}), ValueError, "'money' must be >="),
    Case("budget-money-text", (Budget, {"money": "5"}), TypeError, "'money' must be"),
    Case("budget-tokens-half", (Budget, {"tokens": 1.5}), TypeError, "'tokens' must be"),
    Case("budget-tokens-negative", (Budget, {"tokens": -1}), ValueError, "'tokens' must be >= 0"),
    Case("budget-calls-negative", (Budget, {"calls": -1}), ValueError, "'calls' must be >= 0"),
    Case("budget-time-number", (Budget, {"time": 60}), TypeError, "'time' must be"),
    Case("budget-time-negative", (Budget, {"time": timedelta(-1)}), ValueError, "'time' must be"),
    Case("budget-unknown", (Budget, {"mony": 5}), TypeError, "unexpected keyword argument 'mony'"),
    Case("limits-attempts-zero", (Limits, {"attempts": 0}), ValueError, "'attempts' must be >= 1"),
    Case("limits-runs-negative", (Limits, {"runs": -1}), ValueError, "'runs' must be >= 1"),
    Case("limits-pending-zero", (Limits, {"pending": 0}), ValueError, "'pending' must be >= 1"),
    Case("limits-tasks-zero", (Limits, {"tasks": {"a": 0}}), ValueError, "must be >= 1: 0"),
    Case("limits-tasks-list", (Limits, {"tasks": ["a"]}), TypeError, "'tasks' must be"),
    Case("limits-tasks-key", (Limits, {"tasks": {1: 1}}), TypeError, "must be <class 'str'>"),
    Case("limits-age-zero", (Limits, {"age": timedelta(0)}), ValueError, "'age' must be >"),
    Case("limits-attempts-half", (Limits, {"attempts": 2.5}), TypeError, "'attempts' must be"),
    Case("limits-attempts-text", (Limits, {"attempts": "many"}), TypeError, "'attempts' must be"),
    Case("priority-unknown", (Priority, {"value": 15}), ValueError, "15 is not a valid Priority"),
]


@each(POLICIES)
def test_a_policy_that_means_nothing_is_no_policy(case: Case) -> None:
    make, fields = case.what
    with refused(case):
        make(**fields)


# --- Agents --------------------------------------------------------------------------------------

greet = task(work)


class Silent(BaseAgent):
    """Performs nothing."""


def wrongly() -> None:
    class Wrongly(BaseAgent):
        @performs(greet)
        async def greet(self, ctx: Context, other: int) -> int:
            return other


def twice() -> None:
    class Twice(BaseAgent):
        @performs(greet)
        async def one(self, ctx: Context, x: int, text: str = "a") -> int:
            return x

        @performs(greet)
        async def two(self, ctx: Context, x: int, text: str = "a") -> int:
            return x


async def other_arguments(ctx: Context, other: int) -> int:
    return other


AGENTS = [
    Case(
        "function-blocking",
        lambda: agent(greet)(blocking),
        InvalidArgumentsError,
        "no async function",
    ),
    Case("function-number", lambda: agent(greet)(5), InvalidArgumentsError, "no async function"),
    Case("task-not-decorated", lambda: agent(work)(work), InvalidArgumentsError, "work"),
    Case("other-arguments", lambda: agent(greet)(other_arguments), InvalidArgumentsError, "other"),
    Case("cost-zero", lambda: agent(greet, cost=0)(work), InvalidArgumentsError, "cost"),
    Case("cost-nan", lambda: agent(greet, cost=math.nan)(work), InvalidArgumentsError, "cost"),
    Case("limit-zero", lambda: agent(greet, limit=0)(work), InvalidArgumentsError, "limit"),
    Case("method-takes-other-arguments", wrongly, InvalidArgumentsError, "other"),
    Case("performs-number", lambda: performs(5)(work), InvalidArgumentsError, "5"),
    Case("performs-nothing", lambda: Silent(), InvalidArgumentsError, "Silent"),
    Case("performs-twice", lambda: twice(), InvalidArgumentsError, "performs 'work' twice"),
    Case("no-task", lambda: agent()(work), TypeError, "'task'"),
    Case("name-nul", lambda: Silent(name="a\0"), InvalidArgumentsError, "no name for a agent"),
    Case("name-path", lambda: agent(greet, name="../a")(work), InvalidArgumentsError, "'../a' is"),
    Case("name-number", lambda: Silent(name=5), InvalidArgumentsError, "5 is no name"),
]


@each(AGENTS)
def test_an_agent_that_cannot_perform_is_refused_where_it_is_declared(case: Case) -> None:
    with refused(case):
        case.what()


def test_a_task_is_declared_after_all_of_that() -> None:
    assert isinstance(task(retry=2, timeout=1.5)(work), Task)
