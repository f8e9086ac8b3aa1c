"""Doctor: what this machine has, what it lacks, and the command that mends it."""

from __future__ import annotations

import platform
import re
import sqlite3
from collections.abc import AsyncIterator, Iterator
from functools import partial
from importlib import metadata
from pathlib import Path
from typing import Any, Final, Literal

import anyio
import anyio.to_thread
import attrs
import click

from astro.cli.opening import Place, place_options, read_place
from astro.cli.outcome import Code, write, write_json
from astro.core.errors import AstroError, SettingsError
from astro.setup.assembly import store_file, store_of

__all__ = ["Finding", "doctor"]

_DISTRIBUTION: Final = "astro-orchestrator"
_SAFE_SQLITE: Final = (3, 51, 3)
_OLDEST_SQLITE: Final = (3, 38, 0)
_PATIENCE: Final = 3  # seconds to wait for Docker
_SENDS_HERE: Final = re.compile(r";[^;]*astro doctor[^;]*$")
_REQUIREMENT: Final = re.compile(r"^([\w.-]+).*extra == ['\"]([\w-]+)['\"]")


@attrs.frozen
class Finding:
    """One line of the report.

    Attributes:
        state: `missing` is no problem until somebody needs the thing.
        remedy: What to do about it; empty where there is nothing to do.
    """

    name: str
    state: Literal["ok", "missing", "warning", "problem"]
    said: str
    remedy: str = ""


@click.command()
@place_options
def doctor(as_json: bool, **place: Any) -> int:
    """Report what is missing on this machine, with the command that mends it."""
    findings = [*_python(), *_sqlite(), *_packages(), *_extras()]
    findings += anyio.run(partial(_services, Place(**place)))
    if as_json:
        write_json({"findings": [attrs.asdict(one) for one in findings]})
    else:
        for one in findings:
            write([f"{one.state:<8} {one.name:<16} {one.said}"])
            if one.remedy:
                write([f"{'':<25} {one.remedy}"])
    bad = any(one.state == "problem" for one in findings)
    return Code.FAILED if bad else Code.OK


def _python() -> Iterator[Finding]:
    yield Finding("python", "ok", f"{platform.python_version()} on {platform.system()}")
    yield Finding("astro", "ok", metadata.version(_DISTRIBUTION))


def _sqlite() -> Iterator[Finding]:
    said = sqlite3.sqlite_version
    if sqlite3.sqlite_version_info < _OLDEST_SQLITE:
        yield Finding("sqlite", "problem", said, "Use a Python that brings SQLite 3.38 or newer.")
    elif sqlite3.sqlite_version_info < _SAFE_SQLITE:
        yield Finding(
            "sqlite",
            "warning",
            f"{said} is older than 3.51.3, which mends a rare corruption in WAL mode",
            "ASTRO's own lock avoids it; let no other program write to the store.",
        )
    else:
        yield Finding("sqlite", "ok", said)


def _packages() -> Iterator[Finding]:
    """Find other distributions that install a package of the same name over this one."""
    owners = {re.sub(r"[-_.]+", "-", name).lower() for name in _owners()}
    foreign = sorted(owners - {_DISTRIBUTION})
    if foreign:
        listed = " ".join(foreign)
        yield Finding(
            "package astro",
            "problem",
            f"{listed} also installs a package called astro; files overwrite each other",
            f"Run: pip uninstall {listed} && pip install --force-reinstall {_DISTRIBUTION}",
        )


def _owners() -> list[str]:
    return list(metadata.packages_distributions().get("astro", []))


def _extras() -> Iterator[Finding]:
    wanted: dict[str, list[str]] = {}
    for requirement in metadata.requires(_DISTRIBUTION) or ():
        found = _REQUIREMENT.match(requirement)
        if found is not None and found[1] != _DISTRIBUTION and found[2] != "all":
            wanted.setdefault(found[2], []).append(found[1])
    for extra, names in sorted(wanted.items()):
        missing = [name for name in names if not _is_installed(name)]
        if missing:
            yield Finding(
                f"extra {extra}",
                "missing",
                f"needs {', '.join(missing)}",
                f"Run: pip install '{_DISTRIBUTION}[{extra}]'",
            )
        else:
            yield Finding(f"extra {extra}", "ok", ", ".join(names))


def _is_installed(name: str) -> bool:
    try:
        metadata.version(name)
    except metadata.PackageNotFoundError:
        return False
    return True


async def _services(place: Place) -> list[Finding]:
    return [
        await anyio.to_thread.run_sync(_docker),
        *[one async for one in _store(place)],
    ]


def _docker() -> Finding:
    """Ask Docker whether it is there."""
    import docker

    remedy = "Start Docker, or set DOCKER_HOST; without it, untrusted code does not run."
    host = docker.utils.kwargs_from_env().get("base_url") or docker.constants.DEFAULT_UNIX_SOCKET
    socket = Path(host.partition("://")[2]) if "unix://" in host else None
    if socket is not None and not socket.exists():
        return Finding("docker", "missing", f"there is no socket {socket}", remedy)
    client = None
    try:
        # With a version the client connects below and not while it is made, so it can be closed.
        client = docker.from_env(timeout=_PATIENCE, version="1.41")
        version = str(client.version().get("Version", "unknown"))
    except Exception as error:  # whatever its client raises, Docker is not there
        return Finding("docker", "missing", f"not reachable: {_first_line(error)}", remedy)
    finally:
        if client is not None:
            client.close()
    return Finding("docker", "ok", version)


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0][:120]


async def _store(place: Place) -> AsyncIterator[Finding]:
    """Yield whether the settings are sound and the store opens."""
    try:
        settings = read_place(place)
        settings.report.settle()
        file = store_file(settings)
    except SettingsError as error:
        for problem in error.problems:
            yield Finding("settings", "problem", problem, "Run: astro check FILE")
        return
    except AstroError as error:
        yield Finding("settings", "problem", error.problem, error.remedy)
        return
    if file is not None and not file.exists():
        yield _folder(file)
        return
    try:
        async with store_of(settings):
            yield Finding("store", "ok", f"{settings.store.use} opens")
    except AstroError as error:
        yield Finding("store", "problem", error.problem, _without_doctor(error.remedy))


def _without_doctor(remedy: str) -> str:
    """Return a remedy without the clause that sends people here."""
    return _SENDS_HERE.sub(".", remedy)


def _folder(file: Path) -> Finding:
    folder = file.absolute().parent
    if folder.is_dir():
        return Finding("store", "ok", f"{file} will be created by the first run")
    return Finding("store", "problem", f"there is no folder {folder}", f"Run: mkdir -p {folder}")
