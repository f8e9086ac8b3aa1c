"""What the settings of these tests name: tasks, agents with configurations, a store."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Literal

import attrs
from attrs.validators import ge

from astro import BaseAgent, Context, MemoryStore, Workflow, agent, performs, task
from astro.core.workflow import Node


@task
async def greet(ctx: Context, name: str) -> str:
    return f"Good morning, {name}."


@task(needs_agent=True)
async def review(ctx: Context, text: str) -> str:
    raise NotImplementedError


@agent(greet)
async def polite(ctx: Context, name: str) -> str:
    return f"Good morning, dear {name}."


flow = Workflow("flow", [Node("hello", "greet", inputs={"name": "Ada"})])


class Reviewer(BaseAgent):
    """An agent with a configuration."""

    @attrs.frozen(kw_only=True)
    class Model:
        """A part of a configuration."""

        name: str
        temperature: float = attrs.field(default=0.0, validator=ge(0.0))

    @attrs.frozen(kw_only=True)
    class Config:
        """What `config` may say."""

        style: Literal["plain", "ornate"] = "plain"
        key: str = attrs.field(default="", repr=False)
        port: int = 80
        patience: timedelta = timedelta(seconds=1)
        guide: Path | None = None
        models: list[Reviewer.Model] = attrs.field(factory=list)
        words: frozenset[str] = frozenset()

    def __init__(self, config: Config, *, name: str | None = None) -> None:
        super().__init__(name=name)
        self.config = config

    @performs(review)
    async def review(self, ctx: Context, text: str) -> str:
        return f"{self.config.style}: {text}"


class Plain(BaseAgent):
    """An agent without a configuration."""

    @performs(review)
    async def review(self, ctx: Context, text: str) -> str:
        return text


class Fragile(BaseAgent):
    """An agent that cannot be made."""

    @attrs.frozen(kw_only=True)
    class Config:
        """What `config` may say."""

        key: str

    def __init__(self, config: Config, *, name: str | None = None) -> None:
        raise OSError(f"no server takes {config.key}")


class Nameless(BaseAgent):
    """An agent that takes no name."""

    def __init__(self, **given: object) -> None:
        super().__init__()

    @performs(review)
    async def review(self, ctx: Context, text: str) -> str:
        return text


class ThirdPartyStore(MemoryStore):
    """A store of somebody else."""

    @attrs.frozen(kw_only=True)
    class Config:
        """What `store` may say."""

        url: str
        size: int = 1

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.config = config


nothing = 7
