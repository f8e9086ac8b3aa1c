"""Blobs and maintenance of any store."""

from __future__ import annotations

from datetime import timedelta
from hashlib import blake2b
from typing import Any

import pytest

from astro.core.errors import KeyConflictError, RunNotFoundError
from astro.core.protocols import Commit, Lease, RunQuery
from astro.core.records import State, SucceededRecord
from tests.stores.making import (
    ANY,
    BEGINNING,
    FAST,
    MINUTE,
    TENANT,
    ManualClock,
    cancel,
    end,
    entries_of,
    new_run,
    progress,
    run_id,
)

pytestmark = pytest.mark.anyio

DAY = timedelta(days=1)
CONTENT = bytes(range(256)) * 40


def refers_to(lease: Lease, blob: str) -> Commit:
    record = SucceededRecord(seq=lease.seq + 1, at=BEGINNING, call="root/greet.1", blob=blob)
    return Commit(entries=entries_of(lease, record), state=State.RUNNING, wake_at=BEGINNING)


async def finish(store: Any, number: int, **more: Any) -> None:
    """Create a run and bring it to its end."""
    await store.create(TENANT, new_run(number, **more))
    claimed = await store.claim(FAST, offers=ANY, limit=1, duration=MINUTE)
    (lease,) = [lease for lease in claimed.leases if lease.run == run_id(number)]
    await store.commit(lease, end(lease))


async def remaining(store: Any) -> set[str]:
    return {run.id for run in (await store.runs(TENANT, RunQuery(limit=999))).items}


# --- Blobs -----------------------------------------------------------------------------------


async def test_a_blob_is_found_by_the_hash_of_its_content(store: Any) -> None:
    name = await store.put(TENANT, CONTENT)
    assert name == blake2b(CONTENT, digest_size=32).hexdigest()
    assert await store.fetch(TENANT, name) == CONTENT
    assert await store.put(TENANT, CONTENT) == name


async def test_an_empty_blob_is_a_blob(store: Any) -> None:
    assert await store.fetch(TENANT, await store.put(TENANT, b"")) == b""


async def test_a_blob_belongs_to_its_tenant(store: Any) -> None:
    name = await store.put(TENANT, CONTENT)
    with pytest.raises(RunNotFoundError):
        await store.fetch("globex", name)


async def test_a_blob_that_nobody_refers_to_goes_after_its_grace(
    store: Any, clock: ManualClock
) -> None:
    name = await store.put(TENANT, CONTENT)
    clock.advance(DAY / 2)
    await store.prune(older_than=DAY)
    assert await store.fetch(TENANT, name) == CONTENT
    clock.advance(DAY / 2)
    await store.prune(older_than=DAY)
    with pytest.raises(RunNotFoundError):
        await store.fetch(TENANT, name)


async def test_putting_a_blob_again_renews_its_grace(store: Any, clock: ManualClock) -> None:
    name = await store.put(TENANT, CONTENT)
    clock.advance(DAY * 0.9)
    await store.put(TENANT, CONTENT)
    clock.advance(DAY * 0.9)
    await store.prune(older_than=DAY)
    assert await store.fetch(TENANT, name) == CONTENT


async def test_rule_37_a_blob_lives_as_long_as_a_run_refers_to_it(
    store: Any, lease: Lease, clock: ManualClock
) -> None:
    name = await store.put(TENANT, CONTENT)
    lease = await store.commit(lease, refers_to(lease, name))
    clock.advance(30 * DAY)
    await store.prune(older_than=DAY)
    assert await store.fetch(TENANT, name) == CONTENT
    await store.commit(lease, end(lease))
    clock.advance(2 * DAY)
    assert await store.prune(older_than=DAY) == 1
    with pytest.raises(RunNotFoundError):
        await store.fetch(TENANT, name)


# --- Pruning ---------------------------------------------------------------------------------


async def test_only_runs_that_ended_long_ago_are_pruned(store: Any, clock: ManualClock) -> None:
    await finish(store, 1)
    clock.advance(2 * DAY)
    await finish(store, 2)
    await store.create(TENANT, new_run(3))
    assert await store.prune(older_than=DAY) == 1
    assert await remaining(store) == {run_id(2), run_id(3)}
    with pytest.raises(RunNotFoundError):
        await store.read(TENANT, run_id(1))


async def test_rule_37_a_family_stays_until_all_of_it_has_ended(
    store: Any, clock: ManualClock
) -> None:
    await finish(store, 1)
    await finish(store, 2, parent=run_id(1))
    await finish(store, 3, source=run_id(2))
    await store.create(TENANT, new_run(4, parent=run_id(3), wake_at=BEGINNING + 9 * DAY))
    clock.advance(5 * DAY)
    assert await store.prune(older_than=DAY) == 0
    clock.advance(5 * DAY)
    (lease,) = (await store.claim(FAST, offers=ANY, limit=1, duration=MINUTE)).leases
    await store.commit(lease, end(lease))
    clock.advance(5 * DAY)
    assert await store.prune(older_than=DAY) == 4
    assert await remaining(store) == set()


async def test_rule_37_the_key_of_a_pruned_run_stays_taken(store: Any, clock: ManualClock) -> None:
    await finish(store, 1, key="fusion")
    clock.advance(2 * DAY)
    await store.prune(older_than=DAY)
    assert await store.create(TENANT, new_run(2, key="fusion")) == run_id(1)
    with pytest.raises(KeyConflictError):
        await store.create(TENANT, new_run(3, key="fusion", fingerprint="other"))
    assert await remaining(store) == set()


async def test_the_keys_of_pruned_children_go_with_their_family(
    store: Any, clock: ManualClock
) -> None:
    await finish(store, 1)
    await finish(store, 2, parent=run_id(1), namespace=run_id(1), key="call")
    clock.advance(2 * DAY)
    assert await store.prune(older_than=DAY) == 2
    again = new_run(3, namespace=run_id(1), key="call", fingerprint="other")
    assert await store.create(TENANT, again) == run_id(3)


async def test_a_store_works_on_after_pruning(store: Any, clock: ManualClock) -> None:
    await finish(store, 1)
    clock.advance(2 * DAY)
    await store.prune(older_than=DAY)
    await store.create(TENANT, new_run(1))
    (lease,) = (await store.claim(FAST, offers=ANY, limit=1, duration=MINUTE)).leases
    await store.post(TENANT, lease.run, cancel())
    (posted,) = await store.inbox(FAST)
    await store.commit(lease, progress(lease, consumed=(posted.number,)))
    assert (await store.check()).problems == ()


async def test_many_families_are_pruned(store: Any, clock: ManualClock) -> None:
    for number in range(450):
        await store.create(TENANT, new_run(number, state=State.DONE))
    clock.advance(2 * DAY)
    assert await store.prune(older_than=DAY) == 450


# --- Checking --------------------------------------------------------------------------------


async def test_a_sound_store_has_no_problems(store: Any, lease: Lease) -> None:
    await store.commit(lease, progress(lease, entries=3))
    await store.create(TENANT, new_run(2))
    found = await store.check()
    assert (found.runs, found.entries, found.problems) == (2, 5, ())


async def test_entries_that_do_not_fit_the_chain_are_reported(store: Any, lease: Lease) -> None:
    forged = progress(lease).entries
    commit = Commit(
        entries=(type(forged[0])(2, forged[0].body + " ", forged[0].hash, lease.token),),
        state=State.RUNNING,
    )
    await store.commit(lease, commit)
    found = await store.check()
    assert len(found.problems) == 1
    assert lease.run in found.problems[0]
