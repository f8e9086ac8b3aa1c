"""Workloads: what is measured against other systems, and the goals ASTRO has set itself.

Every system performs the same shape; a goal compares the performances of one round with each other,
so that a busy machine slows both sides, and takes the median over the rounds.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from benchmarks.measuring import LIMIT, PAUSE, Sample, Shape, Synchronous, median

__all__ = ["ASTRO", "WORKLOADS", "Goal", "Rounds", "Verdict", "Workload", "speed"]

ASTRO = "ASTRO"

Rounds = Mapping[str, Sequence[Sample]]
"""What each system's performances cost, round by round."""


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """Whether a goal is met."""

    goal: str
    measured: str
    met: bool


class Goal(Protocol):
    """Something ASTRO should reach in a workload."""

    def judge(self, rounds: Rounds, /) -> Verdict | None:
        """Return the verdict, or None when a system it needs was not measured."""
        ...


@dataclass(frozen=True)
class AsFastAs:
    """ASTRO performs at least `factor` times as many items a second as another system."""

    system: str
    factor: float

    def judge(self, rounds: Rounds, /) -> Verdict | None:
        if ASTRO not in rounds or self.system not in rounds:
            return None
        measured = speed(rounds, ASTRO, than=self.system)
        return Verdict(
            goal=f"at least {self.factor:g} x {self.system}",
            measured=f"{measured:.2f} x",
            met=measured >= self.factor,
        )


@dataclass(frozen=True)
class CpuWithin:
    """ASTRO uses at most so many microseconds of processor time a call."""

    microseconds: float

    def judge(self, rounds: Rounds, /) -> Verdict | None:
        if ASTRO not in rounds:
            return None
        measured = median(sample.cpu / sample.items * 1e6 for sample in rounds[ASTRO])
        return Verdict(
            goal=f"at most {self.microseconds:g} µs CPU a call",
            measured=f"{measured:.0f} µs",
            met=measured <= self.microseconds,
        )


@dataclass(frozen=True)
class NearIdeal:
    """ASTRO reaches this share of what waiting alone would take."""

    share: float

    def judge(self, rounds: Rounds, /) -> Verdict | None:
        if ASTRO not in rounds:
            return None
        measured = median(sample.items / LIMIT * PAUSE / sample.wall for sample in rounds[ASTRO])
        return Verdict(
            goal=f"at least {self.share:g} of the ideal time",
            measured=f"{measured:.2f}",
            met=measured >= self.share,
        )


@dataclass(frozen=True, kw_only=True)
class Workload:
    """One shape at one size and one level of durability.

    Attributes:
        synchronous: The level of those that let it be chosen; what a system really had is
            printed beside its numbers.
    """

    name: str
    shape: Shape
    items: int
    synchronous: Synchronous
    goals: tuple[Goal, ...]


def speed(rounds: Rounds, system: str, *, than: str) -> float:
    """Return how many times as fast as the other a system is: the median over the rounds."""
    pairs = zip(rounds[system], rounds[than], strict=True)
    return median(other.wall / own.wall for own, other in pairs)


_FAN_GOALS = (
    AsFastAs("group commit", 0.3),
    AsFastAs("LangGraph", 10),
    AsFastAs("DBOS", 10),
    CpuWithin(80),
)

WORKLOADS = (
    Workload(
        name="chain",
        shape="chain",
        items=1_000,
        synchronous="NORMAL",
        goals=(
            AsFastAs("commit per step", 0.8),
            AsFastAs("LangGraph", 6),
            AsFastAs("Burr", 1.5),
        ),
    ),
    Workload(name="fan-1000", shape="fan", items=1_000, synchronous="FULL", goals=_FAN_GOALS),
    Workload(name="fan-10000", shape="fan", items=10_000, synchronous="FULL", goals=_FAN_GOALS),
    Workload(
        name="diamonds",
        shape="diamonds",
        items=500,
        synchronous="FULL",
        goals=(AsFastAs("LangGraph", 10), AsFastAs("DBOS", 10)),
    ),
    Workload(
        name="waits",
        shape="waits",
        items=1_000,
        synchronous="FULL",
        goals=(NearIdeal(0.8), AsFastAs("plain asyncio", 0.8)),
    ),
)
