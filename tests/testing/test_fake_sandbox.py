"""FakeSandbox: answers by a script, closes its boxes, runs nothing, and no setting names it."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path, PurePosixPath
from typing import Any

import anyio
import pytest

import astro
from astro import (
    Context,
    InvalidArgumentsError,
    LocalEngine,
    MemoryStore,
    RunFailedError,
    SandboxUnavailableError,
    SettingsError,
    task,
)
from astro.core.errors import SandboxError, SandboxTimeoutError
from astro.core.protocols import Box, Sandbox
from astro.core.sandbox import Artifact, BoxStatus, Changes, Chunk, Completed, FileInfo, SandboxSpec
from astro.setup import plugins
from astro.setup.assembly import assemble
from astro.setup.settings import read_settings
from astro.testing.clock import VirtualClock
from astro.testing.fake_context import FakeContext
from astro.testing.fake_sandbox import FakeCommand, FakeSandbox, Files
from astro.testing.scripted_agent import After, Always, UnscriptedError

pytestmark = pytest.mark.anyio

SPEC = SandboxSpec()
SECOND = timedelta(seconds=1)
MINUTE = timedelta(minutes=1)
DONE = Completed(exit_code=0, stdout=b"4\n", stderr=b"")
FAILED = Completed(exit_code=1, stdout=b"", stderr=b"wrong", status=BoxStatus.ERROR)
PYTHON = ("python3", "-c", "print(2 + 2)")


def typed(sandbox: FakeSandbox) -> Sandbox:
    """Hold for type checkers that the double fills the seam."""
    return sandbox


async def answered(sandbox: FakeSandbox, *command: str, stdin: bytes = b"") -> Completed:
    async with typed(sandbox).open(SPEC) as box:
        return await box.run(command, stdin=stdin, timeout=MINUTE)


# --- Commands ----------------------------------------------------------------------------------


async def test_a_command_is_answered_by_the_script() -> None:
    sandbox = FakeSandbox({PYTHON: DONE, ("sh", "-c", "exit 1"): FAILED})
    assert await answered(sandbox, *PYTHON) == DONE
    assert await answered(sandbox, "sh", "-c", "exit 1") == FAILED


@pytest.mark.parametrize(
    "words",
    [
        ("python3", "-c", ...),
        ("python3", ...),
        ("python3", ..., "print(2 + 2)"),
        (...,),
        ("python3", "-c", "print(2 + 2)", ...),
    ],
)
async def test_dots_stand_for_words(words: Any) -> None:
    assert await answered(FakeSandbox({words: DONE}), *PYTHON) == DONE


@pytest.mark.parametrize(
    "words",
    [
        ("python3", "-c"),
        ("python3", ..., "print(2)"),
        ("python3", "-c", "print(2 + 2)", "more"),
        ("python3", "-c", "print(2 + 2)", "more", ...),
    ],
)
async def test_dots_stand_for_nothing_else(words: Any) -> None:
    assert await answered(FakeSandbox({words: DONE, (...,): FAILED}), *PYTHON) == FAILED


async def test_a_function_sees_command_input_and_files_and_may_write_some() -> None:
    def copy(command: tuple[str, ...], stdin: bytes, files: Files) -> Completed:
        files[PurePosixPath(command[1])] = stdin
        return Completed(exit_code=0, stdout=b"%d" % len(files), stderr=b"")

    async with FakeSandbox(copy).open(SPEC) as box:
        await box.write({PurePosixPath("first"): b"1"})
        done = await box.run(["tee", "second"], stdin=b"2", timeout=MINUTE)
        assert done.stdout == b"2"
        assert await box.read(PurePosixPath("second")) == b"2"


async def test_an_async_function_answers_too() -> None:
    async def slow(command: tuple[str, ...], stdin: bytes, files: Files) -> Completed:
        await anyio.lowlevel.checkpoint()
        return DONE

    assert await answered(FakeSandbox({("python3", ...): slow}), *PYTHON) == DONE


async def test_answers_of_a_list_come_in_order() -> None:
    sandbox = FakeSandbox({("python3", ...): [FAILED, OSError("down"), Always(DONE)]})
    assert await answered(sandbox, *PYTHON) == FAILED
    with pytest.raises(OSError, match="down"):
        await answered(sandbox, *PYTHON)
    assert [await answered(sandbox, *PYTHON) for _ in range(2)] == [DONE, DONE]
    assert sandbox.left == {}


async def test_a_command_without_an_answer_is_an_error_that_shows_it() -> None:
    sandbox = FakeSandbox({("python3", ...): [DONE]})
    with pytest.raises(UnscriptedError, match=r"no answer for \('ls', '-l'\)"):
        await answered(sandbox, "ls", "-l")
    assert sandbox.left == {("python3", ...): 1}
    await answered(sandbox, *PYTHON)
    with pytest.raises(UnscriptedError, match="exhausted: call 2"):
        await answered(sandbox, *PYTHON)


async def test_output_is_kept_up_to_a_cap() -> None:
    said = Completed(exit_code=0, stdout=b"12345", stderr=b"123")
    done = await answered(FakeSandbox({("yes",): said}, output=3), "yes")
    assert (done.stdout, done.stderr) == (b"123", b"123")
    assert (done.stdout_truncated, done.stderr_truncated) == (True, False)


async def test_output_is_heard_and_files_are_given_back() -> None:
    def report(command: tuple[str, ...], stdin: bytes, files: Files) -> Completed:
        files[PurePosixPath("out/a.json")] = b"{}"
        files[PurePosixPath("out/b.txt")] = b""
        return Completed(exit_code=0, stdout=b"said", stderr=b"")

    heard: list[Chunk] = []
    async with FakeSandbox(report).open(SPEC) as box:
        done = await box.run(["x"], timeout=MINUTE, collect=["*.json"], listen=heard.append)
        assert (await box.collect(["out/*"])).artifacts == (
            Artifact("out/a.json", b"{}"),
            Artifact("out/b.txt", b""),
        )
    assert heard == [Chunk("stdout", b"said")]
    assert done.artifacts == (Artifact("out/a.json", b"{}"),)


async def test_python_code_is_a_command_of_python3() -> None:
    sandbox = FakeSandbox({PYTHON: DONE})
    async with typed(sandbox).open(SPEC) as box:
        assert await box.python("print(2 + 2)", timeout=MINUTE, env={"A": "1"}) == DONE
    assert sandbox.commands == [
        FakeCommand(command=PYTHON, timeout=MINUTE, box=1, env={"A": "1"}),
    ]


async def test_commands_are_kept() -> None:
    sandbox = FakeSandbox({("cat",): Always(DONE)})
    for stdin in (b"1", b"2"):
        await answered(sandbox, "cat", stdin=stdin)
    assert sandbox.commands == [
        FakeCommand(command=("cat",), stdin=b"1", timeout=MINUTE, box=1),
        FakeCommand(command=("cat",), stdin=b"2", timeout=MINUTE, box=2),
    ]


@pytest.mark.parametrize(
    ("script", "words"),
    [
        ({("ls",): 0}, "Answer 1 .* 0 is no answer to a command"),
        ({("ls",): [DONE, "text"]}, "Answer 2 .* 'text' is no answer"),
        ({"ls": DONE}, "'ls' is no command"),
        ({(): DONE}, r"\(\) is no command"),
        ({("ls",): OSError}, "no exception that can be raised"),
    ],
)
async def test_a_wrong_script_is_found_when_it_is_written(script: Any, words: str) -> None:
    with pytest.raises(InvalidArgumentsError, match=words):
        FakeSandbox(script)


async def test_a_functions_wrong_answer_is_refused() -> None:
    with pytest.raises(InvalidArgumentsError, match="None is no answer"):
        await answered(FakeSandbox(lambda command, stdin, files: None), "ls")


# --- Time --------------------------------------------------------------------------------------


async def test_a_command_times_out_by_the_virtual_clock() -> None:
    clock = VirtualClock()
    sandbox = FakeSandbox({("sleep", ...): After(MINUTE, DONE)}, clock=clock)
    outcomes: list[Any] = []

    async def run(box: Box, timeout: timedelta) -> None:
        outcomes.append(await box.run(["sleep", "60"], timeout=timeout))

    async with sandbox.open(SPEC) as box:
        for timeout in (59 * SECOND, 61 * SECOND):
            async with anyio.create_task_group() as group:
                group.start_soon(run, box, timeout)
                with anyio.fail_after(5):
                    while clock.next_due() != min(timeout, MINUTE):
                        await anyio.lowlevel.checkpoint()
                clock.advance(min(timeout, MINUTE))
    assert outcomes[0].status is BoxStatus.TIMED_OUT
    assert (outcomes[0].exit_code, outcomes[0].duration) == (None, 59.0)
    assert outcomes[1] == DONE
    assert clock.next_due() is None


async def test_a_function_that_never_answers_times_out() -> None:
    async def hang(command: tuple[str, ...], stdin: bytes, files: Files) -> Completed:
        await anyio.sleep_forever()
        return DONE

    async with FakeSandbox(hang).open(SPEC) as box:
        done = await box.run(PYTHON, timeout=timedelta(milliseconds=1))
        assert done.status is BoxStatus.TIMED_OUT
        await box.write({PurePosixPath("after"): b"the box goes on"})


async def test_a_box_can_fail_to_answer_in_time() -> None:
    error = SandboxTimeoutError("The box does not answer.", remedy="Try again.")
    with pytest.raises(SandboxTimeoutError, match="does not answer"):
        await answered(FakeSandbox({PYTHON: error}), *PYTHON)


# --- Boxes -------------------------------------------------------------------------------------


async def test_boxes_are_counted_and_closed_on_every_path() -> None:
    sandbox = FakeSandbox({})
    async with sandbox.open(SPEC):
        assert (sandbox.opened, sandbox.closed) == (1, 0)
    with pytest.raises(OSError, match="down"):
        async with sandbox.open(SPEC):
            raise OSError("down")
    with anyio.CancelScope() as scope:
        async with sandbox.open(SPEC):
            scope.cancel()
            await anyio.sleep_forever()
    assert (sandbox.opened, sandbox.closed) == (3, 3)
    assert [box.closed for box in sandbox.boxes] == [True] * 3


async def test_a_closed_box_does_nothing() -> None:
    sandbox = FakeSandbox({PYTHON: DONE})
    async with sandbox.open(SPEC) as box:
        pass
    for verb in (
        lambda: box.run(PYTHON, timeout=MINUTE),
        lambda: box.write({PurePosixPath("a"): b""}),
        lambda: box.read(PurePosixPath("a")),
    ):
        with pytest.raises(SandboxError, match="box is closed"):
            await verb()
    assert sandbox.commands == []


async def test_what_a_box_held_can_be_looked_at_afterwards() -> None:
    sandbox = FakeSandbox({})
    async with sandbox.open(SandboxSpec(image="small")) as box:
        await box.write({PurePosixPath("a/b"): b"1"})
    assert sandbox.boxes[0].held == {PurePosixPath("a/b"): b"1"}
    assert sandbox.boxes[0].spec.image == "small"


async def test_what_has_changed_can_be_put_into_another_box() -> None:
    sandbox = FakeSandbox({})
    one, two = PurePosixPath("a/one"), PurePosixPath("two")
    async with typed(sandbox).open(SPEC) as box:
        await box.write({one: b"1", two: b"2"})
        first = await box.changes()
        assert first == Changes(files={"a/one": (b"1", False), "two": (b"2", False)})
        assert await box.changes() == Changes()
        await box.write({two: b"3"})
        del sandbox.boxes[0].held[one]
        assert await box.changes() == Changes(files={"two": (b"3", False)}, gone=("a/one",))
    async with typed(sandbox).open(SPEC) as box:
        await box.restore(first)
        assert await box.files() == [FileInfo("a/one", 1), FileInfo("two", 1)]
        assert await box.changes() == Changes()


async def test_one_path_that_leads_out_keeps_all_files_from_being_written() -> None:
    async with FakeSandbox({}).open(SPEC) as box:
        with pytest.raises(InvalidArgumentsError, match="no path in the work folder"):
            await box.write({PurePosixPath("in"): b"", PurePosixPath("../out"): b""})
        assert box.held == {}


async def test_it_can_be_unavailable() -> None:
    sandbox = FakeSandbox({}, unavailable="Docker does not answer.")
    with pytest.raises(SandboxUnavailableError, match="Docker does not answer"):
        await sandbox.check()
    with pytest.raises(SandboxUnavailableError):
        async with sandbox.open(SPEC):
            pass
    sandbox.unavailable = ""
    await sandbox.check()
    assert sandbox.opened == 0


async def test_a_task_runs_its_code_in_a_fake_box() -> None:
    @task
    async def compute(ctx: Context, code: str) -> str:
        done = await ctx.sandbox.run(["python3", "-c", code], timeout=MINUTE)
        return done.stdout.decode().strip()

    sandbox = FakeSandbox({("python3", "-c", ...): DONE})
    async with sandbox.open(SPEC) as box:
        assert await compute(FakeContext(sandbox=box), "print(2 + 2)") == "4"
    assert sandbox.commands[0].command == PYTHON


async def test_a_box_takes_what_a_contexts_box_takes() -> None:
    async with FakeSandbox({PYTHON: DONE}).open(SPEC) as box:
        ctx = FakeContext(sandbox=box)
        await ctx.sandbox.write({"main.py": "é"})
        assert await ctx.sandbox.read("main.py") == "é".encode()
        assert await ctx.sandbox.run(PYTHON) == DONE
        assert await ctx.sandbox.python(PYTHON[2]) == DONE


async def test_an_engine_runs_code_in_a_fake_box_and_closes_it() -> None:
    @task
    async def compute(ctx: Context) -> str:
        await ctx.sandbox.write({"main.py": b"print(2 + 2)"})
        done = await ctx.sandbox.run(["python3", "main.py"], timeout=MINUTE)
        return str(done.stdout.decode().strip())

    sandbox = FakeSandbox({("python3", "main.py"): DONE})
    async with LocalEngine(compute, store=MemoryStore(), sandbox=sandbox) as engine:
        assert await engine.run(compute) == "4"
    assert (sandbox.opened, sandbox.closed) == (1, 1)
    assert sandbox.boxes[0].held == {PurePosixPath("main.py"): b"print(2 + 2)"}


async def test_an_engine_whose_sandbox_is_unavailable_runs_nothing() -> None:
    @task
    async def compute(ctx: Context) -> None:
        await ctx.sandbox.run(PYTHON, timeout=MINUTE)

    sandbox = FakeSandbox({PYTHON: DONE}, unavailable="Docker does not answer.")
    async with LocalEngine(compute, store=MemoryStore(), sandbox=sandbox) as engine:
        with pytest.raises(RunFailedError, match="Docker does not answer"):
            await engine.run(compute)
    assert sandbox.commands == []


# --- It isolates nothing, and says so ----------------------------------------------------------


async def test_it_says_that_it_isolates_nothing() -> None:
    sandbox = FakeSandbox({})
    async with sandbox.open(SPEC) as box:
        assert repr(box) == "<FakeBox 1: open, isolates nothing, runs nothing>"
    assert repr(box) == "<FakeBox 1: closed, isolates nothing, runs nothing>"
    assert repr(sandbox) == "<FakeSandbox: isolates nothing, runs nothing, 0 boxes open>"
    assert "isolates nothing" in str(FakeSandbox.__doc__)


@pytest.mark.parametrize("name", ["fake", "fakesandbox", "FakeSandbox", "local", "unsafe", "none"])
async def test_no_name_of_a_sandbox_is_this_one(name: str) -> None:
    assert name not in plugins.names(plugins.SANDBOXES)
    with pytest.raises(SettingsError):
        plugins.find(plugins.SANDBOXES, name)


@pytest.mark.parametrize("place", ["astro.testing.fake_sandbox", "astro.testing"])
@pytest.mark.parametrize("config", ["", ", config: {script: {}}", ", script: {}"])
@pytest.mark.parametrize("part", ["sandbox", "store"])
async def test_settings_cannot_make_it(tmp_path: Path, part: str, config: str, place: str) -> None:
    # A store is made today in the way in which a sandbox will be.
    file = tmp_path / "astro.yaml"
    file.write_text(f"{part}: {{use: '{place}:FakeSandbox'{config}}}\n")
    with pytest.raises(SettingsError):
        assemble(read_settings(file, environ={}))


async def test_nothing_of_the_library_but_its_testing_knows_it() -> None:
    room = Path(astro.__file__).parent
    knowing = [
        path.relative_to(room).as_posix()
        for path in room.rglob("*.py")
        if path.relative_to(room).parts[0] != "testing"
        and any(name in path.read_text("utf-8") for name in ("FakeSandbox", "fake_sandbox"))
    ]
    assert knowing == []
