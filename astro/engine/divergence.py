"""Divergence: what changed code no longer asks for, judged by what is missing, not by order.

Inserting, removing or moving calls is harmless: finished ones are answered from the journal
wherever they are asked for. What was committed and is never asked for again is divergence. Where
a new call could do harm, or in strict mode, it is held until it is clear whether something is
missing, and a person decides.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import timedelta
from typing import TYPE_CHECKING

import anyio.lowlevel

from astro.core.policy import Effect
from astro.core.records import DivergedRecord, ResumedRecord, State
from astro.decisions.replay import RunState

if TYPE_CHECKING:
    from astro.engine.owned import OwnedRun
    from astro.engine.request import Request

__all__ = ["Divergence"]

_QUIET = timedelta(milliseconds=50)  # how long nothing new may be asked for, to judge
_HARMFUL = frozenset({Effect.IRREVERSIBLE, Effect.SPEND})


class Divergence:
    """What the journal holds and the code has not asked for yet, by asking call."""

    def __init__(self, run: OwnedRun) -> None:
        self._run = run
        self._missing: dict[str, dict[str, None]] = {}
        self._asked = 0
        self._doubted: set[str] = set()  # calls for whose sake the run waits for a person

    def remember(self, state: RunState) -> None:
        """Expect everything that is committed below calls that will run again."""
        for call in state.calls.values():
            parent = state.calls.get(call.parent)
            replayed = parent is not None and not parent.state.terminal
            committed = call.attempt > 0 and call.state in (State.DONE, State.FAILED)
            if replayed and committed and not call.abandoned and not call.id.endswith("/undo"):
                self._missing.setdefault(call.parent, {})[call.id] = None
        for record in state.diverged:
            self.accept(record.missing)

    def asked(self, parent: str, call: str) -> None:
        """Take note that a call was asked for."""
        if self._missing:
            self._asked += 1
            below = self._missing.get(parent)
            if below is not None:
                below.pop(call, None)
                if not below:
                    del self._missing[parent]
                    self._clear(parent)

    def _clear(self, parent: str) -> None:
        """Ask nobody any more: what seemed to be missing was only late."""
        if parent in self._doubted:
            self._run.journal.append(ResumedRecord, by=self._run.lease.owner)
            self._run.reopen()

    def asked_again(self, parent: str) -> None:
        """Expect nothing of a call's earlier attempts once a new attempt of it began."""
        self._missing.pop(parent, None)

    def accept(self, identities: Iterable[str]) -> None:
        """Expect these no longer."""
        gone = frozenset(identities)
        for parent in [*self._missing]:
            below = self._missing[parent]
            for identity in gone & below.keys():
                del below[identity]
            if not below:
                del self._missing[parent]

    def suspects(self, request: Request) -> bool:
        """Return whether a new call could do harm while something is missing."""
        if request.parent not in self._missing:
            return False
        task = request.task
        return self._run.created.strict or task.undo is not None or task.effect in _HARMFUL

    async def hold(self, request: Request) -> None:
        """Return when a suspect call may be dispatched: nothing is missing, or it is accepted."""
        while request.parent in self._missing:
            before = self._asked
            await self._run.parts.clock.sleep(_QUIET)
            await anyio.lowlevel.checkpoint()
            if before == self._asked and request.parent in self._missing:
                await self._decide(request)

    async def _decide(self, request: Request) -> None:
        """Record what is missing, and wait for a person to accept it."""
        missing = tuple(self._missing[request.parent])
        self._run.journal.append(
            DivergedRecord, call=request.parent, missing=missing, held=(request.id,)
        )
        self._doubted.add(request.parent)
        try:
            await self._run.park(
                {"attention": f"changed code does not ask for {', '.join(missing)}"}
            )
        finally:
            self._doubted.discard(request.parent)
        self.accept(missing)

    def judge(self, call: str) -> None:
        """Record what a call that ended has not asked for again."""
        missing = self._missing.pop(call, None)
        if missing:
            self._run.journal.append(DivergedRecord, call=call, missing=tuple(missing))
