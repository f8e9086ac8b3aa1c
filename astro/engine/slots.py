"""Slots: how many attempts run at the same moment, in an engine, of a task, by an agent.

Taking a free slot costs a few dictionary look-ups and no `await`; only who has to wait meets
the queue.
"""

from __future__ import annotations

from collections.abc import Mapping

import anyio
import msgspec

from astro.core.clock import Clock
from astro.core.policy import Limits
from astro.decisions.turns import Turns

__all__ = ["Slots"]


class _Waiter(msgspec.Struct, eq=False):
    needs: tuple[str, ...]
    granted: anyio.Event = msgspec.field(default_factory=anyio.Event)
    gone: bool = False


class Slots:
    """Counts attempts against named limits.

    Args:
        caps: Limits by name, as `task:greet` or `agent:ada`; names without one are unlimited.
    """

    def __init__(self, limits: Limits, caps: Mapping[str, int], clock: Clock) -> None:
        self._free = limits.attempts
        self._cap = limits.attempts
        self._caps = dict(caps)
        self._used = dict.fromkeys(caps, 0)
        self._waiting = dict.fromkeys(caps, 0)
        self._turns: Turns[_Waiter] = Turns(limits.age)
        self._returning: list[_Waiter] = []  # those that had begun before all who wait for a turn
        self._clock = clock

    @property
    def used(self) -> int:
        """Attempts that run at the moment."""
        return self._cap - self._free

    def needs(self, *names: str) -> tuple[str, ...]:
        """Return those of the names that have a limit."""
        return tuple(name for name in names if name in self._caps)

    def load(self, name: str) -> int:
        """Return how many attempts count against a limit, those that wait for it included."""
        return self._used.get(name, 0) + self._waiting.get(name, 0)

    def take_at_once(self, needs: tuple[str, ...]) -> bool:
        """Take a slot if one is free and nobody waits; return whether that was so."""
        if self._turns or self._returning or not self._fits(needs):
            return False
        self._count(needs, 1)
        return True

    async def take(self, needs: tuple[str, ...], *, tenant: str, priority: int) -> None:
        """Return when an attempt with these needs may run."""
        if self.take_at_once(needs):
            return
        waiter = _Waiter(needs)
        self._turns.push(
            waiter, tenant=tenant, needs=needs, priority=priority, since=self._clock.now()
        )
        await self._wait(waiter)

    async def take_back(self, needs: tuple[str, ...]) -> None:
        """Return when an attempt that had given its slot up to wait may go on."""
        if self.take_at_once(needs):
            return
        waiter = _Waiter(needs)
        self._returning.append(waiter)
        await self._wait(waiter)

    async def _wait(self, waiter: _Waiter) -> None:
        needs = waiter.needs
        for name in needs:
            self._waiting[name] += 1
        self._grant()
        try:
            await waiter.granted.wait()
        except BaseException:
            waiter.gone = True
            if waiter.granted.is_set():
                # Cancelled at the very moment the slot was granted: nobody would give it back.
                self.give(needs)
            raise
        finally:
            for name in needs:
                self._waiting[name] -= 1

    def seize(self, needs: tuple[str, ...]) -> None:
        """Count an attempt in that is ending and must not wait for its turn."""
        self._count(needs, 1)

    def give(self, needs: tuple[str, ...]) -> None:
        """Free what an attempt has taken."""
        self._count(needs, -1)
        if self._turns or self._returning:
            self._grant()

    def _fits(self, needs: tuple[str, ...]) -> bool:
        if self._free <= 0:
            return False
        return all(self._used[name] < self._caps[name] for name in needs)

    def _count(self, needs: tuple[str, ...], by: int) -> None:
        self._free -= by
        for name in needs:
            self._used[name] += by

    def _grant(self) -> None:
        """Let everybody run whose turn it is; who has begun already goes first."""
        for back in [*self._returning]:
            fits = not back.gone and self._fits(back.needs)
            if fits:
                self._let(back)
            if fits or back.gone:
                self._returning.remove(back)
        while self._turns:
            waiter = self._turns.pop(self._fits, lambda one: one.gone)
            if waiter is None:
                return
            self._let(waiter)

    def _let(self, waiter: _Waiter) -> None:
        self._count(waiter.needs, 1)
        waiter.granted.set()
