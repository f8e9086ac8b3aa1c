"""Errors: each names the problem and the remedy.

Every error that ASTRO raises on purpose is an `AstroError`, and also the built-in error it
resembles, so that `except LookupError` does what a reader expects. `retryable` says whether
another attempt of the same thing can help.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any, ClassVar

if TYPE_CHECKING:
    from astro.core.records import Failure

__all__ = [
    "AgentError",
    "AlreadyAnsweredError",
    "AmbiguousCallError",
    "AstroError",
    "BoxLostError",
    "BudgetExceededError",
    "CallFailedError",
    "CallNotFoundError",
    "CodecError",
    "DivergenceError",
    "EngineClosedError",
    "InvalidArgumentsError",
    "JournalCorruptError",
    "KeyConflictError",
    "LeaseLostError",
    "MissingExtraError",
    "NeedsAgentError",
    "PermanentError",
    "RunCancelledError",
    "RunFailedError",
    "RunFinishedError",
    "RunNotFoundError",
    "RunSuspended",
    "SandboxError",
    "SandboxTimeoutError",
    "SandboxUnavailableError",
    "SchemaTooNewError",
    "SettingsError",
    "StoreBusyError",
    "StoreClosedError",
    "StoreError",
    "StoreFullError",
    "StoreUnavailableError",
    "TaskTimeoutError",
    "ToolError",
    "UnknownTaskError",
    "WaitingForAncestorError",
    "WorkflowError",
    "nearest",
]


def nearest(name: str, known: Iterable[str]) -> str:
    """Return `" Did you mean 'x'?"` for the nearest of the known names, or nothing."""
    close = get_close_matches(name, list(known), n=1, cutoff=0.5)
    return f" Did you mean {close[0]!r}?" if close else ""


class AstroError(Exception):
    """The root of all errors that ASTRO raises on purpose.

    Attributes:
        problem: What is wrong, one sentence.
        remedy: What to do about it, one sentence.
        retryable: Whether another attempt of the same thing can help.
    """

    retryable: ClassVar[bool] = False

    def __init__(self, problem: str, *, remedy: str) -> None:
        self.problem = problem
        self.remedy = remedy
        ended = not remedy or problem.endswith((".", "!", "?", ":", "\n"))
        super().__init__(f"{problem}{'' if ended else '.'} {remedy}".strip())

    def __reduce__(self) -> tuple[Any, ...]:
        # Subclasses have constructors of their own, which copies do not go through.
        return _again, (type(self), self.args, self.__dict__)


def _again(kind: type[AstroError], args: tuple[Any, ...], fields: dict[str, Any]) -> AstroError:
    """Return a copy of an error, in this process or in another one."""
    error = kind.__new__(kind)
    error.args = args
    error.__dict__.update(fields)
    return error


class RunSuspended(BaseException):
    """Raised by context verbs after an engine gave the run up (drain, eviction, lost lease).

    It is no `Exception`, so that `except Exception` in a task does not mistake it for a failure.
    The run goes on elsewhere; nothing that happens after it is journaled.
    """


# --- What was asked for is wrong -------------------------------------------------------------


class CodecError(AstroError, ValueError):
    """Raised when a value cannot be kept as JSON of its declared type."""


class InvalidArgumentsError(AstroError, TypeError):
    """Raised when arguments do not fit the parameters of a task."""


class UnknownTaskError(AstroError, LookupError):
    """Raised when no part of an engine offers a task."""

    def __init__(self, name: str, known: Iterable[str]) -> None:
        self.name = name
        super().__init__(
            f"No part of this engine offers the task {name!r}.{nearest(name, known)}",
            remedy="Pass the task, or an agent that performs it, to the engine.",
        )


class WorkflowError(AstroError, ValueError):
    """Raised when a workflow is not well formed; carries every problem that was found.

    Attributes:
        problems: One line each, with line and path where the source has them.
    """

    def __init__(self, name: str, problems: Sequence[str]) -> None:
        self.problems = tuple(problems)
        listed = "\n".join(f"  - {problem}" for problem in problems)
        noun = "problem" if len(problems) == 1 else "problems"
        super().__init__(
            f"Workflow {name!r} has {len(problems)} {noun}:\n{listed}\n",
            remedy="Mend each of them and load it again.",
        )


class SettingsError(AstroError, ValueError):
    """Raised when settings are wrong; carries every problem that was found."""

    def __init__(self, source: str, problems: Sequence[str]) -> None:
        self.problems = tuple(problems)
        listed = "\n".join(f"  - {problem}" for problem in problems)
        noun = "problem" if len(problems) == 1 else "problems"
        super().__init__(
            f"{source} has {len(problems)} {noun}:\n{listed}\n",
            remedy="Mend each of them and try again.",
        )


class MissingExtraError(AstroError, ImportError):
    """Raised when a part needs a package that only an optional extra installs."""

    def __init__(self, part: str, *, extra: str) -> None:
        self.extra = extra
        super().__init__(
            f"{part} needs an optional package.",
            remedy=f"Run: pip install 'astro-orchestrator[{extra}]'",
        )


# --- Inside a task ---------------------------------------------------------------------------


class AmbiguousCallError(AstroError, RuntimeError):
    """Raised when two concurrent asyncio tasks of one attempt ask for the same call."""

    def __init__(self, what: str) -> None:
        super().__init__(
            f"Two concurrent parts of one attempt ask for the same call {what}.",
            remedy="Give each part its own view: ctx.branch('left').call(...).",
        )


class WaitingForAncestorError(AstroError, RuntimeError):
    """Raised when a run waits for a run that waits for it."""


class CallFailedError(AstroError, RuntimeError):
    """Raised in a caller when a call has failed for good.

    Attributes:
        call: Identity of the call.
        failure: What its last attempt raised: type name, message, number of attempts.
    """

    retryable = True  # a new attempt of the caller asks for failed calls again

    def __init__(self, call: str, failure: Failure) -> None:
        self.call = call
        self.failure = failure
        tries = "1 attempt" if failure.attempts == 1 else f"{failure.attempts} attempts"
        super().__init__(
            f"Call {call} failed after {tries}: {failure.type}: {failure.message}",
            remedy=(
                f"{failure.remedy} Catch CallFailedError, or declare the class in "
                "@task(raises=...)."
            ).strip(),
        )


class DivergenceError(AstroError, RuntimeError):
    """Raised when changed code no longer asks for calls whose effects are committed."""


class TaskTimeoutError(AstroError, TimeoutError):
    """Raised when an attempt, a call, a run or a question outlives its time."""

    retryable = True


# --- The outcome of runs ---------------------------------------------------------------------


class CallNotFoundError(AstroError, LookupError):
    """Raised when a run has no call of a name, or several that begin with it."""

    def __init__(self, call: str, calls: Sequence[str]) -> None:
        self.call = call
        listed = ", ".join(calls[:5]) + (", ..." if len(calls) > 5 else "")
        super().__init__(
            f"{call!r} is not one call of this run.",
            remedy=f"Name one of its calls: {listed or 'it has none yet'}.",
        )


class RunFailedError(AstroError, RuntimeError):
    """Raised to those who wait for a run that failed.

    Attributes:
        run: Id of the run.
        failure: What its root task raised.
    """

    def __init__(self, run: str, failure: Failure) -> None:
        self.run = run
        self.failure = failure
        super().__init__(
            f"Run {run} failed: {failure.type}: {failure.message}",
            remedy=f"{failure.remedy} See what happened: astro show {run} --store STORE".strip(),
        )


class RunCancelledError(AstroError, RuntimeError):
    """Raised to those who wait for a run that was cancelled."""

    def __init__(self, run: str, reason: str) -> None:
        self.run = run
        self.reason = reason
        super().__init__(
            f"Run {run} was cancelled: {reason}",
            remedy=f"What it had done can be used again: astro fork {run} --store STORE",
        )


class RunFinishedError(AstroError, RuntimeError):
    """Raised when a message is posted to a run that has ended."""

    def __init__(self, run: str, state: str) -> None:
        self.run = run
        super().__init__(
            f"Run {run} has already ended ({state}).",
            remedy="Fork it, or start a new run.",
        )


class BudgetExceededError(AstroError, RuntimeError):
    """Raised when a reservation would exceed a budget."""


# --- Agents and sandboxes --------------------------------------------------------------------


class AgentError(AstroError, RuntimeError):
    """Raised by an agent that could not perform a call."""

    retryable = True


class NeedsAgentError(AgentError):
    """Raised by the body of a task that only agents perform."""

    retryable = False

    def __init__(self, task: str) -> None:
        super().__init__(
            f"The task {task!r} has no body of its own.",
            remedy="Pass an agent that performs it to the engine.",
        )


class ToolError(AgentError):
    """Raised by a tool whose failure another attempt may mend."""


class PermanentError(AgentError):
    """Raised by a task to say that no further attempt can help."""

    retryable = False

    def __init__(self, problem: str, *, remedy: str = "") -> None:
        super().__init__(problem, remedy=remedy)


class SandboxError(AstroError, RuntimeError):
    """The family of errors of sandboxes."""


class SandboxUnavailableError(SandboxError):
    """Raised when untrusted code should run and no sandbox can take it."""


class BoxLostError(SandboxError):
    """Raised when a box is gone, and with it what was in its work folder."""


class SandboxTimeoutError(SandboxError, TimeoutError):
    """Raised when a sandbox does not answer in time."""

    retryable = True


# --- Stores ----------------------------------------------------------------------------------


class StoreError(AstroError, RuntimeError):
    """The family of errors of stores."""


class StoreUnavailableError(StoreError):
    """Raised when a store cannot be reached, read or written."""

    retryable = True


class StoreBusyError(StoreUnavailableError):
    """Raised when somebody else holds the store's lock for too long."""


