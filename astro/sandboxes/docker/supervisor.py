"""The supervisor: the first program in a box. It runs others, and tells the host what they do.

It is sent into the container as text and imports nothing but the standard library; the host
never runs it. What it says is a claim: the host measures time, counts output and decides.

Frames in both directions are one letter, four bytes of length, and a payload. From the host come
`R` (run; JSON), `I` (standard input; empty at its end), `K` (kill what runs), `W` (a file: JSON
of its path, a line break, its content), `G` (give files; JSON), `S` (what has changed; JSON).
To the host go `Y` (ready; JSON), `O` and `P` (output and error output), `X` (a run ended; JSON),
`F` (a file, as in `W`) and `D` (done; JSON).
"""

from __future__ import annotations

import ctypes
import fnmatch
import json
import os
import select
import signal
import stat
import struct
import sys
from collections.abc import Iterator
from typing import Any

Asked = dict[str, Any]
Pipes = tuple[tuple[int, int], tuple[int, int], tuple[int, int]]
HEAD = struct.Struct(">cI")
LARGE = 65536
HOST_IN, HOST_OUT = 0, 1


def dumpable(yes: bool) -> None:
    """Let programs of the same user look into this process, or not."""
    ctypes.CDLL(None, use_errno=True).prctl(4, int(yes), 0, 0, 0)


def send(kind: bytes, payload: bytes = b"") -> None:
    """Send a frame; end when nobody listens any more."""
    data = HEAD.pack(kind, len(payload)) + payload
    try:
        while data:
            data = data[os.write(HOST_OUT, data) :]
    except OSError:
        os._exit(0)


def tell(kind: bytes, **fields: Any) -> None:
    send(kind, json.dumps(fields).encode())


class Host:
    """Reads frames; ends this process, and so the container, when the host is gone."""

    def __init__(self) -> None:
        self.buffer = bytearray()

    def fill(self) -> None:
        try:
            data = os.read(HOST_IN, LARGE)
        except OSError:
            data = b""
        if not data:
            os._exit(0)
        self.buffer += data

    def frame(self) -> tuple[bytes, bytes] | None:
        """Return a frame that has arrived, or None."""
        if len(self.buffer) < HEAD.size:
            return None
        kind, size = HEAD.unpack_from(self.buffer)
        if len(self.buffer) < HEAD.size + size:
            return None
        payload = bytes(self.buffer[HEAD.size : HEAD.size + size])
        del self.buffer[: HEAD.size + size]
        return kind, payload

    def next(self) -> tuple[bytes, bytes]:
        """Return the next frame."""
        while True:
            found = self.frame()
            if found is not None:
                return found
            self.fill()


# --- Running ---------------------------------------------------------------------------------


def kill_all() -> None:
    """Kill every process of this box but this one and the first."""
    for _ in range(100):
        try:
            os.kill(-1, signal.SIGKILL)
        except OSError:
            return


def out_of_memory() -> int:
    """Return how often the kernel has killed something here for want of memory."""
    for name in ("/sys/fs/cgroup/memory.events", "/sys/fs/cgroup/memory/memory.oom_control"):
        try:
            with open(name) as lines:
                for line in lines:
                    if line.startswith("oom_kill "):
                        return int(line.split()[1])
        except (OSError, ValueError):
            pass
    return 0


def child(asked: Asked, pipes: Pipes) -> None:
    """Become the program; return only if it is Python code, to be run by the caller."""
    for number, end in enumerate((pipes[0][0], pipes[1][1], pipes[2][1])):
        os.dup2(end, number)
    os.closerange(3, 256)
    os.setsid()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGPIPE, signal.SIGCHLD):
        signal.signal(number, signal.SIG_DFL)
    signal.set_wakeup_fd(-1)
    try:
        with open("/proc/self/oom_score_adj", "w") as file:
            file.write("1000")  # rather this than the supervisor
    except OSError:
        pass
    dumpable(True)
    os.environ.update(asked["env"])
    try:
        os.chdir(asked["cwd"])
        if asked["code"] is None:
            os.execvp(asked["argv"][0], asked["argv"])
    except OSError as error:
        os.write(2, f"{asked['argv'][0] if asked['argv'] else ''}: {error.strerror}\n".encode())
        os._exit(126 if isinstance(error, PermissionError) else 127)


