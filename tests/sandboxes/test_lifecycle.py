"""The life of boxes: opened, ended, lost, and never left behind."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import threading
from contextlib import suppress
from datetime import timedelta
from pathlib import Path, PurePosixPath
from typing import Any

import anyio
import docker
import docker.errors
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
from astro.core.clock import SystemClock
from astro.sandboxes.docker.daemon import LABEL, OWNER, SANDBOX
from astro.sandboxes.docker.hardening import arguments, flaws
from astro.sandboxes.docker.leftovers import is_gone, owner
from astro.sandboxes.docker.preflight import require_controls
from tests.sandboxes.docker_here import mine, needs_docker

pytestmark = pytest.mark.anyio

LONG = timedelta(seconds=30)
LOSING = "import os, resource; resource.prlimit(os.getppid(), resource.RLIMIT_NOFILE, (1, 1))"
GOOD = {
    "OSType": "linux",
    "ApiVersion": "1.41",
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


ROOTLESS = ["name=seccomp,profile=builtin", "name=rootless", "name=cgroupns"]


@pytest.mark.parametrize(
    ("lack", "named", "remedy"),
    [
        ({"MemoryLimit": False}, "limits of memory", "cgroup_enable=memory"),
        ({"SwapLimit": False}, "limits of swap", "swapaccount=1"),
        ({"PidsLimit": False}, "limits of processes", "cgroupfs-mount"),
        ({"CpuCfsQuota": False}, "limits of processor time", "CONFIG_CFS_BANDWIDTH"),
        ({"MemoryLimit": False, "CgroupVersion": "2"}, "limits of memory", r"\+memory"),
        ({"PidsLimit": False, "CgroupVersion": "2"}, "limits of processes", r"\+pids"),
        ({"CpuCfsQuota": False, "CgroupVersion": "2"}, "processor time", r"\+cpu"),
        ({"SwapLimit": False, "CgroupVersion": "2"}, "limits of swap", "swapaccount=1"),
        (
            {"MemoryLimit": False, "SecurityOptions": ROOTLESS},
            "limits of memory",
            "unified_cgroup_hierarchy=1",
        ),
        (
            {"PidsLimit": False, "SecurityOptions": ROOTLESS, "CgroupVersion": "2"},
            "limits of processes",
            "Delegate=",
        ),
        ({"SecurityOptions": None}, "seccomp", "CONFIG_SECCOMP_FILTER"),
        ({"SecurityOptions": ["name=apparmor"]}, "seccomp", "CONFIG_SECCOMP_FILTER"),
        ({"OSType": "windows"}, "Linux containers", "Docker Desktop"),
        ({"ApiVersion": "1.39"}, "it speaks 1.39", "Docker 19.03"),
        ({"ApiVersion": ""}, "an unknown one", "Docker 19.03"),
    ],
)
def test_a_missing_control_is_an_error_with_its_own_remedy(
    lack: dict[str, Any], named: str, remedy: str
) -> None:
    with pytest.raises(SandboxUnavailableError, match=f"Docker lacks .*{named}") as caught:
        require_controls(GOOD | lack, None)
    assert re.search(remedy, caught.value.remedy)


def test_all_that_is_missing_is_told_at_once() -> None:
    lack = {"MemoryLimit": False, "SwapLimit": False, "PidsLimit": False, "SecurityOptions": []}
    with pytest.raises(SandboxUnavailableError) as caught:
        require_controls(GOOD | lack, None)
    for named in ("memory", "swap", "processes", "seccomp"):
        assert named in caught.value.problem
    assert caught.value.remedy.count("swapaccount=1") == 1  # it helps with two of them


@pytest.mark.parametrize("version", ["1.40", "1.41", "1.50", "2.0"])
def test_a_recent_engine_will_do(version: str) -> None:
    assert require_controls(GOOD | {"ApiVersion": version}, None) == ()


@pytest.mark.parametrize(
    ("url", "remedy"),
    [("ssh://somebody@far", "ssh -N -L"), ("npipe:////./pipe/docker_engine", "WSL 2")],
)
async def test_a_docker_that_boxes_cannot_be_talked_to_at_is_refused(url: str, remedy: str) -> None:
    with pytest.raises(SandboxUnavailableError, match="no box can be talked to") as caught:
        await DockerSandbox(url=url).check()
    assert remedy in caught.value.remedy


def test_limits_that_the_usual_runtime_does_not_enforce_are_told() -> None:
    assert "memory" in require_controls(GOOD | {"DefaultRuntime": "runsc"}, None)


def test_a_runtime_that_is_missing_is_an_error() -> None:
    with pytest.raises(SandboxUnavailableError, match="kata"):
        require_controls(GOOD, "kata")


def test_limits_that_a_runtime_does_not_enforce_are_told() -> None:
    assert require_controls(GOOD, "runsc") == ("memory", "pids", "cpus", "inodes")
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


async def test_without_its_package_every_use_says_how_to_get_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "docker", None)
    sandbox = DockerSandbox()
    for use in (sandbox.check, sandbox.__aenter__):
        with pytest.raises(SandboxUnavailableError, match="docker cannot be loaded") as caught:
            await use()
        assert caught.value.remedy == "Run: pip install 'docker>=7.1'"


async def test_a_docker_that_this_user_may_not_reach_is_told(tmp_path: Path) -> None:
    if not os.geteuid():
        pytest.skip("root may reach everything; run as another user: make test")
    with socket.socket(socket.AF_UNIX) as end:
        end.bind(str(tmp_path / "s"))
        end.listen()
        (tmp_path / "s").chmod(0)
        with pytest.raises(SandboxUnavailableError, match="by this user") as caught:
            await DockerSandbox(url=f"unix://{tmp_path}/s").check()
    assert "group docker" in caught.value.remedy


@pytest.mark.parametrize(
    "answer", [b"", b"nonsense", b"HTTP/1.1 200 OK\r\n\r\n{", b"HTTP/1.1 500 no\r\n\r\n"]
)
async def test_what_answers_and_is_no_docker_is_an_error(tmp_path: Path, answer: bytes) -> None:
    with socket.socket(socket.AF_UNIX) as end:
        end.bind(str(tmp_path / "s"))
        end.listen()

        def serve() -> None:
            with suppress(OSError):
                while True:
                    peer, _ = end.accept()
                    with peer, suppress(OSError):
                        peer.settimeout(5)
                        if peer.recv(65536):
                            peer.sendall(answer)

        serving = threading.Thread(target=serve)
        serving.start()
        try:
            with pytest.raises(SandboxUnavailableError) as caught:
                await DockerSandbox(url=f"unix://{tmp_path}/s").check()
        finally:
            end.shutdown(socket.SHUT_RDWR)
            serving.join()
    assert caught.value.remedy


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


async def kill(what: str, seconds: float) -> str:
    """Kill a process in the middle of what it does; return its name."""
    command = [sys.executable, "-m", "tests.sandboxes.host", what]
    async with await anyio.open_process(command) as process:
        assert process.stdout is not None
        owner = (await process.stdout.receive()).decode().strip()
        assert owner
        await anyio.sleep(seconds)
        process.send_signal(signal.SIGKILL)
        await process.wait()
    return owner


def processes_of(owner: str) -> list[Any]:
    """Return the containers of a process in which anything is, or was, alive."""
    return [one for one in mine(owner) if one["State"] != "created"]


@pytest.mark.parametrize(
    ("what", "seconds"),
    [
        *(("idle", 0.0), ("busy", 0.0)),
        *(("opening", 0.01 + 0.07 * number) for number in range(5)),
        *(("refilling", 0.01 + 0.11 * number) for number in range(4)),
    ],
)
async def test_boxes_end_with_their_process_wherever_it_is(
    here: None, what: str, seconds: float
) -> None:
    owner = await kill(what, seconds)
    with anyio.fail_after(5):  # one that is about to be started counts as soon as it is
        while processes_of(owner):
            await anyio.sleep(0.05)
    # Who is killed between making a container and starting it leaves that, without a process.
    async with DockerSandbox(pool=0):
        assert not mine(owner)


class Hours(SystemClock):
    """A clock that can be put forward."""

    later = 0.0

    def monotonic(self) -> float:
        return super().monotonic() + self.later


def leave(owner: str, *, started: bool = False, sandbox: str = "1") -> str:
    """Make a container as a process would leave it behind; return its id."""
    client = docker.from_env()
    try:
        labels = {LABEL: "1", OWNER: owner, SANDBOX: sandbox}
        made = client.containers.create(
            "astro-sandbox", ["sleep", "60"], labels=labels, network_mode="none"
        )
        if started:
            made.start()
        return str(made.id)
    finally:
        client.close()


def states(*ids: str) -> list[str]:
    """Return which of these containers are there, and in which state."""
    client = docker.from_env()
    try:
        there = {one["Id"]: one["State"] for one in client.api.containers(all=True)}
        return [there.get(id_, "gone") for id_ in ids]
    finally:
        client.close()


def remove(*ids: str) -> None:
    client = docker.from_env()
    try:
        for id_ in ids:
            with suppress(docker.errors.NotFound):
                client.api.remove_container(id_, force=True)
    finally:
        client.close()


async def a_dead_pid() -> int:
    process = await anyio.open_process([sys.executable, "-c", "pass"])
    await process.aclose()
    return process.pid


async def test_only_what_is_left_for_certain_is_swept_away(here: None) -> None:
    boot, place, pid, _ = owner().split(":")
    dead = await a_dead_pid()
    gone = [
        leave(f"{boot}:{place}:{dead}:1"),
        leave(f"{boot}:{place}:{dead}:1", started=True),
        leave(f"{boot}:{place}:{pid}:1", started=True),  # this number was another process's
    ]
    kept = [
        leave(owner(), started=True, sandbox="another of this process"),
        leave(f"{boot}:{place}:1:{_begun(1)}", started=True),  # it lives
        leave(f"{boot}:4026531999:{dead}:1", started=True),  # it may live, in a container
        leave(f"another-boot:{place}:{dead}:1", started=True),  # or on another machine
        leave("", started=True),  # or where the system does not tell
        leave("nonsense:and:more:of:it", started=True),
    ]
    try:
        async with DockerSandbox(pool=0):
            assert states(*gone) == ["gone"] * 3
            assert states(*kept) == ["running"] * 6
    finally:
        remove(*gone, *kept)


def _begun(pid: int) -> str:
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19]


async def test_a_process_that_ended_and_was_not_waited_for_is_gone() -> None:
    boot, place, *_ = owner().split(":")
    # Not with anyio, which would wait for it.
    with subprocess.Popen(["sleep", "60"]) as process:  # noqa: ASYNC220
        name = f"{boot}:{place}:{process.pid}:{_begun(process.pid)}"
        assert not is_gone(name)
        process.kill()
        with anyio.fail_after(10):
            while not is_gone(name):
                await anyio.sleep(0.01)
    assert is_gone(name)


async def test_a_sandbox_that_is_open_sweeps_from_time_to_time(here: None) -> None:
    boot, place, *_ = owner().split(":")
    clock = Hours()
    async with DockerSandbox(pool=1, clock=clock) as sandbox:
        await until_stocked(sandbox, 1)
        left = leave(f"{boot}:{place}:{await a_dead_pid()}:1")
        # Never started, and of a process that nobody can judge: waited for, and then removed.
        odd = leave("another-boot:1:1:1")
        running = leave("another-boot:1:1:1", started=True)
        living = leave(f"{boot}:{place}:1:{_begun(1)}")
        try:
            clock.later = 40
            with anyio.fail_after(10):
                while states(left) != ["gone"]:
                    await anyio.sleep(0.05)
            assert states(odd, running) == ["created", "running"]
            clock.later = 80
            with anyio.fail_after(10):
                while states(odd) != ["gone"]:
                    await anyio.sleep(0.05)
            assert states(running, living) == ["running", "created"]
            assert sandbox._pool.stock == 1  # its own is no leftover
        finally:
            remove(left, odd, running, living)


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


async def test_a_work_folder_that_is_full_takes_no_files(here: None) -> None:
    spec = SandboxSpec(limits=BoxLimits(disk=2**20, inodes=32))
    async with DockerSandbox(pool=0) as sandbox, sandbox.open(spec) as box:
        with pytest.raises(SandboxError, match="No space left"):
            await box.write({PurePosixPath("large"): b"x" * 2**21})
        await box.run(["rm", "-f", "large"], timeout=LONG)
        with pytest.raises(SandboxError, match="No space left"):
            await box.write({PurePosixPath(f"small-{number}"): b"" for number in range(40)})
        assert not box.lost
        done = await box.run(["sh", "-c", "rm -f small-*; echo 1 > x; cat x"], timeout=LONG)
        assert done.text == "1\n"
        assert await box.read(PurePosixPath("x")) == b"1\n"


# --- What a box can do when something went wrong -----------------------------------------------


async def test_a_box_that_was_lost_says_so(here: None) -> None:
    async with DockerSandbox(pool=0) as sandbox, sandbox.open(SandboxSpec()) as box:
        await box.python(LOSING, timeout=LONG)
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
