"""Hostile guests: a program that wants to speak for its box, and a box that lies to its host.

The first half talks to a box over a plain socket: the peer says what no supervisor would say. The
second half runs attacks in containers. Whatever is tried ends as a result or a typed error.
"""

from __future__ import annotations

import json
import socket
import struct
import tracemalloc
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from datetime import timedelta
from itertools import pairwise
from pathlib import PurePosixPath
from typing import Any

import anyio
import anyio.to_thread
import msgspec
import pytest
from docker import from_env
from hypothesis import given, settings
from hypothesis import strategies as st

from astro import (
    BoxLimits,
    BoxLostError,
    BoxStatus,
    Context,
    DockerSandbox,
    InvalidArgumentsError,
    LocalEngine,
    MemoryStore,
    SandboxError,
    SandboxSpec,
    task,
)
from astro.core.clock import SystemClock
from astro.sandboxes.docker.answers import Done, End, Found, Head, claims_of
from astro.sandboxes.docker.box import DockerBox
from astro.sandboxes.docker.daemon import Container
from astro.sandboxes.docker.wire import Frames, Wire, WireClosedError

pytestmark = pytest.mark.anyio

LONG = timedelta(seconds=20)
SHORT = timedelta(seconds=1)
MOMENT = timedelta(seconds=0.3)
TIGHT = BoxLimits(
    file=64 * 1024, artifacts=1000, artifact_count=3, snapshot=1000, inodes=20, flood=100_000
)


def docker(data: bytes, stream: int = 1) -> bytes:
    """Return bytes as Docker hands them on."""
    return struct.pack(">BxxxI", stream, len(data)) + data


def frame(kind: bytes, payload: bytes) -> bytes:
    return kind + struct.pack(">I", len(payload)) + payload


def said(kind: bytes, **fields: Any) -> bytes:
    return docker(frame(kind, json.dumps(fields).encode()))


def file(path: Any, content: bytes = b"", **more: Any) -> bytes:
    return docker(frame(b"F", json.dumps({"path": path, **more}).encode() + b"\n" + content))


END = said(b"X", n=1, code=0, cpu=0.0, oom=0)
DONE = said(b"D", n=1)


