"""What importing ASTRO costs: only what is used of it, and nothing outside the process."""

from __future__ import annotations

import json
import subprocess
import sys
import textwrap
from typing import Any

import pytest

WATCHED = """
import json, os, sys

seen = []

def watch(event, args):
    if event == "open":
        path, mode, flags = args
        writes = flags is not None and flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT)
        if writes or (mode is not None and set(mode) & set("wax+")):
            seen.append(f"open {path} {mode}")
    elif event.startswith(("socket.", "subprocess.", "os.fork", "os.exec", "os.system", "urllib.")):
        seen.append(event)

sys.addaudithook(watch)
before = set(sys.modules)
"""
TOLD = "\nprint(json.dumps({'loaded': sorted(set(sys.modules) - before), 'seen': seen}))"
HELLO = "from astro import LocalEngine, SqliteStore, task"
ON_FIRST_USE = ("docker", "tenacity", "requests", "urllib3")
OPTIONAL = ("ruamel", "click", "rich", "trio", "hypothesis", "pytest", "httpx", "starlette")


def told_by(code: str) -> dict[str, Any]:
    """Return what a fresh Python has loaded and done because of some code."""
    done = subprocess.run(
        [sys.executable, "-B", "-W", "error", "-c", WATCHED + textwrap.dedent(code) + TOLD],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    told: dict[str, Any] = json.loads(done.stdout)
    return told


@pytest.fixture(scope="module")
def hello() -> dict[str, Any]:
    return told_by(HELLO)


@pytest.fixture(scope="module")
def alone() -> dict[str, Any]:
    return told_by("import astro")


@pytest.mark.parametrize("package", ON_FIRST_USE + OPTIONAL)
def test_the_first_import_of_the_manual_loads_no_optional_or_heavy_package(
    hello: dict[str, Any], package: str
) -> None:
    assert package not in {name.partition(".")[0] for name in hello["loaded"]}


@pytest.mark.parametrize("room", ["cli", "web", "notebook", "setup", "testing", "agents"])
def test_the_first_import_of_the_manual_loads_no_room_that_was_not_asked_for(
    hello: dict[str, Any], room: str
) -> None:
    assert [name for name in hello["loaded"] if name.startswith(f"astro.{room}")] == []


def test_importing_writes_no_file_starts_no_process_and_opens_no_socket(
    hello: dict[str, Any],
) -> None:
    assert hello["seen"] == []


def test_importing_astro_alone_loads_nothing_but_its_front_door(alone: dict[str, Any]) -> None:
    assert [name for name in alone["loaded"] if name.startswith("astro")] == ["astro"]


def test_importing_astro_alone_loads_no_package_of_others(alone: dict[str, Any]) -> None:
    standard = sys.stdlib_module_names | {"astro"}
    assert {name.partition(".")[0] for name in alone["loaded"]} <= standard


def test_a_name_is_looked_up_once() -> None:
    told = told_by(
        """
        import astro
        assert "task" not in vars(astro)
        assert astro.task is vars(astro)["task"]
        """
    )
    assert "astro.engine.local" not in told["loaded"]


def test_importing_one_part_does_not_load_the_engine() -> None:
    loaded = told_by("from astro import Retry, task")["loaded"]
    assert [name for name in loaded if name.startswith(("astro.engine", "astro.stores"))] == []


def test_importing_leaves_the_logging_of_the_host_alone() -> None:
    told_by(
        f"""
        import logging
        {HELLO}
        assert logging.getLogger().handlers == []
        assert logging.getLogger("astro").level == logging.NOTSET
        """
    )


def test_importing_leaves_signals_and_warnings_of_the_host_alone() -> None:
    told_by(
        f"""
        import signal, warnings
        was = [signal.getsignal(s) for s in signal.valid_signals()], list(warnings.filters)
        {HELLO}
        now = [signal.getsignal(s) for s in signal.valid_signals()], list(warnings.filters)
        assert was == now
        """
    )
