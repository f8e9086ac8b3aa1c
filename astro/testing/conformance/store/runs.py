"""Runs: creating, reading, listing; opening and closing."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from msgspec.structs import replace

from astro.core.errors import CodecError, KeyConflictError, RunNotFoundError, StoreClosedError
from astro.core.protocols import Lease, RunQuery
from astro.core.records import Entry, State, decode_entries, verify
from astro.testing.clock import VirtualClock
from astro.testing.conformance.making import (
    ANY,
    BEGINNING,
    FAST,
    MINUTE,
    SECOND,
    TENANT,
    end,
    new_run,
    progress,
    run_id,
)
from astro.testing.conformance.store.opening import StoreSuite

__all__ = ["RunTests"]


async def _ids(store: Any, **query: Any) -> list[str]:
    page = await store.runs(TENANT, RunQuery(**query))
    return [run.id for run in page.items]


class RunTests(StoreSuite):
    """What a store promises of runs."""

    async def test_a_created_run_has_its_first_entry(self, store: Any) -> None:
        run = new_run()
        assert await store.create(TENANT, run) == run.id
        assert list(await store.read(TENANT, run.id)) == [run.entry]

    async def test_creating_the_same_run_again_is_harmless(self, store: Any) -> None:
        await store.create(TENANT, new_run())
        assert await store.create(TENANT, new_run()) == run_id(1)
        assert len(await _ids(store)) == 1

    async def test_the_same_key_gives_the_same_run(self, store: Any) -> None:
        await store.create(TENANT, new_run(1, key="fusion"))
        assert await store.create(TENANT, new_run(2, key="fusion")) == run_id(1)
        assert await _ids(store) == [run_id(1)]

    async def test_the_same_key_for_something_else_is_a_conflict(self, store: Any) -> None:
        await store.create(TENANT, new_run(1, key="fusion"))
        with pytest.raises(KeyConflictError) as caught:
            await store.create(TENANT, new_run(2, key="fusion", fingerprint="greet Grace"))
        assert caught.value.run == run_id(1)

    async def test_a_key_belongs_to_its_tenant_and_namespace(self, store: Any) -> None:
        await store.create(TENANT, new_run(1, key="fusion"))
        other = new_run(2, key="fusion", fingerprint="other")
        nested = new_run(3, key="fusion", fingerprint="third", namespace=run_id(1))
        assert await store.create("globex", other) == run_id(2)
        assert await store.create(TENANT, nested) == run_id(3)

    async def test_a_tenant_does_not_see_the_runs_of_another(
        self, store: Any, lease: Lease
    ) -> None:
        with pytest.raises(RunNotFoundError):
            await store.read("globex", lease.run)
        assert (await store.runs("globex", RunQuery())).items == ()

    async def test_two_tenants_may_have_runs_of_the_same_id(self, store: Any) -> None:
        await store.create(TENANT, new_run(1))
        await store.create("globex", new_run(1, tenant="globex", fingerprint="other"))
        assert (await store.runs("globex", RunQuery())).items[0].tenant == "globex"

    async def test_a_name_with_nul_is_refused(self, store: Any) -> None:
        with pytest.raises(CodecError, match="NUL"):
            await store.create("acme\0evil", new_run())
        with pytest.raises(CodecError, match="NUL"):
            await store.create(TENANT, new_run(key="a\0b"))

    async def test_an_entry_with_a_lone_surrogate_is_refused(self, store: Any) -> None:
        run = new_run()
        broken = Entry(run.entry.seq, '{"text":"\ud800"}', run.entry.hash, 0)
        with pytest.raises(CodecError, match="Unicode"):
            await store.create(TENANT, new_run(entry=broken))

    async def test_a_fork_begins_with_the_entries_it_copies(self, store: Any, lease: Lease) -> None:
        copied = progress(replace(lease, token=0, run=run_id(2)), entries=2).entries
        fork = new_run(2, source=lease.run, entries=copied)
        await store.create(TENANT, fork)
        found = await store.read(TENANT, run_id(2))
        assert [entry.seq for entry in found] == [1, 2, 3]
        assert found[1:] == list(copied)

    async def test_reading_goes_on_after_a_sequence_number(self, store: Any, lease: Lease) -> None:
        await store.commit(lease, progress(lease, entries=5))
        found = await store.read(TENANT, lease.run, after=2, limit=3)
        assert [entry.seq for entry in found] == [3, 4, 5]
        assert list(await store.read(TENANT, lease.run, after=6)) == []

    async def test_rule_30_what_is_read_fits_its_hash_chain(self, store: Any, lease: Lease) -> None:
        lease = await store.commit(
            lease, progress(lease, entries=3, result='"Zoë \\u0000 \\"✓\\""')
        )
        await store.commit(lease, progress(lease))
        found = await store.read(TENANT, lease.run)
        verify(found, tenant=TENANT, run=lease.run)
        result: Any = decode_entries(found)[2]
        assert bytes(result.result) == b'"Zo\xc3\xab \\u0000 \\"\xe2\x9c\x93\\""'

    async def test_runs_are_listed_newest_first_and_page_by_page(self, store: Any) -> None:
        for number in range(1, 8):
            await store.create(TENANT, new_run(number))
        first = await store.runs(TENANT, RunQuery(limit=3))
        second = await store.runs(TENANT, RunQuery(limit=3, after=first.next))
        third = await store.runs(TENANT, RunQuery(limit=3, after=second.next))
        pages = [[run.id for run in page.items] for page in (first, second, third)]
        assert pages == [
            [run_id(7), run_id(6), run_id(5)],
            [run_id(4), run_id(3), run_id(2)],
            [run_id(1)],
        ]
        assert third.next is None

    async def test_a_page_that_holds_everything_has_no_next(self, store: Any) -> None:
        await store.create(TENANT, new_run(1))
        assert (await store.runs(TENANT, RunQuery(limit=1))).next is None

    async def test_nonsense_instead_of_a_page_is_refused(self, store: Any) -> None:
        with pytest.raises(CodecError):
            await store.runs(TENANT, RunQuery(after="1 or 1=1"))

    async def test_runs_are_found_by_what_a_query_says(self, store: Any) -> None:
        await store.create(TENANT, new_run(1, key="k"))
        await store.create(TENANT, new_run(2, task="review", parent=run_id(1)))
        await store.create(TENANT, new_run(3))
        (lease,) = (await store.claim(FAST, offers=ANY, limit=1, duration=MINUTE)).leases
        await store.commit(lease, end(lease, State.FAILED))
        assert await _ids(store, key="k") == [run_id(1)]
        assert await _ids(store, task="review") == [run_id(2)]
        assert await _ids(store, parent=run_id(1)) == [run_id(2)]
        assert await _ids(store, ids=frozenset({run_id(3), run_id(9)})) == [run_id(3)]
        assert await _ids(store, unfinished=True) == [run_id(3), run_id(2)]
        assert await _ids(store, states=frozenset({State.FAILED})) == [run_id(1)]
        assert await _ids(store, states=frozenset({State.FAILED, State.READY})) == [
            run_id(3),
            run_id(2),
            run_id(1),
        ]
        assert await _ids(store, states=frozenset({State.READY}), task="review") == [run_id(2)]

    async def test_a_summary_tells_what_the_last_commit_said(
        self, store: Any, lease: Lease, clock: VirtualClock
    ) -> None:
        clock.advance(SECOND)
        wake_at = BEGINNING + timedelta(days=3)
        commit = progress(lease, state=State.PARKED, wake_at=wake_at, needs={"task": "fly"})
        await store.commit(lease, commit)
        (run,) = (await store.runs(TENANT, RunQuery())).items
        assert (run.state, run.wake_at, run.needs) == (State.PARKED, wake_at, {"task": "fly"})
        assert (run.records, run.owner) == (2, FAST)
        assert (run.created_at, run.updated_at) == (BEGINNING, BEGINNING + SECOND)

    async def test_an_expired_lease_is_no_owner_in_a_summary(
        self, store: Any, lease: Lease, clock: VirtualClock
    ) -> None:
        clock.advance(2 * MINUTE)
        (run,) = (await store.runs(TENANT, RunQuery())).items
        assert run.owner is None

    async def test_a_closed_store_refuses_everything(self, store: Any, lease: Lease) -> None:
        await store.__aexit__(None, None, None)
        try:
            with pytest.raises(StoreClosedError):
                await store.read(TENANT, lease.run)
            with pytest.raises(StoreClosedError):
                await store.commit(lease, progress(lease))
            with pytest.raises(StoreClosedError):
                await store.claim(FAST, offers=ANY, limit=1, duration=MINUTE)
            with pytest.raises(StoreClosedError):
                await store.wait(timeout=MINUTE)
        finally:
            await store.__aenter__()

    async def test_a_store_keeps_its_runs_when_it_is_opened_again(
        self, store: Any, lease: Lease
    ) -> None:
        await store.commit(lease, progress(lease))
        await store.__aexit__(None, None, None)
        await store.__aenter__()
        assert len(await store.read(TENANT, lease.run)) == 2

    async def test_a_store_that_two_engines_opened_stays_open_for_the_second(
        self, store: Any, lease: Lease
    ) -> None:
        async with store:
            pass
        assert len(await store.read(TENANT, lease.run)) == 1

    async def test_tenants_are_those_with_unfinished_runs(self, store: Any) -> None:
        assert await store.tenants() == []
        await store.create("b", new_run(1, tenant="b"))
        await store.create("a", new_run(2, tenant="a"))
        await store.create("a", new_run(3, tenant="a"))
        assert await store.tenants() == ["a", "b"]
        claimed = await store.claim(FAST, offers=ANY, limit=9, duration=MINUTE)
        for lease in claimed.leases:
            if lease.tenant == "a":
                await store.commit(lease, end(lease))
        assert await store.tenants() == ["b"]
