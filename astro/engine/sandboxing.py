"""Sandboxing: the sandbox of an engine, and the box that a task sees of it."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence
from contextlib import AsyncExitStack
from contextvars import ContextVar
from datetime import timedelta
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any, Final

import anyio

from astro.core.context import Context
from astro.core.errors import (
    BoxLostError,
    InvalidArgumentsError,
    SandboxError,
    SandboxTimeoutError,
    SandboxUnavailableError,
)
from astro.core.policy import Effect
from astro.core.protocols import Sandbox
from astro.core.sandbox import Changes, Completed, FileInfo, Listener, SandboxSpec, inside
from astro.core.task import Task, task
from astro.engine.boxes import Boxes, BoxRequest, BoxResult

if TYPE_CHECKING:
    from astro.engine.attempt import Attempt
    from astro.engine.request import CallPolicy

__all__ = ["BoxView", "SandboxDoor"]

_LOGGER = logging.getLogger("astro.engine")
_TIMEOUT: Final = timedelta(seconds=30)
_NONE: Final = "This engine has no sandbox, so untrusted code does not run."


class SandboxDoor:
    """The sandbox of an engine: opened once, and again when it could not be opened before."""

    def __init__(self, sandbox: Sandbox | None) -> None:
        self._sandbox: Any = sandbox
        self._stack: AsyncExitStack | None = None
        self._turn = anyio.Lock()

    async def open(self) -> None:
        """Open it if it can be opened; what needs no box works without."""
        if self._sandbox is not None:
            try:
                await self.require()
            except SandboxUnavailableError as error:
                _LOGGER.warning("No box can be opened: %s", error)

    async def close(self) -> None:
        """Close it."""
        stack, self._stack = self._stack, None
        if stack is not None:
            await stack.aclose()

    async def require(self) -> Sandbox:
        """Return the open sandbox.

        Raises:
            SandboxUnavailableError: There is none, or it cannot be opened. Nothing runs instead.
        """
        if self._sandbox is None:
            raise SandboxUnavailableError(_NONE, remedy="Give the engine a sandbox.")
        async with self._turn:
            if self._stack is None:
                stack = AsyncExitStack()
                if hasattr(self._sandbox, "__aenter__"):
                    await stack.enter_async_context(self._sandbox)
                else:
                    await self._sandbox.check()
                self._stack = stack
        found: Sandbox = self._sandbox
        return found


_performing: ContextVar[tuple[Boxes, Listener | None]] = ContextVar("astro_box")


@task(
    name="sandbox.run",
    effect=Effect.EXECUTE,
    raises=(SandboxUnavailableError, SandboxTimeoutError, BoxLostError, SandboxError),
)
async def _in_box(ctx: Context, asked: BoxRequest) -> BoxResult:
    """Run a command in the box of the task that asks for it."""
    boxes, listen = _performing.get()
    return await boxes.perform(asked, listen)


class BoxView:
    """`ctx.sandbox`: the box of an attempt. It opens when something has to run in it."""

    def __init__(self, attempt: Attempt, place: str, policy: CallPolicy) -> None:
        self._attempt = attempt
        self._place = place
        self._policy = policy

    @property
    def _boxes(self) -> Boxes:
        attempt = self._attempt
        attempt.run.require_open()
        if attempt.boxes is None:
            attempt.boxes = Boxes(attempt.run, attempt.spec or SandboxSpec())
        return attempt.boxes

    async def run(
        self,
        command: Sequence[str],
        /,
        *,
        stdin: bytes = b"",
        env: Mapping[str, str] | None = None,
        collect: Iterable[str] = (),
        timeout: timedelta = _TIMEOUT,
        listen: Listener | None = None,
    ) -> Completed:
        """Run a command, once; remembered, it is not run again.

        Raises:
            SandboxUnavailableError: No box can be opened. Nothing runs instead.
            BoxLostError: The box is gone, for no fault of the command.
        """
        if isinstance(command, str):
            raise InvalidArgumentsError(
                f"A command is a list of words, not {command!r:.60}.",
                remedy="Write ['python3', 'script.py'], or ['sh', '-c', '...'] for a shell.",
            )
        return await self._run(
            BoxRequest(
                spec=self._boxes.spec,
                timeout=timeout,
                argv=tuple(command),
                stdin=stdin,
                env=dict(env or {}),
                collect=tuple(collect),
            ),
            listen,
        )

    async def python(
        self,
        code: str,
        /,
        *,
        stdin: bytes = b"",
        env: Mapping[str, str] | None = None,
        collect: Iterable[str] = (),
        timeout: timedelta = _TIMEOUT,
        listen: Listener | None = None,
    ) -> Completed:
        """Run Python code as a program of its own, once; remembered, it is not run again.

        Raises:
            SandboxUnavailableError: No box can be opened. Nothing runs instead.
            BoxLostError: The box is gone, for no fault of the code.
        """
        return await self._run(
            BoxRequest(
                spec=self._boxes.spec,
                timeout=timeout,
                code=code,
                stdin=stdin,
                env=dict(env or {}),
                collect=tuple(collect),
            ),
            listen,
        )

    async def _run(self, asked: BoxRequest, listen: Listener | None) -> Completed:
        boxes, attempt = self._boxes, self._attempt
        bound = _task().signature.bind((asked,), {})
        identity = attempt.ordinals.take(self._place, _task().name, bound.raw)
        token = _performing.set((boxes, listen))
        try:
            ran: BoxResult = await attempt.run.ask(
                attempt, _task(), bound, identity, self._place, self._policy
            )
        finally:
            _performing.reset(token)
        return await boxes.learn(ran)

    async def write(self, files: Mapping[str | PurePosixPath, bytes | str], /) -> None:
        """Put files into the work folder; a text is written as UTF-8.

        Raises:
            InvalidArgumentsError: A path leads out of it.
            SandboxError: They do not fit.
        """
        said = {
            _path(path): (data.encode() if isinstance(data, str) else data, False)
            for path, data in files.items()
        }
        await self._boxes.write(Changes(files=said))

    async def load(self, changes: Changes, /) -> None:
        """Put files, links and folders into the work folder, as `snapshot` or a workspace has them.

        Raises:
            SandboxError: They do not fit.
        """
        await self._boxes.write(changes)

    async def snapshot(self) -> Changes:
        """Return everything that is in the work folder; opens no box.

        Raises:
            SandboxError: It is too large to be kept.
        """
        return await self._boxes.snapshot()

    async def read(self, path: str | PurePosixPath, /) -> bytes:
        """Return the content of a regular file of the work folder.

        Raises:
            InvalidArgumentsError: The path leads out of it.
            SandboxError: There is no such file.
        """
        return await self._boxes.read(_path(path))

    async def files(self) -> Sequence[FileInfo]:
        """Return the regular files of the work folder."""
        return await self._boxes.listing()


def _task() -> Task[..., Any]:
    return _in_box


def _path(path: str | PurePosixPath) -> str:
    try:
        return inside(path)
    except ValueError as error:
        raise InvalidArgumentsError(str(error), remedy="Use a relative path.") from error
