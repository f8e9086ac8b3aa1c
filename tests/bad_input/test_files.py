"""The door of files: YAML, TOML and JSON of workflows and settings, read strictly.

Everything wrong with a file is told in one pass, each with its line and path.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from astro import SettingsError, WorkflowError, load_workflows
from astro.setup.composing import MAX_SIZE
from astro.setup.settings import Settings, read_settings
from astro.setup.yaml import read_document
from tests.bad_input.cases import Case, Odd, each, refused

GOOD = "w:\n  nodes:\n    a: {task: greet}\n"
DEEP_YAML = "".join(f"{'  ' * level}a{level}:\n" for level in range(40))


def written(folder: Path, name: str, text: str | bytes) -> Path:
    path = folder / name
    path.write_bytes(text.encode("utf-8", "surrogatepass") if isinstance(text, str) else text)
    return path


# --- Text that is no document ---------------------------------------------------------------------

DOCUMENTS = [
    Case("yaml-python-object", ("a.yaml", "a: !!python/object:os.x {}"), SettingsError, "tags ("),
    Case(
        "yaml-python-apply",
        ("a.yaml", "!!python/object/apply:os.system ['id']"),
        SettingsError,
        "line 1: tags (tag:yaml.org,2002:python/object/apply:os.system) are refused",
    ),
    Case("yaml-binary", ("a.yaml", "a: !!binary aGk="), SettingsError, "line 1: tags ("),
    Case("yaml-set", ("a.yaml", "a: !!set {b, c}"), SettingsError, "line 1: tags ("),
    Case("yaml-anchor", ("a.yaml", "x: 1\na: &b 2"), SettingsError, "line 2: anchors (&b) are"),
    Case("yaml-alias", ("a.yaml", "a: &b 1\nc: *b"), SettingsError, "line 2: aliases (*b) are"),
    Case("yaml-merge", ("a.yaml", "a: &b {c: 1}\nd:\n  <<: *b"), SettingsError, "line 3: aliases"),
    Case("yaml-tab", ("a.yaml", "a:\n\tb: 1"), SettingsError, "line 2: "),
    Case("yaml-block-of-spaces", ("a.yaml", b"|\n \n  "), SettingsError, "line 1: "),
    Case("yaml-nul", ("a.yaml", "a: 1\nb: \0"), SettingsError, "line 2: special characters"),
    Case("yaml-bell", ("a.yaml", "a: \x07"), SettingsError, "line 1: special characters"),
    Case("yaml-surrogate", ("a.yaml", "a: '\ud800'"), SettingsError, "line 1: it is not UTF-8"),
    Case("yaml-latin-1", ("a.yaml", b"a: 1\nb: caf\xe9"), SettingsError, "line 2: it is not UTF-8"),
    Case("yaml-utf-16", ("a.yaml", "a: 1".encode("utf-16")), SettingsError, "it is not UTF-8"),
    Case("yaml-overlong", ("a.yaml", b"a: \xc0\xaf"), SettingsError, "line 1: it is not UTF-8"),
    Case("yaml-two-keys", ("a.yaml", "a: 1\nb:\n  c: 1\n  c: 2"), SettingsError, "line 4: key 'c'"),
    Case("yaml-keys-alike", ("a.yaml", "1: a\n'1': b"), SettingsError, "key '1' is already on"),
    Case("yaml-key-of-a-list", ("a.yaml", "? [a]\n: b"), SettingsError, "a key must be text"),
    Case("yaml-template", ("a.yaml", "a: {{ b }}"), SettingsError, "quote your template"),
    Case("yaml-two-documents", ("a.yaml", "a: 1\n---\nb: 2"), SettingsError, "second document"),
    Case("yaml-open-list", ("a.yaml", "a: [1, 2"), SettingsError, "expected ',' or ']'"),
    Case("yaml-open-quote", ("a.yaml", 'a: "b'), SettingsError, "line 1: found unexpected end"),
    Case("yaml-bad-indent", ("a.yaml", "a:\n    b: 1\n  c: 2"), SettingsError, "line 3: "),
    Case("yaml-percent", ("a.yaml", "a: %b"), SettingsError, "nothing can begin with %; quote it"),
    Case("yaml-directive", ("a.yaml", "%FOO bar\n---\na: 1\n--- 2"), SettingsError, "document"),
    Case("yaml-nan", ("a.yaml", "a: .NaN"), SettingsError, ".NaN is not a number that JSON has"),
    Case("yaml-huge-int", ("a.yaml", "a: " + "9" * 5_000), SettingsError, "more than 300 digits"),
    Case("yaml-huge-float", ("a.yaml", "a: 1e999"), SettingsError, "1e999 is not a number that"),
    Case("yaml-deep-blocks", ("a.yaml", DEEP_YAML), SettingsError, "nested deeper than 32 levels"),
    Case("yaml-deep-flow", ("a.yaml", "a: " + "[" * 99_999), SettingsError, "nested deeper than"),
    Case(
        "yaml-bomb",
        ("a.yaml", "a: &a [x,x]\nb: &b [*a,*a]\nc: &c [*b,*b]\nd: [*c,*c]"),
        SettingsError,
        "line 4: aliases (*c) are refused",
    ),
    Case("json-two-keys", ("a.json", '{"a": 1,\n"a": 2}'), SettingsError, "line 2: key 'a' is"),
    Case("json-nan", ("a.json", '{"a": NaN}'), SettingsError, "NaN is not a number that JSON has"),
    Case("json-huge-float", ("a.json", '{"a": 1e999}'), SettingsError, "1e999 is not a number"),
    Case("json-comment", ("a.json", '// a\n{"a": 1}'), SettingsError, "line 1: Expecting value"),
    Case("json-comma", ("a.json", '{"a": 1,}'), SettingsError, "line 1: "),
    Case("json-trailing", ("a.json", '{"a": 1}\n{}'), SettingsError, "line 2: Extra data"),
    Case("json-cut-off", ("a.json", '{"a": [1,\n2'), SettingsError, "line 2: Expecting"),
    Case("json-surrogate", ("a.json", '{"a": "\\ud800"}'), SettingsError, "half of a surrogate"),
    Case("json-control", ("a.json", '{"a": "\n"}'), SettingsError, "Invalid control character"),
    Case("json-deep", ("a.json", "[" * 33 + "]" * 33), SettingsError, "nested deeper than 32"),
    Case("json-very-deep", ("a.json", "[" * 200_000), SettingsError, "nested too deeply"),
    Case("json-empty", ("a.json", ""), SettingsError, "line 1: Expecting value"),
    Case("toml-two-keys", ("a.toml", "a = 1\na = 2"), SettingsError, "line 2: Cannot overwrite"),
    Case("toml-two-tables", ("a.toml", "[a]\n[b]\n[a]"), SettingsError, "line 3: Cannot declare"),
    Case("toml-nan", ("a.toml", "a = nan"), SettingsError, "nan is not a number that JSON has"),
    Case("toml-no-value", ("a.toml", "a = 1\nb ="), SettingsError, "line 2: Invalid value"),
    Case("toml-open-text", ("a.toml", 'a = "b'), SettingsError, "line 1: "),
    Case("toml-surrogate", ("a.toml", 'a = "\\ud800"'), SettingsError, "line 1: "),
    Case("toml-huge-int", ("a.toml", "a = " + "9" * 5_000), SettingsError, "line 1: "),
    Case("toml-nul", ("a.toml", "a = '\0'"), SettingsError, "line 1: "),
    Case("suffix-unknown", ("a.ini", "a = 1"), SettingsError, ".ini is none of .yaml, .yml"),
    Case("suffix-none", ("astro", "a: 1"), SettingsError, "no suffix is none of .yaml, .yml"),
    Case(
        "one-byte-too-large",
        ("a.yaml", "#" * (MAX_SIZE + 1)),
        SettingsError,
        "it is larger than 256 KiB",
    ),
    Case("far-too-large", ("a.json", " " * 20 * MAX_SIZE), SettingsError, "it is larger than 256"),
]


@each(DOCUMENTS)
def test_a_text_that_says_two_things_or_none_is_no_document(tmp_path: Path, case: Case) -> None:
    name, text = case.what
    path = written(tmp_path, name, text)
    with refused(case):
        read_document(path)
    assert list(tmp_path.iterdir()) == [path]


READ = [
    Odd("norway", ("a.yaml", "[no, NO, off, y, on, yes]"), ["no", "NO", "off", "y", "on", "yes"]),
    Odd("octal-of-old", ("a.yaml", "[010, 0o10, 0x10]"), [10, 8, 16]),
    Odd("sexagesimal", ("a.yaml", "[1:20, 12:30:45]"), ["1:20", "12:30:45"]),
    Odd(
        "dates",
        ("a.yaml", "[2030-01-01, 2030-01-01T00:00:00Z]"),
        ["2030-01-01", "2030-01-01T00:00:00Z"],
    ),
    Odd("versions", ("a.yaml", "[1.10, '1.10', 1.1.0]"), [1.1, "1.10", "1.1.0"]),
    Odd("underscores", ("a.yaml", "1_000"), "1_000"),
    Odd("null-words", ("a.yaml", "[~, null, '', none, None]"), [None, None, "", "none", "None"]),
    Odd("keys-are-text", ("a.yaml", "{no: 1, 1: 2, ~: 3}"), {"no": 1, "1": 2, "~": 3}),
    Odd("byte-order-mark", ("a.yaml", b"\xef\xbb\xbfa: 1"), {"a": 1}),
    Odd("windows-lines", ("a.yaml", "a: 1\r\nb: 2\r\n"), {"a": 1, "b": 2}),
    Odd("empty-file", ("a.yaml", ""), None),
    Odd("only-comments", ("a.yaml", "# a\n# b\n"), None),
    Odd("exactly-the-cap", ("a.yaml", "a: 1\n#" + "x" * (MAX_SIZE - 6)), {"a": 1}),
    Odd("exactly-the-depth", ("a.json", "[" * 32 + "]" * 32), json.loads("[" * 32 + "]" * 32)),
    Odd("right-to-left", ("a.yaml", "a: \u202eb"), {"a": "\u202eb"}),
    Odd("python-words", ("a.json", '{"__class__": "a.B", "lc": 1}'), {"__class__": "a.B", "lc": 1}),
    Odd("a-pair-of-surrogates", ("a.json", '["\\ud83d\\ude80"]'), ["\U0001f680"]),
    Odd("suffix-in-capitals", ("A.JSON", "{}"), {}),
    Odd("toml-dates-are-text", ("a.toml", "a = 2030-01-01"), {"a": "2030-01-01"}),
]


@each(READ)
def test_a_text_that_only_looks_odd_means_what_it_says(tmp_path: Path, case: Odd) -> None:
    name, text = case.what
    found = read_document(written(tmp_path, name, text)).data
    assert found == case.gives
    assert repr(found) == repr(case.gives)  # 1 is not True


PATHS = [
    Case("absent", "absent.yaml", SettingsError, "cannot be read: No such file"),
    Case("folder", "folder.yaml", SettingsError, "cannot be read: Is a directory"),
    Case("in-a-file", "file.yaml/inner.yaml", SettingsError, "cannot be read: Not a directory"),
    Case("too-long", "x" * 5_000 + ".yaml", SettingsError, "cannot be read: File name too long"),
    Case("loop", "loop.yaml", SettingsError, "cannot be read: Too many levels of symbolic links"),
    Case(
        "nul",
        "a\0b.yaml",
        SettingsError,
        "cannot be read",
    ),
    Case(
        "surrogate",
        "a\ud800.yaml",
        SettingsError,
        "cannot be read",
    ),
]


@each(PATHS)
def test_a_path_that_leads_to_no_file_is_named(tmp_path: Path, case: Case) -> None:
    (tmp_path / "folder.yaml").mkdir()
    (tmp_path / "file.yaml").touch()
    (tmp_path / "loop.yaml").symlink_to("loop.yaml")
    with refused(case):
        read_document(f"{tmp_path}/{case.what}")


# --- Files of workflows --------------------------------------------------------------------------


def node(text: str) -> str:
    return f"w:\n  nodes:\n    a: {{task: greet}}\n    b: {text}\n"


FLOWS = [
    Case("nothing", "", WorkflowError, "line 1: a file of workflows is a mapping"),
    Case("list", "- a", WorkflowError, "line 1: a file of workflows is a mapping"),
    Case("text", "w", WorkflowError, "line 1: a file of workflows is a mapping"),
    Case("tags-are-told-with-the-file", "a: !x 1", WorkflowError, "line 1: tags (!x) are refused"),
    Case("no-nodes", "w: {nodes: []}", WorkflowError, "line 1, w: it has no nodes"),
    Case("name-of-a-path", "../w: {nodes: {a: {task: t}}}", WorkflowError, "'../w' is no name"),
    Case("name-long", f"{'x' * 201}: {{nodes: {{a: {{task: t}}}}}}", WorkflowError, "no name for"),
    Case("no-task", node("{after: [a]}"), WorkflowError, "line 4, w.nodes.b: it needs either"),
    Case("task-of-a-module", node("{task: 'os:system'}"), WorkflowError, "'os:system' is no name"),
    Case("task-list", node("{task: [t]}"), WorkflowError, "the name of a task"),
    Case("task-norway", node("{task: no, taks: 1}"), WorkflowError, "Did you mean 'task'?"),
    Case("after-near", node("{task: t, after: [aa]}"), WorkflowError, "Did you mean 'a'?"),
    Case("after-itself", node("{task: t, after: [b]}"), WorkflowError, "after[0]: it refers to"),
    Case("after-mapping", node("{task: t, after: {a: 1}}"), WorkflowError, "is no list of names"),
    Case(
        "timeout-word", node("{task: t, timeout: 5 minutes}"), WorkflowError, "no duration. Write"
    ),
    Case("timeout-norway", node("{task: t, timeout: no}"), WorkflowError, "'no' is no duration"),
    Case(
        "timeout-negative", node("{task: t, timeout: -5s}"), WorkflowError, "'-5s' is no duration"
    ),
    Case(
        "timeout-ages", node("{task: t, timeout: 999999999999d}"), WorkflowError, "is no duration"
    ),
    Case(
        "timeout-beyond-the-calendar",
        node("{task: t, timeout: 99999999d}"),
        WorkflowError,
        "'99999999d' is no duration of at most a thousand years",
    ),
    Case("retry-negative", node("{task: t, retry: -1}"), WorkflowError, "b.retry: It is no retry"),
    Case("retry-true", node("{task: t, retry: true}"), WorkflowError, "True is no retry policy"),
    Case(
        "retry-ages",
        node("{task: t, retry: {factor: 1e308, max: 999999999d}}"),
        WorkflowError,
        "b.retry",
    ),
    Case("retry-code", node("{task: t, retry: {on: [OSError]}}"), WorkflowError, "no part of a"),
    Case("priority-near", node("{task: t, priority: hihg}"), WorkflowError, "Did you mean 'high'?"),
    Case("on-failure-near", node("{task: t, on_failure: skp}"), WorkflowError, "'skp' is none of"),
    Case("default-alone", node("{task: t, on_failure: default}"), WorkflowError, "there is none"),
    Case("default-code", node("{task: t, default: '{{ a }}'}"), WorkflowError, "refers to nothing"),
    Case(
        "when-code", node("{task: t, when: 'a.score > 3'}"), WorkflowError, "is no condition. Use"
    ),
    Case(
        "when-verb", node("{task: t, when: {exec: [a, b]}}"), WorkflowError, "'exec' is no condit"
    ),
    Case("for-each-text", node("{task: t, for_each: a}"), WorkflowError, "goes over a list"),
    Case(
        "at-once-text", node("{task: t, at_once: '3'}"), WorkflowError, "'3' is no positive whole"
    ),
    Case("attribute", node("{task: t, inputs: {x: '{{ b.__class__ }}'}}"), WorkflowError, "itself"),
    Case(
        "near",
        "w:\n  nodes:\n    draft: {task: t}\n    b: {task: t, inputs: {x: '{{ draf.text }}'}}\n",
        WorkflowError,
        "line 4, w.nodes.b.inputs.x: there is no input or node 'draf.text'. Did you mean 'draft'?",
    ),
    Case(
        "near-with-a-long-path",
        "w:\n  nodes:\n    draft: {task: t}\n"
        "    b: {task: t, inputs: {x: '{{ draf.text.lines.first.words }}'}}\n",
        WorkflowError,
        "Did you mean 'draft'?",
    ),
    Case("item", node("{task: t, inputs: {x: '{{ item }}'}}"), WorkflowError, "known only to what"),
    Case(
        "input-type", "w:\n  inputs: {x: os.system}\n  nodes: {a: {task: t}}", WorkflowError, "type"
    ),
    Case(
        "input-name", "w:\n  inputs: {a-b: str}\n  nodes: {a: {task: t}}", WorkflowError, "'a-b' is"
    ),
    Case(
        "budget-negative", "w:\n  budget: -5\n  nodes: {a: {task: t}}", WorkflowError, "no budget"
    ),
    Case(
        "budget-key", "w:\n  budget: {cost: 5}\n  nodes: {a: {task: t}}", WorkflowError, "'cost' is"
    ),
    Case("output-unknown", GOOD + "  output: b\n", WorkflowError, "line 4, w.output: there is no"),
    Case("mixed-words", GOOD + "  tasks: []\n", WorkflowError, "either `nodes` or `tasks`"),
    Case(
        "cycle",
        node("{task: t, after: [c]}\n    c: {task: t, after: [b]}"),
        WorkflowError,
        "'b' → 'c'",
    ),
    Case(
        "audited-dependency",
        "w:\n  tasks:\n    - id: a\n      capability: t\n      dependencies: [b]\n",
        WorkflowError,
        "line 5, w.tasks[0].dependencies[0]: there is no node 'b'",
    ),
    Case(
        "audited-two-of-an-id",
        "w:\n  tasks:\n    - {id: a, capability: t}\n    - {id: a, capability: t}\n",
        WorkflowError,
        "line 4, w.tasks[1]: there is already a node 'a'",
    ),
    Case(
        "audited-id-number",
        "w:\n  tasks:\n    - {id: 7, capability: t}\n",
        WorkflowError,
        "line 3, w.tasks[0]: 7 is no name for a node",
    ),
    Case(
        "audited-instruction",
        "w:\n  tasks:\n    - id: a\n      capability: t\n      instruction: Look at {{ ulr }\n",
        WorkflowError,
        "line 5, w.tasks[0].instruction: The placeholder",
    ),
    Case(
        "audited-unknown-key",
        "w:\n  tasks:\n    - {id: a, capability: t, agent: bob}\n",
        WorkflowError,
        "line 3, w.tasks[0].agent: 'agent' is unknown here",
    ),
    Case(
        "audited-payload-list",
        "w:\n  tasks:\n    - {id: a, capability: t, payload: [1]}\n",
        WorkflowError,
        "line 3, w.tasks[0].payload",
    ),
    Case(
        "audited-undeclared-input",
        "w:\n  tasks:\n    - {id: a, capability: t, instruction: 'See {{ url }}'}\n",
        WorkflowError,
        "An input has to be declared",
    ),
]


@each(FLOWS)
def test_a_file_of_workflows_says_what_is_wrong_and_where(tmp_path: Path, case: Case) -> None:
    path = written(tmp_path, "flow.yaml", case.what)
    with refused(case):
        load_workflows(path)
    written(tmp_path, "flow.yaml", GOOD)
    assert [flow.name for flow in load_workflows(path)] == ["w"]


MANY = """
w:
  nodes:
    a: {task: t, timeout: soon}
    b: {task: t, after: [zz]}
    c: {tsk: t}
    d: {task: t, inputs: {x: ['{{ a }', '{{ a }}']}}
