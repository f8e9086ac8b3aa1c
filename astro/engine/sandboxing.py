"""Sandboxing: the sandbox of an engine, and the box that a task sees of it."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from contextvars import ContextVar
from datetime import timedelta
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any, Final

import anyio
from msgspec.structs import asdict, replace

from astro.core.codec import to_json
from astro.core.context import Context
from astro.core.errors import (
    BoxLostError,
    BudgetExceededError,
    InvalidArgumentsError,
    SandboxError,
    SandboxTimeoutError,
    SandboxUnavailableError,
)
from astro.core.policy import Effect
from astro.core.protocols import Sandbox
from astro.core.sandbox import (
    BoxLimits,
    Changes,
    Completed,
    FileInfo,
    Listener,
    SandboxSpec,
    inside,
)
from astro.core.task import Task, task
from astro.engine.boxes import Boxes, BoxRequest, BoxTurn
from astro.engine.folder import BoxResult

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


_performing: ContextVar[BoxTurn] = ContextVar("astro_box")


@task(
    name="sandbox.run",
    effect=Effect.EXECUTE,
    raises=(SandboxUnavailableError, SandboxTimeoutError, BoxLostError, SandboxError),
)
async def _in_box(ctx: Context, asked: BoxRequest) -> BoxResult:
    """Run a command in the box of the task that asks for it."""
    turn = _performing.get()
    ran = await turn.boxes.perform(asked, turn)
    if asked.spec.price:
        limits = asked.spec.limits or BoxLimits()
        seconds = ran.duration * limits.cpus if ran.lost else ran.cpu
        # Kept with the result; where it was too much, the next call is refused.
        with suppress(BudgetExceededError):
            ctx.options(name="processor").spend(money=seconds * asked.spec.price)
    return ran


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
            InvalidArgumentsError: It is no command, or something about it is no such thing.
            SandboxUnavailableError: No box can be opened. Nothing runs instead.
            BoxLostError: The box is gone, for no fault of the command.
        """
        if isinstance(command, str | bytes) or not command:
            raise InvalidArgumentsError(
                f"A command is a list of words, not {command!r:.60}.",
                remedy="Write ['python3', 'script.py'], or ['sh', '-c', '...'] for a shell.",
            )
        asked = self._request(stdin, env, collect, timeout)
        return await self._run(replace(asked, argv=tuple(command)), listen)

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
            InvalidArgumentsError: Something about it is no such thing.
            SandboxUnavailableError: No box can be opened. Nothing runs instead.
            BoxLostError: The box is gone, for no fault of the code.
        """
        asked = self._request(stdin, env, collect, timeout)
        return await self._run(replace(asked, code=code), listen)

    def _request(
        self,
        stdin: bytes,
        env: Mapping[str, str] | None,
        collect: Iterable[str],
        timeout: timedelta,
    ) -> BoxRequest:
        if not isinstance(stdin, bytes | bytearray | memoryview):
            raise _wrong(f"Standard input is bytes, not {stdin!r:.60}.", "Write text.encode().")
        if isinstance(collect, str | bytes):
            raise _wrong(f"{collect!r:.60} is no list of patterns.", "Write [pattern].")
        if not isinstance(timeout, timedelta) or timeout <= timedelta(0):
            raise _wrong(f"{timeout!r:.60} is no time-out.", "Write timedelta(seconds=30).")
        return BoxRequest(
            spec=self._boxes.spec,
            timeout=timeout,
            stdin=bytes(stdin),
            env=dict(env or {}),
            collect=tuple(collect),
        )

    async def _run(self, asked: BoxRequest, listen: Listener | None) -> Completed:
        boxes, attempt = self._boxes, self._attempt
        bound = _task().signature.bind((asked,), {})
        # A command that has run does not run again because its task has got other limits.
        said = {name: value for name, value in asdict(asked).items() if name != "spec"}
        identity = attempt.ordinals.take(self._place, _task().name, to_json(said))
        turn = BoxTurn(boxes, identity, listen)
        token = _performing.set(turn)
        try:
            ran: BoxResult = await attempt.run.ask(
                attempt, _task(), bound, identity, self._place, self._policy
            )
            return await boxes.learn(turn, ran, _task())
        except BaseException:
            await boxes.abandon(turn)
            raise
        finally:
            turn.end()
            _performing.reset(token)

    async def write(self, files: Mapping[str | PurePosixPath, bytes | str], /) -> None:
        """Put files into the work folder; a text is written as UTF-8.

        Raises:
            InvalidArgumentsError: A path leads out of it, or a content is none.
            SandboxError: They do not fit.
        """
        said = {_path(path): (_content(path, data), False) for path, data in files.items()}
        await self._boxes.write(Changes(files=said))

    async def load(self, changes: Changes, /) -> None:
        """Put files, links and folders into the work folder, as `snapshot` or a workspace has them.

        Raises:
            InvalidArgumentsError: A path leads out of it, or a content is none.
            SandboxError: They do not fit.
        """
        files = {
            _path(path): (_content(path, data), executable)
            for path, (data, executable) in changes.files.items()
        }
        links = {_path(path): _path_of_link(target) for path, target in changes.links.items()}
        folders = tuple(_path(path) for path in changes.folders)
        said = Changes(files=files, links=links, folders=folders)
        await self._boxes.write(said, loaded=True)

    async def snapshot(self) -> Changes:
        """Return everything that is in the work folder; opens no box.

        Raises:
            SandboxError: It is too large to be kept.
        """
        return await self._boxes.snapshot()

    async def changes(self) -> Changes:
        """Return what commands and `write` have made of what was loaded; opens no box.

        Raises:
            SandboxError: The work folder is too large to be kept.
        """
        return await self._boxes.changes()

    @asynccontextmanager
    async def holding(self, lock: anyio.Lock) -> AsyncIterator[None]:
        """Hold a lock that other tasks use as well; while this one waits for it, others work."""
        attempt = self._attempt
        attempt.run.require_open()
        over = attempt.wait()
        attempt.run.rest.queued += 1  # it waits for its turn, not for a person or for time
        try:
            await lock.acquire()
        except BaseException:
            over()
            attempt.seize()
            raise
        finally:
            attempt.run.rest.queued -= 1
        try:
            over()
            await attempt.go_on()
            yield
        finally:
            lock.release()

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
        raise _wrong(str(error), "Use a relative path, of text that UTF-8 can hold.") from error


def _path_of_link(target: str) -> str:
    if not target or not _is_clean(target) or "\0" in target:
        raise _wrong(f"{target!r:.60} is nothing that a link can lead to.", "Leave it out.")
    return target


def _content(path: str | PurePosixPath, data: bytes | str) -> bytes:
    if isinstance(data, str) and _is_clean(data):
        return data.encode()
    if isinstance(data, bytes | bytearray | memoryview):
        return bytes(data)
    raise _wrong(
        f"{str(path)!r:.60} cannot hold {data!r:.60}.", "Write bytes, or text that UTF-8 can hold."
    )


def _is_clean(text: str) -> bool:
    try:
        return bool(text.encode()) or not text
    except UnicodeEncodeError:
        return False


def _wrong(problem: str, remedy: str) -> InvalidArgumentsError:
    return InvalidArgumentsError(problem, remedy=remedy)
