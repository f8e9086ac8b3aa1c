"""The door of the command line: an exit code, one problem on standard error, and no traceback."""

from __future__ import annotations

import json
import shutil
import sqlite3
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import anyio
import attrs
import pytest

from astro import LocalEngine, SqliteStore
from astro.cli.outcome import Code
from tests.bad_input.cases import each
from tests.cli.conftest import HOUSE, Astro, Done
from tests.cli.house import greet, publish

DONE, ASKED = "{done}", "{asked}"
LONG = "x" * 1_001
GOOD = "w:\n  nodes:\n    a: {task: greet, inputs: {name: Ada}}\n"


@attrs.frozen
class Told:
    """A command that cannot be done: its exit code, and the words that name the problem."""

    id: str
    what: str
    code: Code
    match: str
    defect: str = attrs.field(default="", kw_only=True)


def usage(id: str, what: str, match: str, **more: str) -> Told:
    return Told(id, what, Code.USAGE, match, **more)


def missing(id: str, what: str, match: str = "There is no run", **more: str) -> Told:
    return Told(id, what, Code.NOT_FOUND, match, **more)


def store(id: str, what: str, match: str, **more: str) -> Told:
    return Told(id, what, Code.STORE, match, **more)


# --- Options and arguments -----------------------------------------------------------------------

OPTIONS = [
    usage("no-such-command", "lst", "There is no command 'lst'."),
    usage("command-near", "shwo", "Did you mean 'show'?"),
    usage("command-of-sql", '"\'; drop"', "There is no command"),
    usage("no-such-option", "ps --limt 5", "--limt"),
    usage("option-without-value", "ps --limit", "requires an argument"),
    usage("limit-zero", "ps --limit 0", "0 is not in the range 1<=x<=10000"),
    usage("limit-huge", "ps --limit 10001", "is not in the range"),
    usage("limit-text", "ps --limit many", "'many' is not a valid integer range"),
    usage("state-unknown", "ps --state over", "'over' is not one of 'ready', 'running'"),
    usage("show-nothing", "show", "Missing argument 'RUN'"),
    usage("show-two", "show a b", "unexpected extra argument (b)"),
    usage("events-before-the-first", f"events {DONE} --after -1", "-1 is not in the range 0<=x"),
    usage("answer-nothing", f"answer {ASKED}", "Missing argument 'VALUE'"),
    usage("diff-with-nothing", f"diff {DONE}", "Missing argument 'RIGHT'"),
    usage("fork-at-zero", f"fork {DONE} --at 0", "0 is not in the range x>=1"),
    usage("fork-beyond", f"fork {DONE} --at 999", "the run has"),
    usage("graph-format", "graph w.yaml --format png", "'png' is not one of 'svg', 'mermaid'"),
    usage("prune-without-age", "db prune", "Missing option '--older-than'"),
    usage("prune-word", "db prune --older-than soon", "'soon' is no duration"),
    usage("prune-negative", "db prune --older-than=-1d", "'-1d' is no duration"),
    usage("prune-ages", "db prune --older-than 999999999999d", "is no duration"),
    usage("db-unknown", "db explode", "No such command 'explode'"),
    usage("backup-nowhere", "db backup", "Missing argument 'TARGET'"),
    usage(
        "input-without-value", f"run {HOUSE}:greet -i name", "'name' is not of the form name=value"
    ),
    usage("input-without-name", f"run {HOUSE}:greet -i =Ada", "'=Ada' is not of the form"),
    usage("deadline-word", f"run {HOUSE}:greet -i name=a --deadline soon", "'soon' is no duration"),
    usage("deadline-zero", f"run {HOUSE}:greet -i name=a --deadline 0", "is no duration"),
    usage("priority-word", f"run {HOUSE}:greet -i name=a --priority high", "not a valid integer"),
    usage("key-long", f"run {HOUSE}:greet -i name=a --key {LONG}", "is no key"),
    usage("deadline-squared", f"run {HOUSE}:greet -i name=a --deadline ²", "'²' is no duration"),
    usage("prune-nan", "db prune --older-than nan", "'nan' is no duration"),
    usage(
        "priority-beyond-64-bits",
        f"run {HOUSE}:greet -i name=a --priority 9223372036854775808",
        "--priority",
    ),
    usage(
        "deadline-for-ever",
        f"run {HOUSE}:greet -i name=a --deadline 9999999999999",
        "--deadline",
    ),
    usage(
        "prune-for-ever",
        "db prune --older-than 99999999d",
        "--older-than",
    ),
    usage(
        "events-after-2-to-the-63",
        f"events {DONE} --after 9223372036854775808",
        "--after",
    ),
]


