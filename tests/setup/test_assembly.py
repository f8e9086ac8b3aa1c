"""Assembly: settings become the parts of an engine, or a list of what is wrong."""

from __future__ import annotations

import sys
from collections.abc import Callable
from datetime import timedelta
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest

from astro import Context, RunFailedError, SettingsError, SqliteStore, open_engine, task
from astro.setup import plugins
from astro.setup.assembly import Assembly, assemble, gather, store_file, store_of
from astro.setup.settings import (
    AgentSettings,
    PartSettings,
    Settings,
    draft_settings,
    read_settings,
)
from tests.setup import house

HOUSE = "tests.setup.house"
MEMORY = PartSettings(use="memory")


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
def write(tmp_path: Path) -> Callable[[str], Path]:
    """Return what writes a file of settings."""

    def write(text: str) -> Path:
        (tmp_path / "astro.yaml").write_text(text, "utf-8")
        return tmp_path / "astro.yaml"

    return write


def problems(settings: Settings) -> list[str]:
    with pytest.raises(SettingsError) as caught:
        assemble(settings)
    return list(caught.value.problems)


def gathered(settings: Settings) -> Assembly:
    report = settings.report.copy()
    found = gather(settings, report)
    assert report.problems == []
    return found


def agents_of(**agents: AgentSettings) -> dict[str, Any]:
    parts = gathered(Settings(store=MEMORY, agents=agents)).parts
    return {part.name: part for part in parts}


# --- Parts -------------------------------------------------------------------------------------


def test_a_module_offers_its_tasks_workflows_and_agents_once() -> None:
    settings = Settings(store=MEMORY, tasks=(HOUSE, f"{HOUSE}:greet"))
    assert gathered(settings).parts == (house.greet, house.review, house.polite, house.flow)


def test_an_agent_is_made_of_its_config() -> None:
    config = {
        "style": "ornate",
        "patience": "1m",
        "models": [{"name": "small", "temperature": 1}],
        "words": ["a", "a"],
    }
    found = agents_of(rev=AgentSettings(use=f"{HOUSE}:Reviewer", config=config, limit=3, cost=0.5))
    reviewer = found["rev"]
    assert reviewer.config == house.Reviewer.Config(
        style="ornate",
        patience=timedelta(minutes=1),
        models=[house.Reviewer.Model(name="small", temperature=1.0)],
        words=frozenset({"a"}),
    )
    assert (reviewer.limit, reviewer.cost) == (3, 0.5)


def test_agents_of_one_class_form_a_pool() -> None:
    use = f"{HOUSE}:Plain"
    assert sorted(agents_of(a=AgentSettings(use=use), b=AgentSettings(use=use))) == ["a", "b"]


def test_a_function_agent_takes_the_name_that_the_settings_give_it() -> None:
    found = agents_of(kind=AgentSettings(use=f"{HOUSE}:polite", limit=2))
    assert found["kind"].limit == 2
    assert house.polite.name == "polite"


def test_every_mistake_in_a_config_is_reported_with_line_and_path(
    write: Callable[[str], Path],
) -> None:
    path = write(
        f"""store: memory
agents:
  rev:
    use: {HOUSE}:Reviewer
    config:
      style: ornat
      port: ${{env:PORT}}
      patience: soon
      modls: []
      models:
        - temperature: -1
        - 7
"""
    )
    assert problems(draft_settings(path, environ={"PORT": "s3cret"})) == [
        "line 6, agents.rev.config.style: expected one of plain, ornate, got 'ornat'. "
        "Did you mean 'ornate'?",
        "line 7, agents.rev.config.port: expected int; PORT holds something else",
        "line 8, agents.rev.config.patience: 'soon' is no duration. Write seconds, or 30s, 5m, "
        "1h30m, 2d.",
        "line 9, agents.rev.config.modls: 'modls' is unknown here. Did you mean 'models'?",
        "line 11, agents.rev.config.models[0]: 'name' is missing",
        "line 11, agents.rev.config.models[0].temperature: 'temperature' must be >= 0.0: -1.0",
        "line 12, agents.rev.config.models[1]: expected a mapping of name, temperature, got 7",
    ]


def test_mistakes_of_structure_and_of_parts_are_reported_together(
    write: Callable[[str], Path],
) -> None:
    path = write("store: memori\nlimits: {attempts: 0}\ntasks: [tests.setup.hous]\n")
    assert problems(draft_settings(path, environ={})) == [
        "line 1, store: nothing installed is called 'memori' in astro.stores, which has memory, "
        "sqlite. Did you mean 'memory'? Another part is written package.module:Name",
        "line 2, limits.attempts: 'attempts' must be >= 1: 0",
        "line 3, tasks[0]: there is no module 'tests.setup.hous'. Did you mean "
        "'tests.setup.house'?",
    ]


