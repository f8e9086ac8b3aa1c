"""Boxes: the sandbox as a task sees it, made durable (rule 38).

Each run in a box is a call of its own: its start is committed before, its result after, together
with what it has changed in the work folder. A resumed attempt is told what finished commands
gave; before the first that has to run it gets a fresh box with the newest state of the folder.
Processes do not come back.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AsyncExitStack
from datetime import timedelta
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any, Final

import anyio
import msgspec

from astro.core.errors import (
    BoxLostError,
    SandboxError,
)
from astro.core.protocols import Box
from astro.core.sandbox import (
    Artifact,
    BoxStatus,
    Changes,
    Completed,
    FileInfo,
    Listener,
    Rejected,
    SandboxSpec,
)

if TYPE_CHECKING:
    from astro.engine.owned import OwnedRun

__all__ = ["BoxRequest", "BoxResult", "Boxes"]

_SMALL: Final = 4096  # bytes that stay in the journal


class _Bytes(msgspec.Struct, frozen=True, omit_defaults=True):
    """Bytes, in the journal or beside it."""

    data: bytes = b""
    blob: str = ""


class _File(msgspec.Struct, frozen=True, omit_defaults=True):
    """A file of a snapshot."""

    path: str
    blob: str
    executable: bool = False


class BoxRequest(msgspec.Struct, frozen=True, omit_defaults=True):
    """What a box is asked to run; part of the identity of the call."""

    spec: SandboxSpec
    timeout: timedelta
    argv: tuple[str, ...] = ()
    code: str | None = None
    stdin: bytes = b""
    env: dict[str, str] = {}
    collect: tuple[str, ...] = ()


class BoxResult(msgspec.Struct, frozen=True, omit_defaults=True):
    """How it ended, and what has changed in the work folder.

    Attributes:
        number: Of the command in its box, from 1.
    """

    exit_code: int | None
    status: BoxStatus
    stdout: _Bytes
    stderr: _Bytes
    stdout_truncated: bool = False
    stderr_truncated: bool = False
    duration: float = 0.0
    cpu: float = 0.0
    artifacts: tuple[tuple[str, _Bytes], ...] = ()
    rejected: tuple[Rejected, ...] = ()
    files: tuple[_File, ...] = ()
    links: dict[str, str] = {}
    folders: tuple[str, ...] = ()
    gone: tuple[str, ...] = ()
    whole: bool = True
    number: int = 0


class Boxes:
    """The box of one attempt, and what is known of its work folder.

    What is known comes from the results of its commands, whether they ran or were remembered, so
    that it is the same in every life of the run. Tasks that use a box together are told of them in
    any order; what counts is the order in which they ran.
    """

    def __init__(self, run: OwnedRun, spec: SandboxSpec) -> None:
        self._run = run
        self._spec = spec
        self._turn = anyio.Lock()
        self._stack = AsyncExitStack()
        self._box: Box | None = None
        self._files: dict[str, _File] = {}
        self._links: dict[str, str] = {}
        self._folders: dict[str, None] = {}
        self._written = Changes()  # since the last command
        self._whole = True
        self._number = 0  # of the newest command
        self._changed: dict[str, int] = {}  # which command has changed a path last

    @property
    def spec(self) -> SandboxSpec:
        return self._spec

    async def perform(self, asked: BoxRequest, listen: Listener | None) -> BoxResult:
        """Run something in the box, and look at what it has changed."""
        async with self._turn:
            box = await self._opened()
            more: dict[str, Any] = {
                "stdin": asked.stdin,
                "env": asked.env,
                "collect": asked.collect,
                "timeout": asked.timeout,
                "listen": listen,
            }
            if asked.code is None:
                done = await box.run(asked.argv, **more)
            else:
                done = await box.python(asked.code, **more)
            changes = Changes()  # of a box that is lost: as it was after the one before
            if getattr(box, "lost", ""):
                await self._leave()
            else:
                changes = await box.changes()
            ran = await self._kept(done, changes)
            self._note(ran)
            return ran

    async def _opened(self) -> Box:
        """Return the box, with everything in its work folder that is known to be there."""
        if self._box is not None and not getattr(self._box, "lost", ""):
            return self._box
        await self._leave()
        if not self._whole:
            raise BoxLostError(
                "The box is gone, and its work folder was too large to be kept.",
                remedy="Keep less in it, or allow larger snapshots: BoxLimits(snapshot=...).",
            )
        sandbox = await self._run.parts.sandbox.require()
        box = await self._stack.enter_async_context(sandbox.open(self._spec))
        self._run.rest.boxes += 1
        self._box = box
        if self._files or self._links or self._folders:
            await box.restore(await self._snapshot())
        if self._written != Changes():
            await box.restore(self._written, known=False)
        return box

    async def _snapshot(self) -> Changes:
        files = {
            one.path: (await self._fetch(one.blob), one.executable) for one in self._files.values()
        }
        return Changes(files=files, links=self._links, folders=tuple(self._folders))

    async def snapshot(self) -> Changes:
        """Return everything that is in the work folder."""
        async with self._turn:
            if not self._whole:
                raise SandboxError(
                    "The work folder is too large to be looked at as a whole.",
                    remedy="Keep less in it, or allow larger snapshots: BoxLimits(snapshot=...).",
                )
            return _over(await self._snapshot(), self._written)

    async def _fetch(self, blob: str) -> bytes:
        return await self._run.reach(self._run.parts.store.fetch(self._run.tenant, blob))

    async def _put(self, data: bytes) -> str:
        return await self._run.reach(self._run.parts.store.put(self._run.tenant, data))

    async def _bytes(self, data: bytes) -> _Bytes:
        return _Bytes(data) if len(data) <= _SMALL else _Bytes(blob=await self._put(data))

    async def _kept(self, done: Completed, changes: Changes) -> BoxResult:
        files = [
            _File(path, await self._put(data), executable)
            for path, (data, executable) in changes.files.items()
        ]
        return BoxResult(
            exit_code=done.exit_code,
            status=done.status,
            stdout=await self._bytes(done.stdout),
            stderr=await self._bytes(done.stderr),
            stdout_truncated=done.stdout_truncated,
            stderr_truncated=done.stderr_truncated,
            duration=done.duration,
            cpu=done.cpu,
            artifacts=tuple([(one.path, await self._bytes(one.content)) for one in done.artifacts]),
            rejected=done.rejected,
            files=tuple(files),
            links=dict(changes.links),
            folders=changes.folders,
            gone=changes.gone,
            whole=changes.whole,
            number=self._number + 1,
        )

    async def learn(self, ran: BoxResult) -> Completed:
        """Take note of what a command has changed; return how it ended."""
        self._note(ran)
        return Completed(
            exit_code=ran.exit_code,
            status=ran.status,
            stdout=await self._data(ran.stdout),
            stderr=await self._data(ran.stderr),
            stdout_truncated=ran.stdout_truncated,
            stderr_truncated=ran.stderr_truncated,
            duration=ran.duration,
            cpu=ran.cpu,
            artifacts=tuple(
                [Artifact(path, await self._data(data)) for path, data in ran.artifacts]
            ),
            rejected=ran.rejected,
        )

    def _note(self, ran: BoxResult) -> None:
        """Take note of what a command has changed; once more does no harm."""
        if ran.number > self._number:
            self._number, self._whole = ran.number, ran.whole
            if ran.whole:
                self._written = Changes()  # what was written before it is among its changes
        if not ran.whole:
            return
        for path in ran.gone:
            self._forget(path, ran.number)
        for one in ran.files:
            if self._forget(one.path, ran.number):
                self._files[one.path] = one
        for path, target in ran.links.items():
            if self._forget(path, ran.number):
                self._links[path] = target
        for path in ran.folders:
            if self._forget(path, ran.number):
                self._folders[path] = None

    def _forget(self, path: str, number: int) -> bool:
        """Forget a path, unless a later command has changed it."""
        if number < self._changed.get(path, 0):
            return False
        self._changed[path] = number
        for known in (self._files, self._links, self._folders):
            known.pop(path, None)
        return True

    async def _data(self, kept: _Bytes) -> bytes:
        return await self._fetch(kept.blob) if kept.blob else kept.data

    # --- Files -------------------------------------------------------------------------------

    async def write(self, changes: Changes) -> None:
        """Put files into the work folder; they are there when the next command begins."""
        async with self._turn:
            self._written = _over(self._written, changes)
            if self._box is not None and not getattr(self._box, "lost", ""):
                await self._box.restore(changes, known=False)

    async def read(self, path: str) -> bytes:
        """Return a file of the work folder.

        Raises:
            SandboxError: There is none.
        """
        async with self._turn:
            if self._box is not None and not getattr(self._box, "lost", ""):
                return await self._box.read(PurePosixPath(path))
            if path in self._written.files:
                return self._written.files[path][0]
            if path in self._files:
                return await self._fetch(self._files[path].blob)
        raise SandboxError(
            f"{path} cannot be read: there is no such file in the work folder.",
            remedy="List its files: await ctx.sandbox.files()",
        )

    async def listing(self) -> Sequence[FileInfo]:
        """Return the regular files of the work folder; opens the box to look."""
        async with self._turn:
            return await (await self._opened()).files()

    async def close(self) -> None:
        """Close the box, on every path."""
        with anyio.CancelScope(shield=True):
            await self._leave()

    async def _leave(self) -> None:
        if self._box is not None:
            self._box = None
            self._run.rest.boxes -= 1
            await self._stack.aclose()
            self._stack = AsyncExitStack()


def _over(below: Changes, above: Changes) -> Changes:
    """Return what is there when one thing was written over another."""
    hidden = {*above.files, *above.links}
    return Changes(
        files={p: file for p, file in below.files.items() if p not in hidden} | dict(above.files),
        links={p: to for p, to in below.links.items() if p not in hidden} | dict(above.links),
        folders=tuple(dict.fromkeys((*below.folders, *above.folders))),
    )
