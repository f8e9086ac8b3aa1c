"""Stores that are broken, each in one way, and the tests that are meant to find it."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, ClassVar

from msgspec.structs import replace

from astro.core.clock import Clock
from astro.core.errors import BudgetExceededError, LeaseLostError, RunNotFoundError
from astro.core.ledger import Usage
from astro.core.messages import AnswerMessage, Message, Posted
from astro.core.protocols import Claimed, Commit, Lease, NewRun, Page, RunQuery, RunSummary
from astro.core.records import Entry, decode_entry, encode_record
from astro.stores.memory import MemoryStore
from astro.testing.conformance import StoreConformance


class BrokenStore(StoreConformance):
    """Made of a sound store, with little patience for what never comes."""

    patience = timedelta(milliseconds=300)
    maintenance = True
    budgets = True
    found_by: ClassVar[tuple[str, ...]]
    kind: ClassVar[type[MemoryStore]]

    def make(self, clock: Clock, path: Path) -> Any:
        return self.kind(clock=clock)


class SoundStore(BrokenStore):
    kind = MemoryStore
    found_by = ()


class _AcceptsStaleTokens(MemoryStore):
    """Takes whatever was encoded for an older lease over to the newest one."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.newest: dict[tuple[str, str], Lease] = {}

    async def claim(
        self, owner: str, /, *, offers: frozenset[str], limit: int, duration: timedelta
    ) -> Claimed:
        claimed = await super().claim(owner, offers=offers, limit=limit, duration=duration)
        self.newest |= {(lease.tenant, lease.run): lease for lease in claimed.leases}
        return claimed

    async def commit(self, lease: Lease, commit: Commit, /) -> Lease:
        newest = self.newest.get((lease.tenant, lease.run), lease)
        if newest.token != lease.token:
            entries, head = [], newest.head
            for entry in commit.entries:
                entries.append(
                    encode_record(
                        decode_entry(entry),
                        tenant=newest.tenant,
                        run=newest.run,
                        token=newest.token,
                        head=head,
                    )
                )
                head = entries[-1].hash
            lease, commit = newest, replace(commit, entries=tuple(entries))
        after = await super().commit(lease, commit)
        self.newest[lease.tenant, lease.run] = after
        return after


class AcceptsStaleTokens(BrokenStore):
    kind = _AcceptsStaleTokens
    found_by = ("test_rule_23_an_overtaken_owner_cannot_write",)


class _LosesWakeUps(MemoryStore):
    async def release(self, lease: Lease, /, *, wake_at: datetime | None = None) -> None:
        await super().release(lease)


class LosesWakeUps(BrokenStore):
    kind = _LosesWakeUps
    found_by = (
        "test_a_released_run_rests_until_its_moment",
        "test_a_released_run_is_no_failure",
        "test_a_run_of_another_owner_is_heard_of_when_it_is_released",
    )


class _IgnoresTenants(MemoryStore):
    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.whose: dict[str, str] = {}

    async def create(self, tenant: str, run: NewRun, /) -> str:
        self.whose.setdefault(run.id, tenant)
        return await super().create(tenant, run)

    async def read(
        self, tenant: str, run: str, /, *, after: int = 0, limit: int = 1_000
    ) -> Sequence[Entry]:
        try:
            return await super().read(tenant, run, after=after, limit=limit)
        except RunNotFoundError:
            return await super().read(self.whose.get(run, tenant), run, after=after, limit=limit)


class IgnoresTenants(BrokenStore):
    kind = _IgnoresTenants
    found_by = ("test_a_tenant_does_not_see_the_runs_of_another",)


class _RefusesRepeatedCommits(MemoryStore):
    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.seen: set[str] = set()

    async def commit(self, lease: Lease, commit: Commit, /) -> Lease:
        after = await super().commit(lease, commit)
        if after.head in self.seen:
            raise LeaseLostError(lease.owner, lease.run)
        self.seen.add(after.head)
        return after


