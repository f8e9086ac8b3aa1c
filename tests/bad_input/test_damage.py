"""The door of stored files: a run that somebody has damaged is reported, and others go on."""

from __future__ import annotations

import logging
import shutil
import sqlite3
from datetime import timedelta
from pathlib import Path

import anyio
import pytest

from astro import (
    CodecError,
    Context,
    JournalCorruptError,
    LocalEngine,
    MemoryStore,
    RunNotFoundError,
    SqliteStore,
    task,
)
from astro.core.messages import ResumeMessage
from astro.core.protocols import Commit, Lease, RunQuery
from tests.bad_input.cases import Case, each, refused

pytestmark = pytest.mark.anyio

TENANT = "default"
QUICK = timedelta(seconds=1)


@task
async def greet(ctx: Context, name: str) -> str:
    return f"hello {name}"


@task
async def asks(ctx: Context) -> bool:
    return await ctx.ask("Go on?", bool)


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """Return a store with one run that waits for an answer, and the run's id."""
    path = tmp_path_factory.mktemp("sound") / "runs.db"

    async def fill() -> str:
        async with LocalEngine(greet, asks, store=SqliteStore(path), grace=QUICK) as engine:
            run = await engine.start(asks)
            async for record in run:
                if record.kind == "asked":
                    break
            return run.id

    return path, anyio.run(fill)


@pytest.fixture
def stored(sound: tuple[Path, str], tmp_path: Path) -> tuple[Path, str]:
    """Return a copy that a test may damage."""
    path, run = sound
    return Path(shutil.copy(path, tmp_path / "runs.db")), run


def damage(path: Path, *statements: str) -> None:
    """Change a file behind the back of its store."""
    db = sqlite3.connect(path)
    for statement in statements:
        assert db.execute(statement).rowcount > 0
    db.commit()
    db.close()


def last(change: str) -> str:
    return f"update entries set {change} where place = (select max(place) from entries)"


def told(text: str) -> str:
    return "insert into inbox (run, at, body) select number, 0, '" + text + "' from runs"


# --- Reading -------------------------------------------------------------------------------------

BROKEN = JournalCorruptError
READS = [
    Case(
        "cut-off", last("body = substr(body, 1, 20)"), BROKEN, "is no record: Input data was trunc"
    ),
    Case("empty", last("body = ''"), BROKEN, "is no record: Input data was truncated"),
    Case("no-json", last("body = 'hello'"), BROKEN, "is no record"),
    Case("other-json", last("body = '[]'"), BROKEN, "Expected `object`, got `array`"),
    Case("unknown-kind", last("body = replace(body, 'asked', 'stolen')"), BROKEN, "'stolen'"),
    Case("wrong-type", last("body = replace(body, '\"Go on?\"', '5')"), BROKEN, "Expected `str`"),
]


@each(READS)
async def test_a_record_that_cannot_be_read_is_told_to_who_asks(
    stored: tuple[Path, str], case: Case
) -> None:
    path, run = stored
    damage(path, case.what)
    with anyio.fail_after(30):
        async with LocalEngine(greet, asks, store=SqliteStore(path), grace=QUICK) as engine:
            handle = await engine.get(run)
            with refused(case):
                await handle.answer(True)
            with refused(case):
                await handle.explain("asks")
            with refused(case):
                await handle.fork()
            assert await engine.run(greet, "Ada") == "hello Ada"
            assert len((await engine.runs()).items) == 2


# --- Checking ------------------------------------------------------------------------------------

