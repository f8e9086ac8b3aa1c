"""Leases of any store: claiming, renewing, releasing, turns, time."""

from __future__ import annotations

from collections import Counter
from datetime import timedelta
from typing import Any

import pytest
from msgspec.structs import replace

from astro.core.errors import LeaseLostError
from astro.core.protocols import Lease
from astro.core.records import State
from tests.stores.making import (
    ANY,
    BEGINNING,
    FAST,
    MINUTE,
    SECOND,
    SLOW,
    TENANT,
    ManualClock,
    cancel,
    end,
    new_run,
    progress,
    run_id,
)

pytestmark = pytest.mark.anyio


async def claim(store: Any, owner: str = FAST, **more: Any) -> tuple[Lease, ...]:
    wanted: dict[str, Any] = {"offers": ANY, "limit": 10, "duration": MINUTE}
    claimed = await store.claim(owner, **(wanted | more))
    return tuple(claimed.leases)


async def test_a_claim_tells_the_time_of_the_store(store: Any, clock: ManualClock) -> None:
    clock.advance(SECOND)
    claimed = await store.claim(FAST, offers=ANY, limit=1, duration=MINUTE)
    assert claimed.at == BEGINNING + SECOND
    assert claimed.leases == ()


async def test_a_claim_of_a_new_run_brings_its_first_entry(
    store: Any, lease: Lease, clock: ManualClock
) -> None:
    assert lease.first == new_run().entry
    await store.commit(lease, progress(lease))
    clock.advance(2 * MINUTE)
    (taken,) = await claim(store, SLOW)
    assert taken.first is None


async def test_a_run_has_one_owner(store: Any, lease: Lease) -> None:
    assert (lease.token, lease.seq, lease.failures) == (1, 1, 0)
    assert await claim(store, SLOW) == ()


async def test_only_offered_tasks_are_claimed(store: Any) -> None:
    await store.create(TENANT, new_run(1, task="fly"))
    await store.create(TENANT, new_run(2, task="greet"))
    assert [lease.run for lease in await claim(store)] == [run_id(2)]
    assert [lease.run for lease in await claim(store, offers=frozenset({"fly"}))] == [run_id(1)]


async def test_no_offer_claims_nothing(store: Any) -> None:
    await store.create(TENANT, new_run(1))
    assert await claim(store, offers=frozenset()) == ()


async def test_priority_comes_before_age(store: Any) -> None:
    for number, priority in ((1, 10), (2, 20), (3, 20), (4, 30)):
        await store.create(TENANT, new_run(number, priority=priority))
    order = [(await claim(store, limit=1))[0].run for _ in range(4)]
    assert order == [run_id(4), run_id(2), run_id(3), run_id(1)]


async def test_leases_of_one_claim_are_most_urgent_first(store: Any) -> None:
    for number, priority in ((1, 10), (2, 30), (3, 20)):
        await store.create(TENANT, new_run(number, priority=priority))
    assert [lease.priority for lease in await claim(store)] == [30, 20, 10]


async def test_tenants_take_turns_within_a_claim(store: Any) -> None:
    for number in range(30):
        await store.create("big", new_run(number, tenant="big", priority=90))
    for number in range(3):
        await store.create("small", new_run(number, tenant="small"))
        await store.create("tiny", new_run(number, tenant="tiny"))
    served = Counter(lease.tenant for lease in await claim(store, limit=9))
    assert served == {"big": 3, "small": 3, "tiny": 3}


async def test_tenants_take_turns_from_claim_to_claim(store: Any) -> None:
    for number in range(10):
        for tenant in ("a", "b", "c"):
            await store.create(tenant, new_run(number, tenant=tenant, task="greet"))
    served = [(await claim(store, limit=1))[0].tenant for _ in range(6)]
    assert sorted(served[:3]) == ["a", "b", "c"]
    assert served[3:] == served[:3]
    served = [lease.tenant for _ in range(3) for lease in await claim(store, limit=2)]
    assert Counter(served) == {"a": 2, "b": 2, "c": 2}


async def test_turns_hold_across_tasks(store: Any) -> None:
    for number in range(5):
        await store.create("a", new_run(number, tenant="a", task="greet"))
        await store.create("b", new_run(number, tenant="b", task="review"))
    served = Counter(lease.tenant for lease in await claim(store, limit=4))
    assert served == {"a": 2, "b": 2}


async def test_a_run_that_sleeps_is_claimed_when_its_time_comes(
    store: Any, clock: ManualClock
) -> None:
    await store.create(TENANT, new_run(wake_at=BEGINNING + MINUTE))
    assert await claim(store) == ()
    clock.advance(MINUTE)
    assert len(await claim(store)) == 1


