"""One box: one container, and what is asked of the supervisor inside.

What the box says is a claim. How long a command took, whether it was too long, too loud or too
large is decided here. A command that has to be ended is killed inside with everything it has
started, and the box goes on; if it does not come to an end by that, the container is removed.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from datetime import datetime, timedelta
from pathlib import PurePosixPath
from typing import Any, Final, TypeAlias

import anyio
import anyio.to_thread
import msgspec

from astro.core.clock import Clock
from astro.core.errors import BoxLostError, InvalidArgumentsError, SandboxError
from astro.core.sandbox import (
    BoxStatus,
    Changes,
    Collected,
    Completed,
    FileInfo,
    Listener,
    inside,
)
from astro.sandboxes.docker.answers import (
    NAMES,
    Done,
    End,
    Found,
    changes_of,
    collected_of,
    completed,
    environment_of,
    listing_of,
)
from astro.sandboxes.docker.daemon import Container
from astro.sandboxes.docker.hardening import WORK
from astro.sandboxes.docker.output import Output
from astro.sandboxes.docker.talk import Talk
from astro.sandboxes.docker.wire import WireClosedError

__all__ = ["DockerBox"]

_PART: Final = 64 * 1024
_PIECE: Final = 1024 * 1024  # bytes of a file that go into a box at once
_LARGER: Final = "Hand in less, or allow larger files: BoxLimits(file=...)."

_Entry: TypeAlias = tuple[dict[str, Any], bytes]


class DockerBox:
    """A box in a container.

    Attributes:
        id: Of the container.
        lost: Why it can do nothing any more, if so.
    """

    def __init__(
        self,
        container: Container,
        *,
        clock: Clock,
        drop: Callable[[Container], None],
        died: Callable[[str, datetime, datetime], bool],
    ) -> None:
        self._container = container
        self._wire = container.wire
        self._talk = Talk(container.wire)
        self._clock = clock
        self._drop = drop
        self._died = died
        self._turn = anyio.Lock()
        self._closed = False
        self.id: Final = container.id
        self.lost = ""

    # --- Running -----------------------------------------------------------------------------

    async def run(
        self,
        command: Sequence[str],
        /,
        *,
        stdin: bytes = b"",
        env: Mapping[str, str] | None = None,
        collect: Sequence[str] = (),
        timeout: timedelta,
        listen: Listener | None = None,
    ) -> Completed:
        """Run a command in the work folder.

        Args:
            command: A program and its arguments; no shell reads them.
            collect: Patterns of the files it is asked to give back, as `report/*.json`.
            timeout: After which it is ended, with everything it has started.
            listen: Hears of output as it comes.

        Raises:
            BoxLostError: The box is gone, for no fault of the command.
            SandboxError: The box is closed.
        """
        words = [command] if isinstance(command, str) else list(command)
        if isinstance(command, str) or not words or not all(isinstance(w, str) for w in words):
            raise InvalidArgumentsError(
                f"A command is a list of words, not {command!r:.60}.",
                remedy="Write ['python3', 'script.py'], or ['sh', '-c', '...'] for a shell.",
            )
        asked = {"argv": words, "code": None, "env": environment_of(env), "cwd": WORK}
        return await self._run(asked, stdin, collect, timeout, listen)

    async def python(
        self,
        code: str,
        /,
        *,
        stdin: bytes = b"",
        env: Mapping[str, str] | None = None,
        collect: Sequence[str] = (),
        timeout: timedelta,
        listen: Listener | None = None,
    ) -> Completed:
        """Run Python code as a program of its own; an interpreter waits for it in the box.

        Raises:
            BoxLostError: The box is gone, for no fault of the code.
            SandboxError: The box is closed.
        """
        asked = {"argv": [], "code": code, "env": environment_of(env), "cwd": WORK}
        return await self._run(asked, stdin, collect, timeout, listen)

    async def _run(
        self,
        asked: dict[str, Any],
        stdin: bytes,
        collect: Sequence[str],
        timeout: timedelta,
        listen: Listener | None,
    ) -> Completed:
        async with self._turn:
            self._require_open()
            limits = self._container.limits
            output = Output(limits.output, limits.flood, listen)
            begun, shown = self._clock.monotonic(), self._clock.now()
            self._talk.ask(b"R", **asked)
            for place in range(0, len(stdin), _PART):
                self._wire.put(b"I", stdin[place : place + _PART])
            self._wire.put(b"I")
            status: BoxStatus | None
            told: End | None = None
            try:
                status, told = await self._talk.attend(output, timeout)
            except WireClosedError:
                status = await self._post_mortem(shown)
            finally:
                if self._talk.broken:
                    self._lose("a command in it could not be ended")
            took = self._clock.monotonic() - begun
            done = completed(status, told, output, took, limits.cpus)
            if not collect or self.lost:
                return done
            with self._answering():
                found = await self._collect(collect)
            return msgspec.structs.replace(done, artifacts=found.artifacts, rejected=found.rejected)

    async def _post_mortem(self, since: datetime) -> BoxStatus:
        """Say what has ended a box in the middle of a command."""
        if self._closed:
            self._require_open()
        self._lose("a command has ended it")
        until = self._clock.now()
        starved = await anyio.to_thread.run_sync(
            self._died, self.id, since, until, abandon_on_cancel=True
        )
        return BoxStatus.OOM_KILLED if starved else BoxStatus.ERROR

    # --- Files -------------------------------------------------------------------------------

    async def write(self, files: Mapping[PurePosixPath, bytes], /) -> None:
        """Put files into the work folder.

        Raises:
            InvalidArgumentsError: A path leads out of it.
            SandboxError: They do not fit, or the box is closed or gone.
        """
        await self._write([_file(_inside(path), content) for path, content in files.items()])

    async def read(self, path: PurePosixPath, /) -> bytes:
        """Return the content of a regular file of the work folder.

        Raises:
            InvalidArgumentsError: The path leads out of it.
            SandboxError: There is no such file, or it is too large.
        """
        name = _inside(path)
        async with self._asking():
            found = await self._give([name], (), self._container.limits.file, 1)
        if not found.artifacts:
            reason = found.rejected[0].reason if found.rejected else "there is none"
            raise SandboxError(
                f"{name} cannot be read: {reason}.",
                remedy="List the files of the box; limits are part of its spec.",
            )
        return found.artifacts[0].content

    async def files(self) -> Sequence[FileInfo]:
        """Return the regular files of the work folder.

        Raises:
            SandboxError: They have too many names, or some cannot be looked at.
        """
        async with self._asking():
            found = Found(0, self._container.limits.inodes)
            self._talk.ask(b"L", names=NAMES, count=self._container.limits.inodes)
            done = await self._answer(found)
        if not done.whole:
            raise SandboxError(
                "The files of the box cannot be listed: it holds too many, or folders that "
                "cannot be looked into.",
                remedy="Have a command remove what is not needed.",
            )
        return listing_of(found)

    async def collect(self, patterns: Sequence[str], /) -> Collected:
        """Return regular files that patterns name, within the caps of the box."""
        async with self._asking():
            return await self._collect(patterns)

    async def changes(self) -> Changes:
        """Return what has changed in the work folder since this was asked before."""
        async with self._asking():
            return await self._look(tell=True)

    async def restore(self, changes: Changes, /, *, known: bool = True) -> None:
        """Put everything that a snapshot holds into the work folder.

        Args:
            known: Whether `changes` does not tell of it any more.

        Raises:
            InvalidArgumentsError: A path leads out of it.
            SandboxError: It does not fit.
        """
        parts = [_entry(_inside(path), folder=True) for path in changes.folders]
        for path, (content, executable) in changes.files.items():
            parts.append(_file(_inside(path), content, executable=executable))
        parts += [_entry(_inside(path), link=target) for path, target in changes.links.items()]
        await self._write(parts, known=known)

    async def _write(self, entries: Sequence[_Entry], *, known: bool = False) -> None:
        """Put files into the work folder, in parts that a small box can hold."""
        for head, content in entries:
            if len(content) > self._container.limits.file:
                raise SandboxError(f"{head['path']} is too large for a box.", remedy=_LARGER)
        async with self._asking():
            for head, content in entries:
                for place in range(0, max(len(content), 1), _PIECE):
                    part = json.dumps({**head, "append": place > 0}).encode()
                    self._wire.put(b"W", part + b"\n" + content[place : place + _PIECE])
            self._talk.ask(b"D")
            wrong = (await self._answer(Found(0, 0))).wrong
            if wrong:
                told = "; ".join(f"{path}: {reason}" for path, reason in wrong[:5])
                raise SandboxError(
                    f"Files cannot be written: {told:.2000}.",
                    remedy="Remove what is in the way, or give the box more room.",
                )
            if known:
                await self._look(tell=False)

    async def _look(self, *, tell: bool) -> Changes:
        limits = self._container.limits
        count = 2 * limits.inodes  # a path may be gone, and something else be there
        found = Found(limits.snapshot if tell else 0, count if tell else 0)
        self._talk.ask(b"S", cap=limits.snapshot, names=NAMES, count=count, tell=tell)
        return changes_of(found, await self._answer(found))

    async def _collect(self, patterns: Sequence[str]) -> Collected:
        limits = self._container.limits
        return await self._give([], patterns, limits.artifacts, limits.artifact_count)

    async def _give(
        self, paths: list[str], patterns: Sequence[str], most: int, count: int
    ) -> Collected:
        found = Found(most, count)
        self._talk.ask(b"G", paths=paths, patterns=list(patterns), bytes=most, count=count)
        done = await self._answer(found)
        try:
            return collected_of(found, done, paths, patterns)
        except WireClosedError as error:
            raise self._gone(error) from error

    async def _answer(self, found: Found) -> Done:
        try:
            return await self._talk.answer(found)
        except WireClosedError as error:
            raise self._gone(error) from error

    # --- Its life ----------------------------------------------------------------------------

    @asynccontextmanager
    async def _asking(self) -> AsyncIterator[None]:
        """Have a turn at the wire."""
        async with self._turn:
            self._require_open()
            with self._answering():
                yield

    @contextmanager
    def _answering(self) -> Iterator[None]:
        """Wait for an answer; a wire that is left before is one that nobody can use."""
        try:
            yield
        except SandboxError:
            raise  # an answer, or the end of the box
        except BaseException:
            self._lose("it was asked for something and then left alone")
            raise

    def _require_open(self) -> None:
        if self._closed:
            raise SandboxError("The box is closed.", remedy="Open another one.")
        if not self.lost:
            try:
                self._wire.require_quiet()
            except WireClosedError as error:
                self._lose(str(error))
        if self.lost:
            raise BoxLostError(f"The box is gone: {self.lost}.", remedy="Open another one.")

    def _gone(self, error: Exception) -> BoxLostError:
        self._lose(str(error))
        return BoxLostError(f"The box is gone: {self.lost}.", remedy="Open another one.")

    def _lose(self, reason: str) -> None:
        if not self.lost:
            self.lost = reason
            if not self._closed:
                self._drop(self._container)

    def close(self) -> None:
        """End the box and everything in it; its container is removed soon after."""
        if not self._closed:
            self._closed = True
            if not self.lost:
                self._drop(self._container)


def _inside(path: PurePosixPath | str) -> str:
    try:
        return inside(path)
    except ValueError as error:
        raise InvalidArgumentsError(str(error), remedy="Use a relative path.") from error


def _file(path: str, content: bytes, *, executable: bool = False) -> _Entry:
    return {"path": path, "executable": executable}, content


def _entry(path: str, **more: Any) -> _Entry:
    return {"path": path, **more}, b""
