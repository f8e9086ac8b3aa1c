"""The history: what has changed in a tree since its previous audit. Pure."""

from __future__ import annotations

from typing import Final

from examples.audit.values import Change, Comparison, FileScore, TreeSummary

__all__ = ["compare"]

# Exactly the parts of a file's debt, so that every change of it is explained.
_MEASURES: Final = (
    ("findings", "findings"),
    ("excess", "decisions too many"),
    ("undocumented", "undocumented names"),
    ("unannotated", "missing type hints"),
)


def compare(before: TreeSummary, after: TreeSummary) -> Comparison:
    """Return what is worse, better, new and gone."""
    old = {each.path: each for each in before.files}
    new = {each.path: each for each in after.files}
    changes = [_change(old[path], new[path]) for path in sorted(old.keys() & new.keys())]
    worse = (each for each in changes if each.debt > 0)
    improved = (each for each in changes if each.debt < 0)
    return Comparison(
        since=before.at,
        before=before.whole,
        worse=tuple(sorted(worse, key=lambda each: -each.debt)),
        improved=tuple(sorted(improved, key=lambda each: each.debt)),
        added=tuple(sorted(new.keys() - old.keys())),
        removed=tuple(sorted(old.keys() - new.keys())),
        same=sum(each.debt == 0 for each in changes),
    )


def _change(old: FileScore, new: FileScore) -> Change:
    if old.problem or new.problem:
        # What could not be read has no numbers to compare.
        broken = bool(new.problem) - bool(old.problem)
        text = new.problem if broken > 0 else f"no longer: {old.problem}" if broken else ""
        return Change(path=new.path, debt=float(broken), text=text)
    pairs = [(name, getattr(old, each), getattr(new, each)) for each, name in _MEASURES]
    moved = [f"{name} {was} → {now}" for name, was, now in pairs if was != now]
    return Change(path=new.path, debt=new.debt - old.debt, text=", ".join(moved))