class Peer:
    """Whoever is at the other end of a box's wire; a thread of the test speaks for it."""

    def __init__(self, limits: BoxLimits = TIGHT) -> None:
        here, self.end = socket.socketpair()
        self.end.settimeout(10)
        self.sent = 0
        wire = Wire(here, [], cap=limits.file + 4 * 2**20)
        self.box = DockerBox(
            Container(id_="peer", wire=wire, end=here, limits=limits, since=0.0),
            clock=SystemClock(),
            drop=lambda container: container.wire.close(),
            died=lambda *_: False,
        )

    def hear(self) -> bytes:
        """Wait until it is asked for something."""
        return self.end.recv(2**20)

    def say(self, *parts: bytes) -> bool:
        """Say something; return whether anybody still listens."""
        try:
            self.end.sendall(b"".join(parts))
        except OSError:
            return False
        self.sent += sum(map(len, parts))
        return True

    def say_for_ever(self, part: bytes) -> None:
        part *= max(1, 65536 // len(part))
        while self.say(part):
            pass


@pytest.fixture
def peer() -> Iterator[Peer]:
    peer = Peer()
    yield peer
    peer.box.close()
    peer.end.close()


async def answer(peer: Peer, work: Callable[[], None], asked: Callable[[], Any]) -> Any:
    """Ask a box for something while its peer does its work in a thread."""

    def speak() -> None:
        peer.hear()
        work()

    failed: list[Exception] = []
    async with anyio.create_task_group() as group:
        group.start_soon(anyio.to_thread.run_sync, speak)
        try:
            with anyio.fail_after(10):
                return await asked()
        except Exception as error:
            failed.append(error)
    raise failed[0]


# --- Ends of commands that are none ------------------------------------------------------------

NONSENSE: dict[str, bytes] = {
    "an end without a code": said(b"X", n=1),
    "a code that is text": said(b"X", n=1, code="0"),
    "a code that is a truth": said(b"X", n=1, code=True),
    "a code below zero": said(b"X", n=1, code=-1),
    "a code beyond all codes": said(b"X", n=1, code=256),
    "a code of four thousand digits": docker(frame(b"X", b'{"n":1,"code":' + b"9" * 4000 + b"}")),
    "time that was never used": said(b"X", n=1, code=0, cpu=-5.0),
    "time that is no number": docker(frame(b"X", b'{"n":1,"code":0,"cpu":NaN}')),
    "time without end": docker(frame(b"X", b'{"n":1,"code":0,"cpu":1e999}')),
    "an answer to an earlier command": said(b"X", n=0, code=0),
    "an answer to a later command": said(b"X", n=2, code=0),
    "an end without a number": said(b"X", code=0),
    "a list": docker(frame(b"X", b"[]")),
    "nothing": docker(frame(b"X", b"")),
    "a code that is no UTF-8": docker(frame(b"X", b'{"n":1,"code":"\xff"}')),
    "lists in lists": docker(frame(b"X", b'{"n":1,"x":' + b"[" * 4000)),
    "an end that is too long": docker(frame(b"X", b" " * 5000 + b'{"n":1,"code":0}')),
    "a frame of no kind": docker(frame(b"?", b"")),
    "a frame of four gigabytes": docker(b"O\xff\xff\xff\xff"),
    "output of a megabyte at once": docker(b"O" + struct.pack(">I", 2**20)),
    "output of nothing": docker(frame(b"O", b"")),
    "a file that nobody wants": file("x"),
    "that files were given": DONE,
    "that it is ready": docker(frame(b"Y", b"{}")),
    "half a frame, and it is gone": docker(b"X\x00"),
}


@pytest.mark.parametrize("what", NONSENSE)
async def test_an_end_that_is_none_ends_the_box(peer: Peer, what: str) -> None:
    def speak() -> None:
        peer.say(NONSENSE[what])
        if what.endswith("gone"):
            peer.end.close()

    done = await answer(peer, speak, lambda: peer.box.run(["x"], timeout=LONG))
    assert (done.status, done.exit_code, done.cpu) == (BoxStatus.ERROR, None, 0.0)
    assert peer.box.lost
    with pytest.raises(BoxLostError):
        await peer.box.run(["x"], timeout=LONG)


SILENCE = {
    "nothing at all": b"",
    "half a head of Docker's": b"\x01\x00",
    "the head of four gigabytes of Docker's": b"\x01\x00\x00\x00\xff\xff\xff\xff",
    "half an end": docker(b"X\x00\x00\x00\xff{"),
    "half of its output": docker(b"O\x00\x00\xff\xffhello"),
}


@pytest.mark.parametrize("what", SILENCE)
async def test_who_says_no_more_is_given_up_in_time(peer: Peer, what: str) -> None:
    done = await answer(
        peer, lambda: peer.say(SILENCE[what]), lambda: peer.box.run(["x"], timeout=MOMENT)
    )
    assert (done.status, done.exit_code) == (BoxStatus.TIMED_OUT, None)
    assert done.duration < 5
    assert peer.box.lost


async def test_a_command_that_had_to_be_ended_has_no_exit_code(peer: Peer) -> None:
    def speak() -> None:
        peer.hear()  # that it is to be killed
        peer.say(END)

    done = await answer(peer, speak, lambda: peer.box.run(["x"], timeout=MOMENT))
    assert (done.status, done.exit_code) == (BoxStatus.TIMED_OUT, None)
    assert not peer.box.lost


async def test_no_more_time_is_taken_for_used_than_there_was(peer: Peer) -> None:
    end = said(b"X", n=1, code=0, cpu=1e8)
    done = await answer(peer, lambda: peer.say(end), lambda: peer.box.run(["x"], timeout=LONG))
    assert done.ok
    assert done.cpu < 10


ENDLESS: dict[str, bytes] = {
    "single letters": docker(frame(b"O", b"x")),
    "errors of the supervisor": docker(b"x", stream=2),
    "parts of Docker's that are empty": docker(b""),
}


@pytest.mark.parametrize("what", ENDLESS)
async def test_who_never_stops_talking_is_given_up_in_time(peer: Peer, what: str) -> None:
    done = await answer(
        peer,
        lambda: peer.say_for_ever(ENDLESS[what]),
        lambda: peer.box.run(["x"], timeout=timedelta(seconds=2)),
    )
    assert done.status in (BoxStatus.TIMED_OUT, BoxStatus.OUTPUT_LIMIT)
    assert peer.box.lost


class Endless(socket.socket):
    """A socket that never has to be waited for."""

    said = docker(b"x" * 1000, stream=2)
    reads = 0

    def recv(self, *args: Any) -> bytes:
        self.reads += 1
        assert self.reads < 100_000, "nobody else had a turn"
        return self.said


@pytest.mark.parametrize("what", [docker(b"x", stream=2), docker(frame(b"O", b"x")) * 1000])
async def test_others_have_their_turn_while_a_box_talks(what: bytes) -> None:
    with Endless() as end:
        end.said = what
        wire = Wire(end, [], cap=1000)
        with anyio.move_on_after(0.05) as scope:
            while True:
                await wire.receive()
        assert scope.cancelled_caught


# --- Files that nobody has asked for -----------------------------------------------------------


async def collect(peer: Peer, *parts: bytes) -> Any:
    return await answer(peer, lambda: peer.say(*parts), lambda: peer.box.collect(["*.txt"]))


LIES: dict[str, tuple[bytes, ...]] = {
    "a path above": (file("../x.txt"), DONE),
    "an absolute path": (file("/x.txt"), DONE),
    "a path with nothing in it": (file(""), DONE),
    "a path with a zero in it": (file("a\0.txt"), DONE),
    "a path that is another": (file("a/./b.txt"), DONE),
    "a path that is no text": (file(7), DONE),
    "a path that is no Unicode": (docker(frame(b"F", b'{"path":"\\ud800.txt"}\n')), DONE),
    "a path that is no UTF-8": (docker(frame(b"F", b'{"path":"\xff.txt"}\n')), DONE),
    "a path without end": (file("a" * 5000 + ".txt"), DONE),
    "a file of another name": (file("x.py"), DONE),
    "a file twice": (file("x.txt"), file("x.txt"), DONE),
    "a link": (file("x.txt", link="/etc/passwd"), DONE),
    "a folder": (file("x.txt", folder=True), DONE),
    "a file that is gone": (file("x.txt", gone=True), DONE),
    "a file without a head": (docker(frame(b"F", b"content")), DONE),
    "a head of a megabyte": (docker(frame(b"F", b" " * 2**20 + b"\n")), DONE),
    "too much": (file("x.txt", b"x" * 1001), DONE),
    "too many": (*(file(f"{number}.txt") for number in range(4)), DONE),
    "an answer to something else": (said(b"D", n=7),),
    "rejections that are none": (said(b"D", n=1, rejected=[["x"]]),),
    "output": (docker(frame(b"O", b"x")), DONE),
    "an end": (END,),
}


@pytest.mark.parametrize("what", LIES)
async def test_files_that_were_not_asked_for_end_the_box(peer: Peer, what: str) -> None:
    with pytest.raises(BoxLostError):
        await collect(peer, *LIES[what])
    assert peer.box.lost


async def test_files_without_end_are_not_waited_for(peer: Peer) -> None:
    with pytest.raises(BoxLostError):
        await answer(
            peer,
            lambda: peer.say_for_ever(file("x.txt", b"x" * 900)),
            lambda: peer.box.collect(["*.txt"]),
        )
    assert peer.sent < 2**24


@pytest.mark.parametrize(
    "ask",
    [
        lambda box: box.files(),
        lambda box: box.changes(),
        lambda box: box.read(PurePosixPath("x")),
        lambda box: box.write({PurePosixPath("x"): b""}),
    ],
    ids=["files", "changes", "read", "write"],
)
@pytest.mark.parametrize(
    "said",
    [
        (docker(frame(b"D", b"[" * 2**20)),),
        (docker(frame(b"D", b'{"n":1,"wrong":3,"whole":"yes","rejected":{}}')),),
        tuple(file(f"{number}") for number in range(50)),
        (file("y"), file("y"), DONE),
        (file("../x", link="x"), DONE),
        (docker(b"D\xff\xff\xff\xff"),),
    ],
    ids=["deep", "forms", "many", "twice", "above", "long"],
)
async def test_every_question_survives_every_answer(
    peer: Peer, ask: Callable[[Any], Any], said: tuple[bytes, ...]
) -> None:
    with pytest.raises(BoxLostError):
        await answer(peer, lambda: peer.say(*said), lambda: ask(peer.box))
    assert peer.box.lost


async def test_reasons_are_cut(peer: Peer) -> None:
    told = said(b"D", n=1, rejected=[["x.txt", "r" * 10_000]])
    assert len((await collect(peer, told)).rejected[0].reason) == 200


async def test_a_snapshot_that_is_not_whole_holds_nothing(peer: Peer) -> None:
    told = (file("x", b"x"), said(b"D", n=1, whole=False))
    found = await answer(peer, lambda: peer.say(*told), peer.box.changes)
    assert (found.whole, found.files) == (False, {})


# --- Answers are never mixed -------------------------------------------------------------------


@pytest.mark.parametrize("late", [END, said(b"D", n=1), docker(frame(b"O", b"late")), b"\x01"])
async def test_who_speaks_without_being_asked_is_lost(peer: Peer, late: bytes) -> None:
    end = (END, late) if late != b"\x01" else (END, docker(b"O"))
    done = await answer(peer, lambda: peer.say(*end), lambda: peer.box.run(["x"], timeout=LONG))
    assert done.stdout == b""
    with pytest.raises(BoxLostError):
        await peer.box.run(["x"], timeout=LONG)


async def test_a_box_that_ends_between_commands_is_lost_and_no_result(peer: Peer) -> None:
    await answer(peer, lambda: peer.say(END), lambda: peer.box.run(["x"], timeout=LONG))
    peer.end.close()
    with pytest.raises(BoxLostError):
        await peer.box.run(["x"], timeout=LONG)


async def test_who_is_cancelled_while_files_are_collected_leaves_no_box(peer: Peer) -> None:
    with anyio.CancelScope() as scope:

        def speak() -> None:
            peer.say(END)
            peer.hear()  # the question for files
            anyio.from_thread.run_sync(scope.cancel)

        async with anyio.create_task_group() as group:

            def listen() -> None:
                peer.hear()
                speak()

            group.start_soon(anyio.to_thread.run_sync, listen)
            await peer.box.run(["x"], collect=["*"], timeout=LONG)
    assert peer.box.lost
    with pytest.raises(BoxLostError):
        await peer.box.collect(["*"])


async def test_an_answer_to_who_was_cancelled_reaches_nobody(peer: Peer) -> None:
    with anyio.move_on_after(0.05):
        await peer.box.files()
    peer.say(file("x"), DONE)
    with pytest.raises(BoxLostError):
        await peer.box.files()


@pytest.mark.parametrize("size", [0, 100, 2**22])
async def test_the_end_of_a_cancelled_command_is_not_that_of_the_next(size: int) -> None:
    peer = Peer(BoxLimits())
    heard = bytearray()

    def hear_until(word: bytes) -> None:
        while word not in heard:
            heard.extend(peer.hear())

    def speak() -> None:
        hear_until(b"K\0\0\0\0")
        peer.say(docker(frame(b"O", b"first")), said(b"X", n=1, code=137))
        hear_until(b'"n": 2')
        peer.say(docker(frame(b"O", b"second")), said(b"X", n=2, code=0))

    async with anyio.create_task_group() as group:
        group.start_soon(anyio.to_thread.run_sync, speak)
        with anyio.fail_after(10):
            with anyio.move_on_after(0.05):
                await peer.box.run(["first"], stdin=b"x" * size, timeout=LONG)
            assert (await peer.box.run(["second"], timeout=LONG)).stdout == b"second"
    peer.box.close()
    peer.end.close()


async def test_a_listener_that_fails_is_heard_as_it_is() -> None:
    peer = Peer(BoxLimits())

    def fail(_: object) -> None:
        raise TimeoutError("mine")

    def speak() -> None:
        peer.say(docker(frame(b"O", b"x")))
        while peer.hear()[-5:] != b"K\0\0\0\0":
            pass
        peer.say(END)

    # There is more standard input than fits, so that it is sent while output is heard.
    with pytest.raises(TimeoutError, match="mine"):
        await answer(
            peer,
            speak,
            lambda: peer.box.run(["x"], stdin=b"x" * 2**22, timeout=LONG, listen=fail),
        )
    peer.box.close()
    peer.end.close()


async def test_who_closes_a_box_ends_those_who_wait_for_it(peer: Peer) -> None:
    async with anyio.create_task_group() as group:
        with anyio.fail_after(10):

            async def run() -> None:
                with pytest.raises(SandboxError, match="closed"):
                    await peer.box.run(["x"], timeout=LONG)

            group.start_soon(run)
            await anyio.to_thread.run_sync(peer.hear)
            peer.box.close()


# --- The decoder -------------------------------------------------------------------------------


def frames_of(data: bytes, cuts: list[int], cap: int = 1000) -> list[tuple[bytes, bytes]] | None:
    """Return the frames in a stream that comes in parts; None if it is none."""
    frames, found = Frames(cap), []
    places = sorted({0, len(data), *(cut % (len(data) + 1) for cut in cuts)})
    try:
        for start, end in pairwise(places):
            frames.feed(data[start:end])
            while (one := frames.next()) is not None:
                found.append(one)
    except WireClosedError:
        return None
    return found


FRAME = st.builds(frame, st.sampled_from([b"O", b"P", b"X", b"D", b"F", b"Y"]), st.binary())
PART = st.builds(docker, st.binary(max_size=50), st.sampled_from([1, 1, 2, 3]))
CUTS = st.lists(st.integers(min_value=0, max_value=10_000))


@settings(max_examples=200, deadline=None)
@given(st.lists(FRAME), st.integers(min_value=1, max_value=40), CUTS)
def test_frames_are_the_same_however_they_are_cut(
    frames: list[bytes], size: int, cuts: list[int]
) -> None:
    inner = b"".join(frames)
    parts = [inner[place : place + size] for place in range(0, len(inner), size)]
    told = frames_of(b"".join(docker(part) + docker(b"err", 2) for part in parts), cuts)
    assert told == [(one[:1], one[5:]) for one in frames]


@settings(max_examples=300, deadline=None)
@given(st.one_of(st.binary(max_size=300), st.lists(PART).map(b"".join)), CUTS)
def test_any_bytes_are_frames_or_an_end(data: bytes, cuts: list[int]) -> None:
    told = frames_of(data, cuts)
    assert told == frames_of(data, [])
    assert all(len(payload) <= 2**20 for _, payload in told or ())


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=8,
)
FIELDS = ("n", "code", "cpu", "oom", "whole", "rejected", "wrong", "path", "size", "link", "gone")


