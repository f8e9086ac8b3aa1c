"""Claims: which runs an owner is given, and whose turn it is."""

from __future__ import annotations

from collections import Counter
from datetime import timedelta
from typing import Any

import pytest
from msgspec.structs import replace

from astro.core.protocols import Lease
from astro.core.records import State
from astro.testing.clock import VirtualClock
from astro.testing.conformance.making import (
    ANY,
    BEGINNING,
    FAST,
    MINUTE,
    SECOND,
    SLOW,
    TENANT,
    end,
    new_run,
    progress,
    run_id,
)
from astro.testing.conformance.store.opening import StoreSuite

__all__ = ["ClaimTests"]


async def _claim(store: Any, owner: str = FAST, **more: Any) -> tuple[Lease, ...]:
    wanted: dict[str, Any] = {"offers": ANY, "limit": 10, "duration": MINUTE}
    claimed = await store.claim(owner, **(wanted | more))
    return tuple(claimed.leases)


class ClaimTests(StoreSuite):
    """What a store promises of claims."""

    async def test_a_claim_tells_the_time_of_the_store(
        self, store: Any, clock: VirtualClock
    ) -> None:
        clock.advance(SECOND)
        claimed = await store.claim(FAST, offers=ANY, limit=1, duration=MINUTE)
        assert claimed.at == BEGINNING + SECOND
        assert claimed.leases == ()

    async def test_a_claim_of_a_new_run_brings_its_first_entry(
        self, store: Any, lease: Lease, clock: VirtualClock
    ) -> None:
        assert lease.first == new_run().entry
        await store.commit(lease, progress(lease))
        clock.advance(2 * MINUTE)
        (taken,) = await _claim(store, SLOW)
        assert taken.first is None

    async def test_a_run_has_one_owner(self, store: Any, lease: Lease) -> None:
        assert (lease.token, lease.seq, lease.failures) == (1, 1, 0)
        assert await _claim(store, SLOW) == ()

    async def test_only_offered_tasks_are_claimed(self, store: Any) -> None:
        await store.create(TENANT, new_run(1, task="fly"))
        await store.create(TENANT, new_run(2, task="greet"))
        assert [lease.run for lease in await _claim(store)] == [run_id(2)]
        assert [lease.run for lease in await _claim(store, offers=frozenset({"fly"}))] == [
            run_id(1)
        ]

    async def test_no_offer_claims_nothing(self, store: Any) -> None:
        await store.create(TENANT, new_run(1))
        assert await _claim(store, offers=frozenset()) == ()

    async def test_priority_comes_before_age(self, store: Any) -> None:
        for number, priority in ((1, 10), (2, 20), (3, 20), (4, 30)):
            await store.create(TENANT, new_run(number, priority=priority))
        order = [(await _claim(store, limit=1))[0].run for _ in range(4)]
        assert order == [run_id(4), run_id(2), run_id(3), run_id(1)]

    async def test_leases_of_one_claim_are_most_urgent_first(self, store: Any) -> None:
        for number, priority in ((1, 10), (2, 30), (3, 20)):
            await store.create(TENANT, new_run(number, priority=priority))
        assert [lease.priority for lease in await _claim(store)] == [30, 20, 10]

    async def test_tenants_take_turns_within_a_claim(self, store: Any) -> None:
        for number in range(30):
            await store.create("big", new_run(number, tenant="big", priority=90))
        for number in range(3):
            await store.create("small", new_run(number, tenant="small"))
            await store.create("tiny", new_run(number, tenant="tiny"))
        served = Counter(lease.tenant for lease in await _claim(store, limit=9))
        assert served == {"big": 3, "small": 3, "tiny": 3}

    async def test_tenants_take_turns_from_claim_to_claim(self, store: Any) -> None:
        for number in range(10):
            for tenant in ("a", "b", "c"):
                await store.create(tenant, new_run(number, tenant=tenant, task="greet"))
        served = [(await _claim(store, limit=1))[0].tenant for _ in range(6)]
        assert sorted(served[:3]) == ["a", "b", "c"]
        assert served[3:] == served[:3]
        served = [lease.tenant for _ in range(3) for lease in await _claim(store, limit=2)]
        assert Counter(served) == {"a": 2, "b": 2, "c": 2}

    async def test_turns_hold_across_tasks(self, store: Any) -> None:
        for number in range(5):
            await store.create("a", new_run(number, tenant="a", task="greet"))
            await store.create("b", new_run(number, tenant="b", task="review"))
        served = Counter(lease.tenant for lease in await _claim(store, limit=4))
        assert served == {"a": 2, "b": 2}

    async def test_a_run_that_sleeps_is_claimed_when_its_time_comes(
        self, store: Any, clock: VirtualClock
    ) -> None:
        await store.create(TENANT, new_run(wake_at=BEGINNING + MINUTE))
        assert await _claim(store) == ()
        clock.advance(MINUTE)
        assert len(await _claim(store)) == 1

    async def test_an_expired_run_that_sleeps_is_claimed_only_when_it_is_due(
        self, store: Any, lease: Lease, clock: VirtualClock
    ) -> None:
        sleeping = progress(lease, state=State.SLEEPING, wake_at=BEGINNING + 10 * MINUTE)
        await store.commit(lease, sleeping)
        clock.advance(5 * MINUTE)
        assert await _claim(store, SLOW) == ()
        clock.advance(5 * MINUTE)
        assert len(await _claim(store, SLOW)) == 1

    async def test_a_finished_run_is_never_claimed(
        self, store: Any, lease: Lease, clock: VirtualClock
    ) -> None:
        await store.commit(lease, end(lease))
        clock.advance(timedelta(days=900))
        assert await _claim(store, SLOW) == ()
        assert list(await store.renew(FAST, duration=MINUTE)) == []

    async def test_a_run_created_as_finished_is_never_claimed(self, store: Any) -> None:
        await store.create(TENANT, new_run(state=State.DONE))
        assert await _claim(store) == ()

    @pytest.mark.parametrize(
        ("needs", "offered"),
        [
            ({"task": "refund"}, "refund"),
            ({"agent": "review"}, "agent:review"),
            ({"agent": 'it\'s "quoted"'}, 'agent:it\'s "quoted"'),
        ],
    )
    async def test_a_parked_run_is_claimed_by_those_who_have_what_it_needs(
        self, store: Any, lease: Lease, needs: dict[str, str], offered: str
    ) -> None:
        parked = replace(progress(lease), state=State.PARKED, needs=needs)
        lease = await store.commit(lease, parked)
        await store.release(lease, wake_at=BEGINNING)
        assert await _claim(store, SLOW) == ()
        assert await _claim(store, SLOW, offers=ANY | {"review"}) == ()
        (taken,) = await _claim(store, SLOW, offers=ANY | {offered})
        assert taken.run == lease.run

    async def test_a_run_that_needs_attention_may_be_claimed_by_anybody(
        self, store: Any, lease: Lease
    ) -> None:
        parked = replace(progress(lease), state=State.PARKED, needs={"attention": "look"})
        lease = await store.commit(lease, parked)
        await store.release(lease, wake_at=BEGINNING)
        assert len(await _claim(store, SLOW)) == 1
