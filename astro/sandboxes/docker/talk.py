"""Talk: what is asked of a supervisor and what it answers, one thing after another.

Every answer bears the number of what was asked, so that one that comes late is never taken for
another. Whoever talks otherwise than a supervisor does is not listened to any longer.
"""

from __future__ import annotations

from contextlib import suppress
from datetime import timedelta
from typing import Any, Final, TypeVar

import anyio

from astro.core.sandbox import BoxStatus
from astro.sandboxes.docker.answers import Done, End, Found, claims_of
from astro.sandboxes.docker.output import FloodError, Output
from astro.sandboxes.docker.wire import Wire, WireClosedError

__all__ = ["Talk"]

_GRACE: Final = 0.4  # seconds a killed command may take to be gone
_ANSWER: Final = 60.0  # seconds a box may take to give or take files


T = TypeVar("T", Done, End)


class Talk:
    """A talk with one supervisor; its user takes care that one asks at a time.

    Attributes:
        broken: Whether a command did not end when it had to, so that nothing can be asked.
    """

    def __init__(self, wire: Wire) -> None:
        self._wire = wire
        self._number = 0  # of what was asked last
        self.broken = False

    def ask(self, kind: bytes, **fields: Any) -> None:
        """Ask for something that is answered with the same number."""
        self._number += 1
        self._wire.ask(kind, n=self._number, **fields)

    async def answer(self, found: Found) -> Done:
        """Return what the supervisor says; take the files that come with it.

        Raises:
            WireClosedError: It is gone, does not answer or talks of something else.
        """
        try:
            with anyio.fail_after(_ANSWER):
                await self._wire.flush()
                while True:
                    kind, payload = await self._wire.receive()
                    if kind == b"D":
                        return self._mine(claims_of(payload, Done))
                    if kind != b"F":
                        raise WireClosedError("it talks of something else")
                    found.take(payload)
        except TimeoutError as error:
            raise WireClosedError("it did not answer") from error

    def _mine(self, told: T) -> T:
        if told.n != self._number:
            raise WireClosedError("it answers what was not asked")
        return told

    async def attend(
        self, output: Output, timeout: timedelta
    ) -> tuple[BoxStatus | None, End | None]:
        """Serve a command until it ends or is ended; return why it was ended, and what it told.

        Raises:
            WireClosedError: The supervisor is gone, or talks of something else.
        """
        ended = BoxStatus.TIMED_OUT
        try:
            with anyio.move_on_after(max(timeout.total_seconds(), 0.0)):
                return None, await self._converse(output)
        except FloodError:
            ended = BoxStatus.OUTPUT_LIMIT
        except WireClosedError:
            raise
        except BaseException:
            with anyio.CancelScope(shield=True):
                await self._stop(output)
            raise
        with anyio.CancelScope(shield=True):
            told = await self._stop(output)
        return ended, told

    async def _converse(self, output: Output) -> End:
        """Send what waits to be sent while listening for the end of a command."""
        if self._wire.try_flush():
            return await self._listen(output)
        told: list[End] = []
        failed: list[Exception] = []
        async with anyio.create_task_group() as group:
            group.start_soon(self._send, failed)
            try:
                told.append(await self._listen(output))
            except Exception as error:  # raised below, and in no group of one
                failed.append(error)
            group.cancel_scope.cancel()
        if not told:
            raise failed[-1]
        self._wire.forget(b"I", b"K")  # what came too late is nothing to the next command
        return told[0]

    async def _send(self, failed: list[Exception]) -> None:
        try:
            await self._wire.flush()
        except WireClosedError as error:
            failed.append(error)  # whoever listens notices as well

    async def _listen(self, output: Output) -> End:
        while True:
            kind, payload = await self._wire.receive()
            if kind == b"X":
                return self._mine(claims_of(payload, End))
            if kind not in (b"O", b"P") or not payload:
                raise WireClosedError("it talks of something else")
            output.take(kind, payload)

    async def _stop(self, output: Output) -> End | None:
        """Have a command killed; give up if it does not end by that."""
        output.deaf = True
        self._wire.forget(b"I")
        self._wire.put(b"K")
        with suppress(WireClosedError), anyio.move_on_after(_GRACE):
            return await self._converse(output)
        self.broken = True
        return None
