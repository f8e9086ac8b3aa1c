"""`astro db` and `astro doctor`: for those who operate."""

from __future__ import annotations

import sqlite3
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest

from astro.cli.outcome import Code
from tests.cli.conftest import Astro


def test_a_backup_is_a_store_of_its_own(astro: Astro, greeted: str, tmp_path: Path) -> None:
    assert astro("db backup copy.db").out == "copy.db\n"
    assert astro(f"show {greeted} --store sqlite:copy.db --json").json["state"] == "done"
    assert astro("db backup copy.db --json").code == Code.STORE


def test_pruning_removes_what_ended_long_ago(astro: Astro, greeted: str, asked: str) -> None:
    assert astro("db prune --older-than 30d").out == "Removed 0 runs.\n"
    assert astro("db prune --older-than 1ms --json").json == {"removed": 1}
    assert [run["id"] for run in astro("ps --json").json["runs"]] == [asked]
    assert astro("db prune --older-than soon").code == Code.USAGE


@pytest.mark.parametrize("nothing", ["0s", "0", "0d"])
def test_pruning_may_remove_whatever_has_ended(
    astro: Astro, greeted: str, asked: str, nothing: str
) -> None:
    assert astro(f"db prune --older-than {nothing}").out == "Removed 1 run.\n"
    assert [run["id"] for run in astro("ps --json").json["runs"]] == [asked]


def test_seconds_need_no_unit(astro: Astro, greeted: str) -> None:
    assert astro("db prune --older-than 3600").out == "Removed 0 runs.\n"


def test_a_sound_store_has_no_problems(astro: Astro, greeted: str) -> None:
    done = astro("db check")
    assert (done.code, done.out) == (Code.OK, "Checked 1 runs with 4 records.\n")


def test_a_changed_record_is_found(astro: Astro, greeted: str, tmp_path: Path) -> None:
    with sqlite3.connect(tmp_path / "runs.db") as db:
        db.execute("update entries set body = replace(body, 'Ada', 'Eve')")
    db.close()
    done = astro("db check --json")
    assert done.code == Code.FAILED
    assert len(done.json["problems"]) == 1


# --- Doctor ------------------------------------------------------------------------------------


def findings(astro: Astro) -> dict[str, dict[str, Any]]:
    return {one["name"]: one for one in astro("doctor --json").json["findings"]}


def test_the_doctor_names_what_is_there(astro: Astro) -> None:
    found = findings(astro)
    assert {"python", "astro", "sqlite", "docker", "store", "extra cli"} <= found.keys()
    assert found["store"]["said"] == "runs.db will be created by the first run"


def test_the_doctor_opens_the_store(astro: Astro, greeted: str, tmp_path: Path) -> None:
    assert findings(astro)["store"]["state"] == "ok"
    (tmp_path / "runs.db").write_bytes(b"no database" * 1000)
    found = findings(astro)["store"]
    assert (found["state"], found["remedy"]) == ("problem", "Restore the store from a backup.")
    assert astro("doctor").code == Code.FAILED


def test_the_doctor_reports_settings_that_are_wrong(astro: Astro, tmp_path: Path) -> None:
    (tmp_path / "astro.yaml").write_text("stroe: x")
    assert "Did you mean 'store'?" in findings(astro)["settings"]["said"]


def test_the_doctor_warns_of_an_old_sqlite(astro: Astro, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sqlite3, "sqlite_version_info", (3, 40, 1))
    assert findings(astro)["sqlite"]["state"] == "warning"
    monkeypatch.setattr(sqlite3, "sqlite_version_info", (3, 51, 3))
    assert findings(astro)["sqlite"]["state"] == "ok"
    monkeypatch.setattr(sqlite3, "sqlite_version_info", (3, 30, 0))
    assert findings(astro)["sqlite"]["state"] == "problem"


def test_the_doctor_names_the_command_that_installs_an_extra(
    astro: Astro, monkeypatch: pytest.MonkeyPatch
) -> None:
    requires = ["anyio>=4", "nowhere-to-be-found>=1; extra == 'web'", 'click; extra == "cli"']
    monkeypatch.setattr(metadata, "requires", lambda name: requires)
    found = findings(astro)
    assert found["extra web"]["remedy"] == "Run: pip install 'astro-orchestrator[web]'"
    assert found["extra cli"]["state"] == "ok"


def test_the_doctor_finds_another_package_called_astro(
    astro: Astro, monkeypatch: pytest.MonkeyPatch
) -> None:
    owners = {"astro": ["astro_orchestrator", "astro-sdk-python"]}
    monkeypatch.setattr(metadata, "packages_distributions", lambda: owners)
    found = findings(astro)["package astro"]
    assert found["state"] == "problem"
    assert "pip uninstall astro-sdk-python" in found["remedy"]


class Docker:
    """A client of a Docker that answers, or does not."""

    def __init__(self, error: Exception | None = None) -> None:
        self._error = error
        self.closed = False

    def version(self) -> dict[str, str]:
        if self._error is not None:
            raise self._error
        return {"Version": "29.0"}

    def close(self) -> None:
        self.closed = True


@pytest.mark.parametrize(
    ("client", "state", "said"),
    [
        (Docker(), "ok", "29.0"),
        (Docker(OSError("refused\nand more")), "missing", "not reachable: refused"),
    ],
)
def test_the_doctor_asks_docker(
    astro: Astro, monkeypatch: pytest.MonkeyPatch, client: Docker, state: str, said: str
) -> None:
    monkeypatch.setenv("DOCKER_HOST", "tcp://127.0.0.1:9")
    monkeypatch.setattr("docker.from_env", lambda **options: client)
    found = findings(astro)["docker"]
    assert (found["state"], found["said"], client.closed) == (state, said, True)


def test_the_doctor_names_the_socket_that_is_not_there(
    astro: Astro, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DOCKER_HOST", "unix:///nowhere/docker.sock")
    assert findings(astro)["docker"]["said"] == "there is no socket /nowhere/docker.sock"


def test_a_store_of_somebody_else_is_maintained_elsewhere(
    astro: Astro, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tests.setup.house.ThirdPartyStore.prune", None, raising=False)
    monkeypatch.delattr("astro.stores.memory.MemoryStore.prune")
    monkeypatch.delattr("tests.setup.house.ThirdPartyStore.prune")
    monkeypatch.setenv("ASTRO_STORE__URL", "x")
    done = astro("db prune --older-than 1d --store tests.setup.house:ThirdPartyStore")
    assert done.code == Code.USAGE