@settings(max_examples=300, deadline=None)
@given(
    st.sampled_from([End, Done, Head]),
    st.one_of(
        st.binary(),
        st.dictionaries(st.sampled_from(FIELDS), JSON).map(lambda d: json.dumps(d).encode()),
    ),
)
def test_any_claim_has_its_form_or_is_none(form: type[Any], payload: bytes) -> None:
    try:
        told = claims_of(payload, form)
    except WireClosedError:
        return
    # What is kept of it can be written to a journal, and read again.
    assert msgspec.json.decode(msgspec.json.encode(told), type=form) == told


@settings(max_examples=200, deadline=None)
@given(st.lists(st.binary() | st.text().map(lambda p: json.dumps({"path": p}).encode() + b"\n")))
def test_any_files_are_within_what_was_asked(payloads: list[bytes]) -> None:
    found = Found(50, 5)
    with suppress(WireClosedError):
        for payload in payloads:
            found.take(payload)
    assert len(found.files) <= 5
    assert sum(len(content) for _, content in found.files) <= 50
    assert all(".." not in head.path.split("/") for head, _ in found.files)


@pytest.mark.parametrize("stream", [1, 2])
def test_a_stream_of_any_length_takes_no_room(stream: int) -> None:
    part = b"x" * 2**18
    frames = Frames(2**20)
    tracemalloc.start()
    try:
        frames.feed(struct.pack(">BxxxI", stream, 2**32 - 1))
        for _ in range(200):
            frames.feed(part)
            with suppress(WireClosedError):
                frames.next()
                continue
            break
        assert tracemalloc.get_traced_memory()[1] < 2**21
    finally:
        tracemalloc.stop()
    assert len(frames.told) <= 4096


