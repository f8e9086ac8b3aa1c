"""Assembly: the constructor call of an engine, built from settings.

    LocalEngine(*parts, store=..., sandbox=..., observers=..., limits=..., ...)

Only parts that the settings name are imported. Everything that is wrong with the file, the parts
and their configuration is reported at once.
"""

from __future__ import annotations

import inspect
import logging
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from types import ModuleType
from typing import Any, Final

import attrs

from astro.agents.by_function import FunctionAgent
from astro.core.errors import AstroError, SettingsError, WorkflowError
from astro.core.protocols import Agent, Executor, Observer, Sandbox, Store
from astro.core.task import Task
from astro.core.workflow import Workflow
from astro.engine.local import LocalEngine
from astro.observers.log import LogObserver
from astro.setup import plugins
from astro.setup.builtin import SqliteConfig
from astro.setup.decoding import FAULTY, Place, Report, decode, reason
from astro.setup.settings import AgentSettings, PartSettings, Settings, draft_settings
from astro.setup.workflows import load_workflows

__all__ = [
    "Assembly",
    "assemble",
    "gather",
    "offered",
    "open_engine",
    "sandbox_of",
    "store_file",
    "store_of",
]

_KINDS: Final[Mapping[str, type[Any]]] = {
    plugins.STORES: Store,
    plugins.SANDBOXES: Sandbox,
    plugins.EXECUTORS: Executor,
}
_SHOWN: Final = 4  # verbs that a part lacks


@attrs.frozen(kw_only=True)
class Assembly:
    """The arguments of an engine.

    Attributes:
        parts: Tasks, workflows and agents.
    """

    parts: tuple[Any, ...]
    store: Store
    sandbox: Any = None
    executor: Any = None
    observers: tuple[Observer, ...] = ()

    def engine(self, settings: Settings, *more: Any) -> LocalEngine:
        """Return the engine, with further parts and observers of the application."""
        named: dict[str, Any] = {
            "store": self.store,
            "observers": self.observers,
            "budget": settings.budget,
            "limits": settings.limits,
            "lease_for": settings.lease_for,
            "grace": settings.grace,
        }
        beside = {"sandbox": self.sandbox, "executor": self.executor}
        named |= {name: part for name, part in beside.items() if part is not None}
        return LocalEngine(*_once((*self.parts, *more)), **named)


def assemble(settings: Settings, *parts: Any) -> LocalEngine:
    """Return the engine that settings describe.

    Args:
        parts: Tasks, workflows and agents of the application, beside those of the settings.

    Raises:
        SettingsError: A part cannot be found, loaded or configured; carries all problems.
        InvalidArgumentsError: Two parts have the same name.
        UnknownTaskError: Something needs a task that no part offers.
    """
    report = settings.report.copy()
    assembly = gather(settings, report)
    report.settle()
    return assembly.engine(settings, *parts)


@asynccontextmanager
async def open_engine(
    path: str | Path, *parts: Any, environ: Mapping[str, str] | None = None
) -> AsyncIterator[LocalEngine]:
    """Open the engine that a file of settings describes.

    Args:
        parts: Tasks, workflows and agents of the application, beside those of the settings.
        environ: Variables that override the file; those of the process if left out.

    Raises:
        SettingsError: The file, a part or a variable is wrong; carries all problems.
    """
    async with assemble(draft_settings(path, environ=environ), *parts) as engine:
        yield engine


def gather(settings: Settings, report: Report) -> Assembly:
    """Return the parts that settings name; what is wrong is added to the report."""
    found: list[Any] = []
    for index, name in enumerate(settings.tasks):
        found += _tasks(name, ("tasks", index), report)
    for name, agent in settings.agents.items():
        found += _agent(name, agent, ("agents", name), report)
    for index, file in enumerate(settings.workflows):
        found += _workflows(file, ("workflows", index), report)
    return Assembly(
        parts=tuple(_once(found)),
        store=_store(settings, report),
        sandbox=_beside(plugins.SANDBOXES, settings.sandbox, "sandbox", report),
        executor=_beside(plugins.EXECUTORS, settings.executor, "executor", report),
        observers=_observers(settings),
    )