async def test_rule_23_an_overtaken_owner_cannot_write(
    store: Any, lease: Lease, clock: ManualClock
) -> None:
    clock.advance(2 * MINUTE)
    (taken,) = await claim(store, SLOW)
    assert taken.token == lease.token + 1
    with pytest.raises(LeaseLostError):
        await store.commit(lease, progress(lease))
    assert len(await store.read(TENANT, lease.run)) == 1


async def test_rule_23_an_expired_lease_that_nobody_took_still_commits(
    store: Any, lease: Lease, clock: ManualClock
) -> None:
    clock.advance(2 * MINUTE)
    assert (await store.commit(lease, progress(lease))).seq == 2


async def test_rule_23_an_expired_lease_that_nobody_took_is_renewed(
    store: Any, lease: Lease, clock: ManualClock
) -> None:
    clock.advance(2 * MINUTE)
    assert await claim(store, SLOW, offers=frozenset({"fly"})) == ()
    assert list(await store.renew(FAST, duration=MINUTE)) == [replace(lease, first=None)]
    assert await claim(store, SLOW) == ()


async def test_a_renewed_lease_ends_later(store: Any, lease: Lease, clock: ManualClock) -> None:
    clock.advance(timedelta(seconds=50))
    await store.renew(FAST, duration=MINUTE)
    clock.advance(timedelta(seconds=50))
    assert await claim(store, SLOW) == ()
    clock.advance(timedelta(seconds=10))
    assert len(await claim(store, SLOW)) == 1


async def test_renewing_returns_the_leases_that_are_left(
    store: Any, lease: Lease, clock: ManualClock
) -> None:
    await store.create(TENANT, new_run(2))
    (second,) = await claim(store)
    await store.release(lease)
    assert list(await store.renew(FAST, duration=MINUTE)) == [replace(second, first=None)]
    clock.advance(2 * MINUTE)
    await claim(store, SLOW)
    assert list(await store.renew(FAST, duration=MINUTE)) == []


async def test_claiming_what_was_not_released_counts_as_a_failure(
    store: Any, lease: Lease, clock: ManualClock
) -> None:
    for failures, owner in enumerate((SLOW, FAST, SLOW), start=1):
        clock.advance(2 * MINUTE)
        (lease,) = await claim(store, owner)
        assert lease.failures == failures


async def test_an_owner_does_not_claim_its_own_lease_that_ran_out(
    store: Any, lease: Lease, clock: ManualClock
) -> None:
    await store.create(TENANT, new_run(2))
    clock.advance(2 * MINUTE)
    assert [taken.run for taken in await claim(store)] == [run_id(2)]
    assert lease.run in [kept.run for kept in await store.renew(FAST, duration=MINUTE)]
    assert await claim(store, SLOW) == ()


async def test_a_committed_entry_resets_the_count_of_failures(
    store: Any, lease: Lease, clock: ManualClock
) -> None:
    clock.advance(2 * MINUTE)
    (lease,) = await claim(store, SLOW)
    assert (await store.commit(lease, progress(lease))).failures == 0
    clock.advance(2 * MINUTE)
    (lease,) = await claim(store)
    assert lease.failures == 1


async def test_a_released_run_is_no_failure(store: Any, lease: Lease) -> None:
    await store.release(lease, wake_at=BEGINNING)
    (lease,) = await claim(store, SLOW)
    assert (lease.token, lease.failures) == (2, 0)


async def test_a_released_run_rests_until_its_moment(
    store: Any, lease: Lease, clock: ManualClock
) -> None:
    await store.release(lease, wake_at=BEGINNING + MINUTE)
    assert await claim(store, SLOW) == ()
    clock.advance(MINUTE)
    assert len(await claim(store, SLOW)) == 1


async def test_a_run_released_without_a_moment_waits_for_a_message(
    store: Any, lease: Lease, clock: ManualClock
) -> None:
    await store.release(lease)
    clock.advance(timedelta(days=900))
    assert await claim(store, SLOW) == ()
    await store.post(TENANT, lease.run, cancel())
    assert len(await claim(store, SLOW)) == 1


async def test_rule_28_releasing_with_unread_messages_makes_a_run_claimable_at_once(
    store: Any, lease: Lease
) -> None:
    await store.post(TENANT, lease.run, cancel())
    await store.release(lease)
    assert len(await claim(store, SLOW)) == 1


