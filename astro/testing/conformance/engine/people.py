"""People: questions, and what somebody may do to a run while it goes on."""

from __future__ import annotations

import anyio
import pytest

from astro.core.context import Context
from astro.core.errors import (
    AlreadyAnsweredError,
    InvalidArgumentsError,
    RunCancelledError,
    RunFinishedError,
    TaskTimeoutError,
)
from astro.core.protocols import Store
from astro.core.records import State
from astro.core.task import task
from astro.testing.conformance.engine.opening import EngineSuite, Gate, echo, reached, records_of

__all__ = ["PeopleTests"]


@task(name="conformance.publish")
async def _publish(ctx: Context, title: str) -> str:
    return "published" if await ctx.ask(f"Publish {title}?", bool) else "kept"


@task(name="conformance.two_questions")
async def _two_questions(ctx: Context) -> list[str]:
    answers: dict[str, str] = {}

    async def ask(ctx: Context, what: str) -> None:
        answers[what] = await ctx.ask(what, str)

    async with anyio.create_task_group() as group:
        for what in ("who", "where"):
            group.start_soon(ask, ctx.branch(what), what)
    return [answers["who"], answers["where"]]


class PeopleTests(EngineSuite):
    """What an engine promises of questions, cancelling and pausing."""

    # --- Questions ---------------------------------------------------------------------------

    @pytest.mark.parametrize(("answer", "expected"), [(True, "published"), (False, "kept")])
    async def test_a_run_waits_for_an_answer_and_goes_on_with_it(
        self, store: Store, answer: bool, expected: str
    ) -> None:
        async with self.opened(_publish, store=store) as engine:
            run = await engine.start(_publish, "it")
            await reached(run, "asked")
            assert (await run.status()).state is State.ASKED
            await run.answer(answer, by="Ada")
            assert await run == expected

    async def test_rule_31_an_answer_of_another_type_is_refused(self, store: Store) -> None:
        async with self.opened(_publish, store=store) as engine:
            run = await engine.start(_publish, "it")
            await reached(run, "asked")
            with pytest.raises(InvalidArgumentsError):
                await run.answer("yes")
            await run.answer(True)
            assert await run == "published"

    async def test_rule_31_a_question_is_answered_once(self, store: Store) -> None:
        async with self.opened(_publish, store=store) as engine:
            run = await engine.start(_publish, "it")
            await reached(run, "asked")
            await run.answer(True)
            with pytest.raises((AlreadyAnsweredError, InvalidArgumentsError, RunFinishedError)):
                await run.answer(False)
            assert await run == "published"

    async def test_of_several_questions_one_is_named(self, store: Store) -> None:
        async with self.opened(_two_questions, store=store) as engine:
            run = await engine.start(_two_questions)
            await reached(run, "asked", 2)
            asked = {one.question: one.call for one in await records_of(run, "asked")}
            with pytest.raises(InvalidArgumentsError):
                await run.answer("Ada")
            await run.answer("Paris", call=asked["where"])
            await run.answer("Ada", call=asked["who"])
            assert await run == ["Ada", "Paris"]

    async def test_a_question_that_nobody_answers_takes_its_default(self, store: Store) -> None:
        @task(name="conformance.root")
        async def root(ctx: Context) -> str:
            return await ctx.ask("Who?", str, timeout=self.moment, default="nobody")

        async with self.opened(root, store=store) as engine:
            assert await engine.run(root) == "nobody"

    async def test_a_question_that_nobody_answers_is_a_time_out(self, store: Store) -> None:
        @task(name="conformance.root")
        async def root(ctx: Context) -> str:
            try:
                return await ctx.ask("Who?", str, timeout=self.moment)
            except TaskTimeoutError:
                return "too late"

        async with self.opened(root, store=store) as engine:
            assert await engine.run(root) == "too late"

    # --- Cancelling --------------------------------------------------------------------------

    async def test_rule_14_who_stops_waiting_leaves_the_run_alone(self, store: Store) -> None:
        async with self.opened(_publish, store=store) as engine:
            run = await engine.start(_publish, "it")
            async with anyio.create_task_group() as group:

                async def wait() -> None:
                    await run

                group.start_soon(wait)
                await reached(run, "asked")
                group.cancel_scope.cancel()
            assert (await run.status()).state is State.ASKED
            await run.answer(True)
            assert await run == "published"

    async def test_rule_14_cancelling_run_leaves_the_run_alone(self, store: Store) -> None:
        gate = Gate()

        @task(name="conformance.held")
        async def held(ctx: Context) -> str:
            await gate()
            return "let go"

        async with self.opened(held, store=store) as engine:
            async with anyio.create_task_group() as group:
                group.start_soon(engine.run, held)
                await gate.reached.wait()
                group.cancel_scope.cancel()
            (kept,) = (await engine.runs()).items
            gate.open()
            assert await (await engine.get(kept.id)) == "let go"

    async def test_rule_15_a_cancelled_run_says_so_and_why(self, store: Store) -> None:
        async with self.opened(_publish, store=store) as engine:
            run = await engine.start(_publish, "it")
            await reached(run, "asked")
            assert (await run.cancel("changed my mind")).state is State.CANCELLED
            with pytest.raises(RunCancelledError, match="changed my mind") as caught:
                await run
            assert (caught.value.run, caught.value.reason) == (run.id, "changed my mind")

    async def test_cancelling_a_run_cancels_the_bodies_at_work(self, store: Store) -> None:
        gate, ended = Gate(), anyio.Event()

        @task(name="conformance.held")
        async def held(ctx: Context) -> None:
            try:
                await gate()
            finally:
                ended.set()

        async with self.opened(held, store=store) as engine:
            run = await engine.start(held)
            await gate.reached.wait()
            await run.cancel()
            await ended.wait()
            assert (await run.status()).state is State.CANCELLED

    async def test_rule_15_cancelling_goes_down_to_children(self, store: Store) -> None:
        @task(name="conformance.root")
        async def root(ctx: Context) -> str:
            return await (await ctx.start(_publish, "it"))

        async with self.opened(root, _publish, store=store) as engine:
            run = await engine.start(root)
            await reached(run, "child_started")
            (child,) = (await engine.runs(task=_publish.name)).items
            await run.cancel()
            with pytest.raises(RunCancelledError):
                await (await engine.get(child.id))

    async def test_rule_15_a_run_that_has_ended_takes_no_messages(self, store: Store) -> None:
        async with self.opened(echo, store=store) as engine:
            run = await engine.start(echo, "Ada")
            await run
            before = [one.seq async for one in run]
            for message in (run.pause, run.resume):
                with pytest.raises(RunFinishedError):
                    await message()
            with pytest.raises(RunFinishedError):
                await run.answer(True)
            assert (await run.cancel("late")).state is State.DONE
            assert await run == "Ada"
            assert [one.seq async for one in run] == before

    # --- Pausing -----------------------------------------------------------------------------

    async def test_rule_18_a_paused_run_finishes_what_is_at_work_and_begins_nothing(
        self, store: Store
    ) -> None:
        gate = Gate()

        @task(name="conformance.held")
        async def held(ctx: Context) -> None:
            await gate()

        @task(name="conformance.root")
        async def root(ctx: Context) -> str:
            await ctx.call(held)
            return await ctx.call(echo, "after the pause")

        async with self.opened(root, held, echo, store=store) as engine:
            run = await engine.start(root)
            await gate.reached.wait()
            await run.pause()
            await reached(run, "paused")
            gate.open()
            await reached(run, "succeeded")
            await engine.run(echo, "another run")  # long enough for the call to begin if it could
            names = [getattr(one, "task", "") async for one in run.records(follow=False)]
            assert echo.name not in names
            await run.resume()
            assert await run == "after the pause"
