"""Workflows built in Python: values that are checked at birth, whole and with every mistake."""

from __future__ import annotations

from datetime import timedelta
from typing import Any, Literal

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from astro import (
    Budget,
    Context,
    InvalidArgumentsError,
    Node,
    Priority,
    Retry,
    Workflow,
    WorkflowError,
    task,
)
from astro.core.references import Reference
from astro.core.workflow import Input


@task
async def search(ctx: Context, topic: str) -> dict[str, list[str]]:
    return {"notes": [topic]}


def problems(*nodes: Node, **options: Any) -> tuple[str, ...]:
    with pytest.raises(WorkflowError) as caught:
        Workflow("flow", nodes, **options)
    return caught.value.problems


def article() -> Workflow:
    """Return a workflow that uses everything there is."""
    research = Node("research", search, {"topic": "{{ topic }}"}, retry=Retry(attempts=3))
    draft = Node(
        "draft",
        "write",
        {"notes": research.result["notes"], "title": "On {{ topic }}", "fixed": [1, {"a": None}]},
        timeout=30,
        deadline=timedelta(hours=1),
        priority=Priority.HIGH,
        on_failure="default",
        default="nothing",
        description="Writes.",
    )
    check = Node(
        "check",
        "check",
        {"line": Reference("item")["text"]},
        after=[research],
        for_each=draft.result["lines"],
        at_once=3,
        when=~draft.result["done"] & Reference("words").at_least(10),
    )
    report = Node(
        "report",
        "report",
        instruction="Report on {{ topic }}",
        payload={"style": "short"},
        dependencies=[check, "draft"],
        on_failure="skip",
    )
    return Workflow(
        "article",
        [research, draft, check, report],
        inputs=[Input("topic", str, description="What about"), Input("words", int, default=800)],
        output={"text": draft, "notes": "{{ research.notes.0 }}"},
        description="Writes an article.",
        priority=20,
        budget=Budget(money=2, time=timedelta(minutes=5)),
    )


# --- Values ----------------------------------------------------------------------------------


def test_references_make_the_edges() -> None:
    flow = article()
    assert flow.edges["draft"].needs == ("research",)
    assert flow.edges["check"].needs == ("draft",)
    assert flow.edges["check"].after == ("research",)
    assert set(flow.edges["report"].all) == {"check", "draft"}
    assert flow.ends == ("report",)


def test_a_workflow_is_a_value() -> None:
    assert article() == article()
    assert hash(article()) == hash(article())
    assert attrs.evolve(article(), description="x") != article()
    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        article().name = "other"  # type: ignore[misc]  # the point of the test


def test_nodes_can_be_changed_by_evolving_them() -> None:
    node = Node("a", "t", {"x": "{{ b }}"}, retry=3, timeout=1)
    assert attrs.evolve(node, name="c").inputs == node.inputs
    assert attrs.evolve(node) == node


def test_numbers_are_short_for_retries_and_seconds() -> None:
    node = Node("a", "t", retry=3, timeout=1.5, deadline=10)
    assert node.retry == Retry(attempts=3)
    assert (node.timeout, node.deadline) == (timedelta(seconds=1.5), timedelta(seconds=10))


def test_a_node_stands_for_its_result() -> None:
    first = Node("first", "t")
    assert Node("x", "t", {"a": first, "b": [first]}).needs() == ("first",)
    assert Workflow("w", [first], output=first).output == Reference("first")
    assert Workflow("w", [first], output="first").output == Reference("first")


def test_a_list_of_nodes_as_output_gives_results_by_name() -> None:
    nodes = [Node("b", "t"), Node("a", "t")]
    flow = Workflow("w", nodes, output=nodes)
    assert flow.to_data()["output"] == {"a": "{{ a }}", "b": "{{ b }}"}
    assert Workflow("w", nodes, output=["b", "a"]) == flow


def test_a_workflow_is_short_in_a_notebook() -> None:
    assert repr(article()).startswith("<Workflow article: 4 nodes, ")
    assert repr(Reference("a")["b"]) == "<Reference {{ a.b }}>"


# --- As data ---------------------------------------------------------------------------------


def test_a_workflow_survives_json_unchanged() -> None:
    flow = article()
    again = Workflow.from_json(flow.to_json())
    assert again == flow
    assert again.to_json() == flow.to_json()
    assert again.digest == flow.digest


