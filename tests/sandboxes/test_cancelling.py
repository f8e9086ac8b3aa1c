"""The caller is cancelled wherever it waits: no container, thread or descriptor is left behind."""

from __future__ import annotations

import asyncio
import os
import types
from collections.abc import Awaitable, Callable, Coroutine, Generator, Sequence
from datetime import timedelta
from pathlib import PurePosixPath
from typing import Any

import anyio
import anyio.to_thread
import pytest

from astro import DockerSandbox, SandboxSpec
from astro.testing import find_leaks
from tests.sandboxes.docker_here import Boxes, needs_docker

pytestmark = [pytest.mark.anyio, pytest.mark.slow]

LONG = timedelta(seconds=60)
SPEC = SandboxSpec()
FILE = PurePosixPath("folder/file")
BESIDE = 4  # lives at the same time
MOST = 24  # waits at which a life is cancelled; most of the rest are for more of the same


@pytest.fixture(autouse=True)
def here() -> None:
    needs_docker()


class Waits:
    """Follows a coroutine, and acts once it waits for the nth time.

    Args:
        act: Called with what it waits for.

    Attributes:
        count: How often it has waited so far.
    """

    def __init__(self, at: int = 0, act: Callable[[Any], None] = lambda _: None) -> None:
        self._at = at
        self._act = act
        self.count = 0

    @types.coroutine
    def follow(self, life: Coroutine[Any, Any, None]) -> Generator[Any, Any, None]:
        send, given = life.send, None
        while True:
            try:
                awaited = send(given)
            except StopIteration:
                return
            self.count += 1
            if self.count == self._at:
                self._act(awaited)
            try:
                send, given = life.send, (yield awaited)
            except BaseException as error:
                send, given = life.throw, error


# --- Ways to be cancelled ----------------------------------------------------------------------

Life = Callable[[], Coroutine[Any, Any, None]]
Way = Callable[[Life, int], Awaitable[bool]]


async def _native(life: Life, cancel: Callable[[Any], Waits]) -> bool:
    """Return whether a task was cancelled."""
    waits: list[Waits] = []

    async def follow() -> None:
        waits.append(cancel(asyncio.current_task()))
        await waits[0].follow(life())

    task = asyncio.create_task(follow())
    try:
        await task
    except asyncio.CancelledError:
        return True
    return False


async def once(life: Life, at: int) -> bool:
    """Cancel a task of asyncio as it begins to wait."""
    return await _native(life, lambda task: Waits(at, lambda _: task.cancel()))


async def late(life: Life, at: int) -> bool:
    """Cancel a task of asyncio in the moment when that comes for which it has waited."""

    def follow(task: Any) -> Waits:
        def cancel(awaited: Any) -> None:
            if awaited is None:  # it only lets others go first
                task.cancel()
            else:
                awaited.add_done_callback(lambda _: task.cancel())

        return Waits(at, cancel)

    return await _native(life, follow)


async def twice(life: Life, at: int) -> bool:
    """Cancel a task of asyncio, and once more when it waits next, which is to clean up."""

    def follow(task: Any) -> Waits:
        def cancel(_: Any) -> None:
            task.cancel()
            asyncio.get_running_loop().call_later(0.002, task.cancel)

        return Waits(at, cancel)

    return await _native(life, follow)


async def timeout(life: Life, at: int) -> bool:
    """Let the time of asyncio.timeout be up."""
    try:
        async with asyncio.timeout(None) as scope:
            now = asyncio.get_running_loop().time
            await Waits(at, lambda _: scope.reschedule(now())).follow(life())
    except TimeoutError:
        return True
    return False


async def scope(life: Life, at: int) -> bool:
    """Cancel a scope of anyio."""
    with anyio.CancelScope() as cancelled:
        await Waits(at, lambda _: cancelled.cancel()).follow(life())
    return cancelled.cancelled_caught


# --- Lives -------------------------------------------------------------------------------------

CONTENT = b"x" * 300_000  # more than fits into a socket


async def opening(box: Any) -> None:
    """Do nothing with it."""


