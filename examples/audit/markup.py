"""Markup: elements of HTML and SVG that escape whatever is not markup already. Pure."""

from __future__ import annotations

from html import escape
from typing import Final, TypeAlias

__all__ = ["Content", "Markup", "element", "joined"]

_VOID: Final = frozenset({"br", "hr", "meta"})


class Markup(str):
    """Text that is markup and is not escaped again."""

    __slots__ = ()


Content: TypeAlias = str | int | None
"""What can be inside an element: markup as it is, anything else escaped, None as nothing."""


def element(name: str, /, *content: Content, **attributes: str | int | float | None) -> Markup:
    """Return an element; `class_` is the attribute class, `text_anchor` is text-anchor."""
    given = "".join(
        f' {key.rstrip("_").replace("_", "-")}="{escape(_plain(value))}"'
        for key, value in attributes.items()
        if value is not None
    )
    if name in _VOID:
        return Markup(f"<{name}{given}>")
    return Markup(f"<{name}{given}>{joined(*content)}</{name}>")


def joined(*content: Content) -> Markup:
    """Return content one after the other."""
    return Markup("".join(_escaped(each) for each in content))


def _escaped(content: Content) -> str:
    if isinstance(content, Markup):
        return content
    # Quotes are harmless between elements, and code is full of them.
    return "" if content is None else escape(str(content), quote=False)


def _plain(value: str | int | float) -> str:
    return f"{value:.2f}".rstrip("0").rstrip(".") if isinstance(value, float) else str(value)
