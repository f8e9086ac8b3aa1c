"""Boxes in gVisor, on an engine of the tests' own: what holds there as well, and what does not.

Its kernel is a program of its own, which does not show a filter of system calls: a program in a
box may call much of it, and gets no further than it.
"""

from __future__ import annotations

import inspect
import shutil
from collections.abc import AsyncIterator, Callable
from datetime import timedelta
from typing import Any, ClassVar

import pytest

from astro import BoxLimits, BoxStatus, DockerSandbox, SandboxSpec
from astro.core.sandbox import Chunk
from astro.sandboxes.docker.daemon import SANDBOX
from astro.testing.conformance.sandbox import SandboxConformance
from tests.sandboxes import test_abuse
from tests.sandboxes.docker_here import Engine, mine, needs_own_engine

pytestmark = [pytest.mark.anyio, pytest.mark.slow]

LIMITS = BoxLimits(pids=64, disk=64 * 2**20)
LONG = timedelta(seconds=60)

_INSIDE = "gVisor's own kernel does it, and none but that"
_UNENFORCED = "gVisor is told to leave cgroups alone, as preflight says"
DIFFERS = {
    "forbidden_is_refused[make a device]": _INSIDE,
    "forbidden_is_refused[make a pipe with a name]": _INSIDE,
    "forbidden_is_refused[a user namespace of its own]": _INSIDE,
    "forbidden_is_refused[a mount namespace of its own]": _INSIDE,
    "forbidden_is_refused[clone into a namespace]": _INSIDE,
    "forbidden_is_refused[io_uring]": _INSIDE,
    "forbidden_is_refused[be more important]": _INSIDE,
    "forbidden_is_refused[a netlink socket]": _INSIDE,
    "forbidden_is_refused[take the descriptors of its supervisor]": "it has no PR_SET_DUMPABLE",
    "its_status_shows_no_privileges": "its /proc/self/status says less",
    "a_fork_bomb_ends_with_its_time": _UNENFORCED,
    "threads_are_processes": _UNENFORCED,
    "too_much_memory": _UNENFORCED,
    "a_command_is_nobody_and_cannot_become_anybody": "its /proc/self/status says less",
    "limits[many files]": "its tmpfs does not count files",
}


@pytest.fixture(scope="module")
def gvisor(docker_here: None, request: pytest.FixtureRequest) -> Engine:
    needs_own_engine()
    if shutil.which("runsc") is None:
        pytest.skip("gVisor is missing; on Debian, run: apt-get install -y runsc")
    engine: Engine = request.getfixturevalue("own_engine")
    engine.start()
    return engine


@pytest.fixture(scope="module")
async def sandbox(gvisor: Engine, anyio_backend: str) -> AsyncIterator[DockerSandbox]:
    async with DockerSandbox(url=gvisor.url, runtime="runsc", limits=LIMITS) as sandbox:
        yield sandbox


@pytest.fixture(autouse=True)
def what_differs(request: pytest.FixtureRequest) -> None:
    """Expect no more of gVisor than it does; what it leaves unlimited is not even tried."""
    for part, reason in DIFFERS.items():
        if part in request.node.name:
            request.applymarker(
                pytest.mark.xfail(reason=reason, run=reason != _UNENFORCED, strict=False)
            )


# The whole suite of abuse, as far as it asks for a box and no sandbox of its own.
globals().update(
    {
        name: test
        for name, test in vars(test_abuse).items()
        if name.startswith("test_") and {"box", "sandbox"} & {*inspect.signature(test).parameters}
    }
)


async def test_the_check_tells_what_gvisor_does_not_enforce(gvisor: Engine) -> None:
    found = await DockerSandbox(url=gvisor.url, runtime="runsc").check()
    assert found.isolation == "gvisor"
    assert found.unenforced == ("memory", "pids", "cpus", "inodes")


async def test_a_fork_bomb_in_gvisor_is_over_in_time(sandbox: DockerSandbox) -> None:
    bomb = "import os\nwhile True:\n    try: os.fork()\n    except OSError: pass"
    async with sandbox.open(SandboxSpec()) as box:
        done = await box.python(bomb, timeout=timedelta(seconds=0.5))
        assert done.status is BoxStatus.TIMED_OUT
        assert done.duration < 10
    async with sandbox.open(SandboxSpec()) as box:
        assert (await box.python("print(1)", timeout=LONG)).text == "1\n"


class TestGvisor(SandboxConformance):
    streams: ClassVar[bool] = True
    counts: ClassVar[bool] = True
    moment: ClassVar[timedelta] = timedelta(seconds=4)  # its boxes take longer to open
    limits_memory: ClassVar[int] = 0  # not enforced with --ignore-cgroups
    limits_processes: ClassVar[int] = 0

    @pytest.fixture(autouse=True)
    def _engine(self, gvisor: Engine) -> None:
        self.engine = gvisor

    def make(self) -> DockerSandbox:
        return DockerSandbox(url=self.engine.url, pool=0, runtime="runsc")

    async def listen(
        self, box: Any, command: tuple[str, ...], hear: Callable[[bytes], None], timeout: timedelta
    ) -> None:
        def heard(chunk: Chunk) -> None:
            hear(chunk.data)

        await box.run(command, timeout=timeout, listen=heard)

    async def count(self, sandbox: Any) -> int:
        boxes = mine(url=self.engine.url)
        return len([one for one in boxes if one["Labels"][SANDBOX] == sandbox._name])
