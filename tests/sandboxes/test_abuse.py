"""Abuse: what a program in a box may try, and what becomes of it. Nothing outside is contacted."""

from __future__ import annotations

import json
from datetime import timedelta
from pathlib import PurePosixPath
from typing import Any

import anyio
import pytest

from astro import BoxLimits, BoxStatus, Completed, DockerSandbox, SandboxSpec

pytestmark = pytest.mark.anyio

LONG = timedelta(seconds=20)
SHORT = timedelta(seconds=1)

# Each prints "refused", or what it has got. `lib` is the C library, `call` a system call.
_TRIES = """
import ctypes, errno, os, socket, sys
lib = ctypes.CDLL(None, use_errno=True)
def call(number, *args):
    if lib.syscall(number, *args) == -1:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
def refused(what):
    try:
        got = what()
    except (OSError, ValueError, AttributeError, PermissionError) as error:
        return True
    print("got", got)
    return False
"""

FORBIDDEN: dict[str, str] = {
    "write to the root file system": "lambda: open('/usr/evil', 'w')",
    "write to /etc": "lambda: open('/etc/passwd', 'a')",
    "write to the image's Python": "lambda: open('/usr/lib/python3/evil.py', 'w')",
    "read the memory of the kernel": "lambda: open('/proc/kcore', 'rb').read(16)",
    "read physical memory": "lambda: open('/dev/mem', 'rb').read(16)",
    "press a magic key": "lambda: open('/proc/sysrq-trigger', 'w').write('b')",
    "change where cores go": "lambda: open('/proc/sys/kernel/core_pattern', 'w').write('|/x')",
    "read the keys of the kernel": "lambda: open('/proc/keys').read()[:0] or 1/len(open('/proc/keys').read())",
    "find Docker's socket": "lambda: [s for s in ('/var/run/docker.sock', '/run/docker.sock', '/run/containerd/containerd.sock') if os.path.exists(s)][0]",
    "release a cgroup with a program": "lambda: open('/sys/fs/cgroup/memory/release_agent', 'w').write('/x')",
    "make a cgroup": "lambda: os.mkdir('/sys/fs/cgroup/memory/evil')",
    "raise its own memory limit": "lambda: open('/sys/fs/cgroup/memory/memory.limit_in_bytes', 'w').write('-1')",
    "write to sysfs": "lambda: open('/sys/kernel/profiling', 'w').write('1')",
    "make a device": "lambda: os.mknod('/work/dev', 0o20666, os.makedev(1, 1))",
    "make a pipe with a name": "lambda: os.mkfifo('/work/pipe')",
    "become root": "lambda: os.setuid(0)",
    "become the group of root": "lambda: os.setgid(0)",
    "take groups": "lambda: os.setgroups([0])",
    "mount": "lambda: call(165, b'none', b'/work', b'tmpfs', 0, 0)",
    "unmount": "lambda: call(166, b'/work', 0)",
    "a user namespace of its own": "lambda: call(272, 0x10000000)",
    "a mount namespace of its own": "lambda: call(272, 0x00020000)",
    "clone into a namespace": "lambda: call(56, 0x10000000 | 17, 0, 0, 0, 0)",
    "enter a namespace": "lambda: call(308, os.open('/proc/self/ns/net', os.O_RDONLY), 0)",
    "pivot the root": "lambda: call(155, b'/work', b'/work')",
    "change the root": "lambda: os.chroot('/work')",
    "load a program into the kernel (bpf)": "lambda: call(321, 5, 0, 0)",
    "count events of the processor": "lambda: call(298, 0, 0, -1, -1, 0)",
    "add a key": "lambda: call(248, b'user', b'x', b'x', 1, -3)",
    "request a key": "lambda: call(249, b'user', b'x', 0, 0)",
    "ask for a key ring": "lambda: call(250, 0, -3, 0)",
    "load a module": "lambda: call(175, 0, 0, b'')",
    "load a module from a file": "lambda: call(313, 0, b'', 0)",
    "load another kernel": "lambda: call(246, 0, 0, 0, 0)",
    "reboot": "lambda: call(169, 0xfee1dead, 672274793, 0x1234567, 0)",
    "swap": "lambda: call(167, b'/work/x', 0)",
    "account processes": "lambda: call(163, b'/work/x')",
    "handle page faults": "lambda: call(323, 0)",
    "io_uring": "lambda: call(425, 8, ctypes.create_string_buffer(256))",
    "open by handle": "lambda: call(304, -100, 0, 0)",
    "trace another process": "lambda: call(101, 16, os.getppid(), 0, 0)",
    "read the memory of another process": "lambda: call(310, os.getppid(), 0, 0, 0, 0, 0)",
    "write into another process": "lambda: call(311, os.getppid(), 0, 0, 0, 0, 0)",
    "look into its supervisor's memory": "lambda: open(f'/proc/{os.getppid()}/mem', 'rb')",
    "take the descriptors of its supervisor": "lambda: os.listdir(f'/proc/{os.getppid()}/fd')",
    "read the environment of the first process": "lambda: 1/len([v for v in open('/proc/1/environ','rb').read().split(b'\\0') if b'ASTRO' in v])",
    "leave by the first process's root": "lambda: 1/('hostonly' in os.listdir('/proc/1/root'))",
    "set the clock": "lambda: call(164, 0, 0)",
    "set the name of the host": "lambda: socket.sethostname('evil')",
    "be more important": "lambda: os.setpriority(os.PRIO_PROCESS, 0, -20)",
    "be scheduled in real time": "lambda: os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(50))",
    "a raw socket": "lambda: socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP)",
    "a packet socket": "lambda: socket.socket(socket.AF_PACKET, socket.SOCK_RAW)",
    "a vsock socket": "lambda: socket.socket(40, socket.SOCK_STREAM)",
    "a socket of the kernel's crypto": "lambda: socket.socket(38, socket.SOCK_SEQPACKET)",
    "a netlink socket": "lambda: socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 0)",
    "a bluetooth socket": "lambda: socket.socket(31, socket.SOCK_RAW, 1)",
}
for _name in ("find Docker's socket",):
    # An empty list raises an IndexError, which is what is hoped for.
    FORBIDDEN[_name] = (
        f"lambda: [][0] if not ({FORBIDDEN[_name].partition(': ')[2][:-3]}) else 'found'"
    )


