"""The life of boxes: opened, ended, lost, and never left behind."""

from __future__ import annotations

import os
import random
import signal
import sys
import threading
from datetime import timedelta
from pathlib import PurePosixPath
from typing import Any

import anyio
import docker
import pytest

from astro import (
    BoxLimits,
    BoxLostError,
    BoxStatus,
    DockerSandbox,
    SandboxError,
    SandboxSpec,
    SandboxUnavailableError,
)
from astro.sandboxes.docker.daemon import LABEL, OWNER
from astro.sandboxes.docker.hardening import arguments, flaws
from astro.sandboxes.docker.preflight import require_controls
from astro.sandboxes.docker.sandbox import _owner
from tests.sandboxes.docker_here import mine, needs_docker

pytestmark = pytest.mark.anyio

LONG = timedelta(seconds=30)
GOOD = {
    "OSType": "linux",
    "MemoryLimit": True,
    "SwapLimit": True,
    "PidsLimit": True,
    "CpuCfsQuota": True,
    "SecurityOptions": ["name=seccomp,profile=default"],
    "Runtimes": {"runc": {}, "runsc": {"runtimeArgs": ["--ignore-cgroups"]}},
}


@pytest.fixture(scope="module")
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
def here() -> None:
    needs_docker()


async def until_none_are_left(owner: str | None = None, seconds: float = 5) -> None:
    with anyio.fail_after(seconds):
        while mine(owner):
            await anyio.sleep(0.05)


# --- What Docker must have ---------------------------------------------------------------------


@pytest.mark.parametrize(
    "lack", ["MemoryLimit", "SwapLimit", "PidsLimit", "CpuCfsQuota", "SecurityOptions"]
)
def test_a_missing_control_is_an_error(lack: str) -> None:
    with pytest.raises(SandboxUnavailableError, match="Docker lacks"):
        require_controls(GOOD | {lack: None}, None)


def test_windows_containers_are_none() -> None:
    with pytest.raises(SandboxUnavailableError, match="Linux containers"):
        require_controls(GOOD | {"OSType": "windows"}, None)


def test_a_runtime_that_is_missing_is_an_error() -> None:
    with pytest.raises(SandboxUnavailableError, match="kata"):
        require_controls(GOOD, "kata")


def test_limits_that_a_runtime_does_not_enforce_are_told() -> None:
    assert require_controls(GOOD, "runsc") == ("memory", "pids", "cpus")
    assert require_controls(GOOD, "runc") == ()


@pytest.mark.parametrize(
    ("fact", "value"),
    [
        ("uid", 0),
        ("capabilities", "00000000a80425fb"),
        ("sealed", False),
        ("privileges", "0"),
        ("seccomp", "0"),
        ("networks", ["lo", "eth0"]),
    ],
)
def test_a_box_that_is_not_isolated_is_refused(fact: str, value: object) -> None:
    facts: dict[str, Any] = {
        "uid": 65534,
        "capabilities": "0" * 16,
        "sealed": True,
        "privileges": "1",
        "seccomp": "2",
        "networks": ["lo"],
    }
    assert flaws(facts, gvisor=False) == []
    assert len(flaws(facts | {fact: value}, gvisor=False)) == 1


def test_a_box_that_says_nothing_of_itself_is_refused() -> None:
    assert len(flaws({}, gvisor=False)) == 6


def test_nothing_that_protects_can_be_left_out() -> None:
    _, host = arguments(image="x", limits=BoxLimits(), labels={}, runtime=None)
    assert host["network_mode"] == "none"
    assert host["cap_drop"] == ["ALL"]
    assert host["read_only"] is True
    assert host["security_opt"][0] == "no-new-privileges:true"
    assert host["memswap_limit"] == host["mem_limit"]
    assert "privileged" not in host
    assert "binds" not in host
    assert "devices" not in host


# --- Docker is not there -----------------------------------------------------------------------


async def test_without_docker_every_use_is_an_error() -> None:
    sandbox = DockerSandbox(url="unix:///nowhere/docker.sock")
    with pytest.raises(SandboxUnavailableError, match="cannot be reached"):
        await sandbox.check()
    with pytest.raises(SandboxUnavailableError, match="cannot be reached"):
        await sandbox.__aenter__()
    with pytest.raises(SandboxError, match="not open"):
        await sandbox.open(SandboxSpec()).__aenter__()


async def test_an_image_that_is_not_here_is_not_pulled(here: None) -> None:
    with pytest.raises(SandboxUnavailableError, match="no such image") as caught:
        await DockerSandbox("astro-no-such-image").check()
    assert "astro sandbox build" in caught.value.remedy