CHECKS = [
    Case("body", last("body = replace(body, 'Go on', 'Go in')"), BROKEN, "does not fit"),
    Case("hash", last("hash = replace(hash, substr(hash, 1, 1), 'z')"), BROKEN, "does not fit"),
    Case("token", last("token = token + 1"), BROKEN, "does not fit"),
    Case("spaces", last("body = body || ' '"), BROKEN, "does not fit"),
    Case("tenant", "update runs set tenant = 'globex'", BROKEN, "does not fit"),
    Case("id", f"update runs set id = '{'0' * 32}'", BROKEN, "does not fit"),
    Case(
        "last-is-missing",
        "delete from entries where place = (select max(place) from entries)",
        BROKEN,
        "has 3 entries instead of 4",
    ),
    Case(
        "first-is-missing",
        "delete from entries where place = (select min(place) from entries)",
        BROKEN,
        "Entry 1 of run",
    ),
    Case(
        "head",
        f"update runs set head = '{'0' * 32}'",
        BROKEN,
        "head",
    ),
    Case("state", "update runs set state = 'nonsense'", BROKEN, "the state 'nonsense'"),
    Case("needs-list", "update runs set needs = '[5]'", BROKEN, "the needs '[5]'"),
    Case("needs-number", """update runs set needs = '{"a":5}'""", BROKEN, "the needs '{"),
    Case("needs-no-json", "update runs set needs = '{'", BROKEN, "the needs '{'"),
    Case("message", told('{"kind":"explode"}'), BROKEN, "Invalid value 'explode'"),
]


@each(CHECKS)
async def test_a_check_finds_what_was_changed(stored: tuple[Path, str], case: Case) -> None:
    path, _ = stored
    damage(path, case.what)
    async with SqliteStore(path) as store:
        found = await store.check()
    assert len(found.problems) >= 1
    assert case.match in " ".join(found.problems)


# --- An engine beside it -------------------------------------------------------------------------

ENGINES = [
    Case("body", last("body = replace(body, 'Go on', 'Go in')"), BROKEN, "does not fit"),
    Case("cut-off", last("body = substr(body, 1, 20)"), BROKEN, "does not fit"),
    Case(
        "last-is-missing",
        "delete from entries where place = (select max(place) from entries)",
        BROKEN,
        "run",
    ),
    Case(
        "head",
        f"update runs set head = '{'0' * 32}'",
        BROKEN,
        "run",
    ),
    Case("message-unknown", told('{"kind":"explode"}'), BROKEN, "message"),
    Case("message-cut-off", told('{"kind":"can'), BROKEN, "message"),
    Case("message-of-a-number", told('{"kind":"cancel","reason":5}'), BROKEN, "message"),
    Case("wake-at", "update runs set wake_at = 9000000000000000000", BROKEN, "cannot be read"),
    Case("needs", "update runs set needs = '[5]'", BROKEN, "needs"),
    Case("needs-no-json", "update runs set needs = '{'", BROKEN, "needs"),
    Case(
        "state",
        "update runs set state = 'nonsense'",
        BROKEN,
        "nonsense",
    ),
]


@each(ENGINES)
async def test_a_damaged_run_is_told_once_and_others_go_on(
    stored: tuple[Path, str], caplog: pytest.LogCaptureFixture, case: Case
) -> None:
    path, run = stored
    damage(path, case.what)
    caplog.set_level(logging.ERROR, logger="astro")
    with anyio.fail_after(60):
        store = SqliteStore(path)
        async with LocalEngine(greet, asks, store=store, grace=QUICK, lease_for=QUICK) as engine:
            await store.post(TENANT, run, ResumeMessage())  # now somebody has to own it
            for number in range(40):
                assert await engine.run(greet, str(number)) == f"hello {number}"
            lines = [record.getMessage() for record in caplog.records]
            assert 1 <= len(lines) <= 3
            assert case.match in lines[0]


MISSING = [
    Case("tenant", "update runs set tenant = 'globex'", RunNotFoundError, "There is no run"),
    Case("state", "update runs set state = 'nonsense'", BROKEN, "nonsense"),
    Case("needs", "update runs set needs = '{'", BROKEN, "needs"),
    Case(
        "entries",
        "delete from entries",
        BROKEN,
        "entries",
    ),
    Case(
        "last-is-missing",
        "delete from entries where place = (select max(place) from entries)",
        BROKEN,
        "entries",
    ),
    Case(
        "question",
        last("body = replace(body, 'Go on?', 'Pay?')"),
        BROKEN,
        "does not fit",
    ),
]


