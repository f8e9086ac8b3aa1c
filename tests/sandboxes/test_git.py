"""The git agent in repositories of an enemy; and what of a repository comes out of a box."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

from astro import DockerSandbox, RunFailedError
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
from astro.agents.in_box import CommandResult, ShellAgent, shell
from astro.agents.repository import reason_to_refuse
from astro.agents.workspace import Workspace
from astro.core.sandbox import Changes
from tests.sandboxes.asking import asked

pytestmark = pytest.mark.anyio

# Whatever runs leaves its name in the work folder, which comes out with what git has changed.
TRAP = "echo {} >> /work/sprung; cat"
PROGRAMS = {
    "core.fsmonitor": "fsmonitor",
    "core.pager": "pager",
    "core.editor": "editor",
    "core.sshCommand": "ssh",
    "core.alternateRefsCommand": "alternates",
    "credential.helper": "credential",
    "diff.external": "external",
    "diff.evil.command": "command",
    "diff.evil.textconv": "textconv",
    "filter.evil.clean": "clean",
    "filter.evil.smudge": "smudge",
    "filter.evil odd.clean": "clean-odd",
    "filter.evil odd.process": "process-odd",
    "merge.evil.driver": "merge",
    "trailer.evil.command": "trailer",
    "gpg.program": "gpg",
}
HOOKS = (
    "commit-msg",
    "post-checkout",
    "post-commit",
    "post-index-change",
    "pre-commit",
    "prepare-commit-msg",
    "reference-transaction",
)


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
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "project"
    folder.mkdir()
    git(folder, "init", "-q", "-b", "main")
    for name in ("a.txt", "b.odd"):
        (folder / name).write_text("one\n")
    git(folder, "add", ".")
    git(folder, "commit", "-q", "-m", "first")
    return folder


EVERYTHING = (
    (git_status,),
    (git_diff,),
    (git_checkout, "topic", True),
    (git_add, ["."]),
    (git_diff, True),
    (git_commit, "second"),
    (git_checkout, "main"),
    (git_log,),
    (git_branch,),
)


def all_went_well(found: list[CommandResult]) -> bool:
    assert [one.exit_code for one in found] == [0] * len(found), [one.stderr for one in found]
    return not any(one.rejected for one in found)


async def test_nothing_that_a_repository_names_is_run(
    sandbox: DockerSandbox, folder: Path, workspace: Workspace
) -> None:
    for setting, name in PROGRAMS.items():
        git(folder, "config", setting, TRAP.format(name))
    git(folder, "config", "filter.evil.required", "true")
    for setting in ("commit.gpgSign", "log.showSignature", "submodule.recurse"):
        git(folder, "config", setting, "true")
    for name in HOOKS:
        hook = folder / ".git/hooks" / name
        hook.write_text("#!/bin/sh\n" + TRAP.format(f"hook-{name}"))
        hook.chmod(0o755)
    (folder / ".gitattributes").write_text(
        "*.txt filter=evil diff=evil merge=evil\n*.odd filter=evil\\040odd\n"
    )
    (folder / "a.txt").write_text("two\n")
    (folder / "b.odd").write_text("two\n")
    assert all_went_well(await asked(sandbox, GitAgent(workspace), *EVERYTHING))
    assert not (folder / "sprung").exists()


async def test_the_traps_of_these_tests_would_spring(
    sandbox: DockerSandbox, folder: Path, workspace: Workspace
) -> None:
    git(folder, "config", "filter.evil.clean", TRAP.format("clean"))
    git(folder, "config", "core.fsmonitor", TRAP.format("fsmonitor"))
    (folder / ".gitattributes").write_text("*.txt filter=evil\n")
    (folder / "a.txt").write_text("two\n")
    command = "git -c safe.directory=/work status; git -c safe.directory=/work add ."
    await asked(sandbox, ShellAgent(workspace), (shell, command))
    assert set((folder / "sprung").read_text().split()) == {"clean", "fsmonitor"}


async def test_a_repository_inside_another_is_not_asked_anything(
    sandbox: DockerSandbox, folder: Path, workspace: Workspace
) -> None:
    inner = folder / "inner"
    inner.mkdir()
    git(inner, "init", "-q", "-b", "main")
    (inner / "x").write_text("1")
    git(inner, "add", ".")
    git(inner, "commit", "-q", "-m", "inner")
    (folder / ".gitmodules").write_text(
        '[submodule "inner"]\n\tpath = inner\n\turl = ./inner\n\tignore = none\n'
    )
    git(folder, "-c", "advice.addEmbeddedRepo=false", "add", "inner", ".gitmodules")
    git(folder, "commit", "-q", "-m", "with inner")
    git(inner, "config", "core.fsmonitor", TRAP.format("fsmonitor"))
    (inner / "x").write_text("2")
    (folder / "a.txt").write_text("two\n")
    found = await asked(sandbox, GitAgent(workspace), (git_status,), (git_diff,))
    assert all_went_well(found)
    kept = GitAgent(workspace)
    assert all_went_well(await asked(sandbox, kept, (git_add, ["a.txt"]), (git_commit, "x")))
    assert not (folder / "inner/sprung").exists()
    assert not (folder / "sprung").exists()


async def test_what_is_missing_is_fetched_from_nowhere(
    sandbox: DockerSandbox, folder: Path, workspace: Workspace
) -> None:
    blob = git(folder, "rev-parse", "HEAD:a.txt").strip()
    (folder / ".git/objects" / blob[:2] / blob[2:]).unlink()
    for setting, value in {
        "extensions.partialClone": "evil",
        "remote.evil.promisor": "true",
        "remote.evil.url": "ext::sh -c echo% fetched% >>% /work/sprung",
        "remote.evil.uploadpack": TRAP.format("uploadpack"),
        "protocol.ext.allow": "always",
        "protocol.file.allow": "always",
    }.items():
        git(folder, "config", setting, value)
    git(folder, "config", "core.repositoryFormatVersion", "1")
    (folder / "a.txt").write_text("two\n")
    _, added = await asked(sandbox, GitAgent(workspace), (git_diff,), (git_add, ["a.txt"]))
    assert added.exit_code == 0
    assert not (folder / "sprung").exists()


async def test_a_repository_that_is_elsewhere_is_none(
    sandbox: DockerSandbox, folder: Path, workspace: Workspace
) -> None:
    (folder / ".git").rename(folder / "moved")  # as a bare one, which git would find by itself
    (folder / "moved/config").write_text("[core]\n\tfsmonitor = echo x >> /work/sprung\n")
    for one in (folder / "moved").iterdir():
        one.rename(folder / one.name)
    [done] = await asked(sandbox, GitAgent(workspace), (git_status,))
    assert done.exit_code == 128
    (folder / ".git").write_text("gitdir: /etc\n")
    [done] = await asked(sandbox, GitAgent(workspace), (git_status,))
    assert done.exit_code == 128
    assert not (folder / "sprung").exists()


# --- Words -------------------------------------------------------------------------------------


async def test_names_are_names_whatever_they_look_like(
    sandbox: DockerSandbox, folder: Path, workspace: Workspace
) -> None:
    odd = ["-A", "--help", ":(top)b.odd", "*.txt", ":!x", "a b", "ü\n"]
    for name in odd:
        (folder / name).write_text("odd\n")
    (folder / "a.txt").write_text("two\n")
    calls = ((git_add, [":(top)b.odd", "*.txt", "-A", "--help"]), (git_commit, "-m\n#x\n--amend"))
    assert all_went_well(await asked(sandbox, GitAgent(workspace), *calls))
    there = git(folder, "ls-tree", "-z", "--name-only", "HEAD").split("\0")
    assert {*there} == {"*.txt", "--help", "-A", ":(top)b.odd", "a.txt", "b.odd", ""}
    assert git(folder, "show", "HEAD:a.txt") == "one\n"  # "*.txt" is the file of that name
    assert git(folder, "log", "-1", "--format=%B").strip() == "-m\n#x\n--amend"


@pytest.mark.parametrize(
    ("what", "args"),
    [
        (git_diff, [False, "--output=evil"]),
        (git_diff, [False, "-O/etc/passwd"]),
        (git_checkout, ["main~0"]),
        (git_checkout, ["nothing"]),
        (git_checkout, ["a b", True]),
        (git_add, ["/etc/passwd"]),
        (git_add, ["../x"]),
    ],
)
async def test_what_is_no_name_is_an_answer_of_git(
    sandbox: DockerSandbox, folder: Path, workspace: Workspace, what: Any, args: list[Any]
) -> None:
    said = [args] if what is git_add else args
    [done] = await asked(sandbox, GitAgent(workspace), (what, *said))
    assert done.exit_code not in (0, None)
    assert done.stderr
    assert sorted(one.name for one in folder.iterdir()) == [".git", "a.txt", "b.odd"]


@pytest.mark.parametrize(
    ("what", "args"),
    [(git_checkout, [""]), (git_checkout, ["-f"]), (git_log, [0]), (git_add, [[]])],
)
async def test_what_would_be_an_option_is_refused(
    sandbox: DockerSandbox, workspace: Workspace, what: Any, args: list[Any]
) -> None:
    with pytest.raises(RunFailedError):
        await asked(sandbox, GitAgent(workspace), (what, *args))


async def test_settings_do_not_hide_files(
    sandbox: DockerSandbox, folder: Path, workspace: Workspace
) -> None:
    git(folder, "config", "status.showUntrackedFiles", "no")
    (folder / "new").write_text("1")
    [done] = await asked(sandbox, GitAgent(workspace), (git_status,))
    assert done.stdout == "## main\n?? new\n"


# --- What comes out ----------------------------------------------------------------------------

PLAIN = b"[core]\n\trepositoryformatversion = 0\n\tfilemode = true\n\tbare = false\n"


@pytest.mark.parametrize(
    ("path", "content"),
    [
        (".git/config", PLAIN + b"\tfsmonitor = evil\n"),
        (".git/config", b"[core] fsmonitor = evil"),
        (".git/config", b"[include]\n\tpath = ../evil\n"),
        (".git/config", b"[core]\n\tbare = \\\nfalse\n"),
        (".git/config", b"\xff"),
        (".GIT/config", b"[alias]\n\tst = !evil\n"),
        ("sub/.git/config.worktree", b"[core]\n\thooksPath = /work\n"),
        (".git/modules/x/config", b"[core]\n\tfsmonitor = evil\n"),
        (".git/modules/x/hooks/pre-commit", b"evil"),
        (".git/hooks/post-checkout", b"evil"),
        (".git/hooks/deep/er", b"evil"),
        (".git/hooks", None),
        (".git/config", None),
        (".git", None),
        (".git", b"gitdir: evil"),
        (".git/commondir", b"../evil"),
        (".git/objects/info/alternates", b"/home"),
        (".git/rebase-merge/git-rebase-todo", b"exec evil"),
        ("bare/HEAD", b"ref: refs/heads/main\n"),
        ("HEAD", b"0" * 40),
        ("bare/HEAD", None),
        (".git/objects/.git/config", b"[core]\n\tfsmonitor = evil\n"),
    ],
)
def test_what_git_would_run_outside_is_refused(path: str, content: bytes | None) -> None:
    assert reason_to_refuse(path, content)


@pytest.mark.parametrize(
    ("path", "content"),
    [
        (".git/config", PLAIN + b'[branch "topic"]\n\tremote = origin\n# said\n'),
        (".git/HEAD", b"ref: refs/heads/main\n"),
        (".git/index", b"DIRC"),
        (".git/objects/ab/cd", b"\x78\x01"),
        (".git/refs/heads/config", b"0" * 40),
        (".git/logs/refs/heads/hooks/x", b"x"),
        (".git/hooks/pre-commit.sample", b"#!/bin/sh"),
        (".git/info/exclude", b"x"),
        ("config", b"[core]\n\tfsmonitor = evil\n"),
        ("link", None),
        ("docs/HEAD", b"A chapter about heads.\n"),
        (".github/workflows/x.yaml", b"on: push"),
    ],
)
def test_what_git_only_keeps_is_taken(path: str, content: bytes | None) -> None:
    assert not reason_to_refuse(path, content)


async def test_a_program_in_a_box_sets_no_trap_for_git_outside(
    sandbox: DockerSandbox, folder: Path, workspace: Workspace
) -> None:
    before = (folder / ".git/config").read_bytes()
    command = (
        "git config core.fsmonitor /work/evil; echo evil > .git/hooks/pre-commit; "
        "echo gitdir: evil > sub.git; mkdir sub; echo gitdir: ../evil > sub/.git; echo 1 > made"
    )
    [done] = await asked(sandbox, ShellAgent(workspace), (shell, command))
    assert set(done.rejected) == {".git/config", ".git/hooks/pre-commit", "sub/.git"}
    assert (folder / ".git/config").read_bytes() == before
    assert not (folder / ".git/hooks/pre-commit").exists()
    assert (folder / "made").read_text() == "1\n"


async def test_a_repository_that_is_made_in_a_box_is_one_outside(
    sandbox: DockerSandbox, tmp_path: Path
) -> None:
    new = tmp_path / "new"
    new.mkdir()
    command = "git init -q -b main && echo 1 > a && git add a && " + (
        "git -c user.name=a -c user.email=a@b commit -q -m one"
    )
    [done] = await asked(sandbox, ShellAgent(Workspace(new)), (shell, command))
    assert (done.exit_code, done.rejected) == (0, {})
    assert git(new, "log", "--format=%s") == "one\n"
    assert git(new, "status", "--porcelain") == ""


async def test_a_hook_that_was_there_before_stays(folder: Path, workspace: Workspace) -> None:
    hook = folder / ".git/hooks/pre-push"
    hook.write_text("mine")
    await workspace.write(await workspace.read())
    rejected = await workspace.apply(Changes(files={".git/hooks/pre-push": (b"evil", True)}))
    assert len(rejected) == 1
    assert hook.read_text() == "mine"
