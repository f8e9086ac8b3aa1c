"""One attempt: what an engine knows of a body that runs, or waits, at this moment."""

from __future__ import annotations

from collections.abc import Callable
from contextvars import ContextVar
from datetime import datetime
from typing import TYPE_CHECKING

from astro.core.records import State
from astro.engine.identity import Ordinals

if TYPE_CHECKING:
    from astro.core.sandbox import SandboxSpec
    from astro.engine.boxes import Boxes
    from astro.engine.owned import OwnedRun

__all__ = ["Attempt", "calling", "performing"]

calling: ContextVar[Attempt | None] = ContextVar("astro_calling", default=None)
"""The attempt whose body runs here, innermost."""

performing: ContextVar[tuple[str, ...]] = ContextVar("astro_performing", default=())
"""The run whose task runs here, and the runs above it that this engine owns."""


class Attempt:
    """The slots, the waits and the numbering of one attempt.

    An attempt that waits in a verb of its context gives up its slots, and has them back before
    it goes on; so a limit of one attempt is enough for any depth of calls.
    """

    __slots__ = (
        "_ended",
        "_needs",
        "_waits",
        "boxes",
        "call",
        "deadline",
        "exempt",
        "number",
        "ordinals",
        "priority",
        "run",
        "spec",
        "task",
    )

    def __init__(
        self,
        run: OwnedRun,
        *,
        call: str,
        task: str,
        number: int,
        priority: int,
        deadline: datetime | None,
        needs: tuple[str, ...],
        exempt: bool = False,
        spec: SandboxSpec | None = None,
    ) -> None:
        self.run = run
        self.call = call
        self.task = task
        self.number = number
        self.priority = priority
        self.deadline = deadline
        self.exempt = exempt
        self.spec = spec
        self.boxes: Boxes | None = None
        self.ordinals = Ordinals(call)
        self._needs = needs
        self._waits = 0
        self._ended = False  # what a body left running by itself has no slots any more

    async def begin(self, *, again: bool = False) -> None:
        """Return when there is a slot for this attempt, or once more one."""
        slots = self.run.parts.slots
        if slots.take_at_once(self._needs):
            self.run.rest.went_to_work()
            return
        self.run.rest.queued += 1
        try:
            if again:
                await slots.take_back(self._needs)
            else:
                await slots.take(self._needs, tenant=self.run.tenant, priority=self.priority)
        finally:
            self.run.rest.queued -= 1
        self.run.rest.went_to_work()

    def stand_back(self) -> None:
        """Give the slots back without having begun."""
        self.run.parts.slots.give(self._needs)
        self.run.rest.came_to_rest()

    def end(self) -> None:
        """Give the slots back for good."""
        self._ended = True
        if self._waits == 0:
            self.run.parts.slots.give(self._needs)
            self.run.rest.came_to_rest()

    def wait(self, state: State | None = None) -> Callable[[], None]:
        """Give the slots up while a verb waits.

        Returns:
            What to call when the wait is over, before `go_on`.
        """
        self._waits += 1
        if self._waits == 1 and not self._ended:
            self.run.parts.slots.give(self._needs)
            self.run.rest.came_to_rest()
        self.run.rest.counts(state, 1)

        def over() -> None:
            self._waits -= 1
            self.run.rest.counts(state, -1)

        return over

    async def go_on(self) -> None:
        """Return with the slots back, unless other parts of this attempt still wait."""
        if self._waits == 0 and not self._ended:
            try:
                await self.begin(again=True)
            except BaseException:
                # It is being cancelled and will end soon: it ends with what it would have had.
                self.seize()
                raise

    def seize(self) -> None:
        """Have the slots back at once, beyond the limits if need be, to unwind."""
        if self._waits == 0 and not self._ended:
            self.run.parts.slots.seize(self._needs)
            self.run.rest.went_to_work()
