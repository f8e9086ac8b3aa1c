"""Boxes in durable tasks (rule 38): what ran is remembered, and its folder with it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import anyio
import pytest

from astro import (
    BoxLimits,
    BoxLostError,
    Context,
    DockerSandbox,
    LocalEngine,
    MemoryStore,
    RunFailedError,
    SandboxSpec,
    SandboxUnavailableError,
    SqliteStore,
    task,
)
from astro.testing import crash_matrix
from tests.engine.hold import Hold
from tests.sandboxes.docker_here import mine, needs_docker

pytestmark = pytest.mark.anyio
NOW = timedelta(0)


@pytest.fixture(scope="module")
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(scope="module")
async def sandbox(anyio_backend: str) -> AsyncIterator[DockerSandbox]:
    needs_docker()
    async with DockerSandbox(pool=1) as sandbox:
        yield sandbox


@pytest.fixture(params=["memory", "sqlite"])
def store_of(request: pytest.FixtureRequest, tmp_path: Path) -> Any:
    if request.param == "memory":
        store = MemoryStore()
        return lambda: store
    return lambda: SqliteStore(tmp_path / "runs.db", synchronous="NORMAL")


async def kinds_of(run: Any) -> list[str]:
    return [record.kind async for record in run.records(follow=False)]


async def test_rule_38_a_command_that_has_run_is_not_run_again(
    store_of: Any, sandbox: DockerSandbox
) -> None:
    hold = Hold()

    @task
    async def draw(ctx: Context) -> list[str]:
        code = "import random; n = str(random.random()); open('drawn', 'w').write(n); print(n)"
        first = await ctx.sandbox.python(code)
        await hold()
        again = await ctx.sandbox.run(["cat", "drawn"])
        return [first.text.strip(), again.text.strip()]

    async with LocalEngine(draw, store=store_of(), sandbox=sandbox) as engine:
        run = await engine.start(draw)
        await hold.reached.wait()
        await engine.drain(NOW)
    hold.release()
    async with LocalEngine(draw, store=store_of(), sandbox=sandbox) as engine:
        one, other = await (await engine.get(run.id))
    assert one == other  # the second life read, in a fresh box, what the first had written


async def test_rule_38_the_whole_folder_comes_back(store_of: Any, sandbox: DockerSandbox) -> None:
    hold = Hold()
    look = "find . -not -type d | sort | xargs ls -l | awk '{print $1, $NF}'; ls -d empty; cat big | wc -c"

    @task
    async def work(ctx: Context) -> list[str]:
        await ctx.sandbox.write({"written/early": b"1", "text": "é"})
        await ctx.sandbox.run(
            [
                "sh",
                "-c",
                "mkdir -p a/b empty; echo 1 > a/b/c; chmod +x a/b/c; ln -s a/b/c link; echo x > gone",
            ]
        )
        await ctx.sandbox.run(["sh", "-c", "rm gone; head -c 300000 /dev/zero > big"])
        before = await ctx.sandbox.run(["sh", "-c", look])
        await ctx.sandbox.write({"late": b"2"})
        await hold()
        after = await ctx.sandbox.run(["sh", "-c", look + "; cat late"])
        return [before.text, after.text]

    async with LocalEngine(work, store=store_of(), sandbox=sandbox) as engine:
        run = await engine.start(work)
        await hold.reached.wait()
        await engine.drain(NOW)
    hold.release()
    async with LocalEngine(work, store=store_of(), sandbox=sandbox) as engine:
        before, after = await (await engine.get(run.id))
    was, now = set(before.splitlines()), set(after.splitlines())
    assert len(was) == 7
    assert now - was == {"-rw-r--r-- ./late", "2"}
    assert was <= now


async def test_rule_38_what_ran_last_counts_in_whatever_order_it_is_remembered(
    store_of: Any, sandbox: DockerSandbox
) -> None:
    hold = Hold()
    lives = 0

    @task
    async def work(ctx: Context) -> str:
        nonlocal lives
        lives += 1

        async def append(number: int) -> None:
            await anyio.sleep(0.05 * (number if lives == 1 else 3 - number))
            await ctx.sandbox.run(["sh", "-c", f"echo {number} >> log"])

        async with anyio.create_task_group() as group:
            for number in range(4):
                group.start_soon(append, number)
        await hold()
        return (await ctx.sandbox.run(["cat", "log"])).text

    async with LocalEngine(work, store=store_of(), sandbox=sandbox) as engine:
        run = await engine.start(work)
        await hold.reached.wait()
        await engine.drain(NOW)
    hold.release()
    async with LocalEngine(work, store=store_of(), sandbox=sandbox) as engine:
        assert sorted((await (await engine.get(run.id))).split()) == ["0", "1", "2", "3"]


async def test_rule_38_a_folder_over_its_cap_is_lost_and_said_to_be(
    store_of: Any, sandbox: DockerSandbox
) -> None:
    hold = Hold()

    @task(sandbox=SandboxSpec(limits=BoxLimits(snapshot=1000)))
    async def work(ctx: Context) -> str:
        await ctx.sandbox.python("open('x', 'wb').write(b'x' * 5000)")
        one = await ctx.sandbox.run(["wc", "-c", "x"])  # within one life nothing is lost
        await hold()
        try:
            await ctx.sandbox.run(["cat", "x"])
        except BoxLostError:
            return one.text.strip() + " lost"
        return "found"

    async with LocalEngine(work, store=store_of(), sandbox=sandbox) as engine:
        run = await engine.start(work)
        await hold.reached.wait()
        await engine.drain(NOW)
    hold.release()
    async with LocalEngine(work, store=store_of(), sandbox=sandbox) as engine:
        assert await (await engine.get(run.id)) == "5000 x lost"


async def test_rule_38_a_box_that_its_command_has_ended_is_made_anew(
    sandbox: DockerSandbox,
) -> None:
    @task
    async def work(ctx: Context) -> list[str]:
        await ctx.sandbox.run(["sh", "-c", "echo kept > kept"])
        ended = await ctx.sandbox.python(
            "import os, resource; open('kept', 'w').write('changed'); "
            "resource.prlimit(os.getppid(), resource.RLIMIT_NOFILE, (1, 1))"
        )
        again = await ctx.sandbox.run(["cat", "kept"])
        return [ended.status.value, again.text.strip()]

    async with LocalEngine(work, store=MemoryStore(), sandbox=sandbox) as engine:
        assert await engine.run(work) == ["error", "kept"]


async def test_the_start_is_kept_before_and_the_limits_are_part_of_it(
    sandbox: DockerSandbox,
) -> None:
    @task(sandbox=SandboxSpec(limits=BoxLimits(pids=33)))
    async def work(ctx: Context) -> None:
        await ctx.sandbox.run(["true"])

    async with LocalEngine(work, store=MemoryStore(), sandbox=sandbox) as engine:
        run = await engine.start(work)
        await run
        records = [one async for one in run.records(follow=False)]
    started = next(one for one in records if getattr(one, "task", "") == "sandbox.run")
    assert started.effect == "execute"
    assert b'"pids":33' in bytes(started.args)


async def test_a_box_is_closed_on_every_path(sandbox: DockerSandbox) -> None:
    ended: list[str] = []

    @task
    async def fine(ctx: Context) -> None:
        ended.append((await ctx.sandbox.run(["hostname"])).text)

    @task
    async def failing(ctx: Context) -> None:
        await ctx.sandbox.run(["true"])
        raise ValueError("no")

    @task
    async def waiting(ctx: Context) -> None:
        await ctx.sandbox.run(["true"])
        ended.append("waits")
        await anyio.sleep_forever()

    ready = len(mine()) - sandbox._pool.stock
    async with LocalEngine(fine, failing, waiting, store=MemoryStore(), sandbox=sandbox) as engine:
        await engine.run(fine)
        with pytest.raises(RunFailedError):
            await engine.run(failing)
        run = await engine.start(waiting)
        with anyio.fail_after(20):
            while "waits" not in ended:
                await anyio.sleep(0.01)
        await run.cancel()
        with anyio.fail_after(10):
            while len(mine()) - sandbox._pool.stock > ready:
                await anyio.sleep(0.05)


async def test_results_of_programs_are_results(sandbox: DockerSandbox) -> None:
    @task
    async def work(ctx: Context) -> list[str]:
        found = [
            await ctx.sandbox.run(["false"]),
            await ctx.sandbox.run(["sleep", "60"], timeout=timedelta(seconds=0.3)),
            await ctx.sandbox.python(
                "x = bytearray(10**9)\nfor n in range(0, 10**9, 4096): x[n] = 1"
            ),
            await ctx.sandbox.run(["cat"], stdin=b"said", env={"A": "b"}),
        ]
        assert found[-1].stdout == b"said"
        return [one.status.value for one in found]

    async with LocalEngine(work, store=MemoryStore(), sandbox=sandbox) as engine:
        assert await engine.run(work) == ["error", "timed_out", "oom_killed", "ok"]


async def test_artifacts_and_long_output_are_remembered_beside_the_journal(
    store_of: Any, sandbox: DockerSandbox
) -> None:
    hold = Hold()

    @task
    async def work(ctx: Context) -> list[int]:
        done = await ctx.sandbox.python(
            "open('r.bin', 'wb').write(b'r' * 100_000); print('x' * 200_000)", collect=["*.bin"]
        )
        await hold()
        return [len(done.stdout), len(done.artifacts[0].content)]

    async with LocalEngine(work, store=store_of(), sandbox=sandbox) as engine:
        run = await engine.start(work)
        await hold.reached.wait()
        await engine.drain(NOW)
        entries = await engine.store.read("default", run.id)
        assert sum(len(entry.body) for entry in entries) < 10_000
    hold.release()
    async with LocalEngine(work, store=store_of(), sandbox=sandbox) as engine:
        assert await (await engine.get(run.id)) == [200_001, 100_000]


async def test_a_workflow_in_a_box_survives_a_crash_at_each_commit(sandbox: DockerSandbox) -> None:
    @task
    async def build(ctx: Context) -> str:
        await ctx.sandbox.write({"main.py": "print(sum(map(int, open('numbers'))))"})
        await ctx.sandbox.run(["sh", "-c", "seq 1 10 > numbers"])
        done = await ctx.sandbox.run(["python3", "main.py"])
        return done.text.strip()

    report = await crash_matrix(build, sandbox=sandbox)
    assert report.crashes > 6


async def test_without_a_sandbox_nothing_runs() -> None:
    @task
    async def work(ctx: Context) -> str:
        with pytest.raises(SandboxUnavailableError, match="no sandbox"):
            await ctx.sandbox.run(["true"])
        return "refused"

    async with LocalEngine(work, store=MemoryStore()) as engine:
        assert await engine.run(work) == "refused"


async def test_without_docker_only_what_needs_a_box_fails() -> None:
    @task
    async def needs(ctx: Context) -> None:
        await ctx.sandbox.run(["true"])

    @task
    async def does_not(ctx: Context) -> str:
        return "done"

    nowhere = DockerSandbox(url="unix:///nowhere/docker.sock")
    async with LocalEngine(needs, does_not, store=MemoryStore(), sandbox=nowhere) as engine:
        assert await engine.run(does_not) == "done"
        with pytest.raises(RunFailedError, match="cannot be reached"):
            await engine.run(needs)
