"""Upkeep: what an operator does with a store."""

from __future__ import annotations

import re
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any, Final, cast

import anyio
import click

from astro.cli.opening import Place, open_store, place_options
from astro.cli.outcome import Code, write, write_json
from astro.core.errors import InvalidArgumentsError
from astro.core.fields import as_duration
from astro.core.protocols import Maintenance, Store

__all__ = ["backup", "check_store", "db", "prune"]

_NOTHING: Final = re.compile(r"\s*0+(\.0+)?\s*(ms|s|m|h|d)?\s*")


@click.group()
def db() -> None:
    """Back up, prune or check a store."""


def _text(ctx: click.Context, argument: click.Parameter, path: Path) -> Path:
    """Return a path that databases, which know names as text only, can write to."""
    try:
        str(path).encode()
    except UnicodeEncodeError as error:
        raise click.BadParameter(f"{str(path)!r} is not UTF-8") from error
    return path


@db.command()
@click.argument("target", type=click.Path(path_type=Path), callback=_text)
@place_options
def backup(as_json: bool, target: Path, **place: Any) -> int:
    """Write a consistent copy of the store to TARGET, while it is in use."""
    anyio.run(partial(_backup, Place(**place), target))
    if as_json:
        write_json({"backup": str(target)})
    else:
        write([str(target)])
    return Code.OK


async def _backup(place: Place, target: Path) -> None:
    async with open_store(place) as store:
        await _maintained(store).backup(target)


@db.command()
@click.option(
    "--older-than", required=True, help="Since a run ended, for example 30d; 0s is all that have."
)
@place_options
def prune(as_json: bool, older_than: str, **place: Any) -> int:
    """Remove runs that ended longer ago, with all their children; their keys stay taken."""
    try:
        span = _span(older_than)
    except InvalidArgumentsError as error:
        raise click.BadParameter(str(error), param_hint="--older-than") from error
    count = anyio.run(partial(_prune, Place(**place), span))
    if as_json:
        write_json({"removed": count})
    else:
        write([f"Removed {count} {'run' if count == 1 else 'runs'}."])
    return Code.OK


def _span(said: str) -> timedelta:
    """Return a duration that may also be nothing: whatever has ended."""
    if _NOTHING.fullmatch(said):
        return timedelta(0)
    return as_duration(f"{said}s" if said.isdecimal() else said)


async def _prune(place: Place, span: timedelta) -> int:
    async with open_store(place) as store:
        return await _maintained(store).prune(older_than=span)


@db.command("check")
@place_options
def check_store(as_json: bool, **place: Any) -> int:
    """Verify the file and the hash chain of every run."""
    found = anyio.run(partial(_check, Place(**place)))
    if as_json:
        write_json({"runs": found.runs, "records": found.entries, "problems": list(found.problems)})
    else:
        write([*found.problems, f"Checked {found.runs} runs with {found.entries} records."])
    return Code.FAILED if found.problems else Code.OK


async def _check(place: Place) -> Any:
    async with open_store(place) as store:
        return await _maintained(store).check()


def _maintained(store: Store) -> Maintenance:
    if not all(hasattr(store, verb) for verb in ("backup", "prune", "check")):
        raise InvalidArgumentsError(
            f"{type(store).__name__} cannot be maintained from here.",
            remedy="Use the tools of its database.",
        )
    return cast("Maintenance", store)
