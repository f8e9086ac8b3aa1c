"""`astro check` and `astro graph`: what can be said without running anything."""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pytest

from astro.cli.outcome import Code
from tests.cli.conftest import HOUSE, Astro

GOOD = "article: {tasks: [{id: one, capability: greet, payload: {name: Ada}}]}\n"
MISFIT = """
article:
  inputs: {who: str}
  tasks:
    - {id: one, capability: gret, payload: {name: x}}
    - {id: two, capability: greet, payload: {nam: x}}
"""


@pytest.fixture
def write(tmp_path: Path) -> None:
    (tmp_path / "good.yaml").write_text(GOOD)
    (tmp_path / "misfit.yaml").write_text(MISFIT)
    (tmp_path / "bad.yaml").write_text("a: {tasks: [{id: x, capabilty: greet}, {id: y}]}")
    (tmp_path / "free.yaml").write_text(GOOD.replace("Ada", '"{{ who }}"'))


pytestmark = pytest.mark.usefixtures("write")


def test_a_good_file_has_no_problems(astro: Astro) -> None:
    done = astro(f"check good.yaml --tasks {HOUSE}")
    assert (done.code, done.out) == (Code.OK, "No problems.\n")


def test_what_was_not_checked_is_said(astro: Astro) -> None:
    assert "Tasks were not checked" in astro("check good.yaml").err
    assert "Unfinished runs were not compared" in astro(f"check {HOUSE}").err


def test_every_mistake_of_a_file_is_reported(astro: Astro) -> None:
    problems = astro("check bad.yaml --json").json["problems"]
    assert len(problems) >= 2
    assert all(problem.startswith("line 1") for problem in problems)


def test_mistakes_of_the_graph_do_not_hide_that_tasks_come_later(astro: Astro) -> None:
    later = "Tasks are checked once these are mended."
    assert astro(f"check bad.yaml --tasks {HOUSE}").err.splitlines()[-1] == later
    assert later not in astro("check bad.yaml").err
    assert later not in astro(f"check misfit.yaml --tasks {HOUSE}").err


def test_an_agent_that_cannot_be_made_is_one_problem_and_not_two(
    astro: Astro, tmp_path: Path
) -> None:
    (tmp_path / "astro.yaml").write_text(
        "tasks: [tests.setup.house]\n"
        "agents: {r: {use: 'tests.setup.house:Reviewer', config: {stile: plain}}}\n"
    )
    found = astro("check astro.yaml --json").json
    (problem,) = found["problems"]
    assert problem.startswith("line 2, agents.r.config.stile: ")
    assert "What is missing is told once all tasks and agents can be loaded." in found["notes"]


def test_a_module_that_cannot_be_loaded_is_one_problem_and_not_two(astro: Astro) -> None:
    (problem,) = astro("check good.yaml --tasks tests.cli.lone --tasks nowhere --json").json[
        "problems"
    ]
    assert "there is no module 'nowhere'" in problem


def test_runs_whose_task_may_be_in_a_faulty_module_are_no_problem(astro: Astro, asked: str) -> None:
    found = astro("check tests.setup.house --tasks nowhere --json").json["problems"]
    assert [problem for problem in found if asked in problem] == []


def test_other_mistakes_of_settings_hide_no_missing_agent(astro: Astro, tmp_path: Path) -> None:
    (tmp_path / "astro.yaml").write_text("lease_for: soon\ntasks: [tests.cli.needy]\n")
    assert "No agent performs the task 'judge'." in astro("check astro.yaml").out


def test_every_misfit_with_the_tasks_is_reported(astro: Astro) -> None:
    done = astro(f"check misfit.yaml --tasks {HOUSE}")
    assert done.code == Code.FAILED
    assert "'gret'" in done.out
    assert "nam" in done.out


def test_names_that_come_with_the_run_are_named(astro: Astro) -> None:
    assert astro("check free.yaml").code == Code.FAILED
    assert astro("check free.yaml -i who").code == Code.OK


def test_a_file_of_settings_is_checked_with_its_parts(astro: Astro, tmp_path: Path) -> None:
    (tmp_path / "other.yaml").write_text(f"lease_for: soon\ntasks: [{HOUSE}, nowhere]\n")
    found = astro("check other.yaml --json").json["problems"]
    assert [problem.partition(":")[0] for problem in found] == [
        "line 1, lease_for",
        "line 2, tasks[1]",
    ]


def test_a_module_is_checked(astro: Astro) -> None:
    assert astro(f"check {HOUSE}").code == Code.OK
    assert "No agent performs the task 'judge'" in astro("check tests.cli.needy").out
    assert "there is no module" in astro("check tests.cli.nowhere").out
    assert "has no task" in astro("check tests.cli.conftest").out


def test_two_tasks_of_one_name_are_reported(astro: Astro) -> None:
    done = astro(f"check tests.cli.lone --tasks {HOUSE}")
    assert "Two tasks are called 'publish'" in done.out


def test_unfinished_runs_are_compared_with_the_tasks_of_today(
    astro: Astro, asked: str, greeted: str
) -> None:
    assert astro(f"check {HOUSE}").code == Code.OK
    changed = astro("check tests.cli.lone").out
    assert f"Run {asked}: the arguments of publish no longer fit" in changed
    gone = astro("check tests.setup.house").out
    assert f"Run {asked} needs the task 'publish', which is not among these" in gone
    assert greeted not in changed + gone


def test_results_are_compared_with_the_types_of_today(astro: Astro) -> None:
    run = astro(f"run {HOUSE}:doubled_then_asked --json").json["run"]
    found = astro("check tests.cli.lone --json").json["problems"]
    (problem,) = [one for one in found if run in one]
    assert "the result of double:" in problem
    assert "no longer fits" in problem


def test_a_type_that_has_no_json_form_is_reported(astro: Astro) -> None:
    found = astro("check tests.cli.unspeakable --json").json["problems"]
    assert [one for one in found if one.startswith("unspeakable: ")]


def test_a_workflow_that_does_not_fit_its_module_is_reported(astro: Astro) -> None:
    done = astro(f"check {HOUSE}:flow")
    assert "greet" in done.out


def test_a_workflow_is_drawn_as_mermaid(astro: Astro) -> None:
    done = astro("graph good.yaml")
    assert "flowchart" in done.out
    assert astro(f"graph {HOUSE}:flow --json").json["text"].count("flowchart") == 1


def test_a_workflow_is_drawn_as_svg(astro: Astro, tmp_path: Path) -> None:
    assert astro("graph good.yaml --format svg -o a.svg").out == "a.svg\n"
    root = ElementTree.fromstring((tmp_path / "a.svg").read_text("utf-8"))
    assert root.tag.endswith("svg")


def test_a_task_has_no_graph(astro: Astro) -> None:
    assert astro(f"graph {HOUSE}:greet").code == Code.USAGE
    assert astro("graph bad.yaml").code == Code.USAGE
