"""Elsewhere: keys of the audited platform's `agents.yaml` and `system_config.yaml`.

Each has a place in ASTRO or a reason why it has none; an error for such a key says which. The
table is also printed in the reference of settings, and a test compares the two.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from astro.setup.decoding import Place, Report

__all__ = ["ELSEWHERE", "drop_elsewhere"]

_APPLICATION: Final = "is the application's: ASTRO is a library and serves nothing by itself"
_METHODS: Final = "is not said here: a class performs what its methods marked @performs(task) name"
_TASKS: Final = "belongs to a task, where its author knows it: @task(retry=..., timeout=...)"
_LIMITS: Final = "is now limits: {runs: ..., attempts: ..., tasks: {NAME: ...}}"
_NO_LOCAL: Final = "does not exist: untrusted code runs in a sandbox or not at all"
_LOGS: Final = "is the application's: attach handlers of logging to the logger `astro`"
_OBSERVERS: Final = "is an observer, which the application passes: LocalEngine(observers=[...])"
_SECRETS: Final = "does not exist: secrets come from the environment, as ${env:NAME} in a config"

ELSEWHERE: Final[Mapping[tuple[str, ...], str]] = {
    # agents.yaml
    ("agents", "*", "name"): "is now the key of the agent: agents: {NAME: {use: ...}}",
    ("agents", "*", "type"): "is now `use`: package.module:Class, or the name of an entry point",
    ("agents", "*", "class"): "is now `use`: package.module:Class, or the name of an entry point",
    ("agents", "*", "capabilities"): _METHODS,
    ("agents", "*", "tools"): _METHODS,
    ("agents", "*", "max_concurrent_tasks"): "is now `limit`",
    ("agents", "*", "max_concurrency"): "is now `limit`",
    ("agents", "*", "model"): "belongs into `config`, if the agent's Config has it",
    ("agents", "*", "temperature"): "belongs into `config`, if the agent's Config has it",
    ("agents", "*", "system_prompt"): "belongs into `config`, if the agent's Config has it",
    ("agents", "*", "timeout"): _TASKS,
    ("agents", "*", "retry"): _TASKS,
    ("agents", "*", "enabled"): "does not exist: leave the agent out",
    ("agents", "*", "priority"): "belongs to runs and tasks; between agents, `cost` decides",
    # system_config.yaml
    ("system",): "does not exist: each of its keys has a place of its own, see the reference",
    ("database",): "is now `store`: sqlite:FILE, or {use: sqlite, path: FILE, synchronous: NORMAL}",
    ("storage",): "is now `store`: sqlite:FILE, or {use: sqlite, path: FILE, synchronous: NORMAL}",
    ("api",): _APPLICATION + "; examples/embed_asgi.py puts an engine into a service",
    ("server",): _APPLICATION + "; examples/embed_asgi.py puts an engine into a service",
    ("web",): _APPLICATION + "; examples/embed_asgi.py puts an engine into a service",
    ("security",): _APPLICATION + "; so are its users, keys and origins",
    ("secrets",): _SECRETS,
    ("api_keys",): _SECRETS,
    ("monitoring",): _OBSERVERS,
    ("metrics",): _OBSERVERS,
    ("tracing",): _OBSERVERS,
    ("events",): "does not exist: a run's records are its events; see `astro events RUN`",
    ("logging", "file"): _LOGS,
    ("logging", "handlers"): _LOGS,
    ("logging", "max_size"): _LOGS,
    ("logging", "rotation"): _LOGS,
    ("logging", "backup_count"): _LOGS,
    ("allow_local_execution",): _NO_LOCAL,
    ("sandbox", "allow_local_execution"): _NO_LOCAL,
    ("security", "allow_local_execution"): _NO_LOCAL,
    ("sandbox", "enabled"): "does not exist: without `sandbox`, untrusted code does not run",
    ("sandbox", "use_docker"): "is now `sandbox: docker`",
    ("sandbox", "type"): "is now `use`",
    ("workflows", "directory"): "is now the list of files: workflows: [article.yaml, ...]",
    ("workflows", "path"): "is now the list of files: workflows: [article.yaml, ...]",
    ("workflows", "max_concurrent"): _LIMITS,
    ("workflows", "max_concurrent_workflows"): _LIMITS,
    ("workflows", "max_concurrent_tasks"): _LIMITS,
    ("workflows", "default_timeout"): _TASKS,
    ("workflows", "timeout"): _TASKS,
    ("workflows", "retry"): _TASKS,
    ("workflows", "max_retries"): _TASKS,
    ("workflows", "checkpoint_interval"): "does not exist: every result is committed",
    ("orchestrator",): _LIMITS + ", lease_for and grace",
    ("scheduler",): _LIMITS + ", lease_for and grace",
    ("execution",): _LIMITS + ", lease_for and grace",
    ("retry",): _TASKS,
    ("timeouts",): _TASKS,
    ("budget", "daily_limit"): "does not exist yet: a budget is that of one run",
    ("budget", "monthly_limit"): "does not exist yet: a budget is that of one run",
    ("budget", "max_cost"): "is now `money`",
    ("budget", "max_tokens"): "is now `tokens`",
    ("budget", "max_time"): "is now `time`",
    ("budget", "currency"): "does not exist: money is in whatever currency you count in",
    ("budget", "enabled"): "does not exist: without `budget`, runs have no limit",
    ("llm",): "belongs into the `config` of the agents that use a model",
    ("models",): "belongs into the `config` of the agents that use a model",
    ("providers",): "belongs into the `config` of the agents that use a model",
    ("memory",): "belongs into the `config` of the agents that remember",
    ("plugins",): "does not exist: installed packages are found by their entry points",
}


def drop_elsewhere(data: Mapping[str, Any], report: Report) -> dict[str, Any]:
    """Return settings without the keys that have another place; each is reported."""
    if isinstance(data.get("agents"), list):
        data = {**data, "agents": _by_name(data["agents"], report)}
    kept: dict[str, Any] = _dropped(data, (), report)
    if isinstance(kept.get("workflows"), Mapping) and kept.pop("workflows"):
        report.add(("workflows",), "expected a list of files, got a mapping")
    return kept


def _dropped(value: Any, place: Place, report: Report) -> Any:
    if not isinstance(value, Mapping):
        return value
    kept = {}
    for key, item in value.items():
        inner = (*place, key)
        reason = _reason(inner)
        if reason is None:
            kept[key] = item if key == "config" else _dropped(item, inner, report)
        else:
            # What is inside may have a better answer than the section has.
            before = len(report.problems)
            _dropped(item, inner, report)
            if len(report.problems) == before:
                report.add(inner, f"{key!r} {reason}")
    return kept


def _reason(place: Place) -> str | None:
    for pattern, reason in ELSEWHERE.items():
        if len(pattern) == len(place) and all(
            one in ("*", part) for one, part in zip(pattern, place, strict=True)
        ):
            return reason
    return None


def _by_name(agents: list[Any], report: Report) -> dict[str, Any]:
    """Return a list of agents as the mapping that it should be; the list is reported."""
    report.add(("agents",), "expected a mapping of names, as NAME: {use: ...}, got a list")
    for index, agent in enumerate(agents):
        for key in agent if isinstance(agent, Mapping) else ():
            reason = _reason(("agents", "*", key))
            if reason is not None:
                report.add(("agents", index, key), f"{key!r} {reason}")
    return {}
