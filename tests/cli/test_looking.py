"""`astro ps`, `show`, `events`, `diff`: looking changes nothing."""

from __future__ import annotations

import json
import threading
from datetime import UTC, datetime
from pathlib import Path

import pytest

from astro.cli.opening import shorten
from astro.cli.outcome import Code
from astro.cli.wording import run_row
from astro.core.protocols import RunSummary
from astro.core.records import State
from tests.cli.conftest import HOUSE, Astro, without_numbers


def test_runs_are_listed_newest_first(astro: Astro, greeted: str, asked: str) -> None:
    lines = astro("ps").out.splitlines()
    assert lines[0].split() == ["RUN", "TASK", "STATE", "RECORDS", "UPDATED", "KEY", "NEEDS"]
    assert [line.split()[1:3] for line in lines[1:]] == [["publish", "asked"], ["greet", "done"]]


def test_a_listed_id_is_long_enough_to_find_its_run(astro: Astro, greeted: str, asked: str) -> None:
    short = astro("ps").out.splitlines()[1].split()[0]
    assert len(short) < 32
    assert astro(f"show {short} --json").json["id"] == asked


def test_ids_are_shortened_to_what_tells_them_apart() -> None:
    ids = ["a" * 20 + "0" * 12, "a" * 20 + "1" * 12]
    assert list(shorten(ids).values()) == ["a" * 20 + "0", "a" * 20 + "1"]
    assert shorten([]) == {}


def test_a_list_can_be_limited_and_gone_on_with(astro: Astro, greeted: str, asked: str) -> None:
    first = astro("ps --limit 1 --json").json
    second = astro(f"ps --limit 1 --after {first['next']} --json").json
    assert [run["id"] for run in (*first["runs"], *second["runs"])] == [asked, greeted]
    assert f"--after {first['next']}" in astro("ps --limit 1").out


@pytest.mark.parametrize("option", ["-u", "--state asked", "--task publish"])
def test_a_list_can_be_narrowed(astro: Astro, greeted: str, asked: str, option: str) -> None:
    assert [run["id"] for run in astro(f"ps {option} --json").json["runs"]] == [asked]


def test_a_prefix_of_several_runs_is_refused_with_their_ids(
    astro: Astro, greeted: str, asked: str
) -> None:
    done = astro("show 0")
    assert done.code == Code.USAGE
    assert greeted in done.err
    assert asked in done.err


def test_a_run_that_nobody_knows_is_not_found(astro: Astro, greeted: str) -> None:
    assert astro("show ffff").code == Code.NOT_FOUND
    assert astro(f"show {'f' * 32}").code == Code.NOT_FOUND
    assert astro("show ''").code == Code.NOT_FOUND


def test_a_run_is_shown_with_its_calls(astro: Astro) -> None:
    run = astro(f"run {HOUSE}:count -i to=2 --key a --json").json["run"]
    lines = astro(f"show {run}").out.splitlines()
    facts = dict(line.split(maxsplit=1) for line in lines[: lines.index("")])
    assert (facts["run"], facts["task"], facts["state"]) == (run, "count", "done")
    assert (facts["key"], facts["arguments"]) == ("a", '{"to":2}')
    assert facts["result"] == '{"numbers":[0,2]}'
    calls = [line.split()[:2] for line in lines[lines.index("") + 2 :]]
    assert calls == [["count", "done"], ["double", "done"], ["double", "done"]]


def test_a_failed_run_shows_why(astro: Astro) -> None:
    run = astro(f"run {HOUSE}:broken --json").json["run"]
    assert "PermanentError: nothing helps" in astro(f"show {run}").out
    assert astro(f"show {run} --json").json["failure"]["message"] == "nothing helps"


def test_every_kind_of_call_is_shown_with_what_is_special_about_it(astro: Astro) -> None:
    run = astro(f"run {HOUSE}:varied --json").json["run"]
    found = {call["task"]: call for call in astro(f"show {run} --json").json["calls"]}
    assert found["broken"]["note"].endswith("PermanentError: nothing helps")
    assert found["slow"]["state"] == "abandoned"
    assert found["sleep"]["state"] == "done"
    assert found["greet"]["note"].startswith("run ")
    assert found["flaky"]["attempt"] == 2
    assert found["review"]["agent"] == "Reviewer"
    shown = astro(f"show {run}").out
    assert "by Reviewer" in shown
    assert "attempt 2" in shown


def test_the_calls_of_a_run_that_never_began_are_its_root(astro: Astro, asked: str) -> None:
    fork = astro(f"fork {asked} --at 1").out.strip()
    (call,) = astro(f"show {fork} --json").json["calls"]
    assert (call["task"], call["state"]) == ("publish", "ready")


def test_a_question_is_shown_with_the_command_that_answers_it(astro: Astro, asked: str) -> None:
    shown = without_numbers(astro(f"show {asked}").out)
    assert "asks      Publish Fusion? (boolean)" in shown
    assert "astro answer RUN VALUE --call ask:HASH.0" in shown