@each(MISSING)
async def test_what_is_gone_is_told_to_who_asks(stored: tuple[Path, str], case: Case) -> None:
    path, run = stored
    damage(path, case.what)
    with anyio.fail_after(30):
        async with LocalEngine(greet, asks, store=SqliteStore(path), grace=QUICK) as engine:
            with refused(case):
                await (await engine.get(run)).answer(True)
            assert await engine.run(greet, "Ada") == "hello Ada"


async def test_a_damaged_run_goes_on_once_it_is_mended(
    stored: tuple[Path, str], caplog: pytest.LogCaptureFixture
) -> None:
    path, run = stored
    damage(path, last("body = body || ' '"))
    with anyio.fail_after(30):
        store = SqliteStore(path)
        async with LocalEngine(greet, asks, store=store, grace=QUICK, lease_for=QUICK):
            await store.post(TENANT, run, ResumeMessage())
            while "does not fit" not in caplog.text:
                await anyio.lowlevel.checkpoint()
        damage(path, last("body = rtrim(body)"))
        async with LocalEngine(greet, asks, store=SqliteStore(path), grace=QUICK) as engine:
            handle = await engine.get(run)
            await handle.answer(True)
            assert await handle
            owned = [one async for one in handle if one.kind == "owned"]
    assert not any(one.lost for one in owned)  # the engine before had released it
    assert caplog.text.count("does not fit") == 1


@task
async def stays(ctx: Context, sign: str) -> str:
    while not await anyio.Path(sign).exists():
        await anyio.sleep(0.01)
    return "left"


@pytest.mark.parametrize("engines", [1, 2])
async def test_a_run_that_was_called_damaged_goes_on_without_a_word(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, engines: int
) -> None:
    path, sign = tmp_path / "runs.db", tmp_path / "sign"

    def engine() -> LocalEngine:
        return LocalEngine(
            stays, store=SqliteStore(path), grace=timedelta(0), lease_for=QUICK, name="one"
        )

    with anyio.fail_after(30):
        async with engine() as first:
            run = await first.start(stays, str(sign))
            while (await run.status()).records < 3:
                await anyio.sleep(0.01)
        sign.touch()
        damage(path, last("body = body || ' '"))
        async with engine() as second:
            while "does not fit" not in caplog.text:
                await anyio.sleep(0.01)
            if engines == 1:
                damage(path, last("body = rtrim(body)"))
                assert await (await second.get(run.id)) == "left"
                return
        damage(path, last("body = rtrim(body)"))
        async with engine() as third:
            assert await (await third.get(run.id)) == "left"


# --- Runs that cannot be kept --------------------------------------------------------------------


class Picky(MemoryStore):
    """A store that cannot keep a result of "secret"."""

    async def commit(self, lease: Lease, commit: Commit, /) -> Lease:
        if any('"hello secret"' in entry.body for entry in commit.entries):
            raise CodecError("The store cannot keep this.", remedy="Say something else.")
        return await super().commit(lease, commit)


async def test_a_run_that_cannot_be_kept_does_not_keep_an_engine_from_other_work(
    caplog: pytest.LogCaptureFixture,
) -> None:
    store = Picky()
    with anyio.fail_after(30):
        async with LocalEngine(greet, asks, store=store, grace=QUICK) as engine:
            spoiled = await engine.start(greet, "secret")
            while "cannot be kept" not in caplog.text:
                await anyio.lowlevel.checkpoint()
            for number in range(40):
                assert await engine.run(greet, str(number)) == f"hello {number}"
            assert caplog.text.count("cannot be kept") == 1
            assert not (await spoiled.status()).state.terminal
            (lease,) = [run for run in (await engine.runs()).items if run.owner]
            assert lease.id == spoiled.id
        async with store:
            assert (await store.runs(TENANT, RunQuery(unfinished=True))).items[0].owner is None
