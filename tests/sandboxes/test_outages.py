"""Docker goes away, hangs and comes back: each a typed error in time, and nothing is left behind.

All of it happens to an engine of the tests' own.
"""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from datetime import timedelta
from pathlib import PurePosixPath
from typing import Any

import anyio
import anyio.to_thread
import docker
import docker.errors
import pytest

from astro import (
    BoxLostError,
    BoxStatus,
    DockerSandbox,
    SandboxError,
    SandboxSpec,
    SandboxUnavailableError,
)
from astro.testing import find_leaks
from tests.sandboxes.docker_here import Engine, mine

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.slow,
    pytest.mark.astro_leaks(allow=["child process"], reason="Docker is started again and again"),
]

LONG = timedelta(seconds=60)
PATIENCE = timedelta(seconds=5)
SPEC = SandboxSpec()
FOREVER = "while True: pass"


def sandbox_of(engine: Engine, pool: int = 2) -> DockerSandbox:
    return DockerSandbox(url=engine.url, pool=pool, patience=PATIENCE)


@asynccontextmanager
async def nothing_left(engine: Engine) -> AsyncIterator[None]:
    """Fail if the block leaves a container, a thread or a descriptor behind, once Docker is back."""
    async with find_leaks(allow=["child process"]):  # which the engine is
        yield
        await until(lambda: not mine(url=engine.url))


@contextmanager
def within(seconds: float) -> Iterator[None]:
    """Fail if the block takes much longer than it may; a machine with much to do has its time."""
    begun = time.monotonic()
    yield
    assert time.monotonic() - begun < seconds + 10


async def until(holds: Callable[[], bool]) -> None:
    with anyio.fail_after(20):
        while not await anyio.to_thread.run_sync(holds):
            await anyio.sleep(0.05)


async def until_stocked(sandbox: DockerSandbox, count: int) -> None:
    with anyio.fail_after(20):
        while sandbox._pool.stock != count:
            await anyio.sleep(0.02)


async def outside(work: Callable[[], None]) -> None:
    await anyio.to_thread.run_sync(work)


async def serves(sandbox: DockerSandbox) -> None:
    async with sandbox.open(SPEC) as box:
        assert (await box.python("print(1)", timeout=LONG)).text == "1\n"


async def refused(sandbox: DockerSandbox) -> SandboxUnavailableError:
    with pytest.raises(SandboxUnavailableError) as caught:
        async with sandbox.open(SPEC):
            raise AssertionError("it opened")
    assert caught.value.remedy
    return caught.value


# --- Stopped -----------------------------------------------------------------------------------


async def test_docker_is_stopped_before_anything_is_asked(engine: Engine) -> None:
    sandbox = sandbox_of(engine)
    async with nothing_left(engine):
        await outside(engine.stop)
        with within(1), pytest.raises(SandboxUnavailableError, match="cannot be reached"):
            await sandbox.check()
        with within(1), pytest.raises(SandboxUnavailableError, match="cannot be reached"):
            await sandbox.__aenter__()
        await outside(engine.start)
        async with sandbox:
            await serves(sandbox)


async def test_docker_is_stopped_while_containers_are_ready(engine: Engine) -> None:
    async with nothing_left(engine), sandbox_of(engine) as sandbox:
        await until_stocked(sandbox, 2)
        await outside(engine.stop)
        for _ in range(3):  # those that were ready are of no use
            with within(1):
                assert "cannot be reached" in (await refused(sandbox)).problem
        await outside(engine.start)
        await serves(sandbox)
        await until_stocked(sandbox, 2)
        await serves(sandbox)


async def test_docker_is_stopped_in_the_middle_of_a_command(engine: Engine) -> None:
    async with nothing_left(engine), sandbox_of(engine) as sandbox, sandbox.open(SPEC) as box:
        async with anyio.create_task_group() as group:
            begun = anyio.Event()

            async def run() -> None:
                with pytest.raises(BoxLostError) as caught:
                    await box.python(
                        f"print(1)\n{FOREVER}", timeout=LONG, listen=lambda _: begun.set()
                    )
                assert caught.value.remedy

            group.start_soon(run)
            await begun.wait()
            await outside(engine.stop)
        with pytest.raises(BoxLostError):
            await box.read(PurePosixPath("x"))
        await outside(engine.start)
        await serves(sandbox)