async def test_an_image_without_python_is_told(here: None) -> None:
    async with DockerSandbox(pool=0) as sandbox:
        with pytest.raises(SandboxUnavailableError):
            async with sandbox.open(SandboxSpec(image="astro-no-such-image")):
                raise AssertionError("it opened")


# --- Nothing is left behind --------------------------------------------------------------------


@pytest.mark.parametrize("busy", ["idle", "busy"])
async def test_boxes_end_with_their_process_however_it_ends(here: None, busy: str) -> None:
    command = [sys.executable, "-m", "tests.sandboxes.host", busy]
    async with await anyio.open_process(command) as process:
        assert process.stdout is not None
        owner = (await process.stdout.receive()).decode().strip()
        assert owner
        assert mine(owner)
        process.send_signal(signal.SIGKILL)
        await process.wait()
        await until_none_are_left(owner)


async def test_what_a_dead_process_has_left_is_swept_away(here: None) -> None:
    process = await anyio.open_process([sys.executable, "-c", "pass"])
    await process.aclose()
    boot = _owner().partition(":")[0]
    dead = f"{boot}:{process.pid}:1"
    client = docker.from_env()
    try:
        client.containers.create(
            "astro-sandbox", ["true"], labels={LABEL: "1", OWNER: dead}, network_mode="none"
        )
        elsewhere = client.containers.create(
            "astro-sandbox", ["true"], labels={LABEL: "1", OWNER: "x:1:1"}, network_mode="none"
        )
        async with DockerSandbox(pool=0):
            assert not mine(dead)
            assert mine("x:1:1")  # of another machine, perhaps
        elsewhere.remove()
    finally:
        client.close()


async def test_nothing_is_left_after_cancellations_and_kills(here: None) -> None:
    chance = random.Random(7)
    threads, descriptors = threading.active_count(), len(os.listdir("/proc/self/fd"))
    async with DockerSandbox(pool=2, boxes=4) as sandbox:

        async def one(number: int) -> None:
            with anyio.move_on_after(chance.random() * 0.4):
                async with sandbox.open(SandboxSpec()) as box:
                    code = ("print(1)", "while True: pass", "import os; os.kill(os.getppid(), 9)")
                    await box.python(code[number % 3], timeout=timedelta(seconds=0.2))

        for start in range(0, 48, 8):
            async with anyio.create_task_group() as group:
                for number in range(start, start + 8):
                    group.start_soon(one, number)
    await until_none_are_left()
    assert threading.active_count() <= threads + 8  # anyio's own workers, which go by themselves
    assert len(os.listdir("/proc/self/fd")) <= descriptors


async def test_a_hundred_at_once_wait_for_their_turn(here: None) -> None:
    said: list[str] = []
    async with DockerSandbox(pool=4, boxes=8) as sandbox:

        async def one(number: int) -> None:
            async with sandbox.open(SandboxSpec()) as box:
                said.append((await box.python(f"print({number})", timeout=LONG)).text)

        async with anyio.create_task_group() as group:
            for number in range(40):
                group.start_soon(one, number)
    assert sorted(map(int, said)) == list(range(40))
    await until_none_are_left()


# --- The pool ----------------------------------------------------------------------------------


async def until_stocked(sandbox: DockerSandbox, count: int) -> None:
    with anyio.fail_after(10):
        while sandbox._pool.stock != count:
            await anyio.sleep(0.02)


async def test_containers_are_kept_ready_and_used_once(here: None) -> None:
    async with DockerSandbox(pool=2) as sandbox:
        await until_stocked(sandbox, 2)
        ids = set()
        for _ in range(3):
            async with sandbox.open(SandboxSpec()) as box:
                ids.add(box.id)
        assert len(ids) == 3
        await until_stocked(sandbox, 2)
    await until_none_are_left()


async def test_nothing_is_kept_ready_for_nobody(here: None) -> None:
    async with DockerSandbox(pool=1, idle=timedelta(seconds=1)) as sandbox:
        await until_stocked(sandbox, 1)
        await until_stocked(sandbox, 0)
        async with sandbox.open(SandboxSpec()) as box:
            assert (await box.python("print(1)", timeout=LONG)).ok
        await until_stocked(sandbox, 1)


async def test_a_box_with_limits_of_its_own_is_made_for_it(here: None) -> None:
    async with DockerSandbox(pool=1) as sandbox:
        spec = SandboxSpec(limits=BoxLimits(disk=2**20))
        async with sandbox.open(spec) as box:
            done = await box.python("open('x', 'wb').write(b'x' * 2**21)", timeout=LONG)
            assert "No space left" in done.error_text