def test_a_secret_reaches_the_config_as_text_or_as_what_its_field_wants(
    write: Callable[[str], Path],
) -> None:
    path = write(
        f"""store: memory
agents: {{rev: {{use: "{HOUSE}:Reviewer", config: {{key: "${{env:KEY}}", port: "${{env:PORT}}"}}}}}}
"""
    )
    settings = read_settings(path, environ={"KEY": "123", "PORT": "8080"})
    (reviewer,) = gathered(settings).parts
    assert (reviewer.config.key, reviewer.config.port) == ("123", 8080)


def test_a_constructor_that_fails_tells_why_but_no_secret(write: Callable[[str], Path]) -> None:
    path = write(
        f"""agents:
  a: {{use: "{HOUSE}:Fragile", config: {{key: "plain"}}}}
  b: {{use: "{HOUSE}:Fragile", config: {{key: "${{env:KEY}}"}}}}
"""
    )
    first, second = problems(draft_settings(path, environ={"KEY": "s3cret"}))
    assert first.endswith("making it fails with OSError: no server takes plain")
    assert "s3cret" not in second


@pytest.mark.parametrize(
    ("agent", "problem"),
    [
        (AgentSettings(use=f"{HOUSE}:Plain", config={"a": 1}), "it declares no `Config`"),
        (AgentSettings(use=f"{HOUSE}:polite", config={"a": 1}), "takes no config"),
        (AgentSettings(use=f"{HOUSE}:nothing"), "it is no class"),
        (AgentSettings(use=f"{HOUSE}:ThirdPartyStore", config={"url": "x"}), "making it fails"),
        (AgentSettings(use=f"{HOUSE}:Nameless"), "the agent calls itself 'Nameless'"),
        (AgentSettings(use=f"{HOUSE}:Reviwer"), "Did you mean 'Reviewer'?"),
        (AgentSettings(use="reviewer"), "nothing installed is called 'reviewer' in astro.agents"),
    ],
)
def test_what_is_no_agent_is_refused(agent: AgentSettings, problem: str) -> None:
    (found,) = problems(Settings(store=MEMORY, agents={"a": agent}))
    assert problem in found