async def test_docker_is_stopped_between_two_commands(engine: Engine) -> None:
    async with nothing_left(engine), sandbox_of(engine) as sandbox, sandbox.open(SPEC) as box:
        assert (await box.python("print(1)", timeout=LONG)).ok
        await outside(engine.stop)
        with within(1), pytest.raises(BoxLostError):
            await box.write({PurePosixPath("x"): b"x"})
        await outside(engine.start)
        await serves(sandbox)


async def test_docker_is_stopped_while_it_makes_containers(engine: Engine) -> None:
    async with nothing_left(engine), sandbox_of(engine, pool=8) as sandbox:
        with anyio.fail_after(20):
            while not 1 <= sandbox._pool.stock < 6:
                await anyio.sleep(0.01)
        await outside(engine.stop)
        await refused(sandbox)
        await outside(engine.start)
        await serves(sandbox)
        await until_stocked(sandbox, 8)
        assert await anyio.to_thread.run_sync(lambda: len(mine(url=engine.url))) == 8


async def test_docker_is_stopped_when_a_sandbox_is_closed(engine: Engine) -> None:
    async with nothing_left(engine):
        async with sandbox_of(engine) as sandbox:
            await until_stocked(sandbox, 2)
            async with sandbox.open(SPEC):
                await outside(engine.stop)
            begun = time.monotonic()
        assert time.monotonic() - begun < PATIENCE.total_seconds() + 10
        await outside(engine.start)


@pytest.mark.parametrize("way", ["stop", "kill"])
async def test_docker_is_restarted(engine: Engine, way: str) -> None:
    async with nothing_left(engine), sandbox_of(engine) as sandbox, sandbox.open(SPEC) as box:
        await until_stocked(sandbox, 2)
        await outside(getattr(engine, way))
        await outside(engine.start)
        with pytest.raises(BoxLostError):
            await box.write({PurePosixPath("x"): b"x"})
        for _ in range(3):
            await serves(sandbox)


# --- Hanging -----------------------------------------------------------------------------------


@asynccontextmanager
async def hanging(engine: Engine) -> AsyncIterator[None]:
    engine.freeze()
    try:
        yield
    finally:
        engine.thaw()


async def test_docker_hangs_when_a_box_is_asked_for(engine: Engine) -> None:
    async with nothing_left(engine), sandbox_of(engine, pool=0) as sandbox:
        async with hanging(engine):
            with within(2 * PATIENCE.total_seconds()):
                assert "does not answer within 5 seconds" in (await refused(sandbox)).problem
            with within(PATIENCE.total_seconds()), pytest.raises(SandboxUnavailableError):
                await sandbox.check()
        await serves(sandbox)


async def test_who_does_not_wait_for_a_docker_that_hangs_is_free_at_once(engine: Engine) -> None:
    async with nothing_left(engine), sandbox_of(engine, pool=0) as sandbox:
        async with hanging(engine):
            begun = time.monotonic()
            for _ in range(20):
                with anyio.move_on_after(0.05):
                    await refused(sandbox)
            assert time.monotonic() - begun < 4  # and not twenty times what Docker may take
        await serves(sandbox)


async def test_docker_hangs_in_the_middle_of_a_command(engine: Engine) -> None:
    async with nothing_left(engine), sandbox_of(engine, pool=0) as sandbox:
        async with sandbox.open(SPEC) as box:
            async with hanging(engine):
                with within(1):
                    done = await box.python("print(1)", timeout=timedelta(seconds=0.5))
                assert done.status is BoxStatus.TIMED_OUT
                assert box.lost
            with pytest.raises(BoxLostError):
                await box.python("print(1)", timeout=LONG)
        await serves(sandbox)


