"""The command line: `astro`, and `python -m astro`.

`root` is the door and says which command is where; nothing else is loaded before it is asked for.
Commands that look at runs or write to them open the store only; `running` alone opens an engine.
"""

from __future__ import annotations

import sys

from astro.core.errors import MissingExtraError

__all__ = ["main"]


def main() -> None:
    """Run the command that the arguments name, and exit with its code."""
    try:
        from astro.cli.root import run
    except ImportError as missing:
        if missing.name != "click":
            raise
        sys.stderr.write(f"{MissingExtraError('The command line', extra='cli')}\n")
        sys.exit(2)
    sys.exit(run(sys.argv[1:]))
