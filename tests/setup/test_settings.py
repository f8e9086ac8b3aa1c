"""Settings: what files and variables say, and what is wrong with them, all of it at once."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest

from astro import Budget, Limits, SettingsError
from astro.setup.elsewhere import ELSEWHERE
from astro.setup.settings import (
    AgentSettings,
    LogSettings,
    PartSettings,
    Settings,
    read_settings,
    settings_file,
)
from tests.setup.pages import ROOT, block

Write = Callable[..., Path]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Return what writes a file of settings."""

    def write(text: str, name: str = "astro.yaml") -> Path:
        path = tmp_path / name
        path.write_text(text, "utf-8")
        return path

    return write


def problems(path: Path | None, **environ: str) -> list[str]:
    with pytest.raises(SettingsError) as caught:
        read_settings(path, environ=environ)
    return list(caught.value.problems)


# --- What files say ----------------------------------------------------------------------------


def test_settings_without_a_file_are_the_defaults() -> None:
    assert read_settings(environ={}) == Settings()
    assert Settings().store == PartSettings(use="sqlite:runs.db")


def test_an_empty_file_is_the_defaults(write: Write) -> None:
    assert read_settings(write(""), environ={}) == Settings()


def test_every_setting_is_read(write: Write, tmp_path: Path) -> None:
    path = write(
        """
store: {use: sqlite, path: runs.db, synchronous: NORMAL}
sandbox: docker
executor: {use: process, workers: 4}
agents:
  reviewer: {use: "house:Reviewer", config: {style: ornate}, cost: 0.5, limit: 3}
tasks: [house, "house:greet"]
workflows: [flows/article.yaml]
limits: {attempts: 10, tasks: {greet: 2}, age: 500ms}
budget: {money: 5, tokens: 1000, time: 1h}
lease_for: 30s
grace: 0
logging: {level: DEBUG, format: json}
"""
    )
    assert read_settings(path, environ={}) == Settings(
        store=PartSettings(use="sqlite", config={"path": "runs.db", "synchronous": "NORMAL"}),
        sandbox=PartSettings(use="docker"),
        executor=PartSettings(use="process", config={"workers": 4}),
        agents={
            "reviewer": AgentSettings(
                use="house:Reviewer", config={"style": "ornate"}, cost=0.5, limit=3
            )
        },
        tasks=("house", "house:greet"),
        workflows=(tmp_path / "flows/article.yaml",),
        limits=Limits(attempts=10, tasks={"greet": 2}, age=timedelta(milliseconds=500)),
        budget=Budget(money=5.0, tokens=1000, time=timedelta(hours=1)),
        lease_for=timedelta(seconds=30),
        grace=timedelta(0),
        logging=LogSettings(level="DEBUG", format="json"),
    )


def test_toml_says_the_same_as_yaml(write: Write) -> None:
    yaml = write("store: sqlite:a.db\nlimits: {attempts: 10}\nagents: {r: {use: 'a:B'}}\n")
    toml = write(
        'store = "sqlite:a.db"\n[limits]\nattempts = 10\n[agents.r]\nuse = "a:B"\n', "astro.toml"
    )
    assert read_settings(yaml, environ={}) == read_settings(toml, environ={})