# --- What is not there ---------------------------------------------------------------------------

MISSING = [
    missing("show-unknown", "show nope"),
    missing("show-empty", "show ''"),
    missing("show-blank", "show ' '"),
    missing("show-pattern", "show %"),
    missing("show-sql", 'show "\' or 1=1 --"'),
    missing("show-path", "show ../runs.db"),
    missing("show-too-long", "show " + "0" * 33),
    missing("show-of-another-tenant", f"show {DONE} --tenant globex"),
    missing("events-unknown", "events nope"),
    missing("answer-unknown", "answer nope yes"),
    missing("cancel-unknown", "cancel nope"),
    missing("pause-unknown", "pause nope"),
    missing("resume-unknown", "resume nope"),
    missing("fork-unknown", "fork nope"),
    missing("diff-unknown", f"diff {DONE} nope"),
    missing("continue-unknown", f"run {HOUSE}:greet --continue nope"),
    usage("show-several", "show 0", "Several runs begin with '0'"),
    usage("explain-unknown", f"show {DONE} --call nope", "'nope' is not one call of this run"),
    usage("page", "ps --after '1; drop table runs'", "where a page begins"),
    store("no-store", "ps --store sqlite:absent.db", "There is no store at absent.db"),
    store("no-store-in-a-folder", "ps --store sqlite:a/b/c.db", "There is no store at a/b/c.db"),
    store("store-is-a-folder", "ps --store sqlite:folder", "folder"),
    store("store-is-text", "ps --store sqlite:w.yaml", "is not a database"),
    store(
        "store-name-too-long",
        f"ps --store sqlite:{'x' * 300}",
        "File name too long",
    ),
    store("store-in-memory", "ps --store memory", "ends with its process"),
    store(
        "store-unwritable", f"run {HOUSE}:greet -i name=a --store sqlite:/proc/a.db", "/proc/a.db"
    ),
    usage("store-empty", "ps --store ''", "store"),
    usage("store-unknown", "ps --store mongo:x", "mongo"),
    usage("store-module", "ps --store nowhere.at.all:Store", "nowhere"),
    usage("store-that-is-a-function", "ps --store os:system", "--store: it is no class"),
    usage(
        "store-that-is-none",
        "ps --store builtins:dict",
        "--store: builtins:dict makes no store: dict has no claim, commit, create, fetch",
    ),
    usage("store-that-is-no-class", "ps --store sys:path", "--store: it is no class"),
    usage("settings-absent", "ps --settings absent.yaml", "cannot be read: No such file"),
    usage("settings-folder", "ps --settings folder", "no suffix is none of"),
    usage("settings-broken", "ps --settings broken.yaml", "line 2: "),
    store("backup-exists", "db backup runs.db", "runs.db"),
    store("backup-in-no-folder", "db backup a/b/copy.db", "copy.db"),
    usage("backup-of-bytes", "db backup a\udcff.db", "is not UTF-8"),
    usage("graph-absent", "graph absent.yaml", "cannot be read: No such file"),
    usage("graph-of-a-task", f"graph {HOUSE}:greet", "is a task; only workflows have a graph"),
    usage("graph-unknown-workflow", "graph w.yaml:v", "w.yaml has no workflow 'v'."),
    usage(
        "graph-into-no-folder",
        "graph w.yaml -o a/b/c.svg",
        "a/b/c.svg",
    ),
    usage("graph-of-nothing", "graph ''", "'' is the name of no module"),
    usage("check-absent", "check absent.yaml", "cannot be read: No such file"),
]