class StoreFullError(StoreUnavailableError):
    """Raised when the disk under a store is full."""


class StoreClosedError(StoreError):
    """Raised when a store is used outside its `async with` block."""


class SchemaTooNewError(StoreError):
    """Raised when a newer ASTRO wrote the store."""


class JournalCorruptError(StoreError):
    """Raised when the records of a run do not fit its hash chain."""


class LeaseLostError(StoreError):
    """Raised when an engine commits to a run that another engine now owns."""

    def __init__(self, owner: str, run: str) -> None:
        self.owner = owner
        self.run = run
        super().__init__(
            f"Engine {owner} lost its lease on run {run}.",
            remedy="Discard the result; if this repeats, lengthen lease_for.",
        )


class RunNotFoundError(StoreError, LookupError):
    """Raised when a tenant has no run of that id."""

    def __init__(self, run: str) -> None:
        self.run = run
        super().__init__(f"There is no run {run!r:.80}.", remedy="List the runs: astro ps")


class KeyConflictError(StoreError, ValueError):
    """Raised when a key names a run of another task or other arguments."""

    def __init__(self, key: str, run: str) -> None:
        self.key = key
        self.run = run
        super().__init__(
            f"The key {key!r} already names run {run}, which has another task or arguments.",
            remedy="Choose another key, or ask for what the first run was asked for.",
        )


class AlreadyAnsweredError(StoreError, ValueError):
    """Raised when a question is answered twice, or after its deadline."""


class EngineClosedError(AstroError, RuntimeError):
    """Raised when an engine is used before it opened, after it closed, or after it failed."""
