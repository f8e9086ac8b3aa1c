"""A place in a task at which a test lets its engine go, as a crash or a drain would."""

from __future__ import annotations

import anyio


class Hold:
    """Called in a task, it holds the task until the test has opened another engine."""

    def __init__(self) -> None:
        self.reached = anyio.Event()
        self._open = False

    async def __call__(self) -> None:
        if not self._open:
            self.reached.set()
            await anyio.sleep_forever()

    def release(self) -> None:
        """Let the next one pass."""
        self._open = True
