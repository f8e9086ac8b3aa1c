"""The door of workflows that Python builds, or that come as data: nodes, inputs, references."""

from __future__ import annotations

import json
import math
from datetime import timedelta
from typing import Any

from astro import (
    Budget,
    CodecError,
    Condition,
    Context,
    Input,
    InvalidArgumentsError,
    LocalEngine,
    MemoryStore,
    Node,
    Reference,
    Retry,
    Workflow,
    WorkflowError,
    task,
)
from tests.bad_input.cases import LOOP, Case, Odd, deep, each, refused

WRONG = InvalidArgumentsError
A = Node("a", "greet")


@task
async def greet(ctx: Context, name: str = "Ada") -> str:
    return name


@task
async def count(ctx: Context, to: int, names: list[str] | None = None) -> list[int]:
    return [to]


def made(*nodes: Any, **options: Any) -> Workflow:
    return Workflow("flow", nodes, **options)


# --- Graphs --------------------------------------------------------------------------------------


def chain(length: int, **last: Any) -> list[Node]:
    return [
        Node("n0", "greet", **last),
        *(Node(f"n{i}", "greet", {"name": f"{{{{ n{i - 1} }}}}"}) for i in range(1, length)),
    ]


GRAPHS = [
    Case("empty", lambda: made(), WorkflowError, "it has no nodes"),
    Case("itself-after", lambda: made(Node("a", "t", after=["a"])), WorkflowError, "to itself"),
    Case(
        "itself-by-reference",
        lambda: made(Node("a", "t", {"x": "{{ a.b }}"})),
        WorkflowError,
        "nodes.a.inputs.x: it refers to itself",
    ),
    Case(
        "itself-when",
        lambda: made(Node("a", "t", when=Reference("a"))),
        WorkflowError,
        "nodes.a.when: it refers to itself",
    ),
    Case(
        "cycle-of-two",
        lambda: made(Node("a", "t", after=["b"]), Node("b", "t", after=["a"])),
        WorkflowError,
        "these nodes wait for each other: 'a' → 'b' → 'a'",
    ),
    Case(
        "cycle-of-four-kinds",
        lambda: made(
            Node("a", "t", {"x": "{{ d }}"}),
            Node("b", "t", after=["a"]),
            Node("c", "t", dependencies=["b"]),
            Node("d", "t", for_each="{{ c }}"),
        ),
        WorkflowError,
        "'a' → 'd' → 'c' → 'b' → 'a'",
    ),
    Case(
        "cycle-of-5000",
        lambda: made(*chain(5_000, after=["n4999"])),
        WorkflowError,
        "… (4994 more) → 'n0'",
    ),
    Case(
        "unknown-node-near",
        lambda: made(Node("fetch", "t"), Node("b", "t", after=["fetsch"])),
        WorkflowError,
        "there is no node 'fetsch'. Did you mean 'fetch'?",
    ),
    Case(
        "unknown-reference-far",
        lambda: made(Node("a", "t", {"x": "{{ zebra.stripes }}"})),
        WorkflowError,
        "there is no input or node 'zebra.stripes'. An input has to be declared.",
    ),
    Case(
        "unknown-in-a-condition",
        lambda: made(Node("a", "t", when=Reference("topc").equals(1)), inputs={"topic": str}),
        WorkflowError,
        "Did you mean 'topic'?",
    ),
    Case("output-unknown", lambda: made(A, output="b"), WorkflowError, "output: there is no input"),
    Case(
        "output-in-a-list-unknown",
        lambda: made(A, output=["a", "b"]),
        WorkflowError,
        "output.b: there is no input or node 'b'",
    ),
    Case("two-of-a-name", lambda: made(A, A), WorkflowError, "already an input or node"),
    Case(
        "node-and-input-of-a-name",
        lambda: made(A, inputs={"a": str}),
        WorkflowError,
        "already an input or node of this name",
    ),
    Case(
        "two-inputs-of-a-name",
        lambda: made(A, inputs=[Input("x"), Input("x")]),
        WorkflowError,
        "inputs.x: there is already",
    ),
    Case(
        "name-like-a-part",
        lambda: made(A, Node("a.b", "t")),
        WorkflowError,
        "'a.b' reads like a part of 'a'",
    ),
    Case(
        "item-outside",
        lambda: made(Node("a", "t", {"x": "{{ item.name }}"})),
        WorkflowError,
        "'item' is known only",
    ),
    Case(
        "10000-unknown-names",
        lambda: made(*(Node(f"n{i}", "t", after=[f"m{i}"]) for i in range(10_000))),
        WorkflowError,
        "has 10000 problems",
    ),
]


