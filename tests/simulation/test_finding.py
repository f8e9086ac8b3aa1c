"""A simulation that finds nothing proves nothing: with one thing changed, it has to find it.

Each test changes a copy of one function, and says within how many seeds that is found, and by what.
"""

from __future__ import annotations

import random
import re
import subprocess
import sys
from typing import Any

import pytest

from astro import Context, task
from astro.decisions.ready import Readiness
from astro.decisions.retrying import BackoffRetry
from astro.decisions.spending import Spending
from astro.engine import execution, rest
from astro.stores.memory.books import Books
from astro.stores.memory.queue import Queue
from astro.stores.memory.store import MemoryStore
from astro.testing.jobs import Job
from astro.testing.simulation import SimulationError, simulate
from tests.simulation.mutants import TwoTransactions, mutated
from tests.simulation.scenarios import ATTEMPTS, BUDGETS, PARTS, jobs, purchases


def found(wanted: str, *, within: int, **options: Any) -> int:
    """Return after how many seeds a problem is found that fits a pattern."""
    given: dict[str, Any] = {"jobs": jobs, "budgets": BUDGETS, "attempts": ATTEMPTS, **options}
    parts = given.pop("parts", PARTS)
    rest_of = iter(range(within))
    for _ in range(within):
        try:
            simulate(*parts, seeds=rest_of, **given)
        except SimulationError as error:
            fitting = [problem for problem in error.problems if re.search(wanted, problem)]
            if fitting:
                print(f"\nFound at seed {error.seed}: {fitting[0]}")
                return error.seed
        else:
            break
    raise AssertionError(f"{wanted!r} was not found within {within} seeds")


def change(monkeypatch: pytest.MonkeyPatch, owner: Any, function: str, old: str, new: str) -> None:
    monkeypatch.setattr(owner, function, mutated(getattr(owner, function), old, new))


# --- Stores ----------------------------------------------------------------------------------


def test_a_lost_update_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    old = "run.ended or at != (lease.token, lease.seq, lease.head)"
    change(monkeypatch, MemoryStore, "commit", old, "run.ended")
    found("the hash chain verifies", within=500)


def test_a_stale_token_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    old = "at != (lease.token, lease.seq, lease.head)"
    change(monkeypatch, MemoryStore, "commit", old, "at[1:] != (lease.seq, lease.head)")
    found("only the newest token commits", within=500)


def test_two_transactions_instead_of_one_are_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("astro.testing.world.FaultyStore", TwoTransactions)
    found("no accepted run is lost|accounts are the sum", within=100)


def test_a_lease_that_never_ends_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    change(monkeypatch, Queue, "advance", "self._held[0][0] <= now", "False")
    found("no accepted run is lost", within=100)


def test_a_lost_wake_up_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    change(monkeypatch, MemoryStore, "release", "now if run.inbox else wake_at", "wake_at")
    found("no accepted run is lost", within=500)


def test_a_token_that_is_handed_out_again_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    change(monkeypatch, Books, "own", "run.token += 1", "run.token = run.token or 1")
    found("tokens rise", within=20)


def test_an_answer_that_is_accepted_twice_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    change(monkeypatch, Books, "send", " or message.once in run.used", "")
    found("accepted once", within=100)


def test_runs_without_a_tenant_are_found(monkeypatch: pytest.MonkeyPatch) -> None:
    old = "self._listed.get(tenant, {}).values()"
    new = "run for runs in self._listed.values() for run in runs.values()"
    change(monkeypatch, Books, "newest", f"[*reversed({old})]", f"[{new}]")
    found("a tenant sees only its own: runs", within=100)


def test_a_journal_without_a_tenant_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    old = "self._runs.get((tenant, run))"
    new = "next((one for (_, id), one in self._runs.items() if id == run), None)"
    change(monkeypatch, Books, "find", old, new)
    found("a tenant sees only its own: (read|post)", within=100)


# --- Budgets ---------------------------------------------------------------------------------


def test_reservations_that_no_takeover_settles_are_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Spending, "close_all", lambda self, **_: None)
    found("a takeover settles what was reserved", within=300, jobs=purchases)


def test_a_takeover_that_is_not_charged_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    old = "if commit.used is not None:"
    new = """if commit.used is not None and '"lost":true' not in commit.entries[0].body:"""
    change(monkeypatch, Books, "apply", old, new)
    found("accounts are the sum of their runs: '", within=100, jobs=purchases)


def test_a_cap_that_is_not_heeded_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("astro.stores.memory.accounts.require_room", lambda *asked: None)
    found("no more is reserved than the tenant has", within=100, jobs=purchases)


# --- Time, order and attempts ----------------------------------------------------------------


def test_a_deadline_that_fires_early_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    old = "max((moment - begun).total_seconds(), 0.0)"
    early = mutated(rest.seconds_until, old, f"0.3 * {old}")
    monkeypatch.setattr(rest, "seconds_until", early)
    found("nothing fires early", within=100)


def test_a_node_that_does_not_wait_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    change(monkeypatch, Readiness, "__init__", "len(edges.all)", "len(edges.needs)")
    found("a node starts after those before it", within=100)


def test_one_attempt_too_many_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    old = "attempt >= retry.attempts"
    change(monkeypatch, BackoffRetry, "delay", old, "attempt > retry.attempts")
    found("no call has more attempts than it may", within=100)


def test_another_attempt_at_the_impossible_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    old = " or not worth_retrying(retry, error)"
    change(monkeypatch, BackoffRetry, "delay", old, "")
    found("what cannot succeed is not tried again", within=100)


def test_a_result_that_is_not_remembered_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    old = "memory.state is State.DONE"
    monkeypatch.setattr(execution, "ask", mutated(execution.ask, old, "False"))
    found("one result per call", within=100)


# --- What runs -------------------------------------------------------------------------------


def test_a_process_that_is_started_is_found() -> None:
    @task
    async def escapes(ctx: Context) -> int:
        return subprocess.call([sys.executable, "-c", ""])  # noqa: ASYNC221  # what is forbidden

    def one(chance: random.Random) -> list[Job]:
        return [Job(task=escapes)]

    found("code runs in a sandbox only", within=1, parts=[escapes], jobs=one)


def test_text_that_is_run_is_found() -> None:
    @task
    async def trusts(ctx: Context) -> int:
        return int(eval("1 + 1"))

    def one(chance: random.Random) -> list[Job]:
        return [Job(task=trusts)]

    found("code runs in a sandbox only", within=1, parts=[trusts], jobs=one)
