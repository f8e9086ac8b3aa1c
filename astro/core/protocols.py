"""Seams: what an application may replace, and the values that cross them.

Implementations do not inherit from these protocols; a line in `tests/typing/` assigns each.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Generator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from datetime import datetime, timedelta
from os import PathLike
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any, Generic, ParamSpec, Protocol, TypeVar, runtime_checkable

import msgspec

from astro.core.ledger import Usage
from astro.core.messages import Message, Posted
from astro.core.policy import Budget, Retry
from astro.core.records import Entry, Record, State
from astro.core.sandbox import (
    Changes,
    Collected,
    Completed,
    FileInfo,
    Listener,
    SandboxReport,
    SandboxSpec,
)

if TYPE_CHECKING:
    import random

    from astro.core.context import Context
    from astro.core.task import Task

__all__ = [
    "Agent",
    "Blobs",
    "Box",
    "Call",
    "Candidate",
    "Choice",
    "Claimed",
    "Commit",
    "Completed",
    "Composition",
    "Engine",
    "Executor",
    "Lease",
    "Maintenance",
    "NewRun",
    "Observer",
    "Page",
    "Remembered",
    "RetryPolicy",
    "Router",
    "Run",
    "RunQuery",
    "RunSummary",
    "Sandbox",
    "SandboxSpec",
    "Store",
    "StoreCheck",
]

P = ParamSpec("P")
R = TypeVar("R")
R_co = TypeVar("R_co", covariant=True)
T_co = TypeVar("T_co", covariant=True)


# --- Stores ----------------------------------------------------------------------------------


class NewRun(msgspec.Struct, frozen=True, kw_only=True):
    """A run to be created.

    Attributes:
        id: 32 hexadecimal digits, chosen by who creates it.
        entry: The first entry of the journal, a `CreatedRecord`, with token 0.
        fingerprint: Hash of task and arguments; the same key with another one is a conflict.
        namespace: Where the key is unique beside the tenant; the parent run's id for children.
        wake_at: When it may be claimed first; None means at once.
        entries: Further entries after the first, as a fork copies them.
        state: Its state until somebody claims it.
    """

    id: str
    task: str
    entry: Entry
    fingerprint: str
    key: str | None = None
    namespace: str = ""
    priority: int = 20
    deadline: datetime | None = None
    parent: str | None = None
    source: str | None = None
    wake_at: datetime | None = None
    entries: tuple[Entry, ...] = ()
    state: State = State.READY
    created_at: datetime


class Lease(msgspec.Struct, frozen=True, kw_only=True):
    """An engine's claim on a run.

    Attributes:
        token: Grows with each claim; guards each commit.
        seq: Sequence number of the newest entry.
        head: Hash of the newest entry.
        failures: How often in a row a lease on this run was not released.
        lost: With a claim, whether the owner before did not release the run.
        first: With a claim, the run's only entry, if it has one only: owning a new run needs no
            read. A store may leave it out.
    """

    tenant: str
    run: str
    task: str
    owner: str
    token: int
    seq: int
    head: str
    priority: int = 20
    failures: int = 0
    lost: bool = False
    first: Entry | None = None


class Claimed(msgspec.Struct, frozen=True, kw_only=True):
    """What a claim gave.

    Attributes:
        at: The store's time of the claim.
        leases: New leases, most urgent first.
    """

    at: datetime
    leases: tuple[Lease, ...]


class Remembered(msgspec.Struct, frozen=True, kw_only=True):
    """A result that answers later calls with equal arguments.

    Attributes:
        key: Hash of task, version and arguments.
        result: The result's JSON.
    """

    key: str
    result: bytes
    until: datetime


class Commit(msgspec.Struct, frozen=True, kw_only=True):
    """What an owner wants to be true, all or nothing.

    Attributes:
        entries: Entries that follow the lease's `seq` and `head`, without gaps; never empty.
        state: The run's state after them.
        wake_at: When the run may be claimed if nobody holds a lease; None means only a message
            makes it claimable. A run with calls to run has a moment in the past.
        consumed: Numbers of the inbox messages that the entries answer.
        create: Runs that begin with this commit.
        outgoing: Messages to other runs of the tenant, `(run, message)`; dropped if that run
            has ended or does not exist.
        remember: Results for the cache.
        needs: What a parked run waits for; empty for all other states.
        used: What the entries add to what the tenant has used of its budget.
        reserved: Names of the run's reservations that go on; all others end. None changes none.
        proves: Whether the entries show that the run got somewhere; resets its `failures`.
    """

    entries: tuple[Entry, ...]
    state: State
    wake_at: datetime | None = None
    consumed: tuple[int, ...] = ()
    create: tuple[NewRun, ...] = ()
    outgoing: tuple[tuple[str, Message], ...] = ()
    remember: tuple[Remembered, ...] = ()
    needs: Mapping[str, str] = msgspec.field(default_factory=dict)
    used: Usage | None = None
    reserved: tuple[str, ...] | None = None
    proves: bool = True


class RunSummary(msgspec.Struct, frozen=True, kw_only=True):
    """A run, seen from outside.

    Attributes:
        records: How many records its journal has.
        owner: The engine that holds a live lease, if any.
        needs: What it waits for when it is parked.
    """

    id: str
    tenant: str
    task: str
    state: State
    created_at: datetime
    updated_at: datetime
    key: str | None = None
    priority: int = 20
    deadline: datetime | None = None
    wake_at: datetime | None = None
    parent: str | None = None
    source: str | None = None
    records: int = 0
    owner: str | None = None
    needs: Mapping[str, str] = msgspec.field(default_factory=dict)


class RunQuery(msgspec.Struct, frozen=True, kw_only=True):
    """Which runs, newest first.

    Attributes:
        ids: Only these.
        unfinished: Only runs that have not ended.
        after: Where the next page begins: `Page.next` of the one before.
    """

    ids: frozenset[str] | None = None
    states: frozenset[State] | None = None
    task: str | None = None
    key: str | None = None
    parent: str | None = None
    unfinished: bool = False
    limit: int = 50
    after: str | None = None


class Page(msgspec.Struct, Generic[T_co], frozen=True, kw_only=True):
    """A part of a list.

    Attributes:
        next: What to ask with for the part that follows; None at the end.
    """

    items: tuple[T_co, ...]
    next: str | None = None


class Blobs(Protocol):
    """Keeps large values once, by content hash; part of every store."""

    async def put(self, tenant: str, content: bytes, /) -> str:
        """Keep bytes and return their hash: BLAKE2b, 32 bytes, hexadecimal."""
        ...

    async def fetch(self, tenant: str, digest: str, /) -> bytes:
        """Return the bytes of a hash.

        Raises:
            RunNotFoundError: The tenant has no such blob.
        """
        ...


class Store(Blobs, Protocol):
    """Keeps journals and hands out leases; an async context manager.

    The tenant is the first argument of every verb that names a run. Times are the store's.
    Every verb that writes either happens as a whole or not at all, and a caller that is cancelled
    inside one learns the truth first.
    """

    async def __aenter__(self) -> Any: ...

    async def __aexit__(self, *error: object) -> bool | None: ...

    async def create(self, tenant: str, run: NewRun, /) -> str:
        """Keep a new run and return its id; the same key gives the id of the first run.

        Raises:
            KeyConflictError: The key names a run with another fingerprint.
            StoreUnavailableError: The store cannot write.
        """
        ...

    async def claim(
        self, owner: str, /, *, offers: frozenset[str], limit: int, duration: timedelta
    ) -> Claimed:
        """Take leases on runs that wait for an owner.

        Claimable is a run that has not ended, has no live lease, has a due `wake_at`, and whose
        task is among the offers; if it is parked for a task or an agent, that too has to be
        offered (`"review"`, `"agent:review"`). Tenants take turns; within one, higher priority
        and then age come first. Each claim raises the token; claiming a lease that was not
        released raises `failures`. Its own leases that ran out an owner does not claim, but
        renews.
        """
        ...

    async def renew(self, owner: str, /, *, duration: timedelta) -> Sequence[Lease]:
        """Lengthen all leases of an owner that nobody took, expired ones too; return those."""
        ...

    async def release(self, lease: Lease, /, *, wake_at: datetime | None = None) -> None:
        """Give a lease back; unread messages make the run claimable at once.

        A lease that is no longer the newest is ignored.
        """
        ...

    async def commit(self, lease: Lease, commit: Commit, /) -> Lease:
        """Add entries and all that goes with them; return the lease that follows.

        Compares token, sequence and head, and sets them. Repeating a commit whose last entry is
        already the head is success. A terminal state ends the lease and closes the inbox. A
        commit that `proves` something resets the count of failures.

        Raises:
            LeaseLostError: A newer token exists, or the journal is not where the lease says.
            StoreUnavailableError: The outcome is unknown or negative.
        """
        ...

    async def post(self, tenant: str, run: str, message: Message, /) -> None:
        """Put a message into a run's inbox and make the run claimable if nobody owns it.

        Raises:
            RunNotFoundError: The tenant has no such run.
            RunFinishedError: The run has ended.
            AlreadyAnsweredError: The message's `once` is taken, or its `not_after` has passed.
        """
        ...

    async def inbox(self, owner: str, /) -> Sequence[Posted]:
        """Return the unread messages of all runs that an owner holds, oldest first."""
        ...

    async def read(
        self, tenant: str, run: str, /, *, after: int = 0, limit: int = 1_000
    ) -> Sequence[Entry]:
        """Return entries in order, those with a sequence number above `after`.

        Raises:
            RunNotFoundError: The tenant has no such run.
        """
        ...

    async def runs(self, tenant: str, query: RunQuery, /) -> Page[RunSummary]:
        """Return runs, newest first."""
        ...

    async def tenants(self) -> Sequence[str]:
        """Return the tenants that have runs which have not ended, sorted."""
        ...

    async def recall(self, tenant: str, key: str, /) -> bytes | None:
        """Return a remembered result that has not expired, or None."""
        ...

    async def wait(self, /, *, timeout: timedelta) -> None:
        """Return when something may have become claimable or been posted, or time is up."""
        ...


class StoreCheck(msgspec.Struct, frozen=True, kw_only=True):
    """What an integrity check found.

    Attributes:
        problems: One line each; empty means that all is well.
    """

    runs: int
    entries: int
    problems: tuple[str, ...] = ()


class Maintenance(Protocol):
    """What an operator does with a store."""

    async def backup(self, target: str | PathLike[str], /) -> None:
        """Write a consistent copy while the store is in use."""
        ...

    async def prune(self, /, *, older_than: timedelta) -> int:
        """Remove whole families of runs that ended longer ago; return how many runs."""
        ...

    async def check(self) -> StoreCheck:
        """Verify the file and the hash chain of every run."""
        ...


# --- Agents ----------------------------------------------------------------------------------


class Call(msgspec.Struct, frozen=True, kw_only=True):
    """One task asked for, as an agent sees it.

    Attributes:
        args: Canonical JSON of the arguments, an object by parameter name.
    """

    id: str
    task: Task[..., Any]
    args: bytes
    attempt: int


@runtime_checkable
class Agent(Protocol):
    """Whoever performs tasks."""

    @property
    def name(self) -> str: ...

    @property
    def performs(self) -> frozenset[str]:
        """Names of the tasks it performs."""
        ...

    async def perform(self, ctx: Context, call: Call, /) -> object:
        """Perform a call and return its result."""
        ...


@runtime_checkable
class Composition(Protocol):
    """Tasks put together as data; a `Workflow` is one."""

    @property
    def name(self) -> str: ...

    @property
    def nodes(self) -> Sequence[Any]: ...

    def check(self, tasks: Mapping[str, Any]) -> list[str]: ...


class Candidate(msgspec.Struct, frozen=True, kw_only=True):
    """An agent, or a task's own body, as a router sees it.

    Attributes:
        name: The agent's name; empty for the task's own body.
        cost: Relative cost of one call.
        load: Attempts it performs at the moment.
        limit: Attempts it takes at the same moment; None is no limit.
        failed: Attempts at this call that it has failed.
    """

    name: str
    cost: float = 1.0
    load: int = 0
    limit: int | None = None
    failed: int = 0


class Choice(msgspec.Struct, frozen=True, kw_only=True):
    """Who performs a call, and why."""

    name: str
    reason: str


class Router(Protocol):
    """Chooses who performs a call; pure: same arguments, same answer."""

    def choose(self, task: str, candidates: Sequence[Candidate], /) -> Choice:
        """Return one of the candidates, of which there is at least one."""
        ...


class RetryPolicy(Protocol):
    """Decides whether a failed attempt deserves another, and when; pure."""

    def delay(
        self, retry: Retry, /, *, attempt: int, error: Exception, chance: random.Random
    ) -> timedelta | None:
        """Return how long to wait before the next attempt, or None to give up."""
        ...


# --- Executors -------------------------------------------------------------------------------


class Executor(Protocol):
    """Where the bodies of tasks run: in this event loop, in another process, on another machine.

    An engine has chosen, recorded and bounded an attempt before it asks an executor, and checks
    and commits the result after it: an executor decides nothing, repeats nothing and keeps
    nothing. Agents, workflows and steps run where their engine is.
    """

    async def execute(self, call: Call, ctx: Context, /) -> object:
        """Run the body of a call's task once and return what it returned.

        The arguments are made anew from the call's JSON. The verbs of the context do what they
        do, wherever the body is. Cancelled, and a time limit is nothing else, this returns when
        the body has ended and nothing of it goes on.

        Raises:
            Exception: What the body raised. ASTRO's own classes, those of builtins and those
                that the task names in `raises` and `retry` come out as themselves, all others at
                least with their words.
            RunSuspended: A verb of the context raised it, and the body has ended.
        """
        ...


# --- Sandboxes -------------------------------------------------------------------------------


class Box(Protocol):
    """One isolated place with files and commands; a work folder, which is empty at first.

    A failure of what runs in it is a result. A failure of the box is a `SandboxError`.
    """

    async def run(
        self,
        command: Sequence[str],
        /,
        *,
        stdin: bytes = b"",
        env: Mapping[str, str] | None = None,
        collect: Sequence[str] = (),
        timeout: timedelta,
        listen: Listener | None = None,
    ) -> Completed:
        """Run a command in the work folder; after `timeout`, all that it has started is ended.

        Args:
            command: A program and its arguments; no shell reads them.
            collect: Patterns of files to be given back, as `report/*.json`.
            listen: Hears of output as it comes.

        Raises:
            BoxLostError: The box is gone, for no fault of the command.
        """
        ...

    async def python(
        self,
        code: str,
        /,
        *,
        stdin: bytes = b"",
        env: Mapping[str, str] | None = None,
        collect: Sequence[str] = (),
        timeout: timedelta,
        listen: Listener | None = None,
    ) -> Completed:
        """Run Python code as a program of its own."""
        ...

    async def write(self, files: Mapping[PurePosixPath, bytes], /) -> None:
        """Put files into the work folder."""
        ...

    async def read(self, path: PurePosixPath, /) -> bytes:
        """Return the content of a regular file of the work folder.

        Raises:
            SandboxError: There is no such file.
        """
        ...

    async def files(self) -> Sequence[FileInfo]:
        """Return the regular files of the work folder."""
        ...

    async def collect(self, patterns: Sequence[str], /) -> Collected:
        """Return the regular files that patterns name, within the caps of the box."""
        ...

    async def changes(self) -> Changes:
        """Return what has changed in the work folder since this was asked before."""
        ...

    async def restore(self, changes: Changes, /, *, known: bool = True) -> None:
        """Put everything that a snapshot holds into the work folder.

        Args:
            known: Whether `changes` does not tell of it any more.
        """
        ...


class Sandbox(Protocol):
    """Makes isolated boxes. One that is an async context manager is entered by its engine."""

    async def check(self) -> SandboxReport | None:
        """Return if boxes can be opened, with what is known of them.

        Raises:
            SandboxUnavailableError: They cannot; says what is missing.
        """
        ...

    def open(self, spec: SandboxSpec, /) -> AbstractAsyncContextManager[Box]: ...


# --- Observers -------------------------------------------------------------------------------


class Observer(Protocol):
    """Sees records after they are committed; slow ones miss records, never delay a run."""

    async def observe(self, tenant: str, run: str, records: Sequence[Record], /) -> None:
        """Take note of records of one run, in order.

        What an observer missed while it was slow is in the store: read from the last sequence
        number it has seen.
        """
        ...


# --- Engines ---------------------------------------------------------------------------------


class Run(Protocol[R_co]):
    """A handle on one run."""

    @property
    def id(self) -> str: ...

    @property
    def tenant(self) -> str: ...

    def __await__(self) -> Generator[Any, Any, R_co]:
        """Wait for the result.

        Raises:
            RunFailedError: The run failed.
            RunCancelledError: The run was cancelled.
        """
        ...

    def __aiter__(self) -> AsyncIterator[Record]:
        """Iterate over the records, from the first, until the run has ended."""
        ...

    def records(self, *, after: int = 0, follow: bool = True) -> AsyncIterator[Record]: ...

    async def status(self) -> RunSummary: ...

    async def cancel(self, reason: str = "") -> RunSummary: ...

    async def pause(self) -> None: ...

    async def resume(self) -> None: ...

    async def answer(self, value: object, *, call: str | None = None, by: str = "") -> None: ...

    async def fork(self, *, at: int | None = None, budget: Budget | None = None) -> Run[R_co]: ...

    async def diff(self, other: Any, /) -> Sequence[object]: ...

    async def explain(self, call: str) -> str: ...

    async def to_svg(self) -> str: ...

    async def to_mermaid(self) -> str: ...


class Engine(Protocol):
    """Owns runs: claims, decides, dispatches, commits."""

    async def run(self, task: Task[P, R], /, *args: P.args, **kwargs: P.kwargs) -> R:
        """Start a run and wait for its result."""
        ...

    async def start(self, task: Task[P, R], /, *args: P.args, **kwargs: P.kwargs) -> Run[R]:
        """Start a run and return once it is kept."""
        ...

    async def get(self, run: str, /) -> Run[Any]:
        """Return the handle of a run.

        Raises:
            RunNotFoundError: There is none of that id.
        """
        ...

    async def runs(
        self,
        *,
        limit: int = 50,
        after: str | None = None,
        unfinished: bool = False,
        task: str | None = None,
        key: str | None = None,
        states: frozenset[State] | None = None,
    ) -> Page[RunSummary]: ...

    def options(
        self,
        *,
        key: str | None = None,
        priority: int | None = None,
        budget: Budget | None = None,
        deadline: datetime | timedelta | None = None,
        tenant: str | None = None,
        strict: bool | None = None,
    ) -> Engine: ...

    def tenant(self, name: str, /) -> Engine: ...
