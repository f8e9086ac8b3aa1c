"""Leaks: each kind is found where it was planted, and nothing is found where nothing is."""

from __future__ import annotations

import asyncio
import os
import socket
import subprocess
import sys
import threading
import warnings
from collections.abc import Callable, Hashable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack, ExitStack, closing
from datetime import timedelta
from pathlib import Path
from typing import Any

import anyio
import anyio.to_thread
import pytest

from astro import BoxLimits, Context, DockerSandbox, LocalEngine, SandboxSpec, SqliteStore, task
from astro.sandboxes.docker.daemon import LABEL, OWNER, Daemon
from astro.sandboxes.docker.leftovers import owner
from astro.sandboxes.docker.sandbox import DEFAULT_IMAGE
from astro.testing.leaks import Leak, LeaksError, find_leaks
from tests.sandboxes.docker_here import mine, needs_docker

# What is planted here is found by the plugin too.
pytestmark = pytest.mark.astro_leaks(False)

NEEDS_PROC = pytest.mark.skipif(not Path("/proc/self/fd").is_dir(), reason="no /proc here")


@pytest.fixture
def later() -> Iterator[ExitStack]:
    """What is planted is taken away when the test is over."""
    with ExitStack() as stack:
        yield stack


def found(plant: Callable[[], object], **options: Any) -> tuple[Leak, ...]:
    """Return what is left behind by a function."""
    with pytest.raises(LeaksError) as caught, find_leaks(**options):
        plant()
    return caught.value.leaks


def kinds(leaks: tuple[Leak, ...]) -> list[str]:
    return [leak.kind for leak in leaks]


# --- What is found -----------------------------------------------------------------------------


async def wait_for_nothing() -> None:
    await asyncio.get_running_loop().create_future()


async def leave_a_task() -> asyncio.Task[None]:
    left = asyncio.create_task(wait_for_nothing(), name="forgotten")
    await asyncio.sleep(0)
    return left


@pytest.mark.parametrize("run", [asyncio.run, lambda main: anyio.run(lambda: main)])
def test_a_task_that_its_loop_had_to_cancel_is_found(run: Callable[[Any], None]) -> None:
    (leak,) = found(lambda: run(leave_a_task()))
    assert leak.kind == "task"
    assert "forgotten: wait_for_nothing" in leak.what
    assert "test_leaks.py:" in leak.what


def test_a_task_of_a_loop_that_stays_open_is_found(later: ExitStack) -> None:
    runner = later.enter_context(asyncio.Runner())
    runner.run(asyncio.sleep(0))
    kept: list[object] = []
    (leak,) = found(lambda: kept.append(runner.run(leave_a_task())))
    assert leak.kind == "task"
    assert "forgotten: wait_for_nothing" in leak.what


def test_a_task_that_nobody_holds_is_found(later: ExitStack) -> None:
    runner = later.enter_context(asyncio.Runner())
    runner.run(asyncio.sleep(0))

    def plant() -> None:
        runner.run(leave_a_task())

    (leak,) = found(plant)
    assert leak.kind == "task"
    assert "destroyed but it is pending" in leak.what


@pytest.mark.parametrize("anyio_backend", ["asyncio"])
@pytest.mark.anyio
async def test_a_task_is_found_from_within_its_loop() -> None:
    with pytest.raises(LeaksError, match="task: mine: wait_for_nothing"):
        async with find_leaks():
            left = asyncio.create_task(wait_for_nothing(), name="mine")
    left.cancel()


def test_an_exception_that_nobody_retrieves_is_found() -> None:
    async def fail() -> None:
        raise ValueError("unheard")

    async def main() -> None:
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(None)
        lost = asyncio.create_task(fail())
        lost.add_done_callback(lambda _: None)
        cycle: list[object] = [lost]
        cycle.append(cycle)  # so that the garbage collector has to find it
        await asyncio.sleep(0)
        await asyncio.sleep(0)

    (leak,) = found(lambda: asyncio.run(main()))
    assert leak.kind == "exception"
    assert "never retrieved" in leak.what
    assert "ValueError('unheard')" in leak.what


def test_a_coroutine_that_nobody_awaits_is_found() -> None:
    def plant() -> None:
        cycle: list[object] = [wait_for_nothing()]
        cycle.append(cycle)

    (leak,) = found(plant)
    assert leak.kind == "exception"
    assert "wait_for_nothing' was never awaited" in leak.what


