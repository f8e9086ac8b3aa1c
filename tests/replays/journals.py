"""Journals as files: one file per history, JSON lines, readable in a difference.

A file has several takes of a history: one that went to its end, and others in which the engine
died on the way. A take begins with a line that says what is expected of it; lines with the entries,
the unread messages and the large values of its runs follow.
"""

from __future__ import annotations

import base64
from collections.abc import Iterable, Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import msgspec

from astro.core.messages import decode_message, encode_message
from astro.core.protocols import NewRun
from astro.core.records import (
    CreatedRecord,
    Entry,
    FinishedRecord,
    State,
    as_bytes,
    decode_entry,
)
from astro.decisions.replay import RunState

__all__ = ["Take", "fold_of", "read_takes", "write_takes"]


class Take(msgspec.Struct, kw_only=True):
    """One way a history went.

    Attributes:
        until: After how many commits the engine died; None if it lived.
        folds: What is known of each run, by id.
        ends: How each of these runs ends when it is continued: state and result.
        entries: The journal of each run.
        unread: Run and message, oldest first.
        blobs: Large values by their hash, in base 64.
    """

    history: str
    until: int | None
    folds: dict[str, Any]
    ends: dict[str, tuple[str, str]]
    entries: dict[str, list[Entry]] = msgspec.field(default_factory=dict)
    unread: list[tuple[str, msgspec.Raw]] = msgspec.field(default_factory=list)
    blobs: dict[str, str] = msgspec.field(default_factory=dict)

    @property
    def name(self) -> str:
        return self.history if self.until is None else f"{self.history} until {self.until}"

    async def load(self, store: Any, tenant: str, now: datetime) -> None:
        """Put everything into a store that is open and empty of it."""
        for content in self.blobs.values():
            await store.put(tenant, base64.b64decode(content))
        for run, entries in self.entries.items():
            await store.create(tenant, _new_run(run, entries, now))
        for run, message in self.unread:
            await store.post(tenant, run, decode_message(bytes(message)))


def _new_run(run: str, entries: list[Entry], now: datetime) -> NewRun:
    created = decode_entry(entries[0])
    assert isinstance(created, CreatedRecord)
    last = decode_entry(entries[-1])
    return NewRun(
        id=run,
        task=created.task,
        entry=entries[0],
        entries=tuple(entries[1:]),
        fingerprint="",
        key=created.key,
        namespace=created.parent[0] if created.parent else "",
        parent=created.parent[0] if created.parent else None,
        source=created.source,
        priority=created.priority,
        deadline=created.deadline,
        state=last.state if isinstance(last, FinishedRecord) else State.READY,
        created_at=now,
    )


def fold_of(state: RunState) -> dict[str, Any]:
    """Return what a state says, in plain values that later releases can be held to."""
    assert state.created is not None
    end = state.finished
    return {
        "task": state.created.task,
        "seq": state.seq,
        "state": end.state.value if end is not None else "unfinished",
        "result": end_of(state)[1],
        "paused": state.paused,
        "cancel": state.cancel,
        "undoing": sorted(state.undoing),
        "undoable": list(state.undoable),
        "children": sorted(state.finished_runs),
        "spent": [
            state.spending.run.used_calls,
            state.spending.run.used_tokens,
            state.spending.run.used_money,
        ],
        "calls": {
            call.id: [
                call.state.value,
                call.attempt,
                call.blob or (call.result or b"").decode(),
                call.failure.message if call.failure is not None else "",
                str(call.moment),
                str(call.since),
            ]
            for call in state.calls.values()
        },
    }


def end_of(state: RunState) -> tuple[str, str]:
    """Return how a run ended: its state, and its result or why it has none."""
    end = state.finished
    if end is None:
        return "unfinished", ""
    if end.failure is not None:
        return end.state.value, f"{end.failure.type}: {end.failure.message}"
    return end.state.value, end.blob or (as_bytes(end.result) or b"").decode() or end.reason


# --- Files ---------------------------------------------------------------------------------------


def write_takes(path: Path, takes: Iterable[Take]) -> None:
    path.write_bytes(b"".join(line + b"\n" for take in takes for line in _lines(take)))


def _lines(take: Take) -> Iterator[bytes]:
    head = {"history": take.history, "until": take.until, "folds": take.folds, "ends": take.ends}
    yield msgspec.json.encode({"take": head})
    for run, entries in take.entries.items():
        for entry in entries:
            yield msgspec.json.encode({"run": run, "entry": entry})
    for run, message in take.unread:
        yield msgspec.json.encode({"run": run, "message": message})
    for digest, content in take.blobs.items():
        yield msgspec.json.encode({"blob": digest, "content": content})


def read_takes(path: Path) -> list[Take]:
    takes: list[Take] = []
    for line in path.read_bytes().splitlines():
        what = msgspec.json.decode(line, type=dict[str, msgspec.Raw])
        if "take" in what:
            takes.append(msgspec.json.decode(what["take"], type=Take))
            continue
        if "blob" in what:
            digest, content = (msgspec.json.decode(what[name], type=str) for name in what)
            takes[-1].blobs[digest] = content
            continue
        run = msgspec.json.decode(what["run"], type=str)
        if "entry" in what:
            entry = msgspec.json.decode(what["entry"], type=Entry)
            takes[-1].entries.setdefault(run, []).append(entry)
        else:
            takes[-1].unread.append((run, what["message"].copy()))
    return takes


def message_of(posted: Any) -> tuple[str, msgspec.Raw]:
    """Return an unread message as a take keeps it."""
    return posted.run, msgspec.Raw(encode_message(posted.message))
