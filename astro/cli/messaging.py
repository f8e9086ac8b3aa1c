"""Messaging: commands that put a message into a run's inbox, whoever owns it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import suppress
from functools import partial
from typing import Any, Final

import anyio
import click
import msgspec

from astro.cli.opening import Place, find_run, open_store, place_options
from astro.cli.outcome import Code, note, write, write_json
from astro.core.clock import SystemClock, SystemIds
from astro.core.errors import InvalidArgumentsError
from astro.core.protocols import RunSummary, Store
from astro.engine import posting
from astro.engine.forking import forked

__all__ = ["answer", "cancel", "fork", "pause", "resume"]

_WORDS: Final = {"yes": True, "y": True, "no": False, "n": False}


@click.command()
@click.argument("run")
@click.argument("value")
@click.option("--call", help="Which question, if several are open; see `astro show RUN`.")
@click.option("--by", default="", help="Who answers.")
@place_options
def answer(as_json: bool, **options: Any) -> int:
    """Answer a question of a run; VALUE is JSON, or text."""

    async def post(store: Store, run: RunSummary, *, value: str, call: str | None, by: str) -> None:
        await _answer_one_of(store, run, _readings(value), call=call, by=by)

    return anyio.run(partial(_post, post, "answered", as_json, **options))


def _readings(value: str) -> list[Any]:
    """Return what a text may mean as an answer, the likeliest first."""
    found: list[Any] = []
    # The shell passes on bytes that are no text, and brackets without end.
    with suppress(msgspec.MsgspecError, RecursionError, UnicodeError):
        found.append(msgspec.json.decode(value))
    if value.lower() in _WORDS:
        found.append(_WORDS[value.lower()])
    return [*found, value]


async def _answer_one_of(
    store: Store, run: RunSummary, values: list[Any], *, call: str | None, by: str
) -> None:
    """Answer with the first value that fits the question."""
    refused: list[InvalidArgumentsError] = []
    for value in values:
        try:
            await posting.answer(store, run.tenant, run.id, value, call=call, by=by)
        except InvalidArgumentsError as error:
            refused.append(error)
        else:
            return
    raise refused[0]


@click.command()
@click.argument("run")
@place_options
def pause(as_json: bool, **options: Any) -> int:
    """Let a run start nothing new; what is in flight finishes."""

    async def post(store: Store, run: RunSummary) -> None:
        await posting.pause(store, run.tenant, run.id)

    return anyio.run(partial(_post, post, "pausing", as_json, **options))


@click.command()
@click.argument("run")
@place_options
def resume(as_json: bool, **options: Any) -> int:
    """Let a paused or parked run go on."""

    async def post(store: Store, run: RunSummary) -> None:
        await posting.resume(store, run.tenant, run.id)

    return anyio.run(partial(_post, post, "resuming", as_json, **options))


@click.command()
@click.argument("run")
@click.option("--reason", default="", help="Why; it is kept with the run.")
@place_options
def cancel(as_json: bool, **options: Any) -> int:
    """End a run, and undo what has to be undone."""

    async def post(store: Store, run: RunSummary, *, reason: str) -> None:
        await posting.cancel(store, run.tenant, run.id, reason)

    return anyio.run(partial(_post, post, "cancelling", as_json, **options))


async def _post(
    post: Callable[..., Awaitable[None]],
    what: str,
    as_json: bool,
    *,
    run: str,
    settings: str | None,
    store: str | None,
    tenant: str,
    **said: Any,
) -> int:
    place = Place(settings=settings, store=store, tenant=tenant)
    async with open_store(place) as opened:
        found = await find_run(opened, tenant, run)
        await post(opened, found, **said)
        found = await find_run(opened, tenant, found.id)
    if as_json:
        write_json({"run": found.id, "state": found.state.value, "owned": bool(found.owner)})
        return Code.OK
    write([f"{found.id} {found.state.value if found.state.terminal else what}"])
    if found.owner is None and not found.state.terminal:
        note("No engine has the run at the moment: it happens when one takes it up.")
    return Code.OK


@click.command()
@click.argument("run")
@click.option("--at", type=click.IntRange(1), help="Number of the last record that counts.")
@place_options
def fork(as_json: bool, **options: Any) -> int:
    """Start a run that remembers what another one did.

    Calls that were in flight at that point happen again, with new keys.
    """
    return anyio.run(partial(_fork, as_json, **options))


async def _fork(as_json: bool, *, run: str, at: int | None, **place: Any) -> int:
    where = Place(**place)
    async with open_store(where) as store:
        found = await find_run(store, where.tenant, run)
        records = await posting.read_all(store, where.tenant, found.id)
        if at is not None and at > len(records):
            raise click.BadParameter(f"the run has {len(records)} records", param_hint="--at")
        new = forked(
            records,
            source=found.id,
            at=at or len(records),
            id=SystemIds().new(),
            now=SystemClock().now(),
        )
        await store.create(where.tenant, new)
    if as_json:
        write_json({"run": new.id, "source": found.id})
    else:
        write([new.id])
        note("It goes on when an engine that has its task takes it up.")
    return Code.OK
