"""Outcomes: what became of a workflow, in a form that can be compared.

Two executions of the same workflow with the same ids agree if state and result are the same, if
they asked for the same calls, which is to say with the same idempotency keys, and if each call has
the same result.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from functools import partial
from itertools import takewhile

import attrs

from astro.core.records import (
    DivergedRecord,
    Record,
    StartedRecord,
    SucceededRecord,
    as_bytes,
)
from astro.decisions.replay import CallState, RunState, replay
from astro.testing.effects import Effects

__all__ = ["Outcome", "differences", "misplaced", "outcome_of"]


@attrs.frozen(kw_only=True)
class Outcome:
    """What became of a run and the runs that it started.

    Attributes:
        state: The run's state in the end.
        result: JSON of the result, the hash of a large one, or the failure.
        calls: What became of each call of a task or step, by idempotency key.
        faults: What is wrong, whatever happened elsewhere.
    """

    state: str
    result: str
    calls: Mapping[str, str]
    faults: tuple[str, ...]


def outcome_of(journals: Mapping[str, Sequence[Record]], root: str) -> Outcome:
    """Return what became of a family of runs.

    Args:
        journals: The records of each run, by id.
        root: Id of the run that started the others.
    """
    states = {run: replay(records) for run, records in journals.items()}
    calls = {
        f"{run}/{call.id}": _told(call)
        for run, state in states.items()
        for call in state.calls.values()
        if call.attempt
    }
    faults = [fault for run, records in journals.items() for fault in _faults(run, records)]
    end = states[root].finished
    if end is None:
        return Outcome(state="unfinished", result="", calls=calls, faults=(*faults, _stuck(states)))
    if end.failure is not None:
        result = f"{end.failure.type}: {end.failure.message}"
    else:
        result = end.blob or (as_bytes(end.result) or b"null").decode()
    return Outcome(state=end.state.value, result=result, calls=calls, faults=tuple(faults))


def _told(call: CallState) -> str:
    if call.result is not None or call.blob is not None:
        return call.blob or (call.result or b"").decode()
    return f"{call.failure.type}: {call.failure.message}" if call.failure else call.state.value


def _stuck(states: Mapping[str, RunState]) -> str:
    missing = [
        f"{what} {name!r}: pass parts=[...]"
        for state in states.values()
        for what, name in state.needs.items()
    ]
    asked = [
        f"an answer: it asks {call.asked.question!r}: pass answers={{...}}"
        for state in states.values()
        for call in state.calls.values()
        if call.asked is not None and call.state.value == "asked"
    ]
    waits = "; ".join([*missing, *asked])
    return f"the run does not end: it waits for {waits or 'something that never happens'}"


def _faults(run: str, records: Sequence[Record]) -> list[str]:
    found = [
        f"after the crash the code no longer asked for {', '.join(record.missing)}"
        f"{' but for ' + ', '.join(record.held) if record.held else ''}: what it asks for must "
        "follow from its arguments and from results of calls, steps, ctx.now and ctx.random"
        for record in records
        if isinstance(record, DivergedRecord)
    ]
    results: Counter[str] = Counter()
    for record in records:
        if isinstance(record, StartedRecord) and record.attempt > 1:
            results.pop(record.call, None)
        elif isinstance(record, SucceededRecord):
            results[record.call] += 1
    found += [f"{call} has {count} results" for call, count in results.items() if count > 1]
    return found


def differences(expected: Outcome, found: Outcome) -> list[str]:
    """Return in what two outcomes differ, a line each."""
    told: list[str] = []
    if found.state != expected.state:
        told.append(f"the run is {found.state} ({found.result:.200}) and not {expected.state}")
    elif found.result != expected.result:
        told.append(f"the result is {found.result:.200} and not {expected.result:.200}")
    for key in sorted(expected.calls.keys() - found.calls.keys()):
        told.append(f"{_call(key)} was never asked for")
    for key in sorted(found.calls.keys() - expected.calls.keys()):
        told.append(f"{_call(key)} was asked for, which it is not without the crash")
    for key in sorted(expected.calls.keys() & found.calls.keys()):
        if found.calls[key] != expected.calls[key]:
            told.append(
                f"{_call(key)} gave {found.calls[key]:.100} and not {expected.calls[key]:.100}"
            )
    return told


def _call(key: str) -> str:
    return key.partition("/")[2]


def misplaced(effects: Effects, journals: Mapping[str, Sequence[Record]]) -> list[str]:
    """Return the effects that a crash would repeat, a line each.

    Those are followed by a verb of the context in the same attempt: once that has committed, the
    attempt is resumed behind it, and does on the way there what it did before.
    """
    told: list[str] = []
    for effect in effects.seen:
        later = [record for record in journals.get(effect.run, ()) if record.seq > effect.seq]
        attempt = takewhile(partial(_goes_on, effect.call), later)
        verbs = [record for record in attempt if getattr(record, "parent", None) == effect.call]
        if verbs:
            verb = verbs[0]
            asked = verb.task if isinstance(verb, StartedRecord) else verb.kind
            told.append(
                f"{effect.task} did {effect.what} at {effect.where}, and went on to {asked!r}: "
                "after a crash it happens again. Do it in a step: await ctx.step(function, ...)"
            )
    return list(dict.fromkeys(told))


def _goes_on(call: str, record: Record) -> bool:
    return not (isinstance(record, StartedRecord) and record.call == call)
