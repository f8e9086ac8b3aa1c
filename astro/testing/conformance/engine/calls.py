"""Calls: what a task may count on when it asks for others."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import anyio
import pytest

from astro.core.clock import SystemClock
from astro.core.context import Context
from astro.core.errors import (
    AmbiguousCallError,
    CallFailedError,
    PermanentError,
    RunFailedError,
)
from astro.core.policy import Retry
from astro.core.protocols import Store
from astro.core.task import Task, task
from astro.testing.conformance.engine.opening import EngineSuite, echo, records_of

__all__ = ["CallTests"]

_AT_ONCE = Retry(attempts=3, first=timedelta(0))


class _DeclinedError(Exception):
    """Named in `raises`."""


def _failing(*errors: Exception, **options: Any) -> tuple[Task[[], int], list[tuple[int, str]]]:
    """Return a task that raises errors, one an attempt, then succeeds; and what it was."""
    seen: list[tuple[int, str]] = []

    @task(name="conformance.flaky", **options)
    async def flaky(ctx: Context) -> int:
        seen.append((ctx.attempt, ctx.key))
        if len(seen) <= len(errors):
            raise errors[len(seen) - 1]
        return ctx.attempt

    return flaky, seen


def _asking(asked: Task[[], int]) -> Task[[], int]:
    @task(name="conformance.asking")
    async def asking(ctx: Context) -> int:
        return await ctx.call(asked)

    return asking


class CallTests(EngineSuite):
    """What an engine promises of calls: failures, attempts, time, order."""

    # --- Failures ----------------------------------------------------------------------------

    async def test_rule_06_a_failed_call_is_raised_where_it_was_asked_for(
        self, store: Store
    ) -> None:
        flaky, _ = _failing(ValueError("some words"))
        caught: list[CallFailedError] = []

        @task(name="conformance.root")
        async def root(ctx: Context) -> str:
            try:
                await ctx.call(flaky)
            except CallFailedError as error:
                caught.append(error)
            return "went on"

        async with self.opened(root, flaky, store=store) as engine:
            assert await engine.run(root) == "went on"
        failure = caught[0].failure
        assert (failure.type, failure.message, failure.attempts) == ("ValueError", "some words", 1)

    async def test_rule_06_a_declared_class_is_raised_as_itself(self, store: Store) -> None:
        flaky, _ = _failing(_DeclinedError("some words"), raises=(_DeclinedError,))

        @task(name="conformance.root")
        async def root(ctx: Context) -> str:
            try:
                await ctx.call(flaky)
            except _DeclinedError as error:
                return str(error)
            return "nothing was raised"

        async with self.opened(root, flaky, store=store) as engine:
            assert await engine.run(root) == "some words"

    async def test_a_failed_call_that_nobody_catches_fails_the_run(self, store: Store) -> None:
        flaky, _ = _failing(ValueError("some words"))
        root = _asking(flaky)
        async with self.opened(root, flaky, store=store) as engine:
            with pytest.raises(RunFailedError, match="some words"):
                await engine.run(root)

    # --- Attempts ----------------------------------------------------------------------------

    async def test_a_call_is_tried_again_under_the_same_key(self, store: Store) -> None:
        flaky, seen = _failing(OSError(), OSError(), retry=_AT_ONCE)
        root = _asking(flaky)
        async with self.opened(root, flaky, store=store) as engine:
            assert await engine.run(root) == 3
        assert [attempt for attempt, _ in seen] == [1, 2, 3]
        assert len({key for _, key in seen}) == 1

    async def test_a_call_is_tried_no_more_often_than_it_may_be(self, store: Store) -> None:
        flaky, seen = _failing(*(OSError(f"no. {n}") for n in range(1, 9)), retry=_AT_ONCE)
        root = _asking(flaky)
        async with self.opened(root, flaky, store=store) as engine:
            with pytest.raises(RunFailedError, match=r"3 attempts: OSError: no\. 3"):
                await engine.run(root)
        assert len(seen) == 3

    @pytest.mark.parametrize("error", [PermanentError("no"), ValueError("no")], ids=repr)
    async def test_what_another_attempt_does_not_mend_is_not_tried_again(
        self, store: Store, error: Exception
    ) -> None:
        on = (OSError, PermanentError)
        flaky, seen = _failing(error, retry=Retry(attempts=3, first=timedelta(0), on=on))
        root = _asking(flaky)
        async with self.opened(root, flaky, store=store) as engine:
            with pytest.raises(RunFailedError):
                await engine.run(root)
        assert len(seen) == 1

    async def test_an_attempt_that_outlives_its_time_is_cancelled_and_tried_again(
        self, store: Store
    ) -> None:
        ended: list[int] = []

        @task(name="conformance.slow", timeout=self.moment, retry=_AT_ONCE)
        async def slow(ctx: Context) -> int:
            try:
                if ctx.attempt == 1:
                    await anyio.sleep_forever()
                return ctx.attempt
            finally:
                ended.append(ctx.attempt)

        root = _asking(slow)
        async with self.opened(root, slow, store=store) as engine:
            assert await engine.run(root) == 2
        assert ended == [1, 2]

    async def test_a_time_out_without_another_attempt_fails_the_call(self, store: Store) -> None:
        @task(name="conformance.slow", timeout=self.moment)
        async def slow(ctx: Context) -> int:
            await anyio.sleep_forever()
            return 0

        root = _asking(slow)
        async with self.opened(root, slow, store=store) as engine:
            with pytest.raises(RunFailedError, match="TaskTimeoutError"):
                await engine.run(root)

    async def test_a_deadline_of_a_call_covers_all_its_attempts(self, store: Store) -> None:
        @task(name="conformance.hopeless", deadline=2 * self.moment, retry=1_000)
        async def hopeless(ctx: Context) -> int:
            raise OSError("no")

        root = _asking(hopeless)
        async with self.opened(root, hopeless, store=store) as engine:
            run = await engine.start(root)
            with pytest.raises(RunFailedError):
                await run
            tried = await records_of(run, "attempt_failed")
        assert len(tried) < 10

    # --- Order and number --------------------------------------------------------------------

    async def test_rule_01_equal_calls_are_done_as_often_as_they_are_asked_for(
        self, store: Store
    ) -> None:
        keys: list[str] = []

        @task(name="conformance.note")
        async def note(ctx: Context, text: str) -> None:
            keys.append(ctx.key)

        @task(name="conformance.root")
        async def root(ctx: Context) -> None:
            await ctx.call(note, "same")
            await ctx.call(note, text="same")

        async with self.opened(root, note, store=store) as engine:
            await engine.run(root)
        assert len(set(keys)) == 2

    async def test_rule_02_what_cannot_be_told_apart_is_refused(self, store: Store) -> None:
        caught: list[str] = []

        @task(name="conformance.root")
        async def root(ctx: Context) -> None:
            async def part() -> None:
                try:
                    await ctx.call(echo, "same")
                except AmbiguousCallError as error:
                    caught.append(str(error))

            async with anyio.create_task_group() as group:
                group.start_soon(part)
                group.start_soon(part)

        async with self.opened(root, echo, store=store) as engine:
            await engine.run(root)
        assert caught

    async def test_a_map_gives_results_in_the_order_of_its_items(self, store: Store) -> None:
        last = anyio.Event()
        ended: list[int] = []

        @task(name="conformance.number")
        async def number(ctx: Context, item: int) -> int:
            if item == 9:
                last.set()
            await last.wait()
            ended.append(item)
            return item * item

        @task(name="conformance.root")
        async def root(ctx: Context) -> list[int]:
            return await ctx.map(number, range(10))

        async with self.opened(root, number, store=store) as engine:
            assert await engine.run(root) == [item * item for item in range(10)]
        assert sorted(ended) == list(range(10))

    async def test_a_map_has_no_more_items_at_work_than_its_limit(self, store: Store) -> None:
        at_work, most = 0, 0

        @task(name="conformance.number")
        async def number(ctx: Context, item: int) -> None:
            nonlocal at_work, most
            at_work += 1
            most = max(most, at_work)
            await anyio.sleep(0.001)
            at_work -= 1

        @task(name="conformance.root")
        async def root(ctx: Context) -> None:
            await ctx.map(number, range(12), limit=3)

        async with self.opened(root, number, store=store) as engine:
            await engine.run(root)
        assert 1 <= most <= 3

    async def test_a_step_is_done_in_place(self, store: Store) -> None:
        async def add(left: int, right: int) -> int:
            return left + right

        @task(name="conformance.root")
        async def root(ctx: Context) -> int:
            return await ctx.step(add, 2, right=3)

        async with self.opened(root, store=store) as engine:
            assert await engine.run(root) == 5

    async def test_a_sleep_is_no_shorter_than_it_was_asked_to_be(self, store: Store) -> None:
        clock = SystemClock()

        @task(name="conformance.root")
        async def root(ctx: Context) -> float:
            before = clock.monotonic()
            await ctx.sleep(self.moment)
            return clock.monotonic() - before

        async with self.opened(root, store=store) as engine:
            assert await engine.run(root) >= self.moment.total_seconds()

    # --- Runs that runs start ----------------------------------------------------------------

    async def test_a_run_starts_another_and_awaits_it(self, store: Store) -> None:
        @task(name="conformance.root")
        async def root(ctx: Context) -> str:
            return await (await ctx.start(echo, "child"))

        async with self.opened(root, echo, store=store) as engine:
            run = await engine.start(root)
            assert await run == "child"
            (child,) = (await engine.runs(task=echo.name)).items
            assert child.parent == run.id

    async def test_a_failed_child_is_raised_where_it_is_awaited(self, store: Store) -> None:
        flaky, _ = _failing(ValueError("some words"))

        @task(name="conformance.root")
        async def root(ctx: Context) -> str:
            try:
                await (await ctx.start(flaky))
            except RunFailedError as error:
                return error.failure.message
            return "nothing was raised"

        async with self.opened(root, flaky, store=store) as engine:
            assert await engine.run(root) == "some words"
