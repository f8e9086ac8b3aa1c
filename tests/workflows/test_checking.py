"""Checking a workflow against tasks: names, parameters, types, and binding by parameter name."""

from __future__ import annotations

import enum
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Any, ForwardRef, Literal, NewType, Protocol, TypedDict

import attrs
import msgspec
import pytest

from astro import Context, Node, Task, Workflow, task
from astro.core.binding import bind, output_kind
from astro.core.kinds import fits, inside
from astro.core.references import Composed, Fixed, Reference, form_of
from astro.core.workflow import Input


@attrs.frozen
class Article:
    title: str
    words: int = 0


@attrs.frozen
class LongArticle(Article):
    chapters: int = 1


@dataclass
class Point:
    x: float


class Row(TypedDict):
    id: int


class Colour(enum.StrEnum):
    RED = "red"


Name = NewType("Name", str)


@task
async def search(ctx: Context, topic: str, depth: int = 1) -> dict[str, list[str]]:
    return {}


@task
async def write(ctx: Context, notes: list[str], title: str) -> Article:
    return Article(title)


@task
async def count(ctx: Context, text: str) -> int:
    return len(text)


@task
async def average(ctx: Context, numbers: list[float]) -> float:
    return 0.0


@task
async def publish(ctx: Context, article: Article, to: str | None = None) -> str:
    return ""


@task
async def anything(ctx: Context, value: Any = None) -> Any:
    return value


TASKS: dict[str, Task[..., Any]] = {
    one.name: one for one in (search, write, count, average, publish, anything)
}


def found(*nodes: Node, **options: Any) -> list[str]:
    return Workflow("w", nodes, **options).check(TASKS)


def test_a_workflow_that_fits_has_no_problems() -> None:
    research = Node("research", search, {"topic": "{{ topic }}"})
    draft = Node("draft", write, {"notes": research.result["notes"], "title": "On {{ topic }}"})
    counts = Node("counts", count, {"text": "{{ item }}"}, for_each=research.result["notes"])
    mean = Node("mean", average, {"numbers": counts})
    out = Node("out", publish, {"article": draft, "to": draft.result["title"]}, after=[mean])
    assert found(research, draft, counts, mean, out, inputs={"topic": str}) == []


def test_an_unknown_task_is_named_with_the_nearest_one() -> None:
    assert found(Node("a", "serch")) == [
        "nodes.a: there is no task 'serch'. Did you mean 'search'?"
    ]


def test_missing_and_unknown_parameters_are_problems() -> None:
    assert found(Node("a", search, {"topik": "x"})) == [
        "nodes.a.inputs.topik: the task 'search' has no parameter 'topik'. Did you mean 'topic'?",
        "nodes.a: the parameter 'topic' of the task 'search' is not given",
    ]


def test_literal_values_must_fit_their_parameters() -> None:
    (problem,) = found(Node("a", search, {"topic": "x", "depth": "deep"}))
    assert problem.startswith("nodes.a.inputs.depth: The value does not fit the type int:")
    (problem,) = found(Node("a", publish, {"article": {"title": 3}}))
    assert "Article" in problem


def test_results_must_fit_the_parameters_they_go_to() -> None:
    size = Node("size", count, {"text": "x"})
    assert found(size, Node("a", search, {"topic": size})) == [
        "nodes.a.inputs.topic: it wants str, not int"
    ]


def test_parts_of_results_must_fit_too() -> None:
    draft = Node("draft", write, {"notes": [], "title": "x"})
    bad = Node("bad", search, {"topic": draft.result["words"]})
    worse = Node("worse", search, {"topic": draft.result["titel"]})
    assert found(draft, bad, worse) == [
        "nodes.bad.inputs.topic: it wants str, not int",
        "nodes.worse.inputs.topic: Article has no 'titel'. Did you mean 'title'?",
    ]


def test_references_inside_lists_and_objects_must_fit() -> None:
    size = Node("size", count, {"text": "x"})
    found_here = found(
        size,
        Node("a", write, {"notes": ["x", size, "{{ size }}!"], "title": ["{{ size }}"]}),
        Node("b", average, {"numbers": [size, 1, "x"]}),
        Node("c", anything, {"value": {"deep": [size.result["part"]]}}),
    )
    assert found_here[0] == "nodes.a.inputs.notes[1]: it wants str, not int"
    assert found_here[1] == "nodes.a.inputs.title: it wants str, not list"
    assert found_here[2].startswith("nodes.b.inputs.numbers[2]: The value does not fit")
    assert found_here[3] == "nodes.c.inputs.value.deep[0]: int has no parts"
    assert len(found_here) == 4


