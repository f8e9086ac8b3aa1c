"""Journals of every release: they load, say what they said, and go on to their end."""

from __future__ import annotations

import importlib.util
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from astro import MemoryStore, SqliteStore
from astro.core.records import SucceededRecord, decode_entries, verify
from astro.decisions.replay import RunState, replay
from astro.testing.outcomes import outcome_of
from tests.replays.journals import Take, end_of, fold_of, read_takes
from tests.replays.playing import NOW, TENANT, go_on, in_virtual_time, states_of
from tests.replays.record import HERE, record_lines

RELEASES = sorted(path.parent for path in HERE.glob("*/parts.py"))
FILES = [path for release in RELEASES for path in sorted(release.glob("*.jsonl"))]


def name_of(path: Path) -> str:
    return path.name if path.is_dir() else f"{path.parent.name}/{path.stem}"


each_release = pytest.mark.parametrize("release", RELEASES, ids=name_of)
each_history = pytest.mark.parametrize("path", FILES, ids=name_of)


def parts_of(release: Path) -> Any:
    """Return the module that the journals of a release were made with."""
    name = f"replays_{release.name.replace('.', '_')}"
    spec = importlib.util.spec_from_file_location(name, release / "parts.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def committed(states: Mapping[str, RunState]) -> set[str]:
    """Return the keys of the calls that have a result."""
    return {
        f"{run}/{call.id}"
        for run, state in states.items()
        for call in state.calls.values()
        if call.attempt and call.state.value == "done"
    }


def keys(performed: list[str]) -> set[str]:
    return {line.rpartition(" ")[0] for line in performed}


@contextmanager
def nothing_done_twice(parts: Any, before: Mapping[str, RunState]) -> Iterator[None]:
    """Expect that nothing is done that has a result already, and the rest once an attempt."""
    parts.performed.clear()
    yield
    assert not keys(parts.performed) & committed(before)
    assert len(set(parts.performed)) == len(parts.performed)


def continued(
    parts: Any, takes: list[Take], make: Any, at: datetime, *, threads: bool
) -> dict[str, RunState]:
    """Return what becomes of the runs of some takes when today's engine goes on with them."""

    async def main(clock: Any) -> dict[str, RunState]:
        store = make(clock)
        async with store:
            for take in takes:
                await take.load(store, TENANT, clock.now())
        await go_on(parts, store, clock, number=77_777)
        async with store:
            for run in (states := await states_of(store)):
                entries = await store.read(TENANT, run, limit=1_000_000)
                verify(entries, tenant=TENANT, run=run)
                assert outcome_of({run: decode_entries(entries)}, run).faults == ()
            return states

    return in_virtual_time(main, at=at, threads=threads)


def states_in(takes: list[Take]) -> dict[str, RunState]:
    return {
        run: replay(decode_entries(entries))
        for take in takes
        for run, entries in take.entries.items()
    }


@each_release
def test_a_release_has_histories_of_each_kind_and_some_that_are_unfinished(release: Path) -> None:
    takes = [take for path in release.glob("*.jsonl") for take in read_takes(path)]
    assert {take.history for take in takes} == {*parts_of(release).HISTORIES}
    assert len({take.history for take in takes}) >= 12
    assert len([take for take in takes if take.until is not None]) >= 36


@each_history
def test_a_journal_of_a_release_is_read_as_it_was(path: Path) -> None:
    for take in read_takes(path):
        for run, entries in take.entries.items():
            verify(entries, tenant=TENANT, run=run)
            assert fold_of(replay(decode_entries(entries))) == take.folds[run], take.name


@each_history
def test_a_death_on_the_way_does_not_change_the_end(path: Path) -> None:
    ends = [
        take.ends[run]
        for take in read_takes(path)
        for run, entries in take.entries.items()
        if decode_entries(entries)[0].key == take.name  # type: ignore[union-attr]  # a creation
    ]
    assert len(ends) > 1
    assert len(set(ends)) == 1


@each_history
def test_an_unfinished_run_of_a_release_goes_on_to_its_end(path: Path) -> None:
    parts = parts_of(path.parent)
    takes = read_takes(path)
    for take in takes:
        before = states_in([take])
        with nothing_done_twice(parts, before):
            after = continued(
                parts, [take], lambda clock: MemoryStore(clock=clock), NOW, threads=False
            )
        assert {run: end_of(after[run]) for run in take.ends} == take.ends, take.name
        news = committed(after) - committed(before)
        assert {key for key in news if "/double:" in key} <= keys(parts.performed)


@each_release
def test_unfinished_runs_of_a_release_go_on_together_on_a_file(
    release: Path, tmp_path: Path
) -> None:
    parts = parts_of(release)
    takes = [take for path in sorted(release.glob("*.jsonl")) for take in read_takes(path)]
    with nothing_done_twice(parts, states_in(takes)):
        after = continued(
            parts,
            takes,
            lambda clock: SqliteStore(tmp_path / "runs.sqlite", clock=clock, synchronous="NORMAL"),
            NOW,
            threads=True,
        )
    for take in takes:
        assert {run: end_of(after[run]) for run in take.ends} == take.ends, take.name


@each_release
def test_the_file_of_a_release_is_opened_and_its_runs_go_on(release: Path, tmp_path: Path) -> None:
    parts = parts_of(release)
    path = tmp_path / "runs.sqlite"
    shutil.copyfile(release / "runs.sqlite", path)

    async def read(clock: Any) -> dict[str, RunState]:
        async with SqliteStore(path, clock=clock) as store:
            return await states_of(store)

    async def bring_to_the_end(clock: Any) -> tuple[str, ...]:
        await go_on(parts, SqliteStore(path, clock=clock), clock, number=88_888)
        async with SqliteStore(path, clock=clock) as store:
            return (await store.check()).problems

    before = in_virtual_time(read, at=NOW, threads=True)
    assert any(state.finished is None for state in before.values())
    with nothing_done_twice(parts, before):
        assert in_virtual_time(bring_to_the_end, at=NOW, threads=True) == ()
    after = in_virtual_time(read, at=NOW, threads=True)
    found = {
        state.created.key: end_of(state)
        for state in after.values()
        if state.created is not None and state.created.key and state.created.parent is None
    }
    for key, end in found.items():
        assert end == found[key.partition(" until")[0]], key
    assert len(found) > 1.5 * len(parts.HISTORIES)


@pytest.mark.parametrize("history", ["ask", "children", "map", "workflow"])
def test_the_same_code_records_the_same_lines(history: str, tmp_path: Path) -> None:
    for folder in ("one", "other"):
        assert record_lines(tmp_path / folder, (history,)) > 1
    name = f"{history}.jsonl"
    assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "other" / name).read_bytes()


def test_a_changed_result_would_be_noticed() -> None:
    take = read_takes(RELEASES[0] / "chain.jsonl")[0]
    (run,) = take.entries
    records = decode_entries(take.entries[run])
    changed = [
        SucceededRecord(seq=one.seq, at=one.at, call=one.call, result=type(one.result)(b"0"))
        if isinstance(one, SucceededRecord)
        else one
        for one in records
    ]
    assert fold_of(replay(changed)) != take.folds[run]