def test_the_digest_says_whether_anything_differs() -> None:
    flow = article()
    assert len(flow.digest) == 32
    assert attrs.evolve(flow, description="Other.").digest != flow.digest
    assert attrs.evolve(flow, nodes=flow.nodes[::-1]).digest != flow.digest


def test_a_budget_survives_json_whatever_it_limits() -> None:
    for budget in (Budget(tokens=3), Budget(money=1), Budget(time=timedelta(seconds=0.5), calls=2)):
        flow = Workflow("w", [Node("a", "t")], budget=budget)
        assert Workflow.from_json(flow.to_json()) == flow


def test_equal_workflows_have_equal_json_however_they_are_spelled() -> None:
    one = Workflow("w", [Node("a", "t", {"y": 1, "x": "{{ b.c.0 }}"}), Node("b", "t")])
    first = Node("b", "t")
    two = Workflow("w", [Node("a", "t", {"x": first.result["c"]["0"], "y": 1}), first])
    assert one == two
    assert one.to_json() == two.to_json()
    three = Workflow("w", [Node("a", "t", retry=Retry(factor=2))])
    four = Workflow("w", [Node("a", "t", retry=Retry(factor=2.0))])
    assert three.to_json() == four.to_json()


@pytest.mark.parametrize(
    "raw",
    [b"", b"{", b"[]", b"1", b"\xff", b"[" * 5_000, b'{"name": "x"}', b'{"name": 1, "nodes": []}'],
)
def test_json_that_is_no_workflow_is_a_workflow_error(raw: bytes) -> None:
    with pytest.raises(WorkflowError):
        Workflow.from_json(raw)


def test_all_mistakes_of_some_json_are_found_at_once() -> None:
    with pytest.raises(WorkflowError) as caught:
        Workflow.from_json(
            b'{"name": "w", "surprise": 1, "nodes": [{"name": "a", "task": "t", "retry": "x", '
            b'"inputs": {"x": ["{{ gone }}", "{{ a "]}}, {"name": "a", "task": "t"}, 3]}'
        )
    assert [problem.partition(":")[0] for problem in caught.value.problems] == [
        "surprise",
        "nodes[0].retry",
        "nodes[0].inputs.x[1]",
        "nodes[1]",
        "nodes[2]",
        "nodes[0].inputs.x[0]",
    ]


# --- Mistakes --------------------------------------------------------------------------------


def test_all_mistakes_of_a_workflow_are_found_at_once() -> None:
    found = problems(
        Node("a", "t", {"x": "{{ b.z }} {{ tpic }}"}),
        Node("b", "t", {"x": ["{{ a }}"]}),
        Node("c", "t", after=["c", "zz"]),
        Node("d", "t", {"y": "{{ d }}", "z": "{{ item }}"}),
        Node("e", "t"),
        Node("e", "t"),
        inputs={"topic": str},
        output="ab",
    )
    assert found == (
        "nodes.e: there is already an input or node of this name",
        "nodes.a.inputs.x: there is no input or node 'tpic'. Did you mean 'topic'?",
        "nodes.c.after[0]: it refers to itself",
        "nodes.c.after[1]: there is no node 'zz'.",
        "nodes.d.inputs.y: it refers to itself",
        "nodes.d.inputs.z: 'item' is known only to what a node with for_each passes on",
        "output: there is no input or node 'ab'. Did you mean 'b'?",
        "nodes.a: these nodes wait for each other: 'a' → 'b' → 'a'",
    )


def test_a_workflow_without_nodes_is_refused() -> None:
    assert problems() == ("it has no nodes",)


def test_the_item_is_known_only_where_there_is_one() -> None:
    node = Node("a", "t", {"x": "{{ item.key }}"}, for_each=[1, 2])
    assert Workflow("w", [node]).nodes[0].inputs == (("x", Reference("item", ("key",))),)
    over = problems(Node("a", "t", for_each="{{ item }}"))
    when = problems(Node("a", "t", for_each=[1], when=Reference("item")))
    assert "known only to what a node with for_each passes on" in over[0]
    assert "known only to what a node with for_each passes on" in when[0]


def test_an_input_called_item_and_for_each_do_not_go_together() -> None:
    assert Workflow("w", [Node("a", "t", {"x": "{{ item }}"})], inputs={"item": str})
    found = problems(Node("a", "t", for_each=[1]), inputs={"item": str})
    assert found == ("'item' is the item of for_each and no name for an input or node",)