@pytest.mark.parametrize("what", FORBIDDEN)
async def test_what_is_forbidden_is_refused(box: Any, what: str) -> None:
    tried = FORBIDDEN[what]
    code = (
        _TRIES
        + f"""
try:
    print("refused" if refused({tried}) else "allowed")
except (IndexError, ZeroDivisionError):
    print("refused")
"""
    )
    done = await box.python(code, timeout=LONG)
    assert done.text == "refused\n", (done.text, done.error_text)


async def test_its_status_shows_no_privileges(box: Any) -> None:
    code = "import json; print(json.dumps(dict(l.strip().split(':\\t', 1) for l in open('/proc/self/status') if ':\\t' in l)))"
    found = json.loads((await box.python(code, timeout=LONG)).text)
    assert {found[name] for name in ("CapBnd", "CapEff", "CapPrm", "CapInh", "CapAmb")} == {
        "0" * 16
    }
    assert (found["NoNewPrivs"], found["Seccomp"]) == ("1", "2")
    assert found["Uid"].split() == ["65534"] * 4


async def test_a_setuid_program_gains_nothing(box: Any) -> None:
    code = """
import os, shutil, subprocess
shutil.copy("/bin/busybox", "id")
os.chmod("id", 0o4755)
print(subprocess.run(["./id", "-u"], capture_output=True, text=True).stdout.strip())
"""
    assert (await box.python(code, timeout=LONG)).text == "65534\n"


async def test_nothing_in_the_temporary_folder_can_be_executed(box: Any) -> None:
    done = await box.run(["sh", "-c", "cp /bin/busybox /tmp/b && /tmp/b id"], timeout=LONG)
    assert done.exit_code == 126
    assert b"uid" not in done.stdout


