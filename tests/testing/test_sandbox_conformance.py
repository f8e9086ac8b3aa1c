"""The suite of sandboxes: a sound one passes; each broken one is found by the test meant for it."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from datetime import timedelta
from pathlib import Path, PurePosixPath
from types import TracebackType
from typing import Any, ClassVar, Self

import anyio
import pytest

from astro.core.errors import SandboxError, SandboxUnavailableError
from astro.core.protocols import Box, Sandbox
from astro.core.sandbox import BoxStatus, Changes, Completed, SandboxSpec
from astro.testing.conformance.probes import PROBES
from astro.testing.conformance.sandbox import SandboxConformance
from astro.testing.conformance.suite import Suite
from astro.testing.fake_sandbox import FakeSandbox, Files
from tests.testing.finding import found_by_suite

EVERY_BYTE = bytes(range(256))
DAY = timedelta(days=1)


# --- A python3 that knows the programs of the suite --------------------------------------------


def done(stdout: bytes = b"", exit_code: int = 0, stderr: bytes = b"") -> Completed:
    return Completed(exit_code=exit_code, stdout=stdout, stderr=stderr)


def put(words: Sequence[str], stdin: bytes, files: Files) -> Completed:
    files[PurePosixPath(words[0])] = stdin
    return done()


def remove(words: Sequence[str], stdin: bytes, files: Files) -> Completed:
    del files[PurePosixPath(words[0])]
    return done()


def get(words: Sequence[str], stdin: bytes, files: Files) -> Completed:
    found = files.get(PurePosixPath(words[0]))
    return done(exit_code=1) if found is None else done(found)


def pour(words: Sequence[str], stdin: bytes, files: Files) -> Completed:
    return done(b"x" * int(words[0]), stderr=b"x" * int(words[0]))


async def beat(words: Sequence[str], stdin: bytes, files: Files) -> Completed:
    files[PurePosixPath("beats")] = b"."
    return await wait(words, stdin, files)


async def wait(words: Sequence[str], stdin: bytes, files: Files) -> Completed:
    await anyio.sleep_forever()
    return done()


Answer = Callable[[Sequence[str], bytes, Files], Any] | Completed
ANSWERS: Mapping[str, Answer] = {
    "say": done(EVERY_BYTE, 3, EVERY_BYTE[::-1]),
    "copy": lambda words, stdin, files: done(stdin),
    "ignore": done(b"done\n"),
    "words": lambda words, stdin, files: done(json.dumps(list(words)).encode()),
    "pour": pour,
    "wait": wait,
    "stubborn": wait,
    "drip": wait,
    "endless": wait,
    "beat": beat,
    "pause": done(),
    "put": put,
    "get": get,
    "list": lambda words, stdin, files: done(json.dumps(sorted(map(str, files))).encode()),
    "remove": remove,
    "link": done(),
    "environment": done(b'[\'{"HOME": "/box"}\']\n'),
    "network": done(b'{"interfaces": [], "routes": [], "sockets": []}'),
    "identity": done(b'{"user": 65534, "capabilities": 0, "gains": false}'),
    "roots": done(b"[]"),
    "fork": done(b"refused\n"),
    "fill": done(b"refused\n"),
    "hog": done(exit_code=137),
}
NAMES = {program: name for name, program in PROBES.items()}


def fake(*, output: int = 1024 * 1024, **other: Answer) -> FakeSandbox:
    """Return a sandbox that knows the programs, but for those that are answered otherwise."""
    answers = {**ANSWERS, **other}

    def run(command: tuple[str, ...], stdin: bytes, files: Files) -> Any:
        if command[:2] != ("python3", "-c"):
            return done(exit_code=127)
        if command[2] == PROBES["variable"]:
            return done(sandbox.commands[-1].env.get("ASTRO_GIVEN", "none").encode())
        answer = answers[NAMES[command[2]]]
        return answer(command[3:], stdin, files) if callable(answer) else answer

    sandbox = FakeSandbox(run, output=output)
    return sandbox


class BoxAround:
    """A box that is another one, but for what a subclass does otherwise."""

    def __init__(self, box: Any) -> None:
        self.box = box

    def __getattr__(self, name: str) -> Any:
        return getattr(self.box, name)

    async def run(self, command: Sequence[str], /, **more: Any) -> Completed:
        return await self.box.run(command, **more)

    async def python(self, code: str, /, **more: Any) -> Completed:
        return await self.run(("python3", "-c", code), **more)

    async def write(self, files: Mapping[PurePosixPath, bytes], /) -> None:
        await self.box.write(files)

    async def read(self, path: PurePosixPath, /) -> bytes:
        return await self.box.read(path)


class SandboxAround:
    """A sandbox that is another one, but for its boxes and what a subclass does otherwise."""

    def __init__(self, sandbox: FakeSandbox, wrap: Callable[[Box], Box] = BoxAround) -> None:
        self.sandbox = sandbox
        self.wrap = wrap
        self.stack = AsyncExitStack()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.stack.aclose()

    async def check(self) -> None:
        await self.sandbox.check()

    @asynccontextmanager
    async def open(self, spec: SandboxSpec, /) -> AsyncIterator[Box]:
        async with self.sandbox.open(spec) as box:
            yield self.wrap(box)

    async def leak(self, spec: SandboxSpec) -> Box:
        """Return a box that stays open until the sandbox closes."""
        return await self.stack.enter_async_context(self.sandbox.open(spec))


# --- Sound ones --------------------------------------------------------------------------------


class TestFakeSandbox(SandboxConformance):
    """As an author of a sandbox without isolation would write it."""

    isolates = False
    links = False
    network = ""
    trio = True
    limits_memory = 0
    limits_processes = 0
    limits_disk = 0
    moment = timedelta(milliseconds=50)

    def make(self) -> Sandbox:
        return fake()


class LinkedBox(BoxAround):
    """A box whose commands can make links, and whose verbs do not follow them."""

    def __init__(self, box: Box) -> None:
        super().__init__(box)
        self.links: set[PurePosixPath] = set()

    async def run(self, command: Sequence[str], /, **more: Any) -> Completed:
        if command[2:3] == (PROBES["link"],):
            self.links.add(PurePosixPath(command[4]))
        return await super().run(command, **more)

    async def write(self, files: Mapping[PurePosixPath, bytes], /) -> None:
        for path in files:
            self.refuse_links(path)
        await super().write(files)

    async def read(self, path: PurePosixPath, /) -> bytes:
        self.refuse_links(path)
        return await super().read(path)

    def refuse_links(self, path: PurePosixPath) -> None:
        if self.links & {path, *path.parents}:
            raise SandboxError("It is a link.", remedy="")


class Promising(SandboxConformance):
    """A sandbox that makes every promise; the answers of its script keep them."""

    trio = True
    counts = True
    streams = True
    moment = timedelta(milliseconds=50)

    def make(self) -> Sandbox:
        return SandboxAround(fake(), LinkedBox)

    async def listen(
        self, box: Any, command: tuple[str, ...], heard: Callable[[bytes], None], limit: timedelta
    ) -> None:
        heard(b"first\n")
        await box.run(command, timeout=limit)

    async def count(self, sandbox: Any) -> int:
        inner: FakeSandbox = sandbox.sandbox
        return inner.opened - inner.closed


class TestSandboxWithEveryPromise(Promising):
    """So that each test of the suite has passed once."""


# --- Broken ones -------------------------------------------------------------------------------


class Broken(Promising):
    """Made of one that makes every promise, with little patience for what hangs."""

    trio = False
    moment = timedelta(milliseconds=10)
    patience = timedelta(milliseconds=200)
    found_by: ClassVar[tuple[str, ...]]


class LeavesBoxesOpenWhenCancelled(Broken):
    found_by = (
        "test_a_cancelled_block_closes_its_box",
        "test_a_cancelled_command_stops_and_its_box_closes",
        "test_the_provider_has_no_box_left",
    )

    def make(self) -> Sandbox:
        class Leaky(SandboxAround):
            @asynccontextmanager
            async def open(self, spec: SandboxSpec, /) -> AsyncIterator[Box]:
                box: Any = await self.leak(spec)
                try:
                    yield LinkedBox(box)
                    box.closed = True
                except Exception:
                    box.closed = True
                    raise

        return Leaky(fake())


class LeavesBoxesOpen(Broken):
    found_by = (
        "test_a_box_is_useless_after_its_block",
        "test_an_exception_in_its_block_passes_and_closes_the_box",
    )

    def make(self) -> Sandbox:
        class Leaky(SandboxAround):
            @asynccontextmanager
            async def open(self, spec: SandboxSpec, /) -> AsyncIterator[Box]:
                yield LinkedBox(await self.leak(spec))

        return Leaky(fake())


class SwallowsExceptions(Broken):
    found_by = ("test_an_exception_in_its_block_passes_and_closes_the_box",)

    def make(self) -> Sandbox:
        class Quiet(SandboxAround):
            @asynccontextmanager
            async def open(self, spec: SandboxSpec, /) -> AsyncIterator[Box]:
                async with self.sandbox.open(spec) as box:
                    with suppress(Exception):
                        yield LinkedBox(box)

        return Quiet(fake())


class SharesFiles(Broken):
    found_by = (
        "test_boxes_do_not_see_each_others_files",
        "test_a_box_begins_empty_after_another",
        "test_four_boxes_work_at_the_same_time",
    )

    def make(self) -> Sandbox:
        shared: Files = {}

        def wrap(box: Any) -> Box:
            box.held = shared
            return LinkedBox(box)

        return SandboxAround(fake(), wrap)


class CannotBeUsed(Broken):
    found_by = ("test_it_says_that_boxes_can_be_opened", "test_output_without_end_is_bounded")

    def make(self) -> Sandbox:
        class Absent(SandboxAround):
            async def check(self) -> None:
                raise SandboxUnavailableError("It is not there.", remedy="")

        return Absent(fake(), LinkedBox)


class BrokenBox(LinkedBox):
    """A box whose `run` a subclass spoils before or after."""

    async def run(self, command: Sequence[str], /, **more: Any) -> Completed:
        return await self.spoil(command, **more)

    async def spoil(self, command: Any, **more: Any) -> Completed:
        return await super().run(command, **more)


class IgnoresTimeouts(Broken):
    found_by = (
        "test_a_command_that_takes_too_long_is_given_up",
        "test_a_command_that_was_given_up_is_dead_with_all_it_began",
    )

    def make(self) -> Sandbox:
        class Box(BrokenBox):
            async def spoil(self, command: Any, **more: Any) -> Completed:
                return await super().spoil(command, **(more | {"timeout": DAY}))

        return SandboxAround(fake(), Box)


class LetsCommandsGoOn(Broken):
    found_by = ("test_a_command_that_was_given_up_is_dead_with_all_it_began",)

    def make(self) -> Sandbox:
        class Box(BrokenBox):
            async def spoil(self, command: Any, **more: Any) -> Completed:
                try:
                    return await super().spoil(command, **more)
                finally:
                    inner: Any = self.box
                    if beats := inner.held.get(PurePosixPath("beats")):
                        inner.held[PurePosixPath("beats")] = beats + b"."

        return SandboxAround(fake(), Box)


class ReportsTimeoutsAsExitCodes(Broken):
    found_by = ("test_a_command_that_takes_too_long_is_given_up",)

    def make(self) -> Sandbox:
        class Box(BrokenBox):
            async def spoil(self, command: Any, **more: Any) -> Completed:
                said = await super().spoil(command, **more)
                late = said.status is BoxStatus.TIMED_OUT
                return done(exit_code=124) if late else said

        return SandboxAround(fake(), Box)


class ReadsOutputAsText(Broken):
    found_by = (
        "test_exit_code_and_both_outputs_come_back_byte_by_byte",
        "test_a_command_reads_its_standard_input",
        "test_commands_and_verbs_see_the_same_files",
    )

    def make(self) -> Sandbox:
        class Box(BrokenBox):
            async def spoil(self, command: Any, **more: Any) -> Completed:
                said = await super().spoil(command, **more)
                text = said.stdout.decode(errors="replace").encode()
                return done(text, said.exit_code, said.stderr)

        return SandboxAround(fake(), Box)


class MixesOutputs(Broken):
    found_by = ("test_exit_code_and_both_outputs_come_back_byte_by_byte",)

    def make(self) -> Sandbox:
        class Box(BrokenBox):
            async def spoil(self, command: Any, **more: Any) -> Completed:
                said = await super().spoil(command, **more)
                return done(said.stdout + said.stderr, said.exit_code)

        return SandboxAround(fake(), Box)


class ForgetsInput(Broken):
    found_by = ("test_a_command_reads_its_standard_input",)

    def make(self) -> Sandbox:
        class Box(BrokenBox):
            async def spoil(self, command: Any, **more: Any) -> Completed:
                return await super().spoil(command, **(more | {"stdin": b""}))

        return SandboxAround(fake(), Box)


class ChokesOnInput(Broken):
    found_by = ("test_standard_input_that_nobody_reads_harms_nobody",)

    def make(self) -> Sandbox:
        class Box(BrokenBox):
            async def spoil(self, command: Any, **more: Any) -> Completed:
                if len(more.get("stdin", b"")) > 2**20 and command[2] == PROBES["ignore"]:
                    raise BrokenPipeError
                return await super().spoil(command, **more)

        return SandboxAround(fake(), Box)


class KeepsFilesAsText(Broken):
    found_by = (
        "test_what_is_written_can_be_read",
        "test_commands_and_verbs_see_the_same_files",
    )

    def make(self) -> Sandbox:
        class Box(LinkedBox):
            async def write(self, files: Mapping[PurePosixPath, bytes], /) -> None:
                texts = {path: said.decode(errors="replace") for path, said in files.items()}
                await super().write({path: text.encode() for path, text in texts.items()})

        return SandboxAround(fake(), Box)


class ForgetsVariables(Broken):
    found_by = ("test_a_command_has_the_variables_it_is_given",)

    def make(self) -> Sandbox:
        class Box(BrokenBox):
            async def spoil(self, command: Any, **more: Any) -> Completed:
                return await super().spoil(command, **(more | {"env": {}}))

        return SandboxAround(fake(), Box)


class RunsPythonInAShell(Broken):
    found_by = ("test_python_code_runs_as_a_program_of_its_own",)

    def make(self) -> Sandbox:
        class Box(LinkedBox):
            async def python(self, code: str, /, **more: Any) -> Completed:
                return done(exit_code=2, stderr=b"syntax error")

        return SandboxAround(fake(), Box)


class GivesNothingBack(Broken):
    found_by = ("test_files_that_patterns_name_come_back",)

    def make(self) -> Sandbox:
        class Box(BrokenBox):
            async def spoil(self, command: Any, **more: Any) -> Completed:
                return await super().spoil(command, **(more | {"collect": ()}))

        return SandboxAround(fake(), Box)


class ListsNothing(Broken):
    found_by = ("test_files_are_listed_with_their_sizes",)

    def make(self) -> Sandbox:
        class Box(LinkedBox):
            async def files(self) -> Sequence[Any]:
                return ()

        return SandboxAround(fake(), Box)


class ForgetsSnapshots(Broken):
    found_by = ("test_what_has_changed_makes_another_box_the_same",)

    def make(self) -> Sandbox:
        class Box(LinkedBox):
            async def restore(self, changes: Any) -> None:
                pass

        return SandboxAround(fake(), Box)


class TellsEverythingAgain(Broken):
    found_by = ("test_a_change_is_told_once",)

    def make(self) -> Sandbox:
        class Box(LinkedBox):
            async def changes(self) -> Changes:
                files = {str(path): (said, False) for path, said in self.box.held.items()}
                return Changes(files=files)

        return SandboxAround(fake(), Box)


class UsesAShell(Broken):
    found_by = ("test_words_of_a_command_are_not_read_by_a_shell",)

    def make(self) -> Sandbox:
        class Box(BrokenBox):
            async def spoil(self, command: Any, **more: Any) -> Completed:
                words = (*command[:3], *" ".join(command[3:]).split())
                return await super().spoil(words, **more)

        return SandboxAround(fake(), Box)


class KnowsEveryCommand(Broken):
    found_by = ("test_a_command_that_does_not_exist_has_exit_code_127",)

    def make(self) -> Sandbox:
        class Box(BrokenBox):
            async def spoil(self, command: Any, **more: Any) -> Completed:
                said = await super().spoil(command, **more)
                return done() if said.exit_code == 127 else said

        return SandboxAround(fake(), Box)


class NormalizesPaths(Broken):
    found_by = ("test_paths_out_of_the_work_folder_are_refused",)

    def make(self) -> Sandbox:
        class Box(LinkedBox):
            async def write(self, files: Mapping[PurePosixPath, bytes], /) -> None:
                names = {PurePosixPath(path.name): said for path, said in files.items()}
                await super().write(names)

            async def read(self, path: PurePosixPath, /) -> bytes:
                return await super().read(PurePosixPath(path.name))

        return SandboxAround(fake(), Box)


class AllowsDotsInReading(Broken):
    found_by = ("test_paths_out_of_the_work_folder_are_refused",)

    def make(self) -> Sandbox:
        class Box(LinkedBox):
            async def read(self, path: PurePosixPath, /) -> bytes:
                return b"root:x:0:0" if ".." in path.parts else await super().read(path)

        return SandboxAround(fake(), Box)


class ReadsThroughLinks(Broken):
    found_by = ("test_links_lead_nobody_out_of_the_work_folder",)

    def make(self) -> Sandbox:
        class Box(LinkedBox):
            async def read(self, path: PurePosixPath, /) -> bytes:
                return b"root:x:0:0" if path in self.links else await super().read(path)

        return SandboxAround(fake(), Box)


class WritesThroughLinks(Broken):
    found_by = ("test_links_lead_nobody_out_of_the_work_folder",)

    def make(self) -> Sandbox:
        class Box(LinkedBox):
            async def write(self, files: Mapping[PurePosixPath, bytes], /) -> None:
                inner: Any = self.box
                for path, said in files.items():
                    if path.parent in self.links:
                        inner.held["/tmp" / path.relative_to(path.parent)] = said
                await super().write(files)

        return SandboxAround(fake(), Box)


class InventsFiles(Broken):
    found_by = (
        "test_a_file_that_is_not_there_cannot_be_read",
        "test_boxes_do_not_see_each_others_files",
    )

    def make(self) -> Sandbox:
        class Box(LinkedBox):
            async def read(self, path: PurePosixPath, /) -> bytes:
                inner: Any = self.box
                inner.held.setdefault(path, b"")
                return await super().read(path)

        return SandboxAround(fake(), Box)


class AppendsToFiles(Broken):
    found_by = ("test_what_is_written_can_be_read",)

    def make(self) -> Sandbox:
        class Box(LinkedBox):
            async def write(self, files: Mapping[PurePosixPath, bytes], /) -> None:
                inner: Any = self.box
                await super().write({p: inner.held.get(p, b"") + c for p, c in files.items()})

        return SandboxAround(fake(), Box)


class KeepsAllOutput(Broken):
    found_by = (
        "test_large_output_is_kept_up_to_its_cap",
        "test_output_without_end_is_bounded",
    )

    def make(self) -> Sandbox:
        return SandboxAround(fake(output=10**9, endless=done(b"x" * 2**21)), LinkedBox)


class CutsOutputShort(Broken):
    found_by = ("test_large_output_is_kept_up_to_its_cap",)

    def make(self) -> Sandbox:
        return SandboxAround(fake(output=4096), LinkedBox)


class StreamsAtTheEnd(Broken):
    found_by = ("test_output_can_be_had_while_the_command_runs",)

    async def listen(
        self, box: Any, command: tuple[str, ...], heard: Callable[[bytes], None], limit: timedelta
    ) -> None:
        heard((await box.run(command, timeout=limit)).stdout)


class ShowsTheHost(Broken):
    found_by = (
        "test_files_of_the_host_cannot_be_read",
        "test_the_environment_of_the_host_is_absent",
        "test_a_command_is_nobody_and_cannot_become_anybody",
        "test_the_files_of_the_image_cannot_be_changed",
        "test_a_box_has_no_network",
    )

    def make(self) -> Sandbox:
        def read(words: Sequence[str], stdin: bytes, files: Files) -> Completed:
            shown = words[0].removeprefix("/proc/1/root")
            return done(Path(shown).read_bytes()) if Path(shown).is_file() else done(exit_code=1)

        network = b'{"interfaces": ["eth0"], "routes": ["eth0"], "sockets": []}'
        leaky = fake(
            get=read,
            environment=done(b'[\'{"ASTRO_PROBE": "a-secret-of-the-host"}\']\n'),
            identity=done(b'{"user": 0, "capabilities": 2818844155, "gains": true}'),
            roots=done(b'["/etc"]'),
            network=done(network),
        )
        return SandboxAround(leaky, LinkedBox)


class HasNoLimits(Broken):
    found_by = ("test_a_limit_stops_what_goes_beyond",)

    def make(self) -> Sandbox:
        survived = done(b"survived\n")
        return SandboxAround(fake(fork=survived, fill=survived, hog=survived), LinkedBox)


BROKEN = {kind.__name__: kind for kind in Broken.__subclasses__()}


@pytest.fixture(scope="module")
def failed(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, set[str]]:
    folder = tmp_path_factory.mktemp("broken")
    return found_by_suite(__name__, TestSandboxWithEveryPromise, BROKEN, folder)


@pytest.mark.slow
def test_the_sound_one_passes_where_the_broken_ones_fail(failed: Mapping[str, set[str]]) -> None:
    assert failed["TestSandboxWithEveryPromise"] == set()


@pytest.mark.slow
@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_sandbox_is_found_by_the_tests_meant_for_it(
    failed: Mapping[str, set[str]], name: str
) -> None:
    assert set(BROKEN[name].found_by) <= failed[name]


@pytest.mark.slow
def test_every_test_of_the_suite_finds_something(failed: Mapping[str, set[str]]) -> None:
    tests = {name for name in dir(SandboxConformance) if name.startswith("test_")} - {*dir(Suite)}
    assert tests - set().union(*failed.values()) == set()
