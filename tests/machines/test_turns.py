"""Turns: whoever waits gets one, in a fair order, within the limits, and nobody is lost."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime, timedelta
from typing import Any

import attrs
import pytest
from hypothesis import strategies as st
from hypothesis.stateful import invariant, precondition, rule

from astro.decisions.turns import Turns
from tests.machines.profile import MANY, CountedMachine, found_by

BEGIN = datetime(2030, 1, 1, tzinfo=UTC)
AGE = timedelta(seconds=1)
TENANTS = ("acme", "globex", "initech")
LIMITS = {"gpu": 1, "disk": 2}
NEEDS = st.sets(st.sampled_from(sorted(LIMITS))).map(lambda names: tuple(sorted(names)))


@attrs.define(eq=False)
class Waiter:
    """One who waits; of two of a tenant the one of lower rank goes first."""

    number: int
    tenant: str
    needs: tuple[str, ...]
    rank: float
    gone: bool = False


class TurnsMachine(CountedMachine):
    """Attempts of three tenants, with a few slots and two limits."""

    kind: type[Turns[Any]] = Turns
    slots = 4

    def __init__(self) -> None:
        super().__init__()
        self.turns = self.kind(AGE)
        self.waiting: list[Waiter] = []
        self.running: list[Waiter] = []
        self.second = 0
        self.numbers = 0
        self.sound = True  # what is wrong has not been told yet
        # How often others have gone first while a tenant had somebody whose turn it could be.
        self.passed: dict[str, Counter[str]] = {tenant: Counter() for tenant in TENANTS}
        self.excused: set[str] = set()  # tenants of which somebody went away; see the last test

    # --- What happens --------------------------------------------------------------------------

    @rule(
        tenant=st.sampled_from(TENANTS),
        needs=NEEDS,
        priority=st.sampled_from([10, 20, 30, 40]),
        later=st.integers(0, 3),
    )
    def come(self, tenant: str, needs: tuple[str, ...], priority: int, later: int) -> None:
        self.second += later
        since = BEGIN + timedelta(seconds=self.second)
        self.numbers += 1
        one = Waiter(self.numbers, tenant, needs, self.second - priority / 10)
        self.waiting.append(one)
        self.turns.push(one, tenant=tenant, needs=needs, priority=priority, since=since)

    @precondition(lambda self: self.waiting)
    @rule(data=st.data())
    def go_away(self, data: st.DataObject) -> None:
        """Somebody waits no longer; the queue finds out later."""
        one = data.draw(st.sampled_from(self.waiting))
        one.gone = True
        self.waiting.remove(one)
        self.excused.add(one.tenant)

    @precondition(lambda self: self.running)
    @rule(data=st.data())
    def end(self, data: st.DataObject) -> None:
        self.running.remove(data.draw(st.sampled_from(self.running)))

    @rule()
    def next(self) -> None:
        able = [one for one in self.waiting if self.fits(one.needs)]
        self.sound = False
        one = self.turns.pop(self.fits, lambda waiter: waiter.gone)
        if one is None:
            assert not able, "somebody who could go was left waiting"
            self.sound = True
            return
        assert one in self.waiting, "went who does not wait"
        assert one in able, "went beyond a limit"
        self.heed_rank(one, able)
        self.heed_turns(one, able)
        self.waiting.remove(one)
        self.running.append(one)
        self.sound = True

    def fits(self, needs: tuple[str, ...]) -> bool:
        used = Counter(name for one in self.running for name in one.needs)
        room = len(self.running) < self.slots
        return room and all(used[name] < LIMITS[name] for name in needs)

    def heed_rank(self, one: Waiter, able: list[Waiter]) -> None:
        """Of a tenant goes who is urgent, or has waited long; of equals who came first."""
        mine = [(other.rank, other.number) for other in able if other.tenant == one.tenant]
        assert (one.rank, one.number) == min(mine), "went before somebody more urgent"

    def heed_turns(self, one: Waiter, able: list[Waiter]) -> None:
        """Nobody goes a second time before a tenant that could go all the while."""
        could = {other.tenant for other in able}
        self.excused.discard(one.tenant)
        for tenant in TENANTS:
            if tenant not in could - {one.tenant} - self.excused:
                self.passed[tenant].clear()
                continue
            self.passed[tenant][one.tenant] += 1
            assert self.passed[tenant][one.tenant] == 1, f"{one.tenant} went twice before {tenant}"

    # --- What holds ----------------------------------------------------------------------------

    @invariant()
    def nobody_is_lost(self) -> None:
        assert len(self.turns) >= len(self.waiting), "somebody was lost"

    def teardown(self) -> None:
        """Everybody who waits gets a turn once there is room for all."""
        if not self.sound:
            return
        went = []
        while (one := self.turns.pop(lambda needs: True, lambda waiter: waiter.gone)) is not None:
            went.append(one.number)
        waited = sorted(one.number for one in self.waiting)
        assert sorted(went) == waited, "not everybody who waited got one turn"
        assert len(self.turns) == 0


TestTurns = TurnsMachine.TestCase
TestTurns.settings = MANY


# --- What is planted is found ------------------------------------------------------------------


class LosesOne(Turns[Any]):
    """Drops who does not fit."""

    def pop(self, fits: Any, gone: Any) -> Any:
        return super().pop(lambda needs: True, lambda one: gone(one) or not fits(one.needs))


class FirstComeFirstServed(Turns[Any]):
    """Knows no tenants."""

    def push(self, item: Any, *, tenant: str, **said: Any) -> None:
        super().push(item, tenant="", **said)


class KnowsNoLimits(Turns[Any]):
    """Lets go whoever is next."""

    def pop(self, fits: Any, gone: Any) -> Any:
        return super().pop(lambda needs: True, gone)


class KnowsNoPriority(Turns[Any]):
    """Takes everybody to be as urgent as anybody."""

    def push(self, item: Any, *, priority: int, **said: Any) -> None:
        super().push(item, priority=20, **said)


class ServesTheGone(Turns[Any]):
    """Gives a turn to who no longer waits."""

    def pop(self, fits: Any, gone: Any) -> Any:
        return super().pop(fits, lambda one: False)


@pytest.mark.parametrize(
    ("kind", "found"),
    [
        (LosesOne, ""),
        (FirstComeFirstServed, "went twice before"),
        (KnowsNoLimits, "limit"),
        (KnowsNoPriority, "more urgent"),
        (ServesTheGone, "got one turn"),
    ],
)
def test_a_queue_that_is_wrong_is_found(kind: type[Turns[Any]], found: str) -> None:
    assert found in found_by(type("Planted", (TurnsMachine,), {"kind": kind}))


# --- What does not hold yet --------------------------------------------------------------------


def test_a_tenant_does_not_starve_because_others_of_its_own_go_away() -> None:
    turns: Turns[str] = Turns(AGE)
    said: dict[str, Any] = {"priority": 20, "since": BEGIN}
    for tenant in ("acme", "globex"):
        for _ in range(50):
            turns.push(tenant, tenant=tenant, needs=(), **said)
    turns.push("initech", tenant="initech", needs=(), **said)
    went = []
    for _ in range(50):
        turns.push("gone", tenant="initech", needs=("gpu",), **said)
        went.append(turns.pop(lambda needs: True, lambda item: item == "gone"))
    assert "initech" in went
