"""Routing: who performs a call, and why. Pure: the same candidates, the same choice."""

from __future__ import annotations

from collections.abc import Sequence

from astro.core.protocols import Candidate, Choice

__all__ = ["LeastLoadRouter"]


class LeastLoadRouter:
    """Prefers who has failed the call least, then who is least loaded, then who is cheapest.

    A task's own body is the last candidate: it is chosen only when every agent has failed the
    call at least once more often, or there is none.
    """

    def choose(self, task: str, candidates: Sequence[Candidate], /) -> Choice:
        """Return one of the candidates, of which there is at least one."""
        if len(candidates) == 1:
            return Choice(name=candidates[0].name, reason="the only candidate")
        best = min(candidates, key=_rank)
        return Choice(name=best.name, reason=_reason(best, candidates))


def _rank(candidate: Candidate) -> tuple[int, bool, float, float, str]:
    busy = candidate.load / candidate.limit if candidate.limit else candidate.load / 1_000
    return (candidate.failed, not candidate.name, busy, candidate.cost, candidate.name)


def _reason(best: Candidate, candidates: Sequence[Candidate]) -> str:
    if not best.name:
        return "no agent is left; the task's own body"
    if any(other.failed > best.failed for other in candidates):
        return f"next of {len(candidates)} after a failure"
    return f"least loaded of {len(candidates)} ({best.load} at work, cost {best.cost:g})"
