"""Plug-ins: parts that are found by name, and loaded when they are asked for and not before.

A name is one of ASTRO's own, or of an installed package's entry points in the groups
`astro.stores`, `astro.sandboxes`, `astro.agents` and `astro.executors`, or `package.module:Name`.
This is the only place outside the front door where modules are imported by name.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from importlib import import_module, util
from typing import Any, Final

from astro.core.errors import AstroError, SettingsError, nearest

__all__ = ["AGENTS", "EXECUTORS", "SANDBOXES", "STORES", "find", "load", "load_module", "names"]

STORES: Final = "astro.stores"
SANDBOXES: Final = "astro.sandboxes"
AGENTS: Final = "astro.agents"
EXECUTORS: Final = "astro.executors"

_FILES: Final = (".db", ".sqlite", ".sqlite3")

_OWN: Final[Mapping[str, Mapping[str, str]]] = {
    STORES: {
        "memory": "astro.setup.builtin:MEMORY",
        "sqlite": "astro.setup.builtin:SQLITE",
    },
    SANDBOXES: {"docker": "astro.setup.builtin:DOCKER"},
}


def names(group: str) -> list[str]:
    """Return the names of a group; nothing is loaded."""
    return sorted({*_OWN.get(group, {}), *_installed(group)})


def find(group: str, use: str) -> Any:
    """Return the part of a name, or of `package.module:Name`.

    Raises:
        SettingsError: There is none, or it cannot be loaded.
    """
    if use in (own := _OWN.get(group, {})):
        return load(own[use])
    entries = _installed(group)
    if use in entries:
        return _guarded(entries[use], use)
    if ":" in use or "." in use:
        return load(use)
    known = names(group)
    listed = ", ".join(known) or "nothing"
    raise _refused(
        use,
        f"nothing installed is called {use!r} in {group}, which has {listed}."
        f"{nearest(use, known)} Another part is written package.module:Name",
    )


def load(target: str) -> Any:
    """Return what `package.module:Name` names; `Name` may be dotted.

    Raises:
        SettingsError: There is no such module or name, or importing it fails.
    """
    place, colon, name = target.partition(":")
    if not colon or not name:
        hint = f"; a file of SQLite is sqlite:{target}" if target.endswith(_FILES) else ""
        raise _refused(target, f"{target!r} is not of the form package.module:Name{hint}")
    found: Any = load_module(place)
    for part in name.split("."):
        if not hasattr(found, part):
            known = [one for one in vars(found) if not one.startswith("_")]
            raise _refused(target, f"{place} has no {name!r}.{nearest(part, known)}")
        found = getattr(found, part)
    return found


def load_module(name: str) -> Any:
    """Return a module.

    Raises:
        SettingsError: There is none, or importing it fails.
    """
    if name.endswith(".py") or "/" in name or "\\" in name:
        dotted = name.removesuffix(".py").replace("\\", ".").replace("/", ".").strip(".")
        raise _refused(name, f"{name!r} is a file. Name the module: {dotted}")
    if not name.strip():
        raise _refused(repr(name), f"{name!r} is the name of no module")
    return _guarded(partial(_imported, name), name)


def _imported(name: str) -> Any:
    try:
        return import_module(name)
    except ModuleNotFoundError as missing:
        if missing.name is None or not f"{name}.".startswith(f"{missing.name}."):
            raise  # it exists, and imports something that does not
        raise _refused(name, _unknown_module(name, missing.name)) from missing


def _unknown_module(name: str, missing: str) -> str:
    package, _, last = missing.rpartition(".")
    known = _beside(package)
    if package and (hint := nearest(last, known)):
        return f"there is no module {name!r}." + hint.replace("'", f"'{package}.", 1)
    hint = "" if package else nearest(missing, known)
    return f"there is no module {name!r}.{hint} Is its folder on Python's path, or is it installed?"


def _beside(package: str) -> tuple[str, ...]:
    """Return the names of the modules of a package, or of those at the top."""
    from pkgutil import iter_modules

    if not package:
        return tuple(one.name for one in iter_modules())
    spec = util.find_spec(package)
    places = (spec.submodule_search_locations or []) if spec else []
    return tuple(one.name for one in iter_modules(list(places)))


def _guarded(load: Callable[[], Any], name: str) -> Any:
    """Load something; what goes wrong in the code of others is told with its own words."""
    try:
        return load()
    except AstroError:
        raise
    except Exception as error:
        said = f"{type(error).__name__}: {error}"
        raise _refused(name, f"loading {name} fails with {said}") from error


def _installed(group: str) -> Mapping[str, Callable[[], Any]]:
    """Return what loads each entry point of a group."""
    from importlib.metadata import entry_points

    return {entry.name: entry.load for entry in entry_points(group=group)}


def _refused(name: str, problem: str) -> SettingsError:
    return SettingsError(name, [problem])
