"""Answers: what fits a question's schema fits its type, so that the run can go on with it."""

from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from typing import Any, TypedDict
from uuid import UUID

import anyio
import attrs
import pytest

from astro import Context, InvalidArgumentsError, task
from astro.engine.run import RunHandle
from tests.engine.conftest import OpenEngine

pytestmark = pytest.mark.anyio

NOON = datetime(2026, 5, 1, 12, tzinfo=UTC)


@attrs.frozen
class Booking:
    at: datetime
    table: int


class Visit(TypedDict):
    at: datetime


KINDS: dict[str, Any] = {
    "datetime": datetime,
    "date": date,
    "time": time,
    "timedelta": timedelta,
    "UUID": UUID,
    "Decimal": Decimal,
    "bytes": bytes,
    "list": list[datetime],
    "union": datetime | None,
    "class": Booking,
    "typed": Visit,
    "keys": dict[datetime, int],
}


@task
async def asks(ctx: Context, kind: str) -> str:
    return repr(await ctx.ask("Which?", KINDS[kind]))


async def asked(run: RunHandle[Any]) -> None:
    """Return when the run waits for its answer."""
    async for record in run:
        if record.kind == "asked":
            return


@pytest.mark.parametrize(
    ("kind", "wrong", "said", "right", "given"),
    [
        ("datetime", "tomorrow", "no date-time", NOON.isoformat(), NOON),
        ("datetime", "", "no date-time", "2026-05-01T12:00:00", NOON.replace(tzinfo=None)),
        ("datetime", "2026-02-31T12:00:00Z", "no date-time", NOON, NOON),
        ("date", "2026-02-31", "no date", "2026-05-01", NOON.date()),
        ("time", "noon", "no time", "12:00:00", time(12)),
        ("timedelta", "1 day", "no duration", "P1D", timedelta(days=1)),
        ("UUID", "me", "no uuid", str(UUID(int=1)), UUID(int=1)),
        ("Decimal", "much", "no decimal", "1.5", Decimal("1.5")),
        ("bytes", "*", "no base64", "aGk=", b"hi"),
        ("list", [NOON, "x"], r"\$\[1\]: 'x' is no date-time", [NOON], [NOON]),
        ("union", "x", "no date-time", None, None),
        ("class", {"at": "x", "table": 1}, "at: 'x' is no", Booking(NOON, 1), Booking(NOON, 1)),
        ("typed", {"at": "x"}, "at: 'x' is no", {"at": NOON}, {"at": NOON}),
        ("keys", {"x": 1}, "'x' is no date-time", {NOON.isoformat(): 1}, {NOON: 1}),
    ],
)
async def test_an_answer_that_is_only_text_leaves_the_question_open(
    engine_of: OpenEngine, kind: str, wrong: Any, said: str, right: Any, given: Any
) -> None:
    with anyio.fail_after(20):
        async with engine_of(asks) as engine:
            run = await engine.start(asks, kind)
            await asked(run)
            with pytest.raises(InvalidArgumentsError, match=said):
                await run.answer(wrong)
            await run.answer(right)
            assert await run == repr(given)