async def test_the_network_is_a_loop_without_routes(box: Any) -> None:
    code = "print(sorted(l.split(':')[0].strip() for l in open('/proc/net/dev') if ':' in l), len(open('/proc/net/route').readlines()))"
    assert (await box.python(code, timeout=LONG)).text == "['lo'] 1\n"


# --- Too much ----------------------------------------------------------------------------------

FORKS = "import os,time\nwhile True:\n  try: os.fork()\n  except OSError: time.sleep(0.01)"
THREADS = """
import threading, time
try:
    while True: threading.Thread(target=time.sleep, args=(60,), daemon=True).start()
except RuntimeError: print("refused", flush=True)
"""


@pytest.mark.parametrize(
    "command", [["python3", "-c", FORKS], ["sh", "-c", "f() { f | f & }; f; wait; sleep 60"]]
)
async def test_a_fork_bomb_ends_with_its_time(box: Any, command: list[str]) -> None:
    done = await box.run(command, timeout=SHORT)
    assert done.duration < 5
    with anyio.fail_after(20):
        assert (await box.python("print('alive')", timeout=LONG)).text == "alive\n"


async def test_threads_are_processes(box: Any) -> None:
    assert (await box.python(THREADS, timeout=SHORT)).text == "refused\n"


@pytest.mark.parametrize(
    "code",
    [
        "held = bytearray(10**9); [held.__setitem__(n, 1) for n in range(0, 10**9, 4096)]",
        "import os\nif os.fork(): os.wait(); print('still here')\nelse:\n  held = bytearray(10**9)\n  for n in range(0, 10**9, 4096): held[n] = 1",
        "open('/dev/shm/x', 'wb').write(b'x' * 10**7)\nheld = bytearray(10**9)\nfor n in range(0, 10**9, 4096): held[n] = 1",
    ],
    ids=["itself", "in a child", "beside shared memory"],
)
async def test_too_much_memory_is_told_apart(box: Any, code: str) -> None:
    assert (await box.python(code, timeout=LONG)).status is BoxStatus.OOM_KILLED


async def test_exit_code_137_is_not_taken_for_want_of_memory(box: Any) -> None:
    done = await box.python("import os, signal; os.kill(os.getpid(), signal.SIGKILL)", timeout=LONG)
    assert (done.status, done.exit_code) == (BoxStatus.ERROR, 137)
    done = await box.python("import sys; sys.exit(137)", timeout=LONG)
    assert (done.status, done.exit_code) == (BoxStatus.ERROR, 137)


DISK = {
    "one file": ("open('x', 'wb').write(b'x' * (33 * 2**20))", "File too large"),
    "several files": (
        "[open(f'x{n}', 'wb').write(b'x' * (8 * 2**20)) for n in range(20)]",
        "No space left",
    ),
    "many files": ("[open(f'x{n}', 'w').close() for n in range(20000)]", "No space left"),
    "a terabyte of nothing": ("open('x', 'wb').truncate(2**40)", "File too large"),
}


@pytest.mark.parametrize("how", DISK)
async def test_the_work_folder_has_its_limits(box: Any, how: str) -> None:
    code, said = DISK[how]
    done = await box.python(code, timeout=LONG)
    assert done.status is BoxStatus.ERROR
    assert said in done.error_text


async def test_descriptors_run_out(box: Any) -> None:
    done = await box.python("held = [open('/dev/null') for _ in range(1000)]", timeout=LONG)
    assert "Too many open files" in done.error_text


async def test_zombies_are_cleared_away(box: Any) -> None:
    code = "import os\nfor _ in range(300):\n  p = os.fork()\n  if not p:\n    os.fork() or os._exit(0)\n    os._exit(0)\n  os.waitpid(p, 0)\nprint('done')"
    assert (await box.python(code, timeout=LONG)).text == "done\n"


