"""LangGraph with AsyncSqliteSaver and durability="sync": a checkpoint before the next step.

A chain is one node that loops by a conditional edge, a fan is one `Send` an item. The saver turns
the write-ahead log on by itself; its synchronous level is SQLite's default (FULL) unless set.
"""

import asyncio
import operator
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, TypedDict

from langgraph.checkpoint.sqlite.aio import AsyncSqliteSaver
from langgraph.graph import END, START, StateGraph
from langgraph.types import Send

from benchmarks.measuring import BRANCHES, LIMIT, PAUSE, System
from benchmarks.peers.answering import Setting, answer

__all__ = ["open_langgraph"]


class _Items(TypedDict):
    wanted: int
    done: Annotated[list[int], operator.add]


class _Counted(TypedDict):
    wanted: int
    done: int


class _Item(TypedDict):
    item: int


@asynccontextmanager
async def open_langgraph(folder: Path, setting: Setting, /) -> AsyncIterator[System]:
    """Open a saver on a new file and compile the graphs."""
    async with AsyncSqliteSaver.from_conn_string(str(folder / "langgraph.db")) as saver:
        await saver.setup()
        if setting != "shipped":
            await saver.conn.execute(f"PRAGMA synchronous = {setting}")
        yield _LangGraph(
            chain_graph=_chain().compile(checkpointer=saver),
            fan_graph=_fan(_noop).compile(checkpointer=saver),
            diamond_graph=_diamond().compile(checkpointer=saver),
            wait_graph=_fan(_pause).compile(checkpointer=saver),
        )


@dataclass
class _LangGraph:
    chain_graph: Any
    fan_graph: Any
    diamond_graph: Any
    wait_graph: Any

    async def chain(self, items: int, /) -> int:
        state = await _invoke(self.chain_graph, {"wanted": items, "done": 0}, steps=items)
        return int(state["done"])

    async def fan(self, items: int, /) -> int:
        state = await _invoke(self.fan_graph, {"wanted": items, "done": []})
        return len(state["done"])

    async def diamonds(self, items: int, /) -> int:
        slots = asyncio.Semaphore(BRANCHES)

        async def one(item: int) -> int:
            async with slots:
                state = await _invoke(self.diamond_graph, {"wanted": item, "done": []})
                return len(state["done"]) // 4

        return sum(await asyncio.gather(*map(one, range(items))))

    async def waits(self, items: int, /) -> int:
        state = await _invoke(self.wait_graph, {"wanted": items, "done": []})
        return len(state["done"])


async def _invoke(graph: Any, state: dict[str, Any], *, steps: int = 0) -> Any:
    config = {
        "configurable": {"thread_id": uuid.uuid4().hex},
        "max_concurrency": LIMIT,
        "recursion_limit": steps + 25,
    }
    return await graph.ainvoke(state, config, durability="sync")


def _chain() -> Any:
    async def step(state: _Counted) -> dict[str, int]:
        return {"done": state["done"] + 1}

    graph = StateGraph(_Counted)
    graph.add_node("step", step)
    graph.add_edge(START, "step")
    graph.add_conditional_edges(
        "step", lambda state: "step" if state["done"] < state["wanted"] else END
    )
    return graph


def _fan(body: Any) -> Any:
    graph = StateGraph(_Items)
    graph.add_node("call", body)
    graph.add_conditional_edges(
        START, lambda state: [Send("call", {"item": item}) for item in range(state["wanted"])]
    )
    return graph


def _diamond() -> Any:
    async def call(state: _Items) -> dict[str, list[int]]:
        return {"done": [state["wanted"]]}

    graph = StateGraph(_Items)
    for name in ("top", "left", "right", "bottom"):
        graph.add_node(name, call)
    graph.add_edge(START, "top")
    graph.add_edge("top", "left")
    graph.add_edge("top", "right")
    graph.add_edge(["left", "right"], "bottom")
    return graph


async def _noop(state: _Item) -> dict[str, list[int]]:
    return {"done": [state["item"]]}


async def _pause(state: _Item) -> dict[str, list[int]]:
    await asyncio.sleep(PAUSE)
    return {"done": [state["item"]]}


if __name__ == "__main__":
    answer("langgraph", open_langgraph)
