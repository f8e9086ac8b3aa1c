"""Leases, commits, the inbox, what observers see, and the hash chain: rules 23 and 25 to 30."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

import anyio
import pytest
from msgspec.structs import replace

from astro import (
    CodecError,
    Context,
    Effect,
    JournalCorruptError,
    KeyConflictError,
    LeaseLostError,
    LocalEngine,
    MemoryStore,
    Record,
    SqliteStore,
    State,
    StoreUnavailableError,
    SystemClock,
    task,
)
from astro.core.messages import FinishedMessage
from astro.core.protocols import Commit, Lease, Remembered, RunQuery
from astro.core.records import Entry, verify
from astro.engine import posting
from tests.engine.conftest import QUICK, OpenEngine
from tests.engine.hold import Hold
from tests.semantics.watching import kinds_of, until, until_status
from tests.stores.making import (
    ANY,
    BEGINNING,
    FAST,
    MINUTE,
    SLOW,
    TENANT,
    ManualClock,
    answer,
    cancel,
    end,
    new_run,
    progress,
    run_id,
)

pytestmark = pytest.mark.anyio


@task
async def echo(ctx: Context, text: str) -> str:
    return text


@task
async def approve(ctx: Context, text: str) -> str:
    return text if await ctx.ask(f"{text}?", bool) else "no"


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
async def store(where: str, clock: ManualClock, tmp_path: Path) -> AsyncIterator[Any]:
    """A store whose time stands still."""
    if where.startswith("memory"):
        made: Any = MemoryStore(clock=clock)
    else:
        made = SqliteStore(tmp_path / "manual.db", clock=clock, synchronous="NORMAL")
    async with made:
        yield made


async def claim(store: Any, owner: str) -> tuple[Lease, ...]:
    claimed = await store.claim(owner, offers=ANY, limit=9, duration=MINUTE)
    return tuple(claimed.leases)


@pytest.fixture
async def lease(store: Any) -> Lease:
    """The lease of the fast engine on the only run there is."""
    await store.create(TENANT, new_run())
    return (await claim(store, FAST))[0]


# --- 23: the fence ---------------------------------------------------------------------------


async def test_rule_23_an_expired_lease_that_nobody_took_still_commits_and_is_renewed(
    store: Any, lease: Lease, clock: ManualClock
) -> None:
    clock.advance(9 * MINUTE)  # a long pause of the process
    after = await store.commit(lease, progress(lease))
    assert after.seq == 2
    assert [one.run for one in await store.renew(FAST, duration=MINUTE)] == [lease.run]
    assert await claim(store, SLOW) == ()


async def test_rule_23_who_was_overtaken_commits_nothing_although_it_comes_first(
    store: Any, lease: Lease, clock: ManualClock
) -> None:
    clock.advance(2 * MINUTE)
    (newer,) = await claim(store, SLOW)
    with pytest.raises(LeaseLostError):
        await store.commit(lease, progress(lease))  # before the heir has written anything
    assert await store.renew(FAST, duration=MINUTE) == () or not await store.renew(
        FAST, duration=MINUTE
    )
    assert (await store.commit(newer, progress(newer))).seq == 2


async def test_rule_23_tokens_rise_with_every_claim_and_the_key_stays(
    store_of: Callable[[], Any], engine_of: OpenEngine
) -> None:
    seen: list[tuple[int, str]] = []
    hold = Hold()

    @task(effect=Effect.SPEND)
    async def pay(ctx: Context) -> None:
        seen.append((ctx.token, ctx.key))
        await hold()

    async with engine_of(pay) as engine:
        run = await engine.start(pay)
        await hold.reached.wait()
        await engine.drain(timedelta(0))
    hold.release()
    async with engine_of(pay) as engine:
        await (await engine.get(run.id))
    (old, key), (new, same) = seen
    assert new > old
    assert key == same


class NoRenewals(MemoryStore):
    """A store that cannot be reached for renewing, only."""

    async def renew(self, owner: str, /, *, duration: timedelta) -> Sequence[Lease]:
        raise StoreUnavailableError("The store cannot be reached.", remedy="Wait.")


async def test_rule_23_an_engine_that_cannot_renew_cancels_its_attempts_at_expiry(
    anyio_backend: str,
) -> None:
    ended: list[str] = []

    @task
    async def endless(ctx: Context) -> None:
        try:
            await anyio.sleep_forever()
        finally:
            ended.append("cancelled")

    options = QUICK | {"lease_for": timedelta(seconds=0.15), "grace": timedelta(0)}
    async with LocalEngine(endless, store=NoRenewals(), **options) as engine:
        run = await engine.start(endless)
        with anyio.fail_after(5):
            while not ended:
                await anyio.sleep(0.005)
        assert "abandoned" not in await kinds_of(run)  # the engine gave it up, not the task


async def test_rule_23_an_engine_that_cannot_renew_starts_nothing_after_two_thirds(
    anyio_backend: str,
) -> None:
    begun: list[str] = []
    go = anyio.Event()

    @task
    async def wait(ctx: Context) -> None:
        await go.wait()

    @task
    async def root(ctx: Context) -> None:
        await ctx.call(wait)
        begun.append("after")
        await ctx.call(echo, "next")
        begun.append("next")

    options = QUICK | {"lease_for": timedelta(seconds=0.6), "grace": timedelta(0)}
    async with LocalEngine(root, wait, echo, store=NoRenewals(), **options) as engine:
        run = await engine.start(root)
        with anyio.fail_after(5):
            while not engine.drives(run.id) or not stalled(engine, run.id):
                await anyio.sleep(0.005)
        go.set()
        with anyio.fail_after(5):
            while engine.drives(run.id):
                await anyio.sleep(0.005)
        assert "next" not in begun


def stalled(engine: LocalEngine, run: str) -> bool:
    """Return whether an engine starts nothing of a run any more."""
    return engine._ownership.owned[run].stalled


async def test_rule_23_lease_time_is_the_stores_and_not_the_engines(
    anyio_backend: str,
) -> None:
    class Behind(SystemClock):
        """The clock of a host that was set an hour back."""

        def now(self) -> Any:
            return super().now() - timedelta(hours=1)

    class Ahead(SystemClock):
        def now(self) -> Any:
            return super().now() + timedelta(hours=1)

    store = MemoryStore()
    hold = Hold()
    seen: list[int] = []

    @task
    async def root(ctx: Context) -> int:
        seen.append(ctx.token)
        await hold()
        return ctx.token

    async with LocalEngine(root, store=store, clock=Behind(), **QUICK) as slow:
        run = await slow.start(root)
        await hold.reached.wait()
        async with LocalEngine(root, store=store, clock=Ahead(), **QUICK):
            await anyio.sleep(0.1)  # its clock says that the lease has expired long ago
            assert seen == [1]
            hold.release()
        await run.cancel()


# --- 25: commits -----------------------------------------------------------------------------


class Deaf(MemoryStore):
    """A store whose acknowledgements of commits are lost as long as `lost` says so."""

    lost = 0
    at_once = most = 0

    async def commit(self, lease: Lease, commit: Commit, /) -> Lease:
        self.at_once += 1
        self.most = max(self.most, self.at_once)
        try:
            after = await super().commit(lease, commit)
            await anyio.sleep(0.002)  # somebody may cancel who waits for it, here
            return after
        finally:
            self.at_once -= 1


async def test_rule_25_a_cancelled_commit_that_has_happened_is_repeated_without_harm(
    anyio_backend: str,
) -> None:
    done: list[int] = []

    @task
    async def work(ctx: Context, item: int) -> int:
        done.append(item)
        return item

    @task
    async def root(ctx: Context) -> int:
        for item in range(5):
            with anyio.CancelScope() as scope:
                scope.cancel()  # who waits for the commit goes away while it is on its way
                await ctx.call(work, item)
        with anyio.move_on_after(0.003):
            await ctx.call(work, 98)
        return await ctx.call(work, 99)

    store = Deaf()
    async with LocalEngine(root, work, store=store, **QUICK) as engine:
        run = await engine.start(root)
        with anyio.fail_after(5):
            assert await run == 99
        records = [record async for record in run]
    assert [record.seq for record in records] == list(range(1, len(records) + 1))
    assert done.count(99) == 1


async def test_rule_25_one_commit_of_a_run_is_in_flight_at_a_time(anyio_backend: str) -> None:
    @task
    async def work(ctx: Context, item: int) -> int:
        await anyio.sleep(0.001 * (item % 3))
        return item

    @task
    async def root(ctx: Context) -> int:
        return sum(await ctx.map(work, range(30), limit=10))

    store = Deaf()
    async with LocalEngine(root, work, store=store, **QUICK) as engine:
        assert await engine.run(root) == sum(range(30))
    assert store.most == 1


async def test_rule_25_repeating_the_commit_that_is_stored_is_success_and_adds_nothing(
    store: Any, lease: Lease
) -> None:
    await store.post(TENANT, lease.run, cancel())
    (posted,) = await store.inbox(FAST)
    commit = progress(lease, consumed=(posted.number,), create=(new_run(2),))
    first = await store.commit(lease, commit)
    assert await store.commit(lease, commit) == first  # the acknowledgement was lost
    assert len(await store.read(TENANT, lease.run)) == 2
    assert len((await store.runs(TENANT, RunQuery())).items) == 2


@pytest.mark.parametrize("wrong", [{"token": 7}, {"seq": 0}, {"head": "0" * 32}])
async def test_rule_25_token_sequence_and_head_are_all_compared(
    store: Any, lease: Lease, wrong: dict[str, Any]
) -> None:
    foreign = replace(lease, **wrong)
    with pytest.raises((LeaseLostError, CodecError)):
        await store.commit(foreign, progress(foreign))
    assert len(await store.read(TENANT, lease.run)) == 1


async def test_rule_25_another_commit_from_the_same_place_is_refused(
    store: Any, lease: Lease
) -> None:
    await store.commit(lease, progress(lease, result='"one"'))
    with pytest.raises(LeaseLostError):
        await store.commit(lease, progress(lease, result='"another"'))


# --- 26: bad records -------------------------------------------------------------------------


@pytest.mark.parametrize("value", [float("nan"), "\ud800", object()])
async def test_rule_26_a_result_that_cannot_be_kept_fails_its_call_before_it_is_queued(
    engine_of: OpenEngine, value: object
) -> None:
    @task
    async def bad(ctx: Context) -> Any:
        return value

    @task
    async def root(ctx: Context) -> list[str]:
        async def one(ctx: Context) -> None:
            try:
                await ctx.call(bad)
            except Exception as error:
                found.append(type(error).__name__)

        async def other(ctx: Context) -> None:
            found.append(await ctx.call(echo, "good"))

        found: list[str] = []
        async with anyio.create_task_group() as group:
            group.start_soon(one, ctx.branch("bad"))
            group.start_soon(other, ctx.branch("good"))
        return sorted(found)

    async with engine_of(bad, echo, root) as engine:
        assert await engine.run(root) == ["CallFailedError", "good"]


async def test_rule_26_one_runs_bad_commit_does_not_refuse_anothers_in_the_same_batch(
    store: Any, lease: Lease
) -> None:
    for number in (2, 3):
        await store.create(TENANT, new_run(number))
    good, bad = await claim(store, FAST)
    kept = await store.create(TENANT, new_run(9, namespace=bad.run, key="call"))
    taken = new_run(8, namespace=bad.run, key="call", fingerprint="something else")
    found: dict[str, str] = {"": kept}

    async def commit(of: Lease, what: Commit) -> None:
        try:
            found[of.run] = f"kept {(await store.commit(of, what)).seq}"
        except Exception as error:
            found[of.run] = type(error).__name__

    async with anyio.create_task_group() as group:
        group.start_soon(commit, lease, progress(lease))
        group.start_soon(commit, bad, progress(bad, create=(taken,)))
        group.start_soon(commit, good, progress(good))
    assert found == {
        "": kept,
        lease.run: "kept 2",
        bad.run: KeyConflictError.__name__,
        good.run: "kept 2",
    }


async def test_rule_26_the_later_commits_of_the_run_with_the_bad_record_fail_with_it(
    store: Any, lease: Lease
) -> None:
    await store.create(TENANT, new_run(9, namespace=lease.run, key="call"))
    taken = new_run(8, namespace=lease.run, key="call", fingerprint="something else")
    bad = progress(lease, create=(taken,))
    after = replace(lease, seq=2, head=bad.entries[-1].hash, first=None)
    found: list[str] = []

    async def commit(of: Lease, what: Commit) -> None:
        try:
            await store.commit(of, what)
        except Exception as error:
            found.append(type(error).__name__)

    async with anyio.create_task_group() as group:
        group.start_soon(commit, lease, bad)
        group.start_soon(commit, after, progress(after))
    assert sorted(found) == ["KeyConflictError", "LeaseLostError"]
    assert len(await store.read(TENANT, lease.run)) == 1


# --- 27: one transaction ---------------------------------------------------------------------


async def test_rule_27_a_refused_commit_leaves_none_of_what_it_carried(
    store: Any, lease: Lease, clock: ManualClock
) -> None:
    await store.create(TENANT, new_run(2, wake_at=BEGINNING + 9 * MINUTE))
    clock.advance(2 * MINUTE)
    await claim(store, SLOW)
    late = progress(
        lease,
        create=(new_run(3),),
        outgoing=((run_id(2), cancel()),),
        remember=(Remembered(key="k", result=b"1", until=BEGINNING + 99 * MINUTE),),
    )
    with pytest.raises(LeaseLostError):
        await store.commit(lease, late)
    assert {run.id for run in (await store.runs(TENANT, RunQuery())).items} == {
        run_id(1),
        run_id(2),
    }
    assert await claim(store, FAST) == ()  # run 2 got no message that would have woken it
    assert await store.recall(TENANT, "k") is None


async def test_rule_27_a_child_and_the_record_that_started_it_come_together(
    engine_of: OpenEngine,
) -> None:
    @task
    async def root(ctx: Context) -> str:
        child = await ctx.start(echo, "child")
        return await child

    async with engine_of(root, echo) as engine:
        run = await engine.start(root)
        started = await until(run, "child_started")
        found = (await engine.runs(task="echo")).items
        assert [one.id for one in found] == [started.run]
        assert found[0].key == started.call  # the identity of the call that started it
        assert await run == "child"


async def test_rule_27_a_restarted_parent_does_not_start_its_child_again(
    engine_of: OpenEngine,
) -> None:
    hold = Hold()

    @task
    async def root(ctx: Context) -> str:
        child = await ctx.start(echo, "child")
        await hold()
        return await child

    async with engine_of(root, echo) as engine:
        run = await engine.start(root)
        await hold.reached.wait()
        await engine.drain(timedelta(0))
    hold.release()
    async with engine_of(root, echo) as engine:
        with anyio.fail_after(5):
            assert await (await engine.get(run.id)) == "child"
        assert len((await engine.runs(task="echo")).items) == 1


async def test_rule_27_the_end_of_a_child_and_the_news_of_it_come_together(
    store: Any, lease: Lease
) -> None:
    await store.create(TENANT, new_run(2))
    await store.release(lease, wake_at=None)  # the parent rests
    (child,) = (one for one in await claim(store, SLOW) if one.run == run_id(2))
    news = FinishedMessage(run=child.run, state=State.DONE)
    await store.commit(child, end(child, outgoing=((lease.run, news),)))
    (parent,) = await claim(store, FAST)
    assert parent.run == lease.run
    assert [posted.message for posted in await store.inbox(FAST)] == [news]


# --- 28: the inbox ---------------------------------------------------------------------------


async def test_rule_28_a_message_that_comes_while_the_run_is_released_is_no_lost_wake_up(
    store: Any, lease: Lease
) -> None:
    # The owner has read its inbox, found nothing, and is about to let the run rest for ever.
    assert list(await store.inbox(FAST)) == []
    await store.post(TENANT, lease.run, answer())
    await store.release(lease, wake_at=None)
    assert [one.run for one in await claim(store, SLOW)] == [lease.run]


async def test_rule_28_a_message_to_a_run_that_nobody_owns_makes_it_claimable(
    store: Any, lease: Lease
) -> None:
    await store.release(lease, wake_at=None)
    assert await claim(store, SLOW) == ()
    await store.post(TENANT, lease.run, answer())
    assert [one.run for one in await claim(store, SLOW)] == [lease.run]


async def test_rule_28_outsiders_write_nothing_into_the_journal(store: Any, lease: Lease) -> None:
    before = list(await store.read(TENANT, lease.run))
    for message in (answer(), cancel("one"), cancel("two")):
        await store.post(TENANT, lease.run, message)
    assert list(await store.read(TENANT, lease.run)) == before
    assert (await store.commit(lease, progress(lease))).seq == 2  # the head has not moved


async def test_rule_28_a_message_is_consumed_by_the_commit_that_answers_it_only(
    store: Any, lease: Lease, clock: ManualClock
) -> None:
    await store.post(TENANT, lease.run, cancel())
    (posted,) = await store.inbox(FAST)
    clock.advance(2 * MINUTE)  # its reader dies before it has committed anything
    await claim(store, SLOW)
    assert list(await store.inbox(SLOW)) == [posted]
    (lease,) = await store.renew(SLOW, duration=MINUTE)
    await store.commit(lease, progress(lease, consumed=(posted.number,)))
    assert list(await store.inbox(SLOW)) == []


async def test_rule_28_an_answer_posted_over_and_over_while_engines_let_go_is_acted_on_once(
    engine_of: OpenEngine,
) -> None:
    async with engine_of(approve, idle_for=timedelta(milliseconds=1)) as engine:
        run = await engine.start(approve, "pay")
        await until(run, "asked")
        await until_status(run, lambda one: one.owner is None)
        await posting.answer(engine.store, run.tenant, run.id, True)
        with anyio.fail_after(5):
            assert await run == "pay"
        assert (await kinds_of(run)).count("answered") == 1


# --- 29: who sees what, when -----------------------------------------------------------------


class Witness:
    """Compares what it is shown with what the store has by then."""

    def __init__(self, store: Any) -> None:
        self.store = store
        self.early: list[Record] = []
        self.seen: list[Record] = []

    async def observe(self, tenant: str, run: str, records: Sequence[Record], /) -> None:
        kept = len(await self.store.read(tenant, run))
        self.early.extend(record for record in records if record.seq > kept)
        self.seen.extend(records)


async def test_rule_29_observers_see_a_record_after_it_is_kept(
    store_of: Callable[[], Any],
) -> None:
    @task
    async def root(ctx: Context) -> str:
        await ctx.map(echo, list("abc"))
        return await ctx.call(echo, "last")

    store = store_of()
    witness = Witness(store)
    async with LocalEngine(root, echo, store=store, observers=[witness], **QUICK) as engine:
        run = await engine.start(root)
        await run
        while len(witness.seen) < (await run.status()).records - 1:
            await anyio.sleep(0.001)
    assert witness.early == []
    seqs = [record.seq for record in witness.seen]
    assert seqs == sorted(seqs)


class Refusing(MemoryStore):
    """A store that takes no commit with a result of `work`."""

    async def commit(self, lease: Lease, commit: Commit, /) -> Lease:
        if any(b'"secret"' in bytes(entry.body) for entry in commit.entries):
            raise StoreUnavailableError("The store cannot be reached.", remedy="Wait.")
        return await super().commit(lease, commit)


async def test_rule_29_a_parent_does_not_see_a_result_that_was_not_kept(
    anyio_backend: str,
) -> None:
    seen: list[str] = []

    @task
    async def root(ctx: Context) -> str:
        seen.append(await ctx.call(echo, "secret"))
        return "never"

    options = QUICK | {"grace": timedelta(0)}
    async with LocalEngine(root, echo, store=Refusing(), **options) as engine:
        await engine.start(root)
        while engine._ownership.healthy:
            await anyio.sleep(0.001)
    assert seen == []


async def test_rule_29_what_was_emitted_is_emitted_once_whatever_is_replayed(
    engine_of: OpenEngine,
) -> None:
    hold = Hold()

    @task
    async def root(ctx: Context) -> None:
        ctx.emit("progress", 1)
        await ctx.call(echo, "kept")
        await hold()
        ctx.emit("progress", 2)

    async with engine_of(root, echo) as engine:
        run = await engine.start(root)
        await hold.reached.wait()
        await engine.drain(timedelta(0))
    hold.release()
    async with engine_of(root, echo) as engine:
        again = await engine.get(run.id)
        await again
        emitted = [record.call async for record in again if record.kind == "emitted"]
    assert len(emitted) == 2
    assert len(set(emitted)) == 2


async def test_rule_29_a_cursor_is_the_sequence_number_of_one_run(engine_of: OpenEngine) -> None:
    async with engine_of(echo) as engine:
        one, two = await engine.start(echo, "one"), await engine.start(echo, "two")
        await one
        await two
        for run in (one, two):
            everything = [record async for record in run]
            assert [record.seq for record in everything] == list(range(1, len(everything) + 1))
            for cursor in range(len(everything) + 1):
                rest = [record async for record in run.records(after=cursor)]
                assert rest == everything[cursor:]


# --- 30: the hash chain ----------------------------------------------------------------------


def changed(entries: list[Entry]) -> list[Entry]:
    return [*entries[:-1], replace(entries[-1], body=entries[-1].body.replace("hello", "adieu"))]


def dropped(entries: list[Entry]) -> list[Entry]:
    return [entries[0], *entries[2:]]


def swapped(entries: list[Entry]) -> list[Entry]:
    return [entries[0], entries[2], entries[1], *entries[3:]]


def of_another_token(entries: list[Entry]) -> list[Entry]:
    return [*entries[:-1], replace(entries[-1], token=entries[-1].token + 1)]


def of_another_place(entries: list[Entry]) -> list[Entry]:
    return [*entries[:-1], replace(entries[-1], seq=entries[-1].seq + 1)]


@pytest.mark.parametrize("forge", [changed, dropped, swapped, of_another_token, of_another_place])
async def test_rule_30_the_chain_covers_body_order_token_and_sequence(
    store: Any, lease: Lease, forge: Callable[[list[Entry]], list[Entry]]
) -> None:
    await store.commit(lease, progress(lease, entries=3))
    entries = list(await store.read(TENANT, lease.run))
    verify(entries, tenant=TENANT, run=lease.run)
    with pytest.raises(JournalCorruptError):
        verify(forge(entries), tenant=TENANT, run=lease.run)


@pytest.mark.parametrize("whose", [{"tenant": "globex"}, {"run": run_id(2)}])
async def test_rule_30_records_of_one_run_do_not_pass_for_anothers(
    store: Any, lease: Lease, whose: dict[str, str]
) -> None:
    await store.commit(lease, progress(lease))
    entries = list(await store.read(TENANT, lease.run))
    with pytest.raises(JournalCorruptError):
        verify(entries, **({"tenant": TENANT, "run": lease.run} | whose))
