"""Results: what comes back from a run, and what is refused before there is one."""

from __future__ import annotations

import math
from datetime import UTC, datetime, timedelta

import anyio
import attrs
import pytest

from astro.agents.by_function import agent
from astro.core.context import Context
from astro.core.errors import (
    EngineClosedError,
    InvalidArgumentsError,
    NeedsAgentError,
    RunFailedError,
    RunNotFoundError,
    UnknownTaskError,
)
from astro.core.protocols import Store
from astro.core.task import task
from astro.testing.conformance.engine.opening import EngineSuite, Gate, echo

__all__ = ["ResultTests"]


@attrs.frozen
class _Parcel:
    content: bytes
    sent: datetime
    stamps: tuple[int, ...] = ()
    marks: frozenset[str] = frozenset()
    held: timedelta | None = None


_PARCEL = _Parcel(
    content=bytes(range(256)),
    sent=datetime(2026, 1, 2, 3, 4, 5, 6, tzinfo=UTC),
    stamps=(1, 2),
    marks=frozenset({"ü", ""}),
    held=timedelta(days=3, microseconds=1),
)


@task(name="conformance.hand_on")
async def _hand_on(ctx: Context, parcel: _Parcel, *, stamp: int = 7) -> list[_Parcel]:
    return [attrs.evolve(parcel, stamps=(*parcel.stamps, stamp))]


@task(name="conformance.grow")
async def _grow(ctx: Context, items: list[int]) -> list[int]:
    items.append(len(items))
    return items


@task(name="conformance.measure")
async def _measure(ctx: Context, size: float) -> float:
    return size


@task(name="conformance.lie")
async def _lie(ctx: Context) -> int:
    return "no number"  # type: ignore[return-value]  # what the test is about


@task(name="conformance.fail")
async def _fail(ctx: Context) -> None:
    raise ValueError("some words")


@task(name="conformance.capability", needs_agent=True)
async def _capability(ctx: Context, text: str) -> str:
    raise NeedsAgentError("conformance.capability")


@agent(_capability)
async def _capable(ctx: Context, text: str) -> str:
    return f"{text}, said an agent"


@agent(echo)
async def _better(ctx: Context, text: str) -> str:
    return f"{text}, said an agent"


class ResultTests(EngineSuite):
    """What an engine promises of results, and of what it takes on."""

    async def test_a_run_gives_the_result_of_its_task(self, store: Store) -> None:
        async with self.opened(echo, store=store) as engine:
            assert await engine.run(echo, "Ada") == "Ada"

    async def test_a_started_run_can_be_awaited_more_than_once(self, store: Store) -> None:
        async with self.opened(echo, store=store) as engine:
            run = await engine.start(echo, "Ada")
            assert [await run, await run] == ["Ada", "Ada"]

    async def test_a_run_that_has_ended_is_got_by_its_id(self, store: Store) -> None:
        async with self.opened(echo, store=store) as engine:
            run = await engine.start(echo, "Ada")
            await run
            found = await engine.get(run.id)
            assert (found.id, found.tenant, await found) == (run.id, run.tenant, "Ada")

    async def test_a_run_that_goes_on_is_got_by_its_id(self, store: Store) -> None:
        gate = Gate()

        @task(name="conformance.held")
        async def held(ctx: Context) -> str:
            await gate()
            return "let go"

        async with self.opened(held, store=store) as engine:
            run = await engine.start(held)
            found = await engine.get(run.id)
            await gate.reached.wait()
            gate.open()
            assert await found == "let go"

    async def test_an_id_that_nobody_has_is_refused(self, store: Store) -> None:
        async with self.opened(echo, store=store) as engine:
            with pytest.raises(RunNotFoundError):
                await engine.get("0" * 32)

    async def test_rule_05_a_result_has_the_type_that_the_task_declares(self, store: Store) -> None:
        async with self.opened(_hand_on, store=store) as engine:
            assert await engine.run(_hand_on, _PARCEL) == [attrs.evolve(_PARCEL, stamps=(1, 2, 7))]
            found = await engine.run(_hand_on, parcel=_PARCEL, stamp=3)
            assert found == [attrs.evolve(_PARCEL, stamps=(1, 2, 3))]

    async def test_rule_05_arguments_and_results_are_shared_with_nobody(self, store: Store) -> None:
        mine = [5]
        async with self.opened(_grow, store=store) as engine:
            run = await engine.start(_grow, mine)
            first = await run
            first.append(99)
            assert (mine, await run) == ([5], [5, 1])

    async def test_arguments_that_do_not_fit_are_refused_at_the_door(self, store: Store) -> None:
        async with self.opened(echo, store=store) as engine:
            with pytest.raises(InvalidArgumentsError):
                await engine.start(echo)  # type: ignore[call-arg]  # what the test is about
            with pytest.raises(InvalidArgumentsError):
                await engine.start(echo, 5)  # type: ignore[arg-type]  # as above
            assert (await engine.runs()).items == ()

    async def test_what_json_cannot_say_is_refused_at_the_door(self, store: Store) -> None:
        async with self.opened(_measure, store=store) as engine:
            with pytest.raises(InvalidArgumentsError):
                await engine.start(_measure, math.nan)
            assert (await engine.runs()).items == ()

    async def test_a_task_that_no_part_offers_is_refused_with_the_nearest_name(
        self, store: Store
    ) -> None:
        @task(name="conformance.ecko")
        async def unknown(ctx: Context) -> None: ...

        async with self.opened(echo, store=store) as engine:
            with pytest.raises(UnknownTaskError, match=r"'conformance\.echo'"):
                await engine.start(unknown)
            assert (await engine.runs()).items == ()

    async def test_a_result_of_another_type_fails_the_run(self, store: Store) -> None:
        async with self.opened(_lie, echo, store=store) as engine:
            with pytest.raises(RunFailedError):
                await engine.run(_lie)
            assert await engine.run(echo, "Ada") == "Ada"

    async def test_a_failure_says_what_was_raised(self, store: Store) -> None:
        async with self.opened(_fail, store=store) as engine:
            run = await engine.start(_fail)
            with pytest.raises(RunFailedError, match="some words") as caught:
                await run
            failure = caught.value.failure
            assert (caught.value.run, failure.type, failure.message, failure.attempts) == (
                run.id,
                "ValueError",
                "some words",
                1,
            )
            with pytest.raises(RunFailedError):
                await (await engine.get(run.id))

    async def test_many_runs_at_once_keep_their_results_apart(self, store: Store) -> None:
        async with self.opened(echo, store=store) as engine:
            results: dict[str, str] = {}

            async def one(text: str) -> None:
                results[text] = await engine.run(echo, text)

            async with anyio.create_task_group() as group:
                for number in range(50):
                    group.start_soon(one, str(number))
            assert results == {str(number): str(number) for number in range(50)}

    async def test_an_agent_performs_what_has_no_body(self, store: Store) -> None:
        async with self.opened(_capability, _capable, store=store) as engine:
            assert await engine.run(_capability, "hello") == "hello, said an agent"

    async def test_rule_21_an_agent_goes_before_the_body(self, store: Store) -> None:
        async with self.opened(echo, _better, store=store) as engine:
            assert await engine.run(echo, "hello") == "hello, said an agent"

    async def test_an_engine_that_is_not_open_refuses(self, store: Store) -> None:
        async with self.opened(echo, store=store) as engine:
            await engine.run(echo, "Ada")
        with pytest.raises(EngineClosedError):
            await engine.start(echo, "Ada")
