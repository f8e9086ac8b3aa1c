"""Looking: commands that read a store and change nothing."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any, Final

import anyio
import click
import msgspec

from astro.cli.opening import LARGEST, Place, find_run, open_store, place_options, shorten
from astro.cli.outcome import Code, write, write_json
from astro.cli.wording import entry_line, run_lines, run_row, summary_data, table
from astro.core.protocols import RunQuery, Store
from astro.core.records import Entry, FinishedRecord, Record, State, as_bytes, decode_entry
from astro.decisions.compare import diff as differences
from astro.decisions.compare import explain
from astro.engine.posting import read_all

__all__ = ["diff", "events", "ps", "show"]

_PAGE: Final = 500
_PATIENCE: Final = 0.2  # seconds between looks at a run that goes on
_HEAD: Final = ("RUN", "TASK", "STATE", "RECORDS", "UPDATED", "KEY", "NEEDS")


@click.command()
@click.option("--limit", default=20, show_default=True, type=click.IntRange(1, 10_000))
@click.option("--after", help="Where the next page begins, as the page before says.")
@click.option("-u", "--unfinished", is_flag=True, help="Only runs that have not ended.")
@click.option("--state", "states", multiple=True, type=click.Choice([one.value for one in State]))
@click.option("--task", help="Only runs of this task.")
@place_options
def ps(as_json: bool, **options: Any) -> int:
    """List runs, newest first."""
    return anyio.run(partial(_ps, as_json, **options))


async def _ps(
    as_json: bool,
    *,
    limit: int,
    after: str | None,
    unfinished: bool,
    states: Sequence[str],
    task: str | None,
    **place: Any,
) -> int:
    where = Place(**place)
    query = RunQuery(
        limit=limit,
        after=after,
        unfinished=unfinished,
        task=task,
        states=frozenset(map(State, states)) or None,
    )
    async with open_store(where) as store:
        page = await store.runs(where.tenant, query)
    if as_json:
        runs = [summary_data(run) for run in page.items]
        write_json({"runs": runs, "next": page.next})
        return Code.OK
    short = shorten([run.id for run in page.items])
    write(table(_HEAD, [run_row(run, short[run.id]) for run in page.items]))
    if page.next is not None:
        write([f"There are more: --after {page.next}"])
    return Code.OK


@click.command()
@click.argument("run")
@click.option("--call", help="Say what happened to one call, and why.")
@click.option("--all", "everything", is_flag=True, help="Show all calls, however many.")
@place_options
def show(as_json: bool, **options: Any) -> int:
    """Show a run: its state, its calls, its questions."""
    return anyio.run(partial(_show, as_json, **options))


async def _show(
    as_json: bool, *, run: str, call: str | None, everything: bool, **place: Any
) -> int:
    where = Place(**place)
    async with open_store(where) as store:
        summary = await find_run(store, where.tenant, run)
        records = await read_all(store, where.tenant, summary.id)
        result = await _result(store, where.tenant, records[-1])
    if call is not None:
        try:
            said = explain(records, call)
        except LookupError as error:
            raise click.UsageError(str(error)) from error
        if as_json:
            write_json({"call": call, "explanation": said.splitlines()})
        else:
            write([said])
        return Code.OK
    shown = run_lines(
        summary, records, result=result, everything=everything, options=where.options()
    )
    if as_json:
        write_json(shown.data)
    else:
        write(shown.lines)
    return Code.OK


async def _result(store: Store, tenant: str, last: Record) -> bytes | None:
    if not isinstance(last, FinishedRecord) or last.blob is None:
        return as_bytes(last.result) if isinstance(last, FinishedRecord) else None
    return await store.fetch(tenant, last.blob)


@click.command()
@click.argument("run")
@click.option("-f", "--follow", is_flag=True, help="Wait for further records until the run ends.")
@click.option(
    "--after", default=0, type=click.IntRange(0, LARGEST), help="Only records after this number."
)
@place_options
def events(as_json: bool, **options: Any) -> int:
    """Print the records of a run."""
    return anyio.run(partial(_events, as_json, **options))


async def _events(as_json: bool, *, run: str, follow: bool, after: int, **place: Any) -> int:
    where = Place(**place)
    async with open_store(where) as store:
        summary = await find_run(store, where.tenant, run)
        while True:
            entries = await store.read(where.tenant, summary.id, after=after, limit=_PAGE)
            records = [decode_entry(entry) for entry in entries]
            write(_printed(entries, records, as_json=as_json))
            after = records[-1].seq if records else after
            if records and isinstance(records[-1], FinishedRecord):
                return Code.OK
            if len(records) < _PAGE:
                if not follow or await _has_ended(store, where.tenant, summary.id, after):
                    return Code.OK
                await anyio.sleep(_PATIENCE)


async def _has_ended(store: Store, tenant: str, run: str, after: int) -> bool:
    """Return whether nothing can follow: the records asked for lie beyond the last one."""
    found = await find_run(store, tenant, run)
    return found.state.terminal and found.records <= after


def _printed(entries: Sequence[Entry], records: Sequence[Record], *, as_json: bool) -> list[str]:
    return [entry.body for entry in entries] if as_json else [entry_line(one) for one in records]


@click.command()
@click.argument("left")
@click.argument("right")
@place_options
def diff(as_json: bool, **options: Any) -> int:
    """Compare two runs call by call; exits with 1 if they differ."""
    return anyio.run(partial(_diff, as_json, **options))


async def _diff(as_json: bool, *, left: str, right: str, **place: Any) -> int:
    where = Place(**place)
    async with open_store(where) as store:
        runs = [await find_run(store, where.tenant, one) for one in (left, right)]
        records = [await read_all(store, where.tenant, run.id) for run in runs]
    found = differences(*records)
    if as_json:
        write_json({"differences": msgspec.to_builtins(found)})
    else:
        write([str(one) for one in found] or ["The runs do not differ."])
    return Code.FAILED if found else Code.OK