async def running(box: Any) -> None:
    """Run programs with input, output and artifacts."""
    await box.python("print(input())", stdin=CONTENT, timeout=LONG)
    await box.run(["touch", "x"], collect=["*"], timeout=LONG)


async def running_out_of_time(box: Any) -> None:
    """Run a program that has to be ended."""
    await box.python("while True: pass", timeout=timedelta(seconds=0.05))


async def writing(box: Any) -> None:
    """Write a file."""
    await box.write({FILE: CONTENT})


async def reading(box: Any) -> None:
    """Write a small file and read it in every way."""
    await box.write({FILE: b"x"})
    assert await box.read(FILE) == b"x"
    assert await box.files()
    await box.restore(await box.changes())


LIVES = [opening, running, running_out_of_time, writing, reading]


async def in_a_box(sandbox: DockerSandbox, do: Callable[[Any], Awaitable[None]]) -> None:
    async with sandbox.open(SPEC) as box:
        await do(box)


async def waits_of(life: Life) -> int:
    """Return how often a life waits when nobody disturbs it."""
    waits = Waits()
    await waits.follow(life())
    return waits.count


async def everywhere(life: Life, *ways: Way) -> int:
    """Cancel a life at each of its waits, in turn each way; return how often that cancelled it."""
    points = min(await waits_of(life), MOST)
    assert points
    ends: list[bool] = []
    turns = anyio.CapacityLimiter(BESIDE)

    async def one(at: int) -> None:
        async with turns:
            ends.append(await ways[at % len(ways)](life, at))

    async with anyio.create_task_group() as group:
        for at in range(1, points + 1):
            group.start_soon(one, at)
    return sum(ends)


async def until_nothing_is_left() -> None:
    with anyio.fail_after(20):
        while await anyio.to_thread.run_sync(Boxes().look):
            await anyio.sleep(0.05)


WAYS = (once, late, twice, timeout, scope)
# In each round another way comes first: two of them at each wait, before a release all five.
ROUNDS = 2 if os.environ.get("ASTRO_SOAK", "1") == "1" else len(WAYS)
each_round = pytest.mark.parametrize(
    "ways",
    [WAYS[n:] + WAYS[:n] for n in range(ROUNDS)],
    ids=[way.__name__ for way in WAYS[:ROUNDS]],
)


@pytest.mark.parametrize("pool", [0, 4], ids=["made", "from the pool"])
@each_round
async def test_opening_is_cancelled_everywhere(ways: Sequence[Way], pool: int) -> None:
    async with find_leaks():
        async with DockerSandbox(pool=pool) as sandbox:
            assert await everywhere(lambda: in_a_box(sandbox, opening), *ways)
            await in_a_box(sandbox, running)
        await until_nothing_is_left()


@pytest.mark.parametrize("do", LIVES[1:])
@each_round
async def test_a_box_is_cancelled_everywhere(
    ways: Sequence[Way], do: Callable[[Any], Awaitable[None]]
) -> None:
    async with find_leaks():
        async with DockerSandbox(pool=4) as sandbox:
            assert await everywhere(lambda: in_a_box(sandbox, do), *ways)
            await in_a_box(sandbox, running)
        await until_nothing_is_left()


@each_round
async def test_a_sandbox_is_cancelled_everywhere(ways: Sequence[Way]) -> None:
    async def life() -> None:
        async with (
            DockerSandbox(pool=1),
            DockerSandbox(pool=0) as sandbox,
            sandbox.open(SPEC) as box,
        ):
            await box.python("print(1)", timeout=LONG)

    async with find_leaks():
        assert await everywhere(life, *ways)
        await until_nothing_is_left()


@pytest.mark.parametrize("anyio_backend", ["trio"])
@pytest.mark.parametrize("do", LIVES)
async def test_on_trio_a_box_is_cancelled_everywhere(
    anyio_backend: str, do: Callable[[Any], Awaitable[None]]
) -> None:
    async with find_leaks():
        async with DockerSandbox(pool=1) as sandbox:
            assert await everywhere(lambda: in_a_box(sandbox, do), scope)
            await in_a_box(sandbox, running)
        await until_nothing_is_left()
