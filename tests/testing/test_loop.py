"""Simulations: the same seed gives the same execution, and time passes without waiting."""

from __future__ import annotations

import asyncio
import gc
import os
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import suppress
from datetime import timedelta
from typing import Any

import anyio
import anyio.lowlevel
import pytest

from astro.testing.loop import Simulated, run_deterministically

SEEDS = [None, 0, 1, 2]
seeded = pytest.mark.parametrize("seed", SEEDS)
DAY = 86_400.0


async def race(tasks: int = 8, turns: int = 3) -> list[int]:
    """Return the numbers of the tasks in the order in which they had their turns."""
    order: list[int] = []

    async def runner(number: int) -> None:
        for _ in range(turns):
            order.append(number)
            await anyio.lowlevel.checkpoint()

    async with anyio.create_task_group() as group:
        for number in range(tasks):
            group.start_soon(runner, number)
    return order


# --- Order -------------------------------------------------------------------------------------


@seeded
def test_the_same_seed_gives_the_same_execution(seed: int | None) -> None:
    assert run_deterministically(race, seed=seed) == run_deterministically(race, seed=seed)


def test_different_seeds_give_different_executions() -> None:
    found = [run_deterministically(race, seed=seed) for seed in range(20)]
    assert len({one.trace for one in found}) == 20
    assert len({tuple(one.value) for one in found}) == 20


def test_without_a_seed_the_first_goes_first() -> None:
    assert run_deterministically(race, 3, 2, seed=None).value == [0, 1, 2, 0, 1, 2]


def test_arguments_reach_the_function_and_its_value_comes_back() -> None:
    assert sorted(run_deterministically(race, 2, 2, seed=1).value) == [0, 0, 1, 1]


def test_a_lost_update_that_no_ordinary_loop_shows_is_found() -> None:
    async def main() -> int:
        total = 0

        async def add(pauses: int) -> None:
            nonlocal total
            for _ in range(pauses):
                await anyio.lowlevel.checkpoint()
            seen = total
            await anyio.lowlevel.checkpoint()
            total = seen + 1

        async with anyio.create_task_group() as group:
            group.start_soon(add, 0)
            group.start_soon(add, 3)
        return total

    assert run_deterministically(main, seed=None).value == 2
    assert {run_deterministically(main, seed=seed).value for seed in range(50)} == {1, 2}


@pytest.mark.parametrize("seed", [1, 2])
def test_who_wakes_those_in_a_set_does_not_decide_who_is_first(seed: int) -> None:
    async def main() -> list[int]:
        events = {anyio.Event(): number for number in range(50)}
        order: list[int] = []

        async def waiter(event: anyio.Event, number: int) -> None:
            await event.wait()
            order.append(number)

        async with anyio.create_task_group() as group:
            for event, number in events.items():
                group.start_soon(waiter, event, number)
            await anyio.sleep(1)
            for event in set(events):
                event.set()
        return order

    assert len({tuple(run_deterministically(main, seed=seed).value) for _ in range(5)}) == 1


class Heirless:
    """Garbage, in a circle, that wants to do something when it is found."""

    def __init__(self) -> None:
        self.me = self

    def __del__(self) -> None:
        with suppress(RuntimeError):  # no event loop runs: nobody is disturbed
            asyncio.get_running_loop().call_soon(str)


def test_what_was_left_before_it_takes_no_part() -> None:
    async def long() -> None:
        for _ in range(6_000):  # the loop collects garbage on the way
            await anyio.lowlevel.checkpoint()

    undisturbed = run_deterministically(long, seed=1)
    gc.disable()
    try:
        Heirless()
        assert run_deterministically(long, seed=1) == undisturbed
    finally:
        gc.enable()


@seeded
def test_who_is_cancelled_first_does_not_depend_on_addresses(seed: int | None) -> None:
    async def main() -> list[int]:
        order: list[int] = []

        async def cancelled(number: int) -> None:
            with anyio.CancelScope():
                try:
                    await anyio.sleep_forever()
                finally:
                    order.append(number)

        async with anyio.create_task_group() as group:
            for number in range(50):
                group.start_soon(cancelled, number)
            await anyio.sleep(1)
            group.cancel_scope.cancel()
        return order

    found = {tuple(run_deterministically(main, seed=seed).value) for _ in range(5)}
    assert len(found) == 1
    assert set(found.pop()) == set(range(50))


