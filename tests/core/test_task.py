"""Tasks: what the decorator accepts, and what it says of the rest."""

from __future__ import annotations

import functools
from collections.abc import Callable
from datetime import timedelta
from enum import Enum
from typing import Any, cast

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from astro import (
    Context,
    Effect,
    InvalidArgumentsError,
    NeedsAgentError,
    Priority,
    Retry,
    Task,
    task,
)
from astro.core.task import MAX_NAME, ONCE, check_name, step_task

CTX = cast("Context", object())


async def greet(ctx: Context, name: str) -> str:
    """Say good morning.

    More about it.
    """
    return f"Good morning, {name}."


async def undo(ctx: Context, result: str | None, name: str) -> None: ...


def test_a_task_has_the_name_of_its_function_and_one_attempt() -> None:
    made = task(greet)
    assert made.name == "greet"
    assert made.retry == ONCE == Retry(attempts=1)
    assert repr(made) == "<Task greet>"
    assert made.description == "Say good morning."


def test_options_are_the_attributes_of_the_task() -> None:
    options: dict[str, Any] = {
        "name": "mail/greet",
        "retry": Retry(attempts=2),
        "timeout": timedelta(seconds=3),
        "deadline": timedelta(hours=1),
        "priority": Priority.HIGH,
        "cache": timedelta(days=1),
        "undo": undo,
        "version": "2",
        "limit": 4,
        "effect": Effect.SPEND,
        "raises": (KeyError,),
        "needs_agent": True,
        "aliases": ("hello",),
    }
    made = task(**options)(greet)
    assert {name: getattr(made, name) for name in options} == options


def test_short_spellings_of_options_mean_the_long_ones() -> None:
    made = task(retry=3, timeout=1.5, effect="read")(greet)
    assert (made.retry, made.timeout, made.effect) == (
        Retry(attempts=3),
        timedelta(seconds=1.5),
        Effect.READ,
    )


def test_an_option_of_none_is_left_out() -> None:
    made = task(name=None, timeout=None, limit=None)(greet)
    assert (made.name, made.timeout, made.limit) == ("greet", None, None)


@pytest.mark.anyio
async def test_calling_a_task_runs_its_body() -> None:
    assert await task(greet)(CTX, "Ada") == "Good morning, Ada."


def test_a_task_that_needs_an_agent_has_no_body_of_its_own() -> None:
    with pytest.raises(NeedsAgentError, match="'greet' has no body"):
        task(needs_agent=True)(greet)(CTX, "Ada")


def test_a_task_never_changes() -> None:
    made = task(greet)
    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        made.name = "other"  # type: ignore[misc]  # that is the point


@task
async def early(ctx: Context, x: Later) -> Later:
    return x


class Later(Enum):
    """Defined after the task that names it, as in most modules."""

    ONE = 1


def test_the_signature_is_read_on_first_use_so_that_later_names_count() -> None:
    assert early.signature.bind((Later.ONE,), {}).raw == b'{"x":1}'
    assert early.signature is early.signature


def blocking(ctx: Context) -> None: ...


async def takes_nothing() -> None: ...


async def generates(ctx: Context) -> Any:
    yield 1


@pytest.mark.parametrize(
    "fn", [blocking, generates, lambda ctx: None, 5, "greet", int, print, object()]
)
def test_only_async_functions_are_tasks(fn: Any) -> None:
    with pytest.raises(InvalidArgumentsError, match="no async function"):
        task(fn)


def test_a_task_takes_a_context() -> None:
    with pytest.raises(InvalidArgumentsError, match=r"takes_nothing\(ctx: Context"):
        task(takes_nothing)  # type: ignore[arg-type]  # that is the point


def test_a_misspelled_option_names_the_one_that_was_meant() -> None:
    with pytest.raises(InvalidArgumentsError, match="Did you mean 'retry'"):
        task(retries=3)(greet)  # type: ignore[call-overload]  # that is the point


GOOD_NAMES = ["a", "_a", "greet", "mail.greet", "mail/greet-all", "Grüße 2", "任务", "x" * MAX_NAME]
BAD_NAMES = [
    "",
    " ",
    " a",
    "a ",
    "1a",
    "-a",
    ".a",
    "/a",
    "../a",
    "a\n",
    "a\nb",
    "a\tb",
    "a\0",
    "a:b",
    "a;DROP TABLE runs",
    "a'--",
    'a"b',
    "a\\b",
    "a<b>",
    "a{b}",
    "a$b",
    "a#1",
    "a*",
    "a\u202eb",
    "a\u200bb",
    "a\ufeff",
    "a\u2028b",
    "\ud800",
    "a\ud800",
    "🙂",
    "a🙂",
    "x" * (MAX_NAME + 1),
    "x" * 1_000_000,
    None,
    5,
    b"a",
    ["a"],
]


@pytest.mark.parametrize("name", GOOD_NAMES)
def test_names_are_words_of_any_language(name: str) -> None:
    assert check_name(name, what="task") == name


@pytest.mark.parametrize("name", BAD_NAMES, ids=lambda name: ascii(name)[:20])
def test_names_that_mislead_are_refused_briefly(name: Any) -> None:
    with pytest.raises(InvalidArgumentsError, match="no name for a node") as caught:
        check_name(name, what="node")
    assert len(str(caught.value)) < 300


@given(st.text(max_size=12))
def test_no_name_has_characters_that_cannot_be_seen_or_stored(text: str) -> None:
    try:
        check_name(text, what="task")
    except InvalidArgumentsError:
        return
    assert text.isprintable()
    assert text == text.strip() != ""
    assert text.encode()


def test_a_step_has_the_name_of_its_function() -> None:
    made = step_task(takes_nothing, None)
    assert (made.name, made.skip) == ("takes_nothing", 0)


def closing_over(number: int) -> Callable[[], Any]:
    async def inner() -> int:
        return number

    return inner


NAMELESS = [closing_over(1), lambda: None, functools.partial(greet, CTX)]


@pytest.mark.parametrize("fn", NAMELESS, ids=["closure", "lambda", "partial"])
def test_a_step_without_an_identity_of_its_own_needs_a_name(fn: Any) -> None:
    with pytest.raises(InvalidArgumentsError, match="name it"):
        step_task(fn, None)
    assert step_task(fn, "named").name == "named"


def test_tasks_are_equal_only_to_themselves() -> None:
    first: Task[Any, Any] = task(greet)
    assert first != task(greet)
    assert len({first, task(greet)}) == 2


@pytest.mark.parametrize(
    "wants", ["", "ctx", "ctx, city", "ctx, result, town", "ctx, result, city, day"]
)
def test_an_undo_that_cannot_be_called_is_refused_at_once(wants: str) -> None:
    space: dict[str, Any] = {}
    exec(f"async def unbook({wants}): ...", space)
    with pytest.raises(InvalidArgumentsError, match="unbook cannot undo book") as caught:

        @task(undo=space["unbook"])
        async def book(ctx: Context, city: str) -> None: ...

    assert caught.value.remedy == "Write `async def unbook(ctx, result, city)`."


@pytest.mark.parametrize(
    "wants", ["ctx, result, city", "c, r, city, *more", "ctx, result, **rest", "*all, city"]
)
def test_an_undo_that_can_be_called_is_accepted(wants: str) -> None:
    space: dict[str, Any] = {}
    exec(f"async def unbook({wants}): ...", space)

    @task(undo=space["unbook"])
    async def book(ctx: Context, city: str) -> None: ...

    assert book.undo is space["unbook"]