class Unfinished:
    """Fails when it is let go of."""

    def __del__(self) -> None:
        raise ValueError("too late")


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_an_error_of_a_finalizer_is_found() -> None:
    (leak,) = found(Unfinished)
    assert leak.kind == "exception"
    assert leak.what.startswith("ValueError('too late'), ignored in")


def test_an_error_of_a_finalizer_that_waits_for_the_garbage_collector_is_found() -> None:
    def plant() -> None:
        cycle: list[object] = [Unfinished()]
        cycle.append(cycle)

    (leak,) = found(plant)
    assert leak.what.startswith("ValueError('too late'), ignored in")


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_an_error_that_ends_a_thread_is_found() -> None:
    def fail() -> None:
        raise ValueError("alone")

    def plant() -> None:
        thread = threading.Thread(target=fail, name="lonely")
        thread.start()
        thread.join()

    assert found(plant) == (Leak("exception", "ValueError('alone'), in lonely"),)


@pytest.fixture
def no_errors() -> Iterator[None]:
    """Warnings are shown, as they are to most, and no errors."""
    with warnings.catch_warnings(record=True):
        warnings.simplefilter("default")
        yield


def test_a_coroutine_that_nobody_awaits_is_found_where_warnings_are_no_errors(
    no_errors: None,
) -> None:
    (leak,) = found(lambda: wait_for_nothing() and None)
    assert leak == Leak("exception", "coroutine 'wait_for_nothing' was never awaited")


def test_a_file_that_nobody_closes_is_found_where_python_warns_of_it(
    no_errors: None, tmp_path: Path
) -> None:
    (leak,) = found(lambda: (tmp_path / "left.txt").open("w") and None)
    assert leak.kind == "exception"
    assert "unclosed file" in leak.what


def test_a_thread_is_found(later: ExitStack) -> None:
    over = threading.Event()
    later.callback(over.set)
    (leak,) = found(lambda: threading.Thread(target=over.wait, name="lost").start())
    assert leak == Leak("thread", "lost")


def test_a_daemon_of_astro_is_found_and_those_of_others_are_not(later: ExitStack) -> None:
    over = threading.Event()
    later.callback(over.set)

    def plant() -> None:
        for name in ("astro-pool-1", "somebody-else"):
            threading.Thread(target=over.wait, name=name, daemon=True).start()

    assert found(plant) == (Leak("thread", "astro-pool-1"),)


def test_the_pool_of_a_loop_belongs_to_the_loop(later: ExitStack) -> None:
    runner = later.enter_context(asyncio.Runner())
    runner.run(asyncio.sleep(0))
    with find_leaks():
        runner.run(asyncio.to_thread(int))


@NEEDS_PROC
def test_a_file_is_found_with_its_name(tmp_path: Path, later: ExitStack) -> None:
    def plant() -> None:
        later.enter_context((tmp_path / "left.txt").open("w"))

    (leak,) = found(plant)
    assert leak.kind == "file descriptor"
    assert leak.what.endswith(f"-> {tmp_path}/left.txt")


@NEEDS_PROC
def test_a_socket_is_found_with_its_address(later: ExitStack) -> None:
    server = socket.socket()
    later.callback(server.close)

    def plant() -> None:
        later.enter_context(closing(server.dup()))

    server.bind(("127.0.0.1", 0))
    (leak,) = found(plant)
    assert f"AF_INET ('127.0.0.1', {server.getsockname()[1]})" in leak.what


def start(program: str, later: ExitStack) -> subprocess.Popen[bytes]:
    child = subprocess.Popen([sys.executable, "-S", "-c", program], stdin=subprocess.PIPE)
    later.enter_context(child)
    later.callback(child.kill)
    return child


@NEEDS_PROC
def test_a_child_process_that_runs_is_found(later: ExitStack) -> None:
    (leak,) = found(lambda: start("input()", later), allow=["file descriptor"])
    assert leak.kind == "child process"
    assert leak.what.endswith("-S -c input()")


@NEEDS_PROC
def test_a_child_process_that_nobody_has_waited_for_is_found(later: ExitStack) -> None:
    def plant() -> None:
        child = start("pass", later)
        os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)

    (leak,) = found(plant, allow=["file descriptor"])
    assert leak.kind == "child process"
    assert "nobody has waited for it" in leak.what


# --- Containers --------------------------------------------------------------------------------


@pytest.fixture
def docker_here() -> None:
    needs_docker()


@pytest.fixture
def runner(docker_here: None) -> Iterator[asyncio.Runner]:
    """An event loop that is open before anything is looked at."""
    with asyncio.Runner() as runner:
        runner.run(asyncio.sleep(0))
        yield runner


