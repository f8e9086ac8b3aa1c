"""A desk: a process of its own at which one analyst reads files.

Analysis is work for a processor, and files can be wicked: at a desk neither holds up the event
loop, and whatever a file does to its reader ends with the desk. Sources come in as lines of JSON,
facts go out the same way, in order. A desk ends when nobody is left to bring it work.
"""

from __future__ import annotations

import contextlib
import gc
import os
import signal
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

import anyio
import msgspec
from anyio.abc import Process
from anyio.streams.buffered import BufferedByteReceiveStream

from examples.audit.analysis import analyse_file
from examples.audit.values import FileFacts, Source

__all__ = ["Desk", "DeskLostError", "open_desk", "surroundings"]

_LONGEST: Final = 8 * 1024 * 1024  # bytes of facts; `analysis` keeps them far below
_PATIENCE: Final = 20.0  # seconds that one file may take


class DeskLostError(Exception):
    """Raised when the process that read a file has ended, or took too long and was ended."""


class Desk:
    """One process that reads one file at a time.

    Attributes:
        pid: Of the process.
        usable: Whether the process waits for a file.
    """

    def __init__(self, process: Process) -> None:
        if process.stdin is None or process.stdout is None:
            raise ValueError("A desk needs pipes.")
        self.pid = process.pid
        self._sent = process.stdin
        self._received = BufferedByteReceiveStream(process.stdout)
        self.usable = True

    async def read(self, source: Source) -> FileFacts:
        """Return the facts of a file; only one caller at a time.

        Raises:
            DeskLostError: The process died of the file, or of something else.
        """
        # Whoever is interrupted here leaves an answer behind that belongs to nobody.
        self.usable = False
        try:
            with anyio.fail_after(_PATIENCE):
                await self._sent.send(msgspec.json.encode(source) + b"\n")
                line = await self._received.receive_until(b"\n", _LONGEST)
        except (anyio.IncompleteRead, anyio.BrokenResourceError) as error:
            raise DeskLostError("the process that read it has ended") from error
        except TimeoutError as error:
            raise DeskLostError(f"reading it took longer than {_PATIENCE:g} s") from error
        self.usable = True
        return msgspec.json.decode(line, type=FileFacts)


@asynccontextmanager
async def open_desk() -> AsyncIterator[Desk]:
    """Open a desk; leaving ends its process, whatever that is doing."""
    command = [sys.executable, "-m", "examples.audit.desk"]
    process = await anyio.open_process(command, stderr=None, env=surroundings())
    try:
        yield Desk(process)
    finally:
        with anyio.CancelScope(shield=True):
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            await process.aclose()


def surroundings() -> Mapping[str, str]:
    """Return the environment in which a child process finds the modules of this one."""
    here = str(Path(__file__).resolve().parents[2])
    inherited = os.environ.get("PYTHONPATH")
    return {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, (here, inherited)))}


def main() -> None:
    """Read files until nobody brings any more."""
    # Ctrl-C is meant for those who bring the work; when they go, the input ends.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    # Syntax trees have no cycles; looking for some in a million nodes costs half the time.
    gc.disable()
    decoder = msgspec.json.Decoder(Source)
    encoder = msgspec.json.Encoder()
    for line in sys.stdin.buffer:
        facts = analyse_file(decoder.decode(line))
        sys.stdout.buffer.write(encoder.encode(facts) + b"\n")
        sys.stdout.buffer.flush()


if __name__ == "__main__":
    main()
