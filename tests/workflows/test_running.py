"""A workflow runs as a task: on a fake context, which shows what it asks for and tells."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import anyio
import anyio.lowlevel
import attrs
import pytest

from astro import (
    CallFailedError,
    CodecError,
    Context,
    InvalidArgumentsError,
    Node,
    Retry,
    StoreUnavailableError,
    Task,
    Workflow,
    WorkflowError,
    task,
)
from astro.core.references import Reference
from astro.core.workflow import Input
from astro.engine.workflows import workflow_task
from astro.testing.fake_context import FakeContext

pytestmark = pytest.mark.anyio


@attrs.frozen
class Article:
    title: str
    lines: list[str] = attrs.Factory(list)


@task
async def split(ctx: Context, text: str) -> list[str]:
    return text.split()


@task
async def shout(ctx: Context, word: str, marks: int = 1) -> str:
    return word.upper() + "!" * marks


@task
async def join(ctx: Context, words: list[str], *, between: str = " ") -> str:
    return between.join(words)


@task
async def write(ctx: Context, title: str) -> Article:
    return Article(title, [title, title])


@task
async def title_of(ctx: Context, article: Article) -> str:
    return article.title


@task
async def fail(ctx: Context, value: Any = None) -> int:
    raise ValueError("no")


@task
async def same(ctx: Context, value: Any = None) -> Any:
    return value


TASKS: dict[str, Task[..., Any]] = {
    one.name: one for one in (split, shout, join, write, title_of, fail, same)
}


async def run(*nodes: Node, context: FakeContext | None = None, **options: Any) -> Any:
    given = options.pop("given", {})
    flow = workflow_task(Workflow("flow", nodes, **options), TASKS)
    return await (context or FakeContext()).call(flow, **given)


# --- Values pass from node to node -----------------------------------------------------------


async def test_results_reach_those_that_refer_to_them() -> None:
    words = Node("words", split, {"text": "{{ text }}"})
    loud = Node("loud", shout, {"word": words.result[0], "marks": 2})
    told = Node("told", join, {"words": [loud, "and {{ words.1 }}"], "between": " - "})
    assert (
        await run(words, loud, told, inputs={"text": str}, given={"text": "a b"}) == "A!! - and b"
    )


async def test_a_whole_result_keeps_its_type_and_a_part_is_data() -> None:
    draft = Node("draft", write, {"title": "Fusion"})
    title = Node("title", title_of, {"article": draft})
    line = Node("line", shout, {"word": draft.result["lines"][1]})
    result = await run(draft, title, line, output={"title": title, "line": line})
    assert result == {"title": "Fusion", "line": "FUSION!"}


async def test_inputs_left_out_have_their_defaults() -> None:
    node = Node("a", shout, {"word": "{{ word }}", "marks": "{{ marks }}"})
    inputs = [Input("word", str, default="hi"), Input("marks", int, default=2)]
    assert await run(node, inputs=inputs) == "HI!!"
    assert await run(node, inputs=inputs, given={"marks": 3}) == "HI!!!"


async def test_inputs_are_checked_like_any_arguments() -> None:
    node = Node("a", shout, {"word": "{{ word }}"})
    for given in ({"word": 3}, {}, {"word": "x", "other": 1}):
        with pytest.raises(InvalidArgumentsError):
            await run(node, inputs={"word": str}, given=given)


async def test_inputs_can_be_passed_by_place() -> None:
    flow = Workflow(
        "f", [Node("a", same, {"value": ["{{ y }}", "{{ x }}"]})], inputs={"y": int, "x": int}
    )
    assert await FakeContext().call(workflow_task(flow, TASKS), 1, 2) == [1, 2]


async def test_the_result_is_that_of_the_only_end() -> None:
    first = Node("first", split, {"text": "a b"})
    assert await run(first, Node("last", join, {"words": first})) == "a b"


async def test_several_ends_give_their_results_by_name() -> None:
    assert await run(Node("a", same, {"value": 1}), Node("b", same, {"value": 2})) == {
        "a": 1,
        "b": 2,
    }


async def test_the_output_says_what_the_workflow_gives() -> None:
    node = Node("a", same, {"value": {"x": [1, 2]}})
    assert await run(node, output=node.result["x"][1]) == 2
    assert await run(node, output="a") == {"x": [1, 2]}
    assert await run(node, output=[node]) == {"a": {"x": [1, 2]}}
    assert (
        await run(node, output="{{ a.x.0 }} of {{ n }}", inputs={"n": int}, given={"n": 7})
        == "1 of 7"
    )


async def test_the_result_has_the_type_of_its_node() -> None:
    result = await run(Node("a", write, {"title": "x"}))
    assert result == Article("x", ["x", "x"])


async def test_a_workflow_can_be_a_node_of_another() -> None:
    inner = workflow_task(
        Workflow("inner", [Node("a", shout, {"word": "{{ w }}"})], inputs={"w": str}), TASKS
    )
    outer = Workflow("outer", [Node("n", inner, {"w": "hi"})])
    assert await FakeContext().call(workflow_task(outer, {"inner": inner})) == "HI!"


async def test_the_task_of_a_workflow_says_what_it_is() -> None:
    flow = Workflow(
        "flow", [Node("a", same)], inputs={"x": int}, description="Does it.", priority=30
    )
    made = workflow_task(flow, TASKS)
    assert (made.name, made.priority, made.version, made.description) == (
        "flow",
        30,
        flow.digest,
        "Does it.",
    )
    assert made.signature.schema()["$defs"]["Arguments"]["required"] == ["x"]


async def test_a_workflow_that_does_not_fit_its_tasks_is_refused() -> None:
    with pytest.raises(WorkflowError, match=r"there is no task 'shoot'\. Did you mean 'shout'"):
        workflow_task(Workflow("flow", [Node("a", "shoot")]), TASKS)


async def test_each_node_asks_in_a_branch_of_its_own() -> None:
    context = FakeContext()
    await run(Node("a", same), Node("b", same), context=context)
    assert sorted((call.place, call.task) for call in context.calls) == [
        ("", "definition"),
        ("", "flow"),
        ("a/", "same"),
        ("b/", "same"),
    ]


# --- Order and concurrency -------------------------------------------------------------------


def meeting(size: int) -> Callable[[int], Any]:
    """Return a coroutine function that returns once `size` of them run at the same time."""
    here, all_here = 0, anyio.Event()

    async def meet(value: Any = None) -> Any:
        nonlocal here
        here += 1
        if here == size:
            all_here.set()
        with anyio.fail_after(5):
            await all_here.wait()
        return value

    return meet


async def test_nodes_without_an_edge_between_them_run_at_the_same_time() -> None:
    context = FakeContext(answers={"same": meeting(3)})
    nodes = [Node(name, same, {"value": name}) for name in ("a", "b", "c")]
    assert await run(*nodes, context=context) == {"a": "a", "b": "b", "c": "c"}


async def test_a_node_starts_as_soon_as_those_before_it_have_ended() -> None:
    release, order = anyio.Event(), list[str]()

    async def step(value: str) -> str:
        if value == "slow":
            await release.wait()
        order.append(value)
        if value == "after quick":
            release.set()
        return value

    quick = Node("quick", same, {"value": "quick"})
    slow = Node("slow", same, {"value": "slow"})
    after = Node("after", same, {"value": "after quick"}, after=[quick])
    with anyio.fail_after(5):
        await run(slow, quick, after, context=FakeContext(answers={"same": step}))
    assert order == ["quick", "after quick", "slow"]


# --- Conditions ------------------------------------------------------------------------------


async def test_a_node_whose_condition_does_not_hold_is_skipped_with_those_that_need_it() -> None:
    context = FakeContext()
    first = Node("first", same, {"value": 3})
    big = Node("big", same, when=first.result.more_than(5))
    then = Node("then", same, {"value": big})
    later = Node("later", same, {"value": "ran"}, after=[big])
    assert await run(first, big, then, later, context=context) == {"later": "ran"}
    assert context.emitted == [
        ("skipped", {"node": "big", "because": "unmet"}),
        ("skipped", {"node": "then", "because": "starved"}),
    ]


async def test_a_default_stands_in_for_a_skipped_node() -> None:
    maybe = Node("maybe", shout, {"word": "x"}, when=~Reference("n"), default="quiet")
    told = Node("told", shout, {"word": maybe})
    assert await run(maybe, told, inputs={"n": int}, given={"n": 1}) == "QUIET!"
    assert await run(maybe, told, inputs={"n": int}, given={"n": 0}) == "X!!"


async def test_a_skipped_node_is_null_in_the_output() -> None:
    maybe = Node("maybe", same, when=Reference("n"))
    output = {"x": maybe, "y": maybe.result["z"], "text": "{{ maybe.z }}!"}
    assert await run(maybe, inputs={"n": int}, given={"n": 0}) is None
    assert await run(maybe, output=output, inputs={"n": int}, given={"n": 0}) == {
        "x": None,
        "y": None,
        "text": "null!",
    }


async def test_a_path_of_the_output_that_leads_nowhere_is_named() -> None:
    node = Node("a", same, {"value": {"x": 1}})
    with pytest.raises(CallFailedError, match=r"output: {{ a }} has no 'y'"):
        await run(node, output=node.result["y"])


async def test_a_condition_that_cannot_be_answered_fails_the_node() -> None:
    node = Node("a", same, when=Reference("n").less_than("x"))
    with pytest.raises(CallFailedError, match=r"nodes\.a: 'less_than' cannot compare 1 with"):
        await run(node, inputs={"n": int}, given={"n": 1})


# --- Failures --------------------------------------------------------------------------------


async def test_a_failing_node_fails_the_workflow() -> None:
    with pytest.raises(CallFailedError, match="ValueError: no"):
        await run(Node("a", fail))


async def test_a_failing_node_cancels_those_that_still_run() -> None:
    cancelled = list[bool]()
    running = anyio.Event()

    async def wait(value: Any = None) -> None:
        try:
            running.set()
            await anyio.sleep_forever()
        finally:
            cancelled.append(True)

    async def break_down(value: Any = None) -> None:
        await running.wait()
        raise ValueError("no")

    context = FakeContext(answers={"same": wait, "fail": break_down})
    with anyio.fail_after(5), pytest.raises(CallFailedError, match="no"):
        await run(Node("a", same), Node("b", fail), context=context)
    assert cancelled == [True]


async def test_a_failing_node_with_skip_is_skipped() -> None:
    context = FakeContext()
    bad = Node("bad", fail, on_failure="skip")
    needs = Node("needs", same, {"value": bad})
    other = Node("other", same, {"value": 1})
    assert await run(bad, needs, other, context=context) == {"other": 1}
    assert context.emitted == [
        ("skipped", {"node": "bad", "because": "failed"}),
        ("skipped", {"node": "needs", "because": "starved"}),
    ]


async def test_a_failing_node_with_a_default_gives_it() -> None:
    context = FakeContext()
    bad = Node("bad", fail, on_failure="default", default=7)
    assert await run(bad, Node("x", same, {"value": bad}), context=context) == 7
    assert context.emitted == [("defaulted", {"node": "bad", "because": "failed"})]


async def test_a_default_has_the_type_of_the_result() -> None:
    draft = Node(
        "draft", write, {"title": "{{ n }}"}, on_failure="default", default={"title": "none"}
    )
    context = FakeContext(answers={"write": ValueError("no")})
    title = Node("title", title_of, {"article": draft})
    assert await run(draft, title, inputs={"n": Any}, given={"n": "x"}, context=context) == "none"


async def test_a_value_that_does_not_fit_at_run_time_names_the_node() -> None:
    first = Node("first", same, {"value": 3})
    bad = Node("bad", shout, {"word": first})
    with pytest.raises(CallFailedError, match=r"nodes\.bad: The arguments of shout do not fit"):
        await run(first, bad)


async def test_a_path_that_leads_nowhere_at_run_time_names_the_node() -> None:
    first = Node("first", same, {"value": {"x": 1}})
    with pytest.raises(CallFailedError, match=r"nodes\.bad: {{ first }} has no 'y'"):
        await run(first, Node("bad", same, {"value": first.result["y"]}))


async def test_failures_of_the_engine_are_no_failures_of_a_node() -> None:
    class Broken(FakeContext):
        """A context whose store is gone."""

        def branch(self, name: str, /) -> Any:
            return self

        def call(self, wanted: Any, /, *args: Any, **kwargs: Any) -> Any:
            async def gone() -> None:
                raise StoreUnavailableError("The store is gone.", remedy="")

            return gone() if wanted is same else super().call(wanted, *args, **kwargs)

    flow = workflow_task(Workflow("flow", [Node("a", same, on_failure="skip")]), TASKS)
    with pytest.raises(StoreUnavailableError):
        await flow(Broken())


# --- For each --------------------------------------------------------------------------------


async def test_a_node_runs_once_per_item_and_gives_the_list_of_results() -> None:
    words = Node("words", split, {"text": "a b c"})
    loud = Node("loud", shout, {"word": "{{ item }}", "marks": "{{ n }}"}, for_each=words)
    assert await run(words, loud, inputs={"n": int}, given={"n": 2}) == ["A!!", "B!!", "C!!"]


async def test_an_item_has_parts_and_stands_in_text() -> None:
    node = Node(
        "a", same, {"value": "{{ item.name }} {{ item.tags.0 }}"}, for_each=Reference("rows")
    )
    rows = [{"name": "x", "tags": [1]}, {"name": "y", "tags": [2]}]
    assert await run(node, inputs={"rows": list}, given={"rows": rows}) == ["x 1", "y 2"]


async def test_equal_items_are_calls_of_their_own() -> None:
    context = FakeContext()
    node = Node("a", same, {"value": "x"}, for_each=[1, 1, 1])
    assert await run(node, context=context) == ["x", "x", "x"]
    assert [call.task for call in context.calls[1:]] == [
        "definition",
        "for_each",
        "same",
        "same",
        "same",
    ]


async def test_the_expanded_list_is_asked_for_before_its_first_item() -> None:
    context = FakeContext(answers={"for_each": ["z"]})
    node = Node("a", shout, {"word": "{{ item }}"}, for_each=["a", "b"])
    assert await run(node, context=context) == ["Z!"]


async def test_parameters_by_keyword_only_are_fine_with_for_each() -> None:
    node = Node("a", join, {"words": ["x", "y"], "between": "{{ item }}"}, for_each=["-", "+"])
    assert await run(node) == ["x-y", "x+y"]


async def test_parameters_between_may_be_left_out_with_for_each() -> None:
    @task
    async def three(ctx: Context, a: int, b: int = 5, c: int = 6) -> list[int]:
        return [a, b, c]

    flow = Workflow("f", [Node("n", three, {"a": "{{ item }}", "c": 9}, for_each=[1, 2])])
    made = workflow_task(flow, {"three": three})
    assert await FakeContext().call(made) == [[1, 5, 9], [2, 5, 9]]


async def test_an_empty_list_gives_an_empty_list() -> None:
    assert await run(Node("a", shout, {"word": "{{ item }}"}, for_each=[])) == []
    assert await run(Node("a", join, {"words": [], "between": "{{ item }}"}, for_each=[])) == []


async def test_what_is_no_list_cannot_be_gone_over() -> None:
    node = Node("a", same, for_each=Reference("n"))
    with pytest.raises(CallFailedError, match=r"nodes\.a\.for_each: it is no list: 'x'"):
        await run(node, inputs={"n": Any}, given={"n": "x"})
    with pytest.raises(CallFailedError, match=r"nodes\.a: {{ n }} has no 'y'"):
        await run(
            Node("a", same, for_each=Reference("n")["y"]), inputs={"n": Any}, given={"n": "x"}
        )


async def test_an_item_that_does_not_fit_names_the_node() -> None:
    node = Node("a", shout, {"word": "{{ item.x }}"}, for_each=Reference("ns"))
    with pytest.raises(CallFailedError, match=r"nodes\.a: {{ item }} has no 'x'"):
        await run(node, inputs={"ns": list}, given={"ns": [{}]})


async def test_a_failing_item_fails_the_node() -> None:
    by_place = Node(
        "a", fail, {"value": "{{ item }}"}, for_each=[1, 2], on_failure="default", default=[0]
    )
    assert await run(by_place) == [0]
    context = FakeContext(answers={"join": ValueError("no")})
    by_name = Node("a", join, {"words": [], "between": "{{ item }}"}, for_each=["x"] * 5)
    with pytest.raises(CallFailedError, match="no"):
        await run(by_name, context=context)


async def test_no_more_items_run_at_once_than_the_node_says() -> None:
    running = most = 0

    async def work(words: list[str], between: str = "") -> str:
        nonlocal running, most
        running += 1
        most = max(most, running)
        await anyio.lowlevel.checkpoint()
        running -= 1
        return ""

    node = Node("a", join, {"words": [], "between": "{{ item }}"}, for_each=["x"] * 9, at_once=2)
    await run(node, context=FakeContext(answers={"join": work}))
    assert most == 2


# --- Policy ----------------------------------------------------------------------------------


async def test_the_policy_of_a_node_is_that_of_its_calls() -> None:
    said: list[dict[str, Any]] = []

    class Listening(FakeContext):
        """A context that notes which options it is asked for."""

        def branch(self, name: str, /) -> Any:
            return self

        def options(self, **options: Any) -> Any:
            said.append({key: value for key, value in options.items() if value is not None})
            return super().options(**options)

    @task(retry=Retry(attempts=2, on=(ValueError,)))
    async def careful(ctx: Context) -> int:
        return 1

    node = Node("n", careful, retry=5, timeout=3, deadline=60, priority=30)
    await workflow_task(Workflow("f", [node, Node("plain", careful)]), {"careful": careful})(
        Listening()
    )
    assert said == [
        {
            "retry": Retry(attempts=5, on=(ValueError,)),
            "timeout": timedelta(seconds=3),
            "deadline": timedelta(minutes=1),
            "priority": 30,
        },
    ]


# --- The definition travels with the run -----------------------------------------------------


def kept(flow: Workflow) -> dict[str, Any]:
    return {"definition": {"digest": flow.digest, "workflow": flow.to_data()}}


async def test_a_run_goes_on_with_the_definition_it_began_with() -> None:
    old = Workflow(
        "flow", [Node("a", shout, {"word": "old"}), Node("b", same, after=["a"])], output="a"
    )
    new = Workflow("flow", [Node("a", shout, {"word": "new"})])
    made = workflow_task(new, TASKS)
    context = FakeContext(answers=kept(old))
    assert await context.call(made) == "OLD!"
    assert [call.task for call in context.calls][-1] == "same"


async def test_a_task_that_only_the_old_definition_names_is_asked_for() -> None:
    old = Workflow("flow", [Node("a", "gone", {"x": 1})])
    made = workflow_task(Workflow("flow", [Node("a", same)]), TASKS)
    context = FakeContext(answers=kept(old) | {"gone": "came back"})
    assert await context.call(made) == "came back"


async def test_a_result_that_cannot_be_kept_fails_the_node() -> None:
    context = FakeContext(answers={"same": float("nan")})
    with pytest.raises(CallFailedError, match=CodecError.__name__):
        await run(Node("a", same), context=context)


async def test_five_thousand_nodes_in_a_row_run() -> None:
    first = Node("n0", same, {"value": 7})
    rest = [Node(f"n{i}", same, {"value": f"{{{{ n{i - 1} }}}}"}) for i in range(1, 5_000)]
    assert await run(first, *rest) == 7
