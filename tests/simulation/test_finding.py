"""A simulation that finds nothing proves nothing: with one thing changed, it has to find it.

Each test changes a copy of one function, and says within how many seeds that is found, and by what.
"""

from __future__ import annotations

import asyncio
import itertools
import random
import re
import subprocess
import sys
from typing import Any

import pytest

from astro import Budget, Context, Retry, task
from astro.core.records import Record, SucceededRecord
from astro.decisions.ready import Readiness
from astro.decisions.replay import RunState
from astro.decisions.retrying import BackoffRetry
from astro.decisions.spending import Spending
from astro.engine import execution, mail, rest, undoing
from astro.stores.memory.books import Books
from astro.stores.memory.queue import Queue
from astro.stores.memory.store import MemoryStore
from astro.testing.jobs import Job
from astro.testing.simulation import SimulationError, simulate
from tests.simulation.mutants import ForgetsItsState, NeverReleases, TwoTransactions, mutated
from tests.simulation.scenarios import ATTEMPTS, BUDGETS, PARTS, jobs, leaf, purchases

pytestmark = pytest.mark.usefixtures("untraced")


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


def test_a_changed_byte_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    old = "run.entries.extend(commit.entries)"
    new = """run.entries.extend(
        type(one)(one.seq, one.body.replace("succeeded", "Succeeded"), one.hash, one.token)
        if commit.state.terminal else one for one in commit.entries
    )"""
    change(monkeypatch, Books, "apply", old, new)
    found("the store is in order", within=100)


def test_an_entry_that_is_not_kept_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    old = "run.entries.extend(commit.entries)"
    new = "run.entries.extend(commit.entries[: -1 if commit.state.terminal else None])"
    change(monkeypatch, Books, "apply", old, new)
    found("what is kept is what was committed", within=20)


def test_a_lease_that_is_not_given_back_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("astro.testing.world.FaultyStore", NeverReleases)
    found("engines leave no lease", within=200)


# --- Budgets ---------------------------------------------------------------------------------


def test_reservations_that_no_takeover_settles_are_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Spending, "close_all", lambda self, **_: None)
    found("a takeover settles what was reserved", within=300, jobs=purchases)


def test_a_takeover_that_is_not_charged_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    old = "if commit.used is not None:"
    new = """if commit.used is not None and '"lost":true' not in commit.entries[0].body:"""
    change(monkeypatch, Books, "apply", old, new)
    found("accounts are the sum of their runs: '", within=100, jobs=purchases)


def test_a_run_that_puts_aside_more_than_it_has_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("astro.engine.purse.require_room", lambda *asked: None)
    found("no more is held than the budget", within=100, jobs=purchases)


@pytest.mark.parametrize("what", ["calls", "tokens", "money"])
def test_no_cap_of_a_tenant_goes_unheeded(monkeypatch: pytest.MonkeyPatch, what: str) -> None:
    @task(budget=Budget(money=1.0, tokens=1), retry=Retry(attempts=2))
    async def spends(ctx: Context) -> None:
        await ctx.spend(money=1.0, tokens=1)

    def twelve(chance: random.Random) -> list[Job]:
        return [Job(task=spends) for _ in range(12)]

    monkeypatch.setattr("astro.stores.memory.accounts.require_room", lambda *asked: None)
    given: dict[str, Any] = {"parts": [spends], "jobs": twelve, "attempts": {}}
    budgets = {"default": Budget(**{what: 10})}
    found(rf"the tenant has: .* of 10 {what}", within=20, budgets=budgets, **given)


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


def test_a_state_that_is_not_on_the_table_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("astro.testing.world.FaultyStore", ForgetsItsState)
    found("states move along the table: .* from undoing to running", within=200)


def test_an_undo_that_is_left_out_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(undoing, "undo", mutated(undoing.undo, "_pending(run.state, call)", "[]"))
    found("failures are undone", within=100)


def test_an_answer_that_is_taken_twice_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    change(monkeypatch, Books, "send", " or message.once in run.used", "")
    taken = mutated(mail._answer, " and call.state is State.ASKED", "")
    monkeypatch.setattr(mail, "_answer", taken)
    found("an answer is used once", within=300)


def test_a_replay_that_looks_at_more_than_records_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    apply, numbers = RunState.apply, itertools.count()

    def counts(self: RunState, record: Record) -> None:
        apply(self, record)
        if isinstance(record, SucceededRecord):
            self.calls[record.call].agent = f"agent {next(numbers)}"

    monkeypatch.setattr(RunState, "apply", counts)
    found("replays give what was live", within=20)


def test_chance_that_reaches_a_call_is_found() -> None:
    @task
    async def gambles(ctx: Context) -> int:
        total = 0
        for _ in range(4):
            total += await ctx.call(leaf, numbers.randint(0, 1_000_000))
        return total

    def one(chance: random.Random) -> list[Job]:
        return [Job(task=gambles)]

    numbers = random.Random(0)
    found("replay gives the same: .* asked again", within=200, parts=[gambles, leaf], jobs=one)


def test_a_result_that_is_not_remembered_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    old = "memory.state is State.DONE"
    monkeypatch.setattr(execution, "ask", mutated(execution.ask, old, "False"))
    found("one result per call", within=100)


# --- What runs -------------------------------------------------------------------------------


def test_a_task_that_is_left_behind_is_found() -> None:
    left: list[asyncio.Task[None]] = []

    @task
    async def leaves(ctx: Context) -> int:
        left.append(asyncio.create_task(asyncio.sleep(1_000_000)))
        return 1

    def one(chance: random.Random) -> list[Job]:
        return [Job(task=leaves)]

    found("nothing is left: task", within=1, parts=[leaves], jobs=one)


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
