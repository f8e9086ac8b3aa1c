"""The books: everything that a memory store keeps, and how it changes.

Nothing here waits, so each change happens as a whole.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from datetime import datetime

from astro.core.errors import JournalCorruptError, KeyConflictError, RunNotFoundError
from astro.core.messages import Message, Posted
from astro.core.protocols import Commit, NewRun, StoreCheck
from astro.core.records import verify
from astro.stores.admission import blobs_named
from astro.stores.memory.accounts import Accounts
from astro.stores.memory.kept import KeptRun, Phase
from astro.stores.memory.queue import Queue

__all__ = ["Books"]


class Books:
    """Runs, keys, messages, results and blobs.

    Attributes:
        queue: Which runs wait for an owner.
        owned: The runs of each owner, by number.
        mail: The run of each unread message, oldest message first.
        results: Result and expiry, by tenant and key.
        blobs: Content and time of the last put, by tenant and name.
        accounts: What tenants may use, and use.
    """

    def __init__(self) -> None:
        self.queue = Queue()
        self.owned: defaultdict[str, dict[int, KeptRun]] = defaultdict(dict)
        self.mail: dict[int, KeptRun] = {}
        self.results: dict[tuple[str, str], tuple[bytes, datetime]] = {}
        self.blobs: dict[tuple[str, str], tuple[bytes, datetime]] = {}
        self.accounts = Accounts()
        self._runs: dict[tuple[str, str], KeptRun] = {}
        self._listed: defaultdict[str, dict[int, KeptRun]] = defaultdict(dict)
        self._keys: dict[tuple[str, str, str], tuple[str, str]] = {}
        self._created = 0
        self._posted = 0

    # --- Finding -----------------------------------------------------------------------------

    def find(self, tenant: str, run: str) -> KeptRun | None:
        """Return a run, if the tenant has it."""
        return self._runs.get((tenant, run))

    def get(self, tenant: str, run: str) -> KeptRun:
        """Return a run.

        Raises:
            RunNotFoundError: The tenant has no such run.
        """
        found = self.find(tenant, run)
        if found is None:
            raise RunNotFoundError(run)
        return found

    def newest(self, tenant: str) -> Sequence[KeptRun]:
        """Return the runs of a tenant, newest first."""
        return [*reversed(self._listed.get(tenant, {}).values())]

    def meant(self, tenant: str, new: NewRun) -> str | None:
        """Return the id of the run that was meant, if it has been created before.

        Raises:
            KeyConflictError: The key names a run with another fingerprint.
        """
        known = None
        if new.key is not None:
            known = self._keys.get((tenant, new.namespace, new.key))
        if known is None and (tenant, new.id) in self._runs:
            known = (self._runs[tenant, new.id].new.fingerprint, new.id)
        if known is None:
            return None
        if known[0] != new.fingerprint:
            raise KeyConflictError(new.key or new.id, known[1])
        return known[1]

    # --- Changing ----------------------------------------------------------------------------

    def add(self, tenant: str, new: NewRun, now: datetime) -> None:
        """Keep a new run."""
        self._created += 1
        relatives = [self.find(tenant, name) for name in (new.source, new.parent) if name]
        families = [relative.family for relative in relatives if relative is not None]
        kept = KeptRun(
            number=self._created,
            tenant=tenant,
            new=new,
            family=families[0] if families else self._created,
            entries=[new.entry, *new.entries],
            state=new.state,
            wake_at=new.wake_at,
            updated_at=now,
        )
        kept.blobs |= blobs_named(kept.entries)
        self._runs[tenant, new.id] = self._listed[tenant][kept.number] = kept
        if new.key is not None:
            self._keys[tenant, new.namespace, new.key] = (new.fingerprint, new.id)
        if new.state.terminal:
            kept.phase = Phase.ENDED
        else:
            self.queue.rest(kept, new.wake_at or now, now=now)

    def tenants(self) -> list[str]:
        """Return the tenants that have unfinished runs, sorted."""
        return sorted({run.tenant for run in self._runs.values() if not run.ended})

    def own(self, run: KeptRun, owner: str, until: datetime) -> None:
        """Give a run a new owner."""
        run.lost = run.owner is not None
        if run.owner is not None:
            run.failures += 1
            del self.owned[run.owner][run.number]
        run.token += 1
        self.queue.hold(run, owner, until)
        self.owned[owner][run.number] = run

    def end_leases(self, now: datetime) -> None:
        """Let all leases run out."""
        for owner, runs in self.owned.items():
            for run in runs.values():
                self.queue.hold(run, owner, now)

    def disown(self, run: KeptRun) -> None:
        """Take a run from its owner."""
        if run.owner is not None:
            del self.owned[run.owner][run.number]
        run.owner = run.until = None

    def apply(self, run: KeptRun, commit: Commit, now: datetime) -> None:
        """Make a commit true whose fence has been checked.

        Raises:
            KeyConflictError: A run to be created has the key of another one; nothing has changed.
        """
        missing = [new for new in commit.create if not self._exists(run.tenant, new)]
        run.entries.extend(commit.entries)
        run.blobs |= blobs_named(commit.entries)
        run.state, run.needs = commit.state, dict(commit.needs)
        if commit.proves:
            run.failures = 0
        run.updated_at = now
        for number in commit.consumed:
            if run.inbox.pop(number, None) is not None:
                del self.mail[number]
        for new in missing:
            self.add(run.tenant, new, now)
        for target, message in commit.outgoing:
            self.send(run.tenant, target, message, now)
        for result in commit.remember:
            self.results[run.tenant, result.key] = (result.result, result.until)
        if commit.used is not None:
            self.accounts.charge(run.tenant, commit.used)
        if commit.reserved is not None or commit.state.terminal:
            self.accounts.keep(run.tenant, run.number, commit.reserved or ())
        if commit.state.terminal:
            self._end(run)
        else:
            self.queue.wake(run, commit.wake_at)

    def _exists(self, tenant: str, new: NewRun) -> bool:
        """Tell whether a run has been created before, which is as good as creating it."""
        found = self.meant(tenant, new)
        if found is not None and found != new.id:
            raise KeyConflictError(new.key or new.id, found)
        return found is not None

    def _end(self, run: KeptRun) -> None:
        self.disown(run)
        run.phase, run.wake_at = Phase.ENDED, None
        for number in run.inbox:
            del self.mail[number]
        run.inbox.clear()

    def send(self, tenant: str, target: str, message: Message, now: datetime) -> bool:
        """Put a message into an inbox, and tell whether it was accepted."""
        run = self.find(tenant, target)
        late = message.not_after is not None and message.not_after < now
        if run is None or run.ended or late or message.once in run.used:
            return False
        if message.once is not None:
            run.used.add(message.once)
        self._posted += 1
        number = self._posted
        run.inbox[number] = Posted(
            number=number, tenant=tenant, run=target, at=now, message=message
        )
        self.mail[number] = run
        if run.phase is Phase.RESTING:
            self.queue.rest(run, now, now=now)
        return True

    # --- Upkeep ------------------------------------------------------------------------------

    def prune(self, *, now: datetime, old: datetime, untouched: datetime) -> int:
        """Remove families that ended before a moment, and return how many runs that were."""
        runs = self._runs.values()
        kept = {run.family for run in runs if not run.ended or run.updated_at > old}
        gone = [run for run in runs if run.family not in kept]
        for run in gone:
            del self._runs[run.tenant, run.new.id]
            del self._listed[run.tenant][run.number]
        ids = {(run.tenant, run.new.id) for run in gone}
        self._keys = {key: value for key, value in self._keys.items() if key[:2] not in ids}
        self.results = {key: value for key, value in self.results.items() if value[1] > now}
        named = {(run.tenant, name) for run in self._runs.values() for name in run.blobs}
        self.blobs = {
            key: value for key, value in self.blobs.items() if key in named or value[1] > untouched
        }
        return len(gone)

    def check(self) -> StoreCheck:
        """Verify the hash chain of every run."""
        problems = []
        for run in self._runs.values():
            try:
                verify(run.entries, tenant=run.tenant, run=run.new.id)
            except JournalCorruptError as error:
                problems.append(error.problem)
        return StoreCheck(
            runs=len(self._runs),
            entries=sum(len(run.entries) for run in self._runs.values()),
            problems=tuple(problems),
        )
