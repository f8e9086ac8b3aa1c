"""The programs in the README and in the pages run as they stand."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.sandboxes.docker_here import needs_docker

ROOT = Path(__file__).parents[2]
BLOCK = re.compile(r"^```python\n(.*?)^```", re.MULTILINE | re.DOTALL)


def programs(page: str) -> list[str]:
    """Return the programs of a page; a block that imports anyio first begins a new one."""
    found: list[str] = []
    for block in BLOCK.findall((ROOT / page).read_text()):
        if found and not block.startswith("import anyio\nfrom astro"):
            found[-1] += "\n" + block
        else:
            found.append(block)
    return found


WITH_DOCKER = {"docs/how-to/sandbox.md"}
PAGES = [
    "README.md",
    "docs/index.md",
    "docs/tutorials/first-run.md",
    "docs/how-to/agents.md",
    "docs/how-to/budgets.md",
    "docs/how-to/crash-tests.md",
    "docs/how-to/doubles.md",
    "docs/how-to/pictures.md",
    "docs/how-to/sandbox.md",
]


@pytest.mark.parametrize(
    ("page", "number"), [(page, n) for page in PAGES for n in range(len(programs(page)))]
)
def test_a_program_of_a_page_runs_as_it_stands(page: str, number: int, tmp_path: Path) -> None:
    if page in WITH_DOCKER:
        needs_docker()
    program = programs(page)[number]
    if "anyio.run(main)" in program:
        # The main part comes last, whatever the page explains after it.
        program = program.replace("anyio.run(main)\n", "") + "\nanyio.run(main)\n"
    (tmp_path / "page.py").write_text(program.replace("anyio.sleep(1)", "anyio.sleep(0)"))
    done = subprocess.run(
        [sys.executable, "page.py"],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr


def test_the_readme_prints_what_it_says(tmp_path: Path) -> None:
    (tmp_path / "hello.py").write_text(programs("README.md")[0])
    for _ in range(2):
        done = subprocess.run(
            [sys.executable, "hello.py"],
            cwd=tmp_path,
            env=os.environ | {"PYTHONPATH": str(ROOT)},
            capture_output=True,
            text=True,
            timeout=60,
            check=True,
        )
        assert done.stdout == "['Good morning, Ada.', 'Good morning, Grace.']\n"
