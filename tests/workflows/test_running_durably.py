"""Workflows on real engines and stores: what is kept, what a restart repeats, what it does not."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import anyio
import pytest

from astro import Context, Node, PermanentError, Retry, RunFailedError, Workflow, task
from astro.core.workflow import Input
from tests.workflows.conftest import OpenEngine

pytestmark = pytest.mark.anyio
NOW = timedelta(0)


@pytest.fixture
def anyio_backend(where: str) -> str:
    return where.split("-")[1]


@task
async def double(ctx: Context, number: int) -> int:
    return 2 * number


@task
async def total(ctx: Context, numbers: list[int]) -> int:
    return sum(numbers)


@task
async def fail(ctx: Context) -> int:
    raise PermanentError("no")


async def run(engine: Any, flow: Workflow, **inputs: Any) -> Any:
    """Return the handle of a run of a workflow, which the engine knows by its name."""
    return await engine.start(flow, **inputs)


def sums() -> Workflow:
    doubled = Node("doubled", double, {"number": "{{ item }}"}, for_each="{{ numbers }}")
    return Workflow(
        "sums",
        [doubled, Node("total", total, {"numbers": doubled})],
        inputs=[Input("numbers", list[int], default=[1, 2, 3])],
    )


class Gate:
    """A place in a task at which a test closes its engine, as a crash would."""

    def __init__(self) -> None:
        self.reached = anyio.Event()
        self.open = False

    async def __call__(self) -> None:
        if not self.open:
            self.reached.set()
            await anyio.sleep_forever()


async def ended(handle: Any, node: str) -> None:
    """Return when the result of a node is committed."""
    call = ""
    async for record in handle:
        if record.kind == "started" and record.place == node:
            call = record.call
        if record.kind == "succeeded" and record.call == call:
            return


async def test_a_workflow_runs_on_an_engine(engine_of: OpenEngine) -> None:
    async with engine_of(double, total, sums()) as engine:
        assert await (await run(engine, sums())) == 12
        assert await (await run(engine, sums(), numbers=[5])) == 10


async def test_the_journal_names_the_definition_and_each_node(engine_of: OpenEngine) -> None:
    async with engine_of(double, total, sums()) as engine:
        handle = await run(engine, sums())
        await handle
        records = [record async for record in handle]
    assert records[0].workflow == sums().digest
    asked = [(r.task, r.place) for r in records if r.kind == "started"]
    assert asked == [
        ("sums", ""),
        ("definition", ""),
        ("for_each", "doubled"),
        ("double", "doubled[]"),
        ("double", "doubled[]"),
        ("double", "doubled[]"),
        ("total", "total"),
    ]


async def test_rule_11_the_expanded_list_is_kept_before_its_first_item(
    engine_of: OpenEngine,
) -> None:
    async with engine_of(double, total, sums()) as engine:
        handle = await run(engine, sums())
        await handle
        records = [record async for record in handle]
    lists = [r.seq for r in records if r.kind == "started" and r.task == "for_each"]
    items = [r.seq for r in records if r.kind == "started" and r.task == "double"]
    kept = [r.seq for r in records if r.kind == "succeeded" and lists[0] < r.seq < items[0]]
    assert kept


async def test_a_restart_repeats_no_node_that_has_ended(engine_of: OpenEngine) -> None:
    done: list[str] = []
    gate = Gate()

    @task
    async def step(ctx: Context, name: str) -> str:
        done.append(name)
        if name == "b":
            await gate()
        return name

    @task
    async def two(ctx: Context, names: list[str]) -> str:
        return "".join(names)

    a = Node("a", step, {"name": "a"})
    b = Node("b", step, {"name": "b"}, after=[a])
    c = Node("c", step, {"name": "c"}, after=[a])
    flow = Workflow("flow", [a, b, c, Node("end", two, {"names": [a, b, c]})])
    async with engine_of(step, two, flow) as engine:
        handle = await engine.options(key="k").start(flow)
        await gate.reached.wait()
        await ended(handle, "c")
        await engine.drain(NOW)
    gate.open = True
    async with engine_of(step, two, flow) as engine:
        assert await (await engine.get(handle.id)) == "abc"
    assert sorted(done) == ["a", "b", "b", "c"]


async def test_rule_11_an_edited_workflow_changes_new_runs_only(engine_of: OpenEngine) -> None:
    gate = Gate()

    @task
    async def hold(ctx: Context) -> None:
        await gate()

    def flow(number: int) -> Workflow:
        wait = Node("wait", hold)
        return Workflow("flow", [wait, Node("n", double, {"number": number}, after=[wait])])

    async with engine_of(double, hold, flow(1)) as engine:
        handle = await engine.start(flow(1))
        await gate.reached.wait()
        await engine.drain(NOW)
    gate.open = True
    async with engine_of(double, hold, flow(100)) as engine:
        assert await (await engine.get(handle.id)) == 2
        assert await (await engine.start(flow(100))) == 200


async def test_a_failing_node_fails_the_run_and_names_its_cause(engine_of: OpenEngine) -> None:
    flow = Workflow("flow", [Node("a", fail)])
    async with engine_of(fail, flow) as engine:
        with pytest.raises(RunFailedError, match="no"):
            await (await engine.start(flow))


async def test_a_failing_node_leaves_those_in_flight_abandoned(engine_of: OpenEngine) -> None:
    @task
    async def wait(ctx: Context) -> None:
        await anyio.sleep(30)

    flow = Workflow("flow", [Node("slow", wait), Node("bad", fail)])
    async with engine_of(wait, fail, flow) as engine:
        handle = await engine.start(flow)
        with pytest.raises(RunFailedError):
            await handle
        assert [r.kind async for r in handle].count("abandoned") == 1


async def test_skips_and_defaults_are_told_to_observers(engine_of: OpenEngine) -> None:
    bad = Node("bad", fail, on_failure="default", default=4)
    odd = Node("odd", double, {"number": 1}, when=bad.result.equals(5))
    flow = Workflow("flow", [bad, odd, Node("end", double, {"number": bad}, after=[odd])])
    async with engine_of(fail, double, flow) as engine:
        handle = await engine.start(flow)
        assert await handle == 8
        told = [(r.name, r.value) async for r in handle if r.kind == "emitted"]
    assert [(name, b"because" in bytes(value)) for name, value in told] == [
        ("defaulted", True),
        ("skipped", True),
    ]


async def test_the_retry_of_a_node_is_that_of_its_calls(engine_of: OpenEngine) -> None:
    tries: list[int] = []

    @task
    async def flaky(ctx: Context) -> int:
        tries.append(ctx.attempt)
        if ctx.attempt < 3:
            raise ValueError("again")
        return ctx.attempt

    flow = Workflow("flow", [Node("a", flaky, retry=Retry(attempts=3, first=NOW))])
    async with engine_of(flaky, flow) as engine:
        assert await (await engine.start(flow)) == 3
    assert tries == [1, 2, 3]


async def test_the_timeout_of_a_node_is_that_of_its_attempts(engine_of: OpenEngine) -> None:
    @task
    async def slow(ctx: Context) -> int:
        await anyio.sleep(30)
        return 1

    flow = Workflow("flow", [Node("a", slow, timeout=0.05, on_failure="default", default=0)])
    async with engine_of(slow, flow) as engine:
        assert await (await engine.start(flow)) == 0


async def test_a_workflow_is_a_node_of_another_and_a_task_of_a_task(engine_of: OpenEngine) -> None:
    inner = sums()
    outer = Workflow("outer", [Node("n", "sums", {"numbers": [1]})])
    async with engine_of(double, total, outer, inner) as engine:
        assert await (await engine.start(outer)) == 2


async def test_a_thousand_nodes_side_by_side_run(engine_of: OpenEngine) -> None:
    nodes = [Node(f"n{i}", double, {"number": i}) for i in range(1_000)]
    last = Node("last", total, {"numbers": nodes})
    async with engine_of(double, total, Workflow("flow", [*nodes, last])) as engine:
        assert await (await engine.start(Workflow("flow", [*nodes, last]))) == 999_000
