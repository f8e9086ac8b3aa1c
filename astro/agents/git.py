"""The git agent: the everyday verbs of git, on a workspace, in a box.

A repository can name programs that git runs (hooks, filters, monitors, pagers), so git runs in a
box like everything that nobody trusts; beside that, what a repository may name is switched off,
and no argument is taken for an option.
"""

from __future__ import annotations

from typing import Final

from astro.agents.by_class import performs
from astro.agents.in_box import BoxAgent, CommandResult, in_words
from astro.core.context import Context
from astro.core.errors import InvalidArgumentsError, NeedsAgentError
from astro.core.policy import Effect
from astro.core.task import task

__all__ = [
    "GitAgent",
    "git_add",
    "git_branch",
    "git_checkout",
    "git_commit",
    "git_diff",
    "git_log",
    "git_status",
]

_SETTINGS: Final = {
    "core.fsmonitor": "false",
    "core.hooksPath": "/dev/null",
    "core.sshCommand": "false",
    "core.pager": "cat",
    "diff.external": "",
    "gc.auto": "0",  # it would be cut off with the command
    "log.showSignature": "false",
    "maintenance.auto": "false",
    "protocol.allow": "never",
    "submodule.recurse": "false",
    "safe.directory": "*",
    "init.defaultBranch": "main",
}
_NO_PROGRAMS: Final = ("--no-ext-diff", "--no-textconv")
_NO_SUBMODULES: Final = "--ignore-submodules=dirty"  # git would be run in them, with their settings

# Filters have names of the repository's choice, so that they can only be switched off in the box.
_GIT: Final = """
import os, subprocess, sys
asked = ["git", "config", "--null", "--name-only", "--get-regexp", r"^filter\\."]
found = subprocess.run(asked, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL).stdout
count = int(os.environ["GIT_CONFIG_COUNT"])
for name in {key.rpartition(b".")[0] for key in found.split(b"\\0") if key}:
    for verb in (b"clean", b"smudge", b"process", b"required"):
        os.environb[b"GIT_CONFIG_KEY_%d" % count] = name + b"." + verb
        os.environb[b"GIT_CONFIG_VALUE_%d" % count] = b"false" if verb == b"required" else b""
        count += 1
os.environ["GIT_CONFIG_COUNT"] = str(count)
os.execvp("git", ["git", *sys.argv[1:]])
"""


@task(needs_agent=True, effect=Effect.READ)
async def git_status(ctx: Context) -> CommandResult:
    """Return what has changed, one line a file, and the branch."""
    raise NeedsAgentError("git_status")


@task(needs_agent=True, effect=Effect.READ)
async def git_diff(ctx: Context, staged: bool = False, revision: str = "") -> CommandResult:
    """Return the changes as a patch."""
    raise NeedsAgentError("git_diff")


@task(needs_agent=True, effect=Effect.EXECUTE)
async def git_add(ctx: Context, paths: list[str]) -> CommandResult:
    """Stage files."""
    raise NeedsAgentError("git_add")


@task(needs_agent=True, effect=Effect.EXECUTE)
async def git_commit(ctx: Context, message: str) -> CommandResult:
    """Commit what is staged."""
    raise NeedsAgentError("git_commit")


@task(needs_agent=True, effect=Effect.EXECUTE)
async def git_checkout(ctx: Context, branch: str, create: bool = False) -> CommandResult:
    """Go over to a branch."""
    raise NeedsAgentError("git_checkout")


@task(needs_agent=True, effect=Effect.READ)
async def git_branch(ctx: Context) -> CommandResult:
    """Return the branches, one a line."""
    raise NeedsAgentError("git_branch")


@task(needs_agent=True, effect=Effect.READ)
async def git_log(ctx: Context, count: int = 20) -> CommandResult:
    """Return the newest commits, one a line: hash, author, date, subject."""
    raise NeedsAgentError("git_log")


