"""Calls to the system that kill or fail: runs end right, and what was acknowledged stays.

strace counts the calls of each thread and kills the process at the n-th, or lets it fail with an
error. A fresh process then goes on with the same stores, without faults.
"""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import attrs
import pytest

from tests.faults.orchestrating import KEYS, RESULT
from tests.faults.tracing import ROOT, count_calls, inject
from tests.telling import Tell

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("strace")]

TOGETHER = 4  # processes at a time
HEIRS = 8  # stores that one process goes on with
TIMEOUT = 30  # seconds after which a process hangs
TRIES = 3
KILLED = -signal.SIGKILL
AGAIN = 5  # one process in so many is killed and so is the next one
# What is done to which call at how many places.
KILLS = {"pwrite64": 38, "fdatasync": 16, "write": 8, "ftruncate": 2, "unlink": 2}
ONCE = (
    ("pwrite64", "ENOSPC", 14),
    ("pwrite64", "EIO", 10),
    ("fdatasync", "EIO", 10),
    ("ftruncate", "EIO", 2),
    ("pread64", "EIO", 6),
)
EVER_AFTER = (("pwrite64", "ENOSPC", 12), ("pwrite64", "EIO", 6), ("fdatasync", "EIO", 8))


@attrs.frozen
class Victim:
    """A process that met a fault.

    Attributes:
        fault: What was injected, as strace spells it.
        path: Its store.
        code: What it ended with; negative for a signal.
        said: Its lines, in words.
        errors: What it wrote to stderr.
    """

    fault: str
    path: Path
    code: int
    said: list[list[str]]
    errors: str

    def about(self, kind: str) -> list[list[str]]:
        return [words[1:] for words in self.said if words[0] == kind]


def meet(fault: str, path: Path, tries: int) -> Victim:
    done = inject(fault, "orchestrating", str(tries), str(path), timeout=TIMEOUT)
    said = [line.split() for line in done.stdout.splitlines()]
    return Victim(fault, path, done.returncode, said, done.stderr)


def meet_again(victim: Victim, fault: str) -> Victim:
    second = meet(fault, victim.path, 1)
    return attrs.evolve(
        second, fault=f"{victim.fault}, then {fault}", said=victim.said + second.said
    )


def meet_all(room: Path, faults: Sequence[str], *, tries: int = 1) -> list[Victim]:
    """Let each fault befall a process of its own."""
    with ThreadPoolExecutor(TOGETHER) as pool:
        met = [
            pool.submit(meet, fault, room / f"{number}.db", tries)
            for number, fault in enumerate(faults)
        ]
        return [victim.result() for victim in met]


