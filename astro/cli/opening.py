"""Opening: what most commands begin with, a store and a run of it.

A store is opened to look at it or to put a message into it; no engine is. A file that is not
there is an error and not a new, empty store.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final, TypeVar

import attrs
import click

from astro.core.errors import InvalidArgumentsError, RunNotFoundError, StoreUnavailableError
from astro.core.protocols import RunQuery, RunSummary, Store
from astro.setup.assembly import store_file, store_of
from astro.setup.settings import Settings, draft_settings, settings_file

__all__ = [
    "LARGEST",
    "Place",
    "find_run",
    "inputs_option",
    "open_store",
    "place_options",
    "read_place",
    "shorten",
    "tasks_option",
]

F = TypeVar("F", bound=Callable[..., Any])

LARGEST: Final = 2**63 - 1
"""The largest whole number that any store keeps."""

_LENGTH: Final = 32
_SHORTEST: Final = 12  # the first 12 digits of an id are the millisecond of its creation
_PAGE: Final = 1_000


@attrs.frozen(kw_only=True)
class Place:
    """Where the runs are, as the options of a command say it.

    Attributes:
        settings: The file of settings, if there is one.
        store: What overrides the store of the settings.
    """

    settings: str | None = None
    store: str | None = None
    tenant: str = "default"

    def options(self) -> list[str]:
        """Return the options that mean this place."""
        said = [("--settings", self.settings), ("--store", self.store)]
        found = [part for name, value in said if value is not None for part in (name, value)]
        return found if self.tenant == "default" else [*found, "--tenant", self.tenant]


def place_options(command: F) -> F:
    """Add the options that say where the runs are, and `--json`."""
    for option in (
        click.option("--json", "as_json", is_flag=True, help="Write JSON."),
        click.option("--tenant", default="default", help="Whose runs.", show_default=True),
        click.option("--store", help="As in settings, for example sqlite:runs.db."),
        click.option(
            "--settings", help="File of settings; astro.yaml or astro.toml here if left out."
        ),
    ):
        command = option(command)
    return command


def tasks_option(command: F) -> F:
    """Add the option that names modules of tasks and agents."""
    added = click.option(
        "--tasks",
        "modules",
        multiple=True,
        metavar="MODULE",
        help="A module whose tasks and agents are needed too; may be repeated.",
    )
    return added(command)


def inputs_option(command: F) -> F:
    """Add the option that names inputs of workflows that declare none."""
    added = click.option(
        "-i",
        "--input",
        "inputs",
        multiple=True,
        metavar="NAME",
        help="A name that workflows without declared inputs may refer to; may be repeated.",
    )
    return added(command)


def read_place(place: Place) -> Settings:
    """Return the settings of a place; what is wrong with them is in their report."""
    path = Path(place.settings) if place.settings is not None else settings_file()
    given = {} if place.store is None else {"store": place.store}
    return draft_settings(path, given=given)


@asynccontextmanager
async def open_store(place: Place) -> AsyncIterator[Store]:
    """Open the store of a place, which must exist.

    Raises:
        SettingsError: The settings are wrong.
        StoreUnavailableError: There is no such store.
    """
    settings = read_place(place)
    file = store_file(settings)
    if file is not None:
        _require_file(file)
    if settings.store.use == "memory":
        raise StoreUnavailableError(
            "A store in memory ends with its process, so there is nothing to see.",
            remedy="Name another one with --store sqlite:FILE.",
        )
    async with store_of(settings) as store:
        yield store


def _require_file(file: Path) -> None:
    remedy = "Name one with --store sqlite:FILE."
    try:
        file.stat()
    except (FileNotFoundError, NotADirectoryError) as error:
        raise StoreUnavailableError(f"There is no store at {file}.", remedy=remedy) from error
    except (OSError, ValueError) as error:
        why = getattr(error, "strerror", None) or "no file has such a name"
        raise StoreUnavailableError(
            f"There is no store at {file}: {why}.", remedy=remedy
        ) from error


async def find_run(store: Store, tenant: str, text: str) -> RunSummary:
    """Return the run of an id, which may be abbreviated to what only one run begins with.

    Raises:
        RunNotFoundError: No run has an id like that.
        InvalidArgumentsError: Several have.
    """
    prefix = text.strip().lower()
    if len(prefix) == _LENGTH:
        found = [*(await store.runs(tenant, RunQuery(ids=frozenset({prefix}), limit=1))).items]
    else:
        found = await _beginning_with(store, tenant, prefix) if prefix else []
    if not found:
        raise RunNotFoundError(text)
    if len(found) > 1:
        listed = ", ".join(one.id for one in found)
        raise InvalidArgumentsError(
            f"Several runs begin with {text!r}: {listed}.", remedy="Write more of the id."
        )
    return found[0]


async def _beginning_with(store: Store, tenant: str, prefix: str) -> list[RunSummary]:
    """Return the runs whose ids begin so, as soon as there are two of them."""
    found: list[RunSummary] = []
    after = None
    while len(found) < 2:
        page = await store.runs(tenant, RunQuery(limit=_PAGE, after=after))
        found += [one for one in page.items if one.id.startswith(prefix)]
        after = page.next
        if after is None:
            break
    return found[:5]


def shorten(ids: list[str]) -> dict[str, str]:
    """Return for each id as much of it as tells it from the others."""
    length = _SHORTEST
    while length < _LENGTH and len({one[:length] for one in ids}) < len(set(ids)):
        length += 1
    return {one: one[:length] for one in ids}
