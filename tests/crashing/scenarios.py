"""Scenarios: what is killed at each of its commits; all of them at the top of a module."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import timedelta
from types import MappingProxyType
from typing import Any

import attrs

from astro import BaseAgent, Budget, CallFailedError, Context, PermanentError, Retry, performs, task
from astro.setup.workflows import workflows_of
from astro.setup.yaml import read_yaml

__all__ = ["SCENARIOS", "Scenario", "short"]

DAY = timedelta(days=1)


@attrs.frozen(kw_only=True)
class Scenario:
    """A task or a workflow, with all that it needs.

    Attributes:
        parts: Agents, and tasks that are known by name.
        commits: How many commits it takes at least.
        fails: Whether it does, in the end.
    """

    task: Any
    args: tuple[Any, ...] = ()
    kwargs: Mapping[str, Any] = attrs.field(factory=dict)
    parts: Sequence[Any] = ()
    answers: Mapping[str, object] = attrs.field(factory=dict)
    commits: int
    fails: bool = False


# --- An article: research, a map of sections, reviews by an agent --------------------------------


@task
async def research(ctx: Context, topic: str) -> list[str]:
    return [f"{topic} {n}" for n in range(14)]


@task
async def write_section(ctx: Context, title: str) -> str:
    return f"About {title}. "


@task(needs_agent=True)
async def review(ctx: Context, text: str) -> str: ...


class Reviewer(BaseAgent):
    """Finds nothing wrong."""

    @performs(review)
    async def review(self, ctx: Context, text: str) -> str:
        return await ctx.call(shorten, text)


@task
async def shorten(ctx: Context, text: str) -> str:
    return text[:12]


async def publish(text: str) -> str:
    return f"published {text}"


@task
async def article(ctx: Context, topic: str) -> str:
    titles = await ctx.call(research, topic)
    sections = await ctx.map(write_section, titles, limit=2)
    reviewed = [await ctx.call(review, section) for section in sections]
    ctx.emit("reviewed", len(reviewed))
    return await ctx.step(publish, "".join(reviewed))


# --- Runs that start runs --------------------------------------------------------------------


@task
async def leaf(ctx: Context, number: int) -> int:
    return number


@task
async def nested(ctx: Context, depth: int) -> int:
    """Add up a tree of runs, two at each place."""
    if depth == 0:
        return await ctx.call(leaf, 1)
    left = await ctx.branch("left").start(nested, depth - 1)
    right = await ctx.branch("right").start(nested, depth - 1)
    return await left + await right + await ctx.call(leaf, depth)


# --- People and time ---------------------------------------------------------------------------


@task
async def approvals(ctx: Context) -> list[Any]:
    found: list[Any] = []
    for number in range(4):
        found.append(await ctx.ask(f"Publish {number}?", bool))
        found.append(await ctx.ask(f"Hurry {number}?", bool, timeout=DAY, default=False))
        await ctx.sleep(DAY)
        found.append(await ctx.call(leaf, number))
    return [*found, str(ctx.uuid()), ctx.random().random(), ctx.now().year]


# --- What fails, and is tried again --------------------------------------------------------------


@task(retry=Retry(attempts=4, first=timedelta(minutes=1)))
async def flaky(ctx: Context, number: int) -> int:
    await ctx.call(leaf, number)
    if ctx.attempt < 4:
        raise OSError("busy")
    return number


@task(retry=Retry(attempts=2, first=timedelta(minutes=1)))
async def hopeless(ctx: Context, number: int) -> int:
    raise OSError(f"{number} cannot be done")


@task
async def persistent(ctx: Context) -> list[int]:
    done = [await ctx.call(flaky, number) for number in range(5)]
    try:
        await ctx.call(hopeless, 1)
    except CallFailedError:
        done.append(-1)
    return done


# --- What is undone ------------------------------------------------------------------------------


async def give_back(ctx: Context, booked: str | None, what: str) -> None:
    await ctx.call(leaf, len(what))


@task(undo=give_back)
async def book(ctx: Context, what: str) -> str:
    await ctx.call(leaf, len(what))
    return f"booked {what}"


@task
async def sold_out(ctx: Context) -> None:
    raise PermanentError("sold out")


@task
async def leg(ctx: Context, number: int) -> None:
    await ctx.call(book, f"train {number}")
    await ctx.call(book, f"room {number}")


@task
async def journey(ctx: Context) -> None:
    for number in range(5):
        await ctx.call(leg, number)
    await ctx.call(sold_out)


# --- A workflow from a file ----------------------------------------------------------------------

BAKING = """
workflows:
  bake:
    inputs: {flours: "list[int]"}
    nodes:
      weighed: {task: weigh, inputs: {flour: "{{ item }}"}, for_each: "{{ flours }}"}
      dough: {task: knead, inputs: {weights: "{{ weighed }}"}}
      salted:
        task: season
        inputs: {dough: "{{ dough }}"}
        when: {at_least: ["{{ dough }}", 10]}
      sugared:
        task: season
        inputs: {dough: "{{ dough }}"}
        when: {at_least: ["{{ dough }}", 1000]}
        default: -1
      loaves:
        task: bake_one
        for_each: "{{ weighed }}"
        inputs: {weight: "{{ item }}", salt: "{{ salted }}"}
        at_once: 1
        retry: 3
      box: {task: knead, inputs: {weights: "{{ loaves }}"}, after: [sugared]}
    output: box
"""


@task
async def weigh(ctx: Context, flour: int) -> int:
    return 2 * flour


@task
async def knead(ctx: Context, weights: list[int]) -> int:
    return sum(weights)


@task
async def season(ctx: Context, dough: int) -> int:
    return dough // 10


@task
async def bake_one(ctx: Context, weight: int, salt: int) -> int:
    if weight == 6 and ctx.attempt < 2:
        raise OSError("the oven is cold")
    return weight + salt


(bake,) = workflows_of(read_yaml(BAKING))


# --- What costs something ------------------------------------------------------------------------


@task(budget=Budget(money=2.0, tokens=100), effect="spend")
async def think(ctx: Context, cost: float) -> float:
    await ctx.spend(money=cost, tokens=10)
    await ctx.call(leaf, 1)
    await ctx.spend(money=cost, tokens=10)
    return cost


@task(budget=Budget(money=20.0))
async def ponder(ctx: Context, costs: list[float]) -> float:
    return sum([await ctx.call(think, cost) for cost in costs])


@task
async def thoughts(ctx: Context) -> float:
    many = await ctx.map(think, [0.1, 0.2, 0.3, 0.4], limit=2)
    return sum(many) + await ctx.call(ponder, [0.5, 0.6, 0.7])


@task
async def short(ctx: Context, number: int) -> int:
    return await ctx.call(leaf, number) + await ctx.call(leaf, number + 1)


SCENARIOS: Mapping[str, Scenario] = MappingProxyType(
    {
        "an article": Scenario(task=article, args=("fusion",), parts=[Reviewer()], commits=15),
        "children": Scenario(task=nested, args=(2,), commits=20),
        "people and time": Scenario(
            task=approvals, answers={f"Publish {n}?": True for n in range(4)}, commits=25
        ),
        "retries": Scenario(task=persistent, commits=20),
        "undo": Scenario(task=journey, parts=[book], commits=25, fails=True),
        "a workflow": Scenario(
            task=bake,
            kwargs={"flours": [1, 2, 3, 4, 5, 6, 7, 8]},
            parts=[weigh, knead, season, bake_one],
            commits=8,
        ),
        "money": Scenario(task=thoughts, commits=15),
    }
)