def go_on(paths: Sequence[Path]) -> dict[str, list[list[str]]]:
    """Let one fresh process go on with stores; return what it said of each."""
    command = [sys.executable, "-m", "tests.faults.orchestrating", str(TRIES)]
    done = subprocess.run(
        [*command, *map(str, paths)],
        capture_output=True,
        text=True,
        cwd=ROOT,
        timeout=TIMEOUT * 3,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    said: dict[str, list[list[str]]] = {}
    for line in done.stdout.splitlines():
        words = line.split()
        if words[0] == "store":
            said[words[1]] = about = []
        about.append(words)
    return said


def spread(calls: int, wanted: int) -> list[int]:
    """Return numbers of calls, from the first to the last, evenly."""
    wanted = min(wanted, calls)
    return sorted({1 + place * (calls - 1) // max(wanted - 1, 1) for place in range(wanted)})


@pytest.fixture
def calls(room: Path, strace: None) -> dict[str, int]:
    """How many calls of each kind there are to meet a fault."""
    return count_calls(room, [*KILLS, "pread64"], "orchestrating", "1", str(room / "counted.db"))


def wrongs(victims: Sequence[Victim]) -> Iterator[str]:
    """Go on with the stores of victims; return what should not be."""
    paths = [victim.path for victim in victims]
    parts = [paths[first : first + HEIRS] for first in range(0, len(paths), HEIRS)]
    after: dict[str, list[list[str]]] = {}
    with ThreadPoolExecutor(TOGETHER) as pool:
        for said in pool.map(go_on, parts):
            after |= said
    for victim in victims:
        for wrong in wrong_of(victim.said, after[str(victim.path)]):
            yield f"{victim.fault}: {wrong}"


def wrong_of(before: list[list[str]], after: list[list[str]]) -> Iterator[str]:
    kept: set[tuple[str, ...]] = set()
    accepted: dict[str, str] = {}
    for kind, *words in before + after:
        if kind == "kept":
            kept.add(tuple(words))
        elif kind == "begin" and tuple(words) in kept:
            yield f"item {words} was performed again after its result had been acknowledged"
        elif kind == "accepted" and accepted.setdefault(words[0], words[1]) != words[1]:
            yield f"run {words[0]} was accepted, and forgotten"
        elif kind == "result" and words[1] != str(RESULT):
            yield f"result {words}"
    # A check that meets a fault finds a problem; one that meets none must not.
    yield from (" ".join(words) for words in after if words[0] == "problem")
    results = [words[1] for words in after if words[0] == "result"]
    if results != list(KEYS):
        yield f"only {results} ended"
    if ["checked"] not in after:
        yield "the store was not checked"


def test_a_process_that_is_killed_at_any_call_loses_nothing(
    room: Path, calls: dict[str, int], soak: int, tell: Tell
) -> None:
    faults = [
        f"{call}:signal=KILL:when={number}"
        for call, wanted in KILLS.items()
        for number in spread(calls[call], wanted * soak)
    ]
    victims = meet_all(room, faults)
    # Some of those who would go on are killed as well, while they recover what was left.
    with ThreadPoolExecutor(TOGETHER) as pool:
        again = [
            pool.submit(meet_again, victim, f"pwrite64:signal=KILL:when={number}")
            for number, victim in enumerate(victims[::AGAIN], 1)
        ]
        victims[::AGAIN] = [victim.result() for victim in again]
    killed = [victim for victim in victims if victim.code == KILLED]
    twice = sum(victim.code == KILLED for victim in victims[::AGAIN])
    found = [*wrongs(victims)]
    kept = sum(len(victim.about("kept")) for victim in killed)
    tell("kills", kills=len(killed), of_those_twice=twice, acknowledged=kept, wrong=len(found))
    assert not found
    assert len(killed) >= 60


def test_a_call_that_fails_once_is_overcome(
    room: Path, calls: dict[str, int], soak: int, tell: Tell
) -> None:
    faults = [
        f"{call}:error={error}:when={number}"
        for call, error, wanted in ONCE
        for number in spread(calls[call], wanted * soak)
    ]
    victims = meet_all(room, faults, tries=TRIES)
    failed = [f"{one.fault}: {one.said[-1:]}, {one.errors}" for one in victims if not is_fine(one)]
    found = [*wrongs(victims)]
    overcome = sum(len(victim.about("result")) >= len(KEYS) for victim in victims)
    tell("calls that fail once", faults=len(victims), overcome=overcome, wrong=len(found))
    assert not failed
    assert not found
    assert len(victims) >= 40
    assert overcome >= 15


def is_fine(victim: Victim) -> bool:
    """Tell whether a process has ended its runs, or was told at every try why it cannot.

    strace counts the calls of each thread, and each opening of a store has a thread of its own: a
    fault that meets the opening meets it at every try.
    """
    ended = {words[0] for words in victim.about("result")} == set(KEYS)
    told = len(victim.about("refused")) == TRIES
    return not victim.code and "Traceback" not in victim.errors and (ended or told)


def test_calls_that_fail_from_then_on_are_told_by_a_typed_error(
    room: Path, calls: dict[str, int], soak: int, tell: Tell
) -> None:
    faults = [
        f"{call}:error={error}:when={number}+"
        for call, error, wanted in EVER_AFTER
        # The last calls write the WAL back as the store closes, which may fail without harm.
        for number in spread(calls[call] * 3 // 4, wanted * soak)
    ]
    victims = meet_all(room, faults)
    failed = [
        f"{one.fault}: {one.said[-1:]}, {one.errors}"
        for one in victims
        if one.code or "Traceback" in one.errors or not one.about("refused")
    ]
    found = [*wrongs(victims)]
    full = sum("StoreFullError" in words for one in victims for words in one.about("refused"))
    tell("calls that fail from then on", faults=len(victims), called_full=full, wrong=len(found))
    assert not failed
    assert not found
    assert len(victims) >= 20
    assert full


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("kept one 3", "begin one 3"),
        ("accepted one 1", "accepted one 2"),
        ("accepted one 1", "result one 5"),
        ("accepted one 1", "problem SQLite: malformed"),
    ],
)
def test_what_is_wrong_is_called_wrong(before: str, after: str) -> None:
    fine = [*(f"result {key} {RESULT}".split() for key in KEYS), ["checked"]]
    assert not [*wrong_of([before.split()], fine)]
    assert [*wrong_of([before.split()], [after.split(), *fine])]
    assert [*wrong_of([before.split()], fine[1:])]
