"""Logging: records as lines of the standard library's `logging`.

Importing configures nothing. An application attaches handlers to the logger `astro` as it likes,
or calls `configure_logging` once. Arguments, results and answers stay out of the log unless asked
for: they are where secrets are.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final, Literal, TextIO

import msgspec

from astro.core.records import (
    AbandonedRecord,
    AnsweredRecord,
    AskedRecord,
    AttemptFailedRecord,
    CancelRequestedRecord,
    ChildFinishedRecord,
    ChildStartedRecord,
    CreatedRecord,
    DivergedRecord,
    EmittedRecord,
    FailedRecord,
    Failure,
    FinishedRecord,
    IgnoredRecord,
    NotedRecord,
    OwnedRecord,
    ParkedRecord,
    Record,
    ReleasedRecord,
    SleptRecord,
    SpentRecord,
    StartedRecord,
    State,
    SucceededRecord,
    UndoingRecord,
    as_bytes,
)

__all__ = ["JsonFormatter", "LogObserver", "TextFormatter", "configure_logging", "sentence"]

_LOGGER: Final = logging.getLogger("astro.run")
_FIELDS: Final = ("run", "task", "call", "attempt", "tenant", "trace_id")
_VALUES: Final = ("args", "result", "answer", "value", "default")
_RUNS: Final = 10_000  # runs whose calls are known by the names of their tasks
_STANDARD: Final = frozenset(
    {*vars(logging.makeLogRecord({})), "asctime", "message", "color_message"}
)


class LogObserver:
    """Writes one line per record.

    Each line carries `run`, `task`, `call`, `attempt`, `tenant`, `trace_id`, `record` (its kind)
    and `seq` as fields. What failed for now is a warning, what failed for good an error.

    Args:
        logger: Where the lines go; `astro.run` if left out.
        level: Of lines that report nothing unusual.
        values: Whether arguments, results and answers are logged too, as the field `values`.
    """

    def __init__(
        self,
        logger: logging.Logger | None = None,
        level: int = logging.INFO,
        *,
        values: bool = False,
    ) -> None:
        self._logger = logger or _LOGGER
        self._level = level
        self._values = values
        self._tasks: dict[str, dict[str, str]] = {}

    async def observe(self, tenant: str, run: str, records: Sequence[Record], /) -> None:
        """Write the lines of records of one run."""
        for record in records:
            task = self._task_of(run, record)
            level = max(self._level, _unusual(record))
            if self._logger.isEnabledFor(level):
                said = f"{task} {sentence(record)}" if task else sentence(record)
                self._logger.log(
                    level, "%s", _one_line(said), extra=self._fields(tenant, run, task, record)
                )

    def _fields(self, tenant: str, run: str, task: str, record: Record) -> dict[str, Any]:
        fields: dict[str, Any] = {
            "run": run,
            "task": task,
            "call": getattr(record, "call", ""),
            "attempt": getattr(record, "attempt", None),
            "tenant": tenant,
            "trace_id": run,
            "record": record.kind,
            "seq": record.seq,
        }
        if self._values and (values := _values_of(record)):
            fields["values"] = values
        return fields

    def _task_of(self, run: str, record: Record) -> str:
        """Return the task that a record is about; most records name only its call."""
        if isinstance(record, CreatedRecord):
            return record.task
        if isinstance(record, FinishedRecord):
            self._tasks.pop(run, None)
            return ""
        call = getattr(record, "call", "")
        if isinstance(record, StartedRecord | ChildStartedRecord):
            if len(self._tasks) > _RUNS:
                self._tasks.pop(next(iter(self._tasks)))  # it ended elsewhere, long ago
            self._tasks.setdefault(run, {})[call] = record.task
            return record.task
        known = self._tasks.get(run, {})
        if isinstance(record, SucceededRecord | FailedRecord | AbandonedRecord):
            found = known.pop(call, None)
        else:
            found = known.get(call)
        # An observer that came later knows the identity only, which begins with the task's name.
        return found or str(call).partition(":")[0]


def _values_of(record: Record) -> dict[str, Any]:
    found = {name: as_bytes(getattr(record, name, msgspec.UNSET)) for name in _VALUES}
    return {name: msgspec.json.decode(raw) for name, raw in found.items() if raw is not None}


def _unusual(record: Record) -> int:
    """Return the least level of a record."""
    match record:
        case AttemptFailedRecord() | ParkedRecord() | DivergedRecord() | UndoingRecord():
            return logging.WARNING
        case FailedRecord() | FinishedRecord(state=State.FAILED):
            return logging.ERROR
        case _:
            return logging.NOTSET


def sentence(record: Record) -> str:
    """Return what a record says of the task it is about, in words and without its values."""
    match record:
        case CreatedRecord(key=key):
            return f"was accepted with key {key}" if key else "was accepted"
        case StartedRecord(attempt=attempt, agent=agent):
            return f"attempt {attempt} started" + (f" by {agent}" if agent else "")
        case SucceededRecord(cached=cached):
            return "succeeded from the cache" if cached else "succeeded"
        case AttemptFailedRecord(attempt=attempt, failure=failure, retry_at=moment):
            return f"attempt {attempt} failed: {_spoken(failure)}; again at {moment.isoformat()}"
        case FailedRecord(failure=failure):
            return f"failed for good: {_spoken(failure)}"
        case AbandonedRecord():
            return "was abandoned"
        case _:
            return _told_of_waiting(record)


def _told_of_waiting(record: Record) -> str:
    match record:
        case AskedRecord(question=question):
            return f"{question!r}"
        case AnsweredRecord(by=by):
            return f"was answered by {by}" if by else "was answered"
        case SleptRecord(until=until):
            return f"until {until.isoformat()}"
        case NotedRecord(moment=moment):
            return f"is {moment.isoformat()}"
        case EmittedRecord(name=name):
            return name
        case SpentRecord(money=money, tokens=tokens):
            return f"{money:g} money, {tokens} tokens"
        case ChildStartedRecord(run=run):
            return f"run {run} started"
        case ChildFinishedRecord(run=run, state=state):
            return f"Run {run} ended: {state.value}"
        case _:
            return _told_of_run(record)


def _told_of_run(record: Record) -> str:
    match record:
        case OwnedRecord(owner=owner):
            return f"Engine {owner} owns the run"
        case ReleasedRecord(owner=owner):
            return f"Engine {owner} gave the run up"
        case CancelRequestedRecord(reason=reason):
            return f"Cancelling was asked for: {reason}"
        case ParkedRecord(needs=needs):
            return "The run waits for " + ", ".join(f"{k} {v!r}" for k, v in needs.items())
        case DivergedRecord(missing=missing):
            return f"no longer asks for {', '.join(missing)}"
        case UndoingRecord(calls=calls):
            return f"is undone: {len(calls)} calls"
        case IgnoredRecord(message=message):
            return f"A message came too late: {message}"
        case FinishedRecord(state=state, failure=failure):
            return f"The run ended: {state.value}" + (f": {_spoken(failure)}" if failure else "")
        case _:
            return f"The run was {record.kind}"


def _spoken(failure: Failure) -> str:
    return f"{failure.type}: {failure.message}"


def _one_line(text: str) -> str:
    """Return text without line breaks and control characters, which could forge a line."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


