"""`astro run`: results, questions, interruptions, and going on."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from astro.cli.outcome import Code
from tests.cli.conftest import HOUSE, Astro, without_numbers
from tests.setup.pages import ROOT

FLOW = """
article:
  tasks:
    - {id: one, capability: greet, payload: {name: "{{ who }}"}}
second:
  tasks:
    - {id: one, capability: review, payload: {text: "{{ who }}"}}
"""


@pytest.fixture
def flow(tmp_path: Path) -> None:
    (tmp_path / "flow.yaml").write_text(FLOW)


def test_the_result_is_all_that_standard_output_gets(astro: Astro) -> None:
    done = astro(f"run {HOUSE}:greet -i name=Ada")
    assert (done.code, done.out) == (Code.OK, "Good morning, Ada.\n")


def test_a_result_that_is_no_text_is_json(astro: Astro) -> None:
    assert astro(f"run {HOUSE}:count -i to=3 -q").json == {"numbers": [0, 2, 4]}


def test_with_json_the_run_and_its_state_are_told_too(astro: Astro) -> None:
    found = astro(f"run {HOUSE}:greet -i name=Ada --json").json
    assert (found["state"], found["result"]) == ("done", "Good morning, Ada.")
    assert len(found["run"]) == 32


def test_an_input_is_what_its_parameter_wants(astro: Astro) -> None:
    done = astro(f"run {HOUSE}:greet -i name=42 -i times=2")
    assert done.out == "Good morning, 42. Good morning, 42.\n"


@pytest.mark.parametrize(
    ("inputs", "problem"),
    [
        ("-i nme=Ada", "greet has no input 'nme'. Did you mean 'name'?"),
        ("-i name=Ada -i times=many", "The input 'times' does not fit"),
        ("-i name=Ada -i times=many", "\nPass -i times=VALUE, as JSON of the type int."),
        ("", "greet needs 'name'.\nPass -i name=..."),
        ("-i name", "'name' is not of the form name=value"),
    ],
)
def test_an_input_that_does_not_fit_is_a_usage_error(
    astro: Astro, inputs: str, problem: str
) -> None:
    done = astro(f"run {HOUSE}:greet {inputs}")
    assert done.code == Code.USAGE
    assert problem in done.err


def test_plain_lines_tell_how_it_goes(astro: Astro) -> None:
    done = astro(f"run {HOUSE}:count -i to=2")
    assert without_numbers(done.err).splitlines() == [
        "TIME  double #1 succeeded",
        "TIME  double #2 succeeded",
        "TIME  The run ended: done",
    ]


@pytest.mark.usefixtures("flow")
def test_plain_lines_of_a_workflow_name_its_nodes_and_no_steps_of_its_own(astro: Astro) -> None:
    done = astro(f"run flow.yaml:article -i who=Ada --tasks {HOUSE}")
    assert without_numbers(done.err).splitlines() == [
        "TIME  one succeeded",
        "TIME  The run ended: done",
    ]


def test_a_failed_run_exits_with_1(astro: Astro) -> None:
    done = astro(f"run {HOUSE}:broken -q")
    assert done.code == Code.FAILED
    assert "PermanentError: nothing helps" in done.err
    assert "astro show" in done.err


def test_a_failed_run_is_a_result_with_json_and_carries_its_error(astro: Astro) -> None:
    done = astro(f"run {HOUSE}:broken --json --store sqlite:a.db")
    run = done.json["run"]
    assert (done.code, done.json["state"]) == (Code.FAILED, "failed")
    error = done.json["error"]
    assert error.pop("problem").endswith("PermanentError: nothing helps")
    assert error == {
        "type": "RunFailedError",
        "remedy": f"See what happened:  astro show {run} --store sqlite:a.db",
        "exit_code": Code.FAILED,
    }


def test_the_same_key_is_the_same_run(astro: Astro) -> None:
    first = astro(f"run {HOUSE}:greet -i name=Ada --key a --json").json["run"]
    assert astro(f"run {HOUSE}:greet -i name=Ada --key a --json").json["run"] == first
    assert astro(f"run {HOUSE}:greet -i name=Grace --key a").code == Code.USAGE


def test_priority_deadline_and_tenant_are_the_runs(astro: Astro) -> None:
    options = "--priority 30 --deadline 30m --tenant acme"
    run = astro(f"run {HOUSE}:greet -i name=Ada {options} --json").json["run"]
    shown = astro(f"show {run} --tenant acme --json").json
    assert (shown["priority"], shown["tenant"]) == (30, "acme")
    assert shown["deadline"] is not None
    assert astro(f"show {run}").code == Code.NOT_FOUND
    assert astro(f"run {HOUSE}:greet -i name=Ada --deadline soon").code == Code.USAGE


# --- Targets -----------------------------------------------------------------------------------


@pytest.mark.usefixtures("flow")
def test_a_workflow_of_a_file_runs_with_the_tasks_of_a_module(astro: Astro) -> None:
    done = astro(f"run flow.yaml:article -i who=Ada --tasks {HOUSE} -q")
    assert done.out == "Good morning, Ada.\n"


@pytest.mark.usefixtures("flow")
def test_an_agent_of_a_module_performs_what_only_agents_can(astro: Astro) -> None:
    assert astro(f"run flow.yaml:second -i who=x --tasks {HOUSE} -q").out == "fine: x\n"


def test_a_workflow_of_a_module_runs(astro: Astro) -> None:
    assert astro(f"run {HOUSE}:flow -q").out == "Good morning, Ada.\n"


@pytest.mark.usefixtures("flow")
@pytest.mark.parametrize(
    ("target", "problem"),
    [
        ("flow.yaml", "has 2 workflows: article, second"),
        ("flow.yaml:artikel", "no workflow 'artikel'. Did you mean 'article'?"),
        ("nowhere.yaml", "it cannot be read"),
        (f"{HOUSE}", "which task of it? It has greet, broken,"),
        (f"{HOUSE}:gret", "Did you mean 'greet'?"),
        (f"{HOUSE}:nothing", "is neither a task nor a workflow"),
        ("house.py:greet", "Name the module: house"),
        ("tests.cli.needy:judge", "No agent performs 'judge'."),
        ("tests.cli.needy:flow", "No agent performs 'judge', which flow asks for."),
    ],
)
def test_what_cannot_be_run_is_a_usage_error(astro: Astro, target: str, problem: str) -> None:
    done = astro(f"run {target} -i who=x")
    assert done.code == Code.USAGE
    assert problem in done.err


@pytest.mark.usefixtures("flow")
def test_a_workflow_without_its_tasks_is_told_how_to_name_them(astro: Astro) -> None:
    remedy = astro("run flow.yaml:article -i who=Ada").err.splitlines()[-1]
    assert remedy == (
        "Name the module of the tasks with --tasks MODULE, or under `tasks:` in astro.yaml."
    )


def test_every_mistake_of_a_workflow_is_told_with_its_line(astro: Astro, tmp_path: Path) -> None:
    (tmp_path / "bad.yaml").write_text("a: {tasks: [{id: x, capabilty: greet}, {id: y}]}")
    problems = astro("run bad.yaml").err
    assert "line 1, a.tasks[0].capabilty" in problems
    assert "a.tasks[1]" in problems


# --- Tasks without an agent --------------------------------------------------------------------


NEEDY = "tests.cli.needy"
NO_AGENT = (
    "No agent performs 'judge'; runs that ask for it will wait. "
    "Name the agent in astro.yaml or in the module."
)


def test_a_task_without_an_agent_blocks_no_other_of_its_module(astro: Astro) -> None:
    done = astro(f"run {NEEDY}:alone")
    assert (done.code, done.out) == (Code.OK, "done alone\n")
    assert done.err.splitlines()[:2] == [
        NO_AGENT,
        "Workflows that ask for it are left out: 'flow'.",
    ]


def test_a_task_without_an_agent_is_no_matter_for_those_who_want_the_result_only(
    astro: Astro,
) -> None:
    assert astro(f"run {NEEDY}:alone -q").err == ""


def test_a_task_without_an_agent_of_a_further_module_blocks_nothing(astro: Astro) -> None:
    done = astro(f"run {HOUSE}:greet -i name=Ada --tasks tests.cli.needy_only")
    assert (done.code, done.err.splitlines()[0]) == (Code.OK, NO_AGENT)


def test_a_run_that_asks_for_a_task_without_an_agent_waits_for_one(astro: Astro) -> None:
    done = astro(f"run {NEEDY}:judged -i text=x --json")
    assert (done.code, done.json["state"]) == (Code.WAITING, "parked")
    assert done.json["needs"] == {"agent": "judge"}
    again = astro(f"run {NEEDY}:judged --continue {done.json['run']} --tasks tests.cli.judges -q")
    assert (again.out, again.err) == ("fine: x\n", "")


def test_a_target_without_an_agent_is_told_how_to_name_one(astro: Astro) -> None:
    done = astro(f"run {NEEDY}:judge -i text=x --json")
    assert done.json["error"]["remedy"] == (
        "Name an agent that performs it: under `agents:` in astro.yaml, or in the module or "
        "another one, with --tasks MODULE."
    )


# --- Other runs --------------------------------------------------------------------------------


def test_runs_that_nothing_here_performs_are_told_once_per_task(astro: Astro, asked: str) -> None:
    astro(f"fork {asked}")
    lines = astro("run tests.cli.needed:needed").err.splitlines()
    assert len(lines) == 2
    assert lines[0].endswith("(publish) is left alone: nothing here performs it.")


def test_runs_that_nothing_here_performs_are_not_told_when_quiet(astro: Astro, asked: str) -> None:
    assert astro("run tests.cli.needed:needed -q").err == ""


def test_a_run_takes_up_other_unfinished_runs_of_its_tasks(astro: Astro, asked: str) -> None:
    astro(f"cancel {asked}")
    astro(f"run {HOUSE}:slow -i parts=10 -q")
    assert astro(f"show {asked} --json").json["state"] == "cancelled"


# --- Settings ----------------------------------------------------------------------------------


def test_settings_beside_are_used_without_being_named(astro: Astro, tmp_path: Path) -> None:
    (tmp_path / "astro.yaml").write_text(
        f"store: sqlite:other.db\ntasks: [{HOUSE}]\nworkflows: [flow.yaml]\n"
        "logging: {level: INFO, format: json}\n"
    )
    (tmp_path / "flow.yaml").write_text(
        "hi: {tasks: [{id: x, capability: greet, payload: {name: A}}]}"
    )
    done = astro("run flow.yaml -q")
    assert done.out == "Good morning, A.\n"
    assert (tmp_path / "other.db").is_file()
    assert json.loads(done.err.splitlines()[-1])["logger"] == "astro.run"


def test_an_option_names_another_store_than_the_settings(astro: Astro, tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "astro.yaml").write_text("store: sqlite:other.db")
    astro(f"run {HOUSE}:greet -i name=A --settings sub/astro.yaml --store sqlite:mine.db -q")
    assert (tmp_path / "mine.db").is_file()
    assert list((tmp_path / "sub").glob("*.db")) == []


def test_mistakes_of_settings_are_told_all_at_once(astro: Astro, tmp_path: Path) -> None:
    (tmp_path / "astro.yaml").write_text("stroe: x\ntasks: [nowhere]\n")
    done = astro(f"run {HOUSE}:greet -i name=A")
    assert done.code == Code.USAGE
    assert "line 1, stroe" in done.err
    assert "line 2, tasks[0]" in done.err


# --- People ------------------------------------------------------------------------------------


def test_a_run_that_waits_for_a_person_ends_the_command_and_not_itself(astro: Astro) -> None:
    done = astro(f"run {HOUSE}:publish -i title=Fusion")
    assert (done.code, done.out) == (Code.WAITING, "")
    assert without_numbers(done.err).splitlines()[2:] == [
        "Run RUN is asked.",
        "asks      Publish Fusion? (boolean)",
        "          astro answer RUN VALUE --call ask:HASH.0",
        f"Then go on with:  astro run {HOUSE}:publish --continue RUN",
    ]


def test_an_answered_run_goes_on(astro: Astro, asked: str) -> None:
    astro(f"answer {asked} true")
    assert astro(f"run {HOUSE}:publish --continue {asked} -q").out == "published\n"


def test_with_json_the_question_and_the_way_on_are_told(astro: Astro) -> None:
    done = astro(f"run {HOUSE}:publish -i title=Fusion --json --store sqlite:a.db")
    question = done.json["questions"][0]
    assert done.code == Code.WAITING
    assert (question["question"], question["schema"]) == ("Publish Fusion?", {"type": "boolean"})
    assert done.json["continue"].endswith(f"--continue {done.json['run']} --store sqlite:a.db")


def test_a_question_that_time_decides_is_waited_for(astro: Astro) -> None:
    assert astro(f"run {HOUSE}:patient -q").out == "in time\n"


def test_a_question_that_time_decides_is_not_waited_for_if_told_so(astro: Astro) -> None:
    assert astro(f"run {HOUSE}:patient -q --no-wait").code == Code.WAITING


def test_a_paused_run_ends_the_command_too(astro: Astro, asked: str) -> None:
    astro(f"pause {asked}")
    assert astro(f"run {HOUSE}:publish --continue {asked}").code == Code.WAITING


def test_a_parked_run_says_what_it_waits_for(astro: Astro, asked: str) -> None:
    astro(f"answer {asked} yes")
    done = astro(f"run tests.cli.lone:publish --continue {asked}")
    assert done.code == Code.WAITING
    assert f"Run {asked} is parked, waits for arguments publish." in done.err
    assert "arguments publish" in astro("ps").out


def test_a_run_to_continue_that_nobody_knows_is_not_found(astro: Astro, greeted: str) -> None:
    assert astro(f"run {HOUSE}:greet --continue ffff").code == Code.NOT_FOUND


# --- Interruptions -----------------------------------------------------------------------------


def interrupted(folder: Path, number: signal.Signals, options: str) -> tuple[int, str, str]:
    """Start a slow run in a process of its own, and interrupt it in the middle."""
    process = subprocess.Popen(
        [sys.executable, "-m", "astro", "run", f"{HOUSE}:slow", "-i", "parts=40", *options.split()],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stderr is not None
    assert process.stderr.readline().endswith("double succeeded\n")
    process.send_signal(number)
    out, err = process.communicate(timeout=30)
    return process.returncode, out, err


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_run_is_kept_and_the_way_on_is_printed(
    astro: Astro, tmp_path: Path, number: signal.Signals
) -> None:
    code, out, err = interrupted(tmp_path, number, "--plain")
    assert (code, out) == (Code.INTERRUPTED, "")
    command = err.splitlines()[-1].partition("Go on with:  astro ")[2]
    assert astro(f"{command} -q").out == "40\n"
    (run,) = astro("ps --json").json["runs"]
    assert run["state"] == "done"


@pytest.mark.slow
def test_with_json_an_interruption_tells_the_way_on(tmp_path: Path) -> None:
    code, out, _ = interrupted(tmp_path, signal.SIGINT, "--json --tasks tests.cli.needed")
    said = json.loads(out)
    assert (code, said["state"]) == (Code.INTERRUPTED, "interrupted")
    assert said["continue"] == (
        f"astro run {HOUSE}:slow --continue {said['run']} --tasks tests.cli.needed"
    )