def store_of(settings: Settings) -> Store:
    """Return the store that settings name, without loading anything else they name.

    Raises:
        SettingsError: It cannot be found, loaded or configured.
    """
    report = settings.report.copy()
    store: Store = _store(settings, report)
    report.settle()
    return store


def sandbox_of(settings: Settings) -> Sandbox | None:
    """Return the sandbox that settings name, if they do.

    Raises:
        SettingsError: It cannot be found, loaded or configured.
    """
    report = settings.report.copy()
    sandbox: Sandbox | None = _beside(plugins.SANDBOXES, settings.sandbox, "sandbox", report)
    report.settle()
    return sandbox


def store_file(settings: Settings) -> Path | None:
    """Return the file that the store is, if it is one.

    Raises:
        SettingsError: The store cannot be found or configured.
    """
    report = settings.report.copy()
    _, config = _recipe(plugins.STORES, settings.store, ("store",), report)
    report.settle()
    return config[0].path if config and isinstance(config[0], SqliteConfig) else None


def _store(settings: Settings, report: Report) -> Any:
    return _part(plugins.STORES, settings.store, ("store",), report)


# --- Tasks and workflows -----------------------------------------------------------------------


def offered(thing: Any) -> list[Any]:
    """Return the tasks, workflows and agents that a module has as names, or the thing itself."""
    if not isinstance(thing, ModuleType):
        return [thing] if _is_part(thing) else []
    return _once(value for value in vars(thing).values() if _is_part(value))


def _is_part(value: Any) -> bool:
    return isinstance(value, (Task, Workflow, Agent)) and not isinstance(value, type)


def _once(parts: Iterable[Any]) -> list[Any]:
    """Return parts without repetitions: a module may import the tasks of another one."""
    return list({id(part): part for part in parts}.values())


def _tasks(name: str, place: Place, report: Report) -> list[Any]:
    thing = _loaded(plugins.load if ":" in name else plugins.load_module, name, place, report)
    if thing is FAULTY:
        return []
    found = offered(thing)
    if not found:
        report.add(place, f"{name} has no task, workflow or agent")
    return found


def _workflows(file: Path, place: Place, report: Report) -> list[Any]:
    try:
        return list(load_workflows(file))
    except (SettingsError, WorkflowError) as error:
        for problem in error.problems:
            report.say(f"{file}, {problem}")
    return []


# --- Parts with a configuration ----------------------------------------------------------------


def _beside(group: str, part: PartSettings | None, name: str, report: Report) -> Any:
    if part is None:
        return None
    if name not in inspect.signature(LocalEngine).parameters:
        report.add((name,), f"this version of ASTRO takes no {name} yet")
        return None
    return _part(group, part, (name,), report)


def _part(group: str, part: PartSettings, place: Place, report: Report) -> Any:
    """Return a store, sandbox or executor."""
    make, config = _recipe(group, part, place, report)
    made = _made(make, config, part.config, place, report)
    if made is FAULTY:
        return FAULTY
    kind = _KINDS[group]
    lacks = [verb for verb in dir(kind) if verb[0] != "_" and not hasattr(made, verb)]
    if lacks:
        known = f"{type(made).__name__} has no {', '.join(lacks[:_SHOWN])}"
        report.add(place, f"{part.use} makes no {kind.__name__.lower()}: {known}")
        return FAULTY
    return made