def test_an_input_and_a_node_may_not_share_a_name() -> None:
    assert "already" in problems(Node("a", "t"), inputs={"a": str})[0]


def test_names_with_dots_are_told_from_paths() -> None:
    flow = Workflow("w", [Node("a.b", "t"), Node("c", "t", {"x": "{{ a.b.d.0 }}"})])
    assert flow.by_name["c"].inputs == (("x", Reference("a.b", ("d", 0))),)
    assert Workflow.from_json(flow.to_json()) == flow


def test_a_name_that_reads_like_a_part_of_another_is_refused() -> None:
    assert "reads like a part of 'a'" in problems(Node("a.b", "t"), Node("a", "t"))[0]


@pytest.mark.parametrize(
    "name", ["", "1a", "a\0b", "a\u202eb", "../x", "x" * 201, "a;drop", "a\n", None, 3, ("a",)]
)
def test_names_that_mislead_are_refused(name: Any) -> None:
    with pytest.raises(InvalidArgumentsError):
        Node(name, "t")
    with pytest.raises(InvalidArgumentsError):
        Node("a", name)
    with pytest.raises(InvalidArgumentsError):
        Workflow(name, [Node("a", "t")])
    with pytest.raises(InvalidArgumentsError):
        Input(name, str)


@pytest.mark.parametrize("name", ["class", "two words", "a-b", "a.b"])
def test_an_input_has_a_name_that_a_parameter_can_have(name: str) -> None:
    with pytest.raises(InvalidArgumentsError, match="no name for an input"):
        Input(name, str)


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ({"when": False}, "reference.equals"),
        ({"when": "text"}, "no condition"),
        ({"timeout": 0}, "timeout is not positive"),
        ({"deadline": -1}, "deadline is not positive"),
        ({"timeout": "soon"}, "timeout is not positive"),
        ({"retry": Retry(on=(ValueError,))}, "names no error classes"),
        ({"on_failure": "default"}, "there is none"),
        ({"on_failure": "skip", "default": 1}, "never skipped"),
        ({"at_once": 0}, "at_once"),
        ({"at_once": True}, "at_once"),
        ({"for_each": "text"}, "goes over a list"),
        ({"for_each": {"a": "{{ b }}"}}, "goes over a list"),
        ({"after": "x"}, "list of nodes"),
        ({"after": Node("x", "t")}, "list of nodes"),
        ({"after": 3}, "list of nodes"),
        ({"after": [3]}, "no name of a node"),
        ({"inputs": 3}, "values by name"),
        ({"inputs": "x"}, "values by name"),
        ({"inputs": {3: "x"}}, "no name of a parameter"),
        ({"inputs": {"x": "{{"}}, "placeholder"),
    ],
)
def test_a_node_is_checked_at_birth(options: dict[str, Any], problem: str) -> None:
    with pytest.raises(InvalidArgumentsError, match=problem):
        Node("n", "t", **options)


@pytest.mark.parametrize(
    "options", [{"on_failure": "ignore"}, {"retry": "often"}, {"priority": "high"}, {"retry": 0}]
)
def test_options_of_the_wrong_kind_are_refused(options: dict[str, Any]) -> None:
    with pytest.raises((TypeError, ValueError)):
        Node("n", "t", **options)


# --- Inputs ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        (str, "str"),
        (Any, "any"),
        (object, "any"),
        (None, "None"),
        (list, "list"),
        (list[int], "list[int]"),
        (dict[str, list[Any]], "dict[str, list[any]]"),
        (str | None, "str | None"),
        (Literal["low", 3], 'Literal["low", 3]'),
        (timedelta, "timedelta"),
        ("list[ str|None ]", "list[str | None]"),
        ('Literal["a b"] | int', 'Literal["a b"] | int'),
        ("Any", "any"),
        ("null", "None"),
    ],
)
def test_types_of_inputs_are_kept_as_words(kind: Any, words: str) -> None:
    one = Input("x", kind)
    assert one.kind == words
    assert Input("x", one.type).kind == words


