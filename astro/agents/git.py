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
    "protocol.allow": "never",
    "safe.directory": "*",
    "init.defaultBranch": "main",
}
_NO_PROGRAMS: Final = ("--no-ext-diff", "--no-textconv")


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
        return in_words(await self.run(ctx, ["git", *words], env=self._env(), keep=keep))

    def _env(self) -> dict[str, str]:
        name, address = self.author
        env = {
            "GIT_CONFIG_GLOBAL": "/dev/null",
            "GIT_CONFIG_NOSYSTEM": "1",
            "GIT_CONFIG_COUNT": str(len(_SETTINGS)),
            "GIT_TERMINAL_PROMPT": "0",
            "GIT_OPTIONAL_LOCKS": "0",
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
        return await self.git(ctx, "status", "--porcelain=v1", "--branch", keep=False)

    @performs(git_diff)
    async def diff(self, ctx: Context, staged: bool = False, revision: str = "") -> CommandResult:
        """Return the changes as a patch."""
        words = ["diff", "--no-color", *_NO_PROGRAMS, *(["--cached"] if staged else [])]
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
        words = ["switch", "--create", branch] if create else ["switch", branch]
        return await self.git(ctx, *words)

    @performs(git_branch)
    async def branch(self, ctx: Context) -> CommandResult:
        """Return the branches."""
        return await self.git(ctx, "branch", "--list", "--no-color", keep=False)

    @performs(git_log)
    async def log(self, ctx: Context, count: int = 20) -> CommandResult:
        """Return the newest commits."""
        words = ("log", f"--max-count={count}", "--no-color", "--format=%h %an %ad %s")
        return await self.git(ctx, *words, "--date=iso-strict", *_NO_PROGRAMS, "--", keep=False)