def test_a_container_is_found(docker_here: None, later: ExitStack) -> None:
    daemon = Daemon()
    later.callback(daemon.close)

    def plant() -> None:
        image, labels = daemon.image(DEFAULT_IMAGE), {LABEL: "1", OWNER: owner()}
        container = daemon.begin(image, BoxLimits(), labels, 0.0)
        later.callback(daemon.remove, container.id)
        later.callback(container.wire.close)
        planted.append(container.id[:12])

    planted: list[str] = []
    assert found(plant, allow=["file descriptor"]) == (Leak("container", planted[0]),)


def test_the_containers_of_a_sandbox_that_nobody_closes_are_found(
    runner: asyncio.Runner, later: ExitStack
) -> None:
    rest = AsyncExitStack()
    later.callback(lambda: runner.run(rest.aclose()))

    async def plant() -> None:
        sandbox = await rest.enter_async_context(DockerSandbox(pool=0))
        await rest.enter_async_context(sandbox.open(SandboxSpec()))

    leaks = found(lambda: runner.run(plant()), allow=["file descriptor"])
    assert sorted({leak.kind for leak in leaks}) == ["container", "thread"]
    assert kinds(leaks).count("container") == 1


async def open_a_box(sandbox: DockerSandbox) -> None:
    async with sandbox.open(SandboxSpec()) as box:
        assert (await box.run(["true"], timeout=timedelta(minutes=1))).exit_code == 0


def test_a_sandbox_that_is_closed_leaves_nothing(runner: asyncio.Runner) -> None:
    async def main() -> None:
        async with DockerSandbox(pool=1) as sandbox:
            await open_a_box(sandbox)

    with find_leaks():
        runner.run(main())


def test_what_a_sandbox_of_others_makes_meanwhile_is_no_leak(runner: asyncio.Runner) -> None:
    async def wait_for_stock() -> None:
        with anyio.fail_after(60):
            while sandbox._pool.stock < 2:  # threads fill it
                await anyio.sleep(0.05)

    async def wait_for_more() -> None:
        with anyio.fail_after(60):
            while len({one["Id"] for one in await anyio.to_thread.run_sync(mine)} - before) < 2:
                await anyio.sleep(0.05)

    sandbox = DockerSandbox(pool=2)
    runner.run(sandbox.__aenter__())
    try:
        runner.run(wait_for_stock())
        with find_leaks():
            before = {one["Id"] for one in mine()}
            for _ in range(2):
                runner.run(open_a_box(sandbox))
            runner.run(wait_for_more())
        with find_leaks(), find_leaks() as inner, inner.belonging_to_others():
            runner.run(open_a_box(sandbox))
    finally:
        with find_leaks():
            runner.run(sandbox.__aexit__(None, None, None))


def test_who_has_nothing_to_do_with_docker_does_not_wait_for_it() -> None:
    program = (
        "import asyncio, sys\n"
        "from astro import DockerSandbox\n"
        "from astro.testing import find_leaks\n"
        "with find_leaks():\n"
        "    asyncio.run(asyncio.sleep(0))\n"
        "print('docker' in sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=True
    )
    assert done.stdout == "False\n"


def test_a_docker_that_is_gone_by_then_keeps_nobody(tmp_path: Path, later: ExitStack) -> None:
    gone = Daemon(f"unix://{tmp_path}/gone.sock")
    with find_leaks():
        gone.close()


@pytest.mark.parametrize("anyio_backend", ["asyncio", "trio"])
@pytest.mark.anyio
@pytest.mark.astro_blocking
async def test_looking_blocks_no_event_loop(docker_here: None, anyio_backend: str) -> None:
    async with find_leaks(), DockerSandbox(pool=0) as sandbox:
        await open_a_box(sandbox)


# --- What is not -------------------------------------------------------------------------------


def test_a_warning_that_is_asked_for_is_no_leak(no_errors: None) -> None:
    with find_leaks(), pytest.warns(RuntimeWarning, match="never awaited"):
        assert wait_for_nothing()


def test_a_warning_of_something_else_is_no_leak(no_errors: None) -> None:
    with find_leaks():
        warnings.warn("a number is large", RuntimeWarning, stacklevel=1)


@task
async def double(ctx: Context, number: int) -> int:
    return 2 * number


def test_a_clean_run_leaves_nothing(tmp_path: Path) -> None:
    async def main() -> None:
        async with LocalEngine(double, store=SqliteStore(tmp_path / "runs.db")) as engine:
            assert await engine.run(double, 4) == 8
        await anyio.to_thread.run_sync(int)
        await asyncio.to_thread(int)
        await anyio.run_process([sys.executable, "-S", "-c", "pass"])

    with find_leaks() as finder:
        anyio.run(main)
        with ThreadPoolExecutor(1) as pool:
            pool.submit(int).result()
    assert finder.leaks == ()


