"""Blobs, pruning and checking."""

from __future__ import annotations

from datetime import timedelta
from hashlib import blake2b
from typing import Any

import pytest

from astro.core.errors import KeyConflictError, RunNotFoundError
from astro.core.protocols import Commit, Lease, RunQuery
from astro.core.records import State, SucceededRecord
from astro.testing.clock import VirtualClock
from astro.testing.conformance.making import (
    ANY,
    BEGINNING,
    FAST,
    MINUTE,
    TENANT,
    cancel,
    end,
    entries_of,
    new_run,
    progress,
    run_id,
)
from astro.testing.conformance.store.opening import StoreSuite

__all__ = ["UpkeepTests"]


_DAY = timedelta(days=1)
_CONTENT = bytes(range(256)) * 40


def _refers_to(lease: Lease, blob: str) -> Commit:
    record = SucceededRecord(seq=lease.seq + 1, at=BEGINNING, call="root/greet.1", blob=blob)
    return Commit(entries=entries_of(lease, record), state=State.RUNNING, wake_at=BEGINNING)


async def _finish(store: Any, number: int, **more: Any) -> None:
    """Create a run and bring it to its end."""
    await store.create(TENANT, new_run(number, **more))
    claimed = await store.claim(FAST, offers=ANY, limit=1, duration=MINUTE)
    (lease,) = [lease for lease in claimed.leases if lease.run == run_id(number)]
    await store.commit(lease, end(lease))


async def _remaining(store: Any) -> set[str]:
    return {run.id for run in (await store.runs(TENANT, RunQuery(limit=999))).items}


