"""The journal: live equals replayed after each record, and what cannot be is refused.

What may legally happen, and what then holds of calls and budgets, is the machine of
`tests/decisions/test_journal_machine.py`; this one looks after every step, and tries what must
not be.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import msgspec
import pytest
from hypothesis import strategies as st
from hypothesis.stateful import invariant, precondition, rule

from astro import Budget, JournalCorruptError, State
from astro.core.records import (
    AbandonedRecord,
    AnsweredRecord,
    AttemptFailedRecord,
    Entry,
    FailedRecord,
    Failure,
    FinishedRecord,
    Raw,
    ReservedRecord,
    StartedRecord,
    SucceededRecord,
    decode_entries,
    encode_record,
    verify,
)
from astro.decisions.replay import RunState, replay
from tests.decisions.records import BEGIN, RUN, TENANT
from tests.decisions.test_journal_machine import JournalMachine
from tests.machines.profile import MANY, CountedMachine, found_by

FAILURE = Failure(type="OSError", message="busy")
UNKNOWN = (
    (SucceededRecord, {"attempt": 1, "result": Raw(b"1")}),
    (FailedRecord, {"attempt": 1, "failure": FAILURE}),
    (AttemptFailedRecord, {"attempt": 1, "failure": FAILURE, "retry_at": BEGIN}),
    (AnsweredRecord, {"answer": Raw(b"1")}),
    (ReservedRecord, {"attempt": 1, "budget": Budget(money=1.0)}),
)


class PrefixMachine(CountedMachine, JournalMachine):
    """An engine whose journal is kept, and read again, after each thing that it records."""

    def __init__(self) -> None:
        super().__init__()
        self.kept: list[Entry] = []
        self.again = RunState()

    def keep(self) -> None:
        """Keep what was recorded since the last time."""
        for record in self.records[len(self.kept) :]:
            head = self.kept[-1].hash if self.kept else ""
            self.kept.append(encode_record(record, tenant=TENANT, run=RUN, token=1, head=head))

    # --- What must not be ----------------------------------------------------------------------

    @rule(gap=st.sampled_from([-2, -1, 0, 2, 3]))
    def out_of_order(self, gap: int) -> None:
        self.refused(FinishedRecord(seq=len(self.records) + gap, at=BEGIN, state=State.DONE))

    @precondition(lambda self: not self.live)
    @rule(data=st.data())
    def after_the_end(self, data: st.DataObject) -> None:
        call = data.draw(st.sampled_from(sorted(self.state.calls)))
        seq = len(self.records) + 1
        self.refused(StartedRecord(seq=seq, at=BEGIN, call=call, task="work", attempt=9))

    @precondition(lambda self: self.live)
    @rule(about=st.sampled_from(UNKNOWN))
    def about_nothing(self, about: tuple[type[Any], dict[str, Any]]) -> None:
        """A record about a call that was never asked for is refused by who reads the journal."""
        kind, fields = about
        record = kind(seq=len(self.records) + 1, at=BEGIN, call="nobody", **fields)
        with pytest.raises(JournalCorruptError, match="never asked for"):
            replay([*self.records, record])

    @precondition(lambda self: len(self.kept) > 1)
    @rule(data=st.data())
    def tampered_with(self, data: st.DataObject) -> None:
        """What is left out, moved, or written by another owner breaks the chain."""
        place = data.draw(st.integers(0, len(self.kept) - 2))
        swapped = [*self.kept]
        swapped[place], swapped[place + 1] = swapped[place + 1], swapped[place]
        one = self.kept[place]
        other = msgspec.structs.replace(one, token=one.token + 1)
        for entries in (
            self.kept[:place] + self.kept[place + 1 :],
            swapped,
            [*self.kept[:place], other, *self.kept[place + 1 :]],
        ):
            with pytest.raises(JournalCorruptError):
                verify(entries, tenant=TENANT, run=RUN)

    def refused(self, record: Any) -> None:
        before = msgspec.json.encode(self.state)
        with pytest.raises(JournalCorruptError, match="does not follow"):
            self.state.apply(record)
        assert msgspec.json.encode(self.state) == before

    # --- What holds ----------------------------------------------------------------------------

    @invariant()
    def live_equals_replayed(self) -> None:
        """The fold of what was kept so far is the live one, by steps and at one go."""
        known = len(self.kept)
        self.keep()
        for record in decode_entries(self.kept[known:]):
            self.again.apply(record)
        live = msgspec.json.encode(self.state)
        assert msgspec.json.encode(self.again) == live, "live is not what was kept"
        if len(self.kept) % 5 == 0:
            whole = replay(decode_entries(self.kept))
            assert msgspec.json.encode(whole) == live, "live is not what is replayed"


TestPrefixes = PrefixMachine.TestCase
TestPrefixes.settings = MANY


# --- What is planted is found ------------------------------------------------------------------


class KeepsAbandoned(RunState):
    """Forgets, live, that a call was abandoned."""

    def apply(self, record: Any) -> None:
        super().apply(record)
        if isinstance(record, AbandonedRecord) and record.call in self.calls:
            self.calls[record.call].abandoned = False


class RisesAgain(RunState):
    """Lets a call that failed for good go on sleeping."""

    def apply(self, record: Any) -> None:
        super().apply(record)
        if isinstance(record, FailedRecord):
            self.calls[record.call].state = State.SLEEPING
            self.calls[record.call].moment = BEGIN + timedelta(days=1)


class GoesOn(RunState):
    """Takes what comes after the end."""

    def apply(self, record: Any) -> None:
        finished, self.finished = self.finished, None
        super().apply(record)
        self.finished = self.finished or finished


class NeedsNoOrder(RunState):
    """Takes records in any order."""

    def apply(self, record: Any) -> None:
        super().apply(msgspec.structs.replace(record, seq=self.seq + 1))


@pytest.mark.parametrize("kind", [KeepsAbandoned, RisesAgain, GoesOn, NeedsNoOrder])
def test_a_fold_that_is_wrong_is_found(kind: type[RunState]) -> None:
    def begin(self: PrefixMachine) -> None:
        PrefixMachine.__init__(self)
        self.state = kind()

    planted = type("Planted", (PrefixMachine,), {"__init__": begin})
    assert found_by(planted)
