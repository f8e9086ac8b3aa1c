"""Settings: what a file and the environment say about an engine, as one frozen value.

A file of YAML, TOML or JSON is read strictly; variables that begin with `ASTRO_` override it;
secrets come from the environment only. This is the only place that reads the environment.
Nothing is imported here by name: `assembly` finds the parts.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from datetime import timedelta
from difflib import get_close_matches
from itertools import takewhile
from pathlib import Path
from typing import Any, Final, Literal, get_type_hints

import attrs
from attrs.validators import ge, gt, optional

from astro.core.errors import nearest
from astro.core.policy import Budget, Limits
from astro.setup.composing import Document
from astro.setup.decoding import FAULTY, AsWritten, Held, Place, Report, decode
from astro.setup.elsewhere import drop_elsewhere
from astro.setup.yaml import read_document

__all__ = [
    "FILES",
    "AgentSettings",
    "LogSettings",
    "PartSettings",
    "Settings",
    "draft_settings",
    "read_settings",
    "settings_file",
]

FILES: Final = ("astro.yaml", "astro.yml", "astro.toml", "astro.json")
"""Names of the file of settings, where none is given."""

_PREFIX: Final = "ASTRO_"
_FILE: Final = "ASTRO_SETTINGS"  # names the file itself
_VARIABLE: Final = re.compile(r"\$\{env:([A-Za-z_][A-Za-z0-9_]*)\}")
_LIKE_ONE: Final = re.compile(r"\$\{\s*env\s*:", re.IGNORECASE)
_PARTS: Final = ("store", "sandbox", "executor")
_ZERO: Final = timedelta(0)


@attrs.frozen(kw_only=True)
class PartSettings:
    """A part and its configuration.

    Attributes:
        use: A name, `name:argument`, or `package.module:Name`.
        config: What the part's `Config` is made of.
    """

    use: str
    config: AsWritten = attrs.field(factory=dict)


@attrs.frozen(kw_only=True)
class AgentSettings(PartSettings):
    """An agent.

    Attributes:
        cost: Relative cost of a call; None keeps the agent's own.
        limit: Calls it takes at the same moment; None keeps the agent's own.
    """

    cost: float | None = attrs.field(default=None, validator=optional(gt(0)))
    limit: int | None = attrs.field(default=None, validator=optional(ge(1)))


@attrs.frozen(kw_only=True)
class LogSettings:
    """How records are logged.

    Attributes:
        level: The least level that is written.
        format: Of lines, where a program such as `astro run` writes them.
        values: Whether arguments, results and answers are logged too.
    """

    level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = "INFO"
    format: Literal["text", "json"] = "text"
    values: bool = False


def _nothing_wrong() -> Report:
    return Report(Document("The settings", None))


@attrs.frozen(kw_only=True)
class Settings:
    """What an engine is made of.

    Attributes:
        store: Where journals are kept.
        sandbox: Where untrusted code runs; without one it does not.
        executor: Where attempts run; None is the engine's own event loop.
        agents: By name.
        tasks: `package.module`, for everything that a module offers, or `package.module:name`.
        workflows: Files.
        limits: How much the engine takes on at once.
        budget: Of every run that has none of its own.
        lease_for: How long another engine waits before it takes over from a dead one.
        grace: How long attempts in flight may finish when the engine closes.
        logging: Whether and how records are logged.
    """

    store: PartSettings = PartSettings(use="sqlite:runs.db")
    sandbox: PartSettings | None = None
    executor: PartSettings | None = None
    agents: Mapping[str, AgentSettings] = attrs.field(factory=dict)
    tasks: tuple[str, ...] = ()
    workflows: tuple[Path, ...] = ()
    limits: Limits = attrs.field(factory=Limits)
    budget: Budget | None = None
    lease_for: timedelta = attrs.field(default=timedelta(seconds=15), validator=gt(_ZERO))
    grace: timedelta = attrs.field(default=timedelta(seconds=10), validator=ge(_ZERO))
    logging: LogSettings | None = None
    report: Report = attrs.field(factory=_nothing_wrong, repr=False, eq=False)


_NAMES: Final = tuple(field.name for field in attrs.fields(Settings) if field.name != "report")


def settings_file(environ: Mapping[str, str] | None = None) -> Path | None:
    """Return the file of settings where none is given: that of `ASTRO_SETTINGS`, or one here."""
    environ = os.environ if environ is None else environ
    if named := environ.get(_FILE):
        return Path(named)
    return next((Path(name) for name in FILES if Path(name).is_file()), None)


def read_settings(
    path: str | Path | None = None, *, environ: Mapping[str, str] | None = None
) -> Settings:
    """Return the settings of a file and the environment.

    Args:
        path: The file; without one, the environment alone speaks.
        environ: Variables; those of the process if left out.

    Raises:
        SettingsError: Something is wrong; carries all of it, with path and line.
        MissingExtraError: The file is YAML and the extra `yaml` is not installed.
    """
    settings = draft_settings(path, environ=environ)
    settings.report.settle()
    return settings


def draft_settings(
    path: str | Path | None = None,
    *,
    environ: Mapping[str, str] | None = None,
    given: Mapping[str, str] | None = None,
) -> Settings:
    """Return the settings as far as they are sound; what is wrong is in their report.

    So that whoever finds the parts can add to it and report everything at once.

    Args:
        given: Settings by name that override everything, as the options of a command do.

    Raises:
        SettingsError: The file cannot be read at all.
    """
    environ = os.environ if environ is None else environ
    if path is None:
        document, folder = Document("The environment", None), Path()
    else:
        document, folder = read_document(path), Path(path).parent
    variables: dict[Place, str] = {}
    report = Report(document, variables, folder)
    data = document.data if document.data is not None else {}
    if not isinstance(data, Mapping):
        report.add((), f"expected a mapping with {', '.join(_NAMES)}")
        data = {}
    merged = _overridden(drop_elsewhere(data, report), environ, variables, report)
    for name, text in (given or {}).items():
        merged[name] = Held(f"--{name}", text)
        variables[(name,)] = f"--{name}"
    return _decoded(merged, environ, report)


def _decoded(data: dict[str, Any], environ: Mapping[str, str], report: Report) -> Settings:
    """Return settings of plain values; a faulty section is left at its default."""
    for key in [key for key in data if key not in _NAMES]:
        report.add((key,), f"{key!r} is unknown here.{nearest(key, _NAMES)}")
    _refuse_references(data, report)
    kinds = get_type_hints(Settings, include_extras=True)
    given: dict[str, Any] = {}
    for field in attrs.fields(Settings):
        if field.name not in _NAMES or data.get(field.name) is None:
            continue
        value: Any = data[field.name]
        if field.name in _PARTS:
            value = _part(value)
        if field.name in (*_PARTS, "agents"):
            value = _resolved(value, (field.name,), environ, report)
        found = decode(kinds[field.name], value, (field.name,), report)
        if found is not FAULTY and _fits(field, found, report):
            given[field.name] = found
    return Settings(**given, report=report)


def _fits(field: attrs.Attribute[Any], value: Any, report: Report) -> bool:
    if field.validator is not None:
        try:
            field.validator(None, field, value)
        except ValueError as error:
            report.add((field.name,), str(error))
            return False
    return True


def _part(value: Any) -> Any:
    """Return the mapping of a part, which may be written as its name alone."""
    value = value.read() if isinstance(value, Held) else value
    if isinstance(value, str):
        return {"use": value}
    if isinstance(value, Mapping):
        config = {key: item for key, item in value.items() if key != "use"}
        return {key: value[key] for key in ("use",) if key in value} | {"config": config}
    return value


# --- Secrets -----------------------------------------------------------------------------------


def _refuse_references(data: Mapping[str, Any], report: Report) -> None:
    """Report references to variables outside the configuration of parts."""
    for key, value in data.items():
        if key in _PARTS:
            continue
        for place, text in _texts(value, (key,)):
            in_config = key == "agents" and len(place) > 3 and place[2] == "config"
            if not in_config and _LIKE_ONE.search(text):
                report.add(
                    place, f"${{env:...}} is for config only; set {_spelled_variable(place)}"
                )


def _spelled_variable(place: Place) -> str:
    names = takewhile(lambda part: isinstance(part, str), place)
    return _PREFIX + "__".join(_upper(str(part)) for part in names)


def _texts(value: Any, place: Place) -> list[tuple[Place, str]]:
    if isinstance(value, str):
        return [(place, value)]
    parts: Any = ()
    if isinstance(value, Mapping):
        parts = value.items()
    elif isinstance(value, list):
        parts = enumerate(value)
    return [found for key, item in parts for found in _texts(item, (*place, key))]


def _resolved(value: Any, place: Place, environ: Mapping[str, str], report: Report) -> Any:
    """Return a value in which references to variables are what these hold."""
    if isinstance(value, Mapping):
        return {k: _resolved(v, (*place, k), environ, report) for k, v in value.items()}
    if isinstance(value, list):
        return [_resolved(v, (*place, i), environ, report) for i, v in enumerate(value)]
    if not isinstance(value, str) or not _LIKE_ONE.search(value) or "config" not in place:
        return value
    at = tuple(part for part in place if part != "config") if place[0] in _PARTS else place
    found = _VARIABLE.fullmatch(value)
    if found is None:
        report.add(at, "a reference stands alone: ${env:NAME}, without text around it")
    elif found[1] not in environ:
        report.add(at, f"the variable {found[1]} is not set")
    return Held(found[1], environ.get(found[1], "")) if found else ""


# --- Variables that override -------------------------------------------------------------------


def _overridden(
    data: dict[str, Any],
    environ: Mapping[str, str],
    variables: dict[Place, str],
    report: Report,
) -> dict[str, Any]:
    """Return settings with what variables say instead: `ASTRO_LIMITS__ATTEMPTS=10`."""
    merged: dict[str, Any] = dict(data)
    for variable in sorted(environ):
        if not variable.startswith(_PREFIX) or variable == _FILE:
            continue
        first, *rest = variable.removeprefix(_PREFIX).split("__")
        if first.lower() not in _NAMES:
            # Another product has this prefix too: only what looks like a slip is one.
            if close := get_close_matches(first.lower(), _NAMES, n=1, cutoff=0.8):
                variables[(first.lower(),)] = variable
                report.add(
                    (first.lower(),), f"there is no such setting. Did you mean {close[0]!r}?"
                )
            continue
        place = _put(merged, [first, *rest], Held(variable, environ[variable]))
        if place:
            variables[place] = variable
        else:
            report.say(f"{variable}: it goes into something that is no mapping")
    return merged


def _put(data: dict[str, Any], parts: list[str], value: Any) -> Place:
    """Put a value where a variable says; return the place, or nothing if there is none."""
    place: list[str | int] = []
    for depth, part in enumerate(parts):
        key = next((key for key in data if _upper(key) == part), part.lower())
        place.append(key)
        if depth == len(parts) - 1:
            data[key] = value
            return tuple(place)
        inner = data.get(key)
        if depth == 0 and key in _PARTS:
            inner = inner.read() if isinstance(inner, Held) else inner
            inner = {"use": inner} if isinstance(inner, str) else inner
        if inner is not None and not isinstance(inner, Mapping):
            return ()
        data[key] = dict(inner or {})
        data = data[key]
    return ()


def _upper(name: str) -> str:
    return re.sub(r"\W", "_", name).upper()
