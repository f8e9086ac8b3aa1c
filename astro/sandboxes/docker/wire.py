"""The wire: frames of the supervisor, inside Docker's multiplexed stream, over one socket.

Read and written without a thread: the socket is not blocking, and whoever has to wait waits in
the event loop. A cancelled reader or writer leaves the wire between two bytes it knows of, so
that the next one goes on. However much comes, no more than one frame of it is held, and others
have their turn at the event loop.
"""

from __future__ import annotations

import json
import select
import socket
import struct
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from itertools import islice
from typing import Any, Final

import anyio
import anyio.lowlevel

__all__ = ["Frames", "Wire", "WireClosedError"]

_FRAME: Final = struct.Struct(">cI")
_DOCKER: Final = struct.Struct(">BxxxI")
_STDOUT: Final = 1
_READ: Final = 256 * 1024
_TOLD: Final = 4096  # bytes kept of what the supervisor says when it fails
_ROW: Final = 64  # frames and reads in a row before others have their turn
_SLICES: Final = 60  # reads that a greeting may take
_BUFFERS: Final = 64  # frames that are sent at once

_KIB: Final = 1024
_CAPS: Final = {
    b"Y": 64 * _KIB,
    b"O": 64 * _KIB,
    b"P": 64 * _KIB,
    b"X": 4 * _KIB,
    b"D": 1024 * _KIB,
}


class WireClosedError(Exception):
    """Raised when the other end is gone, or says what it cannot say."""


class Frames:
    """Takes Docker's stream apart, then the supervisor's frames. Pure.

    Args:
        cap: Bytes that a file may take; other frames are smaller.

    Attributes:
        told: The end of what came on the supervisor's standard error.
    """

    def __init__(self, cap: int) -> None:
        self._caps = {**_CAPS, b"F": cap}
        self._head = bytearray()
        self._stream = 0
        self._left = 0  # of a part of Docker's stream
        self._inner = bytearray()
        self.told = b""

    def feed(self, data: bytes) -> None:
        """Take bytes as they come from the socket."""
        place = 0
        while place < len(data):
            if self._left:
                part = data[place : place + self._left]
                place += len(part)
                self._left -= len(part)
                if self._stream == _STDOUT:
                    self._inner += part
                else:
                    self.told = (self.told + part[-_TOLD:])[-_TOLD:]
                continue
            part = data[place : place + _DOCKER.size - len(self._head)]
            place += len(part)
            self._head += part
            if len(self._head) == _DOCKER.size:
                self._stream, self._left = _DOCKER.unpack(self._head)
                self._head.clear()

    def next(self) -> tuple[bytes, bytes] | None:
        """Return the next whole frame, or None.

        Raises:
            WireClosedError: There is no such frame, or it is larger than any may be.
        """
        if len(self._inner) < _FRAME.size:
            return None
        kind, size = _FRAME.unpack_from(self._inner)
        if kind not in self._caps:
            raise WireClosedError("it talks nonsense")
        if size > self._caps[kind]:
            raise WireClosedError("a frame is too large")
        end = _FRAME.size + size
        if len(self._inner) < end:
            return None
        with memoryview(self._inner) as view:
            payload = bytes(view[_FRAME.size : end])
        del self._inner[:end]
        return kind, payload

    @property
    def empty(self) -> bool:
        """Whether nothing waits to be taken, not even a part of a frame."""
        return not self._inner


class Wire:
    """One socket to one supervisor."""

    def __init__(self, end: socket.socket, keep: Sequence[Any], *, cap: int) -> None:
        self._socket = end
        self._keep = keep  # what holds the socket, and would close it when it is forgotten
        self._out: deque[bytes] = deque()
        self._sent = 0  # bytes of the first of them
        self._row = 0
        self._waiting = 0
        self._closed = False
        self.frames = Frames(cap)
        end.setblocking(False)

    def put(self, kind: bytes, payload: bytes = b"") -> None:
        """Have a frame sent with the next `flush`."""
        self._out.append(_FRAME.pack(kind, len(payload)) + payload)

    def ask(self, kind: bytes, **fields: Any) -> None:
        """Have a frame of JSON sent with the next `flush`."""
        self.put(kind, json.dumps(fields).encode())

    def forget(self, *kinds: bytes) -> None:
        """Do not send frames of these kinds that wait; one that has begun to leave is sent."""
        begun = [self._out.popleft()] if self._sent else []
        self._out = deque([*begun, *(one for one in self._out if one[:1] not in kinds)])

    def try_flush(self) -> bool:
        """Send what can be sent at once; return whether that was everything.

        Raises:
            WireClosedError: The other end is gone.
        """
        while self._out:
            first, *more = islice(self._out, _BUFFERS)
            try:
                sent = self._socket.sendmsg([memoryview(first)[self._sent :], *more])
            except BlockingIOError:
                return False
            except (OSError, ValueError) as error:
                raise WireClosedError(str(error)) from error
            self._sent += sent
            while self._out and self._sent >= len(self._out[0]):
                self._sent -= len(self._out.popleft())
        return True

    async def flush(self) -> None:
        """Send what waits.

        Raises:
            WireClosedError: The other end is gone.
        """
        while not self.try_flush():
            await self._wait(anyio.wait_writable)

    async def receive(self) -> tuple[bytes, bytes]:
        """Return the next frame.

        Raises:
            WireClosedError: The other end is gone, or talks nonsense.
        """
        while True:
            if self._row >= _ROW:
                self._row = 0
                await anyio.lowlevel.checkpoint()  # before a frame is taken, or it would be lost
            self._row += 1
            found = self.frames.next()
            if found is not None:
                return found
            if not self._read():
                self._row = 0
                await self._wait(anyio.wait_readable)

    def require_quiet(self) -> None:
        """Return if nothing has come that nobody has asked for.

        Raises:
            WireClosedError: The other end is gone, or speaks without being asked.
        """
        for _ in range(_SLICES):
            if not self.frames.empty or not self._read():
                break
        if not self.frames.empty:
            raise WireClosedError("it speaks without being asked")

    def _read(self) -> bool:
        """Take what has come; return whether there was something."""
        try:
            data = self._socket.recv(_READ)
        except BlockingIOError:
            return False
        except (OSError, ValueError) as error:
            raise WireClosedError(str(error)) from error
        if not data:
            raise WireClosedError("it has ended")
        self.frames.feed(data)
        return True

    async def _wait(self, until: Callable[[socket.socket], Awaitable[None]]) -> None:
        """Wait for the socket, which nobody takes away meanwhile: `close` leaves that to us."""
        self._waiting += 1
        try:
            if self._closed:
                raise WireClosedError("it was closed")
            await until(self._socket)
        finally:
            self._waiting -= 1
            if self._closed:
                self.close()

    def receive_blocking(self, seconds: float) -> tuple[bytes, bytes]:
        """Return the next frame, in a thread.

        Raises:
            WireClosedError: The other end is gone, or takes longer than that.
        """
        poll = select.poll()
        poll.register(self._socket, select.POLLIN)
        for _ in range(_SLICES):
            found = self.frames.next()
            if found is not None:
                return found
            if not self._read():
                poll.poll(seconds * 1000 / _SLICES)
        raise WireClosedError("it does not answer")

    def close(self) -> None:
        """Hang up: the supervisor notices, and ends its container."""
        self._closed = True
        with suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        if self._waiting:
            return  # it wakes, and closes
        for held in (*self._keep, self._socket):
            with suppress(OSError, ValueError):  # closed by the one before
                held.close()
