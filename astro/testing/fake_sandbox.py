"""FakeSandbox: a sandbox for tests that ISOLATES NOTHING, because it runs nothing.

Commands are answered by a script; files live in memory, one set for each box. No process is
started and no file of the machine is touched, so that a test of a task that uses a sandbox needs
no Docker. Settings cannot name it: it has no configuration and is not made without a script, so
nothing that means to run untrusted code ends up with it by a slip.
"""

from __future__ import annotations

import inspect
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import timedelta
from fnmatch import fnmatchcase
from pathlib import PurePosixPath
from types import EllipsisType
from typing import Any, Final

import anyio
import attrs
from anyio.lowlevel import checkpoint
from msgspec.structs import replace

from astro.core.clock import Clock, SystemClock
from astro.core.errors import InvalidArgumentsError, SandboxError, SandboxUnavailableError
from astro.core.sandbox import (
    Artifact,
    BoxStatus,
    Changes,
    Chunk,
    Collected,
    Completed,
    FileInfo,
    Listener,
    SandboxSpec,
    inside,
)
from astro.testing.scripted_agent import Always, Script, UnscriptedError

__all__ = ["Answering", "FakeBox", "FakeCommand", "FakeSandbox", "Files", "Words"]

Files = dict[PurePosixPath, bytes]
"""The files of a box by path in its work folder; an answer may read and change them."""

Answering = Callable[[tuple[str, ...], bytes, Files], Any]
"""Answers a command, given its words, its standard input and the files of its box; may be async."""

Words = tuple[str | EllipsisType, ...]
"""A command of a script; `...` is any one word, and at the end any that follow."""

_MIB: Final = 1024 * 1024
_TIMEOUT: Final = timedelta(seconds=30)  # of `ctx.sandbox` too


@attrs.frozen(kw_only=True)
class FakeCommand:
    """A command that a box was asked to run.

    Attributes:
        box: Number of the box; the first is 1.
    """

    command: tuple[str, ...]
    timeout: timedelta
    box: int
    stdin: bytes = b""
    env: Mapping[str, str] = attrs.field(factory=dict)


