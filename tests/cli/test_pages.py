"""The page on the command line: its commands, in order."""

from __future__ import annotations

from pathlib import Path

import pytest

from astro.cli.outcome import Code
from tests.cli.conftest import Astro
from tests.setup.pages import block, blocks

PAGE = "how-to/cli.md"


def test_the_commands_of_the_page_do_what_it_says(
    astro: Astro, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "house.py").write_text(block(PAGE, "python", "async def draft"))
    (tmp_path / "article.yaml").write_text(block(PAGE, "yaml", "capability"))
    run, said = "RUN", ""
    for line in "".join(blocks(PAGE, "console")).splitlines():
        if not line.startswith("$ astro "):
            assert said == f"{line}\n"
            continue
        done = astro(line.removeprefix("$ astro ").replace("RUN", run))
        said = done.out
        assert done.code == (Code.WAITING if "--key" in line else Code.OK), done.err
        if line == "$ astro ps":
            run = done.out.splitlines()[1].split()[0]
    assert (tmp_path / "article.svg").is_file()
