"""What type checkers say of users' code: mypy strict and pyright strict.

In the snippets a line that must be rejected names mypy's codes after `E:`. For pyright the same
line carries an ignoring comment, and pyright is told to report those that ignore nothing.
"""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent
ROOT = HERE.parent.parent
SNIPPETS = sorted(file.name for file in HERE.glob("*.py") if not file.name.startswith("test_"))
PYRIGHT = Path(sys.executable).with_name("pyright")
PYRIGHT_COMMAND = [str(PYRIGHT), "--pythonpath", sys.executable, str(HERE)]

Found = set[tuple[str, int, str]]


def marked() -> Found:
    """Return file, line and code of every error that the snippets promise."""
    return {
        (name, number, code)
        for name in SNIPPETS
        for number, line in enumerate((HERE / name).read_text("utf-8").splitlines(), start=1)
        for codes in re.findall(r"# E: ([a-z, -]+?)(?:\s+#|$)", line)
        for code in codes.split(", ")
    }


@pytest.fixture(scope="module")
def found_by_mypy(request: pytest.FixtureRequest) -> Found:
    """Return file, line and code of every error that mypy finds in the snippets."""
    assert request.config.cache is not None
    cache = request.config.cache.mkdir("mypy")
    options = ["--strict", "--config-file=", "--follow-imports=silent", f"--cache-dir={cache}"]
    done = subprocess.run(
        [sys.executable, "-m", "mypy", *options, *(str(HERE / name) for name in SNIPPETS)],
        capture_output=True,
        text=True,
        check=False,
        cwd=ROOT,
        timeout=120,
    )
    assert done.returncode in (0, 1), done.stderr
    lines = re.findall(r"^(.+?):(\d+): error: .*\[([a-z-]+)\]$", done.stdout, re.MULTILINE)
    return {(Path(file).name, int(number), code) for file, number, code in lines}


@pytest.mark.parametrize("name", SNIPPETS)
def test_rule_44_mypy_finds_exactly_the_mistakes_that_a_snippet_marks(
    found_by_mypy: Found, name: str
) -> None:
    found = sorted(one for one in found_by_mypy if one[0] == name)
    assert found == sorted(one for one in marked() if one[0] == name)


def test_there_are_mistakes_to_find() -> None:
    assert len(marked()) >= 35


def test_pyright_accepts_what_is_right_and_finds_every_marked_mistake() -> None:
    try:
        done = subprocess.run(
            PYRIGHT_COMMAND, capture_output=True, text=True, check=False, cwd=ROOT, timeout=120
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        pytest.skip(f"pyright does not run here ({error}); run: {' '.join(PYRIGHT_COMMAND)}")
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_marked_mistake_is_one_for_pyright_too() -> None:
    marks = [
        f"{name}:{number}"
        for name in SNIPPETS
        for number, line in enumerate((HERE / name).read_text("utf-8").splitlines(), start=1)
        if ("# E:" in line) != ("# pyright: ignore" in line)
    ]
    assert marks == []