@pytest.mark.parametrize("seed", range(20))
def test_callbacks_stay_in_order(seed: int) -> None:
    async def main() -> list[int]:
        order: list[int] = []
        loop = asyncio.get_running_loop()
        async with anyio.create_task_group() as group:
            group.start_soon(race)
            for number in range(10):
                loop.call_soon(order.append, number)
        await anyio.sleep(1)
        return order

    assert run_deterministically(main, seed=seed).value == list(range(10))


@pytest.mark.parametrize("seed", range(20))
def test_no_task_overtakes_a_callback_that_was_scheduled_before_it(seed: int) -> None:
    async def main() -> list[str]:
        order: list[str] = []

        async def late() -> None:
            order.append("task")

        asyncio.get_running_loop().call_soon(order.append, "callback")
        await asyncio.create_task(late())
        return order

    assert run_deterministically(main, seed=seed).value == ["callback", "task"]


def test_tasks_without_a_name_are_numbered_by_their_loop() -> None:
    async def main() -> str:
        return asyncio.create_task(race()).get_name()

    names = {run_deterministically(main, seed=None).value for _ in range(3)}
    assert names == {"Task-2"}


# --- Time --------------------------------------------------------------------------------------


@seeded
def test_three_days_take_no_time(seed: int | None) -> None:
    async def main() -> bool:
        with anyio.move_on_after(3 * DAY) as scope:
            await anyio.sleep_forever()
        return scope.cancelled_caught

    done = run_deterministically(main, seed=seed)
    assert done.value
    assert done.elapsed == 3 * DAY
    assert done.steps < 10


@seeded
def test_sleepers_wake_in_the_order_of_their_moments(seed: int | None) -> None:
    async def main() -> list[int]:
        order: list[int] = []

        async def sleeper(seconds: int) -> None:
            await anyio.sleep(seconds)
            order.append(seconds)

        async with anyio.create_task_group() as group:
            for seconds in (3, 1, 2):
                group.start_soon(sleeper, seconds)
        return order

    assert run_deterministically(main, seed=seed).value == [1, 2, 3]


def test_timers_of_one_moment_go_off_in_any_order() -> None:
    async def main() -> list[int]:
        order: list[int] = []
        loop = asyncio.get_running_loop()
        for number in range(5):
            loop.call_later(1, order.append, number)
        await anyio.sleep(2)
        return order

    orders = {tuple(run_deterministically(main, seed=seed).value) for seed in range(20)}
    assert len(orders) > 10


def test_a_cancelled_timer_lets_no_time_pass() -> None:
    async def main() -> None:
        asyncio.get_running_loop().call_later(DAY, print).cancel()
        await anyio.sleep(1)

    assert run_deterministically(main, seed=None).elapsed == 1.0


def test_timers_of_a_coarse_resolution_go_off_late_and_never_early() -> None:
    async def main() -> list[float]:
        moments = []
        for _ in range(3):
            await anyio.sleep(7)
            moments.append(anyio.current_time())
        await anyio.sleep(10)
        return [*moments, anyio.current_time()]

    done = run_deterministically(main, seed=None, resolution=timedelta(seconds=10))
    assert done.value == [10.0, 20.0, 30.0, 40.0]


# --- What runs on it ---------------------------------------------------------------------------


@seeded
def test_anyio_takes_it_for_asyncio(seed: int | None) -> None:
    async def main() -> tuple[bool, str | None]:
        await anyio.lowlevel.checkpoint()
        return anyio.current_time() == 0.0, anyio.get_current_task().name

    assert run_deterministically(main, seed=seed).value == (True, "main")


