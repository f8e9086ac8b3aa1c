"""ASTRO: compose your own multi-agent orchestrator.

The public names and nothing else. Parts load when they are first asked for, so that importing
ASTRO costs what is used of it.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from astro.agents.by_class import BaseAgent, performs
    from astro.agents.by_function import FunctionAgent, agent
    from astro.core.clock import Clock, Ids, SystemClock, SystemIds
    from astro.core.context import ChildRun, Context
    from astro.core.errors import (
        AgentError,
        AlreadyAnsweredError,
        AmbiguousCallError,
        AstroError,
        BoxLostError,
        BudgetExceededError,
        CallFailedError,
        CallNotFoundError,
        CodecError,
        EngineClosedError,
        InvalidArgumentsError,
        JournalCorruptError,
        KeyConflictError,
        LeaseLostError,
        MissingExtraError,
        NeedsAgentError,
        PermanentError,
        RunCancelledError,
        RunFailedError,
        RunFinishedError,
        RunNotFoundError,
        RunSuspended,
        SandboxError,
        SandboxUnavailableError,
        SettingsError,
        StoreError,
        StoreUnavailableError,
        TaskTimeoutError,
        ToolError,
        UnknownTaskError,
        WaitingForAncestorError,
        WorkflowError,
    )
    from astro.core.ledger import Account, Ledger, Usage
    from astro.core.policy import Budget, Effect, Limits, OnFailure, Priority, Retry
    from astro.core.protocols import (
        Agent,
        Engine,
        Executor,
        Observer,
        Page,
        Router,
        Run,
        RunSummary,
        Sandbox,
        Store,
    )
    from astro.core.records import Record, State
    from astro.core.sandbox import BoxLimits, BoxStatus, Completed, SandboxSpec
    from astro.core.task import Task, task
    from astro.core.workflow import Condition, Input, Node, Reference, Workflow
    from astro.engine.local import LocalEngine
    from astro.observers.log import LogObserver, configure_logging
    from astro.sandboxes.docker import DockerSandbox
    from astro.setup.assembly import open_engine
    from astro.setup.workflows import load_workflows
    from astro.stores.memory import MemoryStore
    from astro.stores.sqlite import SqliteStore

__all__ = [
    "Account",
    "Agent",
    "AgentError",
    "AlreadyAnsweredError",
    "AmbiguousCallError",
    "AstroError",
    "BaseAgent",
    "BoxLimits",
    "BoxLostError",
    "BoxStatus",
    "Budget",
    "BudgetExceededError",
    "CallFailedError",
    "CallNotFoundError",
    "ChildRun",
    "Clock",
    "CodecError",
    "Completed",
    "Condition",
    "Context",
    "DockerSandbox",
    "Effect",
    "Engine",
    "EngineClosedError",
    "Executor",
    "FunctionAgent",
    "Ids",
    "Input",
    "InvalidArgumentsError",
    "JournalCorruptError",
    "KeyConflictError",
    "LeaseLostError",
    "Ledger",
    "Limits",
    "LocalEngine",
    "LogObserver",
    "MemoryStore",
    "MissingExtraError",
    "NeedsAgentError",
    "Node",
    "Observer",
    "OnFailure",
    "Page",
    "PermanentError",
    "Priority",
    "Record",
    "Reference",
    "Retry",
    "Router",
    "Run",
    "RunCancelledError",
    "RunFailedError",
    "RunFinishedError",
    "RunNotFoundError",
    "RunSummary",
    "RunSuspended",
    "Sandbox",
    "SandboxError",
    "SandboxSpec",
    "SandboxUnavailableError",
    "SettingsError",
    "SqliteStore",
    "State",
    "Store",
    "StoreError",
    "StoreUnavailableError",
    "SystemClock",
    "SystemIds",
    "Task",
    "TaskTimeoutError",
    "ToolError",
    "UnknownTaskError",
    "Usage",
    "WaitingForAncestorError",
    "Workflow",
    "WorkflowError",
    "agent",
    "configure_logging",
    "load_workflows",
    "open_engine",
    "performs",
    "task",
]

_HOMES = {
    "astro.agents.by_class": ("BaseAgent", "performs"),
    "astro.agents.by_function": ("FunctionAgent", "agent"),
    "astro.core.clock": ("Clock", "Ids", "SystemClock", "SystemIds"),
    "astro.core.context": ("ChildRun", "Context"),
    "astro.core.ledger": ("Account", "Ledger", "Usage"),
    "astro.core.policy": ("Budget", "Effect", "Limits", "OnFailure", "Priority", "Retry"),
    "astro.core.protocols": (
        "Agent",
        "Engine",
        "Executor",
        "Observer",
        "Page",
        "Router",
        "Run",
        "RunSummary",
        "Sandbox",
        "Store",
    ),
    "astro.core.records": ("Record", "State"),
    "astro.core.sandbox": ("BoxLimits", "BoxStatus", "Completed", "SandboxSpec"),
    "astro.core.task": ("Task", "task"),
    "astro.core.workflow": ("Condition", "Input", "Node", "Reference", "Workflow"),
    "astro.engine.local": ("LocalEngine",),
    "astro.sandboxes.docker": ("DockerSandbox",),
    "astro.observers.log": ("LogObserver", "configure_logging"),
    "astro.setup.assembly": ("open_engine",),
    "astro.setup.workflows": ("load_workflows",),
    "astro.stores.memory": ("MemoryStore",),
    "astro.stores.sqlite": ("SqliteStore",),
}
_HOME = {name: home for home, names in _HOMES.items() for name in names}


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module 'astro' has no attribute {name!r}")
    # What is no part is an error class: all of them share one home.
    value = getattr(import_module(_HOME.get(name, "astro.core.errors")), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return __all__
