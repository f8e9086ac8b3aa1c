"""The watchdog: it names the line in which the event loop stands still."""

from __future__ import annotations

import asyncio
import re
import threading
from datetime import timedelta

import anyio
import anyio.lowlevel
import pytest

from astro.testing.watchdog import LoopWatch, watch_loop

SHORT = timedelta(milliseconds=20)
FOR_EVER = timedelta(minutes=10)


def compute(watch: LoopWatch) -> None:
    while not watch.stacks:
        pass


def match(text: str) -> None:
    assert re.match(r"(a+)+$", text) is None


@pytest.mark.anyio
async def test_a_loop_that_computes_is_named() -> None:
    with watch_loop(SHORT) as watch:
        compute(watch)
        await anyio.lowlevel.checkpoint()
        await anyio.lowlevel.checkpoint()
        assert watch.longest > SHORT
    (stack,) = watch.stacks
    assert "in compute" in stack
    assert "while not watch.stacks" in stack or "pass" in stack


@pytest.mark.anyio
async def test_a_regular_expression_that_goes_back_and_forth_is_named() -> None:
    with watch_loop(SHORT) as watch:
        length = 16
        while not watch.stacks:  # how long it takes depends on the machine
            match("a" * length + "b")
            length += 1
            await anyio.lowlevel.checkpoint()
    assert "in match" in watch.stacks[0]


@pytest.mark.anyio
async def test_a_stack_begins_where_the_loop_calls() -> None:
    with watch_loop(SHORT) as watch:
        compute(watch)
    assert "pytest_pyfunc_call" not in watch.stacks[0]
    assert "test_a_stack_begins" in watch.stacks[0]


@pytest.mark.anyio
async def test_the_end_of_the_block_is_waited_for_by_nobody() -> None:
    with watch_loop(SHORT) as watch:
        compute(watch)  # and the loop never turns again before the end
    assert watch.longest > SHORT
    assert len(watch.stacks) == 1


@pytest.mark.anyio
async def test_a_loop_that_turns_is_not_named() -> None:
    with watch_loop(FOR_EVER) as watch:
        for _ in range(100):
            await anyio.lowlevel.checkpoint()
    assert watch.stacks == []
    assert watch.longest < FOR_EVER


@pytest.mark.anyio
async def test_waiting_is_not_standing_still() -> None:
    seen = anyio.Event()

    def watching() -> bool:
        return any(thread.name == "astro watchdog" for thread in threading.enumerate())

    with watch_loop(SHORT) as watch:
        assert watching()
        with anyio.move_on_after(5 * SHORT.total_seconds()):
            await seen.wait()
    assert not watching()
    assert not any("seen.wait" in stack for stack in watch.stacks)


def test_a_loop_that_does_not_run_is_not_named() -> None:
    def wait_outside() -> None:
        threading.Event().wait(10 * SHORT.total_seconds())

    async def enter() -> LoopWatch:
        return watching.__enter__()

    async def leave() -> None:
        watching.__exit__(None, None, None)

    watching = watch_loop(SHORT)
    with asyncio.Runner() as runner:
        watch = runner.run(enter())
        wait_outside()
        runner.run(leave())
    assert not any("wait_outside" in stack for stack in watch.stacks)


def test_without_a_loop_there_is_nothing_to_watch() -> None:
    with pytest.raises(RuntimeError, match="no event loop to watch"), watch_loop():
        pass


@pytest.mark.anyio
async def test_no_loop_turns_in_no_time() -> None:
    with pytest.raises(ValueError, match="cannot turn within"), watch_loop(timedelta(0)):
        pass
