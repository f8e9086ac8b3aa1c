"""Without an event loop: an engine on a thread of its own, for scripts and sync services."""

from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

from anyio.from_thread import start_blocking_portal

from astro.core.errors import EngineClosedError
from astro.core.task import Task
from astro.engine.supervisor import in_event_loop

if TYPE_CHECKING:
    from astro.engine.local import LocalEngine

__all__ = ["SyncPortal"]


class SyncPortal:
    """Keeps an engine open on a thread until it is closed."""

    def __init__(self, engine: LocalEngine) -> None:
        _refuse_in_loop()
        self._stack = ExitStack()
        self._portal = self._stack.enter_context(start_blocking_portal())
        try:
            self._stack.enter_context(self._portal.wrap_async_context_manager(engine))
        except BaseException:
            self._stack.close()
            raise

    def run(self, engine: Any, task: Task[..., Any], args: Any, kwargs: Any) -> Any:
        """Start a run and wait for its result."""
        _refuse_in_loop()
        return self._portal.call(lambda: engine.run(task, *args, **kwargs))

    def start(self, engine: Any, task: Task[..., Any], args: Any, kwargs: Any) -> str:
        """Start a run and return its id."""
        _refuse_in_loop()
        handle = self._portal.call(lambda: engine.start(task, *args, **kwargs))
        return str(handle.id)

    def close(self) -> None:
        """Close the engine and end its thread."""
        self._stack.close()


def _refuse_in_loop() -> None:
    if in_event_loop():
        raise EngineClosedError(
            "run_sync was called where an event loop runs.", remedy="Write: await engine.run(...)."
        )