# --- What cannot be run or said ------------------------------------------------------------------

RUNS = [
    usage("file-absent", "run absent.yaml", "cannot be read: No such file"),
    usage("file-broken", "run broken.yaml", "line 2: "),
    usage("file-of-two", "run two.yaml", "two.yaml has 2 workflows: a, b."),
    usage("file-unknown-workflow", "run two.yaml:c", "two.yaml has no workflow 'c'"),
    usage("module-absent", "run nowhere.at.all:task", "nowhere"),
    usage("module-alone", f"run {HOUSE}", "is a module; which task of it?"),
    usage("module-broken", "run broken_module:task", "broken_module"),
    usage("module-that-raises", "run raising_module:task", "raising_module"),
    usage("module-of-dots", "run ..:task", "loading .. fails with"),
    usage("name-near", f"run {HOUSE}:gret", "Did you mean 'greet'?"),
    usage("name-of-no-task", f"run {HOUSE}:nothing", "is neither a task nor a workflow"),
    usage("name-of-attributes", "run os:path.join", "os:path.join"),
    usage(
        "nothing",
        "run ''",
        "''",
    ),
    usage("input-missing", f"run {HOUSE}:greet", "greet needs 'name'. Pass -i name=..."),
    usage("input-near", f"run {HOUSE}:greet -i nmae=Ada", "Did you mean 'name'?"),
    usage(
        "input-wrong", f"run {HOUSE}:count -i to=many", "Pass -i to=VALUE, as JSON of the type int"
    ),
    usage("input-half", f"run {HOUSE}:count -i to=1.5", "The input 'to' does not fit"),
    usage("input-nan", f"run {HOUSE}:count -i to=NaN", "The input 'to' does not fit"),
    usage(
        "input-deep",
        f"run {HOUSE}:count -i to={'[' * 5_000}",
        "The input 'to' does not fit",
    ),
    usage("input-of-5001-digits", f"run {HOUSE}:count -i to=1{'0' * 5_000}", "does not fit"),
    usage(
        "input-surrogate",
        f"run {HOUSE}:greet -i name=\udcff",
        "The input 'name' does not fit",
    ),
    usage(
        "nobody-performs",
        "run tests.cli.needy_only:judge -i text=a",
        "No agent performs 'judge'",
    ),
    usage("tasks-absent", f"run {HOUSE}:greet -i name=a --tasks nowhere", "nowhere"),
    usage("tasks-of-nothing", "run w.yaml --tasks ''", "'' is the name of no module"),
    usage("workflow-without-tasks", "run w.yaml", "Name the module of the tasks with --tasks"),
    usage("key-taken", f"run {HOUSE}:greet -i name=Grace --key k", "The key 'k' already names run"),
    usage("answer-misfit", f"answer {ASKED} maybe", "expected boolean, got 'maybe'"),
    usage("answer-nan", f"answer {ASKED} NaN", "expected boolean, got 'NaN'"),
    usage(
        "answer-deep",
        f"answer {ASKED} {'[' * 5_000}",
        "expected boolean",
    ),
    usage(
        "answer-surrogate",
        f"answer {ASKED} \udcff",
        "cannot be kept",
    ),
    usage("answer-to-nothing", f"answer {ASKED} yes --call nope", "not clear which question"),
    usage("answer-by-long", f"answer {ASKED} yes --by {LONG}", "is no name of a person"),
    usage("answer-what-is-done", f"answer {DONE} yes", "has already ended (done)"),
    usage("pause-what-is-done", f"pause {DONE}", "has already ended (done)"),
    usage("resume-what-is-done", f"resume {DONE}", "has already ended (done)"),
    usage("cancel-reason-long", f"cancel {ASKED} --reason {LONG}", "is no reason"),
    usage("cancel-reason-surrogate", f"cancel {ASKED} --reason \udcff", "is no reason"),
]


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, str]]:
    """Return a store with a run that is done and one that waits, and their ids."""
    path = tmp_path_factory.mktemp("kept") / "runs.db"

    async def fill() -> dict[str, str]:
        engine = LocalEngine(greet, publish, store=SqliteStore(path), grace=timedelta(0))
        async with engine:
            done = await engine.options(key="k").start(greet, "Ada")
            await done
            asked = await engine.start(publish, "Fusion")
            async for record in asked:
                if record.kind == "asked":
                    break
            return {"done": done.id, "asked": asked.id}

    return path, anyio.run(fill)


