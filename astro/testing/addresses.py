"""Addresses: where another process finds what this one has, and the command that starts it."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Iterator, Mapping, Sequence
from datetime import timedelta
from pathlib import Path
from types import ModuleType
from typing import Any

import attrs

__all__ = ["address_of", "command_for"]


def address_of(value: Any) -> tuple[str, str] | None:
    """Return the module and the name by which another process can import something, if any."""
    for module in _homes(value):
        for name, found in list(vars(module).items()):
            if found is value:
                return module.__name__, name
    return None


def _homes(value: Any) -> Iterator[ModuleType]:
    """Give the modules that may have something: first those that should."""
    made_of = getattr(value, "fn", value)  # tasks and agents are made of functions
    likely = (getattr(made_of, "__module__", ""), type(value).__module__)
    for name in dict.fromkeys((*likely, *sys.modules)):
        module = sys.modules.get(name)
        if isinstance(module, ModuleType) and module.__name__ != "__main__":
            yield module


def command_for(function: Any, args: Sequence[Any], options: Mapping[str, Any]) -> str:
    """Return a command of one line that calls a function; empty if it cannot be told.

    Args:
        args: What has an address.
        options: What has an address or is written as Python shows it.
    """
    names: dict[tuple[str, str], str] = {}
    try:
        called = _word(function, names)
        said = [_word(one, names) for one in args]
        said += [f"{name}={_word(one, names)}" for name, one in options.items()]
    except LookupError:
        return ""
    imports = [
        f"from {module} import {name}" + (f" as {word}" if word != name else "")
        for (module, name), word in names.items()
    ]
    code = "; ".join([*imports, f"{called}({', '.join(said)})"])
    path = ":".join(_path())
    return (f"PYTHONPATH={shlex.quote(path)} " if path else "") + shlex.join(
        [_beneath(Path(sys.executable)), "-c", code]
    )


def _word(value: Any, names: dict[tuple[str, str], str]) -> str:
    """Return how code names something, and note what it has to import for that."""
    if isinstance(value, (bool, int, float, str)):
        return repr(value)
    if isinstance(value, (list, tuple)):
        return f"[{', '.join(_word(one, names) for one in value)}]"
    if isinstance(value, Mapping):
        pairs = (f"{_word(key, names)}: {_word(one, names)}" for key, one in value.items())
        return f"{{{', '.join(pairs)}}}"
    address = address_of(value)
    if address is None and isinstance(value, timedelta):
        return f"{_word(timedelta, names)}(seconds={value.total_seconds()!r})"
    if address is None and attrs.has(type(value)):
        fields = attrs.asdict(value, recurse=False).items()
        said = (f"{name}={_word(one, names)}" for name, one in fields if one is not None)
        return f"{_word(type(value), names)}({', '.join(said)})"
    if address is None:
        raise LookupError(value)
    taken = {word for other, word in names.items() if other != address}
    word = address[1]
    while word in taken:
        word += "_"
    return names.setdefault(address, word)


def _path() -> list[str]:
    """Return where modules are found beside those that are installed."""
    installed = {Path(sys.prefix), Path(sys.base_prefix), Path(__file__).parents[2]}
    folders = [Path(entry).absolute() for entry in sys.path if entry]
    found = [
        _beneath(folder)
        for folder in folders
        if folder.is_dir() and installed.isdisjoint((folder, *folder.parents))
    ]
    return [folder for folder in dict.fromkeys(found) if folder != "."]


def _beneath(path: Path) -> str:
    """Return a path as it is called from here, if it is beneath."""
    here = Path.cwd()
    return str(path.relative_to(here)) if path.is_relative_to(here) else str(path)
