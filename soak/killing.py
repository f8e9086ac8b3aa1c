"""Killing: two processes on one file, of which one or the other is killed, again and again.

Some are stopped before, for longer than their leases last, and go on without knowing it: what they
do then may overlap with what the other one does, but none of it may be kept.

Now and then everything is brought to its end and looked at: no run that was accepted is missing,
each has ended once and with the right result, every journal fits its hashes, no call has two
results, none was done again after it had one, and what had to be undone was undone.
"""

from __future__ import annotations

import random
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter, defaultdict
from functools import partial
from pathlib import Path
from typing import Any

import anyio
import attrs

from astro import SqliteStore, State
from astro.core.protocols import RunQuery
from astro.core.records import FinishedRecord, SucceededRecord, as_bytes, decode_entries, verify
from astro.testing.outcomes import outcome_of
from soak.telling import SoakError, amount, say
from soak.working import LEASE, engine_on, expected, log_to, plan_of

__all__ = ["soak"]

ROOT = Path(__file__).parents[1]
CYCLES = 1_000
_BATCH = 50  # kills on one file
_RUNS = 2  # that each process starts
_EVERYTHING = 1_000_000
_STOPPED = 0.08  # share of the processes that are stopped before they are killed


@attrs.define
class Figures:
    kills: int = 0
    stops: int = 0
    overlaps: int = 0
    runs: int = 0
    calls: int = 0
    bodies: int = 0
    again: int = 0
    parked: int = 0
    lost: int = 0
    wrong: list[str] = attrs.field(factory=list)


class _Process:
    """A process that works, and what it has said."""

    def __init__(self, folder: Path, first: int) -> None:
        command = [sys.executable, "-m", "soak.working", str(folder / "runs.db")]
        self._process = subprocess.Popen(
            [*command, str(folder / "log"), str(first), str(_RUNS)],
            stdout=subprocess.PIPE,
            stderr=(folder / f"errors-{first}").open("w"),
            text=True,
            cwd=ROOT,
        )
        self.said: list[str] = []
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            if line.endswith("\n"):
                self.said.append(line.strip())

    def is_open(self) -> bool:
        return bool(self.said) or self._process.poll() is not None

    def stop(self, seconds: float) -> None:
        """Let it not notice that time passes."""
        self._process.send_signal(signal.SIGSTOP)
        time.sleep(seconds)
        self._process.send_signal(signal.SIGCONT)

    def kill(self) -> bool:
        """Kill it; return whether it was alive."""
        alive = self._process.poll() is None
        self._process.kill()
        self._process.wait()
        self._reader.join()
        return alive


def soak(share: float) -> None:
    figures = Figures()
    left = amount(CYCLES, share)
    seed = 0
    while left > 0:
        with tempfile.TemporaryDirectory(prefix="astro-soak-") as folder:
            _batch(Path(folder), min(left, _BATCH), random.Random(seed), figures)
        left -= _BATCH
        seed += 1
        say(f"killing: {_told(figures)}")
        if figures.wrong:
            raise SoakError("\n".join(figures.wrong[:20]))


def _told(figures: Figures) -> str:
    return (
        f"{figures.kills} kills, {figures.stops} stops, {figures.runs} runs, "
        f"{figures.calls} calls with a result, "
        f"{figures.bodies} bodies begun, {figures.again} of them again, "
        f"{figures.overlaps} after another process had their result, "
        f"{figures.parked} runs parked as poison and resumed, {figures.lost} lost"
    )


def _batch(folder: Path, kills: int, chance: random.Random, figures: Figures) -> None:
    numbers = iter(range(0, _EVERYTHING, _RUNS))
    living = [_Process(folder, next(numbers)) for _ in range(2)]
    dead: list[_Process] = []
    stopped = False
    for _ in range(kills):
        victim = living.pop(chance.randrange(2))
        if chance.random() < 0.8:  # else it may die while it opens the file
            _wait_until_open(victim)
        time.sleep(chance.random() ** 2 * 0.6)
        if chance.random() < _STOPPED:
            victim.stop(LEASE.total_seconds() * (1 + chance.random()))
            time.sleep(chance.random() * 0.3)
            figures.stops += 1
            stopped = True
        if not victim.kill():
            figures.wrong.append(f"a process ended by itself: {_errors(folder)}")
        dead.append(victim)
        living.append(_Process(folder, next(numbers)))
    for last in living:
        last.kill()
    figures.kills += kills
    accepted = {
        int(words[1]): words[2]
        for one in (*dead, *living)
        for words in map(str.split, one.said)
        if words[0] == "accepted"
    }
    anyio.run(partial(_look, folder, accepted, figures, stopped=stopped))