# --- In a container: who speaks for the box ----------------------------------------------------

# Prints what it got; the descriptors of the supervisor are 0, 1 and 2, as are those of the first
# process if that is another one.
DESCRIPTORS = """
import os
for process in {1, os.getppid()}:
    for number in range(3):
        for flags in (os.O_RDONLY | os.O_NONBLOCK, os.O_WRONLY | os.O_NONBLOCK):
            try:
                os.open(f"/proc/{process}/fd/{number}", flags)
            except OSError:
                continue
            print("open", process, number)
"""

FORGE = """
import json, os, struct, time
for process in {1, os.getppid()}:
    for number in (1, 2):
        try:
            end = os.open(f"/proc/{process}/fd/{number}", os.O_WRONLY)
        except OSError:
            continue
        told = json.dumps({"n": 1, "code": 0, "cpu": 0, "oom": 0}).encode()
        os.write(end, b"X" + struct.pack(">I", len(told)) + told)
time.sleep(0.3)
raise SystemExit(3)
"""


async def test_the_wire_of_the_supervisor_is_out_of_reach(box: Any) -> None:
    assert (await box.python(DESCRIPTORS, timeout=LONG)).text == ""


async def test_nobody_forges_how_a_command_ended(box: Any) -> None:
    done = await box.python(FORGE, timeout=LONG)
    assert (done.status, done.exit_code) == (BoxStatus.ERROR, 3)


