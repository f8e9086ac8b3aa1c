"""Agents that run what nobody trusts, in a box: Python code, and commands."""

from __future__ import annotations

from datetime import timedelta
from pathlib import PurePosixPath
from typing import Final

import msgspec
from msgspec.structs import replace

from astro.agents.by_class import BaseAgent, performs
from astro.agents.workspace import Workspace
from astro.core.context import Context
from astro.core.errors import NeedsAgentError
from astro.core.policy import Effect
from astro.core.sandbox import Completed
from astro.core.task import task

__all__ = [
    "BoxAgent",
    "CommandResult",
    "PythonAgent",
    "ShellAgent",
    "in_words",
    "python",
    "shell",
]

_TIMEOUT: Final = timedelta(seconds=60)


class CommandResult(msgspec.Struct, frozen=True, kw_only=True):
    """How a command ended, in words.

    Attributes:
        status: As in `BoxStatus`.
        artifacts: Text of the files that were asked for, by path; what is no UTF-8 is replaced.
        rejected: What was asked for and not given, with the reason.
    """

    status: str
    exit_code: int | None
    stdout: str
    stderr: str
    truncated: bool = False
    duration: float = 0.0
    artifacts: dict[str, str] = {}
    rejected: dict[str, str] = {}


@task(needs_agent=True, effect=Effect.EXECUTE)
async def python(
    ctx: Context,
    code: str,
    files: dict[str, str] = {},  # noqa: B006  # nobody shares it
    collect: list[str] = [],  # noqa: B006
) -> CommandResult:
    """Run Python code and return what it printed."""
    raise NeedsAgentError("python")


@task(needs_agent=True, effect=Effect.EXECUTE)
async def shell(
    ctx: Context,
    command: str,
    files: dict[str, str] = {},  # noqa: B006
    collect: list[str] = [],  # noqa: B006
) -> CommandResult:
    """Run a command of a shell and return what it printed."""
    raise NeedsAgentError("shell")


class BoxAgent(BaseAgent):
    """An agent whose work happens in boxes, on the files of a workspace if it has one.

    Args:
        workspace: Its files are copied into the box, and what has changed is copied back.
        timeout: Of each command.
    """

    def __init__(
        self,
        workspace: Workspace | None = None,
        *,
        timeout: timedelta = _TIMEOUT,
        name: str | None = None,
    ) -> None:
        super().__init__(name=name)
        self.workspace = workspace
        self.timeout = timeout

    async def run(
        self,
        ctx: Context,
        command: list[str] | str,
        *,
        env: dict[str, str] | None = None,
        files: dict[str, str] | None = None,
        collect: list[str] | None = None,
        keep: bool = True,
    ) -> Completed:
        """Run a command, or Python code as one text, on the files of the workspace.

        Args:
            keep: Whether what it changes goes back into the workspace.
        """
        box, workspace = ctx.sandbox, self.workspace
        if workspace is None:
            return await self._run(ctx, command, env, files, collect)
        async with box.holding(workspace.turn):
            await box.load(await workspace.read())
            done = await self._run(ctx, command, env, files, collect)
            if not keep:
                return done
            rejected = await workspace.apply(await box.changes())
        return replace(done, rejected=(*done.rejected, *rejected))

    async def _run(
        self,
        ctx: Context,
        command: list[str] | str,
        env: dict[str, str] | None,
        files: dict[str, str] | None,
        collect: list[str] | None,
    ) -> Completed:
        if files:
            said: dict[str | PurePosixPath, bytes | str] = {}
            said.update(files)
            await ctx.sandbox.write(said)
        if isinstance(command, str):
            return await ctx.sandbox.python(
                command, env=env, collect=collect or (), timeout=self.timeout
            )
        return await ctx.sandbox.run(command, env=env, collect=collect or (), timeout=self.timeout)


class PythonAgent(BoxAgent):
    """Runs Python code."""

    @performs(python)
    async def run_python(
        self,
        ctx: Context,
        code: str,
        files: dict[str, str] = {},  # noqa: B006
        collect: list[str] = [],  # noqa: B006
    ) -> CommandResult:
        """Run Python code."""
        return in_words(await self.run(ctx, code, files=files, collect=collect))


class ShellAgent(BoxAgent):
    """Runs commands of a shell."""

    @performs(shell)
    async def run_shell(
        self,
        ctx: Context,
        command: str,
        files: dict[str, str] = {},  # noqa: B006
        collect: list[str] = [],  # noqa: B006
    ) -> CommandResult:
        """Run a command of a shell."""
        return in_words(await self.run(ctx, ["sh", "-c", command], files=files, collect=collect))


def in_words(done: Completed) -> CommandResult:
    """Return how a command ended, in words."""
    return CommandResult(
        status=done.status.value,
        exit_code=done.exit_code,
        stdout=done.text,
        stderr=done.error_text,
        truncated=done.stdout_truncated or done.stderr_truncated,
        duration=done.duration,
        artifacts={one.path: one.content.decode(errors="replace") for one in done.artifacts},
        rejected={one.path: one.reason for one in done.rejected},
    )
