"""Output of a command: kept up to a cap, counted beyond it, refused when it is a flood."""

from __future__ import annotations

from typing import Final, Literal

from astro.core.sandbox import Chunk, Listener

__all__ = ["FloodError", "Output"]

_STREAMS: Final[dict[bytes, Literal["stdout", "stderr"]]] = {b"O": "stdout", b"P": "stderr"}


class FloodError(Exception):
    """Raised when a command writes more than is read at all."""


class Output:
    """What a command has written.

    Args:
        keep: Bytes that are kept of each stream.
        flood: Bytes of both together after which the command is ended.
        listen: Hears of it as it comes.

    Attributes:
        cut: Whether something of a stream was not kept.
        deaf: Whether the rest does not matter any more.
    """

    def __init__(self, keep: int, flood: int, listen: Listener | None) -> None:
        self._keep = keep
        self._left = flood
        self._listen = listen
        self.stdout = bytearray()
        self.stderr = bytearray()
        self.cut = {"stdout": False, "stderr": False}
        self.deaf = False

    def take(self, kind: bytes, data: bytes) -> None:
        """Take a part of a stream; other frames are nothing to it.

        Raises:
            FloodError: It is too much.
        """
        stream = _STREAMS.get(kind)
        if stream is None or self.deaf:
            return
        kept = self.stdout if stream == "stdout" else self.stderr
        room = self._keep - len(kept)
        kept += data[:room] if room > 0 else b""
        self.cut[stream] |= len(data) > room
        if self._listen is not None:
            self._listen(Chunk(stream, data))
        self._left -= len(data)
        if self._left < 0:
            raise FloodError