async def test_the_first_process_of_a_box_is_its_supervisor(box: Any) -> None:
    assert (await box.python("import os; print(os.getppid())", timeout=LONG)).text == "1\n"


SIGNALS = """
import os, signal, time
for number in signal.valid_signals() - {signal.SIGCHLD}:
    os.kill(os.getppid(), number)
time.sleep(0.1)
print("here")
"""


async def test_no_signal_stops_or_ends_the_supervisor(box: Any) -> None:
    assert (await box.python(SIGNALS, timeout=LONG)).text == "here\n"
    assert (await box.python("print(1)", timeout=LONG)).text == "1\n"


async def test_a_supervisor_that_is_called_all_the_time_still_ends_a_command(box: Any) -> None:
    code = "import os, signal\nos.fork(); os.fork()\nwhile True: os.kill(os.getppid() if os.getppid() == 1 else 1, signal.SIGCHLD)"
    done = await box.python(code, timeout=SHORT)
    assert done.status is BoxStatus.TIMED_OUT
    assert (await box.python("print(1)", timeout=LONG)).text == "1\n"


TOUCH = {
    "its descriptors": "resource.prlimit(os.getppid(), resource.RLIMIT_NOFILE, (3, 3))",
    "its files": "resource.prlimit(os.getppid(), resource.RLIMIT_FSIZE, (10, 10))",
    "its memory": "resource.prlimit(os.getppid(), resource.RLIMIT_AS, (2**26, 2**26))",
    "its processes": "resource.prlimit(os.getppid(), resource.RLIMIT_NPROC, (1, 1))",
    "its time": "resource.prlimit(os.getppid(), resource.RLIMIT_CPU, (1, 1))",
    "its turn": "os.setpriority(os.PRIO_PROCESS, os.getppid(), 19)",
    "its class": "os.sched_setscheduler(os.getppid(), os.SCHED_IDLE, os.sched_param(0))",
}


