"""The agents that work in boxes: on real code, with the real git, pytest and ruff."""

from __future__ import annotations

import os
import subprocess
from datetime import timedelta
from pathlib import Path

import pytest

from astro import DockerSandbox, LocalEngine, MemoryStore, SandboxError
from astro.agents.checking import (
    AnalysisAgent,
    TestingAgent,
    lint,
    run_linter,
    run_test_command,
    run_tests,
)
from astro.agents.git import (
    GitAgent,
    git_add,
    git_branch,
    git_checkout,
    git_commit,
    git_diff,
    git_log,
    git_status,
)
from astro.agents.in_box import PythonAgent, ShellAgent, python, shell
from astro.agents.workspace import Workspace
from astro.core.sandbox import Changes
from tests.sandboxes.asking import asked

pytestmark = pytest.mark.anyio


async def test_python_runs_with_files_and_gives_files_back(sandbox: DockerSandbox) -> None:
    code = "n = sum(map(int, open('in.txt'))); print(n); open('out.txt', 'w').write(str(n))"
    calls = (python, code, {"in.txt": "1\n2\n3\n"}, ["*.txt"])
    [done] = await asked(sandbox, PythonAgent(), calls)
    assert (done.status, done.stdout) == ("ok", "6\n")
    assert done.artifacts == {"in.txt": "1\n2\n3\n", "out.txt": "6"}


async def test_a_program_that_fails_is_a_result(sandbox: DockerSandbox) -> None:
    [done] = await asked(sandbox, PythonAgent(), (python, "1 / 0"))
    assert (done.status, done.exit_code) == ("error", 1)
    assert done.stderr.endswith("ZeroDivisionError: division by zero\n")


async def test_a_program_that_takes_too_long_is_a_result(sandbox: DockerSandbox) -> None:
    agent = ShellAgent(timeout=timedelta(seconds=0.3))
    [done] = await asked(sandbox, agent, (shell, "echo began; sleep 60"))
    assert (done.status, done.stdout) == ("timed_out", "began\n")


async def test_a_shell_works_on_the_files_of_its_workspace(
    sandbox: DockerSandbox, folder: Path, workspace: Workspace
) -> None:
    (folder / "a.txt").write_text("a")
    (folder / "run").write_text("#!/bin/sh\necho ran")
    (folder / "run").chmod(0o755)
    (folder / "gone").write_text("x")
    os.symlink("a.txt", folder / "link")
    command = "./run; cat link; mkdir -p new/empty; echo b > new/b.txt; rm gone; echo c >> a.txt"
    [done] = await asked(sandbox, ShellAgent(workspace), (shell, command))
    assert done.stdout == "ran\na"
    assert (folder / "a.txt").read_text() == "ac\n"
    assert (folder / "new/b.txt").read_text() == "b\n"
    assert (folder / "new/empty").is_dir()
    assert (folder / "link").readlink() == Path("a.txt")
    assert os.access(folder / "run", os.X_OK)
    assert not (folder / "gone").exists()


async def test_links_that_lead_out_stay_in_the_box(
    sandbox: DockerSandbox, folder: Path, workspace: Workspace, tmp_path: Path
) -> None:
    command = f"ln -s /etc/passwd a; ln -s ../.. b; ln -s {tmp_path} c; mkdir d; ln -s ../e d/f; echo e > e"
    await asked(sandbox, ShellAgent(workspace), (shell, command))
    assert sorted(one.name for one in folder.rglob("*")) == ["d", "e", "f"]
    assert (folder / "d/f").read_text() == "e\n"


# --- Workspaces --------------------------------------------------------------------------------


async def test_a_workspace_is_what_a_box_says(folder: Path, workspace: Workspace) -> None:
    changes = Changes(
        files={"a/b": (b"1", False), "x": (b"2", True)}, links={"l": "a/b"}, folders=("a", "e")
    )
    assert await workspace.write(changes) == ()
    assert await workspace.read() == changes
    assert await workspace.write(Changes()) == ()
    assert list(folder.iterdir()) == []


@pytest.mark.parametrize("path", ["../out", "/out", "a/../../out", "a/../b", "n\0l"])
async def test_no_name_leads_out_of_a_workspace(
    workspace: Workspace, tmp_path: Path, path: str
) -> None:
    rejected = await workspace.write(Changes(files={path: (b"x", False), "in": (b"y", False)}))
    assert [one.path for one in rejected] == [path]
    assert sorted(one.name for one in tmp_path.rglob("*")) == ["in", "project"]


