"""The door: help, errors, exit codes, and what is loaded for them."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import click
import pytest

from astro import (
    AlreadyAnsweredError,
    AstroError,
    InvalidArgumentsError,
    KeyConflictError,
    RunFailedError,
    RunFinishedError,
    RunNotFoundError,
    SettingsError,
    StoreUnavailableError,
)
from astro.cli.outcome import Code, code_of
from astro.cli.root import COMMANDS
from astro.core.records import Failure
from astro.setup.plugins import load
from tests.cli.conftest import HOUSE, Astro
from tests.setup.pages import ROOT

SEEN = "\nimport json, sys; print(json.dumps(sorted(sys.modules)))"


def python(code: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-W", "error", "-c", code],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


def test_help_lists_every_command_without_loading_one() -> None:
    done = python("from astro.cli.root import run; run(['--help'])" + SEEN)
    *help, modules = done.stdout.splitlines()
    loaded = json.loads(modules)
    assert done.stderr == ""
    assert [name for name in COMMANDS if not any(f"  {name} " in line for line in help)] == []
    assert [name for name in loaded if name.split(".")[0] in ("anyio", "attrs", "rich")] == []
    assert [name for name in loaded if name.startswith("astro.engine")] == []


@pytest.mark.parametrize("name", COMMANDS)
def test_the_help_of_a_command_begins_as_the_list_says(astro: Astro, name: str) -> None:
    done = astro(f"{name} --help")
    assert done.code == Code.OK
    assert COMMANDS[name][1].rstrip(".") in " ".join(done.out.split())


@pytest.mark.parametrize("name", [name for name in COMMANDS if name not in ("db", "sandbox")])
def test_every_command_can_write_json(name: str) -> None:
    command: click.Command = load(COMMANDS[name][0])
    assert "as_json" in {parameter.name for parameter in command.params}


def test_the_module_is_the_command() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "astro", "--version"],
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    assert done.stdout.startswith("astro, version ")


def test_without_click_the_command_that_installs_it_is_printed() -> None:
    code = "import sys; sys.modules['click'] = None\nfrom astro.cli import main; main()"
    done = python(code)
    assert done.returncode == Code.USAGE
    assert "pip install 'astro-orchestrator[cli]'" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_command_that_does_not_exist_is_named_with_the_nearest(astro: Astro) -> None:
    done = astro("shw")
    assert (done.code, done.out) == (Code.USAGE, "")
    assert "Did you mean 'show'?" in done.err


def test_a_wrong_option_is_a_usage_error(astro: Astro) -> None:
    assert astro("ps --limit x").code == Code.USAGE
    assert astro("ps --limit x --json").json["error"]["exit_code"] == Code.USAGE


FAILURE = Failure(type="ValueError", message="no")
CODES: list[tuple[AstroError, Code]] = [
    (RunFailedError("r", FAILURE), Code.FAILED),
    (RunNotFoundError("r"), Code.NOT_FOUND),
    (StoreUnavailableError("x", remedy=""), Code.STORE),
    (KeyConflictError("k", "r"), Code.USAGE),
    (AlreadyAnsweredError("x", remedy=""), Code.USAGE),
    (RunFinishedError("r", "done"), Code.USAGE),
    (SettingsError("x", []), Code.USAGE),
    (InvalidArgumentsError("x", remedy=""), Code.USAGE),
]


@pytest.mark.parametrize(("error", "code"), CODES, ids=[type(e).__name__ for e, _ in CODES])
def test_an_error_has_its_exit_code(error: AstroError, code: Code) -> None:
    assert code_of(error) == code


def test_the_reference_lists_every_exit_code() -> None:
    page = (ROOT / "docs/reference/cli.md").read_text("utf-8")
    assert [code for code in Code if f"| {int(code)} |" not in page] == []


def test_the_reference_lists_every_command_and_option() -> None:
    page = (ROOT / "docs/reference/cli.md").read_text("utf-8")
    missing: list[str] = []
    for name in COMMANDS:
        command: Any = load(COMMANDS[name][0])
        inner = command.commands.values() if isinstance(command, click.Group) else [command]
        for one in inner:
            options = [o for p in one.params if isinstance(p, click.Option) for o in p.opts]
            missing += [f"{name} {option}" for option in options if f"`{option}" not in page]
    assert missing == []


def test_an_error_says_the_problem_and_the_remedy(astro: Astro) -> None:
    done = astro("ps")
    assert done.code == Code.STORE
    assert done.err.splitlines() == [
        "Error: There is no store at runs.db.",
        "Name one with --store sqlite:FILE.",
    ]


def test_an_error_is_a_result_with_json(astro: Astro) -> None:
    done = astro("ps --json")
    assert done.err == ""
    assert done.json["error"]["type"] == "StoreUnavailableError"


def test_looking_creates_no_store(astro: Astro, tmp_path: Path) -> None:
    astro("ps")
    assert list(tmp_path.iterdir()) == []


def test_a_damaged_file_is_no_store(astro: Astro, tmp_path: Path) -> None:
    (tmp_path / "runs.db").write_bytes(b"no database" * 1000)
    assert astro("ps").code == Code.STORE


def test_a_store_in_memory_shows_nothing_to_another_process(astro: Astro) -> None:
    assert "ends with its process" in astro("ps --store memory").err


def test_what_is_written_moves_no_cursor(astro: Astro) -> None:
    done = astro(f"run {HOUSE}:publish -i 'title=\x1b[2J' --no-wait")
    assert "\x1b" not in done.err
    assert "\\x1b[2J" in done.err


FAULTS: list[tuple[BaseException, int]] = [
    (KeyboardInterrupt(), Code.INTERRUPTED),
    (ExceptionGroup("", [ExceptionGroup("", [RunNotFoundError("r")])]), Code.NOT_FOUND),
]


@pytest.mark.parametrize(("fault", "code"), FAULTS, ids=["an interruption", "a group"])
def test_a_fault_becomes_an_exit_code(
    astro: Astro, monkeypatch: pytest.MonkeyPatch, fault: BaseException, code: int
) -> None:
    monkeypatch.setattr("astro.cli.root.load", lambda target: raising(fault))
    done = astro("ps")
    assert done.code == code
    assert "Traceback" not in done.err


def test_a_fault_of_astro_itself_keeps_its_traceback(
    astro: Astro, monkeypatch: pytest.MonkeyPatch
) -> None:
    fault = ExceptionGroup("", [ZeroDivisionError()])
    monkeypatch.setattr("astro.cli.root.load", lambda target: raising(fault))
    with pytest.raises(ExceptionGroup):
        astro("ps")


def raising(fault: BaseException) -> click.Command:
    @click.command()
    def command() -> None:
        raise fault

    return command


def test_output_that_nobody_reads_is_no_error(astro: Astro, greeted: str, tmp_path: Path) -> None:
    done = subprocess.run(
        f"{sys.executable} -m astro events {greeted} | true",
        shell=True,
        cwd=tmp_path,
        env={"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    assert done.stderr == ""
