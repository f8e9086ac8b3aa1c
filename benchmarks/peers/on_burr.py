"""Apache Burr with AsyncSQLitePersister: the whole state is saved after every action.

A chain is one action that loops by a condition; a fan is `MapStates`, which gives each item a
sub-application of its own. As shipped SQLite uses the rollback journal at FULL; `--setting NORMAL`
and `FULL` turn the write-ahead log on.
"""

# mypy: allow-untyped-calls
# burr's builders have no annotations.

import asyncio
import uuid
from collections.abc import AsyncGenerator, AsyncIterator, Generator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from burr.core import ApplicationBuilder, Graph, GraphBuilder, State, action, default, expr
from burr.core.parallelism import MapStates
from burr.integrations.persisters.b_aiosqlite import AsyncSQLitePersister

from benchmarks.measuring import BRANCHES, LIMIT, PAUSE, System
from benchmarks.peers.answering import Setting, answer

__all__ = ["open_burr"]


@asynccontextmanager
async def open_burr(folder: Path, setting: Setting, /) -> AsyncIterator[System]:
    """Open a persister on a new file."""
    async with AsyncSQLitePersister.from_values(db_path=str(folder / "burr.db")) as persister:
        if setting != "shipped":
            await persister.connection.execute("PRAGMA journal_mode = WAL")
            await persister.connection.execute(f"PRAGMA synchronous = {setting}")
        await persister.initialize()
        yield _Burr(persister)


class _Burr:
    def __init__(self, persister: AsyncSQLitePersister) -> None:
        self._persister = persister

    async def chain(self, items: int, /) -> int:
        graph = (
            GraphBuilder()
            .with_actions(step=_step, end=_step)
            .with_transitions(("step", "step", expr("done < wanted")), ("step", "end", default))
            .build()
        )
        return await self._run(graph, "step", wanted=items, done=0)

    async def fan(self, items: int, /) -> int:
        return await self._map(_noop, items)

    async def diamonds(self, items: int, /) -> int:
        graph = (
            GraphBuilder()
            .with_actions(top=_step, sides=_Mapped(_noop), bottom=_step, end=_step)
            .with_transitions(("top", "sides"), ("sides", "bottom"), ("bottom", "end"))
            .build()
        )
        slots = asyncio.Semaphore(BRANCHES)

        async def one(_item: int) -> int:
            async with slots:
                return await self._run(graph, "top", wanted=2, done=0)

        return sum(await asyncio.gather(*map(one, range(items)))) // 4

    async def waits(self, items: int, /) -> int:
        slots = asyncio.Semaphore(LIMIT)

        @action(reads=[], writes=["done"])
        async def pause(state: State[Any]) -> State[Any]:
            async with slots:
                await asyncio.sleep(PAUSE)
            return state.update(done=1)

        return await self._map(pause, items)

    async def _map(self, body: Any, items: int) -> int:
        graph = (
            GraphBuilder()
            .with_actions(mapped=_Mapped(body), end=_step)
            .with_transitions(("mapped", "end"))
            .build()
        )
        return await self._run(graph, "mapped", wanted=items, done=0)

    async def _run(self, graph: Graph, first: str, /, **state: int) -> int:
        """Run an application until it reaches `end`, which is never performed."""
        application: Any = await (
            ApplicationBuilder()
            .with_graph(graph)
            .with_entrypoint(first)
            .with_state(**state)
            .with_identifiers(app_id=uuid.uuid4().hex)
            .with_state_persister(self._persister)
            .abuild()
        )
        _, _, finished = await application.arun(halt_before=["end"])
        return int(finished["done"])


@action(reads=["done"], writes=["done"])
async def _step(state: State[Any]) -> State[Any]:
    return state.update(done=state["done"] + 1)


@action(reads=[], writes=["done"])
async def _noop(state: State[Any]) -> State[Any]:
    return state.update(done=1)


class _Mapped(MapStates):
    """Performs an action on as many states as are wanted, and adds what they have done."""

    def __init__(self, body: Any) -> None:
        super().__init__()
        self._body = body

    def is_async(self) -> bool:
        return True

    def action(self, state: State[Any], inputs: dict[str, Any]) -> Any:
        return self._body

    def states(
        self, state: State[Any], context: Any, inputs: dict[str, Any]
    ) -> Generator[State[Any], None, None]:
        for item in range(state["wanted"]):
            yield state.update(item=item)

    # burr's types know only the synchronous form of `reduce`.
    async def reduce(  # type: ignore[override]
        self, state: State[Any], results: AsyncGenerator[State[Any], None]
    ) -> State[Any]:
        done = [each["done"] async for each in results]
        return state.update(done=state["done"] + sum(done))

    @property
    def reads(self) -> list[str]:
        return ["wanted", "done"]

    @property
    def writes(self) -> list[str]:
        return ["done"]


if __name__ == "__main__":
    answer("apache-burr", open_burr)