@pytest.mark.parametrize("what", TOUCH)
async def test_who_changes_the_supervisor_ends_only_its_box(
    sandbox: DockerSandbox, box: Any, what: str
) -> None:
    done = await box.python(f"import os, resource; {TOUCH[what]}; print('done')", timeout=LONG)
    assert (done.status, done.exit_code) == (BoxStatus.ERROR, None)
    with pytest.raises(BoxLostError):
        await box.python("print(1)", timeout=LONG)
    async with sandbox.open(SandboxSpec()) as another:
        assert (await another.python("print(1)", timeout=LONG)).text == "1\n"


ALONE = """
import os
print({int(name) for name in os.listdir("/proc") if name.isdigit()} == {1, os.getpid()})
"""


async def test_no_program_runs_beside_the_one_that_waits_to_be_the_next(box: Any) -> None:
    for _ in range(3):
        assert (await box.python(ALONE, timeout=LONG)).text == "True\n"


KILL_WAITING = """
import os, signal, time
def runs(name):
    return open(f"/proc/{name}/stat").read().rpartition(")")[2].split()[0] != "Z"
def others():
    return set(filter(str.isdigit, os.listdir("/proc"))) - {"1", str(os.getpid())}
while not (waiting := others()):
    time.sleep(0.001)
os.kill(-1, signal.SIGKILL)
while any(map(runs, waiting)):
    time.sleep(0.001)
print(len(waiting))
"""


async def test_a_process_that_is_killed_while_it_waits_is_replaced(box: Any) -> None:
    with closing(from_env()) as client:
        for code in ("print(1)", "print(2)"):
            container = client.containers.get(box.id)
            assert container.exec_run(["python3", "-I", "-c", KILL_WAITING]).output == b"1\n"
            assert (await box.python(code, timeout=LONG)).text == code[6] + "\n"


async def test_the_kernel_ends_a_program_rather_than_its_supervisor(box: Any) -> None:
    code = "for process in (1, 'self'): print(open(f'/proc/{process}/oom_score_adj').read())"
    assert (await box.python(code, timeout=LONG)).text.split() == ["500", "1000"]


LEFT_OPEN = """
def reached(): pass
file = open("kept", "w")
file.write("kept")
"""


async def test_a_program_that_ends_writes_what_it_has_not_yet_written(box: Any) -> None:
    assert (await box.python(LEFT_OPEN, timeout=LONG)).ok
    assert await box.read(PurePosixPath("kept")) == b"kept"


# --- What a command leaves to the next ---------------------------------------------------------

IPC = """
import ctypes
lib = ctypes.CDLL(None, use_errno=True)
got = lib.shmget(0, 2**25, 0o1600), lib.semget(0, 3, 0o1600), lib.msgget(0, 0o1600)
queue = lib.mq_open(b"/left", 0o102, 0o600, None)
print(min(*got, queue) >= 0)
"""
LEFT = """
import os
print([len(open("/proc/sysvipc/" + name).readlines()) - 1 for name in ("shm", "sem", "msg")])
print(os.listdir("/dev/mqueue"))
"""


async def test_memory_without_a_process_does_not_live_on(box: Any) -> None:
    assert (await box.python(IPC, timeout=LONG)).text == "True\n"
    assert (await box.python(LEFT, timeout=LONG)).text == "[0, 0, 0]\n[]\n"


BEHIND = """
import os, time
for _ in range(2):
    if os.fork():
        break
    os.setsid()
else:
    while True:
        open("grows", "ab", 0).write(b"x" * 100_000)
        os.truncate("grows", 10**6)
while not os.path.exists("grows"):
    time.sleep(0.001)
"""


async def test_nothing_is_written_after_a_command_has_ended(box: Any) -> None:
    done = await box.python(BEHIND, collect=["grows"], timeout=LONG)
    assert (done.status, len(done.artifacts)) == (BoxStatus.OK, 1)
    before = (await box.changes()).files["grows"]
    assert (await box.changes()).files == {}
    assert await box.read(PurePosixPath("grows")) == before[0]


async def test_used_time_is_that_of_all_that_was_begun(box: Any) -> None:
    code = "import os, time\nif not os.fork():\n  os.setsid()\n  while time.process_time() < 0.3: pass\n  open('done', 'w').close()\n  time.sleep(60)\nwhile not os.path.exists('done'): time.sleep(0.01)"
    done = await box.python(code, timeout=LONG)
    assert done.status is BoxStatus.OK
    assert 0.3 <= done.cpu <= done.duration + 0.2