@each(GRAPHS)
def test_a_graph_that_cannot_run_is_no_workflow(case: Case) -> None:
    with refused(case):
        case.what()


def fan(width: int) -> Workflow:
    ends = [Node(f"n{i}", "greet") for i in range(width)]
    return made(*ends, Node("last", "gather", {"all": [end.result for end in ends]}))


LARGE = [
    Odd("10000-nodes-apart", lambda: made(*(Node(f"n{i}", "t") for i in range(10_000))), 10_000),
    Odd("chain-of-5000", lambda: made(*chain(5_000)), 1),
    Odd("fan-in-of-1000", lambda: fan(1_000), 1),
    Odd("same-node-before-twice", lambda: made(A, Node("b", "t", after=["a", "a"])), 1),
    Odd("name-of-200", lambda: made(Node("x" * 200, "t")), 1),
]


@each(LARGE)
def test_a_graph_may_be_as_large_as_it_likes(case: Odd) -> None:
    assert len(case.what().ends) == case.gives


# --- Nodes ---------------------------------------------------------------------------------------


def denied(times: int) -> Any:
    """Return a condition inside of that many `not`."""
    return {"not": denied(times - 1)} if times else True


NODES = [
    Case("name-empty", {"name": ""}, WRONG, "'' is no name for a node"),
    Case("name-nul", {"name": "a\0"}, WRONG, "'a\\x00' is no name for a node"),
    Case("name-of-a-million", {"name": "x" * 1_000_000}, WRONG, "is no name for a node"),
    Case("name-placeholder", {"name": "{{ a }}"}, WRONG, "is no name for a node"),
    Case("task-number", {"task": 5}, WRONG, "5 is no name for a task"),
    Case("task-function", {"task": math.floor}, WRONG, "is no name for a task"),
    Case("task-of-attributes", {"task": "os.system('x')"}, WRONG, "is no name for a task"),
    Case("inputs-list", {"inputs": ["name"]}, WRONG, "gives no values by name"),
    Case("inputs-list-of-two-letters", {"inputs": ["ab"]}, WRONG, "gives no values by name"),
    Case("inputs-text", {"inputs": "x"}, WRONG, "gives no values by name"),
    Case("inputs-key-number", {"inputs": {1: 2}}, WRONG, "1 is no name of a parameter"),
    Case("inputs-nan", {"inputs": {"x": math.nan}}, CodecError, "nan is not a JSON number"),
    Case("inputs-object", {"inputs": {"x": object()}}, CodecError, "object is not supported"),
    Case("inputs-surrogate", {"inputs": {"x": "\ud800"}}, CodecError, "surrogates not allowed"),
    Case("inputs-itself", {"inputs": {"x": LOOP}}, WRONG, "nested deeper than 32 levels"),
    Case("inputs-nested-33", {"inputs": {"x": deep(33)}}, WRONG, "nested deeper than 32 levels"),
    Case("inputs-inner-key", {"inputs": {"x": {1: 2}}}, WRONG, "The key 1 is not text"),
    Case("after-text", {"after": "b"}, WRONG, "'b' is no list of nodes"),
    Case("after-number", {"after": [3]}, WRONG, "3 is no name of a node"),
    Case("when-bool", {"when": Reference("a") == 3}, WRONG, "Write reference.equals(3)"),
    Case("when-number", {"when": 1}, WRONG, "1 is no condition"),
    Case("when-unknown-verb", {"when": {"eval": ["a", "b"]}}, WRONG, "'eval' is no condition"),
    Case("when-two-verbs", {"when": {"all": [], "any": []}}, WRONG, "is no condition"),
    Case("when-any-of-text", {"when": {"any": "a"}}, WRONG, "any takes a list of conditions"),
    Case("when-equals-one", {"when": {"equals": [1]}}, WRONG, "equals takes a list of two values"),
    Case("when-deep", {"when": denied(40)}, WRONG, "nested deeper than 32 levels"),
    Case("for-each-text", {"for_each": "abc"}, WRONG, "for_each goes over a list"),
    Case("for-each-number", {"for_each": 10**6}, WRONG, "for_each goes over a list"),
    Case("for-each-object", {"for_each": {"a": 1}}, WRONG, "for_each goes over a list"),
    Case("at-once-zero", {"at_once": 0}, WRONG, "at_once is not a positive number"),
    Case("at-once-inf", {"at_once": math.inf}, WRONG, "at_once is not a positive number"),
    Case("timeout-zero", {"timeout": 0}, WRONG, "The timeout is not positive"),
    Case("timeout-text", {"timeout": "5s"}, WRONG, "The timeout is not positive"),
    Case("timeout-nan", {"timeout": math.nan}, WRONG, "timeout"),
    Case("timeout-of-ages", {"timeout": 1e300}, WRONG, "timeout"),
    Case("deadline-negative", {"deadline": timedelta(-1)}, WRONG, "The deadline is not positive"),
    Case("retry-zero", {"retry": 0}, ValueError, "'attempts' must be >= 1: 0"),
    Case("retry-word", {"retry": "often"}, TypeError, "'retry' must be"),
    Case("retry-classes", {"retry": Retry(on=(OSError,))}, WRONG, "names no error classes"),
    Case("priority-word", {"priority": "high"}, TypeError, "'priority' must be"),
    Case("on-failure-unknown", {"on_failure": "explode"}, ValueError, "'explode' is not a valid"),
    Case("default-missing", {"on_failure": "default"}, WRONG, "there is none"),
    Case("default-and-skip", {"on_failure": "skip", "default": 1}, WRONG, "never skipped"),
    Case("default-nan", {"default": math.nan}, CodecError, "nan is not a JSON number"),
    Case("instruction-nan", {"instruction": math.nan}, CodecError, "nan is not a JSON number"),
    Case("payload-text", {"payload": "x"}, WRONG, "gives no values by name"),
    Case("description-number", {"description": 5}, TypeError, "'description' must be"),
    Case("unknown-field", {"retries": 3}, TypeError, "unexpected keyword argument 'retries'"),
]