async def test_nothing_is_written_through_a_link(
    folder: Path, workspace: Workspace, tmp_path: Path
) -> None:
    (tmp_path / "outside").mkdir()
    os.symlink(tmp_path / "outside", folder / "way")
    (tmp_path / "victim").write_text("safe")
    os.symlink(tmp_path / "victim", folder / "file")
    changes = Changes(
        files={"way/evil": (b"x", False), "file": (b"y", False)},
        links={"way": str(tmp_path / "outside")},
    )
    rejected = await workspace.write(changes)
    assert "way/evil" in {one.path for one in rejected}
    assert list((tmp_path / "outside").iterdir()) == []
    assert (tmp_path / "victim").read_text() == "safe"
    assert (folder / "file").read_text() == "y"
    assert not (folder / "file").is_symlink()


async def test_a_workspace_has_a_quota(folder: Path) -> None:
    small = Workspace(folder, size=10, files=3)
    with pytest.raises(SandboxError, match="more than 10 bytes"):
        await small.write(Changes(files={"a": (b"x" * 11, False)}))
    with pytest.raises(SandboxError, match="more than 3 files"):
        await small.write(Changes(files={str(n): (b"", False) for n in range(4)}))
    assert list(folder.iterdir()) == []
    (folder / "big").write_bytes(b"x" * 11)
    with pytest.raises(SandboxError, match="more than 10 bytes"):
        await small.read()


async def test_a_workspace_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(SandboxError, match="cannot be opened"):
        await Workspace(tmp_path / "nothing").read()


# --- Git ---------------------------------------------------------------------------------------


def git(folder: Path, *words: str) -> str:
    env = os.environ | {
        "GIT_CONFIG_GLOBAL": "/dev/null",
        "GIT_AUTHOR_NAME": "a",
        "GIT_AUTHOR_EMAIL": "a@b",
        "GIT_COMMITTER_NAME": "a",
        "GIT_COMMITTER_EMAIL": "a@b",
    }
    done = subprocess.run(
        ["git", *words], cwd=folder, env=env, capture_output=True, text=True, check=True
    )
    return done.stdout


@pytest.fixture
def repository(folder: Path) -> Path:
    git(folder, "init", "-q", "-b", "main")
    (folder / "a.txt").write_text("one\n")
    git(folder, "add", ".")
    git(folder, "commit", "-q", "-m", "first")
    return folder


async def test_git_goes_from_a_change_to_a_commit_on_a_branch(
    sandbox: DockerSandbox, repository: Path, workspace: Workspace
) -> None:
    (repository / "a.txt").write_text("two\n")
    (repository / "-rf").write_text("odd\n")
    found = await asked(
        sandbox,
        GitAgent(workspace),
        (git_status,),
        (git_diff,),
        (git_checkout, "topic", True),
        (git_add, ["a.txt", "-rf"]),
        (git_diff, True),
        (git_commit, "second\n\nwith a body"),
        (git_log,),
        (git_branch,),
    )
    assert [one.exit_code for one in found] == [0] * 8, [one.stderr for one in found]
    status, diff, _, _, staged, _, log, branch = found
    assert status.stdout == "## main\n M a.txt\n?? -rf\n"
    assert "+two" in diff.stdout
    assert "+odd" in staged.stdout
    assert [line.split(" ")[-1] for line in log.stdout.splitlines()] == ["second", "first"]
    assert branch.stdout == "  main\n* topic\n"
    assert git(repository, "log", "--format=%an %s") == "astro second\na first\n"
    assert git(repository, "status", "--porcelain") == ""
    assert git(repository, "branch", "--show-current") == "topic\n"