def test_text_with_references_is_text() -> None:
    assert found(Node("a", search, {"topic": "x", "depth": "{{ n }}!"}), inputs={"n": int}) == [
        "nodes.a.inputs.depth: it wants int, not str"
    ]


def test_for_each_goes_over_lists_and_items_have_their_type() -> None:
    size = Node("size", count, {"text": "x"})
    over_number = Node("a", anything, for_each=size.result)
    numbers = Node("b", search, {"topic": "{{ item }}"}, for_each=Reference("ns"))
    assert found(size, over_number, numbers, inputs={"ns": list[int]}) == [
        "nodes.a.for_each: it wants list, not int",
        "nodes.b.inputs.topic: it wants str, not int",
    ]


def test_a_list_that_is_nowhere_is_a_problem_once() -> None:
    size = Node("size", count, {"text": "x"})
    each = Node("a", search, {"topic": "{{ item }}"}, for_each=size.result["x"])
    assert found(size, each) == ["nodes.a.for_each: int has no parts"]


def test_the_result_of_for_each_is_a_list() -> None:
    sizes = Node("sizes", count, {"text": "x"}, for_each=[1])
    assert found(sizes, Node("a", search, {"topic": sizes})) == [
        "nodes.a.inputs.topic: it wants str, not list[int]"
    ]


def test_defaults_must_fit() -> None:
    node = Node("a", count, {"text": "x"}, on_failure="default", default="none")
    each = Node("b", count, {"text": "x"}, for_each=[1], on_failure="default", default=[1])
    problems = found(node, each, inputs=[Input("n", int, default="x")])
    assert [one.partition(":")[0] for one in problems] == ["inputs.n.default", "nodes.a.default"]


def test_paths_of_the_output_are_checked() -> None:
    size = Node("size", count, {"text": "x"})
    assert found(size, output={"x": size.result["y"]}) == ["output.x: int has no parts"]


def test_a_task_whose_types_cannot_be_kept_is_a_problem() -> None:
    @task
    async def odd(ctx: Context, *rest: int) -> None: ...

    (problem,) = Workflow("w", [Node("a", odd)]).check({"odd": odd})
    assert problem.startswith("nodes.a: the task 'odd' is not usable:")


# --- Which types fit -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "wanted"),
    [
        (int, int),
        (int, float),
        (int, Any),
        (int, object),
        (LongArticle, Article),
        (Article, Article | None),
        (str, str | int),
        (str | int, str | int | None),
        (list[int], list[float]),
        (list[int], list),
        (dict[str, int], dict[str, float]),
        (dict[str, int], dict),
        (Row, dict),
        (Colour, str),
        (Name, str),
        (str, Annotated[str, msgspec.Meta(max_length=3)]),
        (None, type(None)),
        (list[LongArticle], list[Article]),
    ],
)
def test_rule_39_equal_types_subclasses_optionals_and_int_for_float_fit(
    given: Any, wanted: Any
) -> None:
    assert fits(given, wanted) is True


@pytest.mark.parametrize(
    ("given", "wanted"),
    [
        (int, str),
        (str, int),
        (float, int),
        (bool, int),
        (int, bool),
        (str, list),
        (list[str], list[int]),
        (dict[str, str], dict[str, int]),
        (Article, str),
        (Point, list[int]),
        (Row, int),
        (None, str),
        (str | None, int),
        (int, str | None),
        (datetime, int),
        (tuple[int, ...], dict),
    ],
)
def test_types_with_another_form_in_json_do_not_fit(given: Any, wanted: Any) -> None:
    assert fits(given, wanted) is False


@pytest.mark.parametrize(
    ("given", "wanted"),
    [
        (Any, int),
        (object, int),
        (Article, Point),
        (str | None, str),
        (list, list[int]),
        (list[Any], list[int]),
        (dict, dict[str, int]),
        (dict[str, int], Article),
        (str, datetime),
        (str, Colour),
        (Literal["a"], str),
        (str, Literal["a"]),
        (set[int], list[int]),
        (int | str, str | None),
        (bytes, str),
        (dict[int, str], dict[str, str]),
    ],
)
def test_about_other_types_the_value_itself_decides(given: Any, wanted: Any) -> None:
    assert fits(given, wanted) is None