@each(NODES)
def test_a_node_that_means_nothing_is_no_node(case: Case) -> None:
    with refused(case):
        Node(**({"name": "a", "task": "greet"} | case.what))


# --- Placeholders --------------------------------------------------------------------------------

PLACEHOLDERS = [
    Case("open", "{{ a", WRONG, "is not closed with }}"),
    Case("empty", "{{ }}", WRONG, "is no name"),
    Case("dots-only", "{{ .. }}", WRONG, "is no name"),
    Case("dot-at-the-end", "{{ a. }}", WRONG, "is no name"),
    Case("dot-at-the-beginning", "{{ .a }}", WRONG, "is no name"),
    Case("braces-inside", "{{ {a} }}", WRONG, "is not closed with }}"),
    Case("quote-open", '{{ a."b }}', WRONG, "is not closed with }}"),
    Case("quote-first", '{{ "a".b }}', WRONG, "is no name"),
    Case("quote-of-no-json", '{{ a."\\x41" }}', WRONG, "not well quoted"),
    Case("longer-than-1000", "{{ " + "a" * 2_000 + " }}", WRONG, "is not closed with }}"),
    Case("a-million-braces", "{" * 1_000_002, WRONG, "is not closed with }}"),
]


@each(PLACEHOLDERS)
def test_a_placeholder_that_is_none_is_refused(case: Case) -> None:
    with refused(case):
        Node("b", "greet", {"name": case.what})


