"""The wire: frames of the supervisor, inside Docker's multiplexed stream, over one socket.

Read and written without a thread: the socket is not blocking, and whoever has to wait waits in
the event loop. A cancelled reader or writer leaves the wire between two bytes it knows of, so
that the next one goes on.
"""

from __future__ import annotations

import json
import socket
import struct
from collections.abc import Sequence
from contextlib import suppress
from typing import Any, Final

import anyio

__all__ = ["Frames", "Wire", "WireClosedError"]

_FRAME: Final = struct.Struct(">cI")
_DOCKER: Final = struct.Struct(">BxxxI")
_STDOUT: Final = 1
_READ: Final = 256 * 1024
_TOLD: Final = 4096  # bytes kept of what the supervisor says when it fails


class WireClosedError(Exception):
    """Raised when the other end is gone, or says what it cannot say."""


class Frames:
    """Takes Docker's stream apart, then the supervisor's frames. Pure.

    Attributes:
        told: The end of what came on the supervisor's standard error.
    """

    def __init__(self, cap: int) -> None:
        self._cap = cap
        self._raw = bytearray()
        self._inner = bytearray()
        self.told = b""

    def feed(self, data: bytes) -> None:
        """Take bytes as they come from the socket."""
        raw = self._raw
        raw += data
        place = 0
        while len(raw) - place >= _DOCKER.size:
            stream, size = _DOCKER.unpack_from(raw, place)
            end = place + _DOCKER.size + size
            if len(raw) < end:
                break
            part = raw[place + _DOCKER.size : end]
            if stream == _STDOUT:
                self._inner += part
            else:
                self.told = (self.told + part)[-_TOLD:]
            place = end
        del raw[:place]

    def next(self) -> tuple[bytes, bytes] | None:
        """Return the next whole frame, or None.

        Raises:
            WireClosedError: A frame is larger than any may be.
        """
        if len(self._inner) < _FRAME.size:
            return None
        kind, size = _FRAME.unpack_from(self._inner)
        if size > self._cap:
            raise WireClosedError("a frame is too large")
        end = _FRAME.size + size
        if len(self._inner) < end:
            return None
        payload = bytes(self._inner[_FRAME.size : end])
        del self._inner[:end]
        return kind, payload


class Wire:
    """One socket to one supervisor."""

    def __init__(self, end: socket.socket, keep: Sequence[Any], *, cap: int) -> None:
        self._socket = end
        self._keep = keep  # what holds the socket, and would close it when it is forgotten
        self._out = bytearray()
        self.frames = Frames(cap)
        end.setblocking(False)

    def put(self, kind: bytes, payload: bytes = b"") -> None:
        """Have a frame sent with the next `flush`."""
        self._out += _FRAME.pack(kind, len(payload)) + payload

    def ask(self, kind: bytes, **fields: Any) -> None:
        """Have a frame of JSON sent with the next `flush`."""
        self.put(kind, json.dumps(fields).encode())

    def try_flush(self) -> bool:
        """Send what can be sent at once; return whether that was everything.

        Raises:
            WireClosedError: The other end is gone.
        """
        while self._out:
            try:
                sent = self._socket.send(bytes(self._out[:_READ]))
            except BlockingIOError:
                return False
            except (OSError, ValueError) as error:
                raise WireClosedError(str(error)) from error
            del self._out[:sent]
        return True

    async def flush(self) -> None:
        """Send what waits.

        Raises:
            WireClosedError: The other end is gone.
        """
        while not self.try_flush():
            await anyio.wait_writable(self._socket)

    async def receive(self) -> tuple[bytes, bytes]:
        """Return the next frame.

        Raises:
            WireClosedError: The other end is gone.
        """
        while True:
            found = self.frames.next()
            if found is not None:
                return found
            try:
                data = self._socket.recv(_READ)
            except BlockingIOError:
                await anyio.wait_readable(self._socket)
                continue
            except (OSError, ValueError) as error:
                raise WireClosedError(str(error)) from error
            if not data:
                raise WireClosedError("it has ended")
            self.frames.feed(data)

    def receive_blocking(self, seconds: float) -> tuple[bytes, bytes]:
        """Return the next frame, in a thread.

        Raises:
            WireClosedError: The other end is gone, or says nothing for so long.
        """
        self._socket.settimeout(seconds)
        try:
            while (found := self.frames.next()) is None:
                data = self._socket.recv(_READ)
                if not data:
                    raise WireClosedError("it has ended")
                self.frames.feed(data)
            return found
        except OSError as error:
            raise WireClosedError(str(error)) from error
        finally:
            self._socket.setblocking(False)

    def close(self) -> None:
        """Hang up: the supervisor notices, and ends its container."""
        with suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        for held in (*self._keep, self._socket):
            with suppress(OSError, ValueError):  # closed by the one before
                held.close()