# --- What a box can do when something went wrong -----------------------------------------------


async def test_a_box_that_was_lost_says_so(here: None) -> None:
    async with DockerSandbox(pool=0) as sandbox, sandbox.open(SandboxSpec()) as box:
        await box.python("import os; os.kill(os.getppid(), 9)", timeout=LONG)
        with pytest.raises(BoxLostError):
            await box.python("print(1)", timeout=LONG)
        with pytest.raises(BoxLostError):
            await box.read(PurePosixPath("x"))


async def test_a_container_that_an_operator_removes_is_a_lost_box(here: None) -> None:
    async with DockerSandbox(pool=0) as sandbox, sandbox.open(SandboxSpec()) as box:
        async with anyio.create_task_group() as group:

            async def remove() -> None:
                await anyio.sleep(0.2)
                client = docker.from_env()
                await anyio.to_thread.run_sync(
                    lambda: client.containers.get(box.id).remove(force=True)
                )
                client.close()

            group.start_soon(remove)
            done = await box.python("import time; time.sleep(20)", timeout=LONG)
        assert done.status is BoxStatus.ERROR
        assert done.exit_code is None
        assert box.lost


async def test_a_cancelled_command_leaves_a_box_that_serves(here: None) -> None:
    async with DockerSandbox(pool=0) as sandbox, sandbox.open(SandboxSpec()) as box:
        await box.write({PurePosixPath("kept"): b"kept"})
        for seconds in (0.0, 0.001, 0.01, 0.05, 0.2):
            with anyio.move_on_after(seconds):
                await box.python("while True: pass", timeout=LONG)
            assert not box.lost
            assert (await box.python("print(open('kept').read())", timeout=LONG)).text == "kept\n"


async def test_two_commands_of_a_box_take_turns(here: None) -> None:
    async with DockerSandbox(pool=0) as sandbox, sandbox.open(SandboxSpec()) as box:
        said: list[str] = []

        async def one(word: str) -> None:
            said.append((await box.python(f"print({word!r})", timeout=LONG)).text)

        async with anyio.create_task_group() as group:
            for word in "abc":
                group.start_soon(one, word)
        assert sorted(said) == ["a\n", "b\n", "c\n"]


async def test_a_snapshot_can_be_restored_elsewhere(here: None) -> None:
    async with DockerSandbox(pool=0) as sandbox:
        async with sandbox.open(SandboxSpec()) as box:
            script = "mkdir -p a/b empty; echo 1 > a/b/c; chmod +x a/b/c; ln -s a/b/c link; echo 2 > gone"
            assert (await box.run(["sh", "-c", script], timeout=LONG)).ok
            first = await box.changes()
            assert set(first.files) == {"a/b/c", "gone"}
            assert (await box.run(["sh", "-c", "rm gone; echo 3 > new"], timeout=LONG)).ok
            second = await box.changes()
            assert (set(second.files), second.gone) == ({"new"}, ("gone",))
            assert not (await box.changes()).files
        async with sandbox.open(SandboxSpec()) as box:
            await box.restore(first)
            done = await box.run(
                ["sh", "-c", "ls -d empty && ./link; cat a/b/c gone; readlink link"], timeout=LONG
            )
            assert done.text.splitlines()[-3:] == ["1", "2", "a/b/c"]
            assert not (await box.changes()).files


async def test_a_folder_that_is_too_large_is_not_whole(here: None) -> None:
    spec = SandboxSpec(limits=BoxLimits(snapshot=1000))
    async with DockerSandbox(pool=0) as sandbox, sandbox.open(spec) as box:
        await box.python("open('x', 'w').write('x' * 2000)", timeout=LONG)
        found = await box.changes()
        assert (found.whole, found.files) == (False, {})


async def test_large_input_and_output_pass_each_other(here: None) -> None:
    data = os.urandom(4 * 2**20)
    limits = BoxLimits(output=5 * 2**20)
    spec = SandboxSpec(limits=limits)
    async with DockerSandbox(pool=0) as sandbox, sandbox.open(spec) as box:
        code = (
            "import sys\nwhile part := sys.stdin.buffer.read(1000): sys.stdout.buffer.write(part)"
        )
        done = await box.python(code, stdin=data, timeout=LONG)
    assert done.stdout == data


@pytest.mark.parametrize(
    "bad", [{"memory": 1}, {"pids": 1}, {"cpus": 0.0}, {"disk": -1}, {"output": "1"}]
)
def test_limits_that_make_no_sense_are_refused(bad: dict[str, Any]) -> None:
    with pytest.raises((ValueError, TypeError)):
        BoxLimits(**bad)
