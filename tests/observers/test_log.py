"""Logging of records: what a line says, what it carries, and what it keeps to itself."""

from __future__ import annotations

import io
import json
import logging
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest

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
    PausedRecord,
    Raw,
    Record,
    ReleasedRecord,
    ResumedRecord,
    SleptRecord,
    SpentRecord,
    StartedRecord,
    State,
    SucceededRecord,
    UndoingRecord,
)
from astro.observers.log import JsonFormatter, LogObserver, TextFormatter, configure_logging

pytestmark = pytest.mark.anyio
RUN = "0" * 32
NOW = datetime(2026, 1, 1, tzinfo=UTC)
CALL = "greet:00ff.0"
CREATED = CreatedRecord(
    seq=1, at=NOW, task="welcome", args=Raw(b'{"password":"s3cret"}'), seed="0", tenant="default"
)
STARTED = StartedRecord(seq=2, at=NOW, call=CALL, task="greet", args=Raw(b'{"name":"Ada"}'))
BROKEN = Failure(type="ValueError", message="no\nsuch name")


class Lines(logging.Handler):
    """Keeps what is logged."""

    def __init__(self) -> None:
        super().__init__()
        self.records: list[logging.LogRecord] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.records.append(record)

    def said(self) -> list[str]:
        return [record.getMessage() for record in self.records]


@pytest.fixture
def lines() -> Lines:
    return Lines()


@pytest.fixture
def logger(lines: Lines) -> logging.Logger:
    logger = logging.Logger("test", logging.DEBUG)
    logger.addHandler(lines)
    return logger


async def test_each_record_is_one_line_with_the_fields_of_its_run(
    logger: logging.Logger, lines: Lines
) -> None:
    await LogObserver(logger).observe("acme", RUN, [CREATED, STARTED])
    started: Any = lines.records[1]
    assert lines.said() == ["welcome was accepted", "greet attempt 1 started"]
    assert (started.run, started.trace_id, started.tenant) == (RUN, RUN, "acme")
    assert (started.task, started.call, started.attempt) == ("greet", CALL, 1)
    assert (started.record, started.seq, started.levelno) == ("started", 2, logging.INFO)


async def test_a_result_carries_the_task_that_its_call_began_with(
    logger: logging.Logger, lines: Lines
) -> None:
    renamed = StartedRecord(seq=2, at=NOW, call="node/0f.0", task="greet")
    done = SucceededRecord(seq=3, at=NOW, call="node/0f.0", result=Raw(b'"hi"'))
    await LogObserver(logger).observe("acme", RUN, [renamed, done])
    last: Any = lines.records[-1]
    assert last.task == "greet"


async def test_an_observer_that_came_later_takes_the_task_from_the_identity(
    logger: logging.Logger, lines: Lines
) -> None:
    await LogObserver(logger).observe("acme", RUN, [SucceededRecord(seq=3, at=NOW, call=CALL)])
    assert lines.said() == ["greet succeeded"]


async def test_arguments_and_results_stay_out_of_the_log(
    logger: logging.Logger, lines: Lines
) -> None:
    done = FinishedRecord(seq=2, at=NOW, state=State.DONE, result=Raw(b'"s3cret"'))
    await LogObserver(logger).observe("acme", RUN, [CREATED, done])
    assert "s3cret" not in "".join(JsonFormatter().format(record) for record in lines.records)


async def test_arguments_and_results_are_logged_when_asked_for(
    logger: logging.Logger, lines: Lines
) -> None:
    done = FinishedRecord(seq=2, at=NOW, state=State.DONE, result=Raw(b'"hi"'))
    await LogObserver(logger, values=True).observe("acme", RUN, [CREATED, done])
    values = [json.loads(JsonFormatter().format(record))["values"] for record in lines.records]
    assert values == [{"args": {"password": "s3cret"}}, {"result": "hi"}]


@pytest.mark.parametrize(
    ("record", "level"),
    [
        (
            AttemptFailedRecord(seq=1, at=NOW, call=CALL, attempt=1, failure=BROKEN, retry_at=NOW),
            30,
        ),
        (ParkedRecord(seq=1, at=NOW, needs={"task": "greet"}), 30),
        (FailedRecord(seq=1, at=NOW, call=CALL, attempt=1, failure=BROKEN), 40),
        (FinishedRecord(seq=1, at=NOW, state=State.FAILED, failure=BROKEN), 40),
        (FinishedRecord(seq=1, at=NOW, state=State.DONE), 10),
    ],
)
async def test_what_is_unusual_is_logged_louder(
    logger: logging.Logger, lines: Lines, record: Record, level: int
) -> None:
    await LogObserver(logger, logging.DEBUG).observe("acme", RUN, [record])
    assert [line.levelno for line in lines.records] == [level]


async def test_a_line_that_nobody_wants_is_not_written(
    logger: logging.Logger, lines: Lines
) -> None:
    logger.setLevel(logging.WARNING)
    await LogObserver(logger).observe("acme", RUN, [CREATED, STARTED])
    assert lines.records == []


async def test_a_message_with_line_breaks_stays_one_line(
    logger: logging.Logger, lines: Lines
) -> None:
    failed = FailedRecord(seq=1, at=NOW, call=CALL, attempt=1, failure=BROKEN)
    await LogObserver(logger).observe("acme", RUN, [failed])
    assert lines.said() == ["greet failed for good: ValueError: no\\nsuch name"]