class RefusesRepeatedCommits(BrokenStore):
    kind = _RefusesRepeatedCommits
    found_by = (
        "test_rule_25_repeating_a_commit_that_is_the_head_is_success",
        "test_repeating_the_terminal_commit_is_success",
    )


class _ForgetsKeys(MemoryStore):
    async def create(self, tenant: str, run: NewRun, /) -> str:
        return await super().create(tenant, replace(run, key=None))


class ForgetsKeys(BrokenStore):
    kind = _ForgetsKeys
    found_by = (
        "test_the_same_key_gives_the_same_run",
        "test_the_same_key_for_something_else_is_a_conflict",
    )


class _TakesTwoAnswers(MemoryStore):
    async def post(self, tenant: str, run: str, message: Message, /) -> None:
        if isinstance(message, AnswerMessage):
            message = replace(message, once=None)
        await super().post(tenant, run, message)


class TakesTwoAnswers(BrokenStore):
    kind = _TakesTwoAnswers
    found_by = ("test_a_question_has_one_answer",)


class _ShowsEveryInbox(MemoryStore):
    async def inbox(self, owner: str, /) -> Sequence[Posted]:
        found = [await super(_ShowsEveryInbox, self).inbox(one) for one in {owner, "fast", "slow"}]
        return [posted for messages in found for posted in messages]


class ShowsEveryInbox(BrokenStore):
    kind = _ShowsEveryInbox
    found_by = ("test_an_inbox_shows_only_what_its_owner_holds",)


class _ListsEverythingAtOnce(MemoryStore):
    async def runs(self, tenant: str, query: RunQuery, /) -> Page[RunSummary]:
        return await super().runs(tenant, replace(query, limit=999))


class ListsEverythingAtOnce(BrokenStore):
    kind = _ListsEverythingAtOnce
    found_by = ("test_runs_are_listed_newest_first_and_page_by_page",)


class _HearsNothing(MemoryStore):
    def __init__(self, *, clock: Clock) -> None:
        super().__init__(clock=clock)
        self.clock = clock

    async def wait(self, /, *, timeout: timedelta) -> None:
        await self.clock.sleep(timeout)


class HearsNothing(BrokenStore):
    kind = _HearsNothing
    found_by = (
        "test_news_ends_a_wait",
        "test_news_between_looking_and_waiting_are_not_missed",
        "test_a_wait_ends_when_a_lease_runs_out",
    )


class _OverspendsBudgets(MemoryStore):
    async def reserve(self, lease: Lease, name: str, amount: Usage, /) -> None:
        try:
            await super().reserve(lease, name, amount)
        except BudgetExceededError:
            return


class OverspendsBudgets(BrokenStore):
    kind = _OverspendsBudgets
    found_by = (
        "test_reserved_and_used_together_never_exceed_the_budget",
        "test_runs_of_one_tenant_share_its_budget",
    )


class _PrunesEverything(MemoryStore):
    async def prune(self, /, *, older_than: timedelta) -> int:
        return await super().prune(older_than=timedelta(0))


class PrunesTooSoon(BrokenStore):
    kind = _PrunesEverything
    found_by = ("test_only_runs_that_ended_long_ago_are_pruned",)


class KeepsItsLedgerToItself(BrokenStore):
    kind = MemoryStore
    budgets = False
    found_by = ("test_a_ledger_that_an_engine_would_find_is_promised",)


class PromisesTooMuch(BrokenStore):
    kind = MemoryStore
    durable = True
    shared = True
    found_by = (
        "test_another_store_at_the_same_place_finds_what_was_kept",
        "test_tokens_go_on_rising_at_the_same_place",
        "test_a_run_that_one_store_has_given_away_the_other_does_not",
        "test_the_fence_holds_across_stores",
        "test_a_key_is_taken_in_both_stores",
        "test_a_message_reaches_an_owner_at_the_other_store",
        "test_news_at_one_store_end_a_wait_at_the_other",
        "test_many_claims_at_once_give_each_run_to_one_owner",
    )