class UpkeepTests(StoreSuite):
    """What a store promises of blobs, and one with maintenance of its upkeep."""

    async def test_a_blob_is_found_by_the_hash_of_its_content(self, store: Any) -> None:
        name = await store.put(TENANT, _CONTENT)
        assert name == blake2b(_CONTENT, digest_size=32).hexdigest()
        assert await store.fetch(TENANT, name) == _CONTENT
        assert await store.put(TENANT, _CONTENT) == name

    async def test_an_empty_blob_is_a_blob(self, store: Any) -> None:
        assert await store.fetch(TENANT, await store.put(TENANT, b"")) == b""

    async def test_a_blob_belongs_to_its_tenant(self, store: Any) -> None:
        name = await store.put(TENANT, _CONTENT)
        with pytest.raises(RunNotFoundError):
            await store.fetch("globex", name)

    async def test_a_blob_that_nobody_refers_to_goes_after_its_grace(
        self, store: Any, clock: VirtualClock
    ) -> None:
        self.promised("maintenance")
        name = await store.put(TENANT, _CONTENT)
        clock.advance(_DAY / 2)
        await store.prune(older_than=_DAY)
        assert await store.fetch(TENANT, name) == _CONTENT
        clock.advance(_DAY / 2)
        await store.prune(older_than=_DAY)
        with pytest.raises(RunNotFoundError):
            await store.fetch(TENANT, name)

    async def test_putting_a_blob_again_renews_its_grace(
        self, store: Any, clock: VirtualClock
    ) -> None:
        self.promised("maintenance")
        name = await store.put(TENANT, _CONTENT)
        clock.advance(_DAY * 0.9)
        await store.put(TENANT, _CONTENT)
        clock.advance(_DAY * 0.9)
        await store.prune(older_than=_DAY)
        assert await store.fetch(TENANT, name) == _CONTENT

    async def test_rule_37_a_blob_lives_as_long_as_a_run_refers_to_it(
        self, store: Any, lease: Lease, clock: VirtualClock
    ) -> None:
        self.promised("maintenance")
        name = await store.put(TENANT, _CONTENT)
        lease = await store.commit(lease, _refers_to(lease, name))
        clock.advance(30 * _DAY)
        await store.prune(older_than=_DAY)
        assert await store.fetch(TENANT, name) == _CONTENT
        await store.commit(lease, end(lease))
        clock.advance(2 * _DAY)
        assert await store.prune(older_than=_DAY) == 1
        with pytest.raises(RunNotFoundError):
            await store.fetch(TENANT, name)

    async def test_only_runs_that_ended_long_ago_are_pruned(
        self, store: Any, clock: VirtualClock
    ) -> None:
        self.promised("maintenance")
        await _finish(store, 1)
        clock.advance(2 * _DAY)
        await _finish(store, 2)
        await store.create(TENANT, new_run(3))
        assert await store.prune(older_than=_DAY) == 1
        assert await _remaining(store) == {run_id(2), run_id(3)}
        with pytest.raises(RunNotFoundError):
            await store.read(TENANT, run_id(1))

    async def test_rule_37_a_family_stays_until_all_of_it_has_ended(
        self, store: Any, clock: VirtualClock
    ) -> None:
        self.promised("maintenance")
        await _finish(store, 1)
        await _finish(store, 2, parent=run_id(1))
        await _finish(store, 3, source=run_id(2))
        await store.create(TENANT, new_run(4, parent=run_id(3), wake_at=BEGINNING + 9 * _DAY))
        clock.advance(5 * _DAY)
        assert await store.prune(older_than=_DAY) == 0
        clock.advance(5 * _DAY)
        (lease,) = (await store.claim(FAST, offers=ANY, limit=1, duration=MINUTE)).leases
        await store.commit(lease, end(lease))
        clock.advance(5 * _DAY)
        assert await store.prune(older_than=_DAY) == 4
        assert await _remaining(store) == set()

    async def test_rule_37_the_key_of_a_pruned_run_stays_taken(
        self, store: Any, clock: VirtualClock
    ) -> None:
        self.promised("maintenance")
        await _finish(store, 1, key="fusion")
        clock.advance(2 * _DAY)
        await store.prune(older_than=_DAY)
        assert await store.create(TENANT, new_run(2, key="fusion")) == run_id(1)
        with pytest.raises(KeyConflictError):
            await store.create(TENANT, new_run(3, key="fusion", fingerprint="other"))
        assert await _remaining(store) == set()

    async def test_the_keys_of_pruned_children_go_with_their_family(
        self, store: Any, clock: VirtualClock
    ) -> None:
        self.promised("maintenance")
        await _finish(store, 1)
        await _finish(store, 2, parent=run_id(1), namespace=run_id(1), key="call")
        clock.advance(2 * _DAY)
        assert await store.prune(older_than=_DAY) == 2
        again = new_run(3, namespace=run_id(1), key="call", fingerprint="other")
        assert await store.create(TENANT, again) == run_id(3)

    async def test_a_store_works_on_after_pruning(self, store: Any, clock: VirtualClock) -> None:
        self.promised("maintenance")
        await _finish(store, 1)
        clock.advance(2 * _DAY)
        await store.prune(older_than=_DAY)
        await store.create(TENANT, new_run(1))
        (lease,) = (await store.claim(FAST, offers=ANY, limit=1, duration=MINUTE)).leases
        await store.post(TENANT, lease.run, cancel())
        (posted,) = await store.inbox(FAST)
        await store.commit(lease, progress(lease, consumed=(posted.number,)))
        assert (await store.check()).problems == ()

    async def test_many_families_are_pruned(self, store: Any, clock: VirtualClock) -> None:
        self.promised("maintenance")
        for number in range(450):
            await store.create(TENANT, new_run(number, state=State.DONE))
        clock.advance(2 * _DAY)
        assert await store.prune(older_than=_DAY) == 450

    async def test_a_sound_store_has_no_problems(self, store: Any, lease: Lease) -> None:
        self.promised("maintenance")
        await store.commit(lease, progress(lease, entries=3))
        await store.create(TENANT, new_run(2))
        found = await store.check()
        assert (found.runs, found.entries, found.problems) == (2, 5, ())

    async def test_entries_that_do_not_fit_the_chain_are_reported(
        self, store: Any, lease: Lease
    ) -> None:
        self.promised("maintenance")
        forged = progress(lease).entries
        commit = Commit(
            entries=(type(forged[0])(2, forged[0].body + " ", forged[0].hash, lease.token),),
            state=State.RUNNING,
        )
        await store.commit(lease, commit)
        found = await store.check()
        assert len(found.problems) == 1
        assert lease.run in found.problems[0]
