"""The parts of the soak, one after the other."""

from __future__ import annotations

import argparse
import os
import sys
from importlib import import_module

from soak.telling import SoakError, say, timed

PARTS = ("killing", "draining", "crashing", "powering", "simulating", "fuzzing")


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m soak", description=__doc__)
    parser.add_argument("part", nargs="*", choices=[*PARTS, []], help="all if left out")
    default = os.environ.get("ASTRO_SOAK_SHARE", "1")
    parser.add_argument("--share", type=float, default=float(default), help="1 is all of it")
    options = parser.parse_args()
    failed: list[str] = []
    for part in options.part or PARTS:
        with timed(part):
            try:
                import_module(f"soak.{part}").soak(options.share)
            except SoakError as error:
                failed.append(part)
                say(f"{part}: FAILED\n{error}")
    if failed:
        sys.exit(f"The soak has found something: {', '.join(failed)}")
    say("The soak has found nothing.")


if __name__ == "__main__":
    main()
