"""The model: what has become of each run, as far as the commits tell that a store has accepted.

A store may acknowledge in another order than that in which it has done something, and whoever is
cancelled never hears. So the model keeps what was meant to be, and takes it into account when
something follows from it.
"""

from __future__ import annotations

import copy
from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import Any

import anyio
import attrs
import msgspec

from astro.core.protocols import Commit, Lease, NewRun
from astro.core.records import (
    AskedRecord,
    AttemptFailedRecord,
    EmittedRecord,
    Entry,
    Record,
    SleptRecord,
    StartedRecord,
    State,
    SucceededRecord,
    decode_entries,
)
from astro.decisions.replay import CallState, replay
from astro.testing.faulty_store import asked_at
from astro.testing.invariants import INVARIANTS, Change, Rules

__all__ = ["KnownRun", "Model"]

_CHAIN = "the hash chain verifies"


class KnownRun:
    """What is known of one run.

    Attributes:
        token: The newest that was handed out.
        owner: Who holds a lease, whether it has run out or not; empty for nobody.
        waits: When, in truth, the wait of a call is over.
        places: The calls of each node of a workflow.
        once: What no second message may carry.
    """

    def __init__(self, new: NewRun) -> None:
        self.entries: list[Entry] = [new.entry, *new.entries]
        self.state = new.state
        records = decode_entries(self.entries)
        self.fold = replay(records)
        self.token = 0
        self.owner = ""
        self.waits: dict[str, float] = {}
        self.places: defaultdict[str, set[str]] = defaultdict(set)
        self.once: set[str] = set()
        self.last = 0.0  # when the commit before was sent
        self.note_places(records)

    @property
    def head(self) -> str:
        return self.entries[-1].hash

    def apply(self, commit: Commit, records: Sequence[Record], sent: float) -> None:
        """Take what a commit has added into account; the fold has it already.

        Args:
            sent: When, in truth, it was on its way to the store.
        """
        # The records may have waited long for this commit, while the last one was on its way.
        self._note_waits(records, self.last)
        self.last = sent
        self.state = commit.state
        self.entries.extend(commit.entries)
        if self.state.terminal:
            self.owner = ""

    def _note_waits(self, records: Sequence[Record], now: float) -> None:
        for record in records:
            match record:
                case (
                    SleptRecord(call=call, at=at, until=moment)
                    | AttemptFailedRecord(call=call, at=at, retry_at=moment)
                ):
                    self.waits[call] = now + (moment - at).total_seconds()
                case AskedRecord(call=call, at=at, deadline=deadline) if deadline is not None:
                    self.waits[call] = now + (deadline - at).total_seconds()

    def note_places(self, records: Sequence[Record]) -> None:
        """Remember which calls belong to which node."""
        for record in records:
            match record:
                case StartedRecord(call=call, place=place) if place:
                    self.places[place.removesuffix("[]")].add(call)
                case EmittedRecord(call=call, name="skipped" | "defaulted", value=value):
                    told: Any = msgspec.json.decode(value)
                    if isinstance(told, dict) and "node" in told:
                        self.places[told["node"]].add(call)


@attrs.frozen
class _Sent:
    """A commit whose outcome nobody has heard yet.

    Attributes:
        newest: The newest token of its run.
        at: When, by the loop's time.
    """

    lease: Lease
    commit: Commit
    newest: int
    at: float