async def test_a_hostile_repository_starts_nothing_outside(
    sandbox: DockerSandbox, repository: Path, workspace: Workspace, tmp_path: Path
) -> None:
    trap = f"touch {tmp_path}/sprung /work/sprung"
    git(repository, "config", "core.fsmonitor", trap)
    git(repository, "config", "diff.evil.textconv", trap)
    git(repository, "config", "core.pager", trap)
    (repository / ".gitattributes").write_text("*.txt diff=evil\n")
    hook = repository / ".git/hooks/pre-commit"
    hook.write_text(f"#!/bin/sh\n{trap}\n")
    hook.chmod(0o755)
    (repository / "a.txt").write_text("two\n")
    found = await asked(
        sandbox,
        GitAgent(workspace),
        (git_status,),
        (git_diff,),
        (git_add, ["."]),
        (git_commit, "x"),
        (git_log,),
    )
    assert [one.exit_code for one in found] == [0] * 5, [one.stderr for one in found]
    assert not (tmp_path / "sprung").exists()
    assert not (repository / "sprung").exists()


async def test_words_are_not_taken_for_options(
    sandbox: DockerSandbox, repository: Path, workspace: Workspace
) -> None:
    output = f"--output={repository}/evil"
    [done] = await asked(sandbox, GitAgent(workspace), (git_diff, False, output))
    assert done.exit_code != 0
    assert not (repository / "evil").exists()
    with pytest.raises(Exception, match="no name of a branch"):
        await asked(sandbox, GitAgent(workspace), (git_checkout, "--orphan=x"))


# --- Tests and analysis ------------------------------------------------------------------------

TESTS = """
import pytest
from code_under_test import double
def test_right(): assert double(2) == 4
def test_wrong(): assert double(2) == 5
@pytest.mark.skip
def test_skipped(): ...
@pytest.fixture
def broken(): raise OSError("no")
def test_error(broken): ...
"""


async def test_tests_run_and_each_is_told(
    sandbox: DockerSandbox, folder: Path, workspace: Workspace
) -> None:
    (folder / "code_under_test.py").write_text("def double(n): return 2 * n\n")
    (folder / "test_it.py").write_text(TESTS)
    [report] = await asked(sandbox, TestingAgent(workspace), (run_tests,))
    assert (report.passed, report.failed, report.errors, report.skipped) == (1, 1, 1, 1), (
        report.result
    )
    assert not report.ok
    by_name = {case.name.partition("::")[2]: case for case in report.cases}
    assert "assert 4 == 5" in by_name["test_wrong"].message
    assert sorted(one.name for one in folder.iterdir()) == ["code_under_test.py", "test_it.py"]


async def test_tests_that_do_not_load_are_errors(
    sandbox: DockerSandbox, folder: Path, workspace: Workspace
) -> None:
    (folder / "test_it.py").write_text("import nothing_of_the_kind\n")
    [report] = await asked(sandbox, TestingAgent(workspace), (run_tests,))
    assert (report.errors, report.ok) == (1, False)


async def test_a_report_that_was_tampered_with_is_no_report(
    sandbox: DockerSandbox, folder: Path, workspace: Workspace
) -> None:
    (folder / "test_it.py").write_text(
        "import atexit\ndef lie(): open('.astro/report.json', 'w').write('[1')\natexit.register(lie)\ndef test_x(): ..."
    )
    with pytest.raises(Exception, match="makes no sense"):
        await asked(sandbox, TestingAgent(workspace), (run_tests,))


async def test_any_command_can_test(
    sandbox: DockerSandbox, folder: Path, workspace: Workspace
) -> None:
    (folder / "x").write_text("x")
    [done] = await asked(sandbox, TestingAgent(workspace), (run_test_command, ["test", "-f", "x"]))
    assert done.exit_code == 0


async def test_ruff_finds_what_is_wrong(
    sandbox: DockerSandbox, folder: Path, workspace: Workspace
) -> None:
    (folder / "a.py").write_text("import os\nprint(undefined)\n")
    found, other = await asked(
        sandbox,
        AnalysisAgent(workspace),
        (lint,),
        (run_linter, ["python3", "-m", "py_compile", "a.py"]),
    )
    assert {("a.py", 1, "F401"), ("a.py", 2, "F821")} <= {
        (one.path, one.line, one.code) for one in found
    }
    assert other.exit_code == 0
    assert [one.name for one in folder.iterdir()] == ["a.py"]


async def test_without_a_sandbox_no_agent_runs_anything(workspace: Workspace) -> None:
    async with LocalEngine(ShellAgent(workspace), store=MemoryStore()) as engine:
        with pytest.raises(Exception, match="no sandbox"):
            await engine.run(shell, "true")