def test_many_calls_are_shown_only_when_asked_for(astro: Astro) -> None:
    run = astro(f"run {HOUSE}:count -i to=60 --json").json["run"]
    assert astro(f"show {run}").out.splitlines()[-1] == "… and 21 more: --all"
    assert astro(f"show {run} --all").out.count(" double ") == 60


def test_the_ids_of_all_calls_are_shown_and_explained(astro: Astro) -> None:
    run = astro(f"run {HOUSE}:count -i to=2 --json").json["run"]
    assert "double:" not in astro(f"show {run}").out
    *_, last = astro(f"show {run} --all").out.splitlines()
    assert astro(f"show {run} --call {last.split()[-1]}").out.endswith("succeeded\n")


def test_a_run_that_should_move_and_has_no_engine_says_so(astro: Astro, asked: str) -> None:
    fork = astro(f"fork {asked} --at 1").out.strip()
    assert "  ready, no engine  " in astro("ps --state ready").out
    assert "state     ready, no engine\n" in astro(f"show {fork}").out
    (run,) = astro("ps --state ready --json").json["runs"]
    assert (run["state"], run["owner"]) == ("ready", None)


@pytest.mark.parametrize(
    ("state", "owner", "spoken"),
    [
        (State.RUNNING, None, "running, no engine"),
        (State.RUNNING, "1-a", "running"),
        (State.ASKED, None, "asked"),
        (State.DONE, None, "done"),
    ],
)
def test_only_what_should_move_is_missed_by_an_engine(
    state: State, owner: str | None, spoken: str
) -> None:
    now = datetime(2026, 1, 1, tzinfo=UTC)
    run = RunSummary(
        id="r", tenant="t", task="x", state=state, created_at=now, updated_at=now, owner=owner
    )
    assert run_row(run, "r")[2] == spoken


def test_a_call_is_explained(astro: Astro, greeted: str) -> None:
    assert "attempt 1 by the task's own body" in astro(f"show {greeted} --call greet").out
    assert len(astro(f"show {greeted} --call greet --json").json["explanation"]) == 1
    assert astro(f"show {greeted} --call gret").code == Code.USAGE


def test_a_large_result_is_fetched(astro: Astro, tmp_path: Path) -> None:
    run = astro(f"run {HOUSE}:greet -i name={'x' * 90_000} --json").json["run"]
    assert len(astro(f"show {run} --json").json["result"]) > 90_000
    assert len(astro(f"show {run}").out) < 2_000


def test_records_are_printed_in_order(astro: Astro, greeted: str) -> None:
    lines = astro(f"events {greeted}").out.splitlines()
    assert [line.split()[2] for line in lines] == ["created", "owned", "started", "finished"]
    assert lines[2].endswith("greet  attempt 1 started")


def test_records_are_the_journals_own_json(astro: Astro, greeted: str) -> None:
    lines = astro(f"events {greeted} --json --after 2").out.splitlines()
    assert [json.loads(line)["kind"] for line in lines] == ["started", "finished"]


def test_following_ends_with_the_run(astro: Astro, greeted: str) -> None:
    assert len(astro(f"events {greeted} -f").out.splitlines()) == 4
    assert astro(f"events {greeted} -f --after 4").out == ""
    assert astro(f"events {greeted} -f --after 99").out == ""


@pytest.mark.slow
def test_following_prints_what_happens_meanwhile(astro: Astro, asked: str) -> None:
    from astro.cli.root import run

    def finish() -> None:
        run(["answer", asked, "true", "--json"])

    timer = threading.Timer(0.5, finish)
    timer.start()
    # The engine of the second command finishes the run while the third follows it.
    lines = astro(f"events {asked}").out.splitlines()
    timer.join()
    astro(f"run {HOUSE}:publish --continue {asked} -q")
    followed = astro(f"events {asked} -f").out.splitlines()
    assert len(followed) > len(lines)
    assert followed[-1].endswith("The run ended: done")


def test_runs_that_do_the_same_do_not_differ(astro: Astro, greeted: str) -> None:
    other = astro(f"run {HOUSE}:greet -i name=Ada --json").json["run"]
    done = astro(f"diff {greeted} {other}")
    assert (done.code, done.out) == (Code.OK, "The runs do not differ.\n")


def test_a_difference_is_told_call_by_call(astro: Astro) -> None:
    one, other = (astro(f"run {HOUSE}:count -i to={n} --json").json["run"] for n in (1, 2))
    done = astro(f"diff {one} {other}")
    assert done.code == Code.FAILED
    assert done.out.rstrip().endswith("not asked for | done: 2")
    found = astro(f"diff {one} {other} --json").json["differences"]
    assert [difference["task"] for difference in found] == ["count", "double"]