v:
  nodes:
    a: {task: t, when: maybe}
  output: q
"""


@pytest.mark.parametrize("name", ["flow.yaml", "flow.json"])
def test_all_mistakes_of_a_file_are_told_in_one_pass(tmp_path: Path, name: str) -> None:
    text = MANY
    if name.endswith("json"):
        data = read_document(written(tmp_path, "flow.yaml", MANY)).data
        text = json.dumps(data, indent=1)
    with pytest.raises(WorkflowError) as caught:
        load_workflows(written(tmp_path, name, text))
    found = [problem.partition(": ")[0].partition(", ")[2] for problem in caught.value.problems]
    assert sorted(found) == [
        "v.nodes.a.when",
        "v.output",
        "w.nodes.a.timeout",
        "w.nodes.b.after[0]",
        "w.nodes.c",
        "w.nodes.c.tsk",
        "w.nodes.d.inputs.x[0]",
    ]
    assert all(problem.startswith("line ") for problem in caught.value.problems)


# --- Files of settings ---------------------------------------------------------------------------

SETTINGS = [
    Case("list", "- store", SettingsError, "line 1: expected a mapping with store, sandbox"),
    Case("number", "5", SettingsError, "line 1: expected a mapping with store"),
    Case("near", "stor: memory", SettingsError, "line 1, stor: 'stor' is unknown here. Did you"),
    Case("far", "zzz: 1", SettingsError, "line 1, zzz: 'zzz' is unknown here."),
    Case("python-words", "__class__: os.system", SettingsError, "'__class__' is unknown here"),
    Case("report", "report: x", SettingsError, "'report' is unknown here"),
    Case("store-number", "store: 5", SettingsError, "line 1, store: expected a mapping of use"),
    Case(
        "store-list", "store: [memory]", SettingsError, "line 1, store: expected a mapping of use"
    ),
    Case("store-no-use", "store: {path: a.db}", SettingsError, "line 1, store: 'use' is missing"),
    Case("agents-text", "agents: bob", SettingsError, "line 1, agents: expected a mapping"),
    Case("agents-empty", "agents: {a: {}}", SettingsError, "line 1, agents.a: 'use' is missing"),
    Case("agents-cost-zero", "agents: {a: {use: 'b:C', cost: 0}}", SettingsError, "'cost' must be"),
    Case("agents-near", "agents: {a: {use: 'b:C', limt: 1}}", SettingsError, "mean 'limit'?"),
    Case("agents-limit-text", "agents: {a: {use: 'b:C', limit: x}}", SettingsError, "expected int"),
    Case(
        "tasks-text", "tasks: house", SettingsError, "line 1, tasks: expected a list, got 'house'"
    ),
    Case("tasks-number", "tasks: [5]", SettingsError, "line 1, tasks[0]: expected text, got 5"),
    Case("limits-zero", "limits:\n  runs: 0", SettingsError, "line 2, limits.runs: 'runs' must be"),
    Case("limits-nested", "limits: {tasks: {a: 0}}", SettingsError, "must be >= 1: 0"),
    Case("limits-list", "limits: [1]", SettingsError, "line 1, limits: expected a mapping"),
    Case("budget-word", "budget: much", SettingsError, "line 1, budget: 'much' is no budget"),
    Case("budget-negative", "budget: {tokens: -1}", SettingsError, "'tokens' must be >= 0: -1"),
    Case("lease-zero", "lease_for: 0", SettingsError, "line 1, lease_for: 'lease_for' must be > "),
    Case("lease-word", "lease_for: a while", SettingsError, "'a while' is no duration"),
    Case("lease-true", "lease_for: true", SettingsError, "True is no duration"),
    Case("grace-negative", "grace: -1s", SettingsError, "line 1, grace: '-1s' is no duration"),
    Case("level", "logging: {level: LOUD}", SettingsError, "expected one of DEBUG, INFO, WARNING"),
    Case(
        "level-norway", "logging: {values: no}", SettingsError, "logging.values: expected true or"
    ),
    Case(
        "secret-outside", "tasks: ['${env:X}']", SettingsError, "for config only; set ASTRO_TASKS"
    ),
    Case("secret-unset", "store: {use: a, url: '${env:NOPE}'}", SettingsError, "NOPE is not set"),
    Case("secret-joined", "store: {use: a, url: 'x${env:X}'}", SettingsError, "stands alone"),
    Case("local", "allow_local_execution: true", SettingsError, "in a sandbox or not at all"),
    Case("audited-database", "database: {path: a}", SettingsError, "'database' is now `store`"),
    Case("audited-secret", "api_keys: {a: b}", SettingsError, "secrets come from the environment"),
]


@each(SETTINGS)
def test_a_file_of_settings_says_what_is_wrong_and_where(tmp_path: Path, case: Case) -> None:
    path = written(tmp_path, "astro.yaml", case.what)
    with refused(case):
        read_settings(path, environ={})
    assert read_settings(environ={}) == Settings()


VARIABLES = [
    Case(
        "int", {"ASTRO_LIMITS__RUNS": "s3cret"}, SettingsError, "ASTRO_LIMITS__RUNS: expected int"
    ),
    Case("near", {"ASTRO_STROE": "s3cret"}, SettingsError, "Did you mean 'store'?"),
    Case(
        "into-a-list",
        {"ASTRO_TASKS__A": "s3cret"},
        SettingsError,
        "ASTRO_TASKS__A",
    ),
    Case(
        "into-two-agents-that-are-none",
        {"ASTRO_AGENTS__A__COST": "1", "ASTRO_AGENTS__A__LIMIT": "1"},
        SettingsError,
        "ASTRO_AGENTS__A__COST, ASTRO_AGENTS__A__LIMIT: 'use' is missing",
    ),
    Case("nested-100000", {"ASTRO_TASKS": "[" * 100_000}, SettingsError, "ASTRO_TASKS: expected"),
    Case("open-json", {"ASTRO_LIMITS": '{"runs": s3cret'}, SettingsError, "ASTRO_LIMITS: expected"),
    Case("duration", {"ASTRO_GRACE": "s3cret"}, SettingsError, "ASTRO_GRACE: "),
    Case("surrogate", {"ASTRO_TASKS": '["\udcff s3cret"]'}, SettingsError, "ASTRO_TASKS"),
]


@each(VARIABLES)
def test_a_variable_that_is_wrong_is_named_and_its_content_is_not(case: Case) -> None:
    with refused(case) as caught:
        read_settings(environ=case.what)
    assert "s3cret" not in str(caught.value)