class FakeBox:
    """A box of a `FakeSandbox`: files in memory, and answers; nothing is run.

    Attributes:
        held: The files, by path in the work folder.
        number: The first is 1.
        closed: Whether its block has ended.
    """

    def __init__(
        self,
        number: int,
        spec: SandboxSpec,
        answer: Callable[[FakeCommand, Files], Awaitable[Completed]],
        clock: Clock,
    ) -> None:
        self.held: Files = {}
        self.number: Final = number
        self.spec: Final = spec
        self.closed = False
        self._answer = answer
        self._clock = clock
        self._seen: Files = {}

    def __repr__(self) -> str:
        state = "closed" if self.closed else "open"
        return f"<FakeBox {self.number}: {state}, isolates nothing, runs nothing>"

    # --- Commands ----------------------------------------------------------------------------

    async def run(
        self,
        command: Sequence[str],
        /,
        *,
        stdin: bytes = b"",
        env: Mapping[str, str] | None = None,
        collect: Sequence[str] = (),
        timeout: timedelta = _TIMEOUT,
        listen: Listener | None = None,
    ) -> Completed:
        """Answer a command by the script; one that takes longer, by the clock, has timed out.

        Raises:
            SandboxError: The box is closed.
            UnscriptedError: The script has no answer.
        """
        self._require_open()
        words = (command,) if isinstance(command, str) else tuple(command)
        asked = FakeCommand(
            command=words, stdin=stdin, env=dict(env or {}), timeout=timeout, box=self.number
        )
        done = await self._in_time(asked)
        if listen is not None and done.stdout:
            listen(Chunk("stdout", done.stdout))
        if listen is not None and done.stderr:
            listen(Chunk("stderr", done.stderr))
        found = self._matching(collect)
        return replace(done, artifacts=(*done.artifacts, *found))

    async def python(
        self,
        code: str,
        /,
        *,
        stdin: bytes = b"",
        env: Mapping[str, str] | None = None,
        collect: Sequence[str] = (),
        timeout: timedelta = _TIMEOUT,
        listen: Listener | None = None,
    ) -> Completed:
        """Answer Python code as the command `python3 -c code`; see `run`."""
        command = ("python3", "-c", code)
        return await self.run(
            command, stdin=stdin, env=env, collect=collect, timeout=timeout, listen=listen
        )

    async def _in_time(self, asked: FakeCommand) -> Completed:
        outcome: Completed | Exception | None = None
        async with anyio.create_task_group() as group:
            group.start_soon(self._give_up, asked.timeout, group.cancel_scope)
            try:
                outcome = await self._answer(asked, self.held)
            except Exception as error:
                outcome = error  # raised outside the group, which would wrap it
            group.cancel_scope.cancel()
        if outcome is None:
            seconds = asked.timeout.total_seconds()
            late = BoxStatus.TIMED_OUT
            return Completed(exit_code=None, stdout=b"", stderr=b"", status=late, duration=seconds)
        if isinstance(outcome, Exception):
            raise outcome.with_traceback(None)  # it may have been raised before
        return outcome

    async def _give_up(self, timeout: timedelta, scope: anyio.CancelScope) -> None:
        await self._clock.sleep(timeout)
        scope.cancel()

    # --- Files -------------------------------------------------------------------------------

    async def write(self, files: Mapping[Any, bytes | str], /) -> None:
        """Keep files in the work folder, all or none; a text as UTF-8, as `ctx.sandbox` does.

        Raises:
            InvalidArgumentsError: A path leads out of the work folder.
            SandboxError: The box is closed.
        """
        self._require_open()
        kept = {
            _inside(path): data.encode() if isinstance(data, str) else bytes(data)
            for path, data in files.items()
        }
        await checkpoint()
        self.held.update(kept)

    async def read(self, path: PurePosixPath | str, /) -> bytes:
        """Return the content of a file.

        Raises:
            InvalidArgumentsError: The path leads out of the work folder.
            SandboxError: There is no such file, or the box is closed.
        """
        self._require_open()
        await checkpoint()
        name = _inside(path)
        if name not in self.held:
            raise SandboxError(f"{str(path)!r} cannot be read: there is none.", remedy="Write it.")
        return self.held[name]

    async def files(self) -> Sequence[FileInfo]:
        """Return the files of the work folder."""
        self._require_open()
        await checkpoint()
        return [FileInfo(str(path), len(content)) for path, content in sorted(self.held.items())]

    async def collect(self, patterns: Sequence[str], /) -> Collected:
        """Return the files that patterns name."""
        self._require_open()
        await checkpoint()
        return Collected(artifacts=self._matching(patterns))

    async def changes(self) -> Changes:
        """Return what has changed since this was asked before."""
        self._require_open()
        await checkpoint()
        before, self._seen = self._seen, dict(self.held)
        new = {path: said for path, said in self.held.items() if before.get(path) != said}
        return Changes(
            files={str(path): (content, False) for path, content in new.items()},
            gone=tuple(str(path) for path in sorted(before.keys() - self.held.keys())),
        )

    async def restore(self, changes: Changes, /, *, known: bool = True) -> None:
        """Put the files of a snapshot into the work folder; `changes` tells unless `known`."""
        await self.write({PurePosixPath(path): said for path, (said, _) in changes.files.items()})
        if known:
            self._seen = dict(self.held)

    def _matching(self, patterns: Sequence[str]) -> tuple[Artifact, ...]:
        return tuple(
            Artifact(str(path), content)
            for path, content in sorted(self.held.items())
            if any(fnmatchcase(str(path), pattern) for pattern in patterns)
        )

    def _require_open(self) -> None:
        if self.closed:
            raise SandboxError("The box is closed.", remedy="Open another one.")


