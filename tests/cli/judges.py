"""An agent that performs what the needy module only declares."""

from __future__ import annotations

from astro import BaseAgent, Context, performs
from tests.cli.needy import judge


class Judge(BaseAgent):
    """Judges."""

    @performs(judge)
    async def judge(self, ctx: Context, text: str) -> str:
        return f"fine: {text}"


somebody = Judge()
