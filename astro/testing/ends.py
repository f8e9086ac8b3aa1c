"""Ends: what holds when a history is over, by name.

Nobody is at work any more, so that everything can be compared with everything.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING

import msgspec

from astro.core.errors import AstroError
from astro.core.ledger import Usage
from astro.core.records import Entry, FinishedRecord, State, as_bytes, decode_entries
from astro.decisions.replay import RunState, replay

if TYPE_CHECKING:
    from astro.testing.model import KnownRun
    from astro.testing.world import Submitted, World

__all__ = ["END_INVARIANTS", "OUTSIDE_INVARIANTS", "judge", "judge_loop", "judge_process"]

_PAGE = 5_000
_ROUNDING = 1e-9

_Judgement = Callable[["World"], AsyncIterator[str]]


async def _no_accepted_run_is_lost(world: World) -> AsyncIterator[str]:
    for run in world.unfinished():
        yield f"run {run} did not end"
    if len(world.submitted) < len(world.jobs):
        yield f"{len(world.jobs) - len(world.submitted)} jobs were not accepted"


async def _results_are_those_expected(world: World) -> AsyncIterator[str]:
    for run in world.submitted:
        known = world.watched.model.find(run.job.tenant, run.id)
        if known is not None and known.fold.finished is not None:
            found = await _result(world, run.job.tenant, known.fold.finished)
            for problem in _misfits(run, known.fold.finished, found):
                yield f"run {run.id} of {run.job.task.name} {problem}"


async def _result(world: World, tenant: str, end: FinishedRecord) -> bytes | None:
    if end.blob is None:
        return as_bytes(end.result)
    content: bytes = await world.watched.fetch(tenant, end.blob)
    return content


def _misfits(run: Submitted, end: FinishedRecord, found: bytes | None) -> Iterator[str]:
    job = run.job
    if end.state not in job.states and not (run.cancelled and end.state is State.CANCELLED):
        told = end.failure.message if end.failure is not None else end.reason
        yield f"ended {end.state.value}: {told}"
    elif end.state is State.DONE and job.expected is not None and found != job.expected:
        yield f"gave {found!r} and not {job.expected!r}"
    for heard in run.heard:
        if heard != found:
            yield f"gave {found!r}, and somebody who waited was given {heard!r}"


async def _what_is_kept_is_what_was_committed(world: World) -> AsyncIterator[str]:
    for tenant, run, known in world.watched.model.runs():
        entries = await _read(world, tenant, run)
        world.watched.model.reached(tenant, run, entries[-1].hash if entries else "")
        if entries != known.entries:
            yield f"run {run} has {len(entries)} entries and not the {len(known.entries)} committed"


async def _read(world: World, tenant: str, run: str) -> list[Entry]:
    entries: list[Entry] = []
    while True:
        page = await world.watched.read(tenant, run, after=len(entries), limit=_PAGE)
        entries += page
        if len(page) < _PAGE:
            return entries


async def _replays_give_what_was_live(world: World) -> AsyncIterator[str]:
    """Compare the fold that grew with each commit with that of the journal as it is kept."""
    for tenant, run, known in world.watched.model.runs():
        again = replay(decode_entries(await _read(world, tenant, run)))
        if _plain(again) != _plain(known.fold):
            yield f"run {run} is not the same after a replay"


def _plain(state: RunState) -> bytes:
    return msgspec.json.encode(state)


async def _the_store_is_in_order(world: World) -> AsyncIterator[str]:
    for problem in (await world.watched.check()).problems:
        yield problem


async def _accounts_are_the_sum_of_their_runs(world: World) -> AsyncIterator[str]:
    for tenant in await world.watched.budgets():
        account = await world.watched.account(tenant)
        runs = [known for whose, _, known in world.watched.model.runs() if whose == tenant]
        used = Usage()
        for known in runs:
            used = used.plus(_used(known))
        if account is None or not runs:
            continue
        if account.reserved != Usage() and all(known.state.terminal for known in runs):
            yield f"{account.reserved} is reserved for {tenant!r}, and all its runs have ended"
        for what in ("calls", "tokens", "money"):
            has, sum_of = getattr(account.used, what), getattr(used, what)
            if abs(has - sum_of) > _ROUNDING * max(1, sum_of):
                yield f"{tenant!r} has used {has:g} {what}, and its runs {sum_of:g}"


def _used(known: KnownRun) -> Usage:
    """Return what a run has used itself, and not the run that it was forked from."""
    spent = known.fold.spending.run
    total = Usage(money=spent.used_money, tokens=spent.used_tokens, calls=spent.used_calls)
    created = known.fold.created
    copied = created.copied if created is not None else 0
    if not copied:
        return total
    before = replay(decode_entries(known.entries[: 1 + copied])).spending.run
    return total.minus(
        Usage(money=before.used_money, tokens=before.used_tokens, calls=before.used_calls)
    )


async def _failures_are_undone(world: World) -> AsyncIterator[str]:
    for tenant, run, known in world.watched.model.runs():
        if known.state in (State.FAILED, State.CANCELLED) and known.fold.undoable:
            yield f"run {run} of {tenant!r} has not undone {', '.join(known.fold.undoable)}"


async def _engines_leave_no_lease(world: World) -> AsyncIterator[str]:
    for tenant, run, known in world.watched.model.runs():
        if known.owner and not known.state.terminal and known.owner not in world.excused:
            yield f"run {run} of {tenant!r} is still held by {known.owner}, which has left"


END_INVARIANTS: Mapping[str, _Judgement] = MappingProxyType(
    {
        "accounts are the sum of their runs": _accounts_are_the_sum_of_their_runs,
        "failures are undone": _failures_are_undone,
        "engines leave no lease": _engines_leave_no_lease,
        "no accepted run is lost": _no_accepted_run_is_lost,
        "replays give what was live": _replays_give_what_was_live,
        "results are those expected": _results_are_those_expected,
        "the store is in order": _the_store_is_in_order,
        "what is kept is what was committed": _what_is_kept_is_what_was_committed,
    }
)
"""What holds when nobody is at work any more, while the store is open; by name."""

OUTSIDE_INVARIANTS: Mapping[str, str] = MappingProxyType(
    {
        "code runs in a sandbox only": "no process is started, and no text is run as code",
        "nothing is left": "no task lives on when all engines and the store are closed",
    }
)
"""What holds of the whole history, whatever the store knows of it; by name."""

_CONFINED, _NOTHING_LEFT = OUTSIDE_INVARIANTS


async def judge(world: World) -> None:
    """Check what holds in the end."""
    for name, judgement in END_INVARIANTS.items():
        try:
            world.watched.model.check(name, [problem async for problem in judgement(world)])
        except AstroError as error:
            world.watched.model.check(name, [str(error)])


def judge_loop(world: World) -> None:
    """Check that no task is left when all engines and the store are closed."""
    left = [task.get_name() for task in asyncio.all_tasks() if task is not asyncio.current_task()]
    world.watched.model.check(_NOTHING_LEFT, [f"task {name}" for name in left])


def judge_process(world: World, broken_out: Iterable[str]) -> None:
    """Check that nothing has left the process."""
    world.watched.model.check(_CONFINED, broken_out)