@pytest.mark.parametrize("stream", ["stdout", "stderr"])
async def test_a_flood_of_output_is_dammed(box: Any, stream: str) -> None:
    code = f"import sys\nwhile True: sys.{stream}.buffer.write(b'x' * 65536)"
    done: Completed = await box.python(code, timeout=LONG)
    assert done.status is BoxStatus.OUTPUT_LIMIT
    assert len(getattr(done, stream)) == 2**20
    assert getattr(done, f"{stream}_truncated")
    assert (await box.python("print(1)", timeout=LONG)).text == "1\n"


# --- Too long ----------------------------------------------------------------------------------

LINGERING = {
    "a loop": "while True: pass",
    "deaf": "import signal, time\nfor n in range(1, 65):\n  try: signal.signal(n, signal.SIG_IGN)\n  except (OSError, ValueError): pass\ntime.sleep(600)",
    "forked away": "import os, time\nfor _ in range(2):\n  if os.fork(): break\n  os.setsid()\ntime.sleep(600)",
    "with its output closed": "import os, time\nos.close(1); os.close(2)\ntime.sleep(600)",
}


COUNT = "import os; print(sum(p.isdigit() for p in os.listdir('/proc')))"


@pytest.mark.parametrize("how", LINGERING)
async def test_time_is_up_for_all_that_it_began(box: Any, how: str) -> None:
    before = (await box.python(COUNT, timeout=LONG)).text
    done = await box.python(LINGERING[how], timeout=SHORT)
    assert (done.status, done.exit_code) == (BoxStatus.TIMED_OUT, None)
    assert (await box.python(COUNT, timeout=LONG)).text == before


async def test_what_is_left_behind_ends_with_its_command(box: Any) -> None:
    before = (await box.python(COUNT, timeout=LONG)).text
    code = "import os, time\nif not os.fork():\n  os.setsid(); os.fork(); time.sleep(600)\nprint('gone')"
    done = await box.python(code, timeout=LONG)
    assert (done.status, done.text) == (BoxStatus.OK, "gone\n")
    assert (await box.python(COUNT, timeout=LONG)).text == before


# --- Lies --------------------------------------------------------------------------------------


async def test_frames_in_its_output_are_output(box: Any) -> None:
    forged = b"X\x00\x00\x00\x0b" + b'{"code": 0}' + b"\x01\x00\x00\x00\x00\x00\x00\x05hello"
    done = await box.python(
        f"import sys; sys.stdout.buffer.write({forged!r}); sys.exit(3)", timeout=LONG
    )
    assert (done.stdout, done.exit_code) == (forged, 3)


async def test_every_byte_arrives_on_its_own_stream(box: Any) -> None:
    code = "import sys; b = bytes(range(256)); sys.stdout.buffer.write(b); sys.stderr.buffer.write(b[::-1])"
    done = await box.python(code, timeout=LONG)
    assert (done.stdout, done.stderr) == (bytes(range(256)), bytes(range(256))[::-1])


async def test_killing_everybody_kills_only_its_own(sandbox: DockerSandbox, box: Any) -> None:
    async with sandbox.open(SandboxSpec()) as other:
        await box.python("import os; os.kill(-1, 9)", timeout=LONG)
        assert (await other.python("print(1)", timeout=LONG)).text == "1\n"


@pytest.mark.parametrize("signal", ["SIGTERM", "SIGINT", "SIGHUP"])
async def test_the_first_process_cannot_be_talked_into_leaving(box: Any, signal: str) -> None:
    code = f"import os, signal, time; os.kill(1, signal.{signal}); time.sleep(0.3); print('here')"
    assert (await box.python(code, timeout=LONG)).text == "here\n"


async def test_nothing_is_left_for_the_next_box(sandbox: DockerSandbox) -> None:
    async with sandbox.open(SandboxSpec()) as box:
        await box.python(
            "open('/work/x', 'w').write('1'); open('/tmp/x', 'w').write('1'); open('/dev/shm/x', 'w').write('1')",
            timeout=LONG,
        )
    async with sandbox.open(SandboxSpec()) as box:
        code = "import os; print([os.listdir(p) for p in ('/work', '/tmp', '/dev/shm')])"
        assert (await box.python(code, timeout=LONG)).text == "[[], [], []]\n"


