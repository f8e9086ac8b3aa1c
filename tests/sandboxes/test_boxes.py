"""What is known of a box: the same in every life of a run, whatever goes wrong in between.

The boxes are doubles, whose commands only read and write files, so that a test can say when they
end, break and hang. `test_durable.py` has the same with real ones.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path, PurePosixPath
from typing import Any

import anyio
import pytest

from astro import (
    BoxLimits,
    BoxLostError,
    Budget,
    Completed,
    Context,
    InvalidArgumentsError,
    Limits,
    LocalEngine,
    MemoryStore,
    Retry,
    RunFailedError,
    RunNotFoundError,
    SandboxError,
    SandboxSpec,
    SqliteStore,
    task,
)
from astro.core.records import SpentRecord
from astro.core.sandbox import Changes
from astro.testing import FakeSandbox, crash_matrix
from tests.engine.hold import Hold

pytestmark = pytest.mark.anyio
NOW = timedelta(0)


def done(text: str = "") -> Completed:
    return Completed(exit_code=0, stdout=text.encode(), stderr=b"")


def perform(words: tuple[str, ...], stdin: bytes, files: dict[PurePosixPath, bytes]) -> Completed:
    """Do what a command says: put, add to, remove or show a file; list all."""
    verb, *rest = words
    if verb == "ls":
        return done(" ".join(sorted(map(str, files))))
    path = PurePosixPath(rest[0])
    if verb == "put":
        files[path] = rest[1].encode()
    elif verb == "add":
        files[path] = files.get(path, b"") + rest[1].encode()
    elif verb == "rm":
        del files[path]
    return done(files.get(path, b"nothing").decode())


class Around:
    """A sandbox whose boxes go wrong as a test says.

    Attributes:
        wrong: Called with a box and what it is asked for, before that and after it (as "ran");
            may raise, wait, or lose the box.
        large: After these commands, the folder is too large to be kept.
    """

    def __init__(self, *, large: tuple[str, ...] = ()) -> None:
        self.inner = FakeSandbox(perform)
        self.wrong: Callable[[Any, str], Any] | None = None
        self.large = large

    async def check(self) -> None:
        await self.inner.check()

    @asynccontextmanager
    async def open(self, spec: SandboxSpec, /) -> AsyncIterator[Any]:
        async with self.inner.open(spec) as box:
            yield _Box(self, box)

    @property
    def commands(self) -> list[str]:
        return [" ".join(one.command) for one in self.inner.commands]


class _Box:
    def __init__(self, around: Around, box: Any) -> None:
        self._around, self._inner = around, box
        self.lost = ""

    def __getattr__(self, name: str) -> Any:
        verb = getattr(self._inner, name)

        async def asked(*said: Any, **more: Any) -> Any:
            if self._around.wrong is not None:
                await self._around.wrong(self, name)
            result = await verb(*said, **more)
            if self._around.wrong is not None and name == "run":
                await self._around.wrong(self, "ran")
            if name == "changes" and self._around.commands[-1] in self._around.large:
                return Changes(whole=False)
            return result

        return asked


class Slow(MemoryStore):
    """A store that keeps nothing beside the journal, and fetches nothing, while it is `shut`."""

    shut = False
    waits = 0

    async def put(self, tenant: str, content: bytes, /) -> str:
        await self._wait()
        return await super().put(tenant, content)

    async def fetch(self, tenant: str, digest: str, /) -> bytes:
        await self._wait()
        return await super().fetch(tenant, digest)

    async def _wait(self) -> None:
        if self.shut:
            self.waits += 1
            await anyio.sleep_forever()


async def twice(body: Any, hold: Hold, sandbox: Any, *again: Any, store: Any = None) -> Any:
    """Return what a task gives whose first engine goes away where it holds."""
    store = store or MemoryStore()
    async with LocalEngine(body, store=store, sandbox=sandbox) as engine:
        run = await engine.start(body)
        await hold.reached.wait()
        await engine.drain(NOW)
    hold.release()
    async with LocalEngine(*(again or (body,)), store=store, sandbox=sandbox) as engine:
        with anyio.fail_after(20):
            return await (await engine.get(run.id))


# --- What is put back --------------------------------------------------------------------------


async def test_a_folder_that_was_put_back_in_part_is_not_gone_on_with() -> None:
    hold, sandbox, store = Hold(), Around(), Slow()

    @task
    async def work(ctx: Context) -> str:
        await ctx.sandbox.run(["put", "kept", "1"])
        await hold()
        store.shut = True
        with anyio.move_on_after(0.05):
            await ctx.sandbox.run(["ls"])  # cut off while the folder is fetched
        store.shut = False
        return (await ctx.sandbox.run(["cat", "kept"])).text

    assert await twice(work, hold, sandbox, store=store) == "1"
    assert store.waits


async def test_a_box_that_cannot_take_its_folder_is_not_gone_on_with() -> None:
    hold, sandbox = Hold(), Around()
    refused: list[str] = []

    async def refuse(box: Any, verb: str) -> None:
        if verb == "restore" and not refused:
            refused.append(verb)
            raise SandboxError("There is no room.", remedy="Make some.")

    @task
    async def work(ctx: Context) -> str:
        await ctx.sandbox.run(["put", "kept", "1"])
        await hold()
        sandbox.wrong = refuse
        with pytest.raises(SandboxError, match="no room"):
            await ctx.sandbox.run(["ls"])
        return (await ctx.sandbox.run(["cat", "kept"])).text

    assert await twice(work, hold, sandbox) == "1"
    assert refused
    assert sandbox.inner.closed == sandbox.inner.opened


async def test_what_a_refused_write_said_is_not_written_later() -> None:
    sandbox = Around()

    async def refuse(box: Any, verb: str) -> None:
        if verb == "restore" and "bad" in box._around.said:
            raise SandboxError("It does not fit.", remedy="")

    sandbox.said = []  # type: ignore[attr-defined]  # of this test only
    sandbox.wrong = refuse

    @task
    async def work(ctx: Context) -> str:
        await ctx.sandbox.run(["put", "a", "1"])
        sandbox.said.append("bad")  # type: ignore[attr-defined]
        with pytest.raises(SandboxError, match="does not fit"):
            await ctx.sandbox.write({"b": "2"})
        sandbox.said.clear()  # type: ignore[attr-defined]
        return (await ctx.sandbox.run(["ls"])).text

    async with LocalEngine(work, store=MemoryStore(), sandbox=sandbox) as engine:
        assert await engine.run(work) == "a"


async def test_a_command_that_is_cut_off_leaves_nothing_that_a_later_life_would_not_have() -> None:
    sandbox = Around()

    @task
    async def work(ctx: Context) -> str:
        await ctx.sandbox.run(["put", "kept", "1"])
        with anyio.move_on_after(0.05):
            store.shut = True
            await ctx.sandbox.run(["put", "cut", "off"])  # it has run; its file cannot be kept
        store.shut = False
        return (await ctx.sandbox.run(["ls"])).text

    store = Slow()
    async with LocalEngine(work, store=store, sandbox=sandbox) as engine:
        assert await engine.run(work) == "kept"
    assert "put cut off" in sandbox.commands
    assert store.waits


async def test_what_was_written_before_a_command_that_ended_its_box_is_there_after_it() -> None:
    sandbox = Around()

    async def end(box: Any, verb: str) -> None:
        if verb == "ran" and sandbox.commands[-1] == "add a !":
            box.lost = "a command has ended it"

    sandbox.wrong = end

    @task
    async def work(ctx: Context) -> list[str]:
        await ctx.sandbox.run(["put", "a", "1"])
        await ctx.sandbox.write({"b": "2"})
        await ctx.sandbox.run(["add", "a", "!"])
        return [(await ctx.sandbox.run(["cat", one])).text for one in ("a", "b")]

    async with LocalEngine(work, store=MemoryStore(), sandbox=sandbox) as engine:
        assert await engine.run(work) == ["1", "2"]


async def test_a_folder_that_is_too_large_stays_lost_when_a_command_ends_its_box() -> None:
    sandbox = Around(large=("put a 2",))

    async def end(box: Any, verb: str) -> None:
        if verb == "ran" and sandbox.commands[-1] == "cat a":
            box.lost = "a command has ended it"

    sandbox.wrong = end

    @task
    async def work(ctx: Context) -> str:
        await ctx.sandbox.run(["put", "a", "1"])
        await ctx.sandbox.run(["put", "a", "2"])
        await ctx.sandbox.run(["cat", "a"])
        with pytest.raises(BoxLostError, match="too large to be kept"):
            await ctx.sandbox.run(["ls"])
        return "lost"

    async with LocalEngine(work, store=MemoryStore(), sandbox=sandbox) as engine:
        assert await engine.run(work) == "lost"


async def test_nobody_is_told_what_a_file_was_before_its_folder_became_too_large() -> None:
    hold, sandbox = Hold(), Around(large=("put a 2",))

    @task
    async def work(ctx: Context) -> str:
        await ctx.sandbox.run(["put", "a", "1"])
        await ctx.sandbox.run(["put", "a", "2"])
        await hold()
        with pytest.raises(BoxLostError, match="too large to be kept"):
            await ctx.sandbox.read("a")
        return "lost"

    assert await twice(work, hold, sandbox) == "lost"


# --- Several at a time -------------------------------------------------------------------------


async def test_commands_of_one_moment_are_remembered_in_the_order_in_which_they_ran() -> None:
    hold, sandbox = Hold(), Around()
    orders = [["b", "a"], ["a", "b"]]

    @task
    async def work(ctx: Context) -> str:
        order = orders.pop(0)
        turns = {name: anyio.Event() for name in order}

        async def one(name: str) -> None:
            place = order.index(name)
            if place:
                await turns[order[place - 1]].wait()
            await ctx.branch(name).sandbox.run(["put", "last", name])
            turns[name].set()

        async with anyio.create_task_group() as group:
            for name in ("a", "b"):
                group.start_soon(one, name)
        await hold()
        return (await ctx.sandbox.run(["cat", "last"])).text

    assert await twice(work, hold, sandbox) == "a"
    assert orders == []


async def test_a_command_sees_what_ran_before_it_though_that_is_asked_for_later() -> None:
    hold, sandbox = Hold(), Around()

    @task
    async def work(ctx: Context) -> str:
        if not hold.reached.is_set():
            await ctx.branch("first").sandbox.run(["put", "x", "1"])
            await ctx.branch("second").sandbox.run(["put", "y", "2"])
            await hold()
        await ctx.branch("second").sandbox.run(["put", "y", "2"])
        found = await ctx.branch("third").sandbox.run(["ls"])
        await ctx.branch("first").sandbox.run(["put", "x", "1"])
        return found.text

    assert await twice(work, hold, sandbox) == "x y"
    assert sandbox.commands == ["put x 1", "put y 2", "ls"]


async def test_commands_of_one_moment_run_one_after_the_other_and_survive_each_crash() -> None:
    sandbox = FakeSandbox(perform)

    @task
    async def work(ctx: Context) -> str:
        async with anyio.create_task_group() as group:
            for name in "abcd":
                group.start_soon(ctx.branch(name).sandbox.run, ["put", name, name])
        return (await ctx.sandbox.run(["ls"])).text

    report = await crash_matrix(work, sandbox=sandbox)
    assert report.crashes > 6
    async with LocalEngine(work, store=MemoryStore(), sandbox=sandbox) as engine:
        assert await engine.run(work) == "a b c d"


async def test_a_race_that_was_lost_is_lost_again() -> None:
    hold, sandbox = Hold(), Around()
    gate = anyio.Event()

    async def slow(box: Any, verb: str) -> None:
        if verb == "run" and not gate.is_set():
            gate.set()
            await anyio.sleep_forever()

    sandbox.wrong = slow

    @task
    async def work(ctx: Context) -> str:
        async def loser() -> None:
            await ctx.branch("loser").sandbox.run(["put", "x", "lost"])

        async with anyio.create_task_group() as group:
            group.start_soon(loser)
            await gate.wait()
            if not hold.reached.is_set():
                group.start_soon(ctx.branch("waits").sandbox.run, ["put", "y", "lost"])
                await anyio.wait_all_tasks_blocked()
            else:
                await anyio.lowlevel.checkpoint()
            group.cancel_scope.cancel()
        await ctx.sandbox.run(["put", "z", "won"])
        await hold()
        return (await ctx.sandbox.run(["ls"])).text

    assert await twice(work, hold, sandbox) == "z"


# --- Lives, attempts, forks --------------------------------------------------------------------


async def test_a_new_attempt_begins_with_an_empty_folder() -> None:
    sandbox = Around()

    @task(retry=Retry(attempts=2, first=timedelta(milliseconds=1)))
    async def work(ctx: Context) -> str:
        if ctx.attempt == 1:
            await ctx.sandbox.run(["put", "x", "1"])
            raise ValueError("again")
        found = await ctx.sandbox.run(["ls"])
        again = await ctx.sandbox.run(["put", "x", "1"])  # remembered, and there from now on
        after = await ctx.sandbox.run(["cat", "x"])
        return f"{found.text}|{again.text}|{after.text}"

    async with LocalEngine(work, store=MemoryStore(), sandbox=sandbox) as engine:
        assert await engine.run(work) == "|1|1"
    assert sandbox.commands == ["put x 1", "ls", "cat x"]


async def test_an_attempt_that_is_fresh_remembers_no_command() -> None:
    sandbox = Around()

    @task(retry=Retry(attempts=2, first=timedelta(milliseconds=1), fresh=True))
    async def work(ctx: Context) -> str:
        found = await ctx.sandbox.run(["add", "x", "1"])
        if ctx.attempt == 1:
            raise ValueError("again")
        return found.text

    async with LocalEngine(work, store=MemoryStore(), sandbox=sandbox) as engine:
        assert await engine.run(work) == "1"
    assert sandbox.commands == ["add x 1"] * 2


async def test_a_fork_has_the_folder_of_its_point() -> None:
    sandbox = Around()

    @task
    async def work(ctx: Context) -> str:
        for text in "123":
            await ctx.options(name=text).sandbox.run(["add", "x", text])
        return (await ctx.sandbox.run(["cat", "x"])).text

    async with LocalEngine(work, store=MemoryStore(), sandbox=sandbox) as engine:
        run = await engine.start(work)
        assert await run == "123"
        records = [one async for one in run.records(follow=False)]
        points = [one.seq for one in records if one.kind == "succeeded"]
        for number, point in enumerate(points):
            sandbox.inner.commands.clear()
            assert await (await run.fork(at=point)) == "123"
            assert len(sandbox.commands) == 3 - number


async def test_other_limits_after_a_restart_run_nothing_again() -> None:
    hold, sandbox = Hold(), Around()

    def limited(pids: int) -> Any:
        @task(name="work", sandbox=SandboxSpec(limits=BoxLimits(pids=pids)))
        async def work(ctx: Context) -> str:
            await ctx.sandbox.run(["add", "x", "1"])
            await hold()
            return (await ctx.sandbox.run(["cat", "x"])).text

        return work

    assert await twice(limited(33), hold, sandbox, limited(44)) == "1"
    assert sandbox.commands == ["add x 1", "cat x"]
    used = [box.spec.limits for box in sandbox.inner.boxes]
    assert [limits and limits.pids for limits in used] == [33, 44]


async def test_two_tasks_of_a_run_have_boxes_of_their_own() -> None:
    sandbox = Around()

    @task
    async def inner(ctx: Context, name: str) -> str:
        await ctx.sandbox.run(["put", name, name])
        return (await ctx.sandbox.run(["ls"])).text

    @task
    async def work(ctx: Context) -> list[str]:
        await ctx.sandbox.run(["put", "mine", "1"])
        found = await ctx.map(inner, ["a", "b"])
        return [*found, (await ctx.sandbox.run(["ls"])).text]

    async with LocalEngine(work, inner, store=MemoryStore(), sandbox=sandbox) as engine:
        assert await engine.run(work) == ["a", "b", "mine"]
    assert sandbox.inner.opened == sandbox.inner.closed == 3


async def test_an_undo_works_in_a_box_of_its_own() -> None:
    sandbox = Around()

    async def take_back(ctx: Context, result: str, name: str) -> None:
        await ctx.sandbox.run(["put", f"undid-{name}", result])

    @task(undo=take_back)
    async def make(ctx: Context, name: str) -> str:
        return (await ctx.sandbox.run(["put", name, "made"])).text

    @task
    async def work(ctx: Context) -> None:
        await ctx.call(make, "x")
        raise ValueError("no")

    async with LocalEngine(work, make, store=MemoryStore(), sandbox=sandbox) as engine:
        run = await engine.start(work)
        with pytest.raises(RunFailedError):
            await run
    assert sandbox.commands == ["put x made", "put undid-x made"]
    assert sandbox.inner.opened == sandbox.inner.closed == 2


async def test_who_uses_a_box_after_its_task_has_ended_opens_none() -> None:
    sandbox = Around()
    found: list[str] = []
    async with anyio.create_task_group() as group:

        async def late(ctx: Context, ended: anyio.Event) -> None:
            await ended.wait()
            try:
                await ctx.sandbox.run(["ls"])
            except SandboxError as error:
                found.append(str(error))

        ended = anyio.Event()

        @task
        async def inner(ctx: Context) -> None:
            await ctx.sandbox.run(["put", "x", "1"])
            group.start_soon(late, ctx, ended)

        @task
        async def work(ctx: Context) -> None:
            await ctx.call(inner)
            ended.set()
            while not found:
                await anyio.sleep(0.005)

        async with LocalEngine(work, inner, store=MemoryStore(), sandbox=sandbox) as engine:
            with anyio.fail_after(10):
                await engine.run(work)
    assert "its task has ended" in found[0]
    assert sandbox.inner.opened == sandbox.inner.closed


# --- Blobs -------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["memory", "sqlite"])
async def test_what_a_run_needs_of_its_folder_is_kept_and_nothing_else(
    kind: str, tmp_path: Path
) -> None:
    hold, sandbox = Hold(), Around()
    grace = timedelta(0)
    path = tmp_path / "runs.db"
    memory = MemoryStore(blob_grace=grace)

    def store() -> Any:
        return memory if kind == "memory" else SqliteStore(path, blob_grace=grace)

    @task
    async def work(ctx: Context) -> list[str]:
        done = await ctx.sandbox.run(["put", "x", "long " * 2000], collect=["x"])
        await hold()
        again = await ctx.sandbox.run(["cat", "x"])
        return [done.text, again.text, done.artifacts[0].content.decode()]

    async with LocalEngine(work, store=store(), sandbox=sandbox) as engine:
        run = await engine.start(work)
        await hold.reached.wait()
        await engine.drain(NOW)
        unneeded = await engine.store.put("default", b"unneeded")
        await engine.store.prune(older_than=timedelta(0))
        with pytest.raises(RunNotFoundError):
            await engine.store.fetch("default", unneeded)
    hold.release()
    async with LocalEngine(work, store=store(), sandbox=sandbox) as engine:
        assert await (await engine.get(run.id)) == ["long " * 2000] * 3
        fork = await (await engine.get(run.id)).fork(at=4)
        assert await fork == ["long " * 2000] * 3
        names = [
            one for entry in await engine.store.read("default", run.id) for one in blobs(entry)
        ]
        assert names
        assert await engine.store.prune(older_than=timedelta(0)) == 2
        for name in names:
            with pytest.raises(RunNotFoundError):
                await engine.store.fetch("default", name)


def blobs(entry: Any) -> list[str]:
    return [part[:64] for part in entry.body.split('"blob":"')[1:]]


# --- What is asked -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("said", "why"),
    [
        ({"stdin": "data"}, "bytes"),
        ({"collect": "*.csv"}, "list of patterns"),
        ({"timeout": 10}, "no time-out"),
        ({"timeout": timedelta(0)}, "no time-out"),
    ],
)
async def test_what_is_no_request_is_refused_before_anything_runs(
    said: dict[str, Any], why: str
) -> None:
    sandbox = Around()

    @task
    async def work(ctx: Context) -> None:
        with pytest.raises(InvalidArgumentsError, match=why):
            await ctx.sandbox.run(["ls"], **said)
        with pytest.raises(InvalidArgumentsError, match=why):
            await ctx.sandbox.python("1", **said)
        with pytest.raises(InvalidArgumentsError, match="list of words"):
            await ctx.sandbox.run([])

    async with LocalEngine(work, store=MemoryStore(), sandbox=sandbox) as engine:
        await engine.run(work)
    assert sandbox.inner.opened == 0


@pytest.mark.parametrize(
    "files", [{"\udc80": b""}, {"a": "\ud800"}, {"a": 5}, {"../a": b""}, {"": b""}, {"a\0": b""}]
)
async def test_what_cannot_be_written_is_refused_before_a_box_is_asked(
    files: dict[str, Any],
) -> None:
    @task
    async def work(ctx: Context) -> str:
        with pytest.raises(InvalidArgumentsError):
            await ctx.sandbox.write(files)
        with pytest.raises(InvalidArgumentsError):
            await ctx.sandbox.load(Changes(files={p: (data, False) for p, data in files.items()}))
        return (await ctx.sandbox.run(["ls"])).text

    async with LocalEngine(work, store=MemoryStore(), sandbox=Around()) as engine:
        assert await engine.run(work) == ""


async def test_a_command_that_no_journal_can_hold_is_refused() -> None:
    @task
    async def work(ctx: Context) -> None:
        with pytest.raises(InvalidArgumentsError, match="do not fit"):
            await ctx.sandbox.run(["ls", "\ud800"])

    async with LocalEngine(work, store=MemoryStore(), sandbox=Around()) as engine:
        await engine.run(work)


# --- Money -------------------------------------------------------------------------------------


def priced(hold: Hold | None = None) -> Any:
    @task(sandbox=SandboxSpec(price=0.5))
    async def work(ctx: Context) -> None:
        await ctx.sandbox.run(["work"])
        await ctx.sandbox.run(["work", "more"])
        if hold is not None:
            await hold()
        await ctx.sandbox.run(["work", "on"])

    return work


def working(words: tuple[str, ...], stdin: bytes, files: dict[PurePosixPath, bytes]) -> Completed:
    return Completed(exit_code=0, stdout=b"", stderr=b"", duration=9.0, cpu=2.0)


async def test_processor_time_counts_as_money_once() -> None:
    hold, store = Hold(), MemoryStore()
    body = priced(hold)
    async with LocalEngine(body, store=store, sandbox=FakeSandbox(working)) as engine:
        run = await engine.start(body)
        await hold.reached.wait()
        await engine.drain(NOW)
    hold.release()
    async with LocalEngine(body, store=store, sandbox=FakeSandbox(working)) as engine:
        again = await engine.get(run.id)
        await again
        records = [one async for one in again.records(follow=False)]
    assert [one.money for one in records if isinstance(one, SpentRecord)] == [1.0, 1.0, 1.0]


async def test_a_command_that_can_no_longer_be_paid_does_not_run() -> None:
    body, sandbox = priced(), FakeSandbox(working)
    async with LocalEngine(body, store=MemoryStore(), sandbox=sandbox) as engine:
        with pytest.raises(RunFailedError, match="money"):
            await engine.options(budget=Budget(money=1.5)).run(body)
    assert len(sandbox.commands) == 2


@pytest.mark.parametrize("price", [-1.0, float("nan"), float("inf"), "much"])
def test_a_price_is_an_amount(price: Any) -> None:
    with pytest.raises(ValueError, match="no amount of money"):
        SandboxSpec(price=price)


# --- Turns -------------------------------------------------------------------------------------


async def test_who_waits_for_a_lock_lets_others_work() -> None:
    sandbox, lock = Around(), anyio.Lock()

    @task
    async def one(ctx: Context, name: str) -> str:
        async with ctx.sandbox.holding(lock):
            return (await ctx.sandbox.run(["put", name, name])).text

    @task
    async def work(ctx: Context) -> list[str]:
        return await ctx.map(one, ["a", "b", "c", "d"])

    parts: dict[str, Any] = {"store": MemoryStore(), "sandbox": sandbox}
    async with LocalEngine(work, one, limits=Limits(attempts=1), **parts) as engine:
        with anyio.fail_after(20):
            assert await engine.run(work) == ["a", "b", "c", "d"]


async def test_what_was_loaded_is_not_among_what_has_changed() -> None:
    hold, sandbox = Hold(), Around()

    @task
    async def work(ctx: Context) -> list[Any]:
        loaded = {name: (name.encode(), False) for name in ("same", "other", "gone")}
        await ctx.sandbox.load(Changes(files=loaded))
        await ctx.sandbox.write({"written": "1"})
        await ctx.sandbox.run(["put", "other", "2"])
        await ctx.sandbox.run(["rm", "gone"])
        await ctx.sandbox.run(["put", "made", "3"])
        before = await ctx.sandbox.changes()
        await hold()
        after = await ctx.sandbox.changes()
        assert before == after
        return [{path: said.decode() for path, (said, _) in after.files.items()}, after.gone]

    files, gone = await twice(work, hold, sandbox)
    assert files == {"written": "1", "other": "2", "made": "3"}
    assert list(gone) == ["gone"]
