"""The theme: how states look, in light and in dark.

Restrained on purpose: pale boxes, one colour per state for border and symbol, the same ink for
all text. Ink on any box has a contrast above 7, borders and symbols on their box above 3. Colours
stand in the style sheet, which follows the reader's preference, and as attributes beside it, for
pages whose content security policy refuses style sheets.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import attrs

from astro.core.records import State

__all__ = ["DARK", "FONT", "LIGHT", "STYLE", "SYMBOLS", "Theme", "Tone"]

FONT: Final = (
    'ui-sans-serif, system-ui, -apple-system, "Segoe UI", Roboto, "Noto Sans", "Helvetica Neue", '
    "Arial, sans-serif"
)


@attrs.frozen
class Tone:
    """The look of one state: its colour, and the paler one of its box."""

    line: str
    fill: str


@attrs.frozen(kw_only=True)
class Theme:
    """Colours as hexadecimal RGB.

    Attributes:
        plain: Boxes without a state.
    """

    paper: str
    ink: str
    faint: str
    edge: str
    plain: Tone
    tones: Mapping[State, Tone]

    def tone(self, state: State | None) -> Tone:
        """Return the look of a state."""
        return self.plain if state is None else self.tones[state]


LIGHT: Final = Theme(
    paper="#ffffff",
    ink="#1f2328",
    faint="#4d5560",
    edge="#78828e",
    plain=Tone("#6b7683", "#f6f8fa"),
    tones={
        State.READY: Tone("#6b7683", "#ffffff"),
        State.RUNNING: Tone("#0969da", "#eaf4ff"),
        State.ASKED: Tone("#8f6000", "#fff7d6"),
        State.SLEEPING: Tone("#6e40c9", "#f5f0ff"),
        State.PAUSED: Tone("#57606a", "#eef0f3"),
        State.PARKED: Tone("#b34700", "#fff0e3"),
        State.UNDOING: Tone("#b3257c", "#fff0f8"),
        State.DONE: Tone("#1a7f37", "#effaf1"),
        State.FAILED: Tone("#c5202b", "#ffeeec"),
        State.CANCELLED: Tone("#6b7683", "#f1f3f5"),
    },
)

DARK: Final = Theme(
    paper="#0d1117",
    ink="#e9eef4",
    faint="#a9b4c0",
    edge="#7d8894",
    plain=Tone("#8b949e", "#161b22"),
    tones={
        State.READY: Tone("#8b949e", "#0d1117"),
        State.RUNNING: Tone("#58a6ff", "#10233d"),
        State.ASKED: Tone("#d9a520", "#2a2110"),
        State.SLEEPING: Tone("#ab8cf7", "#1f1a38"),
        State.PAUSED: Tone("#9aa4af", "#1c2128"),
        State.PARKED: Tone("#f0883e", "#2f1d10"),
        State.UNDOING: Tone("#f778ba", "#301628"),
        State.DONE: Tone("#3fb950", "#11261a"),
        State.FAILED: Tone("#ff6a60", "#331719"),
        State.CANCELLED: Tone("#8b949e", "#191e25"),
    },
)

SYMBOLS: Final[Mapping[State, str]] = {
    State.READY: "M7 3.2a3.8 3.8 0 1 0 .01 0z",
    State.RUNNING: "M5 3.2l6 3.8-6 3.8z",
    State.ASKED: "M4.6 5a2.4 2.4 0 1 1 3.6 2c-.8.5-1.2.9-1.2 1.7M7 11.3v.1",
    State.SLEEPING: "M11.4 8.7A4.8 4.8 0 1 1 6 2.6a3.9 3.9 0 0 0 5.4 6.1z",
    State.PAUSED: "M5 3.4v7.2M9 3.4v7.2",
    State.PARKED: "M7 2.6v5.6M7 11.2v.1",
    State.UNDOING: "M5.2 2.8L3 5l2.2 2.2M3 5h5.2a2.9 2.9 0 0 1 0 5.8H4.6",
    State.DONE: "M2.8 7.4l2.9 2.9 5.6-6.4",
    State.FAILED: "M3.4 3.4l7.2 7.2M10.6 3.4l-7.2 7.2",
    State.CANCELLED: "M7 2.2a4.8 4.8 0 1 0 .01 0zM3.7 10.3l6.6-6.6",
}
"""Symbols as SVG paths in a square of 14: shapes, because fonts lack some of the characters."""


def _colours(theme: Theme) -> str:
    rules = [
        f".astro-graph .paper{{fill:{theme.paper}}}",
        f".astro-graph .ink{{fill:{theme.ink}}}",
        f".astro-graph .faint{{fill:{theme.faint}}}",
        f".astro-graph .line{{stroke:{theme.edge}}}",
        f".astro-graph .tip{{fill:{theme.edge}}}",
    ]
    for state in (None, *State):
        tone = theme.tone(state)
        name = f".astro-graph .s-{state or 'plain'}"
        rules.append(f"{name}{{color:{tone.line}}}{name} .box{{fill:{tone.fill}}}")
    return "".join(rules)


STYLE: Final = (
    ".astro-graph{max-width:100%;height:auto}"
    f"{_colours(LIGHT)}"
    f"@media (prefers-color-scheme:dark){{{_colours(DARK)}}}"
)
"""The style sheet of every picture: constant, so that a policy can allow it by its hash."""