class FakeSandbox:
    """A sandbox that isolates nothing and runs nothing: a double for tests.

    Args:
        script: What commands answer: a function of command, standard input and files; or a mapping
            from commands to a `Completed`, an exception, such a function, or a list of these in
            order. In a command, `...` is any one word, and at its end any that follow; the first
            command that fits is taken. `After` lets an answer take its time.
        clock: By which `After` and time-outs pass.
        output: Bytes that are kept of each of stdout and stderr.
        unavailable: Why `check` and `open` fail; empty lets them be.

    Attributes:
        boxes: All that were opened, in order.
        commands: All that boxes were asked to run, in order.
    """

    def __init__(
        self,
        script: Answering | Mapping[Words, Any],
        /,
        *,
        clock: Clock | None = None,
        output: int = _MIB,
        unavailable: str = "",
    ) -> None:
        self.unavailable = unavailable
        self.boxes: list[FakeBox] = []
        self.commands: list[FakeCommand] = []
        self._clock = clock or SystemClock()
        self._output = output
        said: Mapping[Words, Any] = {(...,): script} if callable(script) else script
        self._script = [(words, _script(words, answers)) for words, answers in said.items()]

    def __repr__(self) -> str:
        still = self.opened - self.closed
        return f"<FakeSandbox: isolates nothing, runs nothing, {still} boxes open>"

    @property
    def opened(self) -> int:
        """How many boxes were opened."""
        return len(self.boxes)

    @property
    def closed(self) -> int:
        """How many boxes were closed; as many as were opened, unless some are open or leaked."""
        return sum(box.closed for box in self.boxes)

    @property
    def left(self) -> Mapping[Words, int]:
        """How many answers nobody has had yet, by command; empty when lists were used up."""
        return {words: script.left for words, script in self._script if script.left}

    async def check(self) -> None:
        """Return, unless the test says otherwise.

        Raises:
            SandboxUnavailableError: The test says so.
        """
        await checkpoint()
        if self.unavailable:
            raise SandboxUnavailableError(
                self.unavailable, remedy="This is a double: set its `unavailable` to ''."
            )

    @asynccontextmanager
    async def open(self, spec: SandboxSpec, /) -> AsyncIterator[FakeBox]:
        """Open a box without files.

        Raises:
            SandboxUnavailableError: The test says so.
        """
        await self.check()
        box = FakeBox(len(self.boxes) + 1, spec, self._answer, self._clock)
        self.boxes.append(box)
        try:
            yield box
        finally:
            box.closed = True

    async def _answer(self, asked: FakeCommand, files: Files) -> Completed:
        self.commands.append(asked)
        for words, script in self._script:
            if _fits(words, asked.command):
                answer = await script.next(self._clock)
                break
        else:
            raise UnscriptedError(
                f"The script of this sandbox has no answer for {asked.command!r:.200}.",
                remedy="Add the command; it runs nothing by itself.",
            )
        if isinstance(answer, Exception):
            raise answer
        if not isinstance(answer, Completed):
            answer = answer(asked.command, asked.stdin, files)
            answer = await answer if inspect.isawaitable(answer) else answer
        return self._capped(_kept(answer, functions=False))

    def _capped(self, said: Completed) -> Completed:
        kept = self._output
        failed = said.status is BoxStatus.OK and said.exit_code != 0
        return replace(
            said,
            stdout=said.stdout[:kept],
            stderr=said.stderr[:kept],
            stdout_truncated=said.stdout_truncated or len(said.stdout) > kept,
            stderr_truncated=said.stderr_truncated or len(said.stderr) > kept,
            status=BoxStatus.ERROR if failed else said.status,
        )


def _script(words: Any, answers: Any) -> Script:
    if isinstance(words, str) or not words:
        raise InvalidArgumentsError(
            f"{words!r} is no command.", remedy="Write its words: ('python3', '-c', ...)."
        )
    if not isinstance(answers, (list, tuple)):
        answers = [answers if isinstance(answers, Always) else Always(answers)]
    return Script(f"this sandbox for {words!r:.100}", answers, _kept)


def _kept(answer: Any, *, functions: bool = True) -> Any:
    """Return an answer of a script.

    Raises:
        InvalidArgumentsError: It is none.
    """
    fits = isinstance(answer, Completed)
    if not fits and not (functions and (isinstance(answer, Exception) or callable(answer))):
        raise InvalidArgumentsError(
            f"{answer!r:.60} is no answer to a command.",
            remedy="Write Completed(exit_code=0, stdout=b'...', stderr=b'').",
        )
    return answer


def _fits(words: Words, command: tuple[str, ...]) -> bool:
    """Return whether a command is what words of a script describe."""
    if words[-1] is ...:
        words = words[:-1]
        command = command[: len(words)]
    return len(words) == len(command) and all(
        word is ... or word == said for word, said in zip(words, command, strict=True)
    )


def _inside(path: PurePosixPath | str) -> PurePosixPath:
    """Return a path that stays in the work folder.

    Raises:
        InvalidArgumentsError: It leads out of it, or names the folder itself.
    """
    try:
        return PurePosixPath(inside(path))
    except ValueError as error:
        raise InvalidArgumentsError(
            str(error), remedy="Write it relative to the work folder, without '..'."
        ) from error