UNKNOWN = [
    Case("call", "{{ a() }}", WorkflowError, "there is no input or node 'a()'"),
    Case("operator", "{{ a + 1 }}", WorkflowError, "there is no input or node 'a + 1'"),
    Case("filter", "{{ a | upper }}", WorkflowError, "there is no input or node 'a | upper'"),
    Case("index", "{{ a[0] }}", WorkflowError, "there is no input or node 'a[0]'"),
    Case("python", "{{ __import__('os') }}", WorkflowError, "there is no input or node"),
    Case("globals", "{{ self.__init__.__globals__ }}", WorkflowError, "no input or node 'self"),
    Case("environment", "{{ env.HOME }}", WorkflowError, "there is no input or node 'env.HOME'"),
]


@each(UNKNOWN)
def test_a_placeholder_is_a_name_and_never_code(case: Case) -> None:
    with refused(case):
        made(A, Node("b", "greet", {"name": case.what}))


LITERAL = [
    Odd("statement", "{% for x in y %}", "{% for x in y %}"),
    Odd("format", "{a.__class__}", "{a.__class__}"),
    Odd("shell", "${HOME} $(id)", "${HOME} $(id)"),
    Odd("escaped", "{{{{ a }}", "{{ a }}"),
    Odd("yaml-tag", "!!python/object/apply:os.system", "!!python/object/apply:os.system"),
    Odd("nul", "a\0b", "a\0b"),
]


@each(LITERAL)
def test_other_languages_of_templates_are_text(case: Odd) -> None:
    ((_, value),) = Node("b", "greet", {"name": case.what}).inputs
    assert value.value == case.gives


# --- Whole workflows -----------------------------------------------------------------------------

WORKFLOWS = [
    Case("name-empty", {"name": ""}, WRONG, "'' is no name for a workflow"),
    Case("name-none", {"name": None}, WRONG, "None is no name for a workflow"),
    Case("description-number", {"description": 5}, TypeError, "'description' must be"),
    Case("priority-word", {"priority": "high"}, TypeError, "'priority' must be"),
    Case("budget-number", {"budget": 5}, TypeError, "'budget' must be"),
    Case("output-object", {"output": object()}, CodecError, "object is not supported"),
    Case("output-nan", {"output": {"x": math.nan}}, CodecError, "nan is not a JSON number"),
    Case("input-key-number", {"inputs": {5: str}}, WRONG, "5 is no name for an input"),
    Case("input-key-keyword", {"inputs": {"class": str}}, WRONG, "'class' is no name for an input"),
    Case("input-type-unknown", {"inputs": {"x": complex}}, WRONG, "no type"),
    Case("input-type-code", {"inputs": {"x": "__import__('os')"}}, WRONG, "no type"),
    Case("input-type-near", {"inputs": {"x": "strng"}}, WRONG, "Did you mean 'str'?"),
    Case("nodes-none", {"nodes": None}, WRONG, "list of nodes"),
    Case("nodes-texts", {"nodes": ["a", "b"]}, WRONG, "'a'"),
    Case("nodes-mapping", {"nodes": {"a": A}}, WRONG, "'a'"),
    Case("nodes-tasks", {"nodes": [greet]}, WRONG, "greet"),
    Case("inputs-names", {"inputs": ["topic"]}, WRONG, "'topic'"),
    Case("inputs-number", {"inputs": 5}, WRONG, "5"),
]


@each(WORKFLOWS)
def test_a_workflow_of_something_else_is_none(case: Case) -> None:
    with refused(case):
        Workflow(**({"name": "flow", "nodes": [A]} | case.what))


INPUTS = [
    Case("name-space", {"name": "two words"}, WRONG, "'two words' is no name for an input"),
    Case("name-surrogate", {"name": "a\ud800"}, WRONG, "is no name for an input"),
    Case("type-open", {"kind": "list["}, WRONG, "no type"),
    Case("type-deep", {"kind": "list[" * 50 + "int" + "]" * 50}, WRONG, "no type"),
    Case("type-long", {"kind": "int | " * 100_000 + "int"}, WRONG, "no type"),
    Case("type-number", {"kind": 5}, WRONG, "no type"),
    Case("default-nan", {"default": math.nan}, CodecError, "nan is not a JSON number"),
    Case("default-object", {"default": object()}, CodecError, "object is not supported"),
]


