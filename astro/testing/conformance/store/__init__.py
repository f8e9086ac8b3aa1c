"""StoreConformance: what every store promises, as tests that its author inherits.

    class TestMyStore(StoreConformance):
        durable = True

        def make(self, clock, path):
            return MyStore(path / "runs.db", clock=clock)

What only some stores promise is an attribute of the class: a promise that is not made skips its
tests, and says so.
"""

from __future__ import annotations

from typing import ClassVar

from astro.testing.conformance.store.budgets import BudgetTests
from astro.testing.conformance.store.claims import ClaimTests
from astro.testing.conformance.store.commits import CommitTests
from astro.testing.conformance.store.leases import LeaseTests
from astro.testing.conformance.store.messages import MessageTests
from astro.testing.conformance.store.places import PlaceTests
from astro.testing.conformance.store.runs import RunTests
from astro.testing.conformance.store.upkeep import UpkeepTests
from astro.testing.conformance.store.waiting import WaitingTests

__all__ = ["StoreConformance"]


class StoreConformance(
    RunTests,
    ClaimTests,
    LeaseTests,
    CommitTests,
    MessageTests,
    WaitingTests,
    UpkeepTests,
    BudgetTests,
    PlaceTests,
):
    """What every store promises; inherit it and say how yours is made.

    Attributes:
        durable: Whether another store, made at the same place later, finds what was kept.
        shared: Whether several stores that are open at the same place at the same time, as those
            of several processes are, act as one.
        maintenance: Whether the store can be backed up, pruned and checked; see `Maintenance`.
        budgets: Whether the store keeps the budgets of tenants; see `Ledger`. An engine uses a
            ledger that it finds, so a store that has its verbs has to promise them.
        trio: Whether the store works on trio too.
        patience: What anything that ends by itself may take.
    """

    __test__: ClassVar[object] = False