class Program:
    """A program that runs: its pipes, and what is still to be written to it."""

    def __init__(self, pid: int, pipes: Pipes) -> None:
        self.pid = pid
        self.stdin, self.outputs = pipes[0][1], {pipes[1][0]: b"O", pipes[2][0]: b"P"}
        for mine, its in ((1, pipes[0]), (0, pipes[1]), (0, pipes[2])):
            os.close(its[1 - mine])
            os.set_blocking(its[mine], False)
        self.waiting = bytearray()
        self.ended = False

    def feed(self, data: bytes) -> None:
        """Take more standard input; none ends it."""
        if data:
            self.waiting += data
        else:
            self.ended = True

    def pump(self) -> None:
        """Write as much standard input as fits."""
        try:
            while self.waiting:
                del self.waiting[: os.write(self.stdin, self.waiting[:LARGE])]
        except BlockingIOError:
            return
        except OSError:
            self.waiting.clear()
            self.ended = True
        if self.ended:
            os.close(self.stdin)
            self.stdin = -1

    def relay(self, end: int) -> bool:
        """Send on what the program has written; return whether there may be more."""
        try:
            data = os.read(end, LARGE)
        except BlockingIOError:
            return False
        except OSError:
            data = b""
        if not data:
            os.close(end)
            del self.outputs[end]
            return False
        send(self.outputs[end], data)
        return True

    def drain(self) -> None:
        """Send what is left of the output; no writer is alive any more."""
        for end in list(self.outputs):
            while end in self.outputs and self.relay(end):
                pass


def watch(host: Host, program: Program, pulse: int) -> tuple[int, Any]:
    """Serve a program until it has ended; return how, and what it used."""
    poll = select.poll()
    while True:
        while (frame := host.frame()) is not None:
            if frame[0] == b"I":
                program.feed(frame[1])
            elif frame[0] == b"K":
                kill_all()
        pid, status, used = os.wait4(program.pid, os.WNOHANG)
        if pid:
            return status, used
        for end in (HOST_IN, pulse, *program.outputs):
            poll.register(end, select.POLLIN)
        feeding = program.stdin >= 0 and bool(program.waiting or program.ended)
        if feeding:
            poll.register(program.stdin, select.POLLOUT)
        ready = {end for end, _ in poll.poll()}
        for end in (HOST_IN, pulse, *program.outputs):
            poll.unregister(end)
        if feeding:
            poll.unregister(program.stdin)
        if pulse in ready:
            os.read(pulse, 512)
        for end in [end for end in program.outputs if end in ready]:
            program.relay(end)
        if feeding and program.stdin in ready:
            program.pump()
        if HOST_IN in ready:
            host.fill()


def run(host: Host, asked: Asked, pulse: int) -> Asked | None:
    """Run a program to its end; return Python code, in the process that is to run it."""
    before = out_of_memory()
    pipes = (os.pipe(), os.pipe(), os.pipe())
    try:
        pid = os.fork()
    except OSError as error:
        for pair in pipes:
            os.close(pair[0])
            os.close(pair[1])
        send(b"P", f"no process can be started: {error.strerror}\n".encode())
        tell(b"X", code=126, cpu=0.0, oom=0)
        return None
    if not pid:
        child(asked, pipes)
        return asked
    program = Program(pid, pipes)
    status, used = watch(host, program, pulse)
    kill_all()  # what it has left behind
    program.drain()
    for end in [*program.outputs, *([program.stdin] if program.stdin >= 0 else [])]:
        os.close(end)
    code = os.waitstatus_to_exitcode(status)
    tell(
        b"X",
        code=code if code >= 0 else 128 - code,
        cpu=used.ru_utime + used.ru_stime,
        oom=out_of_memory() - before,
    )
    return None


# --- Files -----------------------------------------------------------------------------------


