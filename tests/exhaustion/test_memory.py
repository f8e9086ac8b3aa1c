"""Each call of a store in memory goes wrong in each way, one at a time, until none is left."""

from __future__ import annotations

from collections import Counter
from datetime import timedelta
from itertools import count

import msgspec
import pytest

from astro import MemoryStore, RunNotFoundError, State
from astro.core.messages import Message
from astro.core.protocols import Commit, Lease
from astro.testing import Fault, LoopClock, fail_nth, run_deterministically
from astro.testing.quiet import quiet
from tests.exhaustion.patience import Pace, Tried, try_with, wrongs
from tests.exhaustion.scenarios import LASTING, QUICK, Scenario
from tests.exhaustion.ways import WAYS
from tests.telling import Tell

PACE = Pace(lease=timedelta(seconds=15), again=timedelta(seconds=1), patience=timedelta(minutes=10))
LONG = timedelta(seconds=20)  # longer than a lease
STEP = timedelta(seconds=2)
OUTLAST = ("late time-out", "slower than a lease")  # ways that matter to who has a rival
SOON = frozenset(
    [
        "account",
        "allow",
        "budgets",
        "claim",
        "commit",
        "create",
        "fetch",
        "inbox",
        "post",
        "put",
        "read",
        "recall",
        "release",
        "reserve",
        "runs",
        "tenants",
        "wait",
    ]
)
LATER = frozenset(["budgets", "claim", "commit", "create", "inbox", "renew", "tenants", "wait"])


def tried_with(
    scenario: Scenario,
    fault: Fault,
    number: int,
    *,
    moves: bool = False,
    kind: type[MemoryStore] = MemoryStore,
) -> Tried:
    async def main() -> Tried:
        store = kind(clock=LoopClock())
        plan = fail_nth(number, fault)
        return await try_with(store, scenario, plan, pace=PACE, moves=moves)

    with quiet("astro"):
        # Engines look for news twice a second, which would be most of what can go wrong.
        return run_deterministically(main, seed=None, resolution=STEP).value


@pytest.mark.slow
@pytest.mark.parametrize("way", WAYS)
def test_a_run_survives_that_any_call_of_its_store_goes_wrong(way: str, tell: Tell) -> None:
    lasting = way in OUTLAST
    scenarios = LASTING if lasting else QUICK
    fault = WAYS[way](LONG)
    struck: Counter[str] = Counter()
    found: list[str] = []
    told = 0
    for scenario in scenarios:
        for number in count(1):
            tried = tried_with(scenario, fault, number, moves=number % 2 == 0)
            wrong = wrongs(scenario, fault, tried)
            found += [f"{scenario.name}, call {number} ({tried.struck}): {one}" for one in wrong]
            if not tried.struck:
                break
            struck[tried.struck] += 1
            told += bool(tried.told)
        assert number > 10  # it was exhausted, and did not end before anything happened
    total = struck.total()
    tell(f"{way}, in memory", faults=total, of_those_told=told, wrong=len(found), **struck)
    assert not found
    assert struck.keys() >= (LATER if lasting else SOON)


# --- What is wrong is found ------------------------------------------------------------------


class Lossy(MemoryStore):
    """Acknowledges the second commit without keeping it."""

    lost = False

    async def commit(self, lease: Lease, commit: Commit, /) -> Lease:
        if not self.lost and lease.seq > 3:
            self.lost = True
            last = commit.entries[-1]
            return msgspec.structs.replace(lease, seq=last.seq, head=last.hash)
        return await super().commit(lease, commit)


class Hoarding(MemoryStore):
    """Never gives back what was reserved."""

    async def commit(self, lease: Lease, commit: Commit, /) -> Lease:
        account = await self.account(lease.tenant)
        state = State.RUNNING if commit.state.terminal and account else commit.state
        kept = msgspec.structs.replace(commit, reserved=None, state=state)
        return await super().commit(lease, kept)


class Forgetful(MemoryStore):
    """Hears what is posted, and does not keep it."""

    async def post(self, tenant: str, run: str, message: Message, /) -> None:
        await self.read(tenant, run)


@pytest.mark.parametrize(
    ("kind", "name", "found"),
    [
        (Lossy, "chain", "run "),
        (Hoarding, "budgets", "is still reserved"),
        (Forgetful, "ask and answer", "lost patience"),
    ],
)
def test_a_store_that_does_not_keep_its_word_is_found(
    kind: type[MemoryStore], name: str, found: str
) -> None:
    scenario = next(one for one in QUICK if one.name == name)
    fault = WAYS["slow"](LONG)
    assert not wrongs(scenario, fault, tried_with(scenario, fault, 1))
    assert found in "".join(wrongs(scenario, fault, tried_with(scenario, fault, 1, kind=kind)))


def test_a_user_who_is_not_told_or_told_something_else_is_found() -> None:
    fault = WAYS["busy"](LONG)
    tried = tried_with(QUICK[0], fault, 4)
    assert tried.struck == "create"
    assert not wrongs(QUICK[0], fault, tried)
    told, tried.told = tried.told, []
    assert "told nothing" in "".join(wrongs(QUICK[0], fault, tried))
    tried.told = [*told, ("use", RunNotFoundError("a"))]
    assert "met RunNotFoundError" in "".join(wrongs(QUICK[0], fault, tried))
