"""Workflows from files: our format, the audited platform's, and every mistake at once."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from astro import (
    Budget,
    Context,
    Node,
    OnFailure,
    Retry,
    Task,
    Workflow,
    WorkflowError,
    load_workflows,
    task,
)
from astro.core.references import Reference
from astro.core.workflow import Input
from astro.engine.workflows import workflow_task
from astro.setup.workflows import workflows_of
from astro.setup.yaml import read_yaml
from astro.testing.fake_context import FakeContext
from tests.workflows.test_building import article

WriteFile = Callable[..., Path]

OURS = """
workflows:
  article:
    description: Writes an article.
    priority: high
    budget: {money: 2.5, time: 5m}
    inputs:
      topic: str
      words: {type: int, default: 800, description: How long}
    nodes:
      research:
        task: search
        inputs: {topic: "{{ topic }}"}
        retry: 3
        timeout: 30s
      draft:
        task: write
        inputs:
          notes: "{{ research.notes }}"
          title: "On {{ topic }}"
        retry: {attempts: 2, first: 0, max: 1m}
        deadline: 1h30m
        on_failure: default
        default: ""
      lines:
        task: check
        for_each: "{{ draft.lines }}"
        at_once: 5
        inputs: {line: "{{ item }}"}
        when:
          all:
            - "{{ draft }}"
            - at_least: ["{{ words }}", 10]
      report:
        task: report
        after: [lines]
        on_failure: skip
        priority: 25
    output: draft
"""

AUDITED = """
review:
  description: Reviews a site.
  priority: critical
  budget: 5
  tasks:
    - id: fetch-page
      capability: fetch
      instruction: "Fetch {{ url }}"
      payload: {url: "{{ url }}", limit: 3}
    - id: analyse
      capability: analyse
      instruction: Analyse it
      dependencies: [fetch-page]
    - id: report
      capability: report
      instruction: |
        Write about {{ analyse.score }}.
      dependencies: [fetch-page, analyse]
      payload: {style: short}