class GitAgent(BoxAgent):
    """Does git on a workspace.

    Attributes:
        author: Name and address of commits.
    """

    author: tuple[str, str] = ("astro", "astro@localhost")

    async def git(self, ctx: Context, *words: str, keep: bool = True) -> CommandResult:
        """Run git with words that are no options of somebody else's."""
        command = ["python3", "-I", "-S", "-c", _GIT, *words]
        return in_words(await self.run(ctx, command, env=self._env(), keep=keep))

    def _env(self) -> dict[str, str]:
        name, address = self.author
        env = {
            "GIT_CONFIG_GLOBAL": "/dev/null",
            "GIT_CONFIG_NOSYSTEM": "1",
            "GIT_CONFIG_COUNT": str(len(_SETTINGS)),
            "GIT_ALLOW_PROTOCOL": "none",
            "GIT_DIR": ".git",  # no other one is looked for
            "GIT_WORK_TREE": ".",
            "GIT_LITERAL_PATHSPECS": "1",
            "GIT_NO_LAZY_FETCH": "1",
            "GIT_OPTIONAL_LOCKS": "0",
            "GIT_TERMINAL_PROMPT": "0",
            "GIT_AUTHOR_NAME": name,
            "GIT_AUTHOR_EMAIL": address,
            "GIT_COMMITTER_NAME": name,
            "GIT_COMMITTER_EMAIL": address,
        }
        for number, (key, value) in enumerate(_SETTINGS.items()):
            env |= {f"GIT_CONFIG_KEY_{number}": key, f"GIT_CONFIG_VALUE_{number}": value}
        return env

    @performs(git_status)
    async def status(self, ctx: Context) -> CommandResult:
        """Return what has changed, and the branch."""
        words = ("status", "--porcelain=v1", "--branch", "--untracked-files=normal")
        return await self.git(ctx, *words, _NO_SUBMODULES, keep=False)

    @performs(git_diff)
    async def diff(self, ctx: Context, staged: bool = False, revision: str = "") -> CommandResult:
        """Return the changes as a patch."""
        words = ["diff", "--no-color", *_NO_PROGRAMS, _NO_SUBMODULES]
        words += ["--cached"] if staged else []
        if revision:
            words += ["--end-of-options", revision]
        return await self.git(ctx, *words, "--", keep=False)

    @performs(git_add)
    async def add(self, ctx: Context, paths: list[str]) -> CommandResult:
        """Stage files."""
        if not paths:
            raise InvalidArgumentsError("No path is named.", remedy="Name files, or '.'.")
        return await self.git(ctx, "add", "--", *paths)

    @performs(git_commit)
    async def commit(self, ctx: Context, message: str) -> CommandResult:
        """Commit what is staged."""
        return await self.git(ctx, "commit", "--no-verify", "--no-gpg-sign", f"--message={message}")

    @performs(git_checkout)
    async def checkout(self, ctx: Context, branch: str, create: bool = False) -> CommandResult:
        """Go over to a branch."""
        if branch.startswith("-") or not branch:
            raise InvalidArgumentsError(
                f"{branch!r} is no name of a branch.", remedy="Name one that git branch shows."
            )
        words = ["switch", "--no-guess", *(["--create"] if create else []), branch]
        return await self.git(ctx, *words)

    @performs(git_branch)
    async def branch(self, ctx: Context) -> CommandResult:
        """Return the branches."""
        return await self.git(ctx, "branch", "--list", "--no-color", keep=False)

    @performs(git_log)
    async def log(self, ctx: Context, count: int = 20) -> CommandResult:
        """Return the newest commits."""
        if count < 1:
            raise InvalidArgumentsError(
                f"{count} is no number of commits.", remedy="Ask for 1 or more."
            )
        words = ("log", f"--max-count={count}", "--no-color", "--format=%h %an %ad %s")
        return await self.git(ctx, *words, "--date=iso-strict", *_NO_PROGRAMS, "--", keep=False)
