"""The command line, called in this process, in a folder of its own."""

from __future__ import annotations

import json
import logging
import re
import shlex
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import attrs
import pytest

pytest.importorskip("click", reason="run: pip install 'astro-orchestrator[cli]'")

from astro.cli.root import run

HOUSE = "tests.cli.house"


@attrs.frozen
class Done:
    """What a command has written, and its exit code."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


Astro = Callable[[str], Done]


@pytest.fixture
def astro(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> Iterator[Astro]:
    """Return what runs `astro ARGUMENTS` in an empty folder."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delenv("ASTRO_SETTINGS", raising=False)
    logger = logging.getLogger("astro")
    kept = logger.handlers[:], logger.level, logger.propagate

    def astro(command: str) -> Done:
        capsys.readouterr()
        code = run(shlex.split(command))
        written = capsys.readouterr()
        return Done(int(code), written.out, written.err)

    yield astro
    logger.handlers[:], logger.level, logger.propagate = kept


@pytest.fixture
def asked(astro: Astro) -> str:
    """Return the id of a run that waits for an answer."""
    return str(astro(f"run {HOUSE}:publish -i title=Fusion --json").json["run"])


@pytest.fixture
def greeted(astro: Astro) -> str:
    """Return the id of a run that is done."""
    return str(astro(f"run {HOUSE}:greet -i name=Ada --json").json["run"])


def without_numbers(text: str) -> str:
    """Return text in which ids, times and moments are the same every time."""
    text = re.sub(r"\b[0-9a-f]{32}\b", "RUN", text)
    text = re.sub(r"\d\d:\d\d:\d\d(\.\d+)?", "TIME", text)
    return re.sub(r":[0-9a-f]{24}\.", ":HASH.", text)
