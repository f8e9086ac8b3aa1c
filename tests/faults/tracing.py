"""Tracing: what a process did to its files, and what it said, in the order it happened.

`strace` writes a line per system call. Calls of several threads may overlap: a write counts from
when it began, a sync from when it returned, and then only for what was written before it began.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
from bisect import bisect_left
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import attrs
import pytest

__all__ = [
    "Act",
    "Create",
    "Link",
    "Remove",
    "Rename",
    "Say",
    "Sync",
    "Truncate",
    "Write",
    "count_calls",
    "inject",
    "needs_strace",
    "record",
]

ROOT = Path(__file__).parents[2]
_CHANGING = (
    "openat,open,creat,write,pwrite64,writev,pwritev,pwritev2,ftruncate,truncate,fallocate,"
    "fsync,fdatasync,sync_file_range,unlink,unlinkat,rename,renameat,renameat2,link,linkat,"
    "copy_file_range,sendfile"
)
_LINE = re.compile(r"(\d+) +(\w+)\((.*)\) += (-?\d+)")
_BEGUN = re.compile(r"(\d+) +(\w+\(.*) <unfinished \.\.\.>$")
_ENDED = re.compile(r"(\d+) +<\.\.\. \w+ resumed>(.*)$")
_FD = re.compile(r"(\d+)<((?:\\x[0-9a-f]{2})*)>(\(deleted\))?")
_TEXT = re.compile(r'"((?:\\x[0-9a-f]{2})*)"')


@attrs.frozen
class Write:
    path: str
    offset: int
    content: bytes


@attrs.frozen
class Truncate:
    path: str
    size: int


@attrs.frozen
class Sync:
    """A file, or a folder, was written to the disk.

    Attributes:
        after: How many acts other than syncs had begun when it was asked for: it covers these.
    """

    path: str
    after: int


@attrs.frozen
class Create:
    path: str


@attrs.frozen
class Remove:
    path: str


@attrs.frozen
class Rename:
    path: str
    to: str


@attrs.frozen
class Link:
    path: str
    to: str


@attrs.frozen
class Say:
    """The process printed something: from now on, somebody relies on it."""

    words: tuple[str, ...]


Act = Write | Truncate | Sync | Create | Remove | Rename | Link | Say


@attrs.frozen
class _Call:
    began: int
    ended: int
    name: str
    rest: str
    value: int


def needs_strace() -> None:
    """Skip the test where strace is missing or may not trace; on the machine of CI, fail."""
    strace = shutil.which("strace") if sys.platform == "linux" else None
    if strace is None:
        reason = "strace is missing; on Debian and Ubuntu, run: scripts/install-system-packages"
    elif subprocess.run([strace, "-o", "/dev/null", "true"], check=False).returncode:
        reason = "strace may not trace here; in a container, allow it: --cap-add=SYS_PTRACE"
    else:
        return
    if os.environ.get("CI") == "true":
        pytest.fail(reason)
    pytest.skip(reason)


def _environment() -> dict[str, str]:
    # Whatever Python writes for itself would be counted among the writes.
    return os.environ | {"PYTHONDONTWRITEBYTECODE": "1", "PYTHONFAULTHANDLER": "1"}


def _run(options: Sequence[str], module: str, *args: str) -> None:
    """Run a module of this folder to its end under strace."""
    command = ["strace", "-f", "--seccomp-bpf", "-qq", *options, "--"]
    done = subprocess.run(
        [*command, sys.executable, "-m", f"tests.faults.{module}", *args],
        capture_output=True,
        text=True,
        cwd=ROOT,
        env=_environment(),
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr


def inject(fault: str, module: str, *args: str, timeout: float) -> subprocess.CompletedProcess[str]:
    """Run a module of this folder, and inject a fault, as strace spells it, into its calls."""
    call, _, _ = fault.partition(":")
    with subprocess.Popen(
        [sys.executable, "-m", "tests.faults.attaching", module, *args],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=ROOT,
        env=_environment(),
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        command = ["strace", "-f", "-qq", "-o", "/dev/null", "-p", str(process.pid)]
        tracer = subprocess.Popen([*command, "-e", f"trace={call}", "-e", f"inject={fault}"])
        try:
            output, errors = process.communicate(timeout=timeout)
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGABRT)  # it says where it hangs
            output, errors = process.communicate(timeout=timeout)
        finally:
            process.kill()
            tracer.wait(timeout=timeout)
    return subprocess.CompletedProcess([fault], process.returncode, output, errors)


def record(folder: Path, module: str, *args: str) -> list[Act]:
    """Run a module to its end and return what it did to the files of a folder."""
    log = folder.with_name(folder.name + ".strace")
    options = ["-o", str(log), "-s", "100000000", "-xx", "-y", "-e", f"trace={_CHANGING}"]
    _run([*options, "-e", "signal=none"], module, *args)
    with log.open() as lines:
        acts = _acts(_calls(lines), str(folder))
    log.unlink()
    return acts


def count_calls(folder: Path, names: Sequence[str], module: str, *args: str) -> dict[str, int]:
    """Run a module to its end; return how often the thread that did most did each of some calls."""
    log = folder / "counted.strace"
    _run(["-o", str(log), "-e", f"trace={','.join(names)}"], module, *args)
    counted = Counter(re.findall(r"^(\d+) +(\w+)\(", log.read_text(), re.MULTILINE))
    log.unlink()
    return {name: max(n for (_, what), n in counted.items() if what == name) for name in names}


def _calls(lines: Iterable[str]) -> Iterator[_Call]:
    begun: dict[str, tuple[int, str]] = {}
    for number, line in enumerate(lines):
        began = number
        if found := _BEGUN.match(line):
            begun[found[1]] = number, f"{found[1]} {found[2]}"
            continue
        if found := _ENDED.match(line):
            began, start = begun.pop(found[1])
            line = start + found[2]
        if found := _LINE.match(line):
            yield _Call(began, number, found[2], found[3], int(found[4]))


def _acts(calls: Iterable[_Call], folder: str) -> list[Act]:
    placed: list[tuple[int, Act | _Call]] = []
    known: set[str] = set()
    for call in calls:
        if call.value < 0:
            continue
        if call.name in ("fsync", "fdatasync"):
            placed.append((call.ended, call))
            continue
        act = _act(call, folder)
        if isinstance(act, Create):
            if act.path in known:
                continue
            known.add(act.path)
        if isinstance(act, Remove):
            known.discard(act.path)
        if act is not None:
            placed.append((call.began, act))
    placed.sort(key=lambda pair: pair[0])
    begins = [place for place, act in placed if not isinstance(act, _Call)]
    acts: list[Act] = []
    for _, done in placed:
        if not isinstance(done, _Call):
            acts.append(done)
        elif (path := _file(done.rest)) is not None and _inside(path, folder):
            acts.append(Sync(path, bisect_left(begins, done.began)))
    return acts


def _act(call: _Call, folder: str) -> Act | None:
    name, rest = call.name, call.rest
    if name in ("openat", "open", "creat"):
        path = _texts(rest)[0]
        makes = "O_CREAT" in rest or name == "creat"
        return Create(path) if makes and _inside(path, folder) else None
    if name == "write" and rest.startswith("1<"):
        return Say(tuple(_bytes(rest).decode().splitlines()))
    if name in ("unlink", "rename", "link"):
        paths = [path for path in _texts(rest) if _inside(path, folder)]
        if not paths:
            return None
        if name == "unlink":
            return Remove(paths[0])
        return Rename(*paths) if name == "rename" else Link(*paths)
    path = _file(rest) or ""
    if not _inside(path, folder):
        return None
    if name == "pwrite64":
        return Write(path, int(rest.rsplit(", ", 1)[1]), _bytes(rest)[: call.value])
    if name == "ftruncate":
        return Truncate(path, int(rest.rsplit(", ", 1)[1]))
    raise AssertionError(f"the model of a disk does not know {name}({rest[:200]}")


def _inside(path: str, folder: str) -> bool:
    # The index of the WAL lives in shared memory; it is made anew after a crash.
    return (path == folder or path.startswith(folder + "/")) and not path.endswith("-shm")


def _file(rest: str) -> str | None:
    found = _FD.match(rest)
    if found is None or found[3]:
        return None
    return bytes.fromhex(found[2].replace("\\x", "")).decode()


def _texts(rest: str) -> list[str]:
    return [bytes.fromhex(text.replace("\\x", "")).decode() for text in _TEXT.findall(rest)]


def _bytes(rest: str) -> bytes:
    found = _TEXT.search(rest)
    assert found is not None
    return bytes.fromhex(found[1].replace("\\x", ""))