def walk(top: str, base: str = "") -> Iterator[tuple[str, os.stat_result]]:
    """Yield every path below a folder with its status; follows no link."""
    try:
        entries = sorted(os.scandir(top), key=lambda one: one.name)
    except OSError:
        return
    for entry in entries:
        path = base + entry.name
        try:
            info = entry.stat(follow_symlinks=False)
        except OSError:
            continue
        yield path, info
        if stat.S_ISDIR(info.st_mode):
            yield from walk(os.path.join(top, entry.name), path + "/")


def content_of(path: str) -> bytes:
    """Return the content of a regular file; never waits for a pipe, never follows a link."""
    end = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        if not stat.S_ISREG(os.fstat(end).st_mode):
            raise OSError("it is no regular file")
        parts = []
        while part := os.read(end, 1 << 20):
            parts.append(part)
        return b"".join(parts)
    finally:
        os.close(end)


def give(path: str, content: bytes, **more: Any) -> None:
    head = json.dumps({"path": path, **more}).encode()
    send(b"F", head + b"\n" + content)


def nameable(path: str) -> bool:
    try:
        path.encode()
    except UnicodeEncodeError:
        return False
    return True


KINDS = ((stat.S_ISDIR, "folder"), (stat.S_ISLNK, "symbolic link"), (stat.S_ISFIFO, "pipe"))


def collect(asked: Asked) -> None:
    """Give the regular files that patterns name, within caps."""
    rejected: list[list[str]] = []
    left, count = asked["bytes"], asked["count"]
    for path, info in walk("."):
        wanted = path in asked["paths"] or any(
            fnmatch.fnmatchcase(path, one) for one in asked["patterns"]
        )
        if not wanted:
            continue
        kind = next((name for test, name in KINDS if test(info.st_mode)), "special file")
        if stat.S_ISDIR(info.st_mode):
            continue
        if not nameable(path):
            reason = "its name is not UTF-8"
        elif not stat.S_ISREG(info.st_mode):
            reason = "it is a " + kind
        elif info.st_nlink > 1:
            reason = "it has several names"
        elif info.st_size > left:
            reason = "it is too large"
        elif not count:
            reason = "there are too many files"
        else:
            try:
                content = content_of(path)
            except OSError as error:
                reason = "it cannot be read: " + (error.strerror or str(error))
            else:
                if len(content) <= left:
                    left, count = left - len(content), count - 1
                    give(path, content)
                    continue
                reason = "it is too large"
        if len(rejected) < 1000:
            rejected.append([path.encode("utf-8", "backslashreplace").decode(), reason])
    tell(b"D", rejected=rejected)


def listing() -> None:
    """Tell which regular files there are."""
    files = [
        [path, info.st_size]
        for path, info in walk(".")
        if stat.S_ISREG(info.st_mode) and nameable(path)
    ]
    tell(b"D", files=files)


def write(payload: bytes) -> list[str] | None:
    """Write a file, or a link; return what went wrong."""
    head, _, content = payload.partition(b"\n")
    asked = json.loads(head)
    path = asked["path"]
    try:
        above = os.path.dirname(path)
        while above:
            if os.path.islink(above):
                return [path, above + " is a symbolic link"]
            above = os.path.dirname(above)
        if os.path.dirname(path):
            os.makedirs(os.path.dirname(path), exist_ok=True)
        if asked.get("folder"):
            os.makedirs(path, exist_ok=True)
        elif "link" in asked:
            if os.path.lexists(path):
                os.unlink(path)
            os.symlink(asked["link"], path)
        else:
            if os.path.islink(path):
                os.unlink(path)
            mode = 0o755 if asked.get("executable") else 0o644
            end = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, mode)
            with os.fdopen(end, "wb") as file:
                file.write(content)
                os.fchmod(end, mode)
        return None
    except (OSError, ValueError) as error:
        return [path, getattr(error, "strerror", None) or str(error)]