async def test_docker_hangs_when_a_sandbox_is_closed(engine: Engine) -> None:
    async with nothing_left(engine):
        sandbox = await sandbox_of(engine).__aenter__()
        await until_stocked(sandbox, 2)
        async with hanging(engine):
            with within(2 * PATIENCE.total_seconds()):
                await sandbox.__aexit__(None, None, None)


async def test_what_docker_made_after_nobody_waited_any_more_is_removed(engine: Engine) -> None:
    async with nothing_left(engine), sandbox_of(engine, pool=0) as sandbox:
        async with hanging(engine):
            await refused(sandbox)  # Docker has been asked to make a container, and goes on to
        await until(lambda: bool(mine(url=engine.url)))


# --- Images ------------------------------------------------------------------------------------


def tag(engine: Engine, made: str, *, name: str = "astro-of-a-test") -> None:
    """Give a name to an image with a label that tells one from another."""
    client = docker.DockerClient(engine.url)
    try:
        base = client.containers.create("astro-sandbox", ["true"], network_mode="none")
        client.api.commit(base.id, name, changes=f"LABEL made={made}")
        base.remove()
    finally:
        client.close()


def forget(engine: Engine, name: str = "astro-of-a-test") -> None:
    """Remove an image, and not its name alone, as Docker does while a container ends."""
    client = docker.DockerClient(engine.url)
    try:
        id_ = client.images.get(name).id
        while any(one.id == id_ for one in client.images.list(all=True)):
            with suppress(docker.errors.APIError):
                client.images.remove(id_, force=True)
    finally:
        client.close()


def made_of(engine: Engine) -> set[Any]:
    return {one["Labels"].get("made") for one in mine(url=engine.url)}


async def test_an_image_that_is_removed_between_is_named_and_found_again(engine: Engine) -> None:
    await outside(lambda: tag(engine, "first"))
    sandbox = DockerSandbox("astro-of-a-test", url=engine.url, pool=0, patience=PATIENCE)
    async with nothing_left(engine), sandbox:
        await serves(sandbox)
        await outside(lambda: forget(engine))
        found = await refused(sandbox)
        assert "no such image" in found.problem
        assert "astro sandbox build" in found.remedy
        await outside(lambda: tag(engine, "second"))
        async with sandbox.open(SPEC):
            assert await anyio.to_thread.run_sync(made_of, engine) == {"second"}
    await outside(lambda: forget(engine))


async def test_all_boxes_of_a_sandbox_have_the_same_image(engine: Engine) -> None:
    await outside(lambda: tag(engine, "first"))
    sandbox = DockerSandbox("astro-of-a-test", url=engine.url, pool=0, patience=PATIENCE)
    async with nothing_left(engine):
        async with sandbox:
            await outside(lambda: tag(engine, "second"))
            async with sandbox.open(SPEC):
                assert await anyio.to_thread.run_sync(made_of, engine) == {"first"}
        async with sandbox, sandbox.open(SPEC):
            assert await anyio.to_thread.run_sync(made_of, engine) == {"second"}
    await outside(lambda: forget(engine))


# --- A sandbox that is closed ------------------------------------------------------------------


async def test_a_sandbox_that_is_closed_takes_its_open_boxes_with_it(engine: Engine) -> None:
    async with nothing_left(engine):
        sandbox = sandbox_of(engine)
        async with sandbox:
            opened = sandbox.open(SPEC)
            box = await opened.__aenter__()
        assert not await anyio.to_thread.run_sync(lambda: mine(url=engine.url))
        with pytest.raises(BoxLostError):
            await box.write({PurePosixPath("x"): b"x"})
        await opened.__aexit__(None, None, None)
        with pytest.raises(SandboxError, match="not open"):
            await serves(sandbox)


async def test_a_sandbox_may_be_entered_by_many_at_once(engine: Engine) -> None:
    async with nothing_left(engine):
        sandbox = sandbox_of(engine, pool=1)

        async def use() -> None:
            async with sandbox:
                await serves(sandbox)

        for _ in range(3):
            async with anyio.create_task_group() as group:
                for _ in range(4):
                    group.start_soon(use)