def _wait_until_open(process: _Process) -> None:
    end = time.monotonic() + 60
    while not process.is_open():
        if time.monotonic() > end:
            raise SoakError("a process does not open its store")
        time.sleep(0.005)


def _errors(folder: Path) -> str:
    return "\n".join(path.read_text()[-2_000:] for path in folder.glob("errors-*"))


# --- Looking at what is left ---------------------------------------------------------------------


async def _look(folder: Path, accepted: dict[int, str], figures: Figures, *, stopped: bool) -> None:
    path = str(folder / "runs.db")
    log_to(str(folder / "log"))
    with anyio.fail_after(300):
        await _finish(path, figures)
    done_at: dict[str, float] = {}
    async with SqliteStore(path) as store:
        figures.wrong += (await store.check()).problems
        found = (await store.runs("default", RunQuery(limit=_EVERYTHING))).items
        ids = {one.id for one in found}
        for number, run in accepted.items():
            if run not in ids:
                figures.lost += 1
                figures.wrong.append(f"run {number} was accepted and is gone")
        for one in found:
            entries = await store.read("default", one.id, limit=_EVERYTHING)
            verify(entries, tenant="default", run=one.id)
            records = decode_entries(entries)
            figures.runs += 1
            figures.wrong += _judge(one, records)
            for record in records:
                if isinstance(record, SucceededRecord):
                    done_at.setdefault(f"{one.id}/{record.call}", record.at.timestamp())
    figures.calls += len(done_at)
    _judge_log(folder / "log", done_at, figures, stopped=stopped)


async def _finish(path: str, figures: Figures) -> None:
    """Bring everything to its end, as an operator who looks after what was parked."""
    async with engine_on(path) as engine:
        while left := (await engine.runs(unfinished=True, limit=_EVERYTHING)).items:
            for one in left:
                if one.state is State.PARKED:
                    figures.parked += 1
                    await (await engine.get(one.id)).resume()
            await anyio.sleep(0.2)


def _judge(one: Any, records: list[Any]) -> list[str]:
    """Return what is wrong with a run."""
    ends = [record for record in records if isinstance(record, FinishedRecord)]
    wrong = [f"run {one.key}: {fault}" for fault in outcome_of({one.id: records}, one.id).faults]
    results = Counter(record.call for record in records if isinstance(record, SucceededRecord))
    wrong += [f"run {one.key}: {call} has {n} results" for call, n in results.items() if n > 1]
    if len(ends) != 1 or ends[0].state is not State.DONE:
        return [*wrong, f"run {one.key} ended {len(ends)} times: {ends}"]
    if one.key is not None and one.key.startswith("run "):
        value = int(as_bytes(ends[0].result) or b"0")
        right = expected(plan_of(int(one.key.split()[1])))
        if value != right:
            wrong.append(f"run {one.key} gave {value} and not {right}")
    return wrong


def _judge_log(log: Path, done_at: dict[str, float], figures: Figures, *, stopped: bool) -> None:
    """Compare what was done with what is known of it."""
    begun: defaultdict[str, list[float]] = defaultdict(list)
    tried: Counter[str] = Counter()
    for line in log.read_text().splitlines():
        moment, what, key, attempt = line.split()
        begun[key].append(float(moment))
        tried[f"{what} {key} {attempt}"] += 1
        figures.bodies += 1
    again = sum(count - 1 for count in tried.values())
    figures.again += again
    for key, moments in begun.items():
        if key not in done_at or max(moments) <= done_at[key]:
            continue
        figures.overlaps += 1
        if not stopped:
            figures.wrong.append(f"{key} was done again after it had a result")
    booked = {key for key in begun if "/book:" in key and not key.endswith("/undo")}
    undone = {key.removesuffix("/undo") for key in begun if key.endswith("/undo")}
    for key in booked - undone:
        figures.wrong.append(f"{key} was never undone")
