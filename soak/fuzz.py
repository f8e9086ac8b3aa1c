"""Fuzzing one target: `python -m soak.fuzz TARGET FOLDER... [-option=value ...]`.

The options are libFuzzer's. It needs atheris: the group `soak` of pyproject.toml, in a virtual
environment of its own.
"""

from __future__ import annotations

import sys
from importlib import import_module

import atheris


def main() -> None:
    with atheris.instrument_imports(include=["astro", "ruamel"]):
        targets = import_module("soak.targets").TARGETS
    name = sys.argv.pop(1)
    atheris.Setup(sys.argv, targets[name])
    atheris.Fuzz()


if __name__ == "__main__":
    main()