class Snapshots:
    """What the work folder held when it was looked at last."""

    def __init__(self) -> None:
        self.known: dict[str, tuple[str, Any, bool]] = {}

    def look(self, cap: int, tell_changes: bool) -> None:
        """Tell what has changed; give no more than `cap` bytes for the whole folder."""
        found: dict[str, tuple[str, Any, bool]] = {}
        total, whole = 0, True
        for path, info in walk("."):
            if not nameable(path):
                whole = False
            elif stat.S_ISREG(info.st_mode):
                total += info.st_size
                stamp = [info.st_size, info.st_mtime_ns, info.st_ctime_ns, info.st_ino]
                found[path] = ("file", stamp, bool(info.st_mode & 0o100))
            elif stat.S_ISLNK(info.st_mode):
                found[path] = ("link", os.readlink(path), False)
            elif stat.S_ISDIR(info.st_mode):
                found[path] = ("folder", "", False)
        if total > cap:
            tell(b"D", gone=[], whole=False)
            return
        gone = [path for path in self.known if path not in found]
        if tell_changes:
            whole = self.send(found) and whole
        self.known = found
        tell(b"D", gone=gone, whole=whole)

    def send(self, found: dict[str, tuple[str, Any, bool]]) -> bool:
        whole = True
        for path, (kind, mark, executable) in found.items():
            if self.known.get(path) == (kind, mark, executable):
                continue
            try:
                if kind == "file":
                    give(path, content_of(path), executable=executable)
                elif kind == "link":
                    give(path, b"", link=mark)
                else:
                    give(path, b"", folder=True)
            except (OSError, ValueError):
                whole = False
        return whole


# --- Serving ---------------------------------------------------------------------------------


def facts() -> dict[str, Any]:
    """Return what this process sees of its isolation."""
    with open("/proc/self/status") as lines:
        status = dict(line.rstrip("\n").split(":\t", 1) for line in lines if ":\t" in line)
    try:
        with open("/proc/net/dev") as lines:
            networks = [line.split(":")[0].strip() for line in lines if ":" in line]
    except OSError:
        networks = []
    try:
        os.close(os.open("/astro-probe", os.O_WRONLY | os.O_CREAT))
        sealed = False
    except OSError:
        sealed = True
    return {
        "uid": os.getuid(),
        "capabilities": status.get("CapBnd", ""),
        "sealed": sealed,
        "privileges": status.get("NoNewPrivs", ""),
        "seccomp": status.get("Seccomp", ""),
        "networks": networks,
    }


def serve() -> str:
    """Do what the host asks for; return Python code, in the process that is to run it."""
    dumpable(False)
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGPIPE):
        signal.signal(number, signal.SIG_IGN)
    pulse, beat = os.pipe()
    for end in (pulse, beat):
        os.set_blocking(end, False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    signal.set_wakeup_fd(beat, warn_on_full_buffer=False)
    host, snapshots = Host(), Snapshots()
    wrong: list[list[str]] = []
    tell(b"Y", **facts())
    while True:
        kind, payload = host.next()
        if kind == b"R":
            mine = run(host, json.loads(payload), pulse)
            if mine is not None:
                return str(mine["code"])
        elif kind == b"W":
            if payload:
                problem = write(payload)
                if problem is not None:
                    wrong.append(problem)
            else:
                tell(b"D", wrong=wrong)
                wrong = []
        elif kind == b"G":
            collect(json.loads(payload))
        elif kind == b"L":
            listing()
        elif kind == b"S":
            asked = json.loads(payload)
            snapshots.look(asked["cap"], asked["tell"])


def become(code: str) -> None:
    """Run Python code as the main program of this process."""
    import __main__

    show: Any = sys.excepthook
    # The first two lines of a traceback would be of this file.
    shown: Any = lambda kind, error, trace: show(  # noqa: E731
        kind, error.with_traceback(trace.tb_next.tb_next), trace.tb_next.tb_next
    )
    sys.excepthook = shown
    sys.argv = ["-c"]
    sys.path.insert(0, "")
    main = __main__.__dict__
    builtins = main["__builtins__"]
    main.clear()  # from here on this file is forgotten
    main.update(__name__="__main__", __builtins__=builtins, __doc__=None)
    exec(compile(code, "<string>", "exec"), main)


if __name__ == "__main__":
    become(serve())