@each(INPUTS)
def test_an_input_that_means_nothing_is_none(case: Case) -> None:
    with refused(case):
        Input(**({"name": "x"} | case.what))


# --- References and conditions -------------------------------------------------------------------

REFERENCES = [
    Case("truth", lambda: bool(Reference("a")), TypeError, "known only when the workflow runs"),
    Case("and", lambda: Reference("a") and 1, TypeError, "Combine with & | ~"),
    Case("truth-of-a-condition", lambda: not Condition("true"), TypeError, "A condition is known"),
    Case("iteration", lambda: list(Reference("a")), TypeError, "not iterable"),
    Case("in", lambda: "x" in Reference("a"), TypeError, "not"),
    Case("compared-with-nan", lambda: Reference("a").equals(math.nan), CodecError, "nan is not"),
    Case("compared-with-object", lambda: Reference("a").is_in(object()), CodecError, "object is"),
    Case("index-float", lambda: Reference("a")[1.5], WRONG, "1.5 is neither a key nor an index"),
    Case("index-bool", lambda: Reference("a")[True], WRONG, "True is neither a key nor an index"),
    Case("joined-with-number", lambda: Reference("a") & 5, TypeError, "condition"),
]


@each(REFERENCES)
def test_a_reference_used_as_a_value_says_so(case: Case) -> None:
    with refused(case):
        case.what()


# --- As data -------------------------------------------------------------------------------------

NODE = {"name": "a", "task": "greet"}
DATA = [
    Case("none", None, WorkflowError, "a workflow is a mapping"),
    Case("text", "flow", WorkflowError, "a workflow is a mapping"),
    Case("empty", {}, WorkflowError, "is no name for a workflow"),
    Case("no-nodes", {"name": "w"}, WorkflowError, "it needs either `nodes` or `tasks`"),
    Case("both-words", {"name": "w", "nodes": [], "tasks": []}, WorkflowError, "either `nodes` or"),
    Case("nodes-text", {"name": "w", "nodes": "a"}, WorkflowError, "neither a list nor a mapping"),
    Case("node-text", {"name": "w", "nodes": ["a"]}, WorkflowError, "needs either `name` or `id`"),
    Case(
        "key-number", {"name": "w", "nodes": [NODE], 1: 2}, WorkflowError, "[1]: 1 is unknown here"
    ),
    Case("key-near", {"name": "w", "nodes": [NODE], "outputs": 1}, WorkflowError, "mean 'output'?"),
    Case(
        "python-words",
        {"name": "w", "nodes": [NODE | {"__class__": "os.system"}]},
        WorkflowError,
        "'__class__' is unknown here",
    ),
    Case("no-task", {"name": "w", "nodes": [{"name": "a"}]}, WorkflowError, "the name of a task"),
    Case(
        "node-name-list",
        {"name": "w", "nodes": [{"name": ["a"], "task": "t"}]},
        WorkflowError,
        "['a'] is no name for a node",
    ),
    Case(
        "timeout-nan",
        {"name": "w", "nodes": [NODE | {"timeout": math.nan}]},
        WorkflowError,
        "nodes[0].timeout: nan is no duration",
    ),
    Case(
        "timeout-of-ages",
        {"name": "w", "nodes": [NODE | {"timeout": 10**400}]},
        WorkflowError,
        "nodes[0].timeout",
    ),
    Case("budget-nan", {"name": "w", "nodes": [NODE], "budget": math.nan}, WorkflowError, "budget"),
    Case(
        "value-nan",
        {"name": "w", "nodes": [NODE | {"inputs": {"x": math.nan}}]},
        WorkflowError,
        "nodes[0].inputs.x: The value cannot be kept as JSON: nan",
    ),
    Case(
        "contains-itself",
        {"name": "w", "nodes": [NODE | {"inputs": {"x": LOOP}}]},
        WorkflowError,
        "deeper than 32 levels",
    ),
]


