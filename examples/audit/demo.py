"""The demonstration: starts a worker, kills it in the middle, starts another, and watches.

This process owns nothing. What is true stands in the journal, and any worker can carry it on.
"""

from __future__ import annotations

import contextlib
import subprocess
from collections import deque
from collections.abc import AsyncIterator, Sequence
from time import monotonic
from typing import Final

import anyio
import attrs
from anyio.abc import ByteReceiveStream, Process
from anyio.streams.buffered import BufferedByteReceiveStream

from examples.audit.desk import surroundings
from examples.audit.display import Display
from examples.audit.events import Answered, Asked, Began, Event, Finished, Progressed, from_line
from examples.audit.wording import counted

__all__ = ["Demonstration", "WorkerError"]

_LINE: Final = 1024 * 1024  # bytes of one event
_LAST_WORDS: Final = 40  # lines of standard error that are kept
_PATIENCE: Final = 5.0  # seconds a worker has to end after Ctrl-C


class WorkerError(Exception):
    """Raised when a worker ends without a result, and nobody has killed it."""


@attrs.define(kw_only=True)
class Demonstration:
    """One audit, through as many workers as it takes.

    Attributes:
        command: What starts a worker.
        kill_at: Share of the files after which the first worker is killed; None for never.
        listens: Whether the worker may read standard input.
    """

    command: Sequence[str]
    display: Display
    kill_at: float | None = 0.4
    listens: bool = False
    _killed: bool = attrs.field(default=False, init=False)
    _began: float = attrs.field(factory=monotonic, init=False)

    async def run(self) -> Finished:
        """Return how the audit ended.

        Raises:
            WorkerError: A worker failed; the message is what it said last.
        """
        while True:
            finished = await self._one_worker()
            if finished is not None:
                self._conclude(finished)
                return finished
            self.display.say("  restarting the worker: it takes over what the dead one has left")

    async def _one_worker(self) -> Finished | None:
        """Return the result, or None if the worker was killed."""
        words: deque[str] = deque(maxlen=_LAST_WORDS)
        async with _started(self.command, listens=self.listens) as process:
            if process.stdout is None or process.stderr is None:
                raise WorkerError("The worker has no pipes.")
            async with anyio.create_task_group() as group:
                group.start_soon(_keep, process.stderr, words)
                async for event in _events(process.stdout):
                    self._take(event)
                    if isinstance(event, Finished):
                        await process.wait()
                        return event
                    if self._is_time(event):
                        self._killed = True
                        process.kill()
                        await process.wait()
                        self.display.say(
                            f"  kill -9 {process.pid}: the worker is gone in the middle of it",
                            tone="bad",
                        )
                        return None
            code = await process.wait()
        raise WorkerError(f"The worker ended with code {code}.\n{''.join(words)}".rstrip())

    def _is_time(self, event: Event) -> bool:
        return (
            self.kill_at is not None
            and not self._killed
            and isinstance(event, Progressed)
            and event.total * self.kill_at <= event.done < event.total
        )

    def _take(self, event: Event) -> None:
        self.display.show(event)
        if isinstance(event, Began):
            self._say_began(event)
        elif isinstance(event, Asked):
            hint = " [Y/n] " if self.listens else " "
            self.display.say(f"  {event.question}{hint}(yes after {round(event.seconds, 1):g} s)")
        elif isinstance(event, Answered):
            who = "as nobody answered" if event.by == "default" else f"says {event.by}"
            self.display.say(f"  {'yes' if event.answer else 'no'}, {who}", tone="quiet")

    def _say_began(self, event: Began) -> None:
        if event.kept:
            # Whoever goes on after a crash has shown what the demonstration would show.
            self.kill_at = None
            self.display.say(
                f"  run …{event.run[-8:]} goes on: "
                f"{counted(event.kept, 'call')} answered from the journal",
                tone="good",
            )
        else:
            self.display.say(f"  run …{event.run[-8:]} begins", tone="quiet")

    def _conclude(self, finished: Finished) -> None:
        say = self.display.say
        if finished.recovered:
            again = f"; {finished.repeated:,} in flight ran again" if finished.repeated else ""
            say(
                f"  {finished.recovered:,} of {finished.calls:,} calls were answered from the "
                f"journal{again}",
                tone="good",
            )
        if finished.changed:
            say(f"  since the previous audit: {finished.changed}")
        say(f"  done in {monotonic() - self._began:.1f} s")
        for path in finished.reports:
            say(f"    {path}")


@contextlib.asynccontextmanager
async def _started(command: Sequence[str], *, listens: bool) -> AsyncIterator[Process]:
    """Start a worker; leaving waits until it ends by itself, as after Ctrl-C, but not for long."""
    stdin = None if listens else subprocess.DEVNULL
    process = await anyio.open_process(list(command), stdin=stdin, env=surroundings())
    try:
        yield process
    finally:
        with anyio.CancelScope(shield=True):
            with anyio.move_on_after(_PATIENCE):
                await process.wait()
            if process.returncode is None:
                process.kill()
            await process.aclose()


async def _events(stream: ByteReceiveStream) -> AsyncIterator[Event]:
    lines = BufferedByteReceiveStream(stream)
    while True:
        try:
            yield from_line(await lines.receive_until(b"\n", _LINE))
        except (anyio.EndOfStream, anyio.IncompleteRead):
            return  # a worker that is killed may leave half a line


async def _keep(stream: ByteReceiveStream, words: deque[str]) -> None:
    async for chunk in stream:
        words.extend(chunk.decode(errors="replace").splitlines(keepends=True))
