"""Budgets of tenants: a ledger beside the journals, and what commits do to it."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec.structs import replace

from astro.core.errors import BudgetExceededError, LeaseLostError
from astro.core.ledger import Ledger, Usage, ledger_of
from astro.core.policy import Budget
from astro.core.protocols import Commit, Lease
from astro.testing.clock import VirtualClock
from astro.testing.conformance.making import (
    ANY,
    MINUTE,
    SLOW,
    TENANT,
    end,
    new_run,
    progress,
)
from astro.testing.conformance.store.opening import StoreSuite

__all__ = ["BudgetTests"]


_FIVE = Usage(money=5.0)


async def _account(store: Any) -> tuple[float, float]:
    found = await store.account(TENANT)
    return found.used.money, found.reserved.money


def _saying(lease: Lease, *, used: float = 0.0, reserved: tuple[str, ...] | None = None) -> Commit:
    return replace(progress(lease), used=Usage(money=used), reserved=reserved)


class BudgetTests(StoreSuite):
    """What a store that keeps the budgets of tenants promises."""

    async def test_a_ledger_that_an_engine_would_find_is_promised(self, store: Any) -> None:
        found = ledger_of(store) is not None
        assert found is self.budgets, "An engine uses a ledger that it finds; see `budgets`."

    async def test_the_stores_keep_a_ledger(self, store: Any) -> None:
        self.promised("budgets")
        assert isinstance(store, Ledger)

    async def test_a_tenant_without_a_budget_may_use_anything(
        self, store: Any, lease: Lease
    ) -> None:
        self.promised("budgets")
        await store.reserve(lease, "a#1", Usage(money=1e9, tokens=10**12, calls=10**6))
        assert await store.account(TENANT) is None
        assert await store.budgets() == {}

    async def test_a_budget_is_that_of_its_tenant_only(self, store: Any) -> None:
        self.promised("budgets")
        await store.allow(TENANT, Budget(money=7.5))
        assert await store.budgets() == {TENANT: Budget(money=7.5)}
        assert await store.account("globex") is None

    async def test_reserved_and_used_together_never_exceed_the_budget(
        self, store: Any, lease: Lease
    ) -> None:
        self.promised("budgets")
        await store.allow(TENANT, Budget(money=12.0))
        await store.reserve(lease, "a#1", _FIVE)
        lease = await store.commit(lease, _saying(lease, used=4.0, reserved=("a#1",)))
        assert await _account(store) == (4.0, 5.0)
        with pytest.raises(BudgetExceededError, match="12 money, of which 9"):
            await store.reserve(lease, "b#1", _FIVE)
        await store.reserve(lease, "b#1", Usage(money=3.0))
        assert await _account(store) == (4.0, 8.0)

    @pytest.mark.parametrize("what", ["money", "tokens", "calls"])
    async def test_each_kind_is_limited_by_itself(
        self, store: Any, lease: Lease, what: str
    ) -> None:
        self.promised("budgets")
        amount: dict[str, Any] = {what: 2}
        await store.allow(TENANT, Budget(**amount))
        await store.reserve(lease, "a#1", Usage(**amount))
        with pytest.raises(BudgetExceededError, match=what):
            await store.reserve(lease, "b#1", Usage(**{what: 1}))

    async def test_what_a_commit_does_not_name_is_given_back(
        self, store: Any, lease: Lease
    ) -> None:
        self.promised("budgets")
        await store.allow(TENANT, Budget(money=10.0))
        await store.reserve(lease, "a#1", _FIVE)
        await store.reserve(lease, "b#1", _FIVE)
        lease = await store.commit(lease, _saying(lease, reserved=("b#1",)))
        assert await _account(store) == (0.0, 5.0)
        await store.commit(lease, _saying(lease, reserved=()))
        assert await _account(store) == (0.0, 0.0)

    async def test_a_commit_that_says_nothing_of_reservations_changes_none(
        self, store: Any, lease: Lease
    ) -> None:
        self.promised("budgets")
        await store.allow(TENANT, Budget(money=10.0))
        await store.reserve(lease, "a#1", _FIVE)
        await store.commit(lease, progress(lease))
        assert await _account(store) == (0.0, 5.0)

    async def test_the_end_of_a_run_ends_its_reservations(self, store: Any, lease: Lease) -> None:
        self.promised("budgets")
        await store.allow(TENANT, Budget(money=10.0))
        await store.reserve(lease, "a#1", _FIVE)
        await store.commit(lease, replace(end(lease), used=Usage(money=1.0)))
        assert await _account(store) == (1.0, 0.0)

    async def test_a_repeated_commit_charges_once(self, store: Any, lease: Lease) -> None:
        self.promised("budgets")
        await store.allow(TENANT, Budget(money=10.0))
        for _ in range(2):
            await store.commit(lease, _saying(lease, used=1.0))
        assert await _account(store) == (1.0, 0.0)

    async def test_reserving_again_under_one_name_replaces(self, store: Any, lease: Lease) -> None:
        self.promised("budgets")
        await store.allow(TENANT, Budget(money=5.0))
        for _ in range(2):
            await store.reserve(lease, "a#1", _FIVE)
        assert await _account(store) == (0.0, 5.0)

    async def test_an_overtaken_owner_cannot_reserve(
        self, store: Any, lease: Lease, clock: VirtualClock
    ) -> None:
        self.promised("budgets")
        await store.allow(TENANT, Budget(money=10.0))
        clock.advance(2 * MINUTE)
        await store.claim(SLOW, offers=ANY, limit=1, duration=MINUTE)
        with pytest.raises(LeaseLostError):
            await store.reserve(lease, "a#1", _FIVE)
        assert await _account(store) == (0.0, 0.0)

    async def test_a_new_budget_begins_at_nothing(self, store: Any, lease: Lease) -> None:
        self.promised("budgets")
        await store.allow(TENANT, Budget(money=1.0))
        await store.commit(lease, _saying(lease, used=1.0))
        await store.allow(TENANT, Budget(money=2.0))
        assert await _account(store) == (0.0, 0.0)
        await store.allow(TENANT, None)
        assert await store.account(TENANT) is None

    async def test_a_finished_run_reserves_nothing(self, store: Any, lease: Lease) -> None:
        self.promised("budgets")
        await store.commit(lease, end(lease))
        with pytest.raises(LeaseLostError):
            await store.reserve(lease, "a#1", _FIVE)

    async def test_runs_of_one_tenant_share_its_budget(self, store: Any, lease: Lease) -> None:
        self.promised("budgets")
        await store.allow(TENANT, Budget(calls=1))
        await store.create(TENANT, new_run(2))
        (other,) = (await store.claim(SLOW, offers=ANY, limit=1, duration=MINUTE)).leases
        await store.reserve(lease, "a#1", Usage(calls=1))
        with pytest.raises(BudgetExceededError):
            await store.reserve(other, "a#1", Usage(calls=1))