class Model:
    """All runs of a store.

    Attributes:
        accepted: Ids of the runs whose creation was acknowledged or may have been.
        wrong: What broke an invariant, in order.
        commits: How many were accepted.
        counts: How often each invariant was checked.
    """

    def __init__(self, rules: Rules) -> None:
        self._rules = rules
        self._known: dict[tuple[str, str], KnownRun] = {}
        self._meant: dict[tuple[str, str], NewRun] = {}
        self._unheard: dict[str, _Sent] = {}  # by the hash of the last entry
        self.accepted: list[tuple[str, str]] = []
        self.wrong: list[str] = []
        self.commits = 0
        self.counts: defaultdict[str, int] = defaultdict(int)

    def check(self, name: str, problems: Iterable[str]) -> None:
        """Count that an invariant was checked, and keep what is wrong."""
        self.counts[name] += 1
        self.wrong += [f"{name}: {problem}" for problem in problems]

    # --- Runs --------------------------------------------------------------------------------

    def means(self, tenant: str, new: NewRun) -> None:
        """Note that a run is about to be created."""
        self._meant[tenant, new.id] = new

    def find(self, tenant: str, run: str) -> KnownRun | None:
        """Return a run that the store knows of, if it was ever meant to be."""
        known = self._known.get((tenant, run))
        if known is None and (tenant, run) in self._meant:
            known = self._known[tenant, run] = KnownRun(self._meant[tenant, run])
            self.accepted.append((tenant, run))
        return known

    def knows(self, tenant: str, run: str) -> bool:
        """Return whether a run may exist."""
        return (tenant, run) in self._meant

    def runs(self) -> Iterable[tuple[str, str, KnownRun]]:
        """Return tenant, id and what is known of each run."""
        return [(tenant, run, known) for (tenant, run), known in self._known.items()]

    # --- Commits -----------------------------------------------------------------------------

    def about_to(self, lease: Lease, commit: Commit, newest: int) -> None:
        """Note that something is about to be committed."""
        late = asked_at.get()  # a fault may have held it up
        now = anyio.current_time() if late is None else late
        self._unheard[commit.entries[-1].hash] = _Sent(lease, commit, newest, now)
        for new in commit.create:
            self.means(lease.tenant, new)

    def reached(self, tenant: str, run: str, head: str) -> None:
        """Take into account everything up to an entry that the store has, and check it."""
        known = self.find(tenant, run)
        if known is None:
            return
        path: list[_Sent] = []
        at = head
        while at != known.head:
            if at not in self._unheard:
                self._is_astray(known, run, at, path)
                break
            path.append(self._unheard.pop(at))
            at = path[-1].lease.head
        for one in reversed(path):
            self._check(known, one)

    def _is_astray(self, known: KnownRun, run: str, at: str, path: Sequence[object]) -> None:
        """Say what is wrong if entries follow something else than the newest entry."""
        old = any(entry.hash == at for entry in known.entries)
        if path and old:
            self.wrong.append(
                f"{_CHAIN}: run {run}: entries were accepted that follow an older one"
            )
        elif not old:
            self.wrong.append(f"{_CHAIN}: run {run}: there are entries that nobody has committed")

    def _check(self, known: KnownRun, one: _Sent) -> None:
        lease, commit = one.lease, one.commit
        self.commits += 1
        records: list[Record] = decode_entries(commit.entries)
        before, held, head = _before(known, records), _held(known), known.head
        again: list[str] = []
        try:
            for record in records:
                again += _repeated(known, record)
                known.fold.apply(record)
        except Exception as error:
            self.wrong.append(f"run {lease.run}: its records do not follow each other: {error}")
            known.apply(commit, (), one.at)
            return
        known.note_places(records)
        change = Change(
            tenant=lease.tenant,
            run=lease.run,
            token=lease.token,
            newest=one.newest,
            before=before,
            again=again,
            held=held,
            after=known.fold,
            places=known.places,
            was=known.state,
            state=commit.state,
            head=head,
            entries=commit.entries,
            records=records,
            now=anyio.current_time(),
            waits=known.waits,
            rules=self._rules,
        )
        for name, invariant in INVARIANTS.items():
            self.check(name, (f"run {lease.run}: {what}" for what in invariant(change)))
        known.apply(commit, records, one.at)
        for new in commit.create:
            self.find(lease.tenant, new.id)


def _before(known: KnownRun, records: Sequence[Record]) -> dict[str, CallState]:
    """Return the calls that records are about, as they are now."""
    names = {str(getattr(record, "call", "")) for record in records}
    calls = known.fold.calls
    return {name: copy.copy(calls[name]) for name in names if name in calls}


def _repeated(known: KnownRun, record: Record) -> list[str]:
    """Return the call of a record that begins or ends what has a result."""
    if not isinstance(record, StartedRecord | SucceededRecord):
        return []
    call = known.fold.calls.get(record.call)
    return [record.call] if call is not None and call.state is State.DONE else []


def _held(known: KnownRun) -> tuple[float, int]:
    run = known.fold.spending.run
    return run.held_money, run.held_tokens