"""


def problems(path: Path, **options: Any) -> tuple[str, ...]:
    with pytest.raises(WorkflowError) as caught:
        load_workflows(path, **options)
    return caught.value.problems


# --- Our format ------------------------------------------------------------------------------


def test_a_file_gives_the_workflow_that_python_would_build(write: WriteFile) -> None:
    draft = Reference("draft")
    expected = Workflow(
        "article",
        [
            Node("research", "search", {"topic": "{{ topic }}"}, retry=3, timeout=30),
            Node(
                "draft",
                "write",
                {"notes": Reference("research")["notes"], "title": "On {{ topic }}"},
                retry=Retry(attempts=2, first=timedelta(0), max=timedelta(minutes=1)),
                deadline=timedelta(minutes=90),
                on_failure=OnFailure.DEFAULT,
                default="",
            ),
            Node(
                "lines",
                "check",
                {"line": "{{ item }}"},
                for_each=draft["lines"],
                at_once=5,
                when=draft & Reference("words").at_least(10),
            ),
            Node("report", "report", after=["lines"], on_failure="skip", priority=25),
        ],
        inputs=[Input("topic", str), Input("words", int, default=800, description="How long")],
        output="draft",
        description="Writes an article.",
        priority=30,
        budget=Budget(money=2.5, time=timedelta(minutes=5)),
    )
    assert load_workflows(write(OURS)) == [expected]


def test_a_file_may_have_several_workflows_in_its_order(write: WriteFile) -> None:
    text = "b:\n  nodes: {x: {task: t}}\na:\n  nodes: {x: {task: t}}\n"
    assert [flow.name for flow in load_workflows(write(text))] == ["b", "a"]


def test_nodes_may_be_a_list_with_names(write: WriteFile) -> None:
    text = "w:\n  nodes:\n    - {name: b, task: t}\n    - {name: a, task: t, after: [b]}\n"
    assert load_workflows(write(text)) == [
        Workflow("w", [Node("b", "t"), Node("a", "t", after=["b"])])
    ]


def test_inputs_may_be_a_list_of_names(write: WriteFile) -> None:
    text = "w:\n  inputs: [a, {name: b, type: int}]\n  nodes: {x: {task: t}}\n"
    (flow,) = load_workflows(write(text))
    assert [(one.name, one.kind) for one in flow.inputs] == [("a", "any"), ("b", "int")]


def test_what_to_json_writes_can_be_loaded(write: WriteFile) -> None:
    assert load_workflows(write(article().to_json(), "flow.json")) == [article()]


def test_toml_has_the_same_form(write: WriteFile) -> None:
    text = '[w]\ninputs = {x = "int"}\n[w.nodes.a]\ntask = "t"\ninputs = {y = "{{ x }}"}\n'
    assert load_workflows(write(text, "flow.toml")) == [
        Workflow("w", [Node("a", "t", {"y": "{{ x }}"})], inputs={"x": int})
    ]


def test_a_key_without_a_value_says_nothing(write: WriteFile) -> None:
    text = "w:\n  description:\n  inputs:\n  nodes: {x: {task: t, inputs: , retry: , after: }}\n"
    assert load_workflows(write(text)) == [Workflow("w", [Node("x", "t")])]


texts = st.text(alphabet="ab }.:#-\n\"'é☃", max_size=12)
values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53), 2**53)
    | texts
    | st.sampled_from(["{{ n }}", "a {{ n }} b {{ m.x.0 }}", "{{{{ braces }}", "{"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=6,
)


@given(values)
def test_any_workflow_written_to_a_file_is_loaded_as_the_same(value: Any) -> None:
    flow = Workflow("w", [Node("a", "t", {"x": value})], inputs={"n": Any, "m": Any})
    assert workflows_of(read_yaml(json.dumps({"w": flow.to_data()}))) == [flow]


# --- The audited platform's format -----------------------------------------------------------


@pytest.mark.parametrize("text", [AUDITED, "workflows:\n" + AUDITED.replace("\n", "\n  ")])
def test_the_audited_platforms_files_are_loaded(write: WriteFile, text: str) -> None:
    (flow,) = load_workflows(write(text), inputs=["url"])
    assert flow == Workflow(
        "review",
        [
            Node(
                "fetch-page",
                "fetch",
                instruction="Fetch {{ url }}",
                payload={"url": "{{ url }}", "limit": 3},
            ),
            Node("analyse", "analyse", instruction="Analyse it", dependencies=["fetch-page"]),
            Node(
                "report",
                "report",
                instruction="Write about {{ analyse.score }}.\n",
                dependencies=["fetch-page", "analyse"],
                payload={"style": "short"},
            ),
        ],
        inputs=[Input("url")],
        description="Reviews a site.",
        priority=40,
        budget=Budget(money=5.0),
    )


@pytest.mark.anyio
async def test_an_audited_workflow_runs_with_values_bound_by_parameter_name(
    write: WriteFile,
) -> None:
    @task
    async def fetch(ctx: Context, instruction: str, url: str, limit: int) -> list[str]:
        return [instruction, url, str(limit)]

    @task
    async def analyse(ctx: Context, fetch_page: list[str]) -> dict[str, int]:
        return {"score": len(fetch_page)}

    @task
    async def report(
        ctx: Context, instruction: str, payload: dict[str, Any], dependencies: dict[str, Any]
    ) -> list[Any]:
        return [instruction, payload, dependencies]

    (flow,) = load_workflows(write(AUDITED), inputs=["url"])
    tasks: dict[str, Task[..., Any]] = {"fetch": fetch, "analyse": analyse, "report": report}
    assert await FakeContext().call(workflow_task(flow, tasks), url="astro.test") == [
        "Write about 3.\n",
        {"style": "short"},
        {"fetch-page": ["Fetch astro.test", "astro.test", "3"], "analyse": {"score": 3}},
    ]


def test_a_name_that_nobody_declared_is_an_error(write: WriteFile) -> None:
    assert problems(write(AUDITED)) == (
        "line 9, review.tasks[0].instruction: there is no input or node 'url'. "
        "An input has to be declared.",
        "line 10, review.tasks[0].payload.url: there is no input or node 'url'. "
        "An input has to be declared.",
    )


def test_inputs_of_the_caller_are_taken_by_those_that_use_them_only(write: WriteFile) -> None:
    text = "a:\n  tasks: [{id: x, capability: t, instruction: '{{ p }}'}]\n"
    text += "b:\n  inputs: [q]\n  tasks: [{id: y, capability: t, instruction: '{{ q }}'}]\n"
    one, two = load_workflows(write(text), inputs={"p": str, "r": int})
    assert [(i.name, i.kind) for i in one.inputs] == [("p", "str")]
    assert [i.name for i in two.inputs] == ["q"]


@pytest.mark.parametrize("word", ["low", "medium", "high", "critical", "HIGH"])
def test_priorities_are_words(write: WriteFile, word: str) -> None:
    (flow,) = load_workflows(write(f"w:\n  priority: {word}\n  nodes: {{a: {{task: t}}}}"))
    assert flow.priority in (10, 20, 30, 40)


# --- Mistakes --------------------------------------------------------------------------------

MISTAKES = """
review:
  priorty: high
  priority: urgent
  tasks:
    - id: a
      capability: fetch
      retry: {attempts: 0}
      dependencies: [b, zz]
    - id: b
      capability: analyse
      dependencies: [a]
      payload:
        x:
          - "{{ a }}"
          - "{{ bb + 1 }}"
          - "{{ a "
    - id: 9x
      capability: report
    - capability: report
    - id: b
      capability: report
      timeout: soon
      when: {equal: [1, 2]}
