"""The door of stores: what both kinds refuse, and what both give back as it was.

Texts are data in every place: what looks like SQL, a pattern or a path names only itself.
"""

from __future__ import annotations

import math
import os
import sqlite3
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import anyio
import pytest
from msgspec.structs import replace

from astro import (
    AlreadyAnsweredError,
    Budget,
    BudgetExceededError,
    CodecError,
    JournalCorruptError,
    KeyConflictError,
    LeaseLostError,
    MemoryStore,
    RunFinishedError,
    RunNotFoundError,
    SqliteStore,
    State,
    StoreError,
    StoreUnavailableError,
)
from astro.core.errors import SchemaTooNewError, StoreClosedError
from astro.core.ledger import Usage
from astro.core.messages import AnswerMessage, CancelMessage
from astro.core.protocols import Commit, Lease, Remembered, RunQuery
from astro.core.records import Raw, verify
from astro.engine.posting import read_all
from tests.bad_input.cases import Case, Odd, each, refused
from tests.stores.making import (
    ANY,
    BEGINNING,
    FAST,
    MINUTE,
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

NUL = "contains NUL"
UNICODE = "not valid Unicode"


class House:
    """An open store with one run under a lease."""

    def __init__(self, store: Any, lease: Lease) -> None:
        self.store = store
        self.lease = lease

    async def listed(self) -> list[Any]:
        page = await self.store.runs(TENANT, RunQuery())
        return [(run.id, run.state, run.records) for run in page.items]


KINDS = ("memory", "sqlite")


@asynccontextmanager
async def opened(kind: str, folder: Path) -> AsyncIterator[House]:
    """Open a store of one kind."""
    clock = ManualClock()
    store: Any = MemoryStore(clock=clock)
    if kind == "sqlite":
        store = SqliteStore(folder / "a.db", clock=clock, synchronous="NORMAL")
    with anyio.fail_after(30):
        async with store:
            await store.create(TENANT, new_run())
            claimed = await store.claim(FAST, offers=ANY, limit=1, duration=MINUTE)
            yield House(store, claimed.leases[0])


@pytest.fixture(params=KINDS)
async def house(request: Any, tmp_path: Path) -> AsyncIterator[House]:
    async with opened(request.param, tmp_path) as house:
        yield house


async def _refused(house: House, case: Case) -> None:
    before = await house.listed()
    with refused(case):
        await case.what(house)
    assert await house.listed() == before
    assert (await house.store.check()).problems == ()
    await house.store.commit(house.lease, progress(house.lease))  # the lease still holds


def remade(**fields: Any) -> Any:
    return new_run(2, **fields)


FIRST = new_run(2).entry
CREATES = [
    Case("tenant-nul", lambda h: h.store.create("a\0b", remade()), CodecError, NUL),
    Case("tenant-surrogate", lambda h: h.store.create("\ud800", remade()), CodecError, UNICODE),
    Case("id-nul", lambda h: h.store.create(TENANT, remade(id="a\0")), CodecError, NUL),
    Case(
        "id-surrogate", lambda h: h.store.create(TENANT, remade(id="\udfff")), CodecError, UNICODE
    ),
    Case("key-nul", lambda h: h.store.create(TENANT, remade(key="\0")), CodecError, NUL),
    Case("task-nul", lambda h: h.store.create(TENANT, remade(task="a\0")), CodecError, NUL),
    Case(
        "namespace-nul", lambda h: h.store.create(TENANT, remade(namespace="\0")), CodecError, NUL
    ),
    Case(
        "parent-surrogate",
        lambda h: h.store.create(TENANT, remade(parent="\ud800")),
        CodecError,
        UNICODE,
    ),
    Case(
        "no-hash",
        lambda h: h.store.create(TENANT, remade(entry=replace(FIRST, hash=""))),
        CodecError,
        "no proper hash or token",
    ),
    Case(
        "seq-two",
        lambda h: h.store.create(TENANT, remade(entry=replace(FIRST, seq=2))),
        CodecError,
        "entry 2 where 1 belongs",
    ),
    Case(
        "token-negative",
        lambda h: h.store.create(TENANT, remade(entry=replace(FIRST, token=-1))),
        CodecError,
        "no proper hash or token",
    ),
    Case(
        "token-huge",
        lambda h: h.store.create(TENANT, remade(entry=replace(FIRST, token=2**63))),
        CodecError,
        "no proper hash or token",
    ),
    Case(
        "body-surrogate",
        lambda h: h.store.create(TENANT, remade(entry=replace(FIRST, body="\ud800"))),
        CodecError,
        UNICODE,
    ),
    Case(
        "copies-with-a-gap",
        lambda h: h.store.create(TENANT, remade(entries=(replace(FIRST, seq=3),))),
        CodecError,
        "entry 3 where 2 belongs",
    ),
    Case(
        "same-id-other-arguments",
        lambda h: h.store.create(TENANT, new_run(1, fingerprint="x")),
        KeyConflictError,
        "another task or arguments",
    ),
]


@each(CREATES)
async def test_a_run_that_cannot_be_kept_is_not_created(house: House, case: Case) -> None:
    await _refused(house, case)


def committing(change: Any) -> Any:
    """Return what commits something that was changed for the worse."""

    async def commit(house: House) -> None:
        lease, made = change(house.lease, progress(house.lease))
        await house.store.commit(lease, made)

    return commit


def entry(made: Commit, **fields: Any) -> Commit:
    return replace(made, entries=(replace(made.entries[0], **fields),))


LARGE = 64 * 1024 * 1024 + 1
COMMITS = [
    Case(
        "empty",
        committing(lambda lease, made: (lease, replace(made, entries=()))),
        CodecError,
        "no entries",
    ),
    Case(
        "seq-gap",
        committing(lambda lease, made: (lease, entry(made, seq=3))),
        CodecError,
        "entry 3 where 2 bel",
    ),
    Case(
        "seq-again",
        committing(lambda lease, made: (lease, entry(made, seq=1))),
        CodecError,
        "entry 1 where 2",
    ),
    Case(
        "other-token",
        committing(lambda lease, made: (lease, entry(made, token=7))),
        CodecError,
        "for token 1",
    ),
    Case(
        "hash-short",
        committing(lambda lease, made: (lease, entry(made, hash="ab"))),
        CodecError,
        "proper hash",
    ),
    Case(
        "body-surrogate",
        committing(lambda lease, made: (lease, entry(made, body="\ud800"))),
        CodecError,
        UNICODE,
    ),
    Case(
        "body-64-mib",
        committing(lambda lease, made: (lease, entry(made, body="x" * LARGE))),
        CodecError,
        "67,108,865",
    ),
    Case(
        "entries-2-to-the-28",
        committing(lambda lease, made: (replace(lease, seq=2**28 - 1), made)),
        CodecError,
        "no run may have more than",
    ),
    Case(
        "message-to-nul",
        committing(lambda lease, made: (lease, replace(made, outgoing=(("\0", cancel()),)))),
        CodecError,
        NUL,
    ),
    Case(
        "result-key-nul",
        committing(
            lambda lease, made: (
                lease,
                replace(made, remember=(Remembered(key="\0", result=b"1", until=BEGINNING),)),
            )
        ),
        CodecError,
        NUL,
    ),
    Case(
        "child-twice",
        committing(lambda lease, made: (lease, replace(made, create=(new_run(5), new_run(5))))),
        CodecError,
        "creates one run twice",
    ),
    Case(
        "children-of-a-key",
        committing(
            lambda lease, made: (
                lease,
                replace(made, create=(new_run(5, key="k"), new_run(6, key="k"))),
            )
        ),
        CodecError,
        "one run twice",
    ),
    Case(
        "child-with-nul",
        committing(lambda lease, made: (lease, replace(made, create=(new_run(5, key="\0"),)))),
        CodecError,
        NUL,
    ),
    Case(
        "child-of-a-taken-id",
        committing(
            lambda lease, made: (lease, replace(made, create=(new_run(1, fingerprint="x"),)))
        ),
        KeyConflictError,
        "another task or arguments",
    ),
    Case(
        "foreign-token",
        committing(lambda lease, made: (replace(lease, token=2), entry(made, token=2))),
        LeaseLostError,
        "lost its lease",
    ),
    Case(
        "foreign-tenant",
        committing(lambda lease, made: (replace(lease, tenant="globex"), made)),
        LeaseLostError,
        "lost its lease",
    ),
    Case(
        "foreign-run",
        committing(lambda lease, made: (replace(lease, run=run_id(9)), made)),
        LeaseLostError,
        "lost its lease",
    ),
    Case(
        "run-of-sql",
        committing(lambda lease, made: (replace(lease, run="' or 1=1 --"), made)),
        LeaseLostError,
        "or 1=1",
    ),
    Case(
        "foreign-head",
        committing(lambda lease, made: (replace(lease, head="0" * 32), made)),
        LeaseLostError,
        "lost its lease",
    ),
]


@each(COMMITS)
async def test_a_commit_that_does_not_fit_changes_nothing(house: House, case: Case) -> None:
    await _refused(house, case)


POSTS = [
    Case(
        "unknown-run",
        lambda h: h.store.post(TENANT, run_id(9), cancel()),
        RunNotFoundError,
        "There is no run",
    ),
    Case(
        "other-tenant",
        lambda h: h.store.post("globex", h.lease.run, cancel()),
        RunNotFoundError,
        "There is no run",
    ),
    Case(
        "run-of-sql",
        lambda h: h.store.post(TENANT, "' or 1=1 --", cancel()),
        RunNotFoundError,
        "There is no run",
    ),
    Case("run-nul", lambda h: h.store.post(TENANT, h.lease.run + "\0", cancel()), CodecError, NUL),
    Case(
        "once-nul", lambda h: h.store.post(TENANT, h.lease.run, answer(once="a\0")), CodecError, NUL
    ),
    Case(
        "too-late",
        lambda h: h.store.post(TENANT, h.lease.run, answer(not_after=BEGINNING - MINUTE)),
        AlreadyAnsweredError,
        "takes no answer any more",
    ),
    Case(
        "read-unknown", lambda h: h.store.read(TENANT, "x"), RunNotFoundError, "There is no run 'x'"
    ),
    Case(
        "read-of-sql",
        lambda h: h.store.read("' or 1=1 --", h.lease.run),
        RunNotFoundError,
        "There is no run",
    ),
    Case(
        "fetch-unknown",
        lambda h: h.store.fetch(TENANT, "0" * 64),
        RunNotFoundError,
        "There is no run '0000",
    ),
    Case(
        "fetch-path",
        lambda h: h.store.fetch(TENANT, "../../etc/passwd"),
        RunNotFoundError,
        "passwd",
    ),
    Case(
        "fetch-empty", lambda h: h.store.fetch(TENANT, ""), RunNotFoundError, "There is no run ''"
    ),
    Case(
        "claim-nul",
        lambda h: h.store.claim("a\0", offers=ANY, limit=1, duration=MINUTE),
        CodecError,
        NUL,
    ),
    Case(
        "page",
        lambda h: h.store.runs(TENANT, RunQuery(after="1; drop table runs")),
        CodecError,
        "where a page begins",
    ),
    Case("put-tenant-nul", lambda h: h.store.put("a\0", b"x"), CodecError, NUL),
    Case("allow-tenant-nul", lambda h: h.store.allow("a\0", Budget(money=1)), CodecError, NUL),
    Case(
        "reserve-name-nul",
        lambda h: h.store.reserve(h.lease, "a\0", Usage(calls=1)),
        CodecError,
        NUL,
    ),
    Case(
        "reserve-foreign",
        lambda h: h.store.reserve(replace(h.lease, token=9), "a", Usage()),
        LeaseLostError,
        "lost its lease",
    ),
]


@each(POSTS)
async def test_a_name_that_is_nobodys_finds_nothing(house: House, case: Case) -> None:
    await _refused(house, case)


TWICE = [
    Case(
        "answered-twice",
        lambda h: h.store.post(TENANT, h.lease.run, answer()),
        AlreadyAnsweredError,
        "takes no answer",
    ),
    Case(
        "other-answer",
        lambda h: h.store.post(
            TENANT, h.lease.run, AnswerMessage(call="x", answer=Raw(b"0"), once="ask")
        ),
        AlreadyAnsweredError,
        "takes no answer",
    ),
]


@each(TWICE)
async def test_a_question_takes_one_answer(house: House, case: Case) -> None:
    await house.store.post(TENANT, house.lease.run, answer())
    await _refused(house, case)
    assert len(await house.store.inbox(FAST)) == 1


AFTERWARDS = [
    Case(
        "post",
        lambda h: h.store.post(TENANT, h.lease.run, cancel()),
        RunFinishedError,
        "already ended",
    ),
    Case(
        "commit", lambda h: h.store.commit(h.lease, progress(h.lease)), LeaseLostError, "lost its"
    ),
    Case(
        "reserve",
        lambda h: h.store.reserve(h.lease, "a", Usage()),
        LeaseLostError,
        "lost its lease",
    ),
]


@each(AFTERWARDS)
async def test_a_run_that_has_ended_takes_nothing(house: House, case: Case) -> None:
    await house.store.commit(house.lease, end(house.lease))
    before = await house.listed()
    with refused(case):
        await case.what(house)
    assert await house.listed() == before


async def test_a_reservation_beyond_the_budget_is_refused(house: House) -> None:
    await house.store.allow(TENANT, Budget(money=1.0))
    with pytest.raises(BudgetExceededError, match="has a budget of 1 money"):
        await house.store.reserve(house.lease, "a", Usage(money=1.5))
    assert (await house.store.account(TENANT)).reserved == Usage()


# --- Odd and legal -------------------------------------------------------------------------------


async def claimed(house: House, **given: Any) -> int:
    await house.store.create(TENANT, new_run(2))
    said = {"offers": ANY, "limit": 5, "duration": MINUTE} | given
    return len((await house.store.claim("other", **said)).leases)


async def count(found: Any) -> int:
    return len(await found)


NUMBERS = [
    Odd("claim-none", lambda h: claimed(h, limit=0), 0),
    Odd("claim-fewer-than-none", lambda h: claimed(h, limit=-5), 0),
    Odd("claim-all", lambda h: claimed(h, limit=10**9), 1),
    Odd("claim-no-offers", lambda h: claimed(h, offers=frozenset()), 0),
    Odd("claim-pattern", lambda h: claimed(h, offers=frozenset({"%", "*", "gree_"})), 0),
    Odd("claim-sql", lambda h: claimed(h, offers=frozenset({"') or 1=1 --"})), 0),
    Odd("claim-in-capitals", lambda h: claimed(h, offers=frozenset({"GREET"})), 0),
    Odd("read-none", lambda h: count(h.store.read(TENANT, h.lease.run, limit=0)), 0),
    Odd("read-fewer-than-none", lambda h: count(h.store.read(TENANT, h.lease.run, limit=-1)), 0),
    Odd("read-before-the-first", lambda h: count(h.store.read(TENANT, h.lease.run, after=-9)), 1),
    Odd("read-beyond-the-last", lambda h: count(h.store.read(TENANT, h.lease.run, after=9)), 0),
    Odd("claim-for-less-than-no-time", lambda h: claimed(h, duration=-MINUTE), 1),
    Odd("renew-nobody", lambda h: count(h.store.renew("", duration=MINUTE)), 0),
    Odd("renew-sql", lambda h: count(h.store.renew("' or 1=1 --", duration=MINUTE)), 0),
    Odd("inbox-of-a-pattern", lambda h: count(h.store.inbox("%")), 0),
    Odd("prune-nothing", lambda h: h.store.prune(older_than=timedelta(days=1)), 0),
    Odd("prune-the-future", lambda h: h.store.prune(older_than=timedelta(days=-1)), 0),
    Odd("recall-nothing", lambda h: h.store.recall(TENANT, "' or 1=1 --"), None),
    Odd("account-of-nobody", lambda h: h.store.account("nobody"), None),
    Odd("wait-no-time", lambda h: h.store.wait(timeout=timedelta(0)), None),
    Odd("wait-less-than-no-time", lambda h: h.store.wait(timeout=timedelta(-1)), None),
]


@each(NUMBERS)
async def test_a_number_or_name_that_only_looks_odd_has_its_answer(house: House, case: Odd) -> None:
    assert await case.what(house) == case.gives


async def released(house: House, lease: Lease) -> int:
    await house.store.release(lease, wake_at=BEGINNING)
    return len((await house.store.claim("other", offers=ANY, limit=1, duration=MINUTE)).leases)


LEASES = [
    Odd("foreign-token", lambda h: released(h, replace(h.lease, token=9)), 0),
    Odd("foreign-run", lambda h: released(h, replace(h.lease, run=run_id(9))), 0),
    Odd("foreign-tenant", lambda h: released(h, replace(h.lease, tenant="globex")), 0),
    Odd("own", lambda h: released(h, h.lease), 1),
]


@each(LEASES)
async def test_only_the_newest_lease_is_released(house: House, case: Odd) -> None:
    assert await case.what(house) == case.gives


TEXTS = [
    Odd("sql", "'; drop table runs; --", 1),
    Odd("quotes", "\"'`[]", 1),
    Odd("pattern", "%_*?", 1),
    Odd("path", "../../etc/passwd", 1),
    Odd("newlines", "a\r\nb\tc", 1),
    Odd("escape", "\x1b[2J\x07", 1),
    Odd("right-to-left", "\u202eacme\u2066", 1),
    Odd("combining", "e\u0301", 1),
    Odd("astral", "\U0001f680\U0010ffff", 1),
    Odd("json", '{"lc": 1, "__class__": "os.system"}', 1),
    Odd("parameter", "?1 :tenant $x @y", 1),
    Odd("backslash", "\\0 \\u0000 %00", 1),
    Odd("byte-order-mark", "\ufeffacme", 1),
    Odd("blank", " ", 1),
    Odd("long", "x" * 100_000, 1),
]


@each(TEXTS)
async def test_a_text_is_data_wherever_it_stands(house: House, case: Odd) -> None:
    text = case.what
    made = new_run(2, tenant=text, task=text, key=text, fingerprint=text, id=run_id(2))
    await house.store.create(text, made)
    (found,) = (await house.store.runs(text, RunQuery(task=text, key=text))).items
    assert (found.tenant, found.task, found.key) == (text, text, text)
    (lease,) = (
        await house.store.claim(text, offers=frozenset({text}), limit=9, duration=MINUTE)
    ).leases
    assert (lease.owner, lease.task, lease.tenant) == (text, text, text)
    await house.store.post(text, run_id(2), CancelMessage(reason=text, once=text))
    ((posted),) = await house.store.inbox(text)
    assert posted.message.reason == text
    commit = progress(lease, needs={text: text}, state=State.PARKED)
    kept = Remembered(key=text, result=b"1", until=BEGINNING + MINUTE)
    await house.store.commit(lease, replace(commit, remember=(kept,)))
    assert await house.store.recall(text, text) == b"1"
    await house.store.allow(text, Budget(money=1))
    assert set(await house.store.budgets()) == {text}
    name = await house.store.put(text, text.encode())
    assert await house.store.fetch(text, name) == text.encode()
    verify(await house.store.read(text, run_id(2)), tenant=text, run=run_id(2))
    assert sorted(await house.store.tenants()) == sorted([text, TENANT])
    (found,) = (await house.store.runs(text, RunQuery(parent=None))).items
    assert found.needs == {text: text}
    assert (await house.store.check()).problems == ()
    assert len((await house.store.runs(TENANT, RunQuery())).items) == case.gives


# --- What is refused by one kind only, or by none ------------------------------------------------

NAIVE = datetime(2030, 1, 1)
LATEST = datetime.max.replace(tzinfo=timezone(-MINUTE))


def post(message: Any) -> Any:
    return lambda h: h.store.post(TENANT, h.lease.run, message)


def commit(**fields: Any) -> Any:
    return lambda h: h.store.commit(h.lease, progress(h.lease, **fields))


def create(**fields: Any) -> Any:
    return lambda h: h.store.create(TENANT, new_run(2, **fields))


def release(wake_at: Any) -> Any:
    return lambda h: h.store.release(h.lease, wake_at=wake_at)


def reserve(**amount: Any) -> Any:
    return lambda h: h.store.reserve(h.lease, "a", Usage(**amount))


def kept(**fields: Any) -> Remembered:
    return Remembered(**({"key": "k", "result": b"1", "until": BEGINNING} | fields))


def runs(**query: Any) -> Any:
    async def listed(house: House) -> None:
        found = await house.store.runs(TENANT, RunQuery(**query))
        if not found.items:
            raise RunNotFoundError("")

    return listed


UNLIKE = [
    Case("fetch-number", lambda h: h.store.fetch(TENANT, 5), RunNotFoundError, "no run 5"),
    Case("put-text", lambda h: h.store.put(TENANT, "x"), TypeError, "must be encoded"),
    Case("put-nothing", lambda h: h.store.put(TENANT, None), TypeError, "buffer API"),
    Case("runs-of-no-id", runs(ids=frozenset({"x"})), RunNotFoundError, "There is no run"),
    Case("runs-id-surrogate", runs(ids=frozenset({"\ud800"})), RunNotFoundError, "no run"),
    Case(
        "runs-id-and-nul",
        runs(ids=frozenset({run_id(1) + "\0x"})),
        RunNotFoundError,
        "There is no run",
    ),
    Case(
        "read-surrogate",
        lambda h: h.store.read(TENANT, "\ud800"),
        RunNotFoundError,
        "There is no run",
    ),
    Case(
        "claim-for-ever",
        lambda h: h.store.claim("other", offers=ANY, limit=1, duration=timedelta.max),
        CodecError,
        "duration",
    ),
    Case(
        "renew-for-ever",
        lambda h: h.store.renew(FAST, duration=timedelta.max),
        CodecError,
        "duration",
    ),
    Case(
        "read-after-2-to-the-63",
        lambda h: h.store.read(TENANT, run_id(1), after=2**63),
        CodecError,
        "after",
    ),
    Case(
        "prune-for-ever",
        lambda h: h.store.prune(older_than=timedelta.max),
        CodecError,
        "older_than",
    ),
    Case("create-naive", create(wake_at=NAIVE), CodecError, "time zone"),
    Case("create-state", create(state="nonsense"), CodecError, "state"),
    Case("create-priority-word", create(priority="high"), CodecError, "priority"),
    Case("create-priority-huge", create(priority=2**63), CodecError, "priority"),
    Case("create-id-empty", create(id=""), CodecError, "id"),
    Case(
        "create-id-of-a-million",
        create(id="x" * 1_000_000),
        CodecError,
        "id",
    ),
    Case(
        "create-id-number",
        create(id=5),
        CodecError,
        "5",
    ),
    Case(
        "release-naive",
        lambda h: h.store.release(h.lease, wake_at=NAIVE),
        CodecError,
        "time zone",
    ),
    Case("commit-naive", commit(wake_at=NAIVE), CodecError, "time zone"),
    Case(
        "commit-needs-number",
        commit(needs={"a": 5}),
        CodecError,
        "needs",
    ),
    Case(
        "commit-needs-surrogate",
        commit(needs={"a": "\ud800"}),
        CodecError,
        UNICODE,
    ),
    Case(
        "commit-used-nan",
        commit(used=Usage(money=math.nan)),
        CodecError,
        "nan",
    ),
    Case(
        "commit-state",
        commit(state="nonsense"),
        CodecError,
        "state",
    ),
    Case("post-nothing", post(None), CodecError, "message"),
    Case("post-surrogate", post(cancel("\ud800")), CodecError, UNICODE),
    Case("post-reason-number", post(cancel(5)), CodecError, "reason"),
    Case(
        "post-answer-of-no-json",
        post(AnswerMessage(call="x", answer=Raw(b"x"))),
        CodecError,
        "JSON",
    ),
    Case(
        "post-naive",
        post(answer(not_after=NAIVE)),
        CodecError,
        "time zone",
    ),
    Case(
        "reserve-nan",
        lambda h: h.store.reserve(h.lease, "a", Usage(money=math.nan)),
        CodecError,
        "nan",
    ),
    Case(
        "reserve-negative",
        lambda h: h.store.reserve(h.lease, "a", Usage(money=-5.0)),
        CodecError,
        "negative",
    ),
    Case(
        "allow-number",
        lambda h: h.store.allow(TENANT, 5),
        CodecError,
        "budget",
    ),
    Case("allow-text", lambda h: h.store.allow(TENANT, "all"), CodecError, "'all' is no budget"),
    Case(
        "read-limit-word", lambda h: h.store.read(TENANT, run_id(1), limit="x"), CodecError, "lim"
    ),
    Case("runs-limit-half", runs(limit=0.5), CodecError, "limit"),
    Case("runs-after-number", runs(after=5), CodecError, "where a page begins"),
    Case("runs-task-surrogate", runs(task="\ud800"), RunNotFoundError, "no run"),
    Case("runs-id-number", runs(ids=frozenset({5})), RunNotFoundError, "no run"),
    Case("fetch-surrogate", lambda h: h.store.fetch(TENANT, "\ud800"), RunNotFoundError, "no run"),
    Case(
        "claim-for-seconds",
        lambda h: h.store.claim("other", offers=ANY, limit=1, duration=60),
        CodecError,
        "duration is 60, which is no timedelta",
    ),
    Case(
        "claim-limit-word",
        lambda h: h.store.claim("other", offers=ANY, limit="all", duration=MINUTE),
        CodecError,
        "limit",
    ),
    Case("prune-days", lambda h: h.store.prune(older_than=30), CodecError, "older_than is 30"),
    Case("create-id-capitals", create(id="A" * 32), CodecError, "32 hexadecimal digits"),
    Case("create-deadline-naive", create(deadline=NAIVE), CodecError, "deadline has no time zone"),
    Case("create-at-naive", create(created_at=NAIVE), CodecError, "created_at has no time zone"),
    Case("create-wake-number", create(wake_at=5), CodecError, "wake_at is 5, which is no moment"),
    Case("create-priority-true", create(priority=True), CodecError, "priority is True"),
    Case("release-beyond", release(LATEST), CodecError, "out of reach"),
    Case("commit-beyond", commit(wake_at=LATEST), CodecError, "out of reach"),
    Case("commit-needs-list", commit(needs=["a"]), CodecError, "which is no mapping"),
    Case("commit-used-negative", commit(used=Usage(calls=-1)), CodecError, "negative"),
    Case("commit-used-half", commit(used=Usage(tokens=0.5)), CodecError, "tokens is 0.5"),
    Case("commit-used-number", commit(used=5), CodecError, "5 is no usage"),
    Case("commit-reserved-nul", commit(reserved=("a\0",)), CodecError, NUL),
    Case("commit-sends-nothing", commit(outgoing=((run_id(1), None),)), CodecError, "no message"),
    Case("commit-sends-rubbish", commit(outgoing=((run_id(1), cancel(5)),)), CodecError, "reason"),
    Case("remember-until-naive", commit(remember=(kept(until=NAIVE),)), CodecError, "time zone"),
    Case("remember-bytes", commit(remember=(kept(result=b"\xff"),)), CodecError, UNICODE),
    Case("child-state", commit(create=(new_run(5, state="new"),)), CodecError, "'new' is no state"),
    Case("post-text", post('{"kind":"cancel"}'), CodecError, "is no message"),
    Case("post-once-number", post(answer(once=5)), CodecError, "5 is no name"),
    Case(
        "post-answer-of-bytes",
        post(AnswerMessage(call="x", answer=Raw(b'"\xff"'))),
        CodecError,
        UNICODE,
    ),
    Case(
        "post-answer-nested",
        post(AnswerMessage(call="x", answer=Raw(b"[" * 100_000))),
        CodecError,
        "could not be read again",
    ),
    Case("reserve-infinite", reserve(money=math.inf), CodecError, "inf"),
    Case("reserve-beyond-floats", reserve(money=10**400), CodecError, "no amount"),
    Case("reserve-tokens-huge", reserve(tokens=2**63), CodecError, "64 bits"),
    Case("reserve-calls-word", reserve(calls="one"), CodecError, "calls is 'one'"),
]


@each(UNLIKE)
async def test_both_kinds_refuse_what_none_can_keep(tmp_path: Path, case: Case) -> None:
    for kind in KINDS:
        async with opened(kind, tmp_path) as house:
            await _refused(house, case)


ALIKE = [
    Odd(
        "claim-offers-and-nul",
        lambda h: claimed(h, offers=frozenset({"greet\0x"})),
        0,
    ),
    Odd("renew-surrogate", lambda h: count(h.store.renew("\ud800", duration=MINUTE)), 0),
    Odd("inbox-surrogate", lambda h: count(h.store.inbox("\ud800")), 0),
    Odd("recall-surrogate", lambda h: h.store.recall(TENANT, "\ud800"), None),
    Odd("account-surrogate", lambda h: h.store.account("\ud800"), None),
    Odd("release-surrogate", lambda h: released(h, replace(h.lease, run="\ud800")), 0),
    Odd("claim-offers-of-a-surrogate", lambda h: claimed(h, offers=frozenset({"\ud800"})), 0),
]


@each(ALIKE)
async def test_both_kinds_give_the_same(tmp_path: Path, case: Odd) -> None:
    for kind in KINDS:
        async with opened(kind, tmp_path) as house:
            assert await case.what(house) == case.gives


# --- Files that are no store ---------------------------------------------------------------------


def database(path: Path, *statements: str) -> None:
    """Write a database of SQLite."""
    db = sqlite3.connect(path)
    for statement in statements:
        db.execute(statement)
    db.commit()
    db.close()


def folder(path: Path) -> None:
    path.mkdir()


def text(path: Path) -> None:
    path.write_bytes(b"no database at all\n" * 1_000)


def short(path: Path) -> None:
    path.write_bytes(b"SQLite format 3\0")


def torn(path: Path) -> None:
    database(path, "create table a (b)", "insert into a values (1)")
    path.write_bytes(path.read_bytes()[:4_096] + b"\xff" * 4_096)


def other(path: Path) -> None:
    database(path, "create table runs (id text)")


def newer(path: Path) -> None:
    database(path, "pragma user_version = 999")


def fifo(path: Path) -> None:
    os.mkfifo(path)


def dangling(path: Path) -> None:
    path.symlink_to(path.parent / "nowhere" / "x.db")


def within(path: Path) -> None:
    path.parent.joinpath("file").touch()


FILES = [
    Case("folder", ("a.db", folder), StoreUnavailableError, "is a folder. Name a file in it"),
    Case("text", ("a.db", text), JournalCorruptError, "file is not a database"),
    Case("header-only", ("a.db", short), JournalCorruptError, "file is not a database"),
    Case("other-application", ("a.db", other), StoreUnavailableError, "of another application"),
    Case("newer", ("a.db", newer), SchemaTooNewError, "its schema is 999"),
    Case("no-folder", ("b/c/a.db", None), StoreUnavailableError, "Create it: mkdir -p"),
    Case("in-a-file", ("file/a.db", None), StoreUnavailableError, "There is no folder"),
    Case(
        "name-too-long",
        ("x" * 300 + ".db", None),
        StoreUnavailableError,
        "File name too long",
    ),
    Case(
        "nul",
        ("a\0b.db", None),
        StoreUnavailableError,
        "a\\x00b.db",
    ),
    Case("dangling-link", ("a.db", dangling), StoreUnavailableError, "unable to open"),
]


def _content(path: Path) -> bytes | None:
    return path.read_bytes() if os.path.isfile(path) else None


@each(FILES)
async def test_a_path_that_is_no_store_is_left_as_it_is(tmp_path: Path, case: Case) -> None:
    name, make = case.what
    path = tmp_path / name
    if name.startswith("file/"):
        within(path.parent.parent / "x")
    if make is not None:
        make(path)
    before = _content(path)
    with refused(case):
        with anyio.fail_after(10):
            async with SqliteStore(path):
                pass
    assert _content(path) == before
    async with SqliteStore(tmp_path / "good.db") as store:
        assert await store.create(TENANT, new_run())


NO_PATHS = [
    Case("empty", {"path": ""}, StoreUnavailableError, "'' does not name a file"),
    Case("memory", {"path": ":memory:"}, StoreUnavailableError, "use MemoryStore"),
    Case("uri", {"path": "file:a.db?mode=ro"}, StoreUnavailableError, "does not name a file"),
    Case("none", {"path": None}, TypeError, "NoneType"),
    Case("number", {"path": 5}, TypeError, "int"),
    Case("synchronous", {"synchronous": "OFF"}, ValueError, "not 'OFF'"),
    Case("readers-zero", {"readers": 0}, ValueError, "from 1 to 16, not 0"),
    Case("readers-many", {"readers": 1_000}, ValueError, "from 1 to 16, not 1000"),
    Case("unknown", {"mmap": 1}, TypeError, "unexpected keyword argument 'mmap'"),
    Case(
        "lock-timeout-seconds",
        {"lock_timeout": 10},
        TypeError,
        "lock_timeout",
    ),
    Case(
        "patience-negative",
        {"patience": timedelta(-1)},
        ValueError,
        "patience",
    ),
    Case("readers-half", {"readers": 2.5}, ValueError, "from 1 to 16, not 2.5"),
    Case("lock-timeout-negative", {"lock_timeout": -MINUTE}, ValueError, "lock_timeout"),
    Case("blob-grace-negative", {"blob_grace": -MINUTE}, ValueError, "blob_grace"),
    Case("patience-for-ever", {"patience": timedelta.max}, ValueError, "a thousand years"),
    Case("nul", {"path": "a\0b.db"}, StoreUnavailableError, "'a\\x00b.db' does not name a file"),
    Case("surrogate", {"path": "\ud800.db"}, StoreUnavailableError, "lone surrogates"),
    Case(
        "blob-grace-seconds",
        {"blob_grace": 60},
        TypeError,
        "blob_grace",
    ),
]


@each(NO_PATHS)
def test_an_argument_that_means_nothing_makes_no_store(tmp_path: Path, case: Case) -> None:
    with refused(case):
        SqliteStore(**({"path": tmp_path / "a.db"} | case.what))
    assert list(tmp_path.iterdir()) == []


NO_GRACE = [
    Case("seconds", 60, TypeError, "blob_grace is a timedelta, not 60"),
    Case("negative", -MINUTE, ValueError, "blob_grace"),
]


@each(NO_GRACE)
def test_a_grace_that_means_nothing_makes_no_store_in_memory(case: Case) -> None:
    with refused(case):
        MemoryStore(blob_grace=case.what)


async def test_an_empty_file_becomes_a_store(tmp_path: Path) -> None:
    path = tmp_path / "a.db"
    path.touch()
    async with SqliteStore(path) as store:
        assert await store.create(TENANT, new_run()) == run_id(1)


TARGETS = [
    Case("exists", "a.db", StoreError, "a.db"),
    Case("folder", "", StoreError, "exists"),
    Case("no-folder", "b/c.db", StoreError, "c.db"),
    Case("name-too-long", "x" * 300, StoreError, "File name too long"),
    Case("nul", "a\0b.db", StoreUnavailableError, "does not name a file"),
]


@each(TARGETS)
async def test_a_backup_overwrites_nothing(tmp_path: Path, case: Case) -> None:
    async with SqliteStore(tmp_path / "a.db") as store:
        await store.create(TENANT, new_run())
        with refused(case):
            await store.backup(tmp_path / case.what)
        await store.backup(str(tmp_path / "copy.db"))
    async with SqliteStore(tmp_path / "copy.db") as copy:
        assert len(await read_all(copy, TENANT, run_id(1))) == 1


SHUT = [
    Case("create", lambda s: s.create(TENANT, new_run()), StoreClosedError, "is not open"),
    Case("read", lambda s: s.read(TENANT, "x"), StoreClosedError, "is not open"),
    Case("put", lambda s: s.put(TENANT, b"x"), StoreClosedError, "is not open"),
    Case("inbox", lambda s: s.inbox(FAST), StoreClosedError, "is not open"),
    Case("prune", lambda s: s.prune(older_than=MINUTE), StoreClosedError, "is not open"),
]


@pytest.mark.parametrize("kind", ["memory", "sqlite"])
@each(SHUT)
async def test_a_store_that_is_not_open_says_so(tmp_path: Path, kind: str, case: Case) -> None:
    store: Any = MemoryStore() if kind == "memory" else SqliteStore(tmp_path / "a.db")
    with refused(case):
        await case.what(store)
