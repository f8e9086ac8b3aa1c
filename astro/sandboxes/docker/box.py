"""One box: one container, and what is asked of the supervisor inside.

What the box says is a claim. How long a command took, whether it was too long, too loud or too
large is decided here. A command that has to be ended is killed inside with everything it has
started, and the box goes on; if it does not come to an end by that, the container is removed.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import datetime, timedelta
from pathlib import PurePosixPath
from typing import Any, Final

import anyio
import anyio.to_thread

from astro.core.clock import Clock
from astro.core.errors import BoxLostError, InvalidArgumentsError, SandboxError
from astro.core.sandbox import (
    Artifact,
    BoxStatus,
    Changes,
    Collected,
    Completed,
    FileInfo,
    Listener,
    Rejected,
    inside,
)
from astro.sandboxes.docker.answers import claims_of, completed, environment_of
from astro.sandboxes.docker.daemon import Container
from astro.sandboxes.docker.hardening import WORK
from astro.sandboxes.docker.output import FloodError, Output
from astro.sandboxes.docker.wire import WireClosedError

__all__ = ["DockerBox"]

_GRACE: Final = 0.4  # seconds a killed command may take to be gone
_PART: Final = 64 * 1024
_ANSWER: Final = 60.0  # seconds a box may take to give or take files


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
            self._wire.ask(b"R", **asked)
            for place in range(0, len(stdin), _PART):
                self._wire.put(b"I", stdin[place : place + _PART])
            self._wire.put(b"I")
            try:
                status, told = await self._attend(output, timeout)
            except WireClosedError:
                status, told = await self._post_mortem(shown), {}
            took = self._clock.monotonic() - begun
            found = Collected()
            if collect and not self.lost:
                found = await self._collect(collect)
        return completed(status, told, output, took, found)

    async def _attend(
        self, output: Output, timeout: timedelta
    ) -> tuple[BoxStatus | None, dict[str, Any]]:
        """Serve a command until it ends or is ended; return why it was ended, and what it told."""
        told: dict[str, Any] | None = None
        ended: BoxStatus | None = None
        try:
            with anyio.fail_after(max(timeout.total_seconds(), 0.0)):
                told = await self._converse(output)
        except TimeoutError:
            ended = BoxStatus.TIMED_OUT
        except FloodError:
            ended = BoxStatus.OUTPUT_LIMIT
        except WireClosedError:
            raise
        except BaseException:
            with anyio.CancelScope(shield=True):
                await self._stop(output)
            raise
        if told is None:
            with anyio.CancelScope(shield=True):
                told = await self._stop(output)
        return ended, told or {}

    async def _converse(self, output: Output) -> dict[str, Any]:
        """Send what waits to be sent while listening for the end of a command."""
        if self._wire.try_flush():
            return await self._listen(output)
        told: dict[str, Any] = {}
        failed: list[Exception] = []
        async with anyio.create_task_group() as group:
            group.start_soon(self._send, failed)
            try:
                told = await self._listen(output)
            except (FloodError, WireClosedError) as error:
                failed.append(error)
            group.cancel_scope.cancel()
        if failed and not told:
            raise failed[0]
        return told

    async def _send(self, failed: list[Exception]) -> None:
        try:
            await self._wire.flush()
        except WireClosedError as error:
            failed.append(error)  # whoever listens notices as well

    async def _listen(self, output: Output) -> dict[str, Any]:
        while True:
            kind, payload = await self._wire.receive()
            if kind == b"X":
                return claims_of(payload)
            output.take(kind, payload)

    async def _stop(self, output: Output) -> dict[str, Any]:
        """Have a command killed; if it does not end by that, its container does."""
        output.deaf = True
        self._wire.put(b"K")
        try:
            with anyio.fail_after(_GRACE):
                return await self._converse(output)
        except (WireClosedError, TimeoutError):
            self._lose("a command in it could not be ended")
            return {}

    async def _post_mortem(self, since: datetime) -> BoxStatus:
        """Say what has ended a box in the middle of a command."""
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
        async with self._asking():
            for path, content in files.items():
                self._file(_inside(path), content)
            await self._written()

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
            raise SandboxError(f"{name} cannot be read: {reason}.", remedy="")
        return found.artifacts[0].content

    async def files(self) -> Sequence[FileInfo]:
        """Return the regular files of the work folder."""
        async with self._asking():
            self._wire.ask(b"L")
            told = (await self._answer())[0]
            return [FileInfo(str(path), int(size)) for path, size in told.get("files", ())]

    async def collect(self, patterns: Sequence[str], /) -> Collected:
        """Return regular files that patterns name, within the caps of the box."""
        async with self._asking():
            return await self._collect(patterns)

    async def changes(self) -> Changes:
        """Return what has changed in the work folder since this was asked before."""
        async with self._asking():
            self._wire.ask(b"S", cap=self._container.limits.snapshot, tell=True)
            told, found = await self._answer()
        files: dict[str, tuple[bytes, bool]] = {}
        links: dict[str, str] = {}
        folders: list[str] = []
        for head, content in found:
            path = inside(head["path"])
            if "link" in head:
                links[path] = str(head["link"])
            elif head.get("folder"):
                folders.append(path)
            else:
                files[path] = (content, bool(head.get("executable")))
        return Changes(
            files=files,
            links=links,
            folders=tuple(folders),
            gone=tuple(str(path) for path in told.get("gone", ())),
            whole=told.get("whole") is True,
        )

    async def restore(self, changes: Changes, /, *, known: bool = True) -> None:
        """Put everything that a snapshot holds into the work folder.

        Args:
            known: Whether `changes` does not tell of it any more.

        Raises:
            SandboxError: It does not fit.
        """
        async with self._asking():
            for path in changes.folders:
                self._wire.put(b"W", json.dumps({"path": path, "folder": True}).encode() + b"\n")
            for path, (content, executable) in changes.files.items():
                self._file(path, content, executable=executable)
            for path, target in changes.links.items():
                self._wire.put(b"W", json.dumps({"path": path, "link": target}).encode() + b"\n")
            await self._written()
            if known:
                self._wire.ask(b"S", cap=self._container.limits.snapshot, tell=False)
                await self._answer()

    def _file(self, path: str, content: bytes, **more: Any) -> None:
        head = json.dumps({"path": path, **more}).encode()
        self._wire.put(b"W", head + b"\n" + content)

    async def _written(self) -> None:
        self._wire.put(b"W")
        wrong = (await self._answer())[0].get("wrong", ())
        if wrong:
            told = "; ".join(f"{path}: {reason}" for path, reason in wrong[:5])
            raise SandboxError(f"Files cannot be written: {told}.", remedy="")

    async def _collect(self, patterns: Sequence[str]) -> Collected:
        limits = self._container.limits
        return await self._give([], patterns, limits.artifacts, limits.artifact_count)

    async def _give(
        self, paths: list[str], patterns: Sequence[str], most: int, count: int
    ) -> Collected:
        self._wire.ask(b"G", paths=paths, patterns=list(patterns), bytes=most, count=count)
        told, found = await self._answer()
        artifacts: list[Artifact] = []
        rejected = [Rejected(str(path), str(reason)) for path, reason in told.get("rejected", ())]
        for head, content in found:
            most -= len(content)
            if most < 0 or len(artifacts) >= count:
                rejected.append(Rejected(str(head["path"]), "it is too much"))
            else:
                artifacts.append(Artifact(inside(head["path"]), content))
        return Collected(artifacts=tuple(artifacts), rejected=tuple(rejected))

    async def _answer(self) -> tuple[dict[str, Any], list[tuple[dict[str, Any], bytes]]]:
        """Return what the supervisor says, and the files that come with it."""
        found: list[tuple[dict[str, Any], bytes]] = []
        try:
            with anyio.fail_after(_ANSWER):
                await self._wire.flush()
                while True:
                    kind, payload = await self._wire.receive()
                    if kind == b"D":
                        return claims_of(payload), found
                    if kind == b"F":
                        head, _, content = payload.partition(b"\n")
                        found.append((claims_of(head), content))
        except (WireClosedError, TimeoutError) as error:
            self._lose(str(error) or "it did not answer")
            raise BoxLostError(
                f"The box is gone: {self.lost}.", remedy="Open another one."
            ) from error

    # --- Its life ----------------------------------------------------------------------------

    @asynccontextmanager
    async def _asking(self) -> AsyncIterator[None]:
        """Have a turn at the wire; left in the middle, it is a wire that nobody can use."""
        async with self._turn:
            self._require_open()
            try:
                yield
            except Exception:
                raise
            except BaseException:
                self._lose("it was asked for something and then left alone")
                raise

    def _require_open(self) -> None:
        if self.lost:
            raise BoxLostError(f"The box is gone: {self.lost}.", remedy="Open another one.")
        if self._closed:
            raise SandboxError("The box is closed.", remedy="Open another one.")

    def _lose(self, reason: str) -> None:
        if not self.lost:
            self.lost = reason
            self._drop(self._container)

    def close(self) -> None:
        """End the box and everything in it; its container is removed soon after."""
        if not self._closed:
            self._closed = True
            if not self.lost:
                self._drop(self._container)


def _inside(path: PurePosixPath) -> str:
    try:
        return inside(path)
    except ValueError as error:
        raise InvalidArgumentsError(str(error), remedy="Use a relative path.") from error
