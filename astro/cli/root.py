"""The root command: which commands there are, and where.

The table is all that `astro --help` needs; the module of a command is loaded when it runs.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence
from typing import Any, Final

import click

from astro.cli.outcome import Code, code_of, note, write_error
from astro.core.errors import AstroError, nearest
from astro.setup.plugins import load

__all__ = ["COMMANDS", "run"]

COMMANDS: Final[Mapping[str, tuple[str, str]]] = {
    "run": ("astro.cli.running:run", "Run a workflow or a task, and show how it goes."),
    "ps": ("astro.cli.looking:ps", "List runs, newest first."),
    "show": ("astro.cli.looking:show", "Show a run: its state, its calls, its questions."),
    "events": ("astro.cli.looking:events", "Print the records of a run."),
    "diff": ("astro.cli.looking:diff", "Compare two runs call by call."),
    "answer": ("astro.cli.messaging:answer", "Answer a question of a run."),
    "pause": ("astro.cli.messaging:pause", "Let a run start nothing new."),
    "resume": ("astro.cli.messaging:resume", "Let a paused or parked run go on."),
    "cancel": ("astro.cli.messaging:cancel", "End a run, and undo what has to be undone."),
    "fork": ("astro.cli.messaging:fork", "Start a run that remembers what another one did."),
    "graph": ("astro.cli.checking:graph", "Draw a workflow as SVG or Mermaid."),
    "check": ("astro.cli.checking:check", "Report every problem of a file or module."),
    "sandbox": ("astro.cli.boxes:sandbox", "Check the sandbox, or get its image."),
    "db": ("astro.cli.upkeep:db", "Back up, prune or check a store."),
    "doctor": ("astro.cli.doctor:doctor", "Report what is missing on this machine."),
}
"""Where each command is, and what it does in one line."""


class _Lazy(click.Group):
    """A group whose commands are loaded when they run."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        found: click.Command = load(COMMANDS[cmd_name][0])
        return found

    def resolve_command(self, ctx: click.Context, args: list[str]) -> Any:
        if args and args[0] not in COMMANDS and not args[0].startswith("-"):
            ctx.fail(f"There is no command {args[0]!r}.{nearest(args[0], COMMANDS)}")
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, help) for name, (_, help) in COMMANDS.items()])


@click.command(cls=_Lazy, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="astro-orchestrator", prog_name="astro")
def _root() -> None:
    """Durable multi-agent orchestration, from the command line."""


def run(arguments: Sequence[str]) -> int:
    """Run a command and return its exit code."""
    if os.getcwd() not in sys.path:
        sys.path.insert(0, os.getcwd())  # `astro run module:task` finds modules here
    as_json = "--json" in arguments
    try:
        result = _root.main(list(arguments), prog_name="astro", standalone_mode=False)
        return result if isinstance(result, int) else Code.OK
    except click.ClickException as error:
        _show(error, as_json=as_json)
        return error.exit_code if error.exit_code != 1 else Code.USAGE
    except click.exceptions.Exit as end:
        return end.exit_code
    except (KeyboardInterrupt, click.Abort):
        note("Interrupted.")
        return Code.INTERRUPTED
    except BrokenPipeError:
        # Whoever read the output has had enough; nothing may be written at exit either.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return Code.OK
    except ExceptionGroup as group:
        found = _astro_error(group)
        if found is None:
            raise
        return _told(found, as_json=as_json)
    except AstroError as error:
        return _told(error, as_json=as_json)


def _astro_error(group: ExceptionGroup[Exception]) -> AstroError | None:
    """Return the error that ended concurrent work, if it is one of ours."""
    for error in group.exceptions:
        found = _astro_error(error) if isinstance(error, ExceptionGroup) else error
        if isinstance(found, AstroError):
            return found
    return None


def _told(error: AstroError, *, as_json: bool) -> int:
    code = code_of(error)
    kind = type(error).__name__
    write_error(error.problem, error.remedy, kind=kind, code=code, as_json=as_json)
    return code


def _show(error: click.ClickException, *, as_json: bool) -> None:
    if as_json:
        write_error(error.format_message(), "", kind="UsageError", code=Code.USAGE, as_json=True)
    else:
        error.show()