@pytest.mark.anyio
async def test_what_is_about_to_end_is_given_the_time() -> None:
    async with find_leaks(), anyio.create_task_group() as group:
        group.start_soon(anyio.sleep, 0.01)
    if (loop := _asyncio_loop()) is not None:
        async with find_leaks():
            loop.create_task(asyncio.sleep(0.05))


def _asyncio_loop() -> asyncio.AbstractEventLoop | None:
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        return None


def test_a_task_that_is_cancelled_already_is_no_leak() -> None:
    async def main() -> None:
        asyncio.create_task(wait_for_nothing()).cancel()

    with find_leaks():
        asyncio.run(main())


def test_a_task_that_could_not_yet_end_is_no_leak(later: ExitStack) -> None:
    async def main() -> asyncio.Task[None]:
        left = await leave_a_task()
        asyncio.get_running_loop().call_soon(left.cancel)
        return left

    runner = later.enter_context(asyncio.Runner())
    kept: list[object] = []
    with find_leaks(allow=["file descriptor"]):
        kept.append(runner.run(main()))


def test_a_task_that_goes_on_although_it_was_cancelled_is_found() -> None:
    async def linger() -> None:
        try:
            await wait_for_nothing()
        finally:
            await wait_for_nothing()

    async def main() -> None:
        left = asyncio.create_task(linger(), name="lingering")
        await asyncio.sleep(0)
        left.cancel()

    (leak,) = found(lambda: asyncio.run(main()))
    assert "lingering" in leak.what


def test_a_thread_that_is_about_to_end_is_no_leak() -> None:
    with find_leaks():
        threading.Thread(target=threading.Event().wait, args=(0.05,)).start()


def test_what_was_there_before_is_no_leak(later: ExitStack) -> None:
    over = threading.Event()
    later.callback(over.set)
    threading.Thread(target=over.wait).start()
    with find_leaks():
        pass


def test_what_belongs_to_others_is_no_leak(later: ExitStack) -> None:
    over = threading.Event()
    later.callback(over.set)
    with find_leaks() as finder, finder.belonging_to_others():
        threading.Thread(target=over.wait).start()


def test_a_kind_that_is_allowed_is_no_leak() -> None:
    with find_leaks(allow=["task"]):
        asyncio.run(leave_a_task())


def test_a_complaint_that_somebody_handles_is_no_leak() -> None:
    handled: list[str] = []

    async def main() -> None:
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(lambda _, context: handled.append(context["message"]))
        loop.call_exception_handler({"message": "a complaint"})

    with find_leaks():
        asyncio.run(main())
    assert handled == ["a complaint"]


def test_an_error_of_the_block_is_the_error_that_is_raised() -> None:
    def fail() -> None:
        asyncio.run(leave_a_task())
        raise KeyError("mine")

    with pytest.raises(KeyError), find_leaks():
        fail()


# --- Probes ------------------------------------------------------------------------------------


class Shelf:
    """Things with numbers."""

    kind = "book"

    def __init__(self) -> None:
        self.books: dict[Hashable, str] = {1: "Emma"}

    def look(self) -> Mapping[Hashable, str]:
        return dict(self.books)


def test_a_probe_adds_what_it_looks_at() -> None:
    shelf = Shelf()
    with pytest.raises(LeaksError, match="book: Persuasion") as caught, find_leaks(shelf):
        shelf.books[2] = "Persuasion"
    assert caught.value.leaks == (Leak("book", "Persuasion"),)


def test_a_long_list_is_cut() -> None:
    shelf = Shelf()
    with pytest.raises(LeaksError, match=r"and 10 more$") as caught, find_leaks(shelf):
        shelf.books |= {number: str(number) for number in range(10, 40)}
    assert len(caught.value.leaks) == 30


def test_nothing_stays_replaced() -> None:
    base = asyncio.BaseEventLoop

    def now() -> list[object]:
        hooks = [sys.unraisablehook, threading.excepthook, vars(warnings)["_showwarnmsg"]]
        loops = [base.run_forever, base.call_exception_handler, asyncio.Runner.close]
        return hooks + loops + [Daemon.begin, Daemon.close]

    before = now()
    with find_leaks():
        assert not any(one is other for one, other in zip(now(), before, strict=True))
    assert all(one is other for one, other in zip(now(), before, strict=True))
