"""The examples of the two pages about workflows run, load and fit as they stand."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from astro import Workflow, WorkflowError, load_workflows

ROOT = Path(__file__).parents[2]
GUIDE = (ROOT / "docs/how-to/workflows.md").read_text("utf-8")
FORMAT = (ROOT / "docs/reference/workflow-files.md").read_text("utf-8")


def blocks(page: str, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", page, re.MULTILINE | re.DOTALL)


def test_the_program_of_the_guide_runs_as_it_stands(tmp_path: Path) -> None:
    (tmp_path / "page.py").write_text("\n".join(blocks(GUIDE, "python")), "utf-8")
    done = subprocess.run(
        [sys.executable, "-W", "error", "page.py"],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() in GUIDE


@pytest.mark.parametrize("text", blocks(FORMAT, "yaml"))
def test_the_files_of_the_reference_load(write: Callable[..., Path], text: str) -> None:
    (flow,) = load_workflows(write(text))
    assert Workflow.from_json(flow.to_json()) == flow


def test_the_tasks_of_the_reference_fit_the_audited_file(write: Callable[..., Path]) -> None:
    (flow,) = load_workflows(write(blocks(FORMAT, "yaml")[1]))
    names: dict[str, object] = {}
    exec(blocks(FORMAT, "python")[0], names)
    tasks = {name: names[name] for name in ("fetch", "analyse", "report")}
    assert flow.check(tasks) == []  # type: ignore[arg-type]  # names of a page


def test_the_mistakes_of_the_reference_read_as_they_are_printed(
    write: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write(
        "article:\n  nodes:\n    research: {task: search}\n    draft:\n      task: write\n"
        '      inputs:\n        notes: "{{ reserch }}"\n      retry: 3\n      timeout: soon\n'
    )
    monkeypatch.chdir(path.parent)
    with pytest.raises(WorkflowError) as caught:
        load_workflows(path.name)
    (printed,) = blocks(FORMAT, "text")
    assert str(caught.value).startswith(printed)