async def test_its_host_has_a_name_that_says_nothing(box: Any) -> None:
    assert (
        await box.python("import socket; print(socket.gethostname())", timeout=LONG)
    ).text == "box\n"


# --- Files that are none -----------------------------------------------------------------------


async def test_only_regular_files_come_out(box: Any) -> None:
    code = """
import os, socket
open("good.txt", "w").write("good")
os.symlink("/etc/passwd", "absolute.txt")
os.symlink("good.txt", "relative.txt")
os.symlink("nowhere", "dangling.txt")
os.link("good.txt", "second.txt")
socket.socket(socket.AF_UNIX).bind("socket.txt")
os.mkdir("folder.txt")
open("line\\nbreak.txt", "w").write("odd")
open("-rf.txt", "w").write("odd")
open(b"\\xff\\xfe.txt", "w").write("odd")
open("n" * 251 + ".txt", "w").write("long")
open("secret.txt", "w").write("x"); os.chmod("secret.txt", 0)
"""
    done = await box.python(code, collect=["*.txt"], timeout=LONG)
    assert {one.path for one in done.artifacts} == {
        "line\nbreak.txt",
        "-rf.txt",
        "n" * 251 + ".txt",
    }
    reasons = {one.path: one.reason for one in done.rejected}
    assert reasons.pop("\\udcff\\udcfe.txt") == "its name is not UTF-8"
    assert reasons.pop("secret.txt").startswith("it cannot be read")
    assert reasons == {
        "good.txt": "it has several names",
        "second.txt": "it has several names",
        "absolute.txt": "it is a symbolic link",
        "relative.txt": "it is a symbolic link",
        "dangling.txt": "it is a symbolic link",
        "socket.txt": "it is a special file",
    }


async def test_too_many_and_too_large_artifacts_are_told(sandbox: DockerSandbox) -> None:
    limits = BoxLimits(artifacts=1000, artifact_count=3)
    async with sandbox.open(SandboxSpec(limits=limits)) as box:
        code = "for n in range(5): open(f'{n}.bin', 'w').write('x' * 10)\nopen('big.bin', 'wb').write(b'x' * 2000)"
        done = await box.python(code, collect=["*.bin"], timeout=LONG)
    assert [one.path for one in done.artifacts] == ["0.bin", "1.bin", "2.bin"]
    reasons = {one.path: one.reason for one in done.rejected}
    assert reasons == {
        "3.bin": "there are too many files",
        "4.bin": "there are too many files",
        "big.bin": "it is too large",
    }


async def test_a_deep_path_comes_out(box: Any) -> None:
    code = "import os\np = '/'.join(['d' * 100] * 20)\nos.makedirs(p)\nos.chdir(p)\nopen('x', 'w').write('deep')"
    done = await box.python(code, collect=["*/x"], timeout=LONG)
    assert [one.content for one in done.artifacts] == [b"deep"]


@pytest.mark.parametrize("path", ["../x", "/x", "a/../../x", "", ".", "a\0b"])
async def test_files_go_nowhere_but_into_the_work_folder(box: Any, path: str) -> None:
    with pytest.raises(TypeError, match="path"):
        await box.write({PurePosixPath(path): b"x"})
    with pytest.raises(TypeError, match="path"):
        await box.read(PurePosixPath(path))


async def test_writing_replaces_a_link_and_does_not_follow_it(box: Any) -> None:
    await box.python("import os; os.symlink('/tmp/away', 'link')", timeout=LONG)
    await box.write({PurePosixPath("link"): b"here"})
    assert await box.read(PurePosixPath("link")) == b"here"
    code = "import os; print(os.path.exists('/tmp/away'))"
    assert (await box.python(code, timeout=LONG)).text == "False\n"