@seeded
def test_a_failure_in_a_task_group_cancels_the_others(seed: int | None) -> None:
    async def main() -> None:
        async def failing() -> None:
            await anyio.sleep(1)
            raise KeyError("lost")

        async with anyio.create_task_group() as group:
            group.start_soon(anyio.sleep_forever)
            group.start_soon(failing)

    with pytest.raises(ExceptionGroup) as caught:
        run_deterministically(main, seed=seed)
    assert caught.group_contains(KeyError)


@seeded
def test_a_shielded_scope_outlives_the_one_around_it(seed: int | None) -> None:
    async def main() -> float:
        with anyio.move_on_after(1):
            with anyio.CancelScope(shield=True):
                await anyio.sleep(5)
            await anyio.sleep(5)
        return anyio.current_time()

    assert run_deterministically(main, seed=seed).value == 5.0


@seeded
def test_locks_streams_and_native_timeouts_work(seed: int | None) -> None:
    async def main() -> tuple[int, bool]:
        send, receive = anyio.create_memory_object_stream[int](1)
        lock = anyio.Lock()

        async def sender(number: int) -> None:
            async with lock:
                await send.send(number)

        async with anyio.create_task_group() as group, send, receive:
            for number in range(5):
                group.start_soon(sender, number)
            total = sum([await receive.receive() for _ in range(5)])
        try:
            async with asyncio.timeout(1):
                await anyio.sleep_forever()
        except TimeoutError:
            return total, True
        return total, False

    assert run_deterministically(main, seed=seed).value == (10, True)


def test_what_the_function_leaves_behind_is_cancelled() -> None:
    ended: list[str] = []

    async def endless() -> None:
        try:
            await anyio.sleep_forever()
        finally:
            await anyio.lowlevel.cancel_shielded_checkpoint()
            ended.append("task")

    async def numbers() -> AsyncIterator[int]:
        try:
            yield 1
        finally:
            ended.append("generator")

    async def main() -> Any:
        task = asyncio.create_task(endless())
        generator = numbers()
        await anext(generator)
        await anyio.sleep(1)
        return task, generator

    run_deterministically(main, seed=None)
    assert ended == ["task", "generator"]


def test_what_cannot_be_cancelled_is_left_to_nobody() -> None:
    async def stubborn() -> None:
        while True:
            try:
                await anyio.Event().wait()
            except asyncio.CancelledError:
                continue

    async def main() -> asyncio.Task[None]:
        task = asyncio.create_task(stubborn())
        await anyio.sleep(1)
        return task

    assert run_deterministically(main, seed=None).value.done()


@pytest.mark.skipif(sys.version_info < (3, 12), reason="eager tasks came with Python 3.12")
def test_tasks_of_another_factory_run_and_are_cancelled_as_well() -> None:
    async def main() -> asyncio.Task[None]:
        loop = asyncio.get_running_loop()
        loop.set_task_factory(getattr(asyncio, "eager_task_factory"))  # noqa: B009  # not in 3.11
        await race()
        return asyncio.create_task(anyio.sleep_forever())

    assert run_deterministically(main, seed=None).value.cancelled()


@pytest.mark.anyio
async def test_a_simulation_inside_an_event_loop_is_refused() -> None:
    with pytest.raises(RuntimeError, match="where none runs"):
        run_deterministically(race, seed=None)


# --- Everywhere the same -----------------------------------------------------------------------

_SCRIPT = """
from astro.testing.loop import run_deterministically
from tests.testing.test_loop import race
print([run_deterministically(race, seed=seed).trace for seed in (None, 1, 2)])
"""


def _in_another_process(hash_seed: str) -> str:
    env = {**os.environ, "PYTHONHASHSEED": hash_seed}
    done = subprocess.run(
        [sys.executable, "-c", _SCRIPT], env=env, capture_output=True, check=True, text=True
    )
    return done.stdout.strip()


def test_another_process_gives_the_same_trace() -> None:
    here: list[Simulated[list[int]]] = [
        run_deterministically(race, seed=seed) for seed in (None, 1, 2)
    ]
    assert _in_another_process("1") == _in_another_process("2") == str([one.trace for one in here])
