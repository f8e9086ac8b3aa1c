"""The pages of the documentation, as tests read them: their blocks of code."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
_BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def blocks(page: str, language: str) -> list[str]:
    """Return the blocks of one language of a page, in order."""
    text = (ROOT / "docs" / page).read_text("utf-8")
    return [code for found, code in _BLOCK.findall(text) if found == language]


def block(page: str, language: str, mark: str) -> str:
    """Return the one block of a page in which a text occurs."""
    (found,) = (code for code in blocks(page, language) if mark in code)
    return found


def run_block(code: str, page: str) -> dict[str, Any]:
    """Run a block as a module of its own and return its names."""
    names: dict[str, Any] = {"__name__": f"page_{abs(hash(code))}"}
    exec(compile(code, page, "exec", dont_inherit=True), names)
    return names
