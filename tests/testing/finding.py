"""Finding: suites for authors, on parts that are broken on purpose, in a pytest of its own."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

__all__ = ["found_by_suite"]

ROOT = Path(__file__).parents[2]


def found_by_suite(
    module: str, sound: type[Any], broken: Mapping[str, type[Any]], folder: Path
) -> Mapping[str, set[str]]:
    """Return the tests that fail, by class.

    All are run on the sound part; on a broken one those that are meant to find it.

    Args:
        module: Which has the classes.
        sound: A suite whose part keeps every promise.
        broken: Suites whose parts do not; `found_by` names the tests meant for each.
    """
    file = folder / "test_broken.py"
    lines = [
        f"from {module} import {', '.join([*broken, sound.__name__])}",
        *(f"class Test{name}({name}): pass" for name in broken),
    ]
    file.write_text("\n".join(lines))
    options = ["-c", str(ROOT / "pyproject.toml"), "-p", "no:cacheprovider", "-rf", "--tb=no"]
    meant = [f"Test{name}::{test}" for name, kind in broken.items() for test in kind.found_by]
    tests = [f"{file}::{test}" for test in (sound.__name__, *meant)]
    ran = subprocess.run(
        [sys.executable, "-m", "pytest", *options, *tests],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert ran.returncode == 1, ran.stdout + ran.stderr
    found: dict[str, set[str]] = {name: set() for name in (*broken, sound.__name__)}
    for name, test in re.findall(r"^FAILED \S*::(\w+)::(\w+)", ran.stdout, re.MULTILINE):
        found[name if name in found else name.removeprefix("Test")].add(test)
    return found
