"""Commits: the fence, and all that travels in one transaction."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec.structs import replace

from astro.core.errors import (
    CodecError,
    KeyConflictError,
    LeaseLostError,
    RunFinishedError,
    RunNotFoundError,
)
from astro.core.messages import FinishedMessage
from astro.core.protocols import Commit, Lease, Remembered, RunQuery
from astro.core.records import State
from astro.testing.clock import VirtualClock
from astro.testing.conformance.making import (
    ANY,
    BEGINNING,
    FAST,
    MINUTE,
    SLOW,
    TENANT,
    cancel,
    end,
    new_run,
    progress,
    run_id,
)
from astro.testing.conformance.store.opening import StoreSuite

__all__ = ["CommitTests"]


class CommitTests(StoreSuite):
    """What a store promises of commits."""

    async def test_a_commit_gives_the_lease_that_follows(self, store: Any, lease: Lease) -> None:
        commit = progress(lease, entries=3)
        after = await store.commit(lease, commit)
        assert after == replace(lease, seq=4, head=commit.entries[-1].hash, first=None)
        assert (await store.commit(after, progress(after))).seq == 5

    async def test_rule_25_repeating_a_commit_that_is_the_head_is_success(
        self, store: Any, lease: Lease
    ) -> None:
        commit = progress(lease, entries=2)
        assert await store.commit(lease, commit) == await store.commit(lease, commit)
        assert len(await store.read(TENANT, lease.run)) == 3

    async def test_a_commit_from_an_old_place_is_refused(self, store: Any, lease: Lease) -> None:
        await store.commit(lease, progress(lease))
        with pytest.raises(LeaseLostError):
            await store.commit(lease, progress(lease, result='"another"'))
        assert len(await store.read(TENANT, lease.run)) == 2

    async def test_rule_25_a_commit_on_another_head_is_refused(
        self, store: Any, lease: Lease
    ) -> None:
        foreign = replace(lease, head="0" * 32)
        with pytest.raises(LeaseLostError):
            await store.commit(foreign, progress(foreign))

    async def test_a_commit_to_a_run_that_is_not_there_is_refused(
        self, store: Any, lease: Lease
    ) -> None:
        stranger = replace(lease, tenant="globex")
        with pytest.raises(LeaseLostError):
            await store.commit(stranger, progress(stranger))

    async def test_a_commit_with_a_gap_is_refused_at_the_door(
        self, store: Any, lease: Lease
    ) -> None:
        ahead = replace(lease, seq=5)
        with pytest.raises(CodecError, match="belongs"):
            await store.commit(lease, progress(ahead))

    async def test_a_commit_encoded_for_another_token_is_refused(
        self, store: Any, lease: Lease
    ) -> None:
        with pytest.raises(CodecError, match="token"):
            await store.commit(lease, progress(replace(lease, token=7)))

    async def test_an_empty_commit_is_refused(self, store: Any, lease: Lease) -> None:
        with pytest.raises(CodecError):
            await store.commit(lease, Commit(entries=(), state=State.RUNNING))

    async def test_the_first_terminal_commit_wins(self, store: Any, lease: Lease) -> None:
        await store.commit(lease, end(lease, State.DONE))
        with pytest.raises(LeaseLostError):
            await store.commit(lease, end(lease, State.CANCELLED))
        (run,) = (await store.runs(TENANT, RunQuery())).items
        assert run.state is State.DONE

    async def test_nothing_follows_a_terminal_commit(self, store: Any, lease: Lease) -> None:
        lease = await store.commit(lease, end(lease))
        with pytest.raises(LeaseLostError):
            await store.commit(lease, progress(lease))

    async def test_repeating_the_terminal_commit_is_success(self, store: Any, lease: Lease) -> None:
        commit = end(lease)
        assert await store.commit(lease, commit) == await store.commit(lease, commit)

    async def test_a_terminal_commit_closes_the_inbox(self, store: Any, lease: Lease) -> None:
        await store.post(TENANT, lease.run, cancel())
        await store.commit(lease, end(lease))
        assert list(await store.inbox(FAST)) == []
        with pytest.raises(RunFinishedError):
            await store.post(TENANT, lease.run, cancel())

    async def test_a_commit_consumes_messages(self, store: Any, lease: Lease) -> None:
        await store.post(TENANT, lease.run, cancel("one"))
        await store.post(TENANT, lease.run, cancel("two"))
        first, second = await store.inbox(FAST)
        assert first.number < second.number
        await store.commit(lease, progress(lease, consumed=(first.number,)))
        assert list(await store.inbox(FAST)) == [second]

    async def test_a_commit_consumes_only_its_own_messages(self, store: Any, lease: Lease) -> None:
        await store.create(TENANT, new_run(2))
        await store.claim(SLOW, offers=ANY, limit=1, duration=MINUTE)
        await store.post(TENANT, run_id(2), cancel())
        (posted,) = await store.inbox(SLOW)
        await store.commit(lease, progress(lease, consumed=(posted.number,)))
        assert list(await store.inbox(SLOW)) == [posted]

    async def test_a_commit_creates_runs(self, store: Any, lease: Lease) -> None:
        children = tuple(
            new_run(n, parent=lease.run, namespace=lease.run, key=f"call {n}", priority=n)
            for n in (2, 3)
        )
        await store.commit(lease, progress(lease, create=children))
        claimed = await store.claim(SLOW, offers=ANY, limit=9, duration=MINUTE)
        assert [new.run for new in claimed.leases] == [run_id(3), run_id(2)]
        assert list(await store.read(TENANT, run_id(2))) == [children[0].entry]
        (child,) = (await store.runs(TENANT, RunQuery(ids=frozenset({run_id(3)})))).items
        assert (child.parent, child.priority, child.key) == (lease.run, 3, "call 3")

    async def test_a_child_that_exists_already_is_as_good_as_created(
        self, store: Any, lease: Lease
    ) -> None:
        child = new_run(2, namespace=lease.run, key="call")
        await store.create(TENANT, child)
        assert (await store.commit(lease, progress(lease, create=(child,)))).seq == 2

    async def test_a_commit_whose_child_has_a_taken_key_is_refused_as_a_whole(
        self, store: Any, lease: Lease
    ) -> None:
        await store.create(TENANT, new_run(2, namespace=lease.run, key="call"))
        other = new_run(3, namespace=lease.run, key="call", fingerprint="other")
        with pytest.raises(KeyConflictError):
            await store.commit(lease, progress(lease, create=(new_run(4), other)))
        assert len(await store.read(TENANT, lease.run)) == 1
        with pytest.raises(RunNotFoundError):
            await store.read(TENANT, run_id(4))

    async def test_a_refused_commit_leaves_nothing_behind(
        self, store: Any, lease: Lease, clock: VirtualClock
    ) -> None:
        clock.advance(2 * MINUTE)
        (taken,) = (await store.claim(SLOW, offers=ANY, limit=1, duration=MINUTE)).leases
        late = progress(
            lease,
            create=(new_run(2),),
            outgoing=((lease.run, cancel()),),
            remember=(Remembered(key="k", result=b"1", until=BEGINNING + 9 * MINUTE),),
        )
        with pytest.raises(LeaseLostError):
            await store.commit(lease, late)
        assert [run.id for run in (await store.runs(TENANT, RunQuery())).items] == [taken.run]
        assert list(await store.inbox(SLOW)) == []
        assert await store.recall(TENANT, "k") is None

    async def test_a_commit_sends_messages_to_other_runs(self, store: Any, lease: Lease) -> None:
        await store.create(TENANT, new_run(2))
        (parent,) = (await store.claim(SLOW, offers=ANY, limit=1, duration=MINUTE)).leases
        news = FinishedMessage(run=lease.run, state=State.DONE)
        gone = (run_id(99), cancel())
        await store.commit(lease, end(lease, outgoing=((parent.run, news), gone)))
        (posted,) = await store.inbox(SLOW)
        assert (posted.run, posted.message) == (parent.run, news)

    async def test_a_message_between_runs_wakes_the_one_that_rests(
        self, store: Any, lease: Lease
    ) -> None:
        await store.create(TENANT, new_run(2, wake_at=BEGINNING + 9 * MINUTE))
        await store.commit(lease, end(lease, outgoing=((run_id(2), cancel()),)))
        claimed = await store.claim(SLOW, offers=ANY, limit=1, duration=MINUTE)
        assert [new.run for new in claimed.leases] == [run_id(2)]

    async def test_a_message_between_runs_stays_within_the_tenant(
        self, store: Any, lease: Lease
    ) -> None:
        await store.create("globex", new_run(2, tenant="globex"))
        await store.claim(SLOW, offers=ANY, limit=1, duration=MINUTE)
        await store.commit(lease, progress(lease, outgoing=((run_id(2), cancel()),)))
        assert list(await store.inbox(SLOW)) == []

    async def test_a_message_to_a_run_that_has_ended_is_dropped(
        self, store: Any, lease: Lease
    ) -> None:
        await store.create(TENANT, new_run(2))
        (other,) = (await store.claim(SLOW, offers=ANY, limit=1, duration=MINUTE)).leases
        await store.commit(other, end(other))
        assert (
            await store.commit(lease, progress(lease, outgoing=((run_id(2), cancel()),)))
        ).seq == 2

    async def test_a_commit_remembers_results_until_they_expire(
        self, store: Any, lease: Lease, clock: VirtualClock
    ) -> None:
        kept = Remembered(key="k", result='{"a":"ü"}'.encode(), until=BEGINNING + MINUTE)
        lease = await store.commit(lease, progress(lease, remember=(kept,)))
        assert await store.recall(TENANT, "k") == kept.result
        assert await store.recall("globex", "k") is None
        newer = replace(kept, result=b"2")
        await store.commit(lease, progress(lease, remember=(newer,)))
        assert await store.recall(TENANT, "k") == b"2"
        clock.advance(MINUTE)
        assert await store.recall(TENANT, "k") is None

    async def test_rule_27_everything_travels_in_one_commit(self, store: Any, lease: Lease) -> None:
        await store.create(TENANT, new_run(2))
        await store.post(TENANT, lease.run, cancel())
        (posted,) = await store.inbox(FAST)
        commit = end(
            lease,
            consumed=(posted.number,),
            create=(new_run(3), new_run(4)),
            outgoing=((run_id(2), cancel("a")), (run_id(3), cancel("b"))),
            remember=tuple(
                Remembered(key=f"k{n}", result=b"1", until=BEGINNING + MINUTE) for n in range(3)
            ),
        )
        await store.commit(lease, commit)
        claimed = await store.claim(SLOW, offers=ANY, limit=9, duration=MINUTE)
        assert {new.run for new in claimed.leases} == {run_id(2), run_id(3), run_id(4)}
        assert {item.run for item in await store.inbox(SLOW)} == {run_id(2), run_id(3)}
        assert await store.recall(TENANT, "k2") == b"1"