@pytest.mark.parametrize("timeout", [0.0, 0.01, 0.3])
async def test_input_that_nobody_reads_reaches_no_other_command(box: Any, timeout: float) -> None:
    code = "import time; time.sleep(60)"
    done = await box.python(code, stdin=b"x" * 2**24, timeout=timedelta(seconds=timeout))
    assert done.status is BoxStatus.TIMED_OUT
    code = "import sys; print(repr(sys.stdin.read()))"
    assert (await box.python(code, stdin=b"mine", timeout=LONG)).text == "'mine'\n"


async def test_letters_that_come_one_by_one_are_handed_on_together(box: Any) -> None:
    heard: list[object] = []
    code = "import os\nfor _ in range(100_000): os.write(1, b'x')"
    done = await box.python(code, timeout=LONG, listen=heard.append)
    assert done.stdout == b"x" * 100_000
    # Beyond the first hundred, no more than one in a millisecond from each of two streams.
    assert len(heard) <= 200 + 2000 * done.duration


async def test_a_program_that_stops_itself_is_ended(box: Any) -> None:
    code = "import os, signal\nos.fork(); os.kill(0, signal.SIGSTOP)"
    assert (await box.python(code, timeout=SHORT)).status is BoxStatus.TIMED_OUT
    assert (await box.python("print(1)", timeout=LONG)).text == "1\n"


async def test_a_broken_pipe_is_an_error_of_python_and_the_end_of_others(box: Any) -> None:
    code = "import os\nr, w = os.pipe(); os.close(r)\ntry: os.write(w, b'x')\nexcept BrokenPipeError: print('broken')"
    assert (await box.python(code, timeout=LONG)).text == "broken\n"
    code = "import subprocess; print(subprocess.run(['sh', '-c', 'kill -XFSZ $$']).returncode)"
    assert (await box.python(code, timeout=LONG)).text == "-25\n"


@pytest.mark.parametrize("words", [["a\0b"], ["\ud800"], ["echo", "\ud800"]])
async def test_words_that_no_program_can_have_end_as_a_result(box: Any, words: list[str]) -> None:
    done = await box.run(words, timeout=LONG)
    assert (done.status, done.exit_code) == (BoxStatus.ERROR, 126)
    assert b"Traceback" not in done.stderr


# --- Folders and files -------------------------------------------------------------------------

DEEP = """
import os
for _ in range({depth}):
    os.mkdir("d"); os.chdir("d")
open("x.txt", "w").write("deep")
"""


async def test_folders_in_folders_are_walked_without_an_end(box: Any) -> None:
    assert (await box.python(DEEP.format(depth=1900), timeout=LONG)).ok
    found = await box.collect(["*.txt"])
    assert [one.content for one in found.artifacts] == [b"deep"]
    assert len((await box.files())[0].path) == 1900 * 2 + 5
    changes = await box.changes()
    assert (changes.whole, len(changes.folders)) == (True, 1900)


async def test_what_is_too_deep_to_be_seen_is_told(box: Any) -> None:
    assert (await box.python(DEEP.format(depth=2500), timeout=LONG)).ok
    found = await box.collect(["*.txt"])
    assert [one.reason for one in found.rejected] == ["it cannot be looked into"]
    assert not (await box.changes()).whole
    with pytest.raises(SandboxError, match="cannot be listed"):
        await box.files()
    assert not box.lost


HIDDEN = {
    "a folder that nobody may enter": "os.mkdir('a'); open('a/x', 'w').close(); os.chmod('a', 0)",
    "a file that nobody may read": "open('x', 'w').close(); os.chmod('x', 0)",
    "a link to what is no text": "os.symlink(b'\\xff', 'x')",
    "a name that is no text": "open(b'\\xff', 'w').close()",
}
CLEAR = """
import os, shutil
for name in os.listdir(b"."):
    if name != b"seen":
        os.path.islink(name) or os.chmod(name, 0o700)
        shutil.rmtree(name) if os.path.isdir(name) else os.unlink(name)
"""


@pytest.mark.parametrize("what", HIDDEN)
async def test_a_snapshot_that_lacks_something_is_never_whole(box: Any, what: str) -> None:
    code = f"import os; open('seen', 'w').close(); {HIDDEN[what]}"
    done = await box.python(code, timeout=LONG)
    assert done.status is BoxStatus.OK
    for _ in range(2):
        changes = await box.changes()
        assert (changes.whole, changes.files) == (False, {})
    assert (await box.python(CLEAR, timeout=LONG)).ok
    changes = await box.changes()
    assert (changes.whole, set(changes.files)) == (True, {"seen"})


async def test_a_work_folder_that_was_shut_is_open_for_the_next(box: Any) -> None:
    code = "import os; open('x', 'w').write('kept'); os.chmod('/work', 0)"
    assert (await box.python(code, timeout=LONG)).ok
    assert (await box.run(["cat", "x"], timeout=LONG)).text == "kept"
    assert await box.read(PurePosixPath("x")) == b"kept"


