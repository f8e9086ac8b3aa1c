"""How fast boxes are, beside what Docker does by itself; all of it interleaved, in one run.

    python -m benchmarks.sandbox [ROUNDS]

Needs Docker and the image that scripts/build-sandbox-image makes.
"""

from __future__ import annotations

import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Any

import anyio
import docker

from astro import BoxStatus, DockerSandbox, SandboxSpec
from astro.sandboxes.docker.sandbox import DEFAULT_IMAGE

LONG = timedelta(seconds=60)
SPEC = SandboxSpec()
CODE = "print(1)"
Work = Callable[[], Awaitable[None]]


async def main(rounds: int) -> None:
    """Measure, and print a table."""
    client = docker.from_env()
    warm = client.containers.run(
        DEFAULT_IMAGE, ["sleep", "3600"], detach=True, init=True, network_mode="none", remove=True
    )
    try:
        async with DockerSandbox(pool=4) as sandbox, sandbox.open(SPEC) as session:
            await session.python(CODE, timeout=LONG)
            table = await measure(works(client, warm, sandbox, session), sandbox, rounds)
            show(table)
            await limits(sandbox)
            await parallel(sandbox)
    finally:
        warm.remove(force=True)
        client.close()


def works(client: Any, warm: Any, sandbox: DockerSandbox, session: Any) -> dict[str, Work]:
    """Return what is compared, by name."""

    async def execute() -> None:
        done = await anyio.to_thread.run_sync(warm.exec_run, ["python3", "-c", CODE])
        assert done.output == b"1\n"

    async def from_the_pool() -> None:
        async with sandbox.open(SPEC) as box:
            assert (await box.python(CODE, timeout=LONG)).stdout == b"1\n"

    async def in_the_session() -> None:
        assert (await session.python(CODE, timeout=LONG)).stdout == b"1\n"

    async def command_in_the_session() -> None:
        done = await session.run(["python3", "-I", "-c", CODE], timeout=LONG)
        assert done.stdout == b"1\n"

    async def fresh(**options: Any) -> None:
        def run() -> bytes:
            found: bytes = client.containers.run(
                DEFAULT_IMAGE, ["python3", "-c", CODE], remove=True, **options
            )
            return found

        assert await anyio.to_thread.run_sync(run) == b"1\n"

    async def fresh_box() -> None:
        made = await sandbox._in_thread(lambda: sandbox._begin(DEFAULT_IMAGE, sandbox._limits))
        sandbox._pool.drop(made)

    async def fresh_plain() -> None:
        def run() -> Any:
            made = client.containers.create(
                DEFAULT_IMAGE, ["sleep", "60"], init=True, network_mode="none"
            )
            made.start()
            return made

        made = await anyio.to_thread.run_sync(run)
        dropped.append(made)

    async def command_line() -> None:
        command = ["docker", "run", "--rm", "--network", "none", DEFAULT_IMAGE]
        await anyio.to_thread.run_sync(
            lambda: subprocess.run([*command, "python3", "-c", CODE], check=True, stdout=-3)
        )

    return {
        "exec in a warm container (docker-py)": execute,
        "first run of a box from the pool": from_the_pool,
        "code in an open box": in_the_session,
        "command in an open box": command_in_the_session,
        "container begun, unhardened (docker-py)": fresh_plain,
        "container begun, hardened, supervisor ready": fresh_box,
        "run and remove, unhardened (docker-py)": lambda: fresh(network_mode="none"),
        "docker run --rm (command line)": command_line,
    }


dropped: list[Any] = []


async def measure(
    works: dict[str, Work], sandbox: DockerSandbox, rounds: int
) -> dict[str, list[float]]:
    """Return the seconds of each, round by round."""
    table: dict[str, list[float]] = {name: [] for name in works}
    for _ in range(rounds):
        for name, work in works.items():
            while sandbox._pool.stock < 4:  # noqa: ASYNC110  # what is made ahead must not disturb what is measured
                await anyio.sleep(0.01)
            begun = time.perf_counter()
            await work()
            table[name].append(time.perf_counter() - begun)
            while dropped:
                made = dropped.pop()
                await anyio.to_thread.run_sync(lambda made=made: made.remove(force=True))
    return table


def show(table: dict[str, list[float]]) -> None:
    """Print medians, and ratios to an exec in a warm container."""
    base = statistics.median(table["exec in a warm container (docker-py)"])
    for name, seconds in table.items():
        middle = statistics.median(seconds)
        print(f"{name:<46} {middle * 1000:7.1f} ms  {middle / base:5.2f} x")


async def limits(sandbox: DockerSandbox) -> None:
    """Print how soon a command is ended that takes too long, or says too much."""
    over: list[float] = []
    for code in ("while True: pass", "import time; time.sleep(60)"):
        for _ in range(3):
            async with sandbox.open(SPEC) as box:
                begun = time.perf_counter()
                done = await box.python(code, timeout=timedelta(seconds=0.5))
                assert done.status is BoxStatus.TIMED_OUT
                over.append(time.perf_counter() - begun - 0.5)
    print(f"time-out of 0.5 s: {max(over) * 1000:.0f} ms late at most")
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    async with sandbox.open(SPEC) as box:
        begun = time.perf_counter()
        flood = "import sys\nfor _ in range(16384): sys.stdout.buffer.write(b'x' * 65536)"
        done = await box.python(flood, timeout=LONG)
        assert done.status is BoxStatus.OUTPUT_LIMIT
        took = time.perf_counter() - begun
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    print(f"a flood of 1 GiB: ended after {took * 1000:.0f} ms, {grown / 1024:.0f} MiB more memory")


async def parallel(sandbox: DockerSandbox) -> None:
    """Print how long the event loop was kept waiting while eight boxes worked."""
    worst = 0.0

    async def watch(scope: anyio.CancelScope) -> None:
        nonlocal worst
        with scope:
            while True:
                begun, used = time.perf_counter(), time.thread_time()
                await anyio.sleep(0.001)
                late = time.perf_counter() - begun - 0.001
                # What other processes took of the processor is not the loop's doing.
                worst = max(worst, min(late, time.thread_time() - used))

    async def one() -> None:
        async with sandbox.open(SPEC) as box:
            for _ in range(10):
                await box.python("print('x' * 10000)", timeout=LONG)

    scope = anyio.CancelScope()
    async with anyio.create_task_group() as group:
        group.start_soon(watch, scope)
        async with anyio.create_task_group() as work:
            for _ in range(8):
                work.start_soon(one)
        scope.cancel()
    print(f"eight boxes at once: the event loop was busy for {worst * 1000:.0f} ms at most")


if __name__ == "__main__":
    anyio.run(main, int(sys.argv[1]) if len(sys.argv) > 1 else 10)
