"""Each implementation is assigned to the seam that it fills; a checker says whether it does."""

from __future__ import annotations

from typing import Any

from astro import (
    Agent,
    BaseAgent,
    Clock,
    Context,
    Engine,
    FunctionAgent,
    Ids,
    LocalEngine,
    MemoryStore,
    Router,
    SqliteStore,
    Store,
    SystemClock,
    SystemIds,
)
from astro.core.box import TaskBox
from astro.core.context import ChildRun
from astro.core.protocols import Blobs, Box, Maintenance, RetryPolicy, Run, Sandbox
from astro.decisions.retrying import BackoffRetry
from astro.decisions.routing import LeastLoadRouter
from astro.engine.context import LiveContext
from astro.engine.run import RunHandle
from astro.engine.sandboxing import BoxView
from astro.engine.verbs import EngineView
from astro.engine.waiting import LiveChild
from astro.sandboxes.docker.box import DockerBox
from astro.sandboxes.docker.sandbox import DockerSandbox
from astro.testing.fake_context import FakeContext, FakeRun
from astro.testing.fake_sandbox import FakeBox, FakeSandbox
from astro.testing.scripted_agent import ScriptedAgent


def engines(local: LocalEngine, view: EngineView, handle: RunHandle[int]) -> None:
    engine: Engine = local
    engine = view
    run: Run[int] = handle
    print(engine, run)


def stores(memory: MemoryStore, sqlite: SqliteStore) -> None:
    store: Store = memory
    store = sqlite
    blobs: Blobs = memory
    blobs = sqlite
    maintenance: Maintenance = memory
    maintenance = sqlite
    print(store, blobs, maintenance)


def agents(by_function: FunctionAgent, by_class: BaseAgent) -> None:
    agent: Agent = by_function
    agent = by_class
    print(agent)


def contexts(live: LiveContext, child: LiveChild, fake: FakeContext, double: FakeRun[int]) -> None:
    context: Context = live
    context = fake
    run: ChildRun[Any] = child
    run = double
    print(context, run)


router: Router = LeastLoadRouter()
retrying: RetryPolicy = BackoffRetry()
clock: Clock = SystemClock()
ids: Ids = SystemIds()


def sandboxes(docker: DockerSandbox, box: DockerBox, view: BoxView) -> None:
    sandbox: Sandbox = docker
    place: Box = box
    of_a_task: TaskBox = view
    print(sandbox, place, of_a_task)


def doubles(agent: ScriptedAgent, sandbox: FakeSandbox, box: FakeBox) -> None:
    seam: Agent = agent
    provider: Sandbox = sandbox
    place: Box = box
    print(seam, provider, place)
