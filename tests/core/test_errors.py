"""Errors: each says the problem and the remedy, and is the built-in that it resembles."""

from __future__ import annotations

import inspect
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from astro.core import errors
from astro.core.errors import AstroError, RunSuspended, nearest
from astro.core.records import Failure
from astro.engine.failures import failure_of

FAILURE = Failure(type="OSError", message="busy", attempts=2)
MADE: dict[str, tuple[Any, ...]] = {
    "AmbiguousCallError": ("greet",),
    "CallFailedError": ("greet:1.0", FAILURE),
    "CallNotFoundError": ("greet:1", ["leave:1f.0"]),
    "KeyConflictError": ("key", "run"),
    "LeaseLostError": ("engine", "run"),
    "NeedsAgentError": ("greet",),
    "RunCancelledError": ("run", "enough"),
    "RunFailedError": ("run", FAILURE),
    "RunFinishedError": ("run", "done"),
    "RunNotFoundError": ("run",),
    "SettingsError": ("astro.yaml", ["a is wrong", "b is wrong"]),
    "UnknownTaskError": ("gret", ["greet", "leave"]),
    "WorkflowError": ("audit", ["a is wrong"]),
}
CLASSES: list[type[AstroError]] = [
    one
    for name in errors.__all__
    if inspect.isclass(one := getattr(errors, name)) and issubclass(one, AstroError)
]


def made(kind: type[AstroError]) -> AstroError:
    """Return an error of a class."""
    if kind is errors.MissingExtraError:
        return errors.MissingExtraError("PostgresStore", extra="postgres")
    if kind.__name__ in MADE:
        return kind(*MADE[kind.__name__])
    return kind("It is broken.", remedy="Mend it.")


@pytest.mark.parametrize("kind", CLASSES, ids=lambda kind: kind.__name__)
def test_an_error_says_its_problem_and_its_remedy(kind: type[AstroError]) -> None:
    error = made(kind)
    assert error.problem
    assert str(error).startswith(error.problem)
    assert str(error).endswith(error.remedy)
    assert isinstance(error.retryable, bool)


@pytest.mark.parametrize(
    ("problem", "told"),
    [
        ("It broke.", "It broke. Mend it."),
        ("Why?", "Why? Mend it."),
        ("OSError: busy", "OSError: busy. Mend it."),
        ("Two problems:\n  - one\n", "Two problems:\n  - one\n Mend it."),
    ],
)
def test_a_problem_ends_before_its_remedy_begins(problem: str, told: str) -> None:
    assert str(AstroError(problem, remedy="Mend it.")) == told
    assert str(AstroError(problem, remedy="")) == problem.strip()


@pytest.mark.parametrize("kind", [one for one in CLASSES if one is not AstroError])
def test_an_error_is_also_a_built_in_error(kind: type[AstroError]) -> None:
    others = set(kind.__mro__) - {kind, AstroError, Exception, BaseException, object}
    assert any(one.__module__ == "builtins" for one in others)


@pytest.mark.parametrize("kind", CLASSES, ids=lambda kind: kind.__name__)
def test_the_name_of_an_error_says_that_it_is_one(kind: type[AstroError]) -> None:
    assert kind.__name__.endswith("Error")
    assert kind.__name__ in errors.__all__


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("CallFailedError", "Call greet:1.0 failed after 2 attempts: OSError: busy"),
        ("UnknownTaskError", "Did you mean 'greet'?"),
        ("SettingsError", "astro.yaml has 2 problems:\n  - a is wrong\n  - b is wrong"),
        ("WorkflowError", "Workflow 'audit' has 1 problem:\n  - a is wrong"),
        ("MissingExtraError", "pip install 'astro-orchestrator[postgres]'"),
        ("RunNotFoundError", "There is no run 'run'."),
        ("LeaseLostError", "Engine engine lost its lease on run run."),
        ("KeyConflictError", "The key 'key' already names run run"),
    ],
)
def test_errors_name_what_they_are_about(name: str, said: str) -> None:
    assert said in str(made(getattr(errors, name)))


def test_a_single_attempt_is_said_as_one() -> None:
    failure = Failure(type="OSError", message="busy")
    assert "after 1 attempt:" in str(errors.CallFailedError("a", failure))


@pytest.mark.parametrize("retold", [0, 1, 2])
def test_who_waits_for_a_run_is_told_what_to_do_about_its_failure(retold: int) -> None:
    error: BaseException = errors.SandboxError("There is none.", remedy="Start one.")
    for _ in range(retold):
        error = errors.CallFailedError("a", failure_of(error, attempts=1, retryable=False))
    failed = errors.RunFailedError("run", failure_of(error, attempts=1, retryable=False))
    assert failed.remedy.startswith("Start one.")
    assert "There is none." in failed.problem


@pytest.mark.parametrize(
    "error", [ValueError("no"), KeyError("no"), OSError(2, "no"), ValueError()]
)
def test_what_others_raised_has_no_remedy_of_its_own(error: Exception) -> None:
    assert failure_of(error, attempts=1, retryable=False).remedy == ""


def test_being_suspended_is_no_failure_that_a_task_could_catch() -> None:
    assert not issubclass(RunSuspended, Exception)


def test_a_permanent_error_needs_no_remedy() -> None:
    assert str(errors.PermanentError("The card was declined.")) == "The card was declined."


@given(st.text(max_size=9), st.lists(st.text(max_size=9), max_size=4))
def test_a_near_miss_is_one_of_the_known_names(name: str, known: list[str]) -> None:
    said = nearest(name, known)
    assert said == "" or said.removeprefix(" Did you mean ").removesuffix("?") in map(repr, known)
