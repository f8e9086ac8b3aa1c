"""Random workflows: graphs of sums, with conditions, lists and failures that do not matter."""

from __future__ import annotations

import random
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import anyio

from astro import Context, Node, Reference, Retry, Workflow, task

__all__ = ["GRAPHS", "GRAPH_PARTS", "a_graph"]

_Values = dict[str, int]
_Step = Callable[[_Values], int]


@task(retry=Retry(attempts=3, first=timedelta(seconds=1)))
async def total(ctx: Context, values: list[int], plus: int) -> int:
    """Add up, at the second attempt if need be."""
    await anyio.sleep(plus % 2 * 0.4)
    if plus == 7 and ctx.attempt == 1:
        raise OSError("busy")
    return sum(values) + plus


@task
async def double(ctx: Context, value: int) -> int:
    return 2 * value


@task
async def listed(ctx: Context, value: int) -> list[int]:
    return [value, value + 1, value + 1, value + 2]


@task
async def added(ctx: Context, values: list[int]) -> int:
    return sum(values)


@task
async def hopeless(ctx: Context, value: int) -> int:
    raise ValueError(f"not even {value}")


def a_graph(chance: random.Random, name: str) -> tuple[Workflow, Callable[[int], int]]:
    """Return a random workflow, and what gives its result for a start."""
    nodes: list[Node] = []
    steps: dict[str, _Step] = {}
    for number in range(chance.randint(2, 9)):
        kind = chance.choice((_sum, _sum, _sum, _list, _failure, _choice))
        numbers = [one for one in steps if not one.endswith(("i", "d"))]  # the others are lists
        before = chance.sample(numbers, min(len(numbers), chance.randint(0, 3)))
        for node, step in kind(chance, f"n{number}", before):
            nodes.append(node)
            steps[node.name] = step
    inner = {name for node in nodes for name in (*node.needs(), *node.after)}
    ends = [node.name for node in nodes if node.name not in inner]
    nodes.append(Node("end", total, {"values": [Reference(one) for one in ends], "plus": 1}))

    def gives(start: int) -> int:
        values = {"start": start}
        for one, step in steps.items():
            values[one] = step(values)
        return sum(values[one] for one in ends) + 1

    return Workflow(name, nodes, inputs={"start": int}, output=Reference("end")), gives


_Made = list[tuple[Node, _Step]]


def _sum(chance: random.Random, name: str, before: list[str]) -> _Made:
    plus = chance.choice((0, 1, 2, 7))
    taken = before[:2] or ["start"]
    given: Any = {"values": [Reference(one) for one in taken], "plus": plus}
    node = Node(name, total, given, after=before[2:])
    return [(node, lambda values: sum(values[one] for one in taken) + plus)]


def _list(chance: random.Random, name: str, before: list[str]) -> _Made:
    """Give the sum of a list, each of whose items is doubled by a call of its own."""
    source = before[0] if before else "start"
    items = Node(f"{name}i", listed, {"value": Reference(source)})
    doubled = Node(
        f"{name}d",
        double,
        {"value": Reference("item")},
        for_each=Reference(f"{name}i"),
        at_once=chance.randint(1, 3),
    )
    summed = Node(name, added, {"values": Reference(f"{name}d")})

    def nothing(values: _Values) -> int:
        return 0

    return [
        (items, nothing),
        (doubled, nothing),
        (summed, lambda values: 2 * (4 * values[source] + 4)),
    ]


def _failure(chance: random.Random, name: str, before: list[str]) -> _Made:
    """Give a default, after a failure."""
    source = before[0] if before else "start"
    given = {"value": Reference(source)}
    node = Node(name, hopeless, given, on_failure="default", default=5, after=before[1:])
    return [(node, lambda values: 5)]


def _choice(chance: random.Random, name: str, before: list[str]) -> _Made:
    """Double a value, or give a default without asking anybody."""
    source, wanted = before[0] if before else "start", chance.randint(0, 9)
    node = Node(
        name,
        double,
        {"value": Reference(source)},
        when=Reference(source).more_than(wanted),
        default=3,
    )
    return [(node, lambda values: 2 * values[source] if values[source] > wanted else 3)]


GRAPHS = [a_graph(random.Random(number), f"graph{number}") for number in range(12)]
GRAPH_PARTS = (total, double, listed, added, hopeless, *(flow for flow, _ in GRAPHS))
