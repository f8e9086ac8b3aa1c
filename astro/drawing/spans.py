"""Spans: the calls that one call asked for, bundled so that they fit on a page.

Calls of the same task belong together as long as nothing else happened from start to finish
between them: a map is one span, a loop over one task is one, and a loop of `draft` and `review`
is four of each for four rounds. Which span comes after which is read off the journal: the first
had ended before the second began, and no third lies between the two.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Sequence
from typing import Final, TypeAlias

import attrs

from astro.drawing.calls import DrawnCall
from astro.drawing.graph import Link

__all__ = ["MANY", "Span", "bundle"]

MANY: Final = 60
"""Boxes that the calls of one parent may take."""

_FEW: Final = 3  # equal calls that still get a box each

_Key: TypeAlias = tuple[object, ...]


@attrs.define(eq=False)
class Span:
    """Calls that share a box.

    Attributes:
        task: Their task; empty where there are several.
        before: The spans that it comes right after, and how; none if its parent began with it.
    """

    key: _Key
    task: str
    place: str
    calls: list[DrawnCall] = attrs.field(factory=list)
    before: list[tuple[Span, Link]] = attrs.field(factory=list)

    @property
    def start(self) -> int:
        return self.calls[0].start

    @property
    def end(self) -> int | None:
        """When its last call had ended; None while one goes on."""
        ends = [call.end for call in self.calls if call.end is not None]
        return max(ends) if len(ends) == len(self.calls) else None


def bundle(parents: Sequence[DrawnCall]) -> list[Span]:
    """Return what some calls of one task asked for, in order of first appearance.

    Tries to show each of a few calls, then bundles more and more until it all fits.
    """
    lanes = [parent.children for parent in parents if parent.children]
    # A call of its own says little where the same was asked for by many parents.
    for level in (_single_few, _by_time, _by_kind)[len(lanes) > 1 :]:
        bundled = [level(lane) for lane in lanes]
        keys = list(dict.fromkeys(span.key for lane in bundled for span in lane))
        if len(keys) <= MANY:
            break
    else:
        kept = frozenset(keys[: MANY - 1])
        bundled = [_without_the_rest(lane, kept) for lane in bundled]
    return sorted(_merged(bundled), key=lambda span: span.start)


def _merged(lanes: Iterable[list[Span]]) -> list[Span]:
    """Return the spans of several parents as one; the first that has a span says what it follows.

    A span follows only spans of the same parent that began before it there, and that this parent
    or an earlier one has told about; so the whole has no circles.
    """
    found: dict[_Key, Span] = {}
    for lane in lanes:
        new = [span for span in lane if span.key not in found]
        if new:
            _link(lane, new)
        for span in lane:
            known = found.setdefault(span.key, span)
            if known is not span:
                known.calls.extend(span.calls)
        for span in new:
            span.before = [(found[one.key], link) for one, link in span.before]
    for span in found.values():
        span.calls.sort(key=lambda call: call.start)
    return list(found.values())


# --- Bundling the calls of one parent ----------------------------------------------------------


def _by_time(lane: Sequence[DrawnCall]) -> list[Span]:
    """Put a call to the others of its kind unless another call fits between them in time."""
    spans: list[Span] = []
    latest: dict[_Key, Span] = {}
    running: dict[_Key, int] = {}
    closed: dict[_Key, int] = {}
    ends: list[tuple[int, int, _Key]] = []
    newest_over = -1  # start of the call that began last among those that are over
    for call in lane:
        while ends and ends[0][0] < call.start:
            end, start, kind = heapq.heappop(ends)
            running[kind] -= 1
            closed[kind] = end
            newest_over = max(newest_over, start)
        kind = (call.task, call.place)
        span = latest.get(kind)
        if span is None or (not running[kind] and newest_over > closed[kind]):
            number = 0 if span is None else int(str(span.key[-1])) + 1
            span = latest[kind] = Span((*kind, number), call.task, call.place)
            spans.append(span)
            running[kind] = 0
        span.calls.append(call)
        running[kind] += 1
        if call.end is not None:
            heapq.heappush(ends, (call.end, call.start, kind))
    return spans


def _single_few(lane: Sequence[DrawnCall]) -> list[Span]:
    """Bundle by time, and take what is only a few apart again."""
    found: list[Span] = []
    for span in _by_time(lane):
        if len(span.calls) > _FEW:
            found.append(span)
            continue
        for number, call in enumerate(span.calls):
            found.append(Span((*span.key, number), span.task, span.place, [call]))
    return found


def _by_kind(lane: Sequence[DrawnCall]) -> list[Span]:
    """Bundle all calls of the same kind, whatever lies between them."""
    found: dict[_Key, Span] = {}
    for call in lane:
        key = (call.task, call.place)
        found.setdefault(key, Span(key, call.task, call.place)).calls.append(call)
    return list(found.values())


def _without_the_rest(spans: Sequence[Span], kept: frozenset[_Key]) -> list[Span]:
    """Bundle all that is not to be kept."""
    rest = Span(("rest",), "", "")
    for span in spans:
        if span.key not in kept:
            rest.calls.extend(span.calls)
    rest.calls.sort(key=lambda call: call.start)
    return [*(span for span in spans if span.key in kept), *([rest] if rest.calls else [])]


# --- What comes after what ---------------------------------------------------------------------


def _link(lane: Sequence[Span], new: Sequence[Span]) -> None:
    """Tell new spans which spans of their parent they come right after."""
    over = [(span.end, span) for span in lane]
    for span in new:
        ended = [(end, one) for end, one in over if end is not None and end < span.start]
        newest = max((one.start for _, one in ended), default=-1)
        span.before = [(one, Link.THEN) for end, one in ended if end > newest]