def _recipe(group: str, part: PartSettings, place: Place, report: Report) -> tuple[Any, Any]:
    """Return what makes a part, and its arguments; `name:argument` fills its first field."""
    use, config = part.use, dict(part.config)
    name, colon, argument = use.partition(":")
    short = bool(colon) and "." not in name and name in plugins.names(group)
    make = _found(group, name if short else use, place, report)
    if make is not FAULTY and short:
        kind = getattr(make, "Config", None)
        fields = [field.alias for field in attrs.fields(kind)] if kind else []
        if not fields or not argument:
            report.add(place, f"{name} takes {'an' if fields else 'no'} argument after the colon")
            return FAULTY, FAULTY
        config = {fields[0]: argument} | config
    return make, _config(make, config, place, report)


def _agent(name: str, agent: AgentSettings, place: Place, report: Report) -> list[Any]:
    made = _found(plugins.AGENTS, agent.use, (*place, "use"), report)
    if made is FAULTY:
        return []
    if isinstance(made, Agent) and not isinstance(made, type):
        if agent.config:
            report.add((*place, "config"), f"{agent.use} is an agent already and takes no config")
    else:
        inner = (*place, "config")
        config = _config(made, agent.config, inner, report)
        made = _made(made, config, agent.config, inner, report, name=name)
    if made is FAULTY:
        return []
    if not isinstance(made, Agent):
        report.add((*place, "use"), f"{agent.use} makes no agent")
        return []
    return [_adjusted(made, name, agent, place, report)]


def _adjusted(made: Any, name: str, agent: AgentSettings, place: Place, report: Report) -> Agent:
    """Return the agent with the name, cost and limit that the settings give it."""
    said = {"cost": agent.cost, "limit": agent.limit}
    changes: dict[str, Any] = {key: value for key, value in said.items() if value is not None}
    if isinstance(made, FunctionAgent):
        return attrs.evolve(made, name=name, **changes)
    if made.name != name:
        report.add(
            place, f"the agent calls itself {made.name!r}: write that as its key, or accept `name`"
        )
    for key, value in changes.items():
        try:
            setattr(made, key, value)
        except AttributeError:
            report.add((*place, key), f"{agent.use} does not let its {key} be set")
    agent_made: Agent = made
    return agent_made


def _found(group: str, use: str, place: Place, report: Report) -> Any:
    return _loaded(lambda name: plugins.find(group, name), use, place, report)


def _loaded(load: Any, name: str, place: Place, report: Report) -> Any:
    try:
        return load(name)
    except SettingsError as error:
        for problem in error.problems:
            report.add(place, problem)
    except AstroError as error:
        report.add(place, str(error))
    return FAULTY


def _config(make: Any, given: Mapping[str, Any], place: Place, report: Report) -> Any:
    """Return the arguments that a configuration is: one of the class's `Config`, or none.

    What makes a part is a class, or something else to call that has a `Config`. A function without
    one was not made for this: it may do anything when it is called, so it is not.
    """
    if make is FAULTY:
        return FAULTY
    kind = getattr(make, "Config", None)
    if not callable(make) or (kind is None and not isinstance(make, type)):
        report.add(place, "it is no class, and nothing else to call that has a `Config`")
        return FAULTY
    if kind is not None and not attrs.has(kind):
        report.add(place, "its `Config` is no attrs class")
        return FAULTY
    if kind is None:
        if given:
            report.add(place, "it declares no `Config`, so it takes no configuration")
        return FAULTY if given else ()
    decoded = decode(kind, given, place, report)
    return FAULTY if decoded is FAULTY else (decoded,)


def _made(make: Any, config: Any, given: Any, place: Place, report: Report, **named: Any) -> Any:
    """Return the part that a class or function makes of its configuration."""
    if config is FAULTY:
        return FAULTY
    try:
        return make(*config, **named)
    except Exception as error:
        report.add(place, f"making it fails with {type(error).__name__}: {reason(error, given)}")
        return FAULTY


def _observers(settings: Settings) -> tuple[Observer, ...]:
    said = settings.logging
    if said is None:
        return ()
    return (LogObserver(level=logging.getLevelName(said.level), values=said.values),)