EVERY_KIND: list[tuple[Record, str]] = [
    (CREATED, "welcome was accepted"),
    (OwnedRecord(seq=1, at=NOW, owner="e1", token=1), "Engine e1 owns the run"),
    (ReleasedRecord(seq=1, at=NOW, owner="e1"), "Engine e1 gave the run up"),
    (STARTED, "greet attempt 1 started"),
    (SucceededRecord(seq=1, at=NOW, call=CALL, cached=True), "greet succeeded from the cache"),
    (AbandonedRecord(seq=1, at=NOW, call=CALL), "greet was abandoned"),
    (
        SleptRecord(seq=1, at=NOW, call="sleep:0.0", parent="w", until=NOW),
        "sleep until 2026-01-01T00:00:00+00:00",
    ),
    (
        AskedRecord(
            seq=1, at=NOW, call="ask:0.0", parent="w", question="Publish?", schema=Raw(b"{}")
        ),
        "ask 'Publish?'",
    ),
    (
        AnsweredRecord(seq=1, at=NOW, call="ask:0.0", answer=Raw(b"true"), by="ada"),
        "ask was answered by ada",
    ),
    (
        NotedRecord(seq=1, at=NOW, call="now:0.0", parent="w", moment=NOW),
        "now is 2026-01-01T00:00:00+00:00",
    ),
    (
        EmittedRecord(seq=1, at=NOW, call="emit:0.0", parent="w", name="progress", value=Raw(b"1")),
        "emit progress",
    ),
    (
        SpentRecord(seq=1, at=NOW, call="spend:0.0", money=0.5, tokens=10),
        "spend 0.5 money, 10 tokens",
    ),
    (
        ChildStartedRecord(seq=1, at=NOW, call="greet:1.0", parent="w", run="a" * 4, task="greet"),
        "greet run aaaa started",
    ),
    (ChildFinishedRecord(seq=1, at=NOW, run="aaaa", state=State.DONE), "Run aaaa ended: done"),
    (PausedRecord(seq=1, at=NOW), "The run was paused"),
    (ResumedRecord(seq=1, at=NOW), "The run was resumed"),
    (CancelRequestedRecord(seq=1, at=NOW, reason="x"), "Cancelling was asked for: x"),
    (ParkedRecord(seq=1, at=NOW, needs={"task": "a"}), "The run waits for task 'a'"),
    (DivergedRecord(seq=1, at=NOW, call=CALL, missing=("a",)), "greet no longer asks for a"),
    (UndoingRecord(seq=1, at=NOW, call=CALL, calls=("a", "b")), "greet is undone: 2 calls"),
    (IgnoredRecord(seq=1, at=NOW, message="pause"), "A message came too late: pause"),
    (FinishedRecord(seq=1, at=NOW, state=State.DONE), "The run ended: done"),
]


@pytest.mark.parametrize(("record", "line"), EVERY_KIND, ids=[r.kind for r, _ in EVERY_KIND])
async def test_every_kind_of_record_has_a_sentence(
    logger: logging.Logger, lines: Lines, record: Record, line: str
) -> None:
    await LogObserver(logger).observe("acme", RUN, [record])
    assert lines.said() == [line]


# --- Formatters and the opt-in helper ----------------------------------------------------------


def made(message: str, **extra: Any) -> logging.LogRecord:
    return logging.makeLogRecord(
        {"name": "astro", "levelname": "INFO", "msg": message, "created": 0.0, **extra}
    )


def test_a_json_line_has_the_fields_and_nothing_of_logging_itself() -> None:
    line = json.loads(JsonFormatter().format(made("hi\nthere", run="r1", attempt=None)))
    assert line == {
        "time": "1970-01-01T00:00:00+00:00",
        "level": "INFO",
        "logger": "astro",
        "message": "hi\nthere",
        "run": "r1",
    }


def test_a_json_line_is_one_line_even_with_a_traceback() -> None:
    try:
        raise ValueError("two\nlines")
    except ValueError:
        text = JsonFormatter().format(made("failed", exc_info=sys.exc_info()))
    assert "\n" not in text
    assert "ValueError: two" in json.loads(text)["exception"]


def test_a_text_line_ends_with_what_it_is_about() -> None:
    text = TextFormatter().format(made("a\nb", run="r1", task="greet", other=1))
    assert text == "00:00:00 INFO    a\\nb  [run=r1 task=greet]"


def test_a_text_line_is_followed_by_its_traceback() -> None:
    try:
        raise ValueError("wrong")
    except ValueError:
        text = TextFormatter().format(made("failed", exc_info=sys.exc_info()))
    assert text.splitlines()[-1] == "ValueError: wrong"


@pytest.fixture
def astro_logger() -> Iterator[logging.Logger]:
    logger = logging.getLogger("astro")
    kept = logger.handlers[:], logger.level, logger.propagate
    yield logger
    logger.handlers[:], logger.level, logger.propagate = kept


def test_configuring_logging_twice_writes_each_line_once(astro_logger: logging.Logger) -> None:
    stream = io.StringIO()
    configure_logging(stream=stream)
    configure_logging(stream=stream, level="debug", format="json")
    logging.getLogger("astro.run").debug("hi", extra={"run": "r1"})
    assert [json.loads(line)["run"] for line in stream.getvalue().splitlines()] == ["r1"]


def test_configuring_logging_leaves_handlers_of_the_application_alone(
    astro_logger: logging.Logger,
) -> None:
    own = logging.NullHandler()
    astro_logger.addHandler(own)
    handler = configure_logging(stream=io.StringIO())
    configure_logging(stream=io.StringIO())
    assert own in astro_logger.handlers
    assert handler not in astro_logger.handlers


def test_importing_the_observer_configures_nothing() -> None:
    code = (
        "import logging, astro.observers.log\n"
        "assert not logging.getLogger().handlers and not logging.getLogger('astro').handlers\n"
        "assert logging.getLogger('astro').level == logging.NOTSET"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)