MANY = """
import os
folder = "/".join(["\\x01" * 200] * 8)
os.makedirs(folder)
os.chdir(folder)
for number in range(2000):
    open(f"{number}.txt", "w").close()
"""


async def test_names_without_end_are_bounded(box: Any) -> None:
    assert (await box.python(MANY, timeout=LONG)).ok
    found = await box.collect(["*.txt"])
    assert len(found.artifacts) == 64
    assert 0 < len(found.rejected) < 1000
    assert not (await box.changes()).whole
    with pytest.raises(SandboxError, match="cannot be listed"):
        await box.files()
    assert (await box.python("print(1)", timeout=LONG)).text == "1\n"


async def test_a_path_that_has_become_something_else_is_gone_and_new(box: Any) -> None:
    await box.run(["sh", "-c", "echo 1 > a; ln -s a b; mkdir c; echo 2 > c/d"], timeout=LONG)
    await box.changes()
    script = "rm -r a b c; mkdir a; echo 3 > a/x; echo 4 > b; ln -s a c"
    await box.run(["sh", "-c", script], timeout=LONG)
    changes = await box.changes()
    assert set(changes.gone) == {"a", "b", "c", "c/d"}
    assert set(changes.files) == {"a/x", "b"}
    assert (changes.links, changes.folders) == ({"c": "a"}, ("a",))


async def test_rule_38_a_file_that_has_become_a_folder_comes_back_as_one(
    sandbox: DockerSandbox,
) -> None:
    @task
    async def work(ctx: Context) -> str:
        await ctx.sandbox.run(["sh", "-c", "echo 1 > a; mkdir b"])
        await ctx.sandbox.run(["sh", "-c", "rm a; mkdir a; echo 2 > a/x; rmdir b; echo 3 > b"])
        await ctx.sandbox.python(f"import os, resource; {TOUCH['its descriptors']}")
        return (await ctx.sandbox.run(["cat", "a/x", "b"])).text

    async with LocalEngine(work, store=MemoryStore(), sandbox=sandbox) as engine:
        assert await engine.run(work) == "2\n3\n"


async def test_writing_changes_one_name_only(box: Any) -> None:
    code = "import os; open('a', 'w').write('a'); os.link('a', 'b'); open('c', 'w').close(); os.chmod('c', 0o400)"
    await box.python(code, timeout=LONG)
    await box.write({PurePosixPath("a"): b"new", PurePosixPath("c"): b"new"})
    assert (await box.run(["cat", "a", "b", "c"], timeout=LONG)).text == "newanew"


async def test_files_are_written_together_or_not_asked_for(box: Any) -> None:
    with pytest.raises(InvalidArgumentsError):
        await box.write({PurePosixPath("a"): b"a", PurePosixPath("../b"): b"b"})
    with pytest.raises(SandboxError, match="too large"):
        await box.write({PurePosixPath("a"): b"a", PurePosixPath("b"): bytes(2**25 + 1)})
    assert list(await box.files()) == []
    await box.write({PurePosixPath("c"): b"c"})
    assert [one.path for one in await box.files()] == ["c"]


async def test_a_small_box_gives_and_takes_large_files(sandbox: DockerSandbox) -> None:
    content = bytes(range(256)) * 4096 * 10
    spec = SandboxSpec(limits=BoxLimits(memory=32 * 2**20, artifacts=2**24))
    async with sandbox.open(spec) as box:
        await box.write({PurePosixPath("x"): content})
        assert await box.read(PurePosixPath("x")) == content
        assert (await box.changes()).files["x"] == (content, False)


SPECIAL = """
import os, socket
socket.socket(socket.AF_UNIX).bind("socket")
os.symlink("/proc/1/environ", "link")
os.symlink("loop", "loop")
open("sparse", "wb").truncate(2**25)
open("x" * 255, "w").close()
"""


async def test_a_snapshot_of_odd_things_makes_another_box_the_same(sandbox: DockerSandbox) -> None:
    spec = SandboxSpec(limits=BoxLimits(snapshot=2**26))
    async with sandbox.open(spec) as box:
        assert (await box.python(SPECIAL, timeout=LONG)).ok
        found = await box.changes()
        assert found.whole
        assert set(found.files) == {"sparse", "x" * 255}
        assert found.links == {"link": "/proc/1/environ", "loop": "loop"}
        with pytest.raises(SandboxError, match="special file"):
            await box.read(PurePosixPath("socket"))
        with pytest.raises(SandboxError, match="symbolic link"):
            await box.read(PurePosixPath("link"))
    async with sandbox.open(spec) as box:
        await box.restore(found)
        assert await box.read(PurePosixPath("sparse")) == bytes(2**25)
        assert (await box.changes()).files == {}
