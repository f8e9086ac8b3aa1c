"""Many boxes at once: all are served, none is left behind, and the event loop goes on turning."""

from __future__ import annotations

import random
import time
from collections import Counter
from datetime import timedelta

import anyio
import anyio.to_thread
import docker
import pytest

from astro import BoxLimits, BoxLostError, DockerSandbox, SandboxSpec
from astro.testing import find_leaks
from tests.sandboxes.docker_here import Boxes, needs_docker

pytestmark = [pytest.mark.anyio, pytest.mark.slow]

LONG = timedelta(seconds=60)
SPEC = SandboxSpec()
BUSY = 0.05  # seconds of processor time for which an event loop may not turn


@pytest.fixture(autouse=True)
def here() -> None:
    needs_docker()


async def until_nothing_is_left() -> None:
    with anyio.fail_after(20):
        while await anyio.to_thread.run_sync(Boxes().look):
            await anyio.sleep(0.05)


@pytest.mark.parametrize("pool", [0, 4], ids=["made", "from the pool"])
async def test_a_hundred_at_once_are_all_served(pool: int) -> None:
    said: list[str] = []
    async with find_leaks():
        async with DockerSandbox(pool=pool, boxes=8) as sandbox:

            async def one(number: int) -> None:
                async with sandbox.open(SPEC) as box:
                    said.append((await box.python(f"print({number})", timeout=LONG)).text)

            async with anyio.create_task_group() as group:
                for number in range(100):
                    group.start_soon(one, number)
        assert sorted(map(int, said)) == list(range(100))
        await until_nothing_is_left()


CODES = (
    "print(1)",
    "while True: pass",
    "import os; os.kill(os.getppid(), 9)",
    "import sys\nwhile True: sys.stdout.write('x' * 65536)",
    "import os\nfor _ in range(20): os.fork() or __import__('time').sleep(60)",
)


async def test_nothing_is_left_after_two_hundred_cancellations_and_kills() -> None:
    chance = random.Random(7)
    ends: Counter[str] = Counter()
    async with find_leaks():
        async with DockerSandbox(pool=2, boxes=8) as sandbox:

            async def one(number: int) -> None:
                with anyio.move_on_after(chance.random() * 0.8) as scope:
                    try:
                        async with sandbox.open(SPEC) as box:
                            if not number % 7:
                                await anyio.to_thread.run_sync(remove, box.id)
                            code = CODES[number % len(CODES)]
                            done = await box.python(code, timeout=timedelta(seconds=0.2))
                            ends[done.status.value] += 1
                    except BoxLostError:
                        ends["lost"] += 1
                ends["cancelled"] += scope.cancelled_caught

            async with anyio.create_task_group() as group:
                for number in range(200):
                    group.start_soon(one, number)
                    await anyio.sleep(0.02)
            async with sandbox.open(SPEC) as box:  # it serves as before
                assert (await box.python("print(1)", timeout=LONG)).text == "1\n"
        await until_nothing_is_left()
    assert ends["cancelled"] > 10
    assert sum(ends.values()) == 200


def remove(id_: str) -> None:
    """Remove a container as an operator does who knows nothing of it."""
    client = docker.from_env()
    try:
        client.api.remove_container(id_, force=True)
    except docker.errors.APIError:
        pass  # it is being removed
    finally:
        client.close()


async def test_eight_boxes_do_not_hold_up_the_event_loop() -> None:
    """What it takes of the processor counts: other processes are not the loop's doing."""
    worst = 0.0

    async def watch(scope: anyio.CancelScope) -> None:
        nonlocal worst
        with scope:
            while True:
                begun, used = time.perf_counter(), time.thread_time()
                await anyio.sleep(0.001)
                late = time.perf_counter() - begun - 0.001
                worst = max(worst, min(late, time.thread_time() - used))

    limits = BoxLimits(output=4 * 2**20, flood=64 * 2**20)
    async with DockerSandbox(pool=4, limits=limits) as sandbox:

        async def one() -> None:
            async with sandbox.open(SPEC) as box:
                for _ in range(5):
                    await box.python("print('x' * 10_000)", timeout=LONG)
                done = await box.python("print('x' * 3_000_000)", timeout=LONG)
                assert len(done.stdout) == 3_000_001

        scope = anyio.CancelScope()
        async with anyio.create_task_group() as group:
            group.start_soon(watch, scope)
            async with anyio.create_task_group() as work:
                for _ in range(8):
                    work.start_soon(one)
            scope.cancel()
    assert worst < BUSY