def test_the_file_is_found_by_its_name_or_by_a_variable(
    write: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert settings_file({}) is None
    write("", "astro.toml")
    assert settings_file({}) == Path("astro.toml")
    assert settings_file({"ASTRO_SETTINGS": "other.yaml"}) == Path("other.yaml")


# --- What is wrong with them -------------------------------------------------------------------


def test_all_mistakes_are_reported_at_once_with_line_and_path(write: Write) -> None:
    path = write(
        """stroe: sqlite:a.db
limits:
  attempts: 0
  runz: 5
  tasks: {greet: many}
lease_for: soon
grace: -1
agents:
  a: {config: {}}
  b: {use: "x:y", limit: 0}
  c: 7
tasks: x
logging: {level: LOUD}
"""
    )
    assert problems(path) == [
        "line 1, stroe: 'stroe' is unknown here. Did you mean 'store'?",
        "line 3, limits.attempts: 'attempts' must be >= 1: 0",
        "line 4, limits.runz: 'runz' is unknown here. Did you mean 'runs'?",
        "line 5, limits.tasks.greet: expected int, got 'many'",
        "line 6, lease_for: 'soon' is no duration. Write seconds, or 30s, 5m, 1h30m, 2d.",
        "line 7, grace: -1 is no duration. Write seconds, or 30s, 5m, 1h30m, 2d.",
        "line 9, agents.a: 'use' is missing",
        "line 10, agents.b.limit: 'limit' must be >= 1: 0",
        "line 11, agents.c: expected a mapping of use, config, cost, limit, got 7",
        "line 12, tasks: expected a list, got 'x'",
        "line 13, logging.level: expected one of DEBUG, INFO, WARNING, ERROR, got 'LOUD'",
    ]


def test_a_lease_that_lasts_no_time_is_refused(write: Write) -> None:
    (problem,) = problems(write("lease_for: 0"))
    assert problem.startswith("line 1, lease_for: 'lease_for' must be > 0")


def test_a_file_that_is_no_mapping_is_refused(write: Write) -> None:
    (problem,) = problems(write("- store"))
    assert problem.startswith("line 1: expected a mapping with store, sandbox,")


def test_a_duplicate_key_is_refused_with_both_lines(write: Write) -> None:
    assert problems(write("store: a\nstore: b")) == ["line 2: key 'store' is already on line 1"]


# --- Variables ---------------------------------------------------------------------------------


def test_variables_override_the_file(write: Write) -> None:
    path = write("store: sqlite:a.db\nlimits: {attempts: 10, runs: 7}\n")
    settings = read_settings(
        path,
        environ={
            "ASTRO_STORE": "sqlite:b.db",
            "ASTRO_LIMITS__ATTEMPTS": "20",
            "ASTRO_LEASE_FOR": "1m",
            "ASTRO_TASKS": '["a.b"]',
            "OTHER": "x",
        },
    )
    assert settings.store.use == "sqlite:b.db"
    assert (settings.limits.attempts, settings.limits.runs) == (20, 7)
    assert settings.lease_for == timedelta(minutes=1)
    assert settings.tasks == ("a.b",)


def test_variables_alone_make_settings() -> None:
    settings = read_settings(
        environ={"ASTRO_AGENTS__R__USE": "a:B", "ASTRO_STORE": '{"use": "memory"}'}
    )
    assert settings.agents == {"r": AgentSettings(use="a:B")}
    assert settings.store == PartSettings(use="memory")


def test_a_variable_finds_the_key_that_it_spells_in_capitals(write: Write) -> None:
    path = write("agents: {House-Reviewer: {use: 'a:B'}}")
    settings = read_settings(path, environ={"ASTRO_AGENTS__HOUSE_REVIEWER__LIMIT": "2"})
    assert settings.agents == {"House-Reviewer": AgentSettings(use="a:B", limit=2)}


def test_an_option_of_a_store_that_is_written_short_can_be_overridden(write: Write) -> None:
    path = write("store: sqlite:a.db")
    settings = read_settings(path, environ={"ASTRO_STORE__SYNCHRONOUS": "NORMAL"})
    assert settings.store.use == "sqlite:a.db"
    assert list(settings.store.config) == ["synchronous"]


def test_a_mistake_in_a_variable_names_the_variable_and_not_its_content(write: Write) -> None:
    path = write("limits: {attempts: 10}\ntasks: []")
    found = problems(
        path,
        ASTRO_LIMITS__ATTEMPTS="s3cret",
        ASTRO_TASKS__X="1",
        ASTRO_LOGGING__LEVEL="LOUD",
        ASTRO_STROE="x",
    )
    assert found == [
        "ASTRO_STROE: there is no such setting. Did you mean 'store'?",
        "ASTRO_TASKS__X: it goes into something that is no mapping",
        "ASTRO_LIMITS__ATTEMPTS: expected int",
        "ASTRO_LOGGING__LEVEL: expected one of DEBUG, INFO, WARNING, ERROR",
    ]


def test_variables_of_other_products_with_the_same_prefix_are_left_alone() -> None:
    assert read_settings(environ={"ASTRO_HOME": "/x", "ASTRO_API_TOKEN": "y"}) == Settings()


def test_relative_paths_belong_to_the_file_and_those_of_variables_to_the_shell(
    write: Write, tmp_path: Path
) -> None:
    path = write("workflows: [a.yaml]")
    assert read_settings(path, environ={}).workflows == (tmp_path / "a.yaml",)
    by_variable = read_settings(path, environ={"ASTRO_WORKFLOWS": '["b.yaml"]'})
    assert by_variable.workflows == (Path("b.yaml"),)


# --- Secrets -----------------------------------------------------------------------------------


def test_a_secret_is_never_shown(write: Write) -> None:
    path = write("agents: {r: {use: 'a:B', config: {key: '${env:KEY}'}}}")
    settings = read_settings(path, environ={"KEY": "s3cret"})
    assert "s3cret" not in repr(settings)
    assert "${env:KEY}" in repr(settings)


def test_a_secret_that_is_not_set_is_named(write: Write) -> None:
    path = write("store: {use: postgres, url: '${env:URL}'}")
    assert problems(path) == ["line 1, store.url: the variable URL is not set"]


def test_references_stand_alone_and_in_config_only(write: Write) -> None:
    path = write(
        """tasks: ["${env:TASKS}"]
agents:
  r:
    use: ${env:USE}
    config:
      key: Bearer ${env:KEY}
      list: ["${ENV:KEY}"]
"""
    )
    alone = "a reference stands alone: ${env:NAME}, without text around it"
    assert problems(path, KEY="s3cret") == [
        "line 1, tasks[0]: ${env:...} is for config only; set ASTRO_TASKS",
        "line 4, agents.r.use: ${env:...} is for config only; set ASTRO_AGENTS__R__USE",
        f"line 6, agents.r.config.key: {alone}",
        f"line 7, agents.r.config.list[0]: {alone}",
    ]


# --- Keys of the audited platform --------------------------------------------------------------


def test_local_execution_does_not_exist(write: Write) -> None:
    path = write("sandbox: {use: docker, allow_local_execution: true}")
    assert problems(path) == [
        "line 1, sandbox.allow_local_execution: 'allow_local_execution' does not exist: untrusted "
        "code runs in a sandbox or not at all"
    ]


def test_a_file_of_the_audited_platform_is_told_where_everything_went(write: Write) -> None:
    path = write(
        """database: {path: app.db}
security:
  jwt_secret: x
monitoring: {enabled: true}
workflows:
  max_concurrent: 10
  default_timeout: 3600
budget: {daily_limit: 5}
agents:
  - name: reviewer
    type: analysis
    capabilities: [review]
    max_concurrent_tasks: 3
"""
    )
    found = problems(path)
    assert [line.partition(": ")[0] for line in found] == [
        "line 1, database",
        "line 2, security",
        "line 4, monitoring",
        "line 6, workflows.max_concurrent",
        "line 7, workflows.default_timeout",
        "line 8, budget.daily_limit",
        "line 9, agents",
        "line 10, agents[0].name",
        "line 11, agents[0].type",
        "line 12, agents[0].capabilities",
        "line 13, agents[0].max_concurrent_tasks",
    ]
    assert found[-1].endswith("'max_concurrent_tasks' is now `limit`")


def test_a_mapping_of_workflows_has_no_place_in_settings(write: Write) -> None:
    path = write("workflows: {article: {tasks: []}}")
    assert problems(path) == ["line 1, workflows: expected a list of files, got a mapping"]


def test_the_reference_lists_every_key_that_went_elsewhere() -> None:
    page = (ROOT / "docs/reference/settings.md").read_text("utf-8")
    missing = [
        spelled
        for pattern, reason in ELSEWHERE.items()
        if f"| `{(spelled := '.'.join(pattern).replace('*', 'NAME'))}` | {reason} |" not in page
    ]
    assert missing == []


def test_the_example_of_the_reference_is_read(write: Write) -> None:
    text = block("reference/settings.md", "yaml", "lease_for")
    read_settings(write(text), environ={"REVIEW_KEY": "x"})