other:
  nodes:
    x: {task: t, inputs: {a: "{{ item }}"}, on_failure: default}
    z: {task: t, after: x, for_each: foo}
  output: y
"""


def test_rule_40_all_mistakes_of_a_file_are_reported_at_once_with_line_and_path(
    write: WriteFile,
) -> None:
    found = problems(write(MISTAKES))
    assert [problem.partition(": ")[0] for problem in found] == [
        "line 3, review.priorty",
        "line 4, review.priority",
        "line 6, review.tasks[0]",
        "line 8, review.tasks[0].retry",
        "line 9, review.tasks[0].dependencies[1]",
        "line 16, review.tasks[1].payload.x[1]",
        "line 17, review.tasks[1].payload.x[2]",
        "line 18, review.tasks[2]",
        "line 20, review.tasks[3]",
        "line 21, review.tasks[4]",
        "line 23, review.tasks[4].timeout",
        "line 24, review.tasks[4].when",
        "line 27, other.nodes.x",
        "line 28, other.nodes.z.after",
        "line 28, other.nodes.z.for_each",
        "line 29, other.output",
    ]


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "line 1: a file of workflows is a mapping"),
        ("[]", "line 1: a file of workflows is a mapping"),
        ("{}", "line 1: a file of workflows is a mapping"),
        ("w: 1", "line 1, w: a workflow is a mapping"),
        ("w: {}", "line 1, w: it needs either `nodes` or `tasks`"),
        ("w: {nodes: {}, tasks: []}", "line 1, w: it needs either `nodes` or `tasks`"),
        ("w: {nodes: {}}", "line 1, w: it has no nodes"),
        ("w: {nodes: 3}", "line 1, w.nodes: it is neither a list nor a mapping"),
        ("w: {nodes: [3]}", "line 1, w.nodes[0]: a node of a list needs"),
        ("w: {nodes: [{name: a, id: b, task: t}]}", "w.nodes[0]: a node of a list needs either"),
        ("w: {nodes: [{id: 3, capability: t}]}", "w.nodes[0]: 3 is no name for a node"),
        ("w: {nodes: {a: 3}}", "line 1, w.nodes.a: a node is a mapping"),
        ("w: {nodes: {a: {}}}", "w.nodes.a: it needs either `task` or `capability`"),
        ("w: {nodes: {a: {task: 3}}}", "w.nodes.a: it needs either `task` or `capability`"),
        ("w: {nodes: {a: {task: t, capability: t}}}", "w.nodes.a: it needs either `task` or"),
        (
            "w: {nodes: {a: {task: t, tmeout: 3}}}",
            "'tmeout' is unknown here. Did you mean 'timeout'?",
        ),
        ("w: {nodes: {a: {task: t, inputs: 3}}}", "w.nodes.a.inputs: it is no mapping"),
        ("w: {nodes: {a: {task: t, retry: often}}}", "w.nodes.a.retry: 'often' is no retry policy"),
        ("w: {nodes: {a: {task: t, retry: {atempts: 1}}}}", "Did you mean 'attempts'?"),
        ("w: {nodes: {a: {task: t, retry: {first: x}}}}", "'x' is no duration"),
        (
            "w: {nodes: {a: {task: t, retry: {jitter: no}}}}",
            "w.nodes.a.retry: It is no retry policy",
        ),
        ("w: {nodes: {a: {task: t, timeout: 0}}}", "w.nodes.a.timeout: 0 is no duration"),
        ("w: {nodes: {a: {task: t, timeout: true}}}", "True is no duration"),
        ("w: {nodes: {a: {task: t, timeout: 5x}}}", "'5x' is no duration"),
        ("w: {nodes: {a: {task: t, on_failure: explode}}}", "'explode' is none of fail, skip"),
        ("w: {nodes: {a: {task: t, priority: urgnt}}}", "'urgnt' is no priority"),
        ("w: {nodes: {a: {task: t, at_once: 0}}}", "0 is no positive whole number"),
        ("w: {nodes: {a: {task: t, default: '{{ x }}'}}}", "A default refers to nothing"),
        ("w: {nodes: {a: {task: t, description: 3}}}", "3 is no text. Quote it."),
        ("w: {nodes: {a: {task: t, dependencies: [1]}}}", "[1] is no list of names"),
        ("w: {nodes: {a: {task: t, when: sometimes}}}", "'sometimes' is no condition"),
        ("w: {nodes: {a: {task: t, inputs: {x: '{{ b }}'}}}}", "there is no input or node 'b'"),
        ("w: {budget: much, nodes: {a: {task: t}}}", "w.budget: 'much' is no budget"),
        ("w: {budget: {mony: 1}, nodes: {a: {task: t}}}", "Did you mean 'money'?"),
        ("w: {budget: -1, nodes: {a: {task: t}}}", "w.budget: It is no budget: 'money'"),
        ("w: {inputs: 3, nodes: {a: {task: t}}}", "w.inputs: it is neither a list nor a mapping"),
        ("w: {inputs: {x: 3}, nodes: {a: {task: t}}}", "w.inputs.x: an input is a type, or"),
        ("w: {inputs: {x: strng}, nodes: {a: {task: t}}}", "Did you mean 'str'?"),
        ("w: {inputs: {x: {tpe: int}}, nodes: {a: {task: t}}}", "Did you mean 'type'?"),
        ("w: {inputs: [class], nodes: {a: {task: t}}}", "w.inputs[0]: 'class' is no name"),
        ("w: {inputs: [[]], nodes: {a: {task: t}}}", "w.inputs[0]: [] is no name"),
        (
            "w: {name: v, nodes: {a: {task: t}}}",
            "line 1, w.name: the key says that its name is 'w'",
        ),
        ("1w: {nodes: {a: {task: t}}}", "line 1, 1w: '1w' is no name for a workflow"),
        ("workflows: []", "line 1, workflows: it is no mapping"),
        ("workflow:\n  w: {nodes: {a: {task: t}}}", "line 1, workflow: it needs either"),
        ("version: 1\nworkflows: {w: 1}\nextra: 1", "line 3, extra: 'extra' is unknown here"),
        ("a: {{ x }}", "line 1: quote your template"),
    ],
)
def test_each_mistake_says_what_is_wrong(write: WriteFile, text: str, problem: str) -> None:
    found = problems(write(text))
    assert any(problem in one for one in found), found


def test_a_mistake_in_a_node_does_not_make_others_look_wrong(write: WriteFile) -> None:
    text = "w:\n  inputs: {y: strng}\n  nodes:\n    a: 3\n"
    text += "    b: {task: t, inputs: {x: ['{{ a }}', '{{ y }}']}}\n"
    assert len(problems(write(text))) == 2


def test_values_nested_too_deeply_are_found_where_they_are(write: WriteFile) -> None:
    deep: Any = "x"
    for _ in range(60):
        deep = [deep]
    with pytest.raises(WorkflowError, match=r"deeper than 32"):
        Workflow.from_data(
            {"name": "w", "nodes": [{"name": "a", "task": "t", "inputs": {"x": deep}}]}
        )


def test_a_file_that_is_not_there_is_a_workflow_error(tmp_path: Path) -> None:
    assert "cannot be read" in problems(tmp_path / "absent.yaml")[0]


def test_a_single_workflow_says_its_name(write: WriteFile) -> None:
    text = "name: w\nnodes: {a: {task: t}}\n"
    assert load_workflows(write(text)) == [Workflow("w", [Node("a", "t")])]
    assert "is no name" in problems(write("name: 3\nnodes: {a: {task: t}}"))[0]
