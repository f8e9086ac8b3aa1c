"""Simulations that cannot go on: who waits, who is busy without end, and which threads came in."""

from __future__ import annotations

import asyncio
import threading
import time

import anyio
import anyio.lowlevel
import pytest

from astro.testing.loop import run_deterministically
from astro.testing.stalls import DeadlockError, StepLimitError, ThreadsError


@pytest.mark.parametrize("seed", [None, 0, 1, 2])
def test_a_deadlock_is_reported_with_all_who_wait(seed: int | None) -> None:
    async def hold(first: anyio.Lock, second: anyio.Lock) -> None:
        async with first:
            await anyio.sleep(1)
            async with second:
                pass

    async def main() -> None:
        one, other = anyio.Lock(), anyio.Lock()
        async with anyio.create_task_group() as group:
            group.start_soon(hold, one, other, name="hen")
            group.start_soon(hold, other, one, name="egg")

    with pytest.raises(DeadlockError, match="these tasks wait") as caught:
        run_deterministically(main, seed=seed)
    names = [line.partition(":")[0] for line in caught.value.waiting]
    assert names == ["main", "hen", "egg"]
    assert "hold" in caught.value.waiting[1]
    assert "test_stalls.py:" in caught.value.waiting[1]
    assert "Lock.acquire" in caught.value.waiting[1]


def test_sleeping_for_ever_is_a_deadlock() -> None:
    with pytest.raises(DeadlockError, match="main: "):
        run_deterministically(anyio.sleep_forever, seed=None)


def test_what_is_busy_without_end_is_named() -> None:
    async def main() -> None:
        async with anyio.create_task_group() as group:
            group.start_soon(anyio.sleep, 3, name="sleeper")
            while True:
                await anyio.lowlevel.checkpoint()

    with pytest.raises(StepLimitError, match="not ended after 500 steps") as caught:
        run_deterministically(main, seed=1, steps=500)
    assert caught.value.busy == ("main #1 (200 times)",)
    assert [line.partition(":")[0] for line in caught.value.waiting] == ["main", "sleeper"]


def test_a_worker_thread_is_refused() -> None:
    async def main() -> None:
        await anyio.to_thread.run_sync(int)

    with pytest.raises(ThreadsError, match=r"AnyIO worker thread.*threads=True"):
        run_deterministically(main, seed=None)


def test_a_worker_thread_is_refused_although_timers_run() -> None:
    async def main() -> None:
        with anyio.fail_after(60):
            await anyio.to_thread.run_sync(int)

    with pytest.raises(ThreadsError, match="threads are not deterministic"):
        run_deterministically(main, seed=None)


def test_an_executor_is_refused() -> None:
    async def main() -> None:
        await asyncio.get_running_loop().run_in_executor(None, int)

    with pytest.raises(ThreadsError, match="int was to run in an executor"):
        run_deterministically(main, seed=None)


def test_a_refused_thread_is_reported_even_if_the_code_hides_it() -> None:
    async def main() -> None:
        try:
            await asyncio.get_running_loop().run_in_executor(None, int)
        except AssertionError:
            await anyio.sleep(1)

    with pytest.raises(ThreadsError):
        run_deterministically(main, seed=None)


def test_a_call_from_a_thread_is_refused() -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        thread = threading.Thread(target=loop.call_soon_threadsafe, args=(int,), name="stranger")
        thread.start()
        thread.join()
        await anyio.sleep(1)

    with pytest.raises(ThreadsError, match="'stranger' called"):
        run_deterministically(main, seed=None)


def test_a_thread_that_comes_too_late_does_no_harm() -> None:
    late = threading.Event()
    failures: list[BaseException] = []

    def call(loop: asyncio.AbstractEventLoop) -> None:
        late.wait()
        try:
            loop.call_soon_threadsafe(int)
        except RuntimeError as error:
            failures.append(error)

    async def main() -> threading.Thread:
        thread = threading.Thread(target=call, args=(asyncio.get_running_loop(),))
        thread.start()
        return thread

    thread = run_deterministically(main, seed=None).value
    late.set()
    thread.join()
    assert failures == []


def test_a_threadsafe_call_from_the_loops_own_thread_is_none_from_a_thread() -> None:
    async def main() -> list[int]:
        seen: list[int] = []
        asyncio.get_running_loop().call_soon_threadsafe(seen.append, 1)
        await anyio.sleep(1)
        return seen

    assert run_deterministically(main, seed=None).value == [1]


def test_threads_that_are_allowed_may_answer() -> None:
    async def main() -> tuple[int, int]:
        loop = asyncio.get_running_loop()
        one = await anyio.to_thread.run_sync(int, "1")
        return one, await loop.run_in_executor(None, int, "2")

    assert run_deterministically(main, seed=1, threads=True).value == (1, 2)


def test_no_deadlock_is_reported_while_a_thread_is_at_work() -> None:
    async def main() -> float:
        await anyio.to_thread.run_sync(time.sleep, 0.1)
        return anyio.current_time()

    assert run_deterministically(main, seed=1, threads=True).value == 0.0


def test_a_process_is_refused_with_a_word_about_why() -> None:
    async def main() -> None:
        await anyio.run_process(["true"])

    with pytest.raises(NotImplementedError, match="no processes and connections"):
        run_deterministically(main, seed=None)


def test_a_connection_is_refused_with_a_word_about_why() -> None:
    async def main() -> None:
        await asyncio.open_connection("127.0.0.1", 1)

    with pytest.raises(NotImplementedError, match="no processes and connections"):
        run_deterministically(main, seed=None)
