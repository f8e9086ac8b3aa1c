"""Every rule of what exactly happens has a test that is named after it."""

from __future__ import annotations

import re
from pathlib import Path

TESTS = Path(__file__).parents[1]
SUITES = TESTS.parent / "astro" / "testing" / "conformance"
NAMED = re.compile(r"^ *(?:async )?def test_rule_(\d\d)_\w+", re.MULTILINE)
RULES = range(1, 45)


def test_every_rule_has_a_test_of_its_own() -> None:
    found = {
        int(number)
        for path in (*TESTS.rglob("test_*.py"), *SUITES.rglob("*.py"))
        for number in NAMED.findall(path.read_text())
    }
    assert found == set(RULES)