@each(DATA)
def test_data_that_is_no_workflow_says_where(case: Case) -> None:
    with refused(case):
        Workflow.from_data(case.what)


GOOD = json.dumps({"name": "w", "nodes": [NODE]})
JSONS = [
    Case("empty", b"", WorkflowError, "it is not JSON: "),
    Case("cut-off", GOOD[:-1], WorkflowError, "it is not JSON: "),
    Case("trailing", GOOD + "]", WorkflowError, "trailing characters"),
    Case("nan", GOOD.replace('"greet"', "NaN"), WorkflowError, "it is not JSON: "),
    Case("invalid-utf-8", b'{"name": "\xff"}', WorkflowError, "it is not JSON: "),
    Case("surrogate", GOOD.replace('"a"', '"\\ud800"'), WorkflowError, "it is not JSON: "),
    Case("nested-100000", b"[" * 100_000, WorkflowError, "it is not JSON: "),
    Case("list", b"[1]", WorkflowError, "a workflow is a mapping"),
    Case(
        "equal-keys",
        GOOD[:-1] + ', "nodes": [{"name": "b", "task": "other"}]}',
        WorkflowError,
        "nodes",
    ),
    Case("number", 5, WorkflowError, "it is not JSON"),
]


@each(JSONS)
def test_json_that_is_no_workflow_says_why(case: Case) -> None:
    with refused(case):
        Workflow.from_json(case.what)


# --- Against tasks -------------------------------------------------------------------------------

MISFITS = [
    Case(
        "unknown-task", [Node("a", "gret")], WorkflowError, "no task 'gret'. Did you mean 'greet'?"
    ),
    Case("itself", [Node("a", "flow")], WorkflowError, "there is no task 'flow'"),
    Case(
        "unknown-parameter",
        [Node("a", "greet", {"nam": "x"})],
        WorkflowError,
        "nodes.a.inputs.nam: the task 'greet' has no parameter 'nam'. Did you mean 'name'?",
    ),
    Case(
        "missing-parameter", [Node("a", "count")], WorkflowError, "'to' of the task 'count' is not"
    ),
    Case("wrong-value", [Node("a", "count", {"to": "x"})], WorkflowError, "nodes.a.inputs.to"),
    Case(
        "wrong-reference",
        [A, Node("b", "count", {"to": "{{ a }}"})],
        WorkflowError,
        "it wants int, not str",
    ),
    Case(
        "text-for-int",
        [A, Node("b", "count", {"to": "no. {{ a }}"})],
        WorkflowError,
        "it wants int, not str",
    ),
    Case(
        "key-of-a-text",
        [A, Node("b", "greet", {"name": "{{ a.first }}"})],
        WorkflowError,
        "nodes.b.inputs.name",
    ),
    Case(
        "wrong-item",
        [Node("a", "count", {"to": 1, "names": ["x", 5]})],
        WorkflowError,
        "nodes.a.inputs.names",
    ),
    Case(
        "for-each-over-text",
        [A, Node("b", "greet", {"name": "{{ item }}"}, for_each="{{ a }}")],
        WorkflowError,
        "it wants list, not str",
    ),
    Case(
        "wrong-default",
        [Node("a", "count", {"to": 1}, on_failure="default", default="x")],
        WorkflowError,
        "nodes.a.default",
    ),
    Case(
        "payload-unknown",
        [Node("a", "greet", payload={"zzz": 1})],
        WorkflowError,
        "nodes.a.payload.zzz: the task 'greet' has no parameter 'zzz'",
    ),
]


@each(MISFITS)
def test_a_workflow_that_does_not_fit_its_tasks_is_refused_by_the_engine(case: Case) -> None:
    flow = Workflow("flow", case.what)
    with refused(case):
        LocalEngine(greet, count, flow, store=MemoryStore())
    LocalEngine(greet, count, made(A, budget=Budget(calls=3)), store=MemoryStore())