@pytest.mark.parametrize(
    "kind",
    [
        Workflow,
        tuple[int, ...],
        dict[int, str],
        set[str],
        "string",
        "list[",
        "list[int",
        "list[int]]",
        "list[int, str]",
        "dict[int, str]",
        "int[str]",
        "Literal",
        "Literal[x]",
        "int |",
        "|",
        "",
        "os.system",
        "list[" * 50 + "int" + "]" * 50,
        "int | " * 300 + "int",
    ],
)
def test_other_types_are_no_types_of_inputs(kind: Any) -> None:
    with pytest.raises(InvalidArgumentsError, match="no type"):
        Input("x", kind)


# --- Large graphs and any graph --------------------------------------------------------------


def chain(length: int) -> list[Node]:
    first = Node("n0", "t")
    return [first, *(Node(f"n{i}", "t", {"x": f"{{{{ n{i - 1} }}}}"}) for i in range(1, length))]


def test_a_chain_of_five_thousand_nodes_is_a_workflow() -> None:
    flow = Workflow("deep", chain(5_000))
    assert Workflow.from_json(flow.to_json()) == flow
    assert flow.ends == ("n4999",)


def test_a_cycle_of_five_thousand_nodes_is_named_without_listing_it() -> None:
    nodes = chain(5_000)
    nodes[0] = Node("n0", "t", after=["n4999"])
    (problem,) = problems(*nodes)
    assert problem.startswith("nodes.n0: these nodes wait for each other: 'n0' → 'n4999' → ")
    assert problem.endswith("… (4994 more) → 'n0'")


def test_ten_thousand_nodes_are_a_workflow() -> None:
    nodes = [Node("hub", "t"), *(Node(f"n{i}", "t", after=["hub"]) for i in range(9_999))]
    assert len(Workflow("wide", nodes).ends) == 9_999


def test_ten_thousand_unknown_names_are_reported_in_time() -> None:
    nodes = [Node(f"n{i}", "t", after=[f"m{i}"]) for i in range(10_000)]
    assert len(problems(*nodes)) == 10_000


def test_each_of_many_cycles_is_named() -> None:
    pairs = [(f"a{i}", f"b{i}") for i in range(1_000)]
    nodes = [Node(x, "t", after=[y]) for pair in pairs for x, y in (pair, pair[::-1])]
    assert len(problems(*nodes)) == 1_000


def test_a_node_behind_two_cycles_hides_neither() -> None:
    found = problems(
        Node("x", "t", after=["b", "a"]),
        Node("a", "t", after=["a2"]),
        Node("a2", "t", after=["a"]),
        Node("b", "t", after=["x"]),
    )
    assert len(found) == 2


@st.composite
def acyclic(draw: st.DrawFn) -> list[tuple[str, list[str], list[str]]]:
    """Draw nodes with what they need and what they come after, in any order."""
    names = [f"n{i}" for i in range(draw(st.integers(1, 12)))]
    nodes = []
    for place, name in enumerate(names):
        earlier = st.lists(st.sampled_from(names[:place]), max_size=3) if place else st.just([])
        nodes.append((name, draw(earlier), draw(earlier)))
    shuffled: list[tuple[str, list[str], list[str]]] = draw(st.permutations(nodes))
    return shuffled


def nodes_of(graph: list[tuple[str, list[str], list[str]]]) -> list[Node]:
    return [
        Node(name, "t", {"x": [f"{{{{ {one} }}}}" for one in needs]}, after=after)
        for name, needs, after in graph
    ]


@given(acyclic())
def test_any_graph_without_cycles_is_a_workflow_and_survives_json(
    graph: list[tuple[str, list[str], list[str]]],
) -> None:
    flow = Workflow("w", nodes_of(graph))
    assert {name: set(edges.all) for name, edges in flow.edges.items()} == {
        name: {*needs, *after} for name, needs, after in graph
    }
    assert Workflow.from_json(flow.to_json()) == flow


@given(acyclic(), st.data())
def test_any_edge_back_is_refused_and_its_cycle_named(
    graph: list[tuple[str, list[str], list[str]]], data: st.DataObject
) -> None:
    before = {name: {*needs, *after} for name, needs, after in graph}
    end = data.draw(st.sampled_from(sorted(before)))
    reached = {end}
    while more := {one for name in reached for one in before[name]} - reached:
        reached |= more
    start = data.draw(st.sampled_from(sorted(reached)))
    back = [(n, needs, [*after, end] if n == start else after) for n, needs, after in graph]
    (problem,) = problems(*nodes_of(back))
    expected = "it refers to itself" if start == end else "these nodes wait for each other"
    assert expected in problem