class JsonFormatter(logging.Formatter):
    """Formats each line as one JSON object, with whatever fields the line carries.

    Always there: `time` (UTC), `level`, `logger`, `message`. An exception is `exception`.
    """

    def format(self, record: logging.LogRecord) -> str:
        """Return the line."""
        line: dict[str, Any] = {
            "time": _moment(record).isoformat(),
            "level": record.levelname,
            "logger": record.name,
            "message": record.getMessage(),
            **_extra(record),
        }
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        if record.stack_info:
            line["stack"] = self.formatStack(record.stack_info)
        return json.dumps(line, default=str)


class TextFormatter(logging.Formatter):
    """Formats each line for people: time, level, message, and the fields of runs behind it."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line, followed by the traceback if it has an exception."""
        extra = _extra(record)
        fields = " ".join(f"{name}={extra[name]}" for name in _FIELDS[:4] if extra.get(name))
        said = _one_line(record.getMessage())
        line = f"{_moment(record):%H:%M:%S} {record.levelname:<7} {said}"
        trace = f"\n{self.formatException(record.exc_info)}" if record.exc_info else ""
        return (f"{line}  [{fields}]" if fields else line) + trace


def _moment(record: logging.LogRecord) -> datetime:
    return datetime.fromtimestamp(record.created, UTC)


def _extra(record: logging.LogRecord) -> Mapping[str, Any]:
    """Return the fields of a line that logging itself does not set."""
    given: Iterable[tuple[str, Any]] = vars(record).items()
    return {name: value for name, value in given if name not in _STANDARD and value is not None}


class _Handler(logging.StreamHandler[TextIO]):
    """The handler that `configure_logging` has set, so that calling it again replaces it."""


def configure_logging(
    *,
    level: int | str = logging.INFO,
    format: Literal["text", "json"] = "text",
    stream: TextIO | None = None,
) -> logging.Handler:
    """Send the lines of ASTRO to a stream, and only there; for programs, not for libraries.

    Calling it again replaces what the call before has set. Other loggers are left alone.

    Args:
        stream: Standard error if left out.

    Returns:
        The handler, so that the caller may change or remove it.
    """
    logger = logging.getLogger("astro")
    for known in logger.handlers[:]:
        if isinstance(known, _Handler):
            logger.removeHandler(known)
    handler = _Handler(stream)
    handler.setFormatter(JsonFormatter() if format == "json" else TextFormatter())
    logger.addHandler(handler)
    logger.setLevel(level.upper() if isinstance(level, str) else level)
    logger.propagate = False
    return handler
