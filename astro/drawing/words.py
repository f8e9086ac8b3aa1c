"""Words: text that comes from anywhere, made fit for a picture.

Labels hold what users, models and attackers wrote. Characters that XML refuses, that steer a
terminal or that turn the reading direction around become visible; widths are estimated, because
nobody knows the font.
"""

from __future__ import annotations

import re
import unicodedata
from typing import Final

__all__ = ["clean", "clip", "escape", "width_of"]

_WHITE: Final = re.compile("[\t\n\x0b\x0c\r\x85\u2028\u2029]+")
_CONTROL: Final = re.compile("[\x00-\x1f\x7f]")
_UNFIT: Final = re.compile(
    "[\x80-\x9f\ud800-\udfff\ufdd0-\ufdef\ufffe\uffff\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069\ufeff]"
)
_NARROW: Final = frozenset("iIjlt.,:;'|!()[]{}`f/\\ -")
_WIDE: Final = frozenset("mwMW@%&")
_MARKS: Final = 4  # more than any script stacks on a character
_SOME: Final = 0.1  # what a mark without width of its own counts, so that they do not pile up


def clean(text: str) -> str:
    """Return a text in one line, with control characters made visible."""
    text = _WHITE.sub(" ", text)
    text = _CONTROL.sub(lambda m: chr(0x2421 if m[0] == "\x7f" else 0x2400 + ord(m[0])), text)
    text = _UNFIT.sub("\ufffd", text)
    return text if text.isascii() else _without_towers(text)


def _without_towers(text: str) -> str:
    """Return a text whose characters carry only so many marks: they would cover other boxes."""
    kept, marks = [], 0
    for character in text:
        marks = marks + 1 if unicodedata.combining(character) else 0
        if marks <= _MARKS:
            kept.append(character)
    return "".join(kept)


def escape(text: str) -> str:
    """Return a text for XML, in an element or between double quotes."""
    text = clean(text).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return text.replace('"', "&quot;").replace("'", "&#39;")


def width_of(text: str, size: float) -> float:
    """Return about how wide a text is, rather too much than too little, in pixels."""
    return sum(map(_share, text)) * size


def clip(text: str, width: float, size: float) -> str:
    """Return as much of a text as fits, with an ellipsis for the rest."""
    text = clean(text)
    if len(text) * size < width or width_of(text, size) <= width:
        return text
    room = width - size  # an ellipsis is as wide as it is high
    taken = 0.0
    for index, character in enumerate(text):
        taken += _share(character) * size
        if taken > room:
            return text[:index].rstrip() + "…"
    return text


def _share(character: str) -> float:
    """Return the width of a character in ems, of a wide sans serif."""
    if character in _NARROW:
        return 0.4
    if character in _WIDE:
        return 0.98
    if character.isascii():
        return 0.7 if character.isupper() else 0.64
    if unicodedata.category(character) in ("Mn", "Me", "Cf"):
        return _SOME
    return 1.05 if unicodedata.east_asian_width(character) in ("W", "F") else 0.75
