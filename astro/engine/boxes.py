"""Boxes: the sandbox as a task sees it, made durable (rule 38).

Each run in a box is a call of its own: its start is committed before, its result after, together
with what it has changed in the work folder. A resumed attempt is told what finished commands
gave; before the first that has to run it gets a fresh box with the newest state of the folder.
Processes do not come back.

A box never holds what is not known: where the changes of a command could not be kept, or a
remembered result comes late, the box is left, and the next command gets a fresh one.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from contextlib import AsyncExitStack, suppress
from datetime import timedelta
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any, Final, TypeVar

import anyio
import msgspec

from astro.core.errors import BoxLostError, RunSuspended, SandboxError
from astro.core.protocols import Box
from astro.core.records import State
from astro.core.sandbox import Artifact, Changes, Completed, FileInfo, Listener, SandboxSpec
from astro.core.task import Task
from astro.engine.folder import BoxFile, BoxResult, Folder, Kept

if TYPE_CHECKING:
    from astro.engine.owned import OwnedRun

__all__ = ["BoxRequest", "BoxTurn", "Boxes"]

T = TypeVar("T")
R = TypeVar("R")
_SMALL: Final = 4096  # bytes that stay in the journal
_HANDS: Final = 16  # blobs on their way at one moment, so that a store can commit them together


class BoxRequest(msgspec.Struct, frozen=True, omit_defaults=True):
    """What a box is asked to run; part of the identity of the call, but for its spec."""

    spec: SandboxSpec
    timeout: timedelta
    argv: tuple[str, ...] = ()
    code: str | None = None
    stdin: bytes = b""
    env: dict[str, str] = {}
    collect: tuple[str, ...] = ()


class BoxTurn:
    """One command's turn at a box, until it is known what it has changed.

    Attributes:
        call: Identity of the command.
        ran: How it ended, if it ran here and now.
    """

    def __init__(self, boxes: Boxes, call: str, listen: Listener | None) -> None:
        self.boxes = boxes
        self.call = call
        self.listen = listen
        self.ran: BoxResult | None = None
        self._lock: anyio.Lock | None = None

    async def take(self, lock: anyio.Lock) -> None:
        """Wait for the turn; who has it already goes on with it."""
        if self._lock is None:
            await lock.acquire()
            self._lock = lock

    def end(self) -> None:
        """Let the next one have it."""
        if self._lock is not None:
            self._lock.release()
            self._lock = None


class Boxes:
    """The box of one attempt, and what is known of its work folder.

    What is known comes from the results of its commands, whether they ran or were remembered, so
    that it is the same in every life of the run.
    """

    def __init__(self, run: OwnedRun, spec: SandboxSpec) -> None:
        self._run = run
        self._spec = spec
        self._turn = anyio.Lock()
        self._stack = AsyncExitStack()
        self._box: Box | None = None
        self._folder = Folder()
        self._closed = False

    @property
    def spec(self) -> SandboxSpec:
        return self._spec

    # --- Commands ----------------------------------------------------------------------------

    async def perform(self, asked: BoxRequest, turn: BoxTurn) -> BoxResult:
        """Run something in the box, and look at what it has changed; the turn goes on."""
        await turn.take(self._turn)
        try:
            if turn.ran is not None:
                turn.ran = None
                await self._leave()  # its result could not be kept, so it runs once more
            box = await self._opened()
            try:
                turn.ran = await self._perform(box, asked, turn.listen)
            except BaseException:
                await self._leave()  # nobody knows what it has changed
                raise
        except BaseException:
            turn.end()
            raise
        return turn.ran

    async def _perform(self, box: Box, asked: BoxRequest, listen: Listener | None) -> BoxResult:
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
        if not _lost(box):
            return await self._kept(done, await box.changes())
        await self._leave()
        return msgspec.structs.replace(await self._kept(done, Changes()), gone=(), lost=True)

    async def learn(self, turn: BoxTurn, ran: BoxResult, kind: Task[..., Any]) -> Completed:
        """Take note of what a command has changed; return how it ended."""
        if turn.ran is None:
            await self._recall(turn.call, ran, kind)
        else:
            self._folder.take(turn.call, ran)
        artifacts = [Artifact(path, await self._data(data)) for path, data in ran.artifacts]
        return Completed(
            exit_code=ran.exit_code,
            status=ran.status,
            stdout=await self._data(ran.stdout),
            stderr=await self._data(ran.stderr),
            stdout_truncated=ran.stdout_truncated,
            stderr_truncated=ran.stderr_truncated,
            duration=ran.duration,
            cpu=ran.cpu,
            artifacts=tuple(artifacts),
            rejected=ran.rejected,
        )

    async def _recall(self, call: str, ran: BoxResult, kind: Task[..., Any]) -> None:
        """Take note of a remembered result, and of those on whose folder its command worked.

        Commands of one moment may be asked for in another order than they ran in.
        """
        told, one = {call: ran}, ran
        while one.after and one.after not in told and not self._folder.holds(one.after):
            memory = self._run.state.calls.get(one.after)
            if memory is None or memory.state is not State.DONE:
                break
            before = one.after
            told[before] = one = await self._run.recalled(kind, memory)
        news = [name for name in reversed(told) if not self._folder.holds(name)]
        for name in news:
            self._folder.take(name, told[name])
        if news and self._box is not None:
            await self._leave()  # it does not hold what they have changed

    async def abandon(self, turn: BoxTurn) -> None:
        """Take note that a command's caller was not told of its result."""
        if turn.ran is not None:
            memory = self._run.state.calls.get(turn.call)
            if memory is not None and memory.state is State.DONE:
                self._folder.take(turn.call, turn.ran)
            else:
                await self._leave()

    async def _kept(self, done: Completed, changes: Changes) -> BoxResult:
        gone, given = self._folder.compare(changes)
        blobs = await _each(self._put, [content for content, _ in changes.files.values()])
        files = [
            BoxFile(path, blob, executable)
            for (path, (_, executable)), blob in zip(changes.files.items(), blobs, strict=True)
        ]
        artifacts = [(one.path, await self._bytes(one.content)) for one in done.artifacts]
        return BoxResult(
            exit_code=done.exit_code,
            status=done.status,
            stdout=await self._bytes(done.stdout),
            stderr=await self._bytes(done.stderr),
            stdout_truncated=done.stdout_truncated,
            stderr_truncated=done.stderr_truncated,
            duration=done.duration,
            cpu=done.cpu,
            artifacts=tuple(artifacts),
            rejected=done.rejected,
            files=tuple(files),
            links=dict(changes.links),
            folders=changes.folders,
            gone=gone,
            whole=changes.whole,
            after=self._folder.newest,
            given=given,
        )

    # --- The box -----------------------------------------------------------------------------

    async def _opened(self) -> Box:
        """Return the box, with everything in its work folder that is known to be there."""
        live = self._live()
        if live is not None:
            return live
        await self._leave()
        self._require_whole()
        folder = self._folder
        known = Changes(
            files=await self._contents(folder.files.values()),
            links=dict(folder.links),
            folders=tuple(folder.folders),
        )
        sandbox = await self._run.parts.sandbox.require()
        stack = AsyncExitStack()
        try:
            box = await stack.enter_async_context(sandbox.open(self._spec))
            if known != Changes():
                await box.restore(known)
            if folder.written != Changes():
                await box.restore(folder.written, known=False)
            if self._closed:
                raise SandboxError(
                    "The box is closed: its task has ended.",
                    remedy="Await all that uses ctx.sandbox before the task returns.",
                )
        except BaseException:
            with anyio.CancelScope(shield=True):
                await stack.aclose()  # half a folder is none
            raise
        self._stack, self._box = stack, box
        self._run.rest.boxes += 1
        return box

    def _live(self) -> Box | None:
        return None if self._box is None or _lost(self._box) else self._box

    def _require_whole(self) -> None:
        if not self._folder.whole:
            raise BoxLostError(
                "The box is gone, and its work folder was too large to be kept.",
                remedy="Keep less in it, or allow larger snapshots: BoxLimits(snapshot=...).",
            )

    async def close(self) -> None:
        """Close the box, on every path; there will be no other."""
        self._closed = True
        await self._leave()

    async def _leave(self) -> None:
        if self._box is not None:
            stack, self._stack, self._box = self._stack, AsyncExitStack(), None
            self._run.rest.boxes -= 1
            with anyio.CancelScope(shield=True):
                await stack.aclose()

    # --- Files -------------------------------------------------------------------------------

    async def write(self, changes: Changes, *, loaded: bool = False) -> None:
        """Put files into the work folder; they are there when the next command begins.

        Args:
            loaded: Whether they are kept elsewhere, so that `changes` need not tell of them.
        """
        async with self._turn:
            box = self._live()
            try:
                if box is not None:
                    await box.restore(changes, known=False)
            except BoxLostError:
                self._require_whole()  # else the next command gets a fresh one, with them
            except BaseException:
                if self._folder.whole:
                    await self._leave()  # some of them may be there
                raise
            self._folder.put(changes, loaded=loaded)

    async def read(self, path: str) -> bytes:
        """Return a file of the work folder.

        Raises:
            SandboxError: There is none.
        """
        async with self._turn:
            box = self._live()
            if box is not None:
                with suppress(BoxLostError):  # it is known as well what there was
                    return await box.read(PurePosixPath(path))
            self._require_whole()
            if path in self._folder.written.files:
                return self._folder.written.files[path][0]
            if path in self._folder.files:
                return await self._fetch(self._folder.files[path].blob)
        raise SandboxError(
            f"{path} cannot be read: there is no such file in the work folder.",
            remedy="List its files: await ctx.sandbox.files()",
        )

    async def listing(self) -> Sequence[FileInfo]:
        """Return the regular files of the work folder; opens the box to look."""
        async with self._turn:
            return await (await self._opened()).files()

    async def snapshot(self) -> Changes:
        """Return everything that is in the work folder."""
        async with self._turn:
            self._require_known()
            return self._folder.over(await self._contents(self._folder.files.values()))

    async def changes(self) -> Changes:
        """Return what commands and writes have made of what was loaded."""
        async with self._turn:
            self._require_known()
            files, rest = self._folder.changed()
            content = await self._contents(files)
            return msgspec.structs.replace(rest, files={**content, **rest.files})

    def _require_known(self) -> None:
        if not self._folder.whole:
            raise SandboxError(
                "The work folder is too large to be looked at as a whole.",
                remedy="Keep less in it, or allow larger snapshots: BoxLimits(snapshot=...).",
            )

    # --- Content -----------------------------------------------------------------------------

    async def _contents(self, files: Iterable[BoxFile]) -> dict[str, tuple[bytes, bool]]:
        found = [*files]
        contents = await _each(self._fetch, [one.blob for one in found])
        return {
            one.path: (content, one.executable)
            for one, content in zip(found, contents, strict=True)
        }

    async def _fetch(self, blob: str) -> bytes:
        return await self._run.reach(self._run.parts.store.fetch(self._run.tenant, blob))

    async def _put(self, data: bytes) -> str:
        return await self._run.reach(self._run.parts.store.put(self._run.tenant, data))

    async def _bytes(self, data: bytes) -> Kept:
        return Kept(data) if len(data) <= _SMALL else Kept(blob=await self._put(data))

    async def _data(self, kept: Kept) -> bytes:
        return await self._fetch(kept.blob) if kept.blob else kept.data


def _lost(box: Box) -> bool:
    return bool(getattr(box, "lost", ""))


async def _each(work: Callable[[T], Awaitable[R]], items: Sequence[T]) -> list[R]:
    """Return what work makes of each item, once for equal ones."""
    found: dict[T, R] = {}
    failed: list[BaseException] = []

    async def some(left: Iterator[T]) -> None:
        for item in left:
            try:
                found[item] = await work(item)
            except (Exception, RunSuspended) as error:  # raised below, and in no group of one
                failed.append(error)
                group.cancel_scope.cancel()
                return

    left = iter(dict.fromkeys(items))
    async with anyio.create_task_group() as group:
        for _ in range(min(_HANDS, len(items))):
            group.start_soon(some, left)
    if failed:
        raise failed[0]
    return [found[item] for item in items]