def test_types_of_parts_are_known_where_the_type_says() -> None:
    assert inside(list[int], 0) is int
    assert inside(dict[str, int], "a") is int
    assert inside(Article, "words") is int
    assert inside(Point, "x") is float
    assert inside(Row, "id") is int
    assert inside(Annotated[list[int], "x"], 0) is int
    assert inside(Any, "a") is Any
    assert inside(list, 0) is Any
    assert inside(list[int], "a") is Any
    assert inside(str | None, "a") is Any
    assert inside(tuple[int, ...], 0) is Any


def test_a_part_of_a_class_whose_annotations_are_unknown_may_be_anything() -> None:
    class Unknown(TypedDict):
        """Annotated with what only a type checker could know."""

        x: int

    Unknown.__annotations__["x"] = ForwardRef("NoSuchName")
    assert inside(Unknown, "x") is Any


def test_whether_a_class_has_the_shape_of_a_protocol_is_not_known() -> None:
    class Shape(Protocol):
        """Something with a title."""

        title: str

    assert fits(Article, Shape) is None


@pytest.mark.parametrize("kind", [str, int, bool, None, datetime])
def test_scalars_have_no_parts(kind: Any) -> None:
    with pytest.raises(LookupError):
        inside(kind, "a")


# --- The result ------------------------------------------------------------------------------


def test_the_type_of_the_result_is_that_of_the_only_end() -> None:
    size = Node("size", count, {"text": "x"})
    draft = Node("draft", write, {"notes": [], "title": "x"})
    maybe = Node("maybe", count, {"text": "x"}, when=Reference("n"))

    def kind(*nodes: Node, **options: Any) -> Any:
        return output_kind(Workflow("w", nodes, **options), TASKS)

    assert kind(size) is int
    assert kind(size, draft) == dict[str, Any]
    assert kind(size, draft, output=draft) is Article
    assert kind(size, draft, output=draft.result["words"]) is int
    assert kind(size, output={"x": size}) is Any
    assert kind(size, output=size.result["x"]) is Any
    assert kind(maybe, inputs={"n": int}) == int | None


# --- Binding by parameter name ---------------------------------------------------------------


@task
async def performs(
    ctx: Context,
    instruction: str,
    limit: int = 1,
    fetch_data: Any = None,
    payload: dict[str, Any] | None = None,
    dependencies: dict[str, Any] | None = None,
    context: str = "",
) -> str:
    return ""


def bound(node: Node, to: Task[..., Any] = performs) -> dict[str, Any]:
    return {name: form_of(value) for name, value in bind(node, to.signature).items()}


def test_rule_39_instruction_payload_and_dependencies_go_to_parameters_of_their_name() -> None:
    node = Node(
        "n",
        "performs",
        instruction="Do {{ x }}",
        payload={"limit": 3, "other": "{{ y }}"},
        dependencies=["fetch-data", "y"],
    )
    assert bound(node) == {
        "instruction": "Do {{ x }}",
        "limit": 3,
        "fetch_data": "{{ fetch-data }}",
        "payload": {"limit": 3, "other": "{{ y }}"},
        "dependencies": {"fetch-data": "{{ fetch-data }}", "y": "{{ y }}"},
    }


def test_results_go_to_a_parameter_called_context_only_if_it_takes_objects() -> None:
    @task
    async def audited(ctx: Context, context: dict[str, Any]) -> None: ...

    node = Node("n", "t", dependencies=["a"])
    assert bound(node, audited) == {"context": {"a": "{{ a }}"}}
    assert "context" not in bound(node)


def test_inputs_win_over_the_instruction_that_over_the_payload_that_over_dependencies() -> None:
    node = Node(
        "n",
        "t",
        {"limit": 7},
        instruction="words",
        payload={"limit": 1, "instruction": "other", "fetch_data": 2},
        dependencies=["fetch-data"],
    )
    given = bound(node)
    assert (given["limit"], given["instruction"], given["fetch_data"]) == (7, "words", 2)


def test_without_a_payload_a_parameter_for_it_is_left_alone_in_a_plain_node() -> None:
    assert bound(Node("n", "t", {"instruction": "x"})) == {"instruction": "x"}
    assert bound(Node("n", "t", instruction="x"))["payload"] == {}


def test_a_payload_key_that_no_parameter_takes_is_a_problem() -> None:
    node = Node("n", count, instruction="Count", payload={"text": "x", "tekst": "y"})
    assert found(node) == [
        "nodes.n.payload.tekst: the task 'count' has no parameter 'tekst'. Did you mean 'text'?"
    ]


def test_bound_values_are_expressions() -> None:
    node = Node("n", "t", instruction="x", dependencies=["a"])
    given = bind(node, performs.signature)
    assert isinstance(given["instruction"], Fixed)
    assert isinstance(given["dependencies"], Composed)