def test_workflows_come_from_files_with_all_their_mistakes(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text("hello: {tasks: [{id: x, capability: greet}]}\n")
    (tmp_path / "b.yaml").write_text("hello: {tasks: [{id: x, capabilty: greet}]}\n")
    settings = Settings(store=MEMORY, tasks=(HOUSE,), workflows=(tmp_path / "a.yaml",))
    assert [part.name for part in gathered(settings).parts] == [
        "greet", "review", "polite", "flow", "hello",
    ]  # fmt: skip
    found = problems(Settings(store=MEMORY, workflows=(tmp_path / "b.yaml", tmp_path / "c.yaml")))
    assert "b.yaml, line 1, hello.tasks[0].capabilty" in found[0]
    assert found[-1].endswith("c.yaml, it cannot be read: No such file or directory")


# --- Stores ------------------------------------------------------------------------------------


@pytest.mark.anyio
async def test_a_sqlite_store_is_relative_to_the_file_of_settings(
    write: Callable[[str], Path], tmp_path: Path
) -> None:
    settings = read_settings(write("store: sqlite:a.db"), environ={})
    assert store_file(settings) == tmp_path / "a.db"
    async with store_of(settings) as store:
        assert isinstance(store, SqliteStore)
    assert (tmp_path / "a.db").is_file()


def test_a_store_that_is_no_file_has_none() -> None:
    assert store_file(Settings(store=MEMORY)) is None


@pytest.mark.parametrize(
    ("store", "problem"),
    [
        ({"use": "sqlite"}, "'path' is missing"),
        ({"use": "sqlite:"}, "sqlite takes an argument after the colon"),
        ({"use": "sqlite:a.db", "config": {"synchronous": "OFF"}}, "one of FULL, NORMAL"),
        ({"use": "sqlite:a.db", "config": {"readers": 0}}, "'readers' must be >= 1"),
        ({"use": f"{HOUSE}:ThirdPartyStore"}, "'url' is missing"),
    ],
)
def test_a_store_that_cannot_be_made_is_refused(store: dict[str, Any], problem: str) -> None:
    with pytest.raises(SettingsError, match=problem):
        store_of(Settings(store=PartSettings(**store)))


def test_a_store_of_somebody_else_is_named_by_its_module() -> None:
    part = PartSettings(use=f"{HOUSE}:ThirdPartyStore", config={"url": "x"})
    store = store_of(Settings(store=part))
    assert isinstance(store, house.ThirdPartyStore)
    assert store.config.url == "x"


def test_naming_a_store_loads_no_other_one() -> None:
    import subprocess

    code = (
        "import sys\n"
        "from astro.setup.plugins import STORES, find\n"
        "from astro.setup.builtin import MemoryConfig\n"
        "find(STORES, 'memory')(MemoryConfig())\n"
        "assert 'aiosqlite' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)


# --- Plug-ins ----------------------------------------------------------------------------------


class Entry:
    """An entry point of an installed package."""

    def __init__(self, name: str, load: Callable[[], Any]) -> None:
        self.name = name
        self.load = load


@pytest.fixture
def installed(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Return what installs entry points."""

    def install(**groups: list[Entry]) -> None:
        monkeypatch.setattr(
            metadata, "entry_points", lambda *, group: groups.get(group.partition(".")[2], [])
        )

    return install


def broken() -> Any:
    raise ImportError("its own dependency is missing")


def test_only_the_entry_point_that_is_asked_for_is_loaded(
    installed: Callable[..., None],
) -> None:
    installed(stores=[Entry("redis", lambda: house.ThirdPartyStore), Entry("other", broken)])
    assert plugins.names(plugins.STORES) == ["memory", "other", "redis", "sqlite"]
    store = store_of(Settings(store=PartSettings(use="redis:localhost")))
    assert isinstance(store, house.ThirdPartyStore)
    assert store.config.url == "localhost"


def test_an_entry_point_that_fails_to_load_says_why(installed: Callable[..., None]) -> None:
    installed(agents=[Entry("writer", broken)])
    (found,) = problems(Settings(store=MEMORY, agents={"w": AgentSettings(use="writer")}))
    assert found.endswith("loading writer fails with ImportError: its own dependency is missing")


def test_an_own_store_is_not_replaced_by_an_installed_one(
    installed: Callable[..., None],
) -> None:
    installed(stores=[Entry("memory", broken)])
    assert store_of(Settings(store=MEMORY)) is not None


@pytest.mark.parametrize(
    ("target", "problem"),
    [
        ("astro.core.policy", "is not of the form package.module:Name"),
        ("folder/runs.db", "package.module:Name; a file of SQLite is sqlite:folder/runs.db"),
        ("astro.core.policy:Limit", "astro.core.policy has no 'Limit'. Did you mean 'Limits'?"),
        ("astro.cor.policy:Limits", "Did you mean 'astro.core'?"),
        ("asto:Limits", "Did you mean 'astro'?"),
        ("pkg/tasks.py:greet", "'pkg/tasks.py' is a file. Name the module: pkg.tasks"),
    ],
)
def test_what_cannot_be_loaded_is_named_with_the_nearest(target: str, problem: str) -> None:
    with pytest.raises(SettingsError) as caught:
        plugins.load(target)
    assert problem in caught.value.problems[0]


def test_a_module_that_misses_another_one_is_not_called_unknown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "needs_more.py").write_text("import nowhere_to_be_found")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(SettingsError, match="ModuleNotFoundError: No module named 'nowhere"):
        plugins.load_module("needs_more")


# --- Engines -----------------------------------------------------------------------------------


@task
async def own(ctx: Context) -> str:
    return await ctx.call(house.review, "text")


@pytest.mark.anyio
async def test_an_engine_is_opened_from_a_file(write: Callable[[str], Path]) -> None:
    path = write(
        f"""store: sqlite:runs.db
tasks: ["{HOUSE}:greet"]
agents: {{rev: {{use: "{HOUSE}:Reviewer", config: {{style: ornate}}}}}}
logging: {{level: INFO}}
"""
    )
    async with open_engine(path, own, environ={}) as engine:
        assert await engine.run(house.greet, "Ada") == "Good morning, Ada."
        assert await engine.run(own) == "ornate: text"


@pytest.mark.anyio
async def test_a_budget_of_the_settings_holds_for_every_run(write: Callable[[str], Path]) -> None:
    path = write(f"store: memory\ntasks: ['{HOUSE}:greet']\nbudget: {{calls: 0}}")
    async with open_engine(path, environ={}) as engine:
        with pytest.raises(RunFailedError, match="BudgetExceeded"):
            await engine.run(house.greet, "Ada")


@pytest.mark.anyio
async def test_a_part_that_the_engine_does_not_take_is_refused(
    write: Callable[[str], Path],
) -> None:
    path = write("store: memory\nexecutor: process")
    with pytest.raises(SettingsError, match="executor"):
        async with open_engine(path, environ={}):
            raise AssertionError
