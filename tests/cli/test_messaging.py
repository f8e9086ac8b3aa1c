"""`astro answer`, `pause`, `resume`, `cancel`, `fork`: messages, and never an engine."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from astro.cli.outcome import Code
from tests.cli.conftest import HOUSE, Astro


def state(astro: Astro, run: str) -> str:
    return str(astro(f"show {run} --json").json["state"])


def goes_on(astro: Astro, run: str, task: str = "publish") -> str:
    return astro(f"run {HOUSE}:{task} --continue {run} -q").out.strip()


@pytest.mark.parametrize(("value", "result"), [("true", "published"), ("no", "kept")])
def test_an_answer_is_what_the_question_wants(
    astro: Astro, asked: str, value: str, result: str
) -> None:
    done = astro(f"answer {asked} {value} --by ada")
    assert (done.code, done.out) == (Code.OK, f"{asked} answered\n")
    assert goes_on(astro, asked) == result


@pytest.mark.parametrize("value", ["yes", "42", "true", "two words"])
def test_a_text_is_answered_as_it_is_written(astro: Astro, value: str) -> None:
    run = astro(f"run {HOUSE}:choose --json").json["run"]
    astro(f"answer {run} '{value}'")
    assert goes_on(astro, run, "choose") == value


def test_an_answer_that_does_not_fit_is_refused_at_once(astro: Astro, asked: str) -> None:
    done = astro(f"answer {asked} maybe")
    assert done.code == Code.USAGE
    assert "expected boolean" in done.err
    assert state(astro, asked) == "asked"


def test_a_question_is_answered_once(astro: Astro, asked: str) -> None:
    astro(f"answer {asked} yes")
    assert astro(f"answer {asked} no").code == Code.USAGE
    assert goes_on(astro, asked) == "published"


def test_a_call_that_is_no_question_is_refused(astro: Astro, asked: str) -> None:
    assert astro(f"answer {asked} yes --call nothing").code == Code.USAGE


def test_a_message_waits_for_an_engine_and_says_so(astro: Astro, asked: str) -> None:
    assert "No engine has the run at the moment" in astro(f"pause {asked}").err
    assert astro(f"resume {asked} --json").json == {"run": asked, "state": "asked", "owned": False}


def test_a_cancelled_run_ends_when_an_engine_takes_it_up(astro: Astro, asked: str) -> None:
    assert astro(f"cancel {asked} --reason 'not now'").out == f"{asked} cancelling\n"
    assert astro(f"run {HOUSE}:publish --continue {asked} -q").code == Code.FAILED
    assert state(astro, asked) == "cancelled"


def test_a_paused_run_waits_until_it_is_resumed(astro: Astro, asked: str) -> None:
    astro(f"pause {asked}")
    astro(f"answer {asked} yes")
    astro(f"resume {asked}")
    assert goes_on(astro, asked) == "published"


@pytest.mark.parametrize("command", ["pause", "resume", "answer", "cancel"])
def test_a_run_that_has_ended_takes_no_message(astro: Astro, greeted: str, command: str) -> None:
    done = astro(f"{command} {greeted}" + (" yes" if command == "answer" else ""))
    # Cancelling what has ended is what was wanted.
    assert done.code == (Code.OK if command == "cancel" else Code.USAGE)
    assert state(astro, greeted) == "done"


def test_cancelling_what_has_ended_says_how_it_ended(astro: Astro, greeted: str) -> None:
    done = astro(f"cancel {greeted}")
    assert (done.out, done.err) == (f"{greeted} done\n", "")


def test_a_fork_remembers_what_was_done(astro: Astro, asked: str) -> None:
    fork = astro(f"fork {asked}").out.strip()
    assert astro(f"show {fork} --json").json["source"] == asked
    answered: Callable[[str], str] = lambda run: goes_on(astro, run)  # noqa: E731
    assert astro(f"run {HOUSE}:publish --continue {fork} --json").code == Code.WAITING
    astro(f"answer {fork} yes")
    assert answered(fork) == "published"
    assert state(astro, asked) == "asked"


def test_a_fork_begins_at_a_record_that_exists(astro: Astro, asked: str) -> None:
    assert astro(f"fork {asked} --at 1 --json").json["source"] == asked
    assert astro(f"fork {asked} --at 99").code == Code.USAGE


def test_several_questions_have_to_be_told_apart(astro: Astro, asked: str) -> None:
    call = astro(f"show {asked} --json").json["questions"][0]["call"]
    assert astro(f"answer {asked} yes --call {call}").code == Code.OK
