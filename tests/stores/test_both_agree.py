"""Two stores of different make, given the same operations, always say and hold the same."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from astro.core.errors import AstroError
from astro.core.protocols import Lease, Remembered, RunQuery
from astro.core.records import State
from astro.stores.memory import MemoryStore
from astro.stores.sqlite import SqliteStore
from tests.stores.making import (
    BEGINNING,
    MINUTE,
    SECOND,
    ManualClock,
    answer,
    cancel,
    end,
    new_run,
    progress,
    run_id,
)

pytestmark = pytest.mark.anyio

OWNERS = ("one", "two")
TASKS = ("greet", "review", "fly")
TENANTS = ("acme", "globex", "")
STATES = (State.RUNNING, State.ASKED, State.SLEEPING, State.PARKED)


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
async def pair(clock: ManualClock, tmp_path: Path) -> AsyncIterator[tuple[Any, Any]]:
    sqlite = SqliteStore(tmp_path / "runs.db", clock=clock, synchronous="NORMAL")
    async with MemoryStore(clock=clock) as memory, sqlite:
        yield memory, sqlite


async def outcome(work: Awaitable[Any]) -> Any:
    """Return what an operation gives, or the error it raises, comparably."""
    try:
        return await work
    except AstroError as error:
        return type(error), error.problem


class Chances:
    """Draws operations; remembers leases, so that old ones are used as well."""

    def __init__(self, seed: int, clock: ManualClock) -> None:
        self.chance = random.Random(seed)
        self.clock = clock
        self.leases: list[Lease] = []
        self.runs = 0

    def tenant(self) -> str:
        return self.chance.choice(TENANTS)

    def run(self) -> str:
        return run_id(self.chance.randint(1, max(self.runs, 1)))

    def moment(self) -> Any:
        later = timedelta(seconds=self.chance.randint(-60, 300))
        return self.chance.choice([None, self.clock.now() + later])

    def new(self, tenant: str) -> Any:
        self.runs += 1
        relatives = {
            name: self.run() for name in ("parent", "source") if self.chance.random() < 0.2
        }
        return new_run(
            self.chance.choice([self.runs, self.runs, self.runs, 1]),
            tenant=tenant,
            task=self.chance.choice(TASKS),
            key=self.chance.choice([None, None, "a", "b", "c"]),
            namespace=self.chance.choice(["", "", self.run()]),
            fingerprint=self.chance.choice(["x", "x", "x", "y"]),
            priority=self.chance.choice([10, 20, 30]),
            wake_at=self.moment(),
            **relatives,
        )

    def message(self) -> Any:
        if self.chance.random() < 0.4:
            return cancel()
        return answer(once=self.chance.choice("abc"), not_after=self.moment())

    def commit(self, lease: Lease) -> Any:
        more: dict[str, Any] = {}
        if self.chance.random() < 0.3:
            more["consumed"] = tuple(self.chance.sample(range(1, 40), 8))
        if self.chance.random() < 0.3:
            more["create"] = tuple(self.new(lease.tenant) for _ in range(self.chance.randint(1, 3)))
        if self.chance.random() < 0.3:
            more["outgoing"] = tuple(
                (self.run(), self.message()) for _ in range(self.chance.randint(1, 3))
            )
        if self.chance.random() < 0.2:
            until = self.clock.now() + MINUTE
            more["remember"] = (Remembered(key=self.chance.choice("ab"), result=b"1", until=until),)
        if self.chance.random() < 0.15:
            return end(lease, self.chance.choice([State.DONE, State.FAILED]), **more)
        state = self.chance.choice(STATES)
        needs = {"task": "swim"} if state is State.PARKED else {}
        count = self.chance.randint(1, 4)
        more |= {"state": state, "needs": needs, "wake_at": self.moment()}
        return progress(lease, entries=count, **more)

    def operation(self) -> Callable[[Any], Awaitable[Any]]:
        """Return the next operation, to be performed on each store."""
        draw = self.chance.random()
        tenant, run = self.tenant(), self.run()
        owner = self.chance.choice(OWNERS)
        offers = frozenset(self.chance.sample(TASKS, 2))
        limit = self.chance.randint(1, 4)
        duration = timedelta(seconds=self.chance.randint(1, 120))
        if draw < 0.2:
            new = self.new(tenant)
            return lambda store: store.create(tenant, new)
        if draw < 0.4:
            return lambda store: store.claim(owner, offers=offers, limit=limit, duration=duration)
        if draw < 0.75 and self.leases:
            lease = self.leases[-1 if draw < 0.6 else self.chance.randrange(len(self.leases))]
            commit = self.commit(lease)
            return lambda store: store.commit(lease, commit)
        if draw < 0.8 and self.leases:
            lease, wake_at = self.chance.choice(self.leases), self.moment()
            return lambda store: store.release(lease, wake_at=wake_at)
        if draw < 0.9:
            message = self.message()
            return lambda store: store.post(tenant, run, message)
        if draw < 0.95:
            return lambda store: store.renew(owner, duration=duration)
        if draw < 0.97:
            return lambda store: store.prune(older_than=MINUTE)
        self.clock.advance(self.chance.choice([SECOND, 30 * SECOND, 3 * MINUTE]))
        return lambda store: store.inbox(owner)

    def learn(self, found: Any) -> None:
        """Take note of new leases."""
        if isinstance(found, Lease):
            self.leases.append(found)
        else:
            self.leases.extend(getattr(found, "leases", ()))


def alike(found: Any) -> Any:
    """Leave out what stores may do differently: the order of a renewal."""
    if isinstance(found, list):
        return sorted(found, key=repr)
    return found


async def everything(store: Any) -> list[Any]:
    found: list[Any] = []
    for tenant in TENANTS:
        page = await store.runs(tenant, RunQuery(limit=999))
        found += page.items
        found += [list(await store.read(tenant, run.id)) for run in page.items]
        found += [await store.recall(tenant, key) for key in "ab"]
    return found + [list(await store.inbox(owner)) for owner in OWNERS]


@pytest.mark.parametrize("seed", range(25))
async def test_both_stores_agree(pair: tuple[Any, Any], clock: ManualClock, seed: int) -> None:
    memory, sqlite = pair
    chances = Chances(seed, clock)
    for step in range(120):
        perform = chances.operation()
        expected = await outcome(perform(memory))
        assert alike(await outcome(perform(sqlite))) == alike(expected), f"step {step}"
        chances.learn(expected)
        if step % 10 == 0:
            assert await everything(sqlite) == await everything(memory), f"step {step}"
    clock.advance(timedelta(days=9))
    for owner in OWNERS:
        asked = {"offers": frozenset(TASKS), "limit": 99, "duration": MINUTE}
        assert await sqlite.claim(owner, **asked) == await memory.claim(owner, **asked)
    assert await sqlite.check() == await memory.check()
    assert clock.now() > BEGINNING