@pytest.fixture
def told(astro: Astro, tmp_path: Path, kept: tuple[Path, dict[str, str]]) -> Iterator[Any]:
    """Return what runs a command in a folder with that store and a few files."""
    path, ids = kept
    shutil.copy(path, tmp_path / "runs.db")
    (tmp_path / "folder").mkdir()
    (tmp_path / "w.yaml").write_text(GOOD)
    (tmp_path / "two.yaml").write_text("a: {nodes: {x: {task: t}}}\nb: {nodes: {x: {task: t}}}\n")
    (tmp_path / "broken.yaml").write_text("a: [1,\nb: 2")
    (tmp_path / "broken_module.py").write_text("def broken(:\n")
    (tmp_path / "raising_module.py").write_text("raise KeyError('a')\n")

    def told(command: str) -> Done:
        return astro(command.format(**ids))

    yield told
    db = sqlite3.connect(tmp_path / "runs.db")
    listed = db.execute("select task, state from runs order by number").fetchall()
    db.close()
    assert listed == [("greet", "done"), ("publish", "asked")]


@each(OPTIONS, MISSING, RUNS)
def test_a_command_that_cannot_be_done_says_why(told: Any, case: Told) -> None:
    done = told(case.what)
    assert case.match in " ".join(done.err.split())
    assert done.code == case.code
    assert done.out == ""
    assert "Traceback" not in done.err
    assert max(map(len, done.err.splitlines())) < 2_000


def test_a_function_is_not_called_to_see_if_it_makes_a_store(told: Any, tmp_path: Path) -> None:
    (tmp_path / "touching.py").write_text("def touch():\n    open('touched', 'w').close()\n")
    done = told("ps --store touching:touch")
    assert done.code == Code.USAGE
    assert "is no class, and nothing else to call that has a `Config`" in done.err
    assert not (tmp_path / "touched").exists()


def test_a_name_that_is_no_text_may_be_that_of_a_file(told: Any, tmp_path: Path) -> None:
    (tmp_path / "astro\udcff.yaml").write_text("store: sqlite:runs.db\nstor: a\n")
    done = told("check astro\udcff.yaml")
    assert done.code == Code.FAILED
    assert "stor: 'stor' is unknown here" in done.out


IN_JSON = [
    usage("usage", "ps --limit 0 --json", "UsageError"),
    missing("run", "show nope --json", "RunNotFoundError"),
    store("store", "ps --store sqlite:absent.db --json", "StoreUnavailableError"),
    usage("answer", f"answer {ASKED} maybe --json", "InvalidArgumentsError"),
    usage("file", "run broken.yaml --json", "WorkflowError"),
    usage("settings", "ps --settings broken.yaml --json", "SettingsError"),
]


@each(IN_JSON)
def test_with_json_the_error_is_the_only_output(told: Any, case: Told) -> None:
    done = told(case.what)
    assert done.err == ""
    assert done.code == case.code
    error = json.loads(done.out)["error"]
    assert (error["type"], error["exit_code"]) == (case.match, case.code)
    assert error["problem"]


CHECKED = [
    Told("broken", "check broken.yaml", Code.USAGE, "line 2: "),
    Told("module", "check nowhere", Code.FAILED, "nowhere"),
    Told("raising", "check raising_module", Code.FAILED, "raising_module"),
    Told("inputs", "check w.yaml --tasks nowhere", Code.FAILED, "nowhere"),
]


@each(CHECKED)
def test_what_a_check_finds_is_its_result(told: Any, case: Told) -> None:
    done = told(case.what)
    assert done.code == case.code
    assert case.match in done.out + done.err
    assert "Traceback" not in done.err