async def test_releasing_an_old_lease_is_ignored(
    store: Any, lease: Lease, clock: ManualClock
) -> None:
    clock.advance(2 * MINUTE)
    (taken,) = await claim(store, SLOW)
    await store.release(lease, wake_at=BEGINNING)
    assert await claim(store) == ()
    assert list(await store.renew(SLOW, duration=MINUTE)) == [
        replace(taken, first=None, lost=False)
    ]


async def test_releasing_twice_is_harmless(store: Any, lease: Lease) -> None:
    await store.release(lease, wake_at=BEGINNING)
    await store.release(lease, wake_at=BEGINNING + MINUTE)
    assert len(await claim(store, SLOW)) == 1


async def test_an_expired_run_that_sleeps_is_claimed_only_when_it_is_due(
    store: Any, lease: Lease, clock: ManualClock
) -> None:
    sleeping = progress(lease, state=State.SLEEPING, wake_at=BEGINNING + 10 * MINUTE)
    await store.commit(lease, sleeping)
    clock.advance(5 * MINUTE)
    assert await claim(store, SLOW) == ()
    clock.advance(5 * MINUTE)
    assert len(await claim(store, SLOW)) == 1


async def test_rule_28_a_message_to_an_owner_that_died_is_not_lost(
    store: Any, lease: Lease, clock: ManualClock
) -> None:
    await store.post(TENANT, lease.run, cancel())
    await store.commit(lease, progress(lease, state=State.ASKED, wake_at=None))
    clock.advance(2 * MINUTE)
    (lease,) = await claim(store, SLOW)
    assert [posted.message for posted in await store.inbox(SLOW)] == [cancel()]


async def test_a_message_after_a_lease_ran_out_makes_the_run_claimable(
    store: Any, lease: Lease, clock: ManualClock
) -> None:
    await store.commit(lease, progress(lease, state=State.ASKED, wake_at=None))
    clock.advance(2 * MINUTE)
    assert await claim(store, SLOW) == ()
    await store.post(TENANT, lease.run, cancel())
    assert len(await claim(store, SLOW)) == 1


async def test_a_finished_run_is_never_claimed(
    store: Any, lease: Lease, clock: ManualClock
) -> None:
    await store.commit(lease, end(lease))
    clock.advance(timedelta(days=900))
    assert await claim(store, SLOW) == ()
    assert list(await store.renew(FAST, duration=MINUTE)) == []


async def test_a_run_created_as_finished_is_never_claimed(store: Any) -> None:
    await store.create(TENANT, new_run(state=State.DONE))
    assert await claim(store) == ()


async def test_a_commit_that_proves_nothing_keeps_the_count_of_failures(
    store: Any, lease: Lease, clock: ManualClock
) -> None:
    clock.advance(2 * MINUTE)
    (lease,) = await claim(store, SLOW)
    await store.commit(lease, replace(progress(lease), proves=False))
    clock.advance(2 * MINUTE)
    (lease,) = await claim(store)
    assert lease.failures == 2


async def test_a_claim_tells_whether_the_owner_before_released_the_run(
    store: Any, lease: Lease, clock: ManualClock
) -> None:
    assert not lease.lost
    clock.advance(2 * MINUTE)
    (lease,) = await claim(store, SLOW)
    assert lease.lost
    await store.release(lease, wake_at=BEGINNING)
    (lease,) = await claim(store)
    assert (lease.lost, lease.failures) == (False, 1)


@pytest.mark.parametrize(
    ("needs", "offered"),
    [
        ({"task": "refund"}, "refund"),
        ({"agent": "review"}, "agent:review"),
        ({"agent": 'it\'s "quoted"'}, 'agent:it\'s "quoted"'),
    ],
)
async def test_a_parked_run_is_claimed_by_those_who_have_what_it_needs(
    store: Any, lease: Lease, needs: dict[str, str], offered: str
) -> None:
    parked = replace(progress(lease), state=State.PARKED, needs=needs)
    lease = await store.commit(lease, parked)
    await store.release(lease, wake_at=BEGINNING)
    assert await claim(store, SLOW) == ()
    assert await claim(store, SLOW, offers=ANY | {"review"}) == ()
    (taken,) = await claim(store, SLOW, offers=ANY | {offered})
    assert taken.run == lease.run


async def test_a_run_that_needs_attention_may_be_claimed_by_anybody(
    store: Any, lease: Lease
) -> None:
    parked = replace(progress(lease), state=State.PARKED, needs={"attention": "look"})
    lease = await store.commit(lease, parked)
    await store.release(lease, wake_at=BEGINNING)
    assert len(await claim(store, SLOW)) == 1
